"""The recording of a room: what its sink gets, what is asked of publishers, and how it ends."""

import pytest

from tests.support.media_world import Encoder, entropy, header_of
from tests.support.sfu_world import EngineWorld
from tests.turnserver.media.test_room import Call
from turnserver.media.codecs import CODECS
from turnserver.media.facts import LayersWanted, RecordingBegan, RecordingEnded, TrackSource
from turnserver.media.publisher import Publisher
from turnserver.media.recording import MOST_RECORDED, RecordingRefused, RoomRecording
from turnserver.media.rtcp import Pli, SenderReport
from turnserver.media.track import PublishedTrack


class Tape:
    """A `RecorderPort` and its sinks: keeps all that it is told."""

    def __init__(self) -> None:
        self.refuse = ""
        self.recording: RoomRecording | None = None
        self.begun: list[tuple[int, str, str, str, str]] = []
        self.packets: dict[int, list[tuple[bytearray, float]]] = {}
        self.related: list[tuple[int, int, int]] = []
        self.ended: list[int] = []
        self.closed: list[str] = []

    def open(self, room: str, recording: RoomRecording) -> "Tape":
        if self.refuse:
            raise RecordingRefused(self.refuse)
        self.recording = recording
        return self

    def begin(self, number: int, peer: str, name: str, source: TrackSource, codec: str) -> None:
        self.begun.append((number, peer, name, source, codec))

    def packet(self, number: int, packet: bytearray, now: float) -> None:
        self.packets.setdefault(number, []).append((packet, now))

    def relate(self, number: int, ntp: int, timestamp: int) -> None:
        self.related.append((number, ntp, timestamp))

    def end(self, number: int) -> None:
        self.ended.append(number)

    def close(self, why: str) -> None:
        self.closed.append(why)


def recorded(call: Call) -> Tape:
    """Record a room from now on."""
    tape = Tape()
    recording = RoomRecording(entropy, call.now, tape.closed.append)
    recording.sink = tape.open("r", recording)
    call.room.record(recording)
    return tape


def test_everything_is_recorded_and_a_picture_begins_with_a_keyframe() -> None:
    call = Call("ann", "bob")
    call.wait(1.0)
    tape = recorded(call)
    call.wait(1.0)
    assert [each[1:] for each in tape.begun] == [
        (peer, peer, source, codec)
        for peer in ("ann", "bob")
        for source, codec in (("audio", "opus"), ("camera", "vp8"))
    ]
    for number, _, _, source, codec in tape.begun:
        packets = [packet for packet, _ in tape.packets[number]]
        numbers = [header_of(packet).sequence for packet in packets]
        assert numbers == list(range(numbers[0], numbers[0] + len(packets)))
        assert len(packets) > (30 if source == "audio" else 8)
        if source == "camera":
            descriptor = CODECS[codec].read(packets[0], header_of(packets[0]))
            assert descriptor is not None
            assert descriptor.keyframe
    assert tape.packets[1][-1][1] == pytest.approx(call.now, abs=0.05)


def test_it_sees_what_nobody_looks_at_and_is_not_a_participant() -> None:
    """Somebody alone in a room is asked for a picture, since it is recorded."""
    call = Call("ann")
    call.wait(3.0)
    tape = recorded(call)
    call.facts.clear()
    call.wait(1.0)
    assert LayersWanted("r", "ann", "camera", ("",)) in call.facts
    assert len(tape.packets[2]) > 8
    call.room.end_recording("stopped")
    call.facts.clear()
    call.wait(4.0)
    assert tape.closed == ["stopped"]
    assert LayersWanted("r", "ann", "camera", ()) in call.facts
    count = len(tape.packets[1])
    call.wait(0.5)
    assert len(tape.packets[1]) == count


def test_the_best_layer_is_recorded_as_one_stream() -> None:
    now = 100.0
    track = PublishedTrack("ann", "camera", CODECS["vp8"], "1", layers=("q", "h"), now=now)
    tape = Tape()
    recording = RoomRecording(entropy, now, tape.closed.append)
    recording.sink = tape
    recording.add(track, "Ann")
    low, high = Encoder(1000, height=180), Encoder(2000, height=360)

    def send(encoder: Encoder, rid: str, *, key: bool = False) -> None:
        stream = track.stream(encoder.ssrc, rid)
        assert stream is not None
        recording.now = now
        for packet in encoder.frame(key=key or bool(stream.waiting)):
            track.receive(stream, packet, len(packet), header_of(packet), now)

    for number in range(60):
        recording.allocate(now)
        send(low, "q")
        if number >= 30:
            send(high, "h")
        for stream in track.streams.values():
            stream.sample(now)
        now += 1 / 15
    packets = [packet for packet, _ in tape.packets[1]]
    heights = [height for packet in packets if (height := _height(packet))]
    assert (heights[0], heights[-1]) == (180, 360)
    numbers = [header_of(packet).sequence for packet in packets]
    assert numbers == list(range(numbers[0], numbers[0] + 60))


def _height(packet: bytearray) -> int:
    descriptor = CODECS["vp8"].read(packet, header_of(packet))
    assert descriptor is not None
    return descriptor.height


def test_reports_tell_the_clock_and_a_lost_picture_is_asked_for() -> None:
    call = Call("ann", "bob")
    tape = recorded(call)
    call.wait(1.0)
    encoder = call.encoders["ann"]
    call.room.reports(call.people["ann"], [SenderReport(encoder.ssrc, 5 << 32, encoder.timestamp, 0, 0)], call.now)
    ((number, ntp, timestamp),) = tape.related
    last = header_of(tape.packets[number][-1][0]).timestamp
    assert (number, ntp) == (2, 5 << 32)
    assert (timestamp - last) & 0xFFFFFFFF == (encoder.timestamp - (encoder.timestamp - 6000)) & 0xFFFFFFFF
    call.up["ann"].rtcp.clear()
    assert tape.recording is not None
    tape.recording.keyframe(number)
    tape.recording.keyframe(99)
    call.room.tick(call.now + 1.0)
    assert any(isinstance(each, Pli) for each in call.up["ann"].rtcp)


def test_who_comes_and_who_goes() -> None:
    call = Call("ann")
    tape = recorded(call)
    call.join("bob")
    call.room.leave(call.people["ann"], call.now)
    assert tape.ended == [1, 2]
    assert [each[:2] for each in tape.begun] == [(1, "ann"), (2, "ann"), (3, "bob"), (4, "bob")]


def test_what_is_muted_at_the_server_is_not_recorded() -> None:
    call = Call("ann", "bob")
    tape = recorded(call)
    call.wait(0.5)
    call.room.mute(call.people["ann"], "audio", True, call.now)
    before = len(tape.packets[1])
    call.wait(0.5)
    assert len(tape.packets[1]) == before


def test_tracks_are_bounded() -> None:
    tape = Tape()
    recording = RoomRecording(entropy, 0.0, tape.closed.append)
    recording.sink = tape
    track = PublishedTrack("ann", "audio", CODECS["opus"], "0", now=0.0)
    for _ in range(MOST_RECORDED + 5):
        recording.add(track, "Ann")
    assert len(tape.begun) == MOST_RECORDED


def engine_with(tape: Tape) -> EngineWorld:
    world = EngineWorld()
    world.engine._recorder = tape
    return world


def test_the_engine_begins_and_ends_recordings() -> None:
    tape = Tape()
    world = engine_with(tape)
    world.join("ann", "bob")
    world.engine.record("nowhere", True, now=world.now)
    world.engine.record("r", False, now=world.now)
    assert not [fact for fact in world.facts if isinstance(fact, RecordingBegan | RecordingEnded)]
    for _ in range(2):
        world.engine.record("r", True, now=world.now)
    world.wait(1.0)
    assert [fact for fact in world.facts if isinstance(fact, RecordingBegan)] == [RecordingBegan("r")]
    assert len(tape.begun) == 4
    assert all(tape.packets[number] for number in (1, 2, 3, 4))
    world.engine.record("r", False, now=world.now)
    assert (world.facts[-1], tape.closed) == (RecordingEnded("r", ""), ["stopped"])
    world.engine.record("r", True, now=world.now)
    world.engine.close("r", now=world.now)
    assert tape.closed == ["stopped", "room_closed"]


def test_a_recorder_that_gives_up_ends_the_recording_only() -> None:
    tape = Tape()
    world = engine_with(tape)
    (ann, bob) = world.join("ann", "bob")
    world.engine.record("r", True, now=world.now)
    assert tape.recording is not None
    for _ in range(2):
        tape.recording.failed("the disk is almost full")
    assert [fact for fact in world.facts if isinstance(fact, RecordingEnded)] == [
        RecordingEnded("r", "the disk is almost full")
    ]
    world.wait(0.5)
    assert ann.got(111)
    assert bob.got(111)
    world.engine.record("r", True, now=world.now)
    assert world.facts.count(RecordingBegan("r")) == 2


@pytest.mark.parametrize("why", ["", "recording needs PyAV"])
def test_a_recording_that_cannot_begin_is_told(why: str) -> None:
    tape = Tape()
    tape.refuse = why
    world = engine_with(tape) if why else EngineWorld()
    world.engine.record("r", True, now=world.now)
    assert world.facts == [RecordingEnded("r", why or "this server does not record")]


def test_publishers_are_what_they_were() -> None:
    """A recording leaves nothing behind in the tracks."""
    call = Call("ann")
    recorded(call)
    call.wait(0.5)
    call.room.end_recording("stopped")
    publisher = call.people["ann"].publisher
    assert isinstance(publisher, Publisher)
    for track in publisher.tracks.values():
        assert track.targets == {}
        assert all(not stream.forwarders and not stream.waiting for stream in track.streams.values())
