"""The link that a URI asks for."""

from collections.abc import Awaitable, Callable

from cli.probe.link import Opened
from cli.probe.securing import open_stream
from cli.probe.security import Trust
from cli.probe.trouble import unreachable
from stun.address import Address
from stun.client.errors import ServerUnreachable
from stun.uri import StunUri
from turnserver.turnclient.links import open_udp
from turnserver.turnclient.openers import OPENERS

__all__ = ["LinkOpener", "Unsupported", "check_transport", "opener"]

LinkOpener = Callable[[StunUri, Address], Awaitable[Opened]]
"""Opens a link to the server of a URI at one of its addresses; raises `cli.probe.trouble.LinkError`."""


class Unsupported(Exception):
    """The probe does not support the transport; the message is one sentence."""


def check_transport(uri: StunUri) -> None:
    """Raise `Unsupported` for what is neither UDP, TCP, TLS nor DTLS."""
    if uri.protocol not in OPENERS:
        raise Unsupported(f"Probing over {uri.transport.upper()} is not supported; transport is udp or tcp.")


def opener(trust: Trust, patience: float) -> LinkOpener:
    """An opener of links to servers that ``trust`` accepts; each step may take ``patience`` seconds."""

    async def open_link(uri: StunUri, address: Address) -> Opened:
        check_transport(uri)
        if uri.protocol == "dtls":
            from cli.probe.datagrams import open_datagrams  # noqa: PLC0415  few need OpenSSL

            return await open_datagrams(uri, address, trust, patience)
        if uri.protocol != "udp":
            return await open_stream(uri, address, trust, patience)
        try:
            return Opened(await open_udp(uri, address))
        except ServerUnreachable as error:
            raise unreachable(error) from error

    return open_link
