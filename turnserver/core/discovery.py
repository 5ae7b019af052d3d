"""Where answers come from in NAT behavior discovery (RFC 5780 §6): two addresses with the same two ports.

Discovery is offered where all four sockets are open. A client that is told of an address which does not answer
would take its own NAT for one that filters.
"""

from collections.abc import Iterable
from typing import NamedTuple

from stun.address import Address
from turnserver.core.settings import DiscoverySocket
from turnserver.core.types import FiveTuple
from turnserver.core.understood import CHANGE_FLAGS, CHANGE_IP, CHANGE_PORT

__all__ = ["Discovery", "DiscoveryPlace"]


class DiscoveryPlace(NamedTuple):
    """One of the four sockets, and the others by the flags of CHANGE-REQUEST (RFC 5780 §6.1, table 1)."""

    own: DiscoverySocket
    by_flags: dict[int, DiscoverySocket]

    @property
    def other(self) -> Address:
        """OTHER-ADDRESS: the public address of the socket that differs in address and port."""
        return self.by_flags[CHANGE_FLAGS].public

    def source(self, flags: int) -> DiscoverySocket:
        """The socket that an answer is sent from."""
        return self.by_flags.get(flags & CHANGE_FLAGS, self.own)


class Discovery:
    """The sockets of a server that belong together, by the number of their listener."""

    def __init__(self, sockets: Iterable[DiscoverySocket] = ()) -> None:
        known = {socket.bound: socket for socket in sockets}
        self._places: dict[int, DiscoveryPlace] = {}
        for socket in known.values():
            ip, port = socket.bound
            others = [each for each in known if each.family is socket.bound.family and each.ip != ip]
            for other in others:
                quad = {
                    CHANGE_IP: Address(other.ip, port),
                    CHANGE_PORT: Address(ip, other.port),
                    CHANGE_FLAGS: other,
                }
                if other.port != port and all(address in known for address in quad.values()):
                    by_flags = {flags: known[address] for flags, address in quad.items()}
                    self._places[socket.listener] = DiscoveryPlace(socket, by_flags)

    def place(self, client: FiveTuple) -> DiscoveryPlace | None:
        """Where a client's request has come in; None if discovery is not offered there."""
        return self._places.get(client.listener) if self._places else None
