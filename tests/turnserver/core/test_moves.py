"""Mobility (RFC 8016): tickets, moves between addresses and transports, and who may not, in virtual time."""

from typing import Any

import pytest

from auth.ephemeral import SharedSecret, TimeLimitedCredentials, mint
from stun import attributes as a
from stun import channeldata
from stun.attributes import AttributeType
from stun.constants import Method
from stun.message import Message
from tests.support.core_settings import core_settings
from tests.support.core_world import PEER, PEER6, REALM, SOFTWARE, ScriptedClient, SlowSource, World, code_of
from tests.support.tcp_world import TCP, TcpClient, TcpWorld
from turnserver.core.commands import AddRoute, CloseClient, KeepClient, RemoveRoute, SendToClient
from turnserver.core.events import AllocationEnded, AllocationMoved, AllocationRefreshed, EndReason, RequestRefused
from turnserver.core.tickets import TICKET_SIZE
from turnserver.core.types import ClientTransport, CoreTotals, Route
from turnserver.reasons import Reason

ASKED = (a.MOBILITY_TICKET, b"")
DUAL = (a.ADDITIONAL_ADDRESS_FAMILY, 2)
UDP, STREAM, TLS, DTLS = ClientTransport.UDP, ClientTransport.TCP, ClientTransport.TLS, ClientTransport.DTLS
CHANNEL = 0x4000
HOME = "192.0.2.10"
AWAY = "203.0.113.77"


def a_world(**options: Any) -> World:
    return World(settings={"mobility": True}, **options)


def ticket_of(answer: Message) -> bytes:
    ticket = answer.first(a.MOBILITY_TICKET)
    assert ticket is not None
    return ticket


def mobile(world: World, *attributes: tuple[AttributeType[Any], Any], **options: Any) -> tuple[ScriptedClient, bytes]:
    """A client at home, with an allocation, a channel to a peer, and a ticket."""
    client = world.client(HOME, **options)
    ticket = ticket_of(client.allocate(ASKED, *attributes))
    assert code_of(client.bind(CHANNEL, PEER)) == 0
    world.take()
    world.take_events()
    return client, ticket


def move(client: ScriptedClient, ticket: bytes, lifetime: int | None = None, *more: tuple[Any, Any]) -> Message:
    return client.refresh(lifetime, (a.MOBILITY_TICKET, ticket), *more)


def says(client: ScriptedClient, data: bytes) -> list[bytes]:
    """What comes to peers of data on the channel."""
    pack = channeldata.encode_padded if client.path.transport.padded else channeldata.encode
    return [sent.data for sent in client.indicate_raw(pack(CHANNEL, data))]


def hears_peer(world: World, *clients: ScriptedClient) -> list[bool]:
    """Which clients hear a peer that has a permission and no route (a route is the datapath's)."""
    owners = [world.core.state.allocation(client.path) for client in clients]
    allocation = next(owner for owner in owners if owner is not None)
    world.peer_sends(allocation.relays[0].id, PEER, b"from a peer")
    return [bool(client.hears()) for client in clients]


# Allocate


@pytest.mark.parametrize("value", [b"", b"x"])
def test_without_mobility_it_is_405(value: bytes) -> None:
    """RFC 8016 §3.1.2: the server forbids mobility, as it does by default; whatever the ticket is."""
    world = World()
    client = world.client()
    answer = client.allocate((a.MOBILITY_TICKET, value))
    assert code_of(answer) == 405
    assert (error := answer.first(a.ERROR_CODE)) is not None
    assert error.reason == "Mobility Forbidden (mobility-off)"
    assert code_of(client.allocate()) == 0, "without the attribute"


def test_a_ticket_that_is_not_empty_is_400() -> None:
    """RFC 8016 §3.1.2."""
    world = a_world()
    client = world.client()
    assert code_of(client.allocate((a.MOBILITY_TICKET, bytes(TICKET_SIZE)))) == 400
    world.assert_nothing_left()


def test_who_asks_gets_a_ticket() -> None:
    """RFC 8016 §3.1.2; a retransmission gets the same one."""
    world = a_world()
    client = world.client()
    client.challenge()
    frame = client.build(Method.ALLOCATE, [(a.REQUESTED_TRANSPORT, 17), ASKED])
    answer = client.send(frame)
    assert code_of(answer) == 0
    assert len(ticket_of(answer)) == TICKET_SIZE
    assert client.send(frame).raw == answer.raw


def test_who_does_not_ask_gets_none_ever() -> None:
    """RFC 8016 §3.1.1: the attribute says that the client wants a ticket."""
    client = a_world().client()
    assert not client.allocate().has(a.MOBILITY_TICKET)
    assert not client.refresh().has(a.MOBILITY_TICKET)


def test_every_refresh_brings_another_ticket_and_all_are_good_until_one_is_used() -> None:
    """RFC 8016 §3.2.3: the client stores what comes; an answer that is lost costs it nothing."""
    world = a_world()
    client, first = mobile(world)
    second, third = ticket_of(client.refresh()), ticket_of(client.refresh())
    assert len({first, second, third}) == 3
    assert code_of(move(client.at(AWAY), second)) == 0
    for used in (first, second, third):
        assert code_of(move(client.at("203.0.113.78"), used)) == 400


# The move


@pytest.mark.parametrize(
    ("before", "after", "host"),
    [
        (UDP, UDP, AWAY),
        (UDP, STREAM, AWAY),
        (STREAM, TLS, HOME),
        (TLS, UDP, HOME),
        (STREAM, STREAM, "2001:db8:9::1"),
        (DTLS, STREAM, AWAY),
        (UDP, DTLS, AWAY),
    ],
    ids=["udp", "udp to tcp", "tcp to tls", "tls to udp", "ipv4 to ipv6", "dtls to tcp", "udp to dtls"],
)
def test_an_allocation_moves(before: ClientTransport, after: ClientTransport, host: str) -> None:
    """RFC 8016 §3.2.2: the old 5-tuple serves until data comes on the new one; everything moves along."""
    world = a_world()
    client, ticket = mobile(world, transport=before, serial=1 if before.connected else 0)
    relay, route = client.relay, world.routes[client.path, CHANNEL]
    away = client.at(host, 50001, transport=after, serial=2 if after.connected else 0)

    answer = move(away, ticket)
    assert code_of(answer) == 0
    assert ticket_of(answer) != ticket
    assert world.take() == [KeepClient(away.path, True), SendToClient(away.path, answer.raw)]
    assert world.take_events() == [AllocationRefreshed(away.path, "alice", 600)]
    assert hears_peer(world, client, away) == [True, False], "the old one, until data comes on the new one"
    assert says(client, b"still from home") == [b"still from home"]
    assert code_of(away.permit(PEER)) == code_of(client.permit(PEER)) == 0, "requests on both are about it"
    world.take()

    assert says(away, b"from away") == [b"from away"]
    closed = [CloseClient(client.path)] if before.connected else []
    moved = [RemoveRoute(client.path, CHANNEL, relay), AddRoute(route._replace(client=away.path))]
    assert world.take()[:-1] == [*moved, KeepClient(client.path, False), *closed]
    assert world.take_events() == [AllocationMoved(away.path, client.path, "alice", "alice", (relay,))]
    assert hears_peer(world, client, away) == [False, True]
    assert (world.core.totals().moves, world.core.totals().allocations) == (1, 1)
    assert away.relays == [relay]
    if not before.connected:
        assert says(client, b"too late") == []
        assert code_of(client.refresh()) == 437
    world.advance(600)
    world.assert_nothing_left()
    assert world.core.state.moves.by_client == {}
    assert world.core.state.descriptors.users == {}


def test_a_send_indication_confirms_too_even_one_that_leads_nowhere() -> None:
    """RFC 8016 §3.2.2: the client's first Send indication or ChannelData on the new 5-tuple."""
    world = a_world()
    client, ticket = mobile(world)
    away = client.at(AWAY)
    move(away, ticket)
    assert away.indicate((a.XOR_PEER_ADDRESS, PEER6), (a.DATA, b"")) == []
    assert hears_peer(world, client, away) == [False, True]


@pytest.mark.parametrize("request_", ["refresh", "permit", "bind"])
def test_requests_do_not_confirm(request_: str) -> None:
    """RFC 8016 §3.2.2 names data, and the end of the old connection, only."""
    world = a_world()
    client, ticket = mobile(world)
    away = client.at(AWAY)
    move(away, ticket)
    match request_:
        case "refresh":
            assert code_of(away.refresh()) == 0
        case "permit":
            assert code_of(away.permit(PEER)) == 0
        case _:
            assert code_of(away.bind(CHANNEL, PEER)) == 0
            assert world.routes.keys() == {(client.path, CHANNEL)}
    assert hears_peer(world, client, away) == [True, False]


def test_the_end_of_the_old_connection_confirms() -> None:
    """RFC 8016 §3.2.2: or a message of the client that closes the old connection."""
    world = a_world()
    client, ticket = mobile(world, transport=STREAM, serial=1)
    away = client.at(AWAY)
    move(away, ticket)
    world.core.client_gone(client.path, world.now)
    world.run()
    assert [type(event) for event in world.take_events()] == [AllocationRefreshed, AllocationMoved]
    assert world.routes.keys() == {(away.path, CHANNEL)}
    assert says(away, b"x") == [b"x"]


def test_the_end_of_the_new_connection_leaves_it_where_it_was() -> None:
    """Nothing is lost, and nothing counts for the user any more; the new ticket is good."""
    world = a_world()
    client, ticket = mobile(world)
    away = client.at(AWAY, transport=STREAM, serial=9)
    fresh = ticket_of(move(away, ticket))
    assert world.core.state.descriptors.users["alice"] == 2, "the relay and the connection"
    world.core.client_gone(away.path, world.now)
    world.run()
    assert (world.core.state.descriptors.users["alice"], world.kept) == (1, set())
    assert says(client, b"at home") == [b"at home"]
    assert code_of(move(client.at("203.0.113.78"), fresh)) == 0


def test_it_moves_on_before_it_has_arrived_and_back() -> None:
    """The new ticket serves from the next place, or for the way back; the place between is forgotten."""
    world = a_world()
    client, ticket = mobile(world)
    second, third = client.at(AWAY), client.at("203.0.113.78")
    ticket = ticket_of(move(second, ticket))
    ticket = ticket_of(move(third, ticket))
    assert code_of(second.refresh()) == 437
    assert hears_peer(world, client, second, third) == [True, False, False]
    ticket = ticket_of(move(client, ticket))
    assert code_of(third.refresh()) == 437
    assert says(client, b"home again") == [b"home again"]
    assert world.core.totals().moves == 0
    assert code_of(move(client, ticket)) == 400, "it is there"


def test_it_moves_again_and_again() -> None:
    """RFC 8016 §3.2.2: each new ticket leads to the next place; nothing is left behind in any."""
    world = a_world()
    client, ticket = mobile(world)
    relay = client.relay
    for port in range(50_000, 50_020):
        client = client.at(AWAY, port)
        ticket = ticket_of(move(client, ticket))
        assert says(client, b"x") == [b"x"]
    assert (client.relays, world.core.totals().moves, len(world.core.state.allocations)) == ([relay], 20, 1)


def test_permissions_channels_and_expiries_are_the_same_after_it() -> None:
    """RFC 8016 §3: the client goes on with the channels that it has."""
    world = a_world()
    client, ticket = mobile(world, DUAL)
    client.bind(CHANNEL + 1, PEER6)
    world.advance(100)
    allocation = world.core.state.allocation(client.path)
    assert allocation is not None
    before = dict(allocation.permissions), dict(allocation.channels), allocation.created
    away = client.at(AWAY)
    move(away, ticket, 1200)
    says(away, b"x")
    assert (allocation.permissions, allocation.channels, allocation.created) == before
    assert {relay.expires for relay in allocation.relays} == {world.now.mono + 1200}
    assert {route.channel for route in world.routes.values() if route.client == away.path} == {CHANNEL, CHANNEL + 1}
    assert len(world.routes) == 2
    world.advance(500)
    assert world.routes == {}, "their ends have moved along"


def test_a_route_that_has_lapsed_stays_away() -> None:
    """With the strict switch, a channel can outlive its permission; then it has no route, at home or away."""
    world = World(settings={"mobility": True, "strict_permissions": True})
    client, ticket = mobile(world, (a.LIFETIME, 1200))
    world.advance(301)
    world.take()
    away = client.at(AWAY)
    move(away, ticket)
    assert says(away, b"x") == []
    assert [type(command) for command in world.take() if isinstance(command, AddRoute)] == []
    world.routes.clear()
    away.permit(PEER)
    assert world.routes.keys() == {(away.path, CHANNEL)}


def test_the_quota_is_of_the_allocation() -> None:
    """An allocation that has moved counts once, and gives its place back at its end."""
    world = a_world(limits=World().limits.model_copy(update={"allocations_per_user": 1}))
    client, ticket = mobile(world)
    away = client.at(AWAY)
    move(away, ticket)
    says(away, b"x")
    assert code_of(client.allocate()) == 486
    assert code_of(away.refresh(0)) == 0
    assert code_of(client.allocate()) == 0


def test_the_old_place_is_free_after_it() -> None:
    """The former 5-tuple has no allocation, so another one may be made there."""
    world = a_world()
    client, ticket = mobile(world)
    away = client.at(AWAY)
    move(away, ticket)
    assert code_of(client.allocate()) == 437
    assert code_of(away.allocate()) == 437
    says(away, b"x")
    assert code_of(client.allocate()) == 0
    assert client.relays != away.relays


# Retransmissions


def test_a_retransmission_gets_the_same_answer_and_a_used_ticket_nothing_else() -> None:
    """RFC 8016 §3.2.2: the old ticket is for retransmissions only, and these get their answer for 30 seconds."""
    world = a_world()
    client, ticket = mobile(world)
    away = client.at(AWAY)
    frame = away.build(Method.REFRESH, [(a.MOBILITY_TICKET, ticket)])
    answer = away.send(frame)
    world.advance(30)
    assert away.send(frame).raw == answer.raw
    says(away, b"x")
    assert away.send(frame).raw == answer.raw, "also after the first data"
    assert code_of(move(away, ticket)) == 400, "another request"
    assert code_of(move(client.at("203.0.113.78"), ticket)) == 400, "another place"
    world.advance(15)
    assert code_of(away.send(frame)) == 400


def test_a_challenge_does_not_spend_the_ticket() -> None:
    """A nonce is for one address, so the first Refresh from another gets 438; that also proves the new address."""
    world = a_world()
    client, ticket = mobile(world)
    away = client.at(AWAY)
    away.nonce = client.nonce
    answer = move(away, ticket)
    assert code_of(answer) == 438
    away.nonce = answer.first(a.NONCE)
    assert code_of(move(away, ticket)) == 0


# Deleting


def test_a_client_that_has_lost_its_old_address_deletes_with_a_ticket() -> None:
    """RFC 8016 §3.2.1: a Refresh deletes, too; the answer has no ticket, since nothing is left."""
    world = a_world()
    client, ticket = mobile(world)
    answer = move(client.at(AWAY), ticket, 0)
    assert code_of(answer) == 0
    assert not answer.has(a.MOBILITY_TICKET)
    assert [type(event) for event in world.take_events()] == [AllocationEnded]
    world.assert_nothing_left()
    assert code_of(move(client.at("203.0.113.78"), ticket)) == 437


def test_half_of_a_dual_allocation_is_deleted_and_the_rest_moves() -> None:
    """RFC 8656 §8.2 with a ticket: the answer has another ticket, since an allocation is left."""
    world = a_world()
    client, ticket = mobile(world, DUAL)
    away = client.at(AWAY)
    answer = move(away, ticket, 0, (a.REQUESTED_ADDRESS_FAMILY, 2))
    assert code_of(answer) == 0
    assert code_of(move(client.at("203.0.113.78"), ticket_of(answer))) == 0
    assert len(client.relays) == 1


def test_a_move_with_a_family_refreshes_that_half_only() -> None:
    """RFC 8656 §8.2: the other half keeps its expiry, but is of the same 5-tuple."""
    world = a_world()
    client, ticket = mobile(world, DUAL)
    world.advance(300)
    away = client.at(AWAY)
    assert code_of(move(away, ticket, None, (a.REQUESTED_ADDRESS_FAMILY, 3))) == 443
    assert code_of(move(away, ticket, None, (a.REQUESTED_ADDRESS_FAMILY, 1))) == 0
    says(away, b"x")
    world.advance(300)
    assert len(away.relays) == 1


def test_an_allocation_ends_while_it_is_moving() -> None:
    """A revocation closes both connections."""
    world = a_world()
    client, ticket = mobile(world, transport=STREAM, serial=1)
    away = client.at(AWAY, transport=STREAM, serial=2)
    move(away, ticket)
    assert world.core.revoke("alice", world.now) == 1
    world.run()
    assert world.closed_clients == [client.path, away.path]
    assert world.kept == set()
    assert [event.reason for event in world.events if isinstance(event, AllocationEnded)] == [EndReason.REVOKED]
    world.assert_nothing_left()
    assert world.core.state.moves.by_client == {}
    assert world.core.state.descriptors.users == {}


@pytest.mark.parametrize("gone", ["old", "new", "both"])
def test_a_listener_closes_while_an_allocation_is_moving(gone: str) -> None:
    """The allocation is where a listener is left, if one is."""
    world = a_world()
    client, ticket = mobile(world, transport=STREAM, serial=1)
    away = client.at(AWAY, transport=STREAM, serial=2)
    away.path = away.path._replace(listener=0 if gone == "both" else 5)
    move(away, ticket)
    world.core.listener_gone(5 if gone == "new" else 0, world.now)
    world.run()
    left = {"old": [away.path], "new": [client.path], "both": []}[gone]
    assert list(world.core.state.allocations) == left
    assert world.core.state.moves.by_client == {}


# Who may not


@pytest.mark.parametrize(
    "value", [b"", b"x", bytes(TICKET_SIZE), b"\xff" * 800], ids=["empty", "short", "zero", "long"]
)
def test_a_forged_ticket_is_400(value: bytes) -> None:
    """RFC 8016 §3.2.2: an invalid ticket."""
    world = a_world()
    client, _ = mobile(world)
    assert code_of(move(client.at(AWAY), value)) == 400
    assert code_of(move(client, value)) == 400
    assert world.core.state.moves.by_client == {}
    assert says(client, b"x") == [b"x"]


def test_a_ticket_where_nothing_has_changed_is_400() -> None:
    """RFC 8016 §3.2.1, §3.2.2: the client must not send one there, and it is rejected."""
    world = a_world()
    client, ticket = mobile(world)
    assert code_of(move(client, ticket)) == 400
    assert code_of(move(client.at(AWAY), ticket)) == 0, "it is not spent by that"


def test_a_ticket_whose_allocation_has_ended_is_437() -> None:
    """RFC 8016 §3.2.2: the ticket identifies no existing allocation → 437."""
    world = a_world()
    client, ticket = mobile(world)
    client.refresh(0)
    assert code_of(move(client.at(AWAY), ticket)) == 437


def test_a_ticket_of_another_user_is_441() -> None:
    """RFC 8016 §3.2.2: not the same user → 441; the thief of a ticket needs its user's password, too."""
    world = a_world()
    client, ticket = mobile(world)
    thief = world.client(AWAY, user="bob", password="hunter2")
    thief.challenge()
    assert code_of(move(thief, ticket)) == 441
    impostor = world.client(AWAY, 40001, user="alice", password="a guess")
    impostor.challenge()
    assert code_of(move(impostor, ticket)) == 401
    assert code_of(move(client.at(AWAY), ticket)) == 0, "neither has spent it"


def test_a_stranger_learns_nothing_about_a_ticket() -> None:
    """Without a credential it is 401 for a good ticket and a bad one, and nothing is kept."""
    world = a_world()
    client, ticket = mobile(world)
    stranger = client.at(AWAY)
    for value in (ticket, bytes(TICKET_SIZE)):
        frame = stranger.build(Method.REFRESH, [(a.MOBILITY_TICKET, value)], signed=False)
        assert code_of(stranger.send(frame)) == 401
    assert world.core.state.moves.by_client == {}


def test_a_ticket_lives_as_long_as_was_granted_with_it() -> None:
    """A ticket that a client has kept from an earlier refresh is too old, though the allocation lives."""
    world = a_world()
    client, old = mobile(world)
    world.advance(500)
    fresh = ticket_of(client.refresh())
    world.advance(99)
    assert code_of(move(client.at(AWAY), bytes(old))) == 0
    world = a_world()
    client, old = mobile(world)
    world.advance(500)
    fresh = ticket_of(client.refresh())
    world.advance(100)
    assert code_of(move(client.at(AWAY), old)) == 400
    assert code_of(move(client.at(AWAY), fresh)) == 0


def test_where_another_allocation_is_none_moves_to() -> None:
    """RFC 8656 §2.2: a 5-tuple has one allocation → 437."""
    world = a_world()
    client, ticket = mobile(world)
    away = client.at(AWAY)
    assert code_of(away.allocate()) == 0
    assert code_of(move(away, ticket)) == 437
    away.refresh(0)
    assert code_of(move(away, ticket)) == 0


def test_mobility_is_switched_off_later() -> None:
    """RFC 8016 §3.2.2: the configuration has changed to forbid mobility → 405; what is moving arrives."""
    world = a_world()
    client, ticket = mobile(world)
    away = client.at(AWAY)
    fresh = ticket_of(move(away, ticket))
    world.core.use(core_settings(realm=REALM, software=SOFTWARE, ports=world.ports), world.now)
    world.run()
    assert not away.refresh().has(a.MOBILITY_TICKET)
    assert code_of(move(client.at("203.0.113.78"), fresh)) == 405
    assert says(away, b"x") == [b"x"]
    world.core.use(core_settings(realm=REALM, software=SOFTWARE, ports=world.ports, mobility=True), world.now)
    assert code_of(move(client.at("203.0.113.78"), fresh)) == 0, "and on again"


def test_tickets_survive_new_secrets_and_the_end_of_a_credential() -> None:
    """Rule 24: an allocation goes on with the credential that created it, which its source need not know any more."""
    secret = SharedSecret(b"between us")
    world = a_world(source=TimeLimitedCredentials([secret]))
    user, password = mint(secret, "carol", int(world.now.wall) + 60)
    client, ticket = mobile(world, user=user, password=password)
    world.advance(100)
    world.core.replace_credentials(TimeLimitedCredentials([SharedSecret(b"another one")]), world.now)
    away = client.at(AWAY)
    assert code_of(move(away, ticket)) == 0
    assert says(away, b"x") == [b"x"]


def test_a_source_that_has_to_be_waited_for_is_not_asked() -> None:
    """The ticket names the allocation, and the allocation has its credential."""
    world = a_world()
    client, ticket = mobile(world)
    source = SlowSource()
    world.core.replace_credentials(source, world.now)
    assert code_of(move(client.at(AWAY), ticket)) == 0
    assert source.asked == []


def test_a_removed_credential_moves_nothing() -> None:
    """Rule 32: what is to run out is not refreshed, and does not move."""
    world = World(settings={"mobility": True, "on_removal": "expire"})
    client, ticket = mobile(world)
    (credential,) = world.core.credentials_in_use()
    world.core.credential_removed(credential, world.now)
    assert code_of(move(client.at(AWAY), ticket)) == 401
    assert says(client, b"x") == [b"x"]


def test_refusals_say_why() -> None:
    """The operator learns the cause of each refusal."""
    world = a_world()
    client, ticket = mobile(world)
    move(client, ticket)
    move(client.at(AWAY), b"forged")
    move(client.at(AWAY), ticket)
    move(client.at("203.0.113.78"), ticket)
    found = [(each.cause, each.detail) for each in world.take_events() if isinstance(each, RequestRefused)]
    assert found == [
        (Reason.TICKET_NOT_NEEDED, ""),
        (Reason.TICKET_INVALID, "not made by this server since its start"),
        (Reason.TICKET_INVALID, "used already"),
    ]


# TCP relays (RFC 6062)


def test_a_tcp_allocation_moves_to_a_stream_only() -> None:
    """RFC 6062 §4.1: its control connection is TCP or TLS → 400 from a datagram."""
    world = TcpWorld(settings={"mobility": True})
    client = world.control()
    ticket = ticket_of(client.request(Method.ALLOCATE, TCP, ASKED))
    assert code_of(move(client.at(AWAY), ticket)) == 400
    assert code_of(move(client.at(AWAY, transport=TLS, serial=77), ticket)) == 0


def test_a_waiting_peer_connection_is_bound_from_the_new_place() -> None:
    """RFC 6062 §5.4: the data connection's client is that of the control connection, wherever that is now."""
    world = TcpWorld(settings={"mobility": True})
    client = world.control()
    ticket = ticket_of(client.request(Method.ALLOCATE, TCP, ASKED))
    client.permit(PEER)
    number = world.peer_connects(client.relay, PEER)
    away = client.at(AWAY, transport=STREAM, serial=77)
    move(away, ticket)
    world.hang_up(client.path)
    data = client.at(AWAY, 40009, transport=STREAM, serial=78)
    data.nonce = away.nonce
    assert code_of(data.request(Method.CONNECTION_BIND, (a.CONNECTION_ID, number))) == 0
    assert world.spliced == {data.path: number}


def test_a_connect_of_the_old_place_is_not_answered_any_more() -> None:
    """RFC 6062 §5.2: whoever asked is gone; the connection itself waits for its ConnectionBind."""
    world = TcpWorld(settings={"mobility": True})
    client: TcpClient = world.control()
    ticket = ticket_of(client.request(Method.ALLOCATE, TCP, ASKED))
    client.permit(PEER)
    assert client.connect(PEER) == []
    away = client.at(AWAY, transport=STREAM, serial=77)
    move(away, ticket)
    world.hang_up(client.path)
    away.hears()
    world.peer_takes(world.connects[-1].connection)
    assert client.hears() == away.hears() == []


def test_totals_count_moves() -> None:
    """A move counts when the allocation has arrived."""
    assert CoreTotals().moves == 0
    world = a_world()
    client, ticket = mobile(world)
    away = client.at(AWAY)
    move(away, ticket)
    assert world.core.totals().moves == 0
    says(away, b"x")
    assert world.core.totals().moves == 1
    assert isinstance(world.routes[away.path, CHANNEL], Route)
