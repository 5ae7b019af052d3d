"""Asks ports of another host for a STUN Binding, as any client would: what `turnserver.signaling.edge.probes` sends."""

import asyncio
import secrets
import ssl
from collections.abc import Sequence
from typing import Final

from stun.address import Address
from stun.client.core import ClientCore, ClientOptions
from stun.client.errors import ClientError, NoAnswer
from stun.uri import StunUri
from turnserver.net import has_address
from turnserver.signaling.edge.answers import ProbedPort
from turnserver.signaling.edge.probes import NotProbed, ProbePort
from turnserver.text import one_line
from turnserver.turnclient.driver import Driver
from turnserver.turnclient.links import LinkBroken
from turnserver.turnclient.openers import OPENERS

__all__ = ["PATIENCE", "probe_back"]

PATIENCE: Final = 3.0
"""Seconds for each port, connecting included; all are tried at the same time."""


async def probe_back(host: str, ports: Sequence[ProbePort], name: str) -> list[ProbedPort]:
    """Try each of the ports at an address, in their order.

    With ``name``, a certificate is checked as browsers do, against the system's roots. Raises `NotProbed` for an
    address of this host, which would show nothing.
    """
    if await asyncio.to_thread(has_address, Address.parse(host, 0).ip):
        raise NotProbed(f"{host} is an address of this server's own host: ask one that is elsewhere")
    context = ssl.create_default_context()
    if not name:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return list(await asyncio.gather(*(_tried(host, port, name, context) for port in ports)))


async def _tried(host: str, port: ProbePort, name: str, context: ssl.SSLContext) -> ProbedPort:
    loop = asyncio.get_running_loop()
    started = loop.time()
    try:
        async with asyncio.timeout(PATIENCE):
            await _binding(host, port, name, context)
    except (NoAnswer, TimeoutError):
        return _found(port, "silent", f"no answer in {PATIENCE:g} s")
    except ClientError as error:
        return _failed(port, error)
    return ProbedPort(protocol=port.protocol, port=port.port, outcome="answered", seconds=loop.time() - started)


async def _binding(host: str, port: ProbePort, name: str, context: ssl.SSLContext) -> None:
    """One Binding. Raises `ClientError`."""
    address = Address.parse(host, port.port)
    secure = port.protocol == "tls"
    transport = "udp" if port.protocol == "udp" else "tcp"
    uri = StunUri("stuns" if secure else "stun", name or host, port.port, transport)
    link = await OPENERS[uri.protocol](uri, address, context if secure else None)
    options = ClientOptions(patience=PATIENCE, automatic=False)
    core = ClientCore(secrets.token_bytes, reliable=link.reliable, options=options)
    driver = Driver(core, link, lambda _: None)
    try:
        (await driver.ask(driver.core.binding)).result()
    finally:
        await driver.close()


def _failed(port: ProbePort, error: ClientError) -> ProbedPort:
    cause = error.__cause__
    if isinstance(cause, ConnectionRefusedError):
        return _found(port, "refused", "the host answers that the port is closed")
    if isinstance(cause, ssl.SSLCertVerificationError):
        return _found(port, "untrusted", one_line(cause.verify_message or "not trusted", 100))
    if isinstance(error, LinkBroken):
        return _found(port, "failed", "what listens there is no STUN server, or closes the connection")
    return _found(port, "failed", one_line(str(error), 200))


def _found(port: ProbePort, outcome: str, detail: str) -> ProbedPort:
    return ProbedPort.model_validate(
        {"protocol": port.protocol, "port": port.port, "outcome": outcome, "detail": detail}
    )
