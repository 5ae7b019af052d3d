"""Events as numbers: each kind where it belongs, and keys that no client can choose."""

from stun.address import Address
from stun.constants import Method, TransportProtocol
from turnserver.core.events import (
    AllocationEnded,
    AllocationOpened,
    AllocationRefreshed,
    AnswerWithheld,
    EndReason,
    PeerConnectionOpened,
    PeerConnectionRefused,
    PeerRefused,
    RequestRefused,
)
from turnserver.core.types import AllocationKind, ClientTransport, Counters, FiveTuple, RelayId
from turnserver.reasons import Reason
from turnserver.signaling.protocol.errors import SignalCode
from turnserver.signaling.rooms.facts import (
    ClientRefused,
    MessageRefused,
    PairConnected,
    PeerJoined,
    RoomOpened,
    VerdictGiven,
)
from turnserver.telemetry.tally import Tally, TallyView

CLIENT = FiveTuple(ClientTransport.TLS, Address.parse("192.0.2.10", 40000), Address.parse("192.0.2.1", 443), 0)
V4, V6 = Address.parse("192.0.2.1", 50000), Address.parse("2001:db8::1", 50000)


def tallied(*events: object) -> TallyView:
    tally = Tally()
    for event in events:
        tally.on_event(event, None)  # type: ignore[arg-type]
    return tally.view()


def refused(method: int, code: int, cause: Reason) -> RequestRefused:
    return RequestRefused(CLIENT, method, code, cause, "why", "mallory", "", "", "detail")


def test_allocations_by_transport_and_family() -> None:
    opened = [
        AllocationOpened(CLIENT, "alice", "alice", (RelayId(1),), relayed, 600, protocol)
        for relayed, protocol in (
            ((V4,), TransportProtocol.UDP),
            ((V4,), TransportProtocol.TCP),
            ((V6,), TransportProtocol.UDP),
            ((V4, V6), TransportProtocol.UDP),
        )
    ]
    found = tallied(*opened, opened[0])
    kinds = {(kind.family, kind.protocol): n for kind, n in found.opened.items()}
    udp, tcp = TransportProtocol.UDP, TransportProtocol.TCP
    assert kinds == {("ipv4", udp): 2, ("ipv4", tcp): 1, ("ipv6", udp): 1, ("dual", udp): 1}
    assert {kind.transport for kind in found.opened} == {ClientTransport.TLS}
    assert AllocationKind(ClientTransport.TLS, "dual", udp) in found.opened


def test_allocates_that_only_have_to_be_repeated_are_not_refused() -> None:
    found = tallied(
        refused(Method.ALLOCATE, 401, Reason.NO_CREDENTIALS),
        refused(Method.ALLOCATE, 438, Reason.STALE_NONCE),
        refused(Method.ALLOCATE, 401, Reason.WRONG_PASSWORD),
        refused(Method.ALLOCATE, 486, Reason.USER_QUOTA),
        refused(Method.REFRESH, 437, Reason.NO_ALLOCATION),
    )
    assert found.challenged == {ClientTransport.TLS: 2}
    assert found.denied == {ClientTransport.TLS: 2}
    assert found.refusals == {
        (401, Reason.NO_CREDENTIALS): 1,
        (438, Reason.STALE_NONCE): 1,
        (401, Reason.WRONG_PASSWORD): 1,
        (486, Reason.USER_QUOTA): 1,
        (437, Reason.NO_ALLOCATION): 1,
    }


def test_everything_else_of_the_relay() -> None:
    found = tallied(
        AllocationEnded(CLIENT, "alice", "alice", (), EndReason.EXPIRED, 1.0),
        AllocationEnded(CLIENT, "alice", "alice", (), EndReason.DELETED, 1.0),
        AnswerWithheld(CLIENT),
        AnswerWithheld(CLIENT, Reason.TOO_MANY_FAILURES),
        PeerRefused(CLIENT, V4, Reason.PEER_NOT_PUBLIC, "10.0.0.0/8"),
        PeerConnectionOpened(CLIENT, "alice", V4, 1, True),
        PeerConnectionRefused(CLIENT, "alice", V4, Reason.NO_DESCRIPTORS),
        AllocationRefreshed(CLIENT, "alice", 600),
    )
    assert found.ended == {EndReason.EXPIRED: 1, EndReason.DELETED: 1}
    assert found.withheld == {Reason.REFLECTION_BUDGET: 1, Reason.TOO_MANY_FAILURES: 1}
    assert found.peers_refused == {Reason.PEER_NOT_PUBLIC: 1}
    assert (found.peer_connections, found.peer_connections_refused) == (1, {Reason.NO_DESCRIPTORS: 1})


def test_rooms() -> None:
    found = tallied(
        RoomOpened("blue"),
        PeerJoined("blue", "a", "u", "Ann", "host"),
        ClientRefused("192.0.2.9", SignalCode.BAD_TOKEN, "no"),
        MessageRefused("192.0.2.9", SignalCode.ROOM_FULL, "no", "blue", ""),
        VerdictGiven("blue", "a", "b", "udp_blocked"),
        PairConnected("blue", "a", "b", 0.7),
        PairConnected("blue", "a", "c", 100.0),
    )
    assert (found.rooms_opened, found.joined) == (1, 1)
    assert found.signaling_refusals == {SignalCode.BAD_TOKEN: 1, SignalCode.ROOM_FULL: 1}
    assert found.verdicts == {"udp_blocked": 1}
    assert (found.connect_times.count, found.connect_times.total) == (2, 100.7)
    assert found.connect_times.counts[found.connect_times.bounds.index(1.0)] == 1


def test_a_view_stays_as_it_is() -> None:
    tally = Tally()
    before = tally.view()
    tally.on_event(RoomOpened("blue"), Counters())
    tally.on_event(AnswerWithheld(CLIENT), None)
    assert (before.rooms_opened, before.withheld) == (0, {})
    assert before == TallyView()
