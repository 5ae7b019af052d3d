"""The connections with the SFU over a wire of the test's own; `tests/interop/test_sfu_aiortc.py` has the real one."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from itertools import count

import pytest
from aiortc import MediaStreamTrack, RTCPeerConnection, RTCSessionDescription
from av.frame import Frame

from turnserver.client.errors import SignalError
from turnserver.client.ice import IceChoice, flow, ice_transport
from turnserver.client.media import Echo, Listen, MediaPlan, PictureTrack, TestMedia, ToneTrack
from turnserver.client.sfu import RETRIES, SfuConnections
from turnserver.client.state import PairState, PairTiming
from turnserver.signaling.protocol.base import ClientMessage
from turnserver.signaling.protocol.client_messages import Choose, Desc, Reset
from turnserver.signaling.protocol.fields import Description, MediaSource, SourceLayers
from turnserver.signaling.protocol.server_messages import PeerDesc, PeerReset

BOB = "bobbbbbbbb"
NONSENSE = "v=0\r\nm=video 9 UDP/TLS/RTP/SAVPF 200\r\n"
PATIENT = PairTiming(connect=3600, look=3600)


class Room:
    """What the connections need, and the other end of them."""

    def __init__(self) -> None:
        self.sent: list[ClientMessage] = []
        self.frames: list[tuple[str, MediaSource]] = []
        self.online = True
        self.sending = True
        self.full = False
        self.ids = count()
        self.moved = asyncio.Event()
        self.ends: list[RTCPeerConnection] = []
        self.looks: asyncio.Queue[None] = asyncio.Queue()
        self.sfu: SfuConnections | None = None

    def begin(
        self, plan: MediaPlan | None, *, choice: Choose | None = None, timing: PairTiming = PATIENT
    ) -> SfuConnections:
        self.sfu = SfuConnections(self, plan, timing, choice=choice, pause=self.pause)
        return self.sfu

    async def pause(self, seconds: float) -> None:
        await self.looks.get()

    def send(self, message: ClientMessage) -> None:
        if self.full:
            raise SignalError("backlog", "too much")
        self.sent.append(message)
        self.moved.set()

    def ice(self) -> IceChoice:
        return IceChoice()

    def new_id(self) -> str:
        return f"line{next(self.ids):04}"

    def ready(self) -> bool:
        return self.online

    def others_send(self) -> bool:
        return self.sending

    def changed(self) -> None:
        self.moved.set()

    def take(self, peer: str, source: MediaSource, origin: object, frame: Frame) -> None:
        self.frames.append((peer, source))
        self.moved.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(90):
            while not condition():
                self.moved.clear()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self.moved.wait(), 0.05)

    @property
    def offers(self) -> list[Desc]:
        return [each for each in self.sent if isinstance(each, Desc) and each.desc.type == "offer"]

    @property
    def sent_resets(self) -> list[Reset]:
        return [each for each in self.sent if isinstance(each, Reset)]

    async def answer(self, offer: Desc) -> RTCPeerConnection:
        """The SFU's end of the connection for sending."""
        assert self.sfu is not None
        pc = RTCPeerConnection(IceChoice().configuration())
        self.ends.append(pc)
        await pc.setRemoteDescription(RTCSessionDescription(offer.desc.sdp, "offer"))
        await pc.setLocalDescription(await pc.createAnswer())
        self.sfu.deliver(said(offer.pc, "answer", pc.localDescription.sdp))
        return pc

    async def offer(self, name: str, *tracks: MediaStreamTrack) -> RTCPeerConnection:
        """The SFU's end of the connection for receiving, connected."""
        assert self.sfu is not None
        pc = RTCPeerConnection(IceChoice().configuration())
        self.ends.append(pc)
        for track in tracks:
            pc.addTransceiver(track, "sendonly").sender._stream_id = BOB
        await pc.setLocalDescription(await pc.createOffer())
        self.sfu.deliver(said(name, "offer", pc.localDescription.sdp))
        answers = lambda: [e for e in self.sent if isinstance(e, Desc) and e.desc.type == "answer" and e.pc == name]  # noqa: E731
        await self.until(lambda: bool(answers()))
        await pc.setRemoteDescription(RTCSessionDescription(answers()[0].desc.sdp, "answer"))
        return pc


def said(name: str, kind: str, sdp: str) -> PeerDesc:
    return PeerDesc(from_="sfu", pc=name, desc=Description(type=kind, sdp=sdp))


@pytest.fixture
async def room() -> AsyncIterator[Room]:
    made = Room()
    yield made
    if made.sfu is not None:
        await made.sfu.close()
    await asyncio.gather(*(pc.close() for pc in made.ends))


async def test_both_connections(room: Room) -> None:
    """We offer what we send, with its sources, and answer what the SFU offers; frames come by participant."""
    sfu = room.begin(TestMedia(64, 64, 5), choice=Choose(last=3))
    await room.until(lambda: bool(room.offers))
    [offer] = room.offers
    assert (offer.to, list((offer.sources or {}).values())) == ("sfu", ["audio", "camera"])
    assert sfu.state is PairState.CONNECTING
    sending = await room.answer(offer)
    await room.offer("sub1", ToneTrack())
    await room.until(lambda: sfu.state is PairState.CONNECTED)
    await room.until(lambda: (BOB, "audio") in room.frames)
    assert Choose(last=3) in room.sent
    assert all(total > 0 for total in await sfu.traffic())
    assert sending.connectionState == "connected"
    await sfu.close()
    assert sfu.state is PairState.CLOSED
    assert (sfu.pc, sfu.sending) == (None, None)


async def test_who_sends_nothing_offers_nothing(room: Room) -> None:
    """Without leave to send, or without anything to send: connected when the other connection stands."""
    for plan in (None, Listen()):
        sfu = room.begin(plan)
        await room.offer("sub1", ToneTrack())
        await room.until(lambda sfu=sfu: sfu.state is PairState.CONNECTED)  # type: ignore[misc]
        assert room.offers == []
        assert sfu.sending is None
        await sfu.close()
        room.sent.clear()


async def test_what_is_needed(room: Room) -> None:
    """Among people who do not send there is no connection to receive through, and none is waited for."""
    room.sending = False
    sfu = room.begin(TestMedia(64, 64, 5))
    sfu.refresh()
    assert sfu.state is PairState.CONNECTING
    await room.until(lambda: bool(room.offers))
    await room.answer(room.offers[0])
    await room.until(lambda: sfu.state is PairState.CONNECTED)
    room.sending = True
    sfu.refresh()
    assert sfu.state is PairState.RECONNECTING
    await room.offer("sub1", ToneTrack())
    await room.until(lambda: sfu.state is PairState.CONNECTED)
    await sfu.close()
    sfu.refresh()
    assert sfu.state is PairState.CLOSED


async def test_layers(room: Room) -> None:
    """A picture that nobody receives is read and not encoded; the sound always is."""
    sfu = room.begin(TestMedia(64, 64, 5))
    await room.until(lambda: bool(room.offers))
    sfu.layers([SourceLayers(what="camera", rids=())])
    await room.answer(room.offers[0])
    assert sfu.sending is not None
    kinds = lambda: {t.kind: t.sender._enabled for t in sfu.sending.getTransceivers()}  # type: ignore[union-attr]  # noqa: E731
    await room.until(lambda: kinds() == {"audio": True, "video": False})
    sfu.layers([SourceLayers(what="screen", rids=("h",)), SourceLayers(what="camera", rids=("h",))])
    assert kinds() == {"audio": True, "video": True}


async def test_the_one_before_goes_on_until_the_next_one_stands(room: Room) -> None:
    """The SFU's `reset`: nothing is heard twice, and nothing ends too soon."""
    sfu = room.begin(None)
    first = await room.offer("sub1", ToneTrack())
    await room.until(lambda: bool(room.frames))
    before = sfu.pc
    sfu.deliver(PeerReset(from_="sfu", pc="1", why="sfu_gone"))
    assert sfu.state is PairState.RECONNECTING
    assert sfu.pc is None
    heard = len(room.frames)
    await room.until(lambda: len(room.frames) > heard + 5)
    await room.offer("sub2", ToneTrack())
    await room.until(lambda: sfu.state is PairState.CONNECTED)
    assert sfu.pc is not before
    assert before is not None
    await room.until(lambda: before.connectionState == "closed")
    await room.until(lambda: first.connectionState == "closed")


async def test_nonsense_is_a_failure_that_is_told(room: Room) -> None:
    """A description that aiortc cannot take: tried again after a pause, each time longer, and why."""
    sfu = room.begin(TestMedia(64, 64, 5))
    loop = asyncio.get_running_loop()
    waits: list[float] = []
    later = loop.call_later
    loop.call_later = lambda delay, call, *args, **named: (  # type: ignore[method-assign]
        waits.append(delay) if getattr(call, "__name__", "") == "_replace" else None,
        later(0 if getattr(call, "__name__", "") == "_replace" else delay, call, *args, **named),
    )[1]
    try:
        for number in range(7):
            await room.until(lambda number=number: len(room.offers) > number)  # type: ignore[misc]
            sfu.deliver(said(room.offers[-1].pc, "answer", NONSENSE))
    finally:
        await room.until(lambda: len(waits) == 7)
        loop.call_later = later  # type: ignore[method-assign]
    assert waits == [*RETRIES, RETRIES[-1], RETRIES[-1]]
    assert len({offer.pc for offer in room.offers}) >= 7
    assert len(sfu.errors) == 7
    assert sfu.state is PairState.CONNECTING


async def test_what_is_late_is_ignored(room: Room) -> None:
    """Answers to another offer, answers again, anything after the end."""
    sfu = room.begin(TestMedia(64, 64, 5))
    await room.until(lambda: bool(room.offers))
    sfu.deliver(said("another", "answer", NONSENSE))
    sfu.deliver(said("another", "pranswer", NONSENSE))
    await room.answer(room.offers[0])
    assert sfu.sending is not None
    await room.until(lambda: sfu.sending is not None and sfu.sending.signalingState == "stable")
    sfu.deliver(said(room.offers[0].pc, "answer", NONSENSE))
    sfu.back()  # nothing was chosen
    for _ in range(200):
        sfu.deliver(said("flood", "offer", NONSENSE))
    assert len(sfu._tasks) < 100
    await room.until(lambda: len(sfu.errors) > 0)
    sfu.deliver(said("empty", "offer", "v=0"))
    assert sfu.errors[-1] == "a description without media sections"
    await sfu.close()
    await sfu.close()
    errors = list(sfu.errors)
    sfu.deliver(said("later", "offer", NONSENSE))
    sfu.renew()
    sfu.restart()
    assert (sfu.errors, sfu.pc) == (errors, None)


async def test_no_path(room: Room) -> None:
    """A connection that does not come about is asked for again, with `reset` for the one that the SFU offers."""
    sfu = room.begin(None, timing=PairTiming(connect=0.01, look=3600))
    pc = RTCPeerConnection(IceChoice().configuration())
    room.ends.append(pc)
    pc.addTransceiver("audio", "sendonly")
    await pc.setLocalDescription(await pc.createOffer())
    sfu.deliver(said("sub1", "offer", pc.localDescription.sdp))
    await room.until(lambda: any(isinstance(each, Reset) for each in room.sent))
    [reset, *_] = [each for each in room.sent if isinstance(each, Reset)]
    assert (reset.to, reset.pc, reset.why) == ("sfu", "sub1", "failed")
    assert "no path to the SFU was found" in sfu.errors


async def look_at_more(room: Room, pc: RTCPeerConnection) -> None:
    """One more look, before which more was sent: of who sends nothing it would be asked instead."""
    before, _ = await flow(pc)
    async with asyncio.timeout(90):
        while (await flow(pc))[0] == before:
            await asyncio.sleep(0.01)
    room.looks.put_nowait(None)
    await room.until(room.looks.empty)


async def test_a_silent_sfu(room: Room) -> None:
    """Nothing comes back for what is sent: after some looks both connections are built again, while signaling is up."""
    sfu = room.begin(TestMedia(64, 64, 5), timing=PairTiming(connect=3600, misses=2))
    await room.until(lambda: bool(room.offers))
    sending = await room.answer(room.offers[0])
    await room.offer("sub1", ToneTrack())
    await room.until(lambda: sfu.state is PairState.CONNECTED)
    transport = sending.getTransceivers()[0].receiver.transport

    async def lose(*_: object) -> None:
        """Nothing of what it sends arrives."""

    transport._send_rtp = lose  # type: ignore[method-assign]
    mine = sfu.sending
    assert mine is not None
    room.online = False
    for _ in range(6):
        await look_at_more(room, mine)
    assert len(room.offers) == 1
    room.online = True
    async with asyncio.timeout(90):
        while len(room.offers) == 1:
            await look_at_more(room, mine)
    assert "nothing comes from the SFU any more" in sfu.errors
    assert [each.why for each in room.sent if isinstance(each, Reset)] == ["silent"]


def deaf(sfu: SfuConnections) -> None:
    """From now on nothing that is sent to the connection for receiving gets here, and no socket says so."""
    assert sfu.pc is not None
    transport = ice_transport(sfu.pc)
    assert transport is not None
    pair = transport._connection._nominated[1]
    pair.protocol.datagram_received = lambda data, addr: None


async def quiet(end: RTCPeerConnection) -> None:
    """From now on an end sends no media and no reports; it answers checks."""

    async def lose(*_: object) -> None:
        """Nothing of it leaves."""

    for transceiver in end.getTransceivers():
        transceiver.sender.transport._send_rtp = lose  # type: ignore[method-assign]


async def test_a_listener_whose_path_is_dead(room: Room) -> None:
    """Who sends nothing asks. Without an answer it wants another connection; the one before is kept until then."""
    sfu = room.begin(None, timing=PairTiming(connect=3600, misses=3))
    await room.offer("sub1", ToneTrack())
    await room.until(lambda: bool(room.frames))
    deaf(sfu)
    await room.until(lambda: room.looks.put_nowait(None) or bool(room.sent_resets))  # type: ignore[func-returns-value]
    assert [(each.pc, each.why) for each in room.sent_resets] == [("sub1", "silent")]
    assert "nothing comes from the SFU any more" in sfu.errors
    before = sfu.pc
    assert before is not None
    assert before.connectionState == "connected"
    await room.offer("sub2", ToneTrack())
    await room.until(lambda: before.connectionState == "closed")
    heard = len(room.frames)
    await room.until(lambda: len(room.frames) > heard)


async def test_a_listener_of_people_who_are_muted(room: Room) -> None:
    """No media come, and none need come: the SFU answers, so nothing is built again."""
    sfu = room.begin(None, timing=PairTiming(connect=3600, misses=2))
    await quiet(await room.offer("sub1", ToneTrack()))
    await room.until(lambda: sfu.state is PairState.CONNECTED)
    line = sfu._in
    assert line is not None
    for number in range(5):
        room.looks.put_nowait(None)  # with media that were under way still, this look asks nothing
        await room.until(lambda: room.looks.empty() and (line.check is None or line.check.done()))
        room.looks.put_nowait(None)
        await room.until(lambda number=number: line.answered > number)  # type: ignore[misc]
    assert (room.sent_resets, sfu.errors) == ([], [])


async def test_an_echo_of_nothing(room: Room) -> None:
    """Who has nothing to send gets no reports, which is no reason to begin again."""
    sfu = room.begin(Echo(), timing=PairTiming(connect=3600, misses=2))
    await room.until(lambda: bool(room.offers))
    await quiet(await room.answer(room.offers[0]))
    await room.until(lambda: sfu.sending is not None and sfu.sending.connectionState == "connected")
    line = sfu._out
    assert line is not None
    for number in range(5):
        room.looks.put_nowait(None)
        await room.until(lambda: room.looks.empty() and (line.check is None or line.check.done()))
        room.looks.put_nowait(None)
        await room.until(lambda number=number: line.answered > number)  # type: ignore[misc]
    assert len(room.offers) == 1


async def test_a_shared_screen(room: Room) -> None:
    """The sources of its sections are said, and each picture is encoded while somebody receives it."""
    sfu = room.begin(TestMedia(64, 64, 5, screen=(96, 64, 5)))
    await room.until(lambda: bool(room.offers))
    assert list((room.offers[0].sources or {}).values()) == ["audio", "camera", "screen"]
    await room.answer(room.offers[0])
    await room.until(lambda: sfu.sending is not None and sfu.sending.signalingState == "stable")
    sfu.layers([SourceLayers(what="screen", rids=()), SourceLayers(what="camera", rids=("h",))])
    assert sfu.sending is not None
    assert [each.sender._enabled for each in sfu.sending.getTransceivers()] == [True, True, False]


async def test_two_cameras(room: Room) -> None:
    """A plan with two tracks for one source cannot be sent, and that is said."""

    class Two(Listen):
        def outgoing(self) -> list[MediaStreamTrack]:
            return [PictureTrack(64, 64, 5), PictureTrack(64, 64, 5)]

    sfu = room.begin(Two())
    await room.until(lambda: bool(sfu.errors))
    assert sfu.errors == ["ValueError: the plan has two tracks for camera"]


async def test_a_server_that_takes_nothing(room: Room) -> None:
    """What cannot be said is noted."""
    room.full = True
    sfu = room.begin(TestMedia(64, 64, 5))
    await room.until(lambda: sfu.errors == ["backlog: too much"])
