"""Clients that speak another protocol than the listener they have reached, in a line for the operator.

Such a client is only told that its connection has ended, and the operator is told by users that "TURN does not work".
The line says what came to which listener, and the URL that works: the one at this listener that says what it speaks,
and that of another listener for what the client speaks.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import Enum
from typing import Final, NamedTuple

from stun.address import Address
from turnserver.core.types import ClientTransport
from turnserver.lines import Allowance, Lines
from turnserver.reasons import Reason

__all__ = ["Came", "Crossings", "Door"]

_ALLOWANCE: Final = Allowance(burst=1, rate=1 / 60, total_burst=20, total_rate=1 / 3)
"""A line of each kind a minute for each network and listener: clients of this kind try again and again."""

_AUTO: Final = "tls: auto serves both on this listener"
_SHARED: Final = "a shared listener serves HTTP too"


class Came(Enum):
    """What has come to a listener that does not speak it; the value is the line."""

    TLS = "TLS on a listener without TLS"
    TURN = "TURN without TLS on a listener with TLS"
    HTTP = "HTTP on a listener for TURN only"
    PLAIN_HTTP = "HTTP without TLS on a listener with TLS"
    DTLS = "DTLS on a UDP listener"
    PLAIN_UDP = "TURN without DTLS on a listener with DTLS"
    TURN_FOR_HTTP = "TURN on a listener for HTTP only"

    @property
    def cause(self) -> Reason:
        """The reason code."""
        return _CAUSES[self]


_CAUSES: Final = {
    Came.TLS: Reason.TLS_UNEXPECTED,
    Came.TURN: Reason.NOT_TLS,
    Came.HTTP: Reason.HTTP_UNEXPECTED,
    Came.PLAIN_HTTP: Reason.NOT_TLS,
    Came.DTLS: Reason.DTLS_UNEXPECTED,
    Came.PLAIN_UDP: Reason.NOT_DTLS,
    Came.TURN_FOR_HTTP: Reason.TURN_UNEXPECTED,
}


class Door(NamedTuple):
    """One open listener: its name in the configuration, its TURN clients' transports, and whether it serves HTTP.

    ``bound`` is the address of its socket, ``public`` the address at which clients reach it. ``certified`` is the name
    that clients have to use under TLS, if the certificate is not for the address.
    """

    name: str
    kinds: tuple[ClientTransport, ...]
    http: bool
    bound: Address
    public: Address
    certified: str = ""

    @property
    def secure(self) -> bool:
        """Whether its clients can use TLS."""
        return any(kind.secure for kind in self.kinds)

    @property
    def plain(self) -> bool:
        """Whether its clients can do without TLS, over TCP."""
        return ClientTransport.TCP in self.kinds

    def turn(self, kind: ClientTransport) -> str:
        """The TURN URL with a transport (RFC 7065)."""
        scheme, transport = kind.uri
        return f"{scheme}:{self._at(kind.secure)}?transport={transport}"

    def page(self, secure: bool) -> str:
        """The URL of its pages."""
        return f"{'https' if secure else 'http'}://{self._at(secure)}/"

    def _at(self, secure: bool) -> str:
        return f"{self.certified}:{self.public.port}" if secure and self.certified else str(self.public)


class Crossings:
    """Says what comes to the listener at ``address``, called ``name``, that belongs elsewhere.

    ``doors`` gives the listeners that are open; ``clock`` gives monotonic seconds.
    """

    def __init__(self, logger: logging.Logger, doors: Callable[[], Sequence[Door]], clock: Callable[[], float]) -> None:
        self._lines = Lines(logger, _ALLOWANCE, clock)
        self._doors = doors
        self.counts: Counter[Reason] = Counter()
        """How many there were for each reason."""

    def say(self, came: Came, name: str, here: Address, client: Address, *, proxied: bool = False) -> None:
        """Write the line, at a limited rate; ``proxied``: clients do not know this listener's address."""
        self.counts[came.cause] += 1
        doors = list(self._doors())
        own = [door for door in doors if door.bound == here and door.name == name]
        others = [door for door in doors if door not in own and _reachable(door, here)]
        others.sort(key=lambda door: door.bound.ip != here.ip)
        urls = list(dict.fromkeys(_urls(came, [] if proxied else own, others)))
        fields = {"client": str(client), "listener": f"{name} {here}", "cause": str(came.cause)}
        if urls:
            fields["works"] = " or ".join(urls)
        if came in (Came.TLS, Came.TURN) and any(door.kinds for door in own):
            fields["option"] = _AUTO
        elif came is Came.HTTP and not urls:
            fields["option"] = _SHARED
        self._lines.write(logging.INFO, came.value, fields, client)


def _reachable(door: Door, here: Address) -> bool:
    """Whether who has reached ``here`` can be expected to reach another listener."""
    return len(door.bound.ip) == len(here.ip) and (here.is_loopback or not door.bound.is_loopback)


def _urls(came: Came, own: Sequence[Door], others: Sequence[Door]) -> Iterator[str]:
    """The URLs that work instead: at most one of this listener, and one of another."""
    secure = [door for door in others if ClientTransport.TLS in door.kinds]
    plain = [door for door in others if door.plain]
    match came:
        case Came.TLS if any(not door.kinds for door in own):  # HTTP only: it was to be HTTPS
            yield from (door.page(secure=False) for door in own if any(door.public.ip))
        case Came.TLS:
            yield from _turn(own, ClientTransport.TCP)
            yield from _turn(secure[:1], ClientTransport.TLS)
        case Came.TURN_FOR_HTTP:
            yield from _turn(plain[:1], ClientTransport.TCP)
            yield from _turn(secure[:1], ClientTransport.TLS)
        case Came.TURN:
            yield from _turn(plain[:1], ClientTransport.TCP)
            yield from _turn(own, ClientTransport.TLS)
        case Came.DTLS:
            datagrams = [door for door in others if ClientTransport.DTLS in door.kinds]
            yield from _turn(own, ClientTransport.UDP)
            yield from _turn(datagrams[:1], ClientTransport.DTLS)
            yield from _turn([] if datagrams else secure[:1], ClientTransport.TLS)
        case Came.PLAIN_UDP:
            datagrams = [door for door in others if ClientTransport.UDP in door.kinds]
            yield from _turn(datagrams[:1], ClientTransport.UDP)
            yield from _turn(own, ClientTransport.DTLS)
        case Came.PLAIN_HTTP:
            yield from (door.page(secure=True) for door in own)
        case Came.HTTP:
            pages = [door for door in others if door.http]
            yield from (door.page(door.secure) for door in sorted(pages, key=lambda door: not door.secure)[:1])


def _turn(doors: Iterable[Door], kind: ClientTransport) -> Iterator[str]:
    return (door.turn(kind) for door in doors)
