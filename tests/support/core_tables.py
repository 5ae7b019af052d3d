"""Do the core's tables agree with one another, and is the shell open for nothing else?

Each table of the core is worked out again from another one; nothing is taken from the code under test but the tables.
"""

from collections import Counter
from itertools import chain

from tests.support.core_oracle import Oracle, Told
from tests.support.core_world import World
from turnserver.core.allocation import Allocation, AllocationState, Relay, RelayState
from turnserver.core.deadlines import DeadlineKey, DeadlineKind
from turnserver.core.ports import RelayPorts
from turnserver.core.reflection import MAX_PREFIXES
from turnserver.core.state import CoreState
from turnserver.core.tcp_connections import ConnectionState
from turnserver.core.types import RelayId, Route
from turnserver.throttle import packed_prefix

__all__ = ["check_empty", "check_shell", "check_tables", "check_told", "relay_of"]


def check_tables(world: World) -> None:
    """All that must hold after every input, whatever it was."""
    state = world.core.state
    _check_allocations(state)
    _check_openings(state)
    _check_relays(state, world)
    _check_quota(state)
    for allocation in state.allocations.values():
        _check_allocation(state, allocation)
    _check_deadlines(world)


def _check_allocations(state: CoreState) -> None:
    allocations = set(state.allocations.values())
    assert all(allocation.client == client for client, allocation in state.allocations.items())
    assert all(allocation.serial == serial for serial, allocation in state.by_serial.items())
    assert set(state.by_serial.values()) == allocations
    assert len(state.by_serial) == len(state.allocations)
    assert all(held for held in state.by_user.values())
    assert set(chain.from_iterable(state.by_user.values())) == allocations
    for user_id, held in state.by_user.items():
        assert all(allocation.credential.user_id == user_id for allocation in held)
    attached = {relay.id: (allocation, relay) for allocation in allocations for relay in allocation.relays}
    assert state.by_relay == attached
    moving = {allocation.moving: allocation for allocation in allocations if allocation.moving is not None}
    assert state.moves.by_client == moving
    assert moving.keys().isdisjoint(state.allocations), "a 5-tuple with two allocations"
    assert all(allocation.mobile and allocation.state is AllocationState.LIVE for allocation in moving.values())
    assert all(allocation.spent <= allocation.tickets for allocation in allocations)
    assert all(allocation.mobile or not allocation.tickets for allocation in allocations)


def _check_openings(state: CoreState) -> None:
    opening = {a.serial for a in state.allocations.values() if a.state is AllocationState.OPENING}
    assert set(state.openings) == opening
    waiting = {}
    for serial, entry in state.openings.items():
        assert entry.allocation is state.by_serial[serial]
        assert not all(slot.settled for slot in entry.slots), "an opening that nobody will finish"
        for slot in entry.slots:
            assert slot.relay is None or slot.relay in entry.allocation.relays
            for relay in (slot.relay, slot.mate):
                if relay is not None and relay.state is RelayState.OPENING:
                    waiting[relay.id] = (entry, slot)
        assert len(entry.allocation.relays) == sum(slot.relay is not None for slot in entry.slots)
    assert state.opening_relays == waiting


def _check_relays(state: CoreState, world: World) -> None:
    """Ports, sockets and reservations: each has exactly one owner."""
    mates = [slot.mate for entry in state.openings.values() for slot in entry.slots if slot.mate is not None]
    reserved = [held.relay for held in state.reservations.values()]
    assert all(relay.state is RelayState.OPEN for relay in reserved)
    assert all(held.token == token for token, held in state.reservations.items())
    assert state._reserved == Counter(held.user_id for held in state.reservations.values())
    relays: list[Relay] = [relay for _, relay in state.by_relay.values()] + mates + reserved
    assert len({relay.id for relay in relays}) == len(relays)
    held = Counter(connection.allocation.credential.user_id for connection in state.tcp.by_id.values())
    held += Counter(allocation.credential.user_id for allocation, _ in state.by_relay.values())
    held += Counter(reservation.user_id for reservation in state.reservations.values())
    clients = Counter(connection.allocation.credential.user_id for connection in state.tcp.by_id.values())
    ends = [*state.allocations.items(), *state.moves.by_client.items()]
    streams = [allocation for client, allocation in ends if client.transport.stream]
    clients += Counter(allocation.credential.user_id for allocation in streams)
    assert state.descriptors.ahead == len(state.tcp.by_id) - len(state.tcp.by_client)
    waiting = [(entry, slot) for entry in state.openings.values() for slot in entry.slots if slot.mate is not None]
    held += Counter(entry.allocation.credential.user_id for entry, _ in waiting)
    assert (state.descriptors.used, state.descriptors.users) == (held.total(), held + clients)
    for (bound, protocol), ports in state.ports.items():
        owned = [relay.bound.port for relay in relays if (relay.bound.ip, relay.protocol) == (bound, protocol)]
        assert len(set(owned)) == len(owned) == ports.used
        assert ports._used == set(owned)
        _check_ports(ports)
    assert world.bound == {relay.id: relay.bound for relay in relays}, "sockets that nobody owns, or the other way"


def _check_ports(ports: RelayPorts) -> None:
    """Every port, or pair, that is not used is either ready or cooling, in each of the pools that it belongs to."""
    used = ports._used
    for pool, taken in (
        (ports._any, used),
        (ports._even, used),
        (ports._pairs, {port & ~1 for port in used}),
    ):
        absent = taken.intersection(pool._ports)
        assert pool._ready + len(pool._cooling) + len(absent) == len(pool._ports)
        assert absent.isdisjoint(pool._cooling)
        for port in absent | pool._cooling.keys():
            index = pool._ports.index(port)
            assert pool._place[index] >= pool._ready
            assert pool._at[pool._place[index]] == index


def _check_quota(state: CoreState) -> None:
    assert state.quota.total == len(state.allocations) <= state.settings.limits.allocations
    assert state.quota._users == {user_id: len(held) for user_id, held in state.by_user.items()}
    assert all(state.quota.users.get(user_id, 0) == len(held) for user_id, held in state.by_user.items())


def _check_allocation(state: CoreState, allocation: Allocation) -> None:
    limits = state.settings.limits
    families = {len(relay.bound.ip) for relay in allocation.relays}
    if allocation.state is AllocationState.OPENING:
        assert not allocation.permissions
        assert not allocation.channels
        return
    assert allocation.relays
    assert all(relay.state is RelayState.OPEN for relay in allocation.relays)
    assert len(families) == len(allocation.relays)
    assert {channel.number: channel for channel in allocation.peers.values()} == allocation.channels
    assert all(channel.peer == peer for peer, channel in allocation.peers.items())
    assert {len(ip) for ip in allocation.permissions} | {len(peer.ip) for peer in allocation.peers} <= families
    assert len(allocation.permissions) <= limits.permissions_per_allocation
    assert len(allocation.channels) <= limits.channels_per_allocation
    assert len(allocation.refused) <= 64
    if not state.settings.peers.strict_permissions:
        assert all(
            allocation.permissions[channel.peer.ip] >= channel.expires
            for channel in allocation.channels.values()
            if not channel.swallows
        )


def _check_deadlines(world: World) -> None:
    """Whatever can expire has exactly one deadline, in the future, and nothing else has one."""
    core, state = world.core, world.core.state
    due: dict[DeadlineKey, float] = {}
    for allocation in state.allocations.values():
        if allocation.state is AllocationState.LIVE:
            for relay in allocation.relays:
                due[DeadlineKey(DeadlineKind.RELAY, allocation.serial, relay.id)] = relay.expires
        for ip, until in allocation.permissions.items():
            due[DeadlineKey(DeadlineKind.PERMISSION, allocation.serial, ip)] = until
        for number, channel in allocation.channels.items():
            due[DeadlineKey(DeadlineKind.CHANNEL, allocation.serial, number)] = channel.expires
    assert {key: when for key, when in state.deadlines._when.items() if key.kind <= DeadlineKind.CHANNEL} == due
    openings = {key.owner for key in state.deadlines._when if key.kind is DeadlineKind.OPENING}
    assert openings == set(state.openings)
    rest = [key for key in state.deadlines._when if DeadlineKind.CHANNEL < key.kind < DeadlineKind.OPENING]
    others = {(key.kind, key.item) for key in rest}
    assert others == (
        {(DeadlineKind.RESERVATION, token) for token in state.reservations}
        | {(DeadlineKind.RETRANSMISSION, key) for key in state.retransmissions._answers}
        | {(DeadlineKind.LOOKUP, ticket) for ticket in core._lookups._parked}
        | {(DeadlineKind.CONNECTION, id) for id, c in state.tcp.by_id.items() if c.state is not ConnectionState.BOUND}
    )
    assert all(key.owner == 0 for key in rest)
    assert all(when > world.now.mono for when in state.deadlines._when.values())
    deadline = core.deadline()
    assert (deadline is None) == (not state.deadlines._when)
    assert deadline is None or deadline == min(state.deadlines._when.values())
    _check_lookups(world)
    assert len(state.reflection) <= MAX_PREFIXES


def _check_lookups(world: World) -> None:
    """Every request that waits is asked for once, within the limits, and the shell was told of those that do not."""
    lookups, limits = world.core._lookups, world.core.state.settings.limits
    parked = lookups._parked
    assert lookups._waiting == {r.transaction for r in parked.values()}
    assert len(lookups._waiting) == len(parked) == world.core.totals().pending_lookups <= limits.pending_lookups
    assert lookups._per_address == Counter(packed_prefix(r.client.address.ip) for r in parked.values())
    assert not lookups._per_address or max(lookups._per_address.values()) <= world.core.state.bounds.lookups_per_address
    assert len(set(world.cancelled)) == len(world.cancelled)
    assert set(parked).isdisjoint(world.cancelled)


def relay_of(world: World, oracle: Oracle, told: Told, size: int) -> RelayId:
    """The shell's name for a relay of which a client knows the advertised address."""
    address, _ = told.relays[size]
    bound = oracle.to_wire(address)
    return next(relay for relay, other in world.bound.items() if other == bound)


def check_told(world: World, oracle: Oracle) -> None:
    """The core holds what its clients were told that it holds, until when they were told; no more and no less."""
    live = {client: a for client, a in world.core.state.allocations.items() if a.state is AllocationState.LIVE}
    assert live.keys() == oracle.allocations.keys()
    assert {c for c in world.core.state.allocations if c not in live} == oracle.opening.keys()
    for client, told in oracle.allocations.items():
        held = live[client]
        assert {len(relay.bound.ip): (relay.advertised, relay.expires) for relay in held.relays} == told.relays
        assert held.permissions == told.permissions
        assert {number: (c.peer, c.expires) for number, c in held.channels.items()} == told.channels
        assert {number for number, c in held.channels.items() if c.swallows} == told.dead & told.channels.keys()
        assert held.credential.user_id == told.account.user_id
        assert (held.mobile, held.moving, held.tickets, held.spent) == (
            told.mobile,
            told.moving,
            told.issued,
            told.spent,
        )
    ends = [told.moving for told in oracle.allocations.values()]
    ends += [client for client, told in oracle.allocations.items() if told.has_moved]
    assert world.kept == {client for client in ends if client is not None}
    reserved = {token: held.relay.advertised for token, held in world.core.state.reservations.items()}
    assert reserved == {token: held.relayed for token, held in oracle.reservations.items()}


def check_shell(world: World, oracle: Oracle) -> None:
    """The shell lets through what a live permission covers, until it ends, and nothing else."""
    allowed: dict[tuple[RelayId, bytes], float] = {}
    routes: set[Route] = set()
    for client, told in oracle.allocations.items():
        for ip, until in told.permissions.items():
            key = relay_of(world, oracle, told, len(ip)), oracle.wire_ip(ip)
            allowed[key] = max(until, allowed.get(key, 0.0))
        for number, (peer, until) in told.channels.items():
            if peer.ip in told.permissions and number not in told.dead:
                relay = relay_of(world, oracle, told, len(peer.ip))
                expires = min(until, told.permissions[peer.ip])
                routes.add(Route(client, number, relay, oracle.to_wire(peer), expires))
    assert world.allowed == allowed
    assert {route for route in world.routes.values() if route.expires > world.now.mono} == routes
    for route in world.routes.values():
        assert route.channel in oracle.allocations[route.client].channels, "a route without a channel"


def check_empty(world: World) -> None:
    """Nothing is left: no table entry, socket, route, port or deadline."""
    core, state = world.core, world.core.state
    tables = (
        state.allocations,
        state.moves.by_client,
        state.by_serial,
        state.by_user,
        state.by_relay,
        state.openings,
        state.opening_relays,
        state.reservations,
        state.quota._users,
        state.retransmissions._answers,
        state.deadlines._when,
        core._lookups._parked,
        core._lookups._waiting,
        core._lookups._per_address,
        world.bound,
        world.routes,
        world.allowed,
        *[ports._used for ports in state.ports.values()],
    )
    assert [table for table in tables if table] == []
    assert state.quota.total == 0
    assert core.deadline() is None
    assert state.deadlines._heap == []
    assert state.deadlines._scheduled == {}
