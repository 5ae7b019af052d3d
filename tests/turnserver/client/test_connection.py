"""Two pairs that face each other over a wire of the test's own, and a relay that is real."""

import asyncio
import itertools
import json
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace

import pytest

from tests.support.server import PASSWORD, USERNAME, TurnServerProcess
from turnserver.client.errors import SignalError
from turnserver.client.ice import IceChoice
from turnserver.client.media import Echo, Listen, MediaPlan, TestMedia
from turnserver.client.pair import Negotiation, Pair, PairState
from turnserver.client.reading import Unreadable, read
from turnserver.client.state import PairTiming
from turnserver.signaling.protocol.base import ClientMessage
from turnserver.signaling.protocol.client_messages import Desc, Reset
from turnserver.signaling.protocol.fields import Candidate, Description, IceError, Media, Peer
from turnserver.signaling.protocol.server_messages import PeerCand, PeerDesc, PeerReset

PATIENT = PairTiming(offer_wait=60, connect=60, look=60)


class End:
    """One end of the wire, and what its pair needs."""

    def __init__(self, name: str, choice: IceChoice, wire: "Wire") -> None:
        self.name = name
        self.choice = choice
        self.wire = wire
        self.pair: Pair | None = None
        self.sent: list[Desc | Reset] = []
        self.data: list[str | bytes] = []
        self.asked: list[str] = []
        self.states: list[PairState] = []
        self.online = True
        self.ids = (f"{name}{number:07}" for number in itertools.count())

    def send(self, message: ClientMessage) -> None:
        assert isinstance(message, Desc | Reset)
        self.sent.append(message)
        relayed = message.relayed(self.name, None)
        assert isinstance(relayed, PeerDesc | PeerReset)
        self.wire.carry(self, relayed)

    def ice(self) -> IceChoice:
        return self.choice

    def new_id(self) -> str:
        return next(self.ids)

    async def fresh_ice(self, peer: str, why: str) -> None:
        self.asked.append(why)

    def ready(self) -> bool:
        return self.online

    def changed(self, pair: Pair) -> None:
        self.states.append(pair.state)
        self.wire.moved.set()

    def message(self, pair: Pair, data: str | bytes) -> None:
        self.data.append(data)
        self.wire.moved.set()

    @property
    def kinds(self) -> list[str]:
        """What was sent, descriptions by their type."""
        return [message.desc.type if isinstance(message, Desc) else message.t for message in self.sent]


class Wire:
    """Carries what one end sends to the other; what is held goes on when it is let go."""

    def __init__(self, choice: IceChoice) -> None:
        self.ends = {name: End(name, choice, self) for name in "ab"}
        self.moved = asyncio.Event()
        self.holding = False
        self.held: list[tuple[End, Negotiation]] = []

    def carry(self, sender: End, said: Negotiation) -> None:
        self.moved.set()
        if self.holding:
            self.held.append((sender, said))
            return
        other = self.ends["b" if sender.name == "a" else "a"].pair
        if other is not None:
            other.deliver(said)

    def release(self) -> None:
        self.holding = False
        held, self.held = self.held, []
        for sender, said in held:
            self.carry(sender, said)

    def pair(self, name: str, plan: MediaPlan, *, polite: bool, start: bool, timing: PairTiming = PATIENT) -> Pair:
        other = "b" if name == "a" else "a"
        who = {"id": other, "name": other.upper(), "meta": {}, "media": Media(), "role": "member", "since": 1}
        peer = Peer(**who, polite=polite, start=start)
        made = self.ends[name].pair = Pair(peer, self.ends[name], plan, timing)
        return made

    async def step(self) -> None:
        """Wait until something happens on the wire, or for a moment."""
        self.moved.clear()
        with_frames = asyncio.ensure_future(self.moved.wait())
        await asyncio.wait([with_frames], timeout=0.05)
        with_frames.cancel()

    async def until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            await self.step()


@pytest.fixture
async def wire(turn_server: TurnServerProcess) -> AsyncIterator[Wire]:
    url = f"turn:127.0.0.1:{turn_server.port}?transport=udp"
    wire = Wire(IceChoice(url, USERNAME, PASSWORD, "udp", relay_only=True))
    yield wire
    await asyncio.gather(*(end.pair.close() for end in wire.ends.values() if end.pair is not None))


def flows(*pairs: Pair) -> Callable[[], bool]:
    """Both kinds of media have come in, well after the beginning."""
    marks = [(pair, pair.received.audio + 20, pair.received.video + 5) for pair in pairs]
    return lambda: all(pair.received.audio > audio and pair.received.video > video for pair, audio, video in marks)


def connected(*pairs: Pair) -> Callable[[], bool]:
    return lambda: all(pair.state is PairState.CONNECTED and pair.channel_open for pair in pairs)


@pytest.mark.parametrize("polite_starts", [True, False])
async def test_two_pairs_meet(wire: Wire, polite_starts: bool) -> None:
    """Signaling §1: the one who starts offers; sound, picture and the data channel go both ways, relayed."""
    a = wire.pair("a", TestMedia(), polite=True, start=polite_starts)
    b = wire.pair("b", TestMedia(), polite=False, start=not polite_starts)
    await wire.until(connected(a, b))
    await wire.until(flows(a, b))
    a.send("hello")
    b.send(b"\x00\x01")
    await wire.until(lambda: bool(wire.ends["a"].data and wire.ends["b"].data))
    assert (wire.ends["a"].data, wire.ends["b"].data) == ([b"\x00\x01"], ["hello"])
    first, second = ("a", "b") if polite_starts else ("b", "a")
    assert wire.ends[first].kinds == ["offer"]
    assert wire.ends[second].kinds == ["answer"]
    for pair in (a, b):
        report = await pair.report()
        assert (report.path, report.state, report.proto) == ("relay", PairState.CONNECTED, "udp")
        assert (report.received.width, report.received.height) == (320, 180)
        assert report.received.tone > 0.9
        assert report.bytes_received > 10_000
        assert pair.candidate_types()[0] == ["relay"]
        assert pair.failures() == []


async def test_an_echo(wire: Wire) -> None:
    """What one sends comes back to it."""
    a = wire.pair("a", TestMedia(), polite=True, start=True)
    b = wire.pair("b", Echo(), polite=False, start=False)
    await wire.until(flows(a, b))
    assert a.received.tone > 0.9


async def test_one_who_only_listens(wire: Wire) -> None:
    """A participant without tracks hears the other one, in either role."""
    for start in (True, False):
        a = wire.pair("a", Listen(), polite=True, start=start)
        b = wire.pair("b", TestMedia(), polite=False, start=not start)
        await wire.until(flows(a))
        assert (b.received.audio, b.received.video) == (0, 0)
        await asyncio.gather(a.close(), b.close())


@pytest.mark.parametrize("late", ["a", "b"])
async def test_offers_that_cross(wire: Wire, late: str) -> None:
    """Signaling §1, glare: the polite one gives way with another connection of the same name; the impolite one wins."""
    wire.holding = True
    a = wire.pair("a", TestMedia(), polite=True, start=True)
    b = wire.pair("b", TestMedia(), polite=False, start=True)
    await wire.until(lambda: len(wire.held) == 2)
    wire.held.sort(key=lambda entry: entry[0].name == late)
    wire.release()
    await wire.until(connected(a, b))
    await wire.until(flows(a, b))
    assert wire.ends["a"].kinds == ["offer", "answer"]
    assert wire.ends["b"].kinds == ["offer"]
    assert {said.pc for said in wire.ends["a"].sent} == {"a0000000"}


async def test_the_other_one_does_not_start(wire: Wire) -> None:
    """Signaling §1: who does not start waits, and then offers."""
    quick = PairTiming(offer_wait=0.01, connect=60)
    a = wire.pair("a", TestMedia(), polite=True, start=False, timing=quick)
    b = wire.pair("b", TestMedia(), polite=False, start=False)
    await wire.until(connected(a, b))
    assert wire.ends["a"].kinds == ["offer"]


async def test_a_restart_is_a_rebuild(wire: Wire) -> None:
    """Signaling §1 `reset`: fresh credentials are asked for, both connections are new, media goes on."""
    a = wire.pair("a", TestMedia(), polite=True, start=True)
    b = wire.pair("b", TestMedia(), polite=False, start=False)
    await wire.until(connected(a, b))
    a.restart()
    await wire.until(lambda: PairState.RECONNECTING in wire.ends["a"].states)
    await wire.until(connected(a, b))
    await wire.until(flows(a, b))
    assert wire.ends["a"].asked == ["user"]
    assert wire.ends["a"].kinds == ["offer", "reset", "offer"]
    assert wire.ends["b"].kinds == ["answer", "answer"]
    assert [said.pc for said in wire.ends["b"].sent] == ["b0000000", "b0000001"]


async def test_both_restart_at_once(wire: Wire) -> None:
    """Resets that cross do not chase each other: a connection that is new already is kept."""
    a = wire.pair("a", TestMedia(), polite=True, start=True)
    b = wire.pair("b", TestMedia(), polite=False, start=False)
    await wire.until(connected(a, b))
    wire.holding = True
    a.restart()
    b.restart()
    await wire.until(lambda: len(wire.held) == 4)
    wire.release()
    await wire.until(connected(a, b))
    await wire.until(flows(a, b))
    assert wire.ends["b"].kinds == ["answer", "reset", "offer"]
    assert wire.ends["a"].kinds == ["offer", "reset", "offer", "answer"]


@pytest.mark.parametrize("plan", [TestMedia, Listen])
async def test_a_path_that_is_dead_is_built_anew(
    wire: Wire, start_server: Callable[..., TurnServerProcess], plan: type[MediaPlan]
) -> None:
    """A relay stops, and nobody says so: ICE notices after 30 s (RFC 7675), whoever looks after some looks.

    Where both only listen something comes as well, since it is asked for.
    """
    relay = start_server()
    for end in wire.ends.values():
        end.choice = replace(end.choice, url=f"turn:127.0.0.1:{relay.port}?transport=udp")
    quick = replace(PATIENT, look=0.2, misses=10)
    a = wire.pair("a", plan(), polite=True, start=True, timing=quick)
    b = wire.pair("b", plan(), polite=False, start=False)
    await wire.until(connected(a, b))
    for _ in range(3):
        before = (await a.report()).bytes_received
        while (await a.report()).bytes_received <= before:
            await wire.step()
    so_far = len(wire.ends["a"].asked)
    os.kill(relay.pid, signal.SIGSTOP)
    try:
        await wire.until(lambda: len(wire.ends["a"].asked) > so_far)
    finally:
        os.kill(relay.pid, signal.SIGCONT)
    assert wire.ends["a"].asked[so_far] == "silent"
    await wire.until(lambda: connected(a, b)() and wire.ends["b"].sent[-1].pc != "b0000000")
    assert a.rebuilds == 0
    if plan is TestMedia:
        await wire.until(flows(a, b))


async def test_an_ice_restart_is_answered_with_a_reset(wire: Wire) -> None:
    """RFC 8839 §4.4.1: an offer with another ``ice-ufrag``; aiortc cannot, so a new connection is offered."""
    a = wire.pair("a", TestMedia(), polite=True, start=True)
    b = wire.pair("b", TestMedia(), polite=False, start=False)
    await wire.until(connected(a, b))
    first = wire.ends["a"].sent[0]
    assert isinstance(first, Desc)
    offer = first.desc.sdp
    changed = "\r\n".join("a=ice-ufrag:else" if "a=ice-ufrag" in line else line for line in offer.split("\r\n"))
    description = Description(type="offer", sdp=changed)
    b.deliver(PeerDesc(from_="a", pc="a0000000", rpc="b0000000", desc=description))
    await wire.until(lambda: "reset" in wire.ends["b"].kinds)
    await wire.until(connected(a, b))
    await wire.until(flows(a, b))
    assert wire.ends["b"].kinds == ["answer", "reset", "offer"]


async def test_what_is_for_another_connection_is_dropped(wire: Wire) -> None:
    """Signaling §1 `rpc`: answered with one reset for each connection of the sender's, never with one for a reset."""
    a = wire.pair("a", Listen(), polite=True, start=True)
    b = wire.pair("b", Listen(), polite=False, start=False)
    await wire.until(connected(a, b))
    for _ in range(3):
        b.deliver(PeerCand(from_="a", pc="older", rpc="b-before", list=(None,)))
    b.deliver(PeerReset(from_="a", pc="a0000000"))
    b.deliver(PeerDesc(from_="a", pc="older2", rpc="b-before", desc=Description(type="offer")))
    await wire.until(lambda: wire.ends["b"].kinds.count("reset") == 2)
    last = wire.ends["b"].sent[-1]
    assert isinstance(last, Reset)
    assert (last.to, last.pc, last.why) == ("a", "b0000000", "stale")
    assert connected(a, b)()
    assert wire.ends["a"].kinds == ["offer"]


@pytest.mark.parametrize(
    "frame",
    [
        {"t": "desc", "pc": "x", "desc": {"type": "offer", "sdp": "v=0\r\nnonsense"}},
        {"t": "desc", "pc": "x", "desc": {"type": "offer", "sdp": "v=0\r\nm=nonsense"}},
        {"t": "desc", "pc": "x", "desc": {"type": "answer", "sdp": ""}},
        {"t": "desc", "pc": "x", "desc": {"type": "rollback"}},
        {"t": "desc", "pc": "x", "desc": {"type": "offer", "sdp": 7}},
        {"t": "desc", "pc": "x", "desc": None},
        {"t": "cand", "pc": "x", "list": [{"candidate": "candidate:1 2 3"}, {"candidate": ""}, None]},
        {"t": "cand", "pc": "x", "list": [{"candidate": "candidate:1 2 3"}, 4, "5", None, {"candidate": None}]},
        {"t": "cand", "pc": "x", "list": "none"},
        {"t": "reset"},
    ],
)
async def test_nonsense_does_no_harm(wire: Wire, frame: dict[str, object]) -> None:
    """Whatever a participant sends before its offer, the offer after it is taken."""
    b = wire.pair("b", Listen(), polite=False, start=False)
    said = read(json.dumps({"from": "aaaaaaaaaa", **frame}))
    if isinstance(said, Unreadable):
        assert said.why.startswith("bad_message"), "what is none never gets here"
    else:
        assert isinstance(said, PeerDesc | PeerCand | PeerReset)
        b.deliver(said)
    a = wire.pair("a", TestMedia(), polite=True, start=True)
    await wire.until(flows(b))
    await wire.until(connected(a, b))


async def test_a_flood_is_bounded(wire: Wire) -> None:
    """Far more than a participant may send: the queue does not grow, and the pair says so."""
    b = wire.pair("b", Listen(), polite=False, start=False)
    for _ in range(10_000):
        b.deliver(PeerCand(from_="a", pc="x", list=(Candidate(candidate="x" * 100),)))
    assert b.errors == ["too many messages at once from the peer"] * 10


async def test_three_rebuilds_and_no_more(wire: Wire) -> None:
    """Signaling §3: a pair that does not come up is rebuilt three times; then it has failed."""
    quick = PairTiming(offer_wait=60, connect=0.05, fresh_ice=1, rebuilds=3)
    a = wire.pair("a", Listen(), polite=True, start=True, timing=quick)
    await wire.until(lambda: a.state is PairState.FAILED)
    assert wire.ends["a"].kinds == ["offer", *["reset", "offer"] * 3]
    assert wire.ends["a"].asked == ["failed"] * 3
    assert (await a.report()).path == "unknown"
    with pytest.raises(SignalError, match="not_connected"):
        a.send("nobody there")


@pytest.mark.parametrize("whose", ["theirs", "ours"])
async def test_nothing_is_mended_while_signaling_is_away(wire: Wire, whose: str) -> None:
    """Who cannot be reached is not sent resets; when it is back, it is gone on with."""
    quick = PairTiming(offer_wait=60, connect=0.01)
    a = wire.pair("a", Listen(), polite=True, start=True, timing=quick)
    a.set_gap(whose == "theirs")
    wire.ends["a"].online = whose == "theirs"
    await wire.until(lambda: a._connection is not None and a._connection._stalled)
    assert wire.ends["a"].kinds == ["offer"]
    a.wake()
    assert a.rebuilds == 0
    wire.ends["a"].online = True
    a.set_gap(False)
    await wire.until(lambda: "reset" in wire.ends["a"].kinds)


async def test_no_relay_to_be_had(wire: Wire) -> None:
    """What ``diag`` is told when the TURN server does not answer as it should."""
    wire.ends["a"].choice = IceChoice(wire.ends["a"].choice.url, USERNAME, "wrong", "udp", relay_only=True)
    a = wire.pair("a", Listen(), polite=True, start=True)
    await wire.until(lambda: wire.ends["a"].kinds == ["offer"])
    assert a.candidate_types() == ([], [])
    assert a.failures() == [IceError(code=701, url=wire.ends["a"].choice.url)]


async def test_close_is_final(wire: Wire) -> None:
    """Twice is once, and nothing is sent after it."""
    a = wire.pair("a", TestMedia(), polite=True, start=True)
    closing: list[Awaitable[None]] = [a.close(), a.close()]
    await asyncio.gather(*closing)
    a.deliver(PeerReset(from_="b", pc="b0000009"))
    assert a.state is PairState.CLOSED
    assert wire.ends["a"].kinds == []
    assert (await a.report()).state is PairState.CLOSED
