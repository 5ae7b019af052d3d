"""What tickets (RFC 8016) can cost that were forged, stolen, replayed, or asked for by the thousand."""

from stun import attributes as a
from stun.constants import Method
from stun.message import Message
from tests.support.core_world import ScriptedClient, World, code_of, deterministic_entropy
from tests.support.steps import steps_of
from turnserver.core.tickets import TICKET_SIZE

AWAY = "203.0.113.77"
MANY = 2000


def at_home(world: World) -> tuple[ScriptedClient, bytes]:
    client = world.client()
    return client, _ticket(client.allocate((a.MOBILITY_TICKET, b"")))


def _ticket(answer: Message) -> bytes:
    ticket = answer.first(a.MOBILITY_TICKET)
    assert ticket is not None
    return ticket


def held(world: World) -> tuple[int, ...]:
    """How much the core remembers, the kept answers apart."""
    state = world.core.state
    tables = state.allocations, state.moves.by_client, state.by_serial, state.by_user, state.by_relay
    return tuple(len(table) for table in tables)


def test_forged_tickets_leave_nothing_and_cost_what_any_request_costs() -> None:
    """From a user: each is 400, as good as at once, and nothing is remembered of any."""
    world = World(settings={"mobility": True})
    client, _ = at_home(world)
    before, kept = held(world), len(world.core.state.retransmissions)
    noise = deterministic_entropy(b"forger")
    forger = client.at(AWAY)
    for _ in range(MANY):
        assert code_of(forger.refresh(None, (a.MOBILITY_TICKET, noise(TICKET_SIZE)))) == 400
    assert (held(world), len(world.core.state.retransmissions)) == (before, kept)
    plain = client.build(Method.REFRESH, [])
    forged = forger.build(Method.REFRESH, [(a.MOBILITY_TICKET, noise(TICKET_SIZE))])
    costs = [
        steps_of(lambda at=at, frame=frame: world.feed(at.path, frame))
        for at, frame in ((client, plain), (forger, forged))
    ]
    assert costs[1] < 2 * costs[0], costs


def test_strangers_with_stolen_tickets_are_strangers() -> None:
    """Without the password of its user a ticket is worth nothing, whoever has it and however often."""
    world = World(settings={"mobility": True})
    client, ticket = at_home(world)
    before = held(world)
    for port in range(40_000, 40_200):
        stranger = client.at(AWAY, port)
        frame = stranger.build(Method.REFRESH, [(a.MOBILITY_TICKET, ticket)], signed=False)
        assert code_of(stranger.send(frame)) == 401
        thief = world.client(AWAY, port, user="bob", password="hunter2")
        thief.challenge()
        assert code_of(thief.refresh(None, (a.MOBILITY_TICKET, ticket))) == 441
    assert held(world) == before
    assert code_of(client.at("203.0.113.78").refresh(None, (a.MOBILITY_TICKET, ticket))) == 0


def test_who_moves_all_day_holds_one_place() -> None:
    """Thousands of moves of one allocation: one relay, one entry in each table, and one answer for retransmissions."""
    world = World(settings={"mobility": True})
    client, ticket = at_home(world)
    relay, kept = client.relay, len(world.core.state.retransmissions)
    for number in range(MANY):
        client = client.at(AWAY, 10_000 + number)
        ticket = _ticket(client.refresh(None, (a.MOBILITY_TICKET, ticket)))
        if number % 2:
            client.indicate()
    assert client.relays == [relay]
    assert held(world) == (1, 0, 1, 1, 1)
    assert len(world.core.state.retransmissions) == kept + 1
    world.advance(41)
    assert len(world.core.state.retransmissions) == 0


def test_who_asks_for_tickets_all_day_costs_a_number() -> None:
    """Every Refresh brings a ticket; the server remembers how many there were, and the last one is as good as any."""
    world = World(settings={"mobility": True})
    client, first = at_home(world)
    before = held(world)
    last = [_ticket(client.refresh()) for _ in range(MANY)][-1]
    assert held(world) == before
    assert code_of(client.at(AWAY).refresh(None, (a.MOBILITY_TICKET, last))) == 0
    assert code_of(client.at("203.0.113.78").refresh(None, (a.MOBILITY_TICKET, first))) == 400


def test_a_restarted_server_knows_no_ticket_of_before() -> None:
    """The key is the process's, and so are allocations: 400, and the client allocates anew."""
    _, ticket = at_home(World(settings={"mobility": True}))
    restarted = World(settings={"mobility": True})
    restarted.core.state.moves._seal._entropy = deterministic_entropy(b"another process")
    client, _ = at_home(restarted)
    assert code_of(client.at(AWAY).refresh(None, (a.MOBILITY_TICKET, ticket))) == 400
