"""The queue of one client: numbers in order, nothing without bound, nothing relayed dropped while there is room."""

import json

from hypothesis import given
from hypothesis import strategies as st

from tests.support.signal_hub import kept
from turnserver.signaling.protocol.base import Delivery
from turnserver.signaling.protocol.fields import Media
from turnserver.signaling.protocol.server_messages import Ok, PeerLeave, PeerMsg, PeerUpdate
from turnserver.signaling.rooms.outbox import Outbox, Shortfall

__all__: list[str] = []

ANN, BOB = "aaaaaaaaaa", "bbbbbbbbbb"


def msg(data: object) -> PeerMsg:
    return PeerMsg(from_=ANN, data=data)


def look(name: str, peer: str = ANN) -> PeerUpdate:
    return PeerUpdate(id=peer, name=name, meta={}, media=Media(), role="member")


def box(limit: int = 100_000, count: int = 100) -> Outbox:
    found = Outbox(limit, count)
    assert found.attach(0) is None
    return found


def taken(outbox: Outbox) -> list[dict[str, object]]:
    found = []
    while (text := outbox.take()) is not None:
        found.append(json.loads(text))
    return found


def test_frames_leave_in_the_order_of_their_numbers() -> None:
    outbox = box()
    outbox.put(msg(1))
    outbox.put(Ok(re="x"))
    outbox.put(PeerLeave(id=ANN, reason="left"))
    assert [frame.get("seq") for frame in taken(outbox)] == [1, None, 2]


def test_of_presence_the_last_of_a_key_is_left() -> None:
    """Coalesced by peer and kind; the newer one comes after what was said between."""
    outbox = box()
    outbox.put(look("1"))
    outbox.put(look("2", BOB))
    outbox.put(msg(1))
    outbox.put(look("3"))
    assert [frame.get("name", "msg") for frame in taken(outbox)] == ["2", "msg", "3"]
    assert outbox.waiting_bytes == 0
    outbox.put(look("4"))
    assert len(outbox) == 1, "what was taken is not coalesced with"


def test_coalescing_bounds_a_flood_of_updates() -> None:
    outbox = box()
    for number in range(10_000):
        outbox.put(look(str(number)))
    assert (len(outbox), kept(outbox)[0]) == (1, 1)


def test_a_resume_brings_what_was_not_handled() -> None:
    outbox = box()
    for number in range(5):
        outbox.put(msg(number))
    assert len(taken(outbox)) == 5
    outbox.ack(2)
    outbox.put(Ok(re="x"))
    outbox.detach()
    outbox.put(msg(5))
    assert outbox.put(Ok(re="y")) == 0
    assert outbox.attach(3) is None
    assert [frame["seq"] for frame in taken(outbox)] == [4, 5, 6]


def test_an_acknowledgement_of_what_was_never_sent_is_no_use() -> None:
    outbox = box()
    outbox.put(msg(1))
    outbox.ack(10**9)
    assert outbox.acked == 0
    assert len(taken(outbox)) == 1
    outbox.ack(10**9)
    assert (outbox.acked, kept(outbox)[0]) == (1, 0)


def test_what_is_sent_and_never_acknowledged_is_bounded() -> None:
    """The last 256 messages or 256 KiB are kept; whoever acknowledges nothing and loses the rest is told."""
    outbox = box(limit=5_000, count=8)
    for number in range(100):
        outbox.put(msg(number))
        outbox.take()
        assert kept(outbox)[0] <= 8
    outbox.detach()
    assert outbox.attach(95) is None, "it had most, and the rest is here"
    assert [frame["seq"] for frame in taken(outbox)] == [96, 97, 98, 99, 100]
    outbox.detach()
    assert outbox.attach(50) == Shortfall(100, lost=True)


def test_news_go_first_when_too_much_piles_up() -> None:
    outbox = box(count=10)
    outbox.detach()
    for _ in range(9):
        outbox.put(PeerLeave(id=ANN, reason="left"))
    outbox.put(msg("kept"))
    outbox.put(msg("too"))
    assert len(outbox) == 2
    assert outbox.attach(0) == Shortfall(11, lost=False)
    found = taken(outbox)
    assert [(frame["seq"], frame["data"]) for frame in found] == [(12, "kept"), (13, "too")]


def test_a_shortfall_is_repeated_until_it_has_been_handled() -> None:
    outbox = box(count=2)
    outbox.detach()
    for number in range(4):
        outbox.put(msg(number))
    first = outbox.attach(0)
    assert first == Shortfall(4, lost=True)
    outbox.detach()
    second = outbox.attach(0)
    assert second is not None
    assert second.lost
    outbox.detach()
    assert outbox.attach(second.at) is None


def test_who_does_not_read_finds_everything_when_it_comes_back() -> None:
    """A queue over its limit ends the socket, not the messages."""
    outbox = box(limit=1_000, count=4)
    number = 0
    while outbox.waiting_bytes <= 1_000:
        outbox.put(msg(number))
        number += 1
    assert number > 4
    outbox.detach()
    assert outbox.attach(0) is None
    assert [frame["data"] for frame in taken(outbox)] == list(range(number))


def test_passing_frames_have_no_number_and_no_second_chance() -> None:
    outbox = box()
    assert outbox.put(look("1"), Delivery.SOCKET) == 0
    outbox.detach()
    assert outbox.put(look("1"), Delivery.SOCKET) == 0
    outbox.attach(0)
    assert taken(outbox) == []


def test_it_knows_what_it_delivers() -> None:
    """A frame is on its way until it is acknowledged, unless it went to a socket that was lost, and is not kept."""
    outbox = box(count=2)
    seq = outbox.put(msg(1))
    assert outbox.delivers(seq)
    for number in range(2, 6):
        outbox.put(msg(number))
    assert len(taken(outbox)) == 5
    assert outbox.delivers(seq), "it is not kept, and the socket brings it"
    outbox.detach()
    assert not outbox.delivers(seq)
    assert outbox.delivers(seq + 4)
    assert outbox.attach(0) == Shortfall(seq + 4, lost=True)
    assert not outbox.delivers(seq)
    again = outbox.put(msg(6))
    assert len(taken(outbox)) == 3
    assert outbox.delivers(again)
    outbox.ack(again)
    assert not outbox.delivers(again)


steps = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.sampled_from([Delivery.RELAYED, Delivery.NEWS]), st.integers(0, 600)),
        st.tuples(st.just("look"), st.sampled_from([ANN, BOB])),
        st.tuples(st.just("take"), st.integers(1, 6)),
        st.tuples(st.just("ack"), st.booleans()),
        st.tuples(st.just("cut"), st.booleans()),
    ),
    max_size=80,
)


@given(steps)
def test_numbers_go_up_and_nothing_relayed_is_lost_in_silence(steps: list[tuple[object, ...]]) -> None:
    """Whatever happens: a client that handles what it gets has all relayed frames, once and in order, or was told."""
    outbox = box(limit=2_000, count=6)
    said: list[int] = []
    handled: list[int] = []
    seq = 0

    def read(count: int) -> None:
        nonlocal seq
        for _ in range(count):
            if (text := outbox.take()) is None:
                return
            frame = json.loads(text)
            assert frame["seq"] > seq
            seq = frame["seq"]
            if frame["t"] == "msg":
                handled.append(frame["data"][0])

    def come_back(lost_on_the_wire: bool) -> None:
        nonlocal seq
        if lost_on_the_wire:
            outbox.take()
        outbox.detach()
        shortfall = outbox.attach(seq)
        if shortfall is not None:
            seq = shortfall.at
            if shortfall.lost:
                handled[:] = list(said)
                while len(outbox):
                    frame = json.loads(outbox.take() or "{}")
                    seq = frame["seq"]

    for step in steps:
        match step:
            case ("put", Delivery() as delivery, int(size)):
                if delivery is Delivery.RELAYED:
                    said.append(len(said))
                    outbox.put(msg([said[-1], "x" * size]))
                else:
                    outbox.put(PeerLeave(id=ANN, reason="left"))
            case ("look", str(peer)):
                outbox.put(look("x", peer))
            case ("take", int(count)):
                read(count)
            case ("ack", _):
                outbox.ack(seq)
            case ("cut", bool(lost)):
                come_back(lost)
        if outbox.waiting_bytes > 2_000:
            come_back(False)
        assert kept(outbox)[1] <= 6_000 + 800
    read(10_000)
    assert handled == said
