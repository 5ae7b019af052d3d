"""A probe's connections, plain or with TLS (RFC 8656 §3.1): opened step by step, so that each step is reported."""

import asyncio
import socket
import ssl
from dataclasses import replace
from datetime import UTC, datetime
from typing import NamedTuple

from cli.probe.link import Opened
from cli.probe.report import Step
from cli.probe.security import ALPN_TURN, TlsFacts, TlsTrouble, Trust, alpn_was_refused, distrust, handshake_trouble
from cli.probe.trouble import LinkError, unreachable
from stun.address import Address
from stun.client.errors import ServerUnreachable
from stun.uri import StunUri
from turnserver.turnclient.links import StreamLink, connect_stream

__all__ = ["open_stream"]


class _Secured(NamedTuple):
    """A connection with TLS, how long its handshake took in seconds, and what it showed."""

    link: StreamLink
    seconds: float
    facts: TlsFacts


async def open_stream(uri: StunUri, address: Address, trust: Trust, patience: float) -> Opened:
    """Connect to the server of ``uri`` at ``address``; each of the steps may take ``patience`` seconds.

    Raises `LinkError`, which says how far it came.
    """
    clock = asyncio.get_running_loop().time
    started = clock()
    sock = await _connect(address, patience)
    step = Step("connect", True, "A TCP connection is open.", seconds=clock() - started)
    if uri.secure:
        return await _Securing(uri, address, trust, patience, step).open(sock)
    _, link = await asyncio.get_running_loop().create_connection(StreamLink, sock=sock)
    return Opened(link, [step])


async def _connect(address: Address, patience: float) -> socket.socket:
    try:
        async with asyncio.timeout(patience):
            return await connect_stream(address)
    except TimeoutError:
        raise LinkError(
            f"No TCP connection in {patience:g} s.",
            "Nothing answers there, or a firewall drops the packets; check the address, the port, and that TCP is let "
            "through.",
        ) from None
    except ServerUnreachable as error:
        raise unreachable(error) from error


class _Securing:
    """Opens a connection with TLS; finding out what is wrong may take more than one connection."""

    def __init__(self, uri: StunUri, address: Address, trust: Trust, patience: float, connected: Step) -> None:
        self._host = uri.host
        self._address = address
        self._trust = trust
        self._patience = patience
        self._connected = connected
        self._alpn: str | None = ALPN_TURN if uri.is_turn else None
        self._notes: list[str] = []

    async def open(self, sock: socket.socket) -> Opened:
        """A link over ``sock``, or over another connection in its place. Raises `LinkError`."""
        try:
            try:
                secured = await self._attempt(sock)
            except ssl.SSLError as error:
                if self._alpn is None or not alpn_was_refused(error):
                    raise
                self._notes.append(f"It refuses ALPN {self._alpn}, so it was left out.")
                self._alpn = None
                secured = await self._attempt()
        except ssl.SSLCertVerificationError as error:
            secured = await self._without_trust(error)
        except OSError as error:
            raise self._failed(handshake_trouble(error)) from error
        step = Step("tls", True, self._sentence(secured.facts), self._hint(secured.facts), seconds=secured.seconds)
        return Opened(secured.link, [self._connected, step], secured.facts)

    async def _without_trust(self, error: ssl.SSLCertVerificationError) -> _Secured:
        """Inspect a certificate that is not trusted, and continue with the connection only with --insecure.

        Without --insecure, nothing but the handshake is sent to a server that is not trusted.
        """
        try:
            secured = await self._attempt(verify=False)
        except (OSError, LinkError):
            raise self._failed(distrust(error, self._host, None)) from error
        trouble = distrust(error, self._host, secured.facts.certificate)
        facts = replace(secured.facts, trouble=trouble.sentence)
        if not self._trust.insecure:
            await secured.link.close()
            raise self._failed(trouble, facts) from error
        return secured._replace(facts=facts)

    async def _attempt(self, sock: socket.socket | None = None, *, verify: bool = True) -> _Secured:
        """One handshake. Raises OSError as asyncio and OpenSSL do, `LinkError` when it takes too long."""
        loop = asyncio.get_running_loop()
        context = self._trust.context(verify=verify, alpn=self._alpn)
        if sock is None:
            sock = await _connect(self._address, self._patience)
        started = loop.time()
        try:
            async with asyncio.timeout(self._patience):
                transport, link = await loop.create_connection(
                    StreamLink, sock=sock, ssl=context, server_hostname=self._host
                )
        except TimeoutError:
            sentence = f"The TLS handshake did not complete in {self._patience:g} s."
            raise self._failed(TlsTrouble(sentence, "It may not speak TLS on this port.")) from None
        except ssl.SSLError:
            raise  # Some of them are ValueErrors too.
        except ValueError as error:
            sentence = "The host of the URI cannot be sent in TLS (SNI)."
            raise self._failed(TlsTrouble(sentence, "Write the name in its ASCII form, or the address.")) from error
        return _Secured(link, loop.time() - started, TlsFacts.of(transport.get_extra_info("ssl_object")))

    def _failed(self, trouble: TlsTrouble, facts: TlsFacts | None = None) -> LinkError:
        return LinkError(*trouble, step="tls", opened=[self._connected], tls=facts)

    def _sentence(self, facts: TlsFacts) -> str:
        trust = "The certificate is trusted." if facts.trusted else f"Not trusted: {facts.trouble}"
        return " ".join([f"The handshake is done: {facts.summary}.", trust, *self._notes])

    def _hint(self, facts: TlsFacts) -> str:
        if not facts.trusted:
            return "With --insecure the probe continues; browsers would not."
        expiry = facts.certificate.expiry(datetime.now(UTC)) if facts.certificate is not None else ""
        return f"The certificate {expiry}; it should have been renewed by now." if expiry else ""
