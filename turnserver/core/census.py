"""How much the core holds, by kind: for metrics, at a cost that stays small with many thousands of allocations."""

from collections.abc import Mapping

from stun.constants import TransportProtocol
from turnserver.core.allocation import AllocationState
from turnserver.core.state import CoreState
from turnserver.core.types import AllocationKind, ClientTransport, PortsView, RelayFamily

__all__ = ["count_allocations", "count_ports"]


def count_allocations(state: CoreState) -> Mapping[AllocationKind, int]:
    """The live allocations of each kind that there is."""
    counts: dict[tuple[ClientTransport, int, TransportProtocol], int] = {}
    live = AllocationState.LIVE
    for allocation in state.allocations.values():
        if allocation.state is live:
            relays = allocation.relays
            # The length of the address tells the family, and 0 that there are two: the cheapest key there is.
            size = len(relays[0].bound.ip) if len(relays) == 1 else 0
            key = allocation.client.transport, size, allocation.protocol
            counts[key] = counts.get(key, 0) + 1
    words: Mapping[int, RelayFamily] = {4: "ipv4", 16: "ipv6", 0: "dual"}
    return {AllocationKind(transport, words[size], protocol): n for (transport, size, protocol), n in counts.items()}


def count_ports(state: CoreState) -> tuple[PortsView, ...]:
    """The relay ports of every address that relays are opened on; of one that has gone while relays are left, too."""
    return tuple(
        PortsView(bound, protocol, ports.used, ports.total) for (bound, protocol), ports in state.ports.items()
    )
