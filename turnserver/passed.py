"""Sockets that the service manager has opened, and passes to the process (socket activation, sd_listen_fds(3)).

A listener with the protocol, address and port of such a socket uses it, in place of one that it would bind itself. So a
server needs no capability for port 443, and connections that come while it is restarted wait in the service manager's
socket. A stream socket of all addresses serves a wildcard listener: of each connection, its local address says which of
the listener's addresses it is for. For datagrams there is no such thing, so their sockets have one address each.
"""

import contextlib
import logging
import socket
from collections.abc import Callable, Iterable, MutableMapping
from typing import Final, NamedTuple

from stun.address import Address
from stun.constants import TransportProtocol
from turnserver.errors import StartupError
from turnserver.net import from_sockaddr

__all__ = ["NO_SOCKETS", "PassedSocket", "PassedSockets", "passed_sockets"]

_FIRST: Final = 3
"""The first descriptor that is passed; the others follow it (sd_listen_fds(3))."""

_MOST: Final = 1024
"""Descriptors looked at; more of them are a mistake."""

_PROTOCOLS: Final = {socket.SOCK_STREAM: TransportProtocol.TCP, socket.SOCK_DGRAM: TransportProtocol.UDP}

_SETTING: Final = {TransportProtocol.TCP: "ListenStream=", TransportProtocol.UDP: "ListenDatagram="}

_logger = logging.getLogger("meshturn")


class PassedSocket(NamedTuple):
    """One socket that is bound, and listens if it is one for streams; ``name`` is for people."""

    name: str
    protocol: TransportProtocol
    address: Address
    sock: socket.socket

    def __str__(self) -> str:
        """In words, for errors."""
        return f"The passed socket {self.name} ({self.protocol.name} {self.address})"

    @property
    def is_wildcard(self) -> bool:
        """Whether it is for every address of its family."""
        return not any(self.address.ip)

    def serves(self, protocol: TransportProtocol, address: Address) -> bool:
        """Whether a listener at one local address can use it."""
        if (self.protocol, self.address.port, self.address.family) != (protocol, address.port, address.family):
            return False
        return self.is_wildcard or self.address.ip == address.ip

    @classmethod
    def of(cls, sock: socket.socket, name: str) -> "PassedSocket":
        """Look at a socket. Raises `StartupError` for one that no listener could use."""
        with contextlib.suppress(OSError):
            sock.set_inheritable(False)
        if sock.family not in (socket.AF_INET, socket.AF_INET6) or sock.type not in _PROTOCOLS:
            raise _unusable(name, "is not for TCP or UDP", "Pass sockets with ListenStream= or ListenDatagram= only.")
        protocol = _PROTOCOLS[socket.SocketKind(sock.type)]
        try:
            found = cls(name, protocol, from_sockaddr(sock.getsockname()), sock)
            if protocol is TransportProtocol.TCP and not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                hint = "It may be a connection: use Accept=no in the socket unit."
                raise _unusable(name, "does not listen for connections", hint)
            both = sock.family == socket.AF_INET6 and not sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
            sock.setblocking(False)
        except OSError as error:
            raise _unusable(name, f"cannot be used: {error.strerror or error}", "") from error
        if found.is_wildcard and both:
            hint = "Set BindIPv6Only=ipv6-only in the socket unit, and have a second line for IPv4 (0.0.0.0:PORT)."
            raise _unusable(name, "is for IPv4 and IPv6 at once", hint)
        if found.is_wildcard and protocol is TransportProtocol.UDP:
            hint = "Give ListenDatagram= one address, or let the server bind its UDP sockets itself."
            raise _unusable(name, "is for datagrams to any address, so answers could come from another one", hint)
        return found


class PassedSockets:
    """The sockets that were passed to a server; use it inside the running loop.

    They stay open until `close`: listeners get duplicates, so one that is closed finds its socket when it is opened
    again, because its address has come back.
    """

    def __init__(self, found: Iterable[PassedSocket] = ()) -> None:
        self._found = tuple(found)
        self._owners: dict[Address, Callable[[socket.socket], None]] = {}

    def __len__(self) -> int:
        """How many there are."""
        return len(self._found)

    def insist(self, listeners: Iterable[tuple[TransportProtocol, Address]]) -> None:
        """Raises `StartupError` for a socket that none of the ``listeners`` has: its clients would wait for ever.

        The address of a listener may be a wildcard.
        """
        wanted = list(listeners)
        for each in self._found:
            if not any(_covers(address, each) for protocol, address in wanted if protocol is each.protocol):
                near = [str(address) for protocol, address in wanted if protocol is each.protocol]
                has = f"listeners has {', '.join(near)} for {each.protocol.name}" if near else "listeners has none"
                raise StartupError(
                    f"{each} belongs to no listener: {has}.",
                    f"Add such a listener to the configuration, or take {_SETTING[each.protocol]}{each.address} out of "
                    "the socket unit.",
                )

    def datagrams(self, address: Address) -> socket.socket | None:
        """The UDP socket of an address; None if none was passed."""
        found = self._find(TransportProtocol.UDP, address)
        return None if found is None else found.sock.dup()

    def stream(
        self, address: Address, welcome: Callable[[socket.socket], None]
    ) -> tuple[socket.socket, Callable[[socket.socket], None]] | None:
        """The listening socket for a local address, and what to do with a connection from it; None without one.

        Several listeners may have the same wildcard socket. What is returned gives each connection to the ``welcome``
        of the one whose local address it has.
        """
        found = self._find(TransportProtocol.TCP, address)
        if found is None:
            return None
        if not found.is_wildcard:
            return found.sock.dup(), welcome
        self._owners[address] = welcome
        return found.sock.dup(), self._hand_over

    def leave(self, address: Address) -> None:
        """A listener for streams has been closed."""
        self._owners.pop(address, None)

    def close(self) -> None:
        """Close the sockets here; the service manager's own stay open."""
        for each in self._found:
            each.sock.close()

    def _find(self, protocol: TransportProtocol, address: Address) -> PassedSocket | None:
        fitting = [each for each in self._found if each.serves(protocol, address)]
        return min(fitting, key=lambda each: each.is_wildcard, default=None)

    def _hand_over(self, connection: socket.socket) -> None:
        try:
            here = from_sockaddr(connection.getsockname())
        except OSError:
            connection.close()
            return
        owner = self._owners.get(here)
        if owner is None:  # its address has come or gone a moment ago, or is link-local
            _logger.debug("connection to an address without a listener", extra={"fields": {"address": str(here)}})
            connection.close()
        else:
            owner(connection)


NO_SOCKETS: Final = PassedSockets()
"""What a server has whose sockets are all its own."""


def passed_sockets(environ: MutableMapping[str, str], pid: int) -> PassedSockets:
    """Take the sockets that the environment of the process ``pid`` tells of (``LISTEN_FDS``).

    The variables are removed, so that no other part of the process takes the same sockets. Raises `StartupError`, with
    a hint, for variables or sockets that cannot be used.
    """
    names = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PIDFDID")
    to, count, called, _ = (environ.pop(name, "") for name in names)
    if to != str(pid):
        return NO_SOCKETS
    if not (count.isascii() and count.isdigit() and len(count) <= len(str(_MOST)) and int(count) <= _MOST):
        raise StartupError(f"LISTEN_FDS is no number of sockets up to {_MOST}: {count[:40]!r}.")
    labels = called.split(":")
    found = []
    for number in range(_FIRST, _FIRST + int(count)):
        at = number - _FIRST
        label = labels[at] if at < len(labels) and labels[at] not in {"", "unknown"} else f"descriptor {number}"
        try:
            sock = socket.socket(fileno=number)
        except OSError as error:
            raise _unusable(label, f"cannot be used: {error.strerror or error}", "") from error
        found.append(PassedSocket.of(sock, label))
    return PassedSockets(found)


def _covers(listener: Address, passed: PassedSocket) -> bool:
    """Whether a configured listener takes a passed socket; it may take it for one of its addresses only."""
    if (listener.port, listener.family) != (passed.address.port, passed.address.family):
        return False
    return listener.ip == passed.address.ip or not any(listener.ip)


def _unusable(name: str, why: str, hint: str) -> StartupError:
    return StartupError(f"The passed socket {name} {why}.", hint)
