"""A datapath that sends nothing and records its calls: for checking a configuration, and for tests."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

from stun.address import Address
from turnserver.core.types import Counters, FiveTuple, RelayId, Route
from turnserver.errors import DatapathError
from turnserver.net import TosPolicy
from turnserver.relay.base import ClientSender, DatapathSink

__all__ = ["Call", "NullDatapath"]


class Call(NamedTuple):
    """One call of a `NullDatapath`: the method's name and its arguments."""

    name: str
    arguments: tuple[Any, ...]


class NullDatapath:
    """Records every call in ``calls``, in order; see `turnserver.relay.base.Datapath`.

    Binding to an address in ``refused`` fails, so that a failure can be tested without a socket.
    """

    name = "null"

    def __init__(self, *, tos: TosPolicy = "clear", clock: Callable[[], float] = time.monotonic) -> None:
        self.tos = tos
        self.clock = clock
        self.calls: list[Call] = []
        self.refused: set[Address] = set()
        self.relays: dict[RelayId, Address] = {}
        self.sink: DatapathSink | None = None
        self.clients: ClientSender | None = None

    def attach(self, sink: DatapathSink, clients: ClientSender) -> None:
        """Remember the sink."""
        self.sink = sink
        self.clients = clients
        self._record("attach", sink, clients)

    def open_relay(self, relay: RelayId, bind: Address) -> bool:
        """Raises `turnserver.errors.DatapathError` for an address in ``refused`` or taken by another relay."""
        self._record("open_relay", relay, bind)
        if bind in self.refused or bind in self.relays.values():
            raise DatapathError(f"cannot bind a relay to {bind}")
        self.relays[relay] = bind
        return True

    def close_relay(self, relay: RelayId) -> None:
        """Forget a relay."""
        self._record("close_relay", relay)
        self.relays.pop(relay, None)

    def add_route(self, route: Route) -> None:
        """Record a route; nothing is forwarded."""
        self._record("add_route", route)

    def remove_route(self, client: FiveTuple, channel: int) -> None:
        """Record the end of a route."""
        self._record("remove_route", client, channel)

    def allow_peer(self, relay: RelayId, ip: bytes, until: float) -> None:
        """Record a permission."""
        self._record("allow_peer", relay, ip, until)

    def forbid_peer(self, relay: RelayId, ip: bytes) -> None:
        """Record the end of a permission."""
        self._record("forbid_peer", relay, ip)

    def send_to_peer(self, relay: RelayId, peer: Address, data: bytes, dont_fragment: bool) -> None:
        """Record a datagram; nothing is sent."""
        self._record("send_to_peer", relay, peer, data, dont_fragment)

    def counters(self, relay: RelayId) -> Counters:
        """Zeroes."""
        return Counters()

    def close(self) -> None:
        """Forget every relay."""
        self._record("close")
        self.relays.clear()

    def _record(self, name: str, *arguments: Any) -> None:
        self.calls.append(Call(name, arguments))
