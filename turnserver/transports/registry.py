"""The transports by name: what each name under ``listeners[].transport`` means, and how it is made.

An entry has everything that the rest of the server needs to know about a listener, so the configuration can check and
document a new one without a change. A transport's module is imported only when a listener is made.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from stun.constants import TransportProtocol
from turnserver.core.types import ClientTransport, TlsMode
from turnserver.registry import Registry

if TYPE_CHECKING:
    from stun.address import Address
    from turnserver.transports.base import ListenerContext, ListenerSection, Transport

__all__ = ["TRANSPORTS", "ListenerKind", "MakeTransport"]

MakeTransport: TypeAlias = "Callable[[ListenerSection, Address, int, ListenerContext], Transport]"
"""Makes an unbound transport from a section of ``listeners``, one of its addresses (a wildcard stands for many), the
index of the listener, and what all listeners share."""

STUN_PORT: Final = 3478
"""Registered for STUN and TURN over UDP and TCP (RFC 8656 §4)."""
STUNS_PORT: Final = 5349
"""Registered for STUN and TURN over TLS and DTLS."""


@dataclass(frozen=True, slots=True)
class ListenerKind:
    """What a name under ``listeners[].transport`` means."""

    about: str
    """A short description for the reference page."""
    make: MakeTransport
    plain: ClientTransport | None = None
    """The client transport without TLS; None if it always speaks TLS."""
    secure: ClientTransport | None = None
    """The client transport with TLS; None if it never speaks TLS."""
    port: int = STUN_PORT
    """The default port."""
    plain_port: int | None = None
    """The default port of a listener that could speak TLS and is configured not to."""
    auto: tuple[ClientTransport, ...] = ()
    """The client transports of a listener whose clients may use TLS or not; empty if it cannot tell them apart."""
    http: bool = False
    """HTTP is served there as well."""
    local: bool = False
    """There is no socket: its clients are inside the process, and it uses no port."""

    @property
    def tls(self) -> bool | None:
        """Whether it speaks TLS; None if the configuration decides."""
        return None if self.plain and self.secure else self.secure is not None

    def transport(self, tls: bool) -> ClientTransport:
        """The client transport, with TLS or without. Raises ValueError if there is none."""
        found = self.secure if tls else self.plain
        if found is None:
            raise ValueError("this listener is not available " + ("with TLS" if tls else "without TLS"))
        return found

    def transports(self, tls: TlsMode) -> tuple[ClientTransport, ...]:
        """The client transports, the first one being the most wanted. Raises ValueError if there are none."""
        if tls != "auto":
            return (self.transport(tls),)
        if not self.auto:
            raise ValueError("this listener cannot tell TLS from plain")
        return self.auto

    @property
    def port_space(self) -> TransportProtocol:
        """Whether its sockets use UDP or TCP ports."""
        return self.transport(tls=self.tls is not False).port_space

    @property
    def stream(self) -> bool:
        """Clients have connections of TCP there, which may come through a proxy."""
        return self.transport(tls=self.tls is not False).stream

    def default_port(self, tls: TlsMode) -> int:
        """The default port, with TLS or without; if that is left to clients, as with TLS."""
        return self.port if tls or self.plain_port is None else self.plain_port


def _udp(section: "ListenerSection", address: "Address", index: int, context: "ListenerContext") -> "Transport":
    from turnserver.transports.udp import UdpTransport  # noqa: PLC0415  loaded when it is used, as those below

    return UdpTransport.from_config(section, address, index, context)


def _stream(section: "ListenerSection", address: "Address", index: int, context: "ListenerContext") -> "Transport":
    from turnserver.transports.stream import StreamTransport  # noqa: PLC0415

    return StreamTransport.from_config(section, address, index, context)


def _shared(section: "ListenerSection", address: "Address", index: int, context: "ListenerContext") -> "Transport":
    from turnserver.transports.stream import StreamTransport  # noqa: PLC0415

    return StreamTransport.from_config(section, address, index, context, http=context.http)


def _dtls(section: "ListenerSection", address: "Address", index: int, context: "ListenerContext") -> "Transport":
    from turnserver.transports.dtls import DtlsTransport  # noqa: PLC0415

    return DtlsTransport.from_config(section, address, index, context)


def _memory(section: "ListenerSection", address: "Address", index: int, context: "ListenerContext") -> "Transport":
    from turnserver.transports.memory import MemoryTransport  # noqa: PLC0415

    return MemoryTransport.from_config(section, address, index, context)


_EITHER: Final = (ClientTransport.TLS, ClientTransport.TCP)

TRANSPORTS: Final[Registry[ListenerKind]] = Registry("transport")
"""The available transports, in the order of the reference page."""

TRANSPORTS.add("udp", ListenerKind("datagrams", _udp, plain=ClientTransport.UDP))
TRANSPORTS.add("tcp", ListenerKind("TCP without TLS", _stream, plain=ClientTransport.TCP, auto=_EITHER))
TRANSPORTS.add("tls", ListenerKind("TLS over TCP", _stream, secure=ClientTransport.TLS, auto=_EITHER, port=STUNS_PORT))
TRANSPORTS.add(
    "shared",
    ListenerKind(
        "STUN, TURN, HTTP and WebSocket on one port, told apart by their first bytes",
        _shared,
        plain=ClientTransport.TCP,
        secure=ClientTransport.TLS,
        auto=_EITHER,
        port=443,
        plain_port=80,
        http=True,
    ),
)
TRANSPORTS.add(
    "dtls",
    ListenerKind(
        "DTLS over UDP, whose URLs are `turns:…?transport=udp`",
        _dtls,
        secure=ClientTransport.DTLS,
        port=STUNS_PORT,
    ),
)
TRANSPORTS.add(
    "memory",
    ListenerKind(
        "no socket: the embedding program passes frames in and out, for example in a test",
        _memory,
        plain=ClientTransport.UDP,
        local=True,
    ),
    embedded=True,
)
