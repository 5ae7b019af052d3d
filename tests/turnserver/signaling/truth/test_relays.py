"""Relay truth: an allocation belongs to the pair that it was announced to, and what it carries is that pair's path.

The table is fed as the service does it: the engine's events, a snapshot every two seconds, candidates and reports.
"""

import pytest

from stun.address import Address
from stun.constants import Method, TransportProtocol
from turnserver.core.events import (
    AllocationEnded,
    AllocationMoved,
    AllocationOpened,
    EndReason,
    PeerRefused,
    RequestRefused,
)
from turnserver.core.types import AllocationView, ClientTransport, Counters, FiveTuple, Now, RelayId
from turnserver.reasons import Reason
from turnserver.signaling.truth import relays
from turnserver.signaling.truth.relays import NO_FACTS, UNKNOWN_PATH, NoRelays, PairPath, RelayTable, RelayView

SERVER = Address.parse("203.0.113.1", 3478)
A, B, C = "1a2b3c4d5e.aaaaaaaaaa", "1a2b3c4d5e.bbbbbbbbbb", "1a2b3c4d5e.cccccccccc"
UDP, TCP, TLS = ClientTransport.UDP, ClientTransport.TCP, ClientTransport.TLS

CALL = (5_000, 5_000)
"""Bytes per second, up and down, of sound: 50 packets of 100 bytes."""


def relayed(port: int) -> Address:
    return Address.parse("203.0.113.1", port)


class Relay:
    """One allocation of somebody, and what it carries."""

    def __init__(self, world: "World", user_id: str, port: int, transport: ClientTransport) -> None:
        self.world = world
        self.user_id = user_id
        self.relayed: tuple[Address, ...] = (relayed(port),)
        self.client = FiveTuple(transport, Address.parse("198.51.100.7", port), SERVER, 0)
        self.counters = Counters()

    def open(self, lifetime: int = 600) -> "Relay":
        event = AllocationOpened(self.client, f"1:{self.user_id}", self.user_id, (RelayId(1),), self.relayed, lifetime)
        self.world.table.event(event, None, self.world.now)
        self.world.live.append(self)
        return self

    def announce(self, receiver: str) -> "Relay":
        self.world.table.candidates(self.user_id, receiver, self.relayed)
        return self

    def carry(self, up: int, down: int, size: int = 100) -> None:
        grown = (up // size, up, down // size, down, 0)
        self.counters = Counters(*(a + b for a, b in zip(self.counters, grown, strict=True)))

    def move(self, transport: ClientTransport, host: str) -> None:
        former, self.client = self.client, FiveTuple(transport, Address.parse(host, 4000), SERVER, 0)
        event = AllocationMoved(self.client, former, f"1:{self.user_id}", self.user_id, (RelayId(1),))
        self.world.table.event(event, None, self.world.now)

    def end(self, reason: EndReason = EndReason.DELETED) -> None:
        self.world.live.remove(self)
        event = AllocationEnded(self.client, f"1:{self.user_id}", self.user_id, (RelayId(1),), reason, 1.0)
        self.world.table.event(event, self.counters, self.world.now)

    def view(self) -> AllocationView:
        return AllocationView(
            self.client, f"1:{self.user_id}", self.user_id, self.relayed, (), self.counters, self.world.now.mono + 600
        )


class World:
    """A table in virtual time, with the allocations that a server would have."""

    def __init__(self) -> None:
        self.table = RelayTable(":")
        self.now = Now(1000.0, 1_700_000_000.0)
        self.live: list[Relay] = []

    def relay(self, user_id: str, port: int, transport: ClientTransport = UDP) -> Relay:
        return Relay(self, user_id, port, transport).open()

    def wait(self, seconds: float) -> None:
        self.now = Now(self.now.mono + seconds, self.now.wall + seconds)

    def look(self) -> None:
        self.table.snapshot([relay.view() for relay in self.live], self.now)

    def run(self, seconds: int, flows: dict[Relay, tuple[int, int]]) -> "World":
        """Let relays carry bytes per second, up and down, and look every two seconds."""
        for _ in range(seconds // 2):
            self.wait(2.0)
            for relay, (up, down) in flows.items():
                relay.carry(up * 2, down * 2)
            self.look()
        return self

    def say(self, path: relays.PathKind, *ends: tuple[str, str]) -> None:
        for sender, receiver in ends:
            self.table.reported(sender, receiver, path, self.now)

    def pair(self, a: str = A, b: str = B) -> PairPath:
        return self.table.pair(a, b)


def test_nothing_is_known_before() -> None:
    world = World()
    assert world.pair() == UNKNOWN_PATH == PairPath("unknown", None, None, 0, 0, ())
    assert world.table.facts(A) is NO_FACTS
    assert world.table.watched() == set()


def test_the_null_view_knows_nothing_whatever_it_is_told() -> None:
    view: RelayView = NoRelays()
    view.candidates(A, B, [relayed(50000)])
    view.reported(A, B, "direct", Now(0.0, 0.0))
    view.forget(A)
    assert view.pair(A, B) == UNKNOWN_PATH
    assert view.facts(A) is NO_FACTS


def test_a_pair_over_one_relay() -> None:
    """The pair's path, how its owner reaches the relay, whose it is, and every byte that it carried."""
    world = World()
    relay = world.relay(A, 50000).announce(B)
    world.run(10, {relay: (5000, 3000)})
    assert world.pair() == PairPath("relay", "udp", "a", 50_000, 30_000, relay.relayed)
    assert world.pair(B, A) == PairPath("relay", "udp", "b", 30_000, 50_000, relay.relayed)
    assert world.pair(A, C) == UNKNOWN_PATH
    assert world.table.watched() == {A}


@pytest.mark.parametrize(("transport", "proto"), [(UDP, "udp"), (TCP, "tcp"), (TLS, "tls")])
def test_how_the_relay_is_reached(transport: ClientTransport, proto: str) -> None:
    world = World()
    relay = world.relay(A, 50000, transport).announce(B)
    world.run(10, {relay: CALL})
    assert world.pair().proto == proto


def test_a_relay_that_was_not_announced_to_anybody_is_nobodys_path() -> None:
    world = World()
    relay = world.relay(A, 50000)
    world.run(10, {relay: CALL})
    assert world.pair() == UNKNOWN_PATH
    relay.announce(B)
    world.run(2, {relay: CALL})
    assert world.pair().path == "relay"
    assert world.pair().bytes_ab == 60_000, "what it carried before belongs to the same pair"


def test_a_candidate_may_come_before_the_fact() -> None:
    world = World()
    relay = Relay(world, A, 50000, UDP).announce(B)
    relay.open()
    world.run(10, {relay: CALL})
    assert world.pair().by == "a"


def test_an_allocation_whose_opening_was_missed_is_learned_from_a_snapshot() -> None:
    """Signaling was started again beside a relay that runs on."""
    world = World()
    relay = Relay(world, A, 50000, TLS).announce(B)
    world.live.append(relay)
    world.run(10, {relay: CALL})
    assert world.pair() == PairPath("relay", "tls", "a", 50_000, 50_000, relay.relayed)
    assert world.table.facts(A).live == 1


def test_one_participant_in_three_pairs() -> None:
    """The same user id for all of a participant's pairs; the announcements tell its allocations apart."""
    world = World()
    to_b, to_c = world.relay(A, 50000).announce(B), world.relay(A, 50001, TLS).announce(C)
    world.run(10, {to_b: CALL, to_c: (0, 0)})
    assert world.pair(A, B).path == "relay"
    assert world.pair(A, C).path == "unknown"
    world.run(10, {to_b: (0, 0), to_c: CALL})
    assert world.pair(A, C).proto == "tls"
    assert world.pair(A, B).bytes_ab == 50_000
    assert world.pair(A, C).bytes_ab == 50_000


def test_several_allocations_of_a_pair_and_one_carries() -> None:
    """A browser gathers over UDP, TCP and TLS at once; the two it does not use see nothing but checks."""
    world = World()
    udp, tcp, tls = (world.relay(A, 50000 + number, kind).announce(B) for number, kind in enumerate((UDP, TCP, TLS)))
    world.run(10, {udp: (0, 0), tcp: (1_000, 1_000), tls: CALL})
    assert world.pair().proto == "tls"
    assert world.pair().relayed == tls.relayed


def test_the_announcement_of_several_at_once() -> None:
    """aiortc sends all of its candidates in one description."""
    world = World()
    first, second = world.relay(A, 50000), world.relay(A, 50001, TCP)
    world.table.candidates(A, B, [*first.relayed, *second.relayed])
    world.run(10, {first: (0, 0), second: CALL})
    assert world.pair().proto == "tcp"


def test_a_hairpin_counts_every_byte_once() -> None:
    """Relay to relay: what a's relay sends to a peer is what b's receives from one."""
    world = World()
    of_a, of_b = world.relay(A, 50000).announce(B), world.relay(B, 50001, TLS).announce(A)
    world.run(10, {of_a: (5000, 3000), of_b: (3000, 5000)})
    path = world.pair()
    assert (path.path, path.proto, path.by) == ("relay", "tls", "both")
    assert (path.bytes_ab, path.bytes_ba) == (50_000, 30_000)
    assert set(path.relayed) == {*of_a.relayed, *of_b.relayed}
    assert world.pair(B, A).by == "both"


def test_a_hairpin_that_ends_on_one_side_first() -> None:
    """The last bytes of an ended allocation come with its end, those of the other with the next snapshot."""
    world = World()
    of_a, of_b = world.relay(A, 50000).announce(B), world.relay(B, 50001).announce(A)
    world.run(4, {of_a: (5000, 3000), of_b: (3000, 5000)})
    for relay, flow in ((of_a, (700, 300)), (of_b, (300, 700))):
        relay.carry(*flow)
    of_a.end()
    assert (world.pair().bytes_ab, world.pair().bytes_ba) == (20_700, 12_300)
    world.look()
    assert (world.pair().bytes_ab, world.pair().bytes_ba) == (20_700, 12_300)
    of_b.end()
    assert (world.pair().bytes_ab, world.pair().bytes_ba) == (20_700, 12_300)


def test_one_relay_after_the_other_is_no_hairpin() -> None:
    """First a's relay carries and then b's, b and a being reached directly behind them: the bytes add up."""
    world = World()
    of_a, of_b = world.relay(A, 50000).announce(B), world.relay(B, 50001).announce(A)
    world.run(10, {of_a: (5000, 3000)})
    world.run(20, {of_b: (3000, 5000)})
    assert world.pair()[:5] == ("relay", "udp", "b", 150_000, 90_000)


def test_two_people_behind_one_nat() -> None:
    """Their clients have one address; the ports are different, and so are the users."""
    world = World()
    of_a, of_b = world.relay(A, 50000).announce(C), world.relay(B, 50001).announce(C)
    assert of_a.client.address.ip == of_b.client.address.ip
    world.run(10, {of_a: CALL, of_b: (0, 0)})
    assert world.pair(A, C).by == "a"
    assert world.pair(B, C).path == "unknown"


def test_an_allocation_replaced_by_an_ice_restart() -> None:
    """The new one takes over at once, whatever transport it has, and the bytes of both are the pair's."""
    world = World()
    old = world.relay(A, 50000).announce(B)
    world.run(10, {old: CALL})
    new = world.relay(A, 50001, TLS).announce(B)
    world.run(4, {old: (0, 0), new: (50_000, 50_000)})
    assert world.pair().proto == "tls", "the old one is quiet, though not yet for long"
    assert world.pair().relayed == new.relayed
    old.end()
    world.run(2, {new: CALL})
    assert world.pair().bytes_ab == 50_000 + 200_000 + 10_000


@pytest.mark.parametrize("reason", EndReason)
def test_an_end_takes_the_path_and_leaves_the_bytes(reason: EndReason) -> None:
    """Deleted, expired, connection lost or revoked: no relay carries any more."""
    world = World()
    relay = world.relay(A, 50000).announce(B)
    world.run(10, {relay: CALL})
    relay.carry(111, 99)
    relay.end(reason)
    assert world.pair() == PairPath("unknown", None, None, 50_111, 50_099)
    facts = world.table.facts(A)
    assert (facts.live, facts.ended, facts.end_reason) == (0, 1, reason.value)
    assert (facts.bytes_up, facts.bytes_down) == (50_111, 50_099)


def test_an_end_that_is_told_twice_or_of_nobody() -> None:
    world = World()
    relay = world.relay(A, 50000).announce(B)
    relay.end()
    world.live.append(relay)
    relay.end()
    assert world.table.facts(A).ended == 1


def test_a_port_used_again_for_another_pair() -> None:
    """An announcement ends with its allocation: the next owner of the port is not taken for the old pair."""
    world = World()
    world.relay(A, 50000).announce(B).end()
    again = world.relay(A, 50000)
    world.run(10, {again: CALL})
    assert world.pair() == UNKNOWN_PATH
    again.announce(C)
    assert world.pair(A, C).bytes_ab == 50_000


def test_a_five_tuple_used_again_without_an_end() -> None:
    world = World()
    relay = world.relay(A, 50000).announce(B)
    world.live.remove(relay)
    other = Relay(world, B, 50000, UDP).open()
    world.run(10, {other: CALL})
    assert world.pair() == UNKNOWN_PATH
    assert world.table.facts(A).live == 0
    assert world.table.facts(B).live == 1


def test_a_dual_allocation_and_half_of_one() -> None:
    """RFC 8656 §8.2: either address ties it; a deleted half takes its counters with it, and nothing is counted back."""
    world = World()
    relay = Relay(world, A, 50000, UDP)
    six = Address.parse("2001:db8::1", 50000)
    relay.relayed = (relayed(50000), six)
    relay.open()
    world.table.candidates(A, B, [six])
    world.run(10, {relay: CALL})
    assert world.pair().relayed == (relayed(50000), six)
    relay.relayed = (six,)
    relay.counters = Counters(10, 1_000, 10, 1_000)
    world.look()
    assert world.pair().bytes_ab == 50_000
    assert world.table.facts(A).relayed == (six,)
    world.run(2, {relay: CALL})
    assert world.pair().bytes_ab == 60_000


def test_behind_one_to_one_nat_it_is_the_address_that_clients_are_told() -> None:
    """Rule 23: events and views carry the external address, which is what candidates say."""
    world = World()
    relay = Relay(world, A, 50000, UDP)
    relay.relayed = (Address.parse("192.0.2.77", 50000),)
    relay.open().announce(B)
    world.run(10, {relay: CALL})
    assert world.pair().relayed == (Address.parse("192.0.2.77", 50000),)


def test_a_tcp_relay_counts_bytes_without_packets() -> None:
    """RFC 6062."""
    world = World()
    relay = world.relay(A, 50000, TCP).announce(B)
    world.wait(2.0)
    view = relay.view()._replace(
        counters=Counters(bytes_to_peers=9_000, bytes_to_client=8_000), protocol=TransportProtocol.TCP
    )
    world.table.snapshot([view], world.now)
    assert world.pair() == PairPath("relay", "tcp", "a", 9_000, 8_000, relay.relayed)


# Checks, pauses, and the clients' word


def test_checks_alone_are_no_path() -> None:
    """RFC 8445, RFC 7675: the relays of a direct call see them all the time."""
    world = World()
    of_a, of_b = world.relay(A, 50000).announce(B), world.relay(B, 50001).announce(A)
    world.run(60, {of_a: (1_500, 1_500), of_b: (1_500, 1_500)})
    assert world.pair().path == "unknown"
    assert world.pair().bytes_ab == 90_000


def test_direct_when_a_client_says_so_and_no_relay_carries() -> None:
    world = World()
    relay = world.relay(A, 50000).announce(B)
    world.run(10, {relay: (500, 500)})
    world.say("direct", (B, A))
    assert world.pair() == PairPath("direct", None, None, 5_000, 5_000)
    assert world.pair(B, A).path == "direct"
    assert world.pair(A, C).path == "unknown"


def test_direct_of_a_pair_that_never_had_a_relay() -> None:
    world = World()
    world.say("direct", (A, B), (B, A))
    assert world.pair() == PairPath("direct")


def test_a_relay_that_carries_is_right_and_a_client_wrong() -> None:
    """The end that sees local prflx and remote relay may take its path for direct."""
    world = World()
    relay = world.relay(A, 50000).announce(B)
    for _ in range(5):
        world.run(10, {relay: CALL})
        world.say("direct", (A, B), (B, A))
        assert world.pair().path == "relay"


def test_a_call_that_leaves_its_relay() -> None:
    """Once the relay is quiet the clients' word counts at once; without any it takes a few seconds."""
    world = World()
    relay = world.relay(A, 50000).announce(B)
    world.run(10, {relay: CALL})
    world.run(4, {relay: (100, 100)})
    assert world.pair().path == "relay"
    world.say("direct", (A, B))
    assert world.pair().path == "direct"
    other = World()
    relay = other.relay(A, 50000).announce(B)
    other.run(10, {relay: CALL})
    other.run(20, {relay: (100, 100)})
    assert other.pair().path == "unknown"


def test_a_pause_does_not_change_the_path() -> None:
    """Hysteresis: five times six seconds in which nobody makes a sound."""
    world = World()
    relay = world.relay(A, 50000).announce(B)
    world.run(10, {relay: CALL})
    for _ in range(5):
        world.run(6, {relay: (200, 200)})
        assert world.pair().path == "relay"
        world.run(6, {relay: CALL})
        assert world.pair().path == "relay"


def test_a_silent_call_over_a_relay_that_a_client_names() -> None:
    """Nobody speaks and there is no picture: the client says relay, and one of ours carries its consent checks."""
    world = World()
    used, spare = world.relay(A, 50000, TLS).announce(B), world.relay(A, 50001).announce(B)
    world.run(20, {used: (200, 200), spare: (10, 10)})
    assert world.pair().path == "unknown"
    world.say("relay", (A, B))
    assert world.pair() == PairPath("relay", "tls", "a", 4_200, 4_200, used.relayed)


def test_a_silent_call_over_one_of_two_relays() -> None:
    """The other end's relay is checked now and then, and is not what carries."""
    world = World()
    of_a, of_b = world.relay(A, 50000).announce(B), world.relay(B, 50001).announce(A)
    world.run(20, {of_a: (200, 200), of_b: (10, 10)})
    world.say("relay", (A, B))
    assert world.pair().by == "a"


def test_a_silent_hairpin() -> None:
    world = World()
    of_a, of_b = world.relay(A, 50000).announce(B), world.relay(B, 50001).announce(A)
    world.run(20, {of_a: (200, 200), of_b: (200, 200)})
    world.say("relay", (A, B))
    world.say("direct", (B, A))
    assert world.pair().by == "both"


def test_a_client_that_names_a_relay_without_any_of_ours_in_use_is_not_believed() -> None:
    """Hostile input: no allocation, one that nothing moves through, one that nobody answers, one long silent."""
    world = World()
    world.say("relay", (A, B))
    assert world.pair().path == "unknown"
    relay = world.relay(A, 50000).announce(B)
    world.look()
    assert world.pair().path == "unknown"
    world.run(2, {relay: (200, 0)})
    assert world.pair().path == "unknown"
    world.run(2, {relay: (200, 200)})
    assert world.pair().path == "relay"
    world.run(40, {relay: (0, 0)})
    world.say("relay", (A, B))
    assert world.pair().path == "unknown"


def test_an_end_that_was_left_behind_saying_relay() -> None:
    """Its socket is away; the other end says direct, and no relay moves."""
    world = World()
    relay = world.relay(A, 50000).announce(B)
    world.run(20, {relay: (200, 200)})
    world.say("relay", (A, B))
    relay.end()
    world.say("direct", (B, A))
    assert world.pair().path == "direct"


def test_words_grow_old() -> None:
    """A client speaks every 10 seconds and may be away for 60; what nobody has said for long is not known any more."""
    world = World()
    world.say("direct", (A, B))
    world.wait(80)
    world.look()
    assert world.pair().path == "direct"
    world.wait(20)
    world.look()
    assert world.pair().path == "unknown"


def test_unknown_takes_a_word_back() -> None:
    world = World()
    world.say("direct", (A, B))
    world.say("unknown", (A, B))
    assert world.pair().path == "unknown"


# Who may say what


def test_another_ones_relayed_address_ties_nothing() -> None:
    """Hostile input: C announces the relay of A to B; the sender must own the allocation."""
    world = World()
    relay = world.relay(A, 50000).announce(B)
    world.table.candidates(C, B, relay.relayed)
    world.table.candidates(B, C, relay.relayed)
    world.run(10, {relay: CALL})
    assert world.pair(A, B).path == "relay"
    assert world.pair(B, C) == UNKNOWN_PATH
    assert world.pair(A, C) == UNKNOWN_PATH


def test_an_address_announced_to_two_belongs_to_the_last() -> None:
    """Hostile input: its owner lies about itself alone; no byte is counted twice."""
    world = World()
    relay = world.relay(A, 50000).announce(B)
    world.run(10, {relay: CALL})
    relay.announce(C)
    world.run(10, {relay: CALL})
    assert world.pair(A, B) == PairPath("unknown", None, None, 50_000, 50_000)
    assert (world.pair(A, C).path, world.pair(A, C).bytes_ab) == ("relay", 50_000)


def test_nobody_is_a_pair_with_himself() -> None:
    world = World()
    relay = world.relay(A, 50000).announce(A)
    world.say("direct", (A, A))
    world.run(10, {relay: CALL})
    assert world.pair(A, A) == UNKNOWN_PATH


def test_announcements_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hostile input: an end announces a thousand addresses, a thousand users announce one each."""
    monkeypatch.setattr(relays, "MAX_CLAIMANTS", 8)
    world = World()
    world.table.candidates(A, B, [relayed(port) for port in range(1, 1000)])
    assert len(world.table._claims[A]) == relays.MAX_CLAIMS
    for number in range(1000):
        world.table.candidates(f"x{number}", B, [relayed(1)])
    assert len(world.table._claims) == 8
    relay = world.relay(A, 50000).announce(B)
    world.run(10, {relay: CALL})
    assert world.pair().path == "relay"


def test_an_address_announced_again_is_a_late_one() -> None:
    """A description repeats the candidates that were trickled; what is named again is the last to be dropped."""
    world = World()
    relay = Relay(world, A, 50000, UDP).announce(B)
    for port in range(1, relays.MAX_CLAIMS):
        world.table.candidates(A, B, [relayed(port)])
    relay.announce(B)
    world.table.candidates(A, B, [relayed(port) for port in range(1000, 1000 + relays.MAX_CLAIMS - 1)])
    relay.open()
    world.run(10, {relay: CALL})
    assert world.pair().path == "relay"


def test_whose_allocations_are_to_be_looked_at() -> None:
    """Those of users who have some and have announced some: nobody else's can belong to a pair."""
    world = World()
    world.relay(A, 50000).announce(B)
    world.relay(B, 50001)
    world.table.candidates(C, B, [relayed(50002)])
    assert world.table.watched() == {A}


def test_pairs_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hostile input: the pair longest without news goes first, and its allocations with it, to no pair."""
    monkeypatch.setattr(relays, "MAX_PAIRS", 4)
    world = World()
    relay = world.relay(A, 50000).announce(B)
    world.run(10, {relay: CALL})
    for number in range(10):
        world.say("direct", (C, f"x{number}"))
    assert len(world.table._pairs) == 4
    assert len(world.table._pairs_of) == 5
    assert world.pair() == UNKNOWN_PATH
    world.run(2, {relay: CALL})
    relay.announce(B)
    world.run(2, {relay: CALL})
    assert world.pair().path == "relay"
    assert len(world.table._pairs) == 4


def test_pairs_that_a_snapshot_itself_pushes_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relays, "MAX_PAIRS", 1)
    world = World()
    first = world.relay(A, 50000).announce(B)
    second = Relay(world, A, 50001, UDP).announce(C)
    world.live.append(second)
    world.run(4, {first: CALL, second: CALL})
    assert len(world.table._pairs) == 1


def test_allocations_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relays, "MAX_ALLOCATIONS", 4)
    world = World()
    for number in range(10):
        Relay(world, A, 50000 + number, UDP).open()
    assert len(world.table._live) == 4
    assert world.table.facts(A).live == 4


@pytest.mark.parametrize("gone", [A, B])
def test_what_was_announced_to_one_who_is_forgotten(gone: str) -> None:
    """The address is nobody's then, whichever of the two has gone; what was announced to others stays."""
    world = World()
    stays = B if gone == A else A
    world.relay(stays, 50000).announce(gone)
    world.relay(stays, 50001).announce(C)
    world.table.forget(gone)
    assert world.table._claims[stays] == {relayed(50001): C}
    assert world.table._pairs_of.keys() == {stays, C}


def test_forgetting_a_user() -> None:
    """What others announced to the user goes too; an allocation that it still has can be announced anew."""
    world = World()
    of_a, of_b = world.relay(A, 50000).announce(B), world.relay(B, 50001).announce(A)
    to_c = world.relay(A, 50002).announce(C)
    world.run(10, {of_a: CALL, of_b: CALL, to_c: CALL})
    world.table.forget(B)
    assert world.pair(A, B) == UNKNOWN_PATH
    assert world.table.facts(B) is NO_FACTS
    world.run(4, {of_a: CALL, of_b: CALL, to_c: CALL})
    assert world.pair(A, B) == UNKNOWN_PATH
    assert world.pair(A, C).path == "relay"
    of_b.end()
    of_a.end()
    world.table.forget(B)
    world.table.forget("nobody")
    assert world.table.facts(A).live == 1


def test_after_everything_has_gone_nothing_is_left() -> None:
    world = World()
    mine = [world.relay(A, 50000).announce(B), world.relay(B, 50001).announce(A), world.relay(A, 50002).announce(C)]
    world.say("direct", (A, C))
    world.run(4, dict.fromkeys(mine, CALL))
    for relay in mine:
        relay.end()
    for user_id in (A, B, C):
        world.table.forget(user_id)
    table = world.table
    assert not any((table._live, table._of_user, table._claims, table._pairs, table._pairs_of, len(table._book)))


# Facts


def refusal(code: int, *, user_id: str = "", username: str = f"1:{A}", method: int = Method.ALLOCATE) -> RequestRefused:
    client = FiveTuple(TLS, Address.parse("198.51.100.7", 1), SERVER, 0)
    return RequestRefused(client, method, code, Reason.FAULT, "because", username, user_id)


@pytest.mark.parametrize("proven", [True, False])
def test_refusals_become_facts(proven: bool) -> None:
    world = World()
    world.table.event(refusal(486, user_id=A if proven else ""), None, world.now)
    (fact,) = world.table.facts(A).refusals
    assert fact == (486, "because", "tls", 1, world.now.wall, proven)


@pytest.mark.parametrize(
    "event",
    [
        refusal(401, username=""),
        refusal(438),
        refusal(403, method=Method.CREATE_PERMISSION, user_id=A),
        refusal(401, username="nobody"),
        refusal(401, username="1:"),
        refusal(401, username="1:" + "x" * 400),
    ],
    ids=["first challenge", "stale nonce", "a peer", "no expiry", "no user", "too long"],
)
def test_what_belongs_to_every_healthy_start_is_no_fact(event: RequestRefused) -> None:
    world = World()
    world.table.event(event, None, world.now)
    assert len(world.table._book) == 0


def test_another_separator() -> None:
    """The configuration can choose it for time-limited usernames."""
    table = RelayTable(separator="|")
    table.event(refusal(401, username=f"1|{A}"), None, Now(0.0, 0.0))
    assert table.facts(A).heard


def test_denied_peers_become_facts_of_the_allocations_owner() -> None:
    world = World()
    relay = world.relay(A, 50000)
    peer = Address.parse("10.0.0.1", 9)
    world.table.event(PeerRefused(relay.client, peer, Reason.PEER_NOT_PUBLIC, "10.0.0.0/8"), None, world.now)
    world.table.event(
        PeerRefused(relay.client._replace(serial=9), peer, Reason.PEER_NOT_PUBLIC, "10.0.0.0/8"), None, world.now
    )
    assert world.table.facts(A).denied == (peer,)


@pytest.mark.parametrize("tied", [True, False])
def test_an_allocation_that_moves_is_the_same(tied: bool) -> None:
    """RFC 8016: the pair keeps its path and its bytes; only how the client reaches the relay is another."""
    world = World()
    relay = world.relay(A, 50000)
    if tied:
        relay.announce(B)
    world.run(10, {relay: (5000, 3000)})
    relay.move(TCP, "198.51.100.99")
    world.run(10, {relay: (5000, 3000)})
    if not tied:
        relay.announce(B)
    assert world.pair() == PairPath("relay", "tcp", "a", 100_000, 60_000, relay.relayed)
    facts = world.table.facts(A)
    assert (facts.opened, facts.ended, facts.live, facts.protos) == (1, 0, 1, ("tcp",))
    assert Address.parse("198.51.100.99", 0).ip in facts.clients
    relay.end()
    assert world.table.facts(A).live == 0
    assert world.table.watched() == set()


def test_a_move_of_an_allocation_that_is_not_known_is_ignored() -> None:
    world = World()
    Relay(world, A, 50000, UDP).move(TCP, "198.51.100.99")
    assert world.table.facts(A) is NO_FACTS
