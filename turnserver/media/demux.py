"""One socket for all connections: whose a datagram is (RFC 7983, RFC 8445 §7.3).

A check names the ufrag of its connection; everything else comes from an address that a genuine check has come from.
What names nothing and comes from nowhere known costs a look into a table, and is dropped.

An address belongs to one connection at a time. One that is proven keeps it, so nobody takes away the media of others by
checks with a forged source.
"""

from typing import Final

from stun.address import Address
from stun.demux import LAST_STUN_BYTE
from turnserver.media.connection import PeerConnection
from turnserver.media.ice import named_ufrag

__all__ = ["MOST_CONNECTIONS", "Demux"]

MOST_CONNECTIONS: Final = 8192
"""Connections of one socket: four thousand participants, more than one process can serve. The addresses of each are
bounded by `turnserver.media.ice.MOST_PATHS`."""


class Demux:
    """The connections of one socket."""

    def __init__(self) -> None:
        self._ufrags: dict[bytes, PeerConnection] = {}
        self._sources: dict[Address, PeerConnection] = {}
        self._of: dict[PeerConnection, set[Address]] = {}
        self._checked: tuple[PeerConnection, Address] | None = None

    def __len__(self) -> int:
        """How many connections there are."""
        return len(self._of)

    @property
    def addresses(self) -> int:
        """How many addresses belong to one of them."""
        self._settle()
        return len(self._sources)

    def add(self, connection: PeerConnection) -> bool:
        """Enter a connection, or enter it again after an ICE restart; False if there are too many.

        Raises ValueError if another one has its ufrag.
        """
        names = [ufrag.encode() for ufrag in connection.ufrags]
        if any(self._ufrags.get(name, connection) is not connection for name in names):
            raise ValueError("a ufrag of two connections")
        if connection not in self._of and len(self._of) >= MOST_CONNECTIONS:
            return False
        self._of.setdefault(connection, set())
        for name in [name for name, known in self._ufrags.items() if known is connection]:
            del self._ufrags[name]
        for name in names:
            self._ufrags[name] = connection
        return True

    def remove(self, connection: PeerConnection) -> None:
        """Forget a connection, if it is known."""
        self._settle()
        for address in self._of.pop(connection, ()):
            del self._sources[address]
        for name in [name for name, known in self._ufrags.items() if known is connection]:
            del self._ufrags[name]

    def find(self, datagram: bytearray | memoryview, size: int, source: Address) -> PeerConnection | None:
        """The connection that a datagram is for; None: it is to be dropped. The connection takes it before the next."""
        if self._checked is not None:
            self._settle()
        if size and datagram[0] <= LAST_STUN_BYTE:
            name = named_ufrag(datagram, size)
            if name is not None:
                connection = self._ufrags.get(name)
                if connection is not None:
                    self._checked = connection, source
                return connection
        return self._sources.get(source)

    def _settle(self) -> None:
        """Learn what the last check has made of its source: nothing, unless it was genuine."""
        if self._checked is None:
            return
        (connection, source), self._checked = self._checked, None
        known = self._of.get(connection)
        if known is None:
            return
        for address in [each for each in known if each not in connection.paths]:
            known.discard(address)
            del self._sources[address]
        if source in connection.paths and source not in known and self._is_free(source):
            known.add(source)
            self._sources[source] = connection

    def _is_free(self, source: Address) -> bool:
        """Whether an address may be given to a connection; if so, it is taken from the one before."""
        holder = self._sources.get(source)
        if holder is None:
            return True
        path = holder.paths.get(source)
        if holder.state != "ended" and path is not None and path.proven:
            return False
        self._of[holder].discard(source)
        return True
