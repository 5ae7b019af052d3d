"""Which link a URI asks for."""

from collections.abc import Awaitable, Callable

from cli.probe.link import Link, open_udp
from cli.probe.security import Trust
from cli.probe.stream import open_stream
from stun.address import Address
from stun.uri import StunUri

__all__ = ["Opener", "Unsupported", "check_transport", "opener"]

Opener = Callable[[StunUri, Address], Awaitable[Link]]
"""Opens a link to the server of a URI at one of its addresses; raises `cli.probe.link.LinkError`."""


class Unsupported(Exception):
    """The probe does not speak the transport; the message is one sentence."""


def check_transport(uri: StunUri) -> None:
    """Raise `Unsupported` for what is neither UDP, TCP nor TLS over TCP."""
    if uri.transport == "udp" and uri.secure:
        raise Unsupported(f"Probing over DTLS is not supported; {uri.scheme}:HOST without a transport is TLS over TCP.")
    if uri.transport not in ("udp", "tcp"):
        raise Unsupported(f"Probing over {uri.transport.upper()} is not supported; transport is udp or tcp.")


def opener(trust: Trust, patience: float) -> Opener:
    """What opens links to servers that ``trust`` accepts; each step of that may take ``patience`` seconds."""

    async def open_link(uri: StunUri, address: Address) -> Link:
        check_transport(uri)
        return await (open_udp(address) if uri.transport == "udp" else open_stream(uri, address, trust, patience))

    return open_link
