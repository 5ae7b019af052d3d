"""Which connection makes room when the limit of connections is reached. Pure: no sockets and no clock.

The network (IPv4 /24, IPv6 /48) with the most idle connections gives one first. Within it, the client (an IPv4 address,
an IPv6 /64) with the most does, and of its connections the one that has been idle longest. Among equal networks or
clients, the one whose connection has been idle longest gives. So whoever takes many connections makes room for the
others, from one address or from many neighbouring ones.

Every call costs the same, up to a logarithm, for any number of connections: strangers decide how often it is called.
"""

from collections import OrderedDict
from collections.abc import Hashable
from heapq import heapify, heappop, heappush
from typing import Final, Generic, TypeVar

from turnserver.throttle import packed_network, packed_prefix

__all__ = ["IdleConnections"]

_Item = TypeVar("_Item", bound=Hashable)

_SLACK: Final = 64
"""Stale heap entries allowed, in addition to the number of live ones, before a heap is rebuilt."""


class IdleConnections(Generic[_Item]):
    """The connections that may be closed to make room, in the order in which they became idle."""

    def __init__(self) -> None:
        self._networks: dict[bytes, _Network[_Item]] = {}
        self._ranking = _Ranking()
        self._places: dict[_Item, bytes] = {}
        self._serial = 0

    def __len__(self) -> int:
        return len(self._places)

    def add(self, item: _Item, ip: bytes) -> None:
        """A connection of a client (packed address) is idle from now on; if it was already, it begins again."""
        self.remove(item)
        self._serial += 1
        self._places[item] = ip
        network = self._networks.setdefault(packed_network(ip), _Network())
        network.add(item, packed_prefix(ip), self._serial)
        self._rank(packed_network(ip), network)

    def remove(self, item: _Item) -> None:
        """A connection is in use, or has ended; unknown ones are ignored."""
        ip = self._places.pop(item, None)
        if ip is None:
            return
        network = self._networks[packed_network(ip)]
        network.remove(item, packed_prefix(ip))
        self._rank(packed_network(ip), network)

    def first(self) -> _Item | None:
        """The connection to close first; None without any."""
        key = self._ranking.first()
        return None if key is None else self._networks[key].first()

    def _rank(self, key: bytes, network: "_Network[_Item]") -> None:
        if network.count:
            self._ranking.set(key, network.count, network.since())
        else:
            del self._networks[key]
            self._ranking.remove(key)


class _Network(Generic[_Item]):
    """The idle connections of one network, by client; each with the number of the event since which it is idle."""

    def __init__(self) -> None:
        self.count = 0
        self._clients: dict[bytes, OrderedDict[_Item, int]] = {}
        self._ranking = _Ranking()

    def add(self, item: _Item, client: bytes, since: int) -> None:
        self.count += 1
        self._clients.setdefault(client, OrderedDict())[item] = since
        self._rank(client)

    def remove(self, item: _Item, client: bytes) -> None:
        self.count -= 1
        del self._clients[client][item]
        self._rank(client)

    def first(self) -> _Item:
        return next(iter(self._foremost()))

    def since(self) -> int:
        return next(iter(self._foremost().values()))

    def _foremost(self) -> OrderedDict[_Item, int]:
        client = self._ranking.first()
        assert client is not None, "a network without connections is forgotten"
        return self._clients[client]

    def _rank(self, client: bytes) -> None:
        held = self._clients[client]
        if held:
            self._ranking.set(client, len(held), next(iter(held.values())))
        else:
            del self._clients[client]
            self._ranking.remove(client)


class _Ranking:
    """Keys by count, the greatest first, then by the smallest ``since``. Changes leave stale heap entries behind."""

    def __init__(self) -> None:
        self._ranks: dict[bytes, tuple[int, int]] = {}
        self._heap: list[tuple[int, int, bytes]] = []

    def set(self, key: bytes, count: int, since: int) -> None:
        rank = (-count, since)
        if self._ranks.get(key) != rank:
            self._ranks[key] = rank
            heappush(self._heap, (*rank, key))
            self._trim()

    def remove(self, key: bytes) -> None:
        self._ranks.pop(key, None)
        self._trim()

    def first(self) -> bytes | None:
        heap = self._heap
        while heap and self._ranks.get(heap[0][2]) != heap[0][:2]:
            heappop(heap)
        return heap[0][2] if heap else None

    def _trim(self) -> None:
        if len(self._heap) > 2 * len(self._ranks) + _SLACK:
            self._heap = [(*rank, key) for key, rank in self._ranks.items()]
            heapify(self._heap)
