"""Python participants in rooms of the real server that go through its SFU, and in rooms that change to it and back."""

import asyncio
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from aiortc import MediaStreamTrack

from tests.support.mesh import ADMIN_KEY, Member, connected, flows, member, page_url, room_of_the_api, watch_frames
from tests.support.process import wait_for_log
from tests.support.server import SHARED_SECRET, TurnServerProcess
from tests.support.server import free_port as find_port
from tests.support.signal_wire import signaling_listeners
from turnserver.client.errors import SignalError
from turnserver.client.ice import ice_transport
from turnserver.client.media import Echo, Listen, TestMedia
from turnserver.client.pair import Pair, PairState
from turnserver.signaling.protocol.fields import ShownTile
from turnserver.signaling.protocol.server_messages import PeerLeave

__all__ = ["watch_frames"]

pytestmark = pytest.mark.usefixtures("watch_frames")


_logger = logging.getLogger(__name__)


def small() -> TestMedia:
    """A picture that three people can encode and decode on one busy core."""
    return TestMedia(160, 96, 10)


def sharing() -> TestMedia:
    """The same with a screen."""
    return TestMedia(160, 96, 10, screen=(128, 96, 5))


def started(tmp_path_factory: pytest.TempPathFactory, **signaling: Any) -> Iterator[TurnServerProcess]:
    port = find_port()
    config: dict[str, Any] = {
        "listeners": [*signaling_listeners(port), {"transport": "tcp", "address": "127.0.0.1", "port": port + 1}],
        "relay": {"addresses": ["127.0.0.1"]},
        "auth": {"shared_secrets": [SHARED_SECRET]},
        "peers": {"allow": ["127.0.0.0/8"]},
        "signaling": {"open": True, "admin_keys": {"test": ADMIN_KEY}, **signaling},
    }
    with TurnServerProcess(config, tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TurnServerProcess]:
    """A server all of whose rooms go through its SFU."""
    yield from started(tmp_path_factory, mode="sfu")


@pytest.fixture(scope="module")
def changing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TurnServerProcess]:
    """A server whose rooms are meshes for three, and go through its SFU for more."""
    yield from started(tmp_path_factory, mode="auto", room_size=3)


def through_sfu(*members: Member, others: int) -> Callable[[], bool]:
    """Whether each of them has so many others, and its connections with the SFU."""
    return lambda: all(
        len(one.pairs) == others
        and one.mesh.sfu is not None
        and all(pair.way == "sfu" and pair.state is PairState.CONNECTED for pair in one.pairs)
        for one in members
    )


async def frames(track: MediaStreamTrack, count: int) -> list[int]:
    """The time stamps of the next frames."""
    found = []
    async with asyncio.timeout(90):
        while len(found) < count:
            pts = (await track.recv()).pts
            assert pts is not None
            found.append(pts)
    return found


async def test_three_through_the_sfu(server: TurnServerProcess) -> None:
    """All hear and see each other over two connections each; the tone comes through, and data by way of the server."""
    url = page_url(server)
    async with member(url, "three", plan=small) as ann, member(url, "three", name="Bob", plan=small) as bob:
        await ann.until(through_sfu(ann, bob, others=1))
        async with member(url, "three", name="Cal", plan=small) as cal:
            await ann.until(through_sfu(ann, bob, cal, others=2))
            await ann.until(flows(ann, bob, cal))
            await ann.until(lambda: all(pair.received.tone > 0.9 for one in (ann, bob, cal) for pair in one.pairs))
            for report in await ann.mesh.reports():
                assert (report.way, report.state, report.path) == ("sfu", PairState.CONNECTED, "direct")
                assert (report.received.width, report.received.height) == (160, 96)
                assert report.bytes_sent > 1000
            assert ann.mesh.broadcast("to nobody") == 0
            with pytest.raises(SignalError, match="not_connected"):
                ann.pairs[0].send("no channel")
            await ann.until(lambda: ann.mesh.room is not None and ann.mesh.room.speaker is not None)
            assert [event for event in ann.events if event.kind == "speaker" and event.peer]
        await ann.until(lambda: len(ann.pairs) == len(bob.pairs) == 1)
        await ann.until(flows(ann, bob))
        assert not [frame for one in (ann, bob) for frame in one.frames if frame.t == "error"]


async def test_shared_screens(server: TurnServerProcess) -> None:
    """A screen comes beside the camera, as what it is."""
    url = page_url(server)
    async with member(url, "screens", plan=sharing) as ann, member(url, "screens", name="Ear", plan=Listen) as ear:
        await ear.until(flows(ear))
        [pair] = ear.pairs
        await frames(pair.track("screen"), 3)
        await frames(pair.track("camera"), 3)
        assert ann.mesh.sfu is not None
        assert ann.mesh.sfu.errors == []


async def test_a_listener_whose_path_is_dead(server: TurnServerProcess) -> None:
    """Nothing comes any more, and no socket says so: other connections stand long before aioice gives up."""
    url = page_url(server)
    async with member(url, "dead", plan=small), member(url, "dead", name="Ear", plan=Listen) as ear:
        await ear.until(flows(ear))
        sfu = ear.mesh.sfu
        assert sfu is not None
        before = sfu.pc
        assert before is not None
        transport = ice_transport(before)
        assert transport is not None
        transport._connection._nominated[1].protocol.datagram_received = lambda data, addr: None
        began = asyncio.get_running_loop().time()
        await ear.until(lambda: sfu.pc is not None and sfu.pc is not before)
        _logger.info("noticed after %.1f s", asyncio.get_running_loop().time() - began)
        assert sfu.errors[0] == "nothing comes from the SFU any more"
        await ear.until(flows(ear))


async def test_what_the_server_says_of_it(server: TurnServerProcess) -> None:
    """The API has streams, layers and estimates of the room; they are a second old at most."""
    url = page_url(server)
    async with member(url, "seen", plan=small) as ann, member(url, "seen", name="Ear", plan=Listen) as ear:
        await ear.until(flows(ear))
        async with asyncio.timeout(90):
            while True:
                found = (await room_of_the_api(url, "seen"))["media"]
                peers = {peer["id"]: peer for peer in found["peers"]}
                streams = peers[ear.id]["forwarded"] if ear.id in peers else []
                if len(streams) == 2 and all(each["packets"] > 0 for each in streams):
                    break
                await asyncio.sleep(0.1)
        assert found["packets_in"] > 0
        assert found["packets_out"] > 0
        assert {(track["source"], track["codec"]) for track in peers[ann.id]["tracks"]} == {
            ("audio", "opus"),
            ("camera", "vp8"),
        }
        assert all(layer["packets"] > 0 for track in peers[ann.id]["tracks"] for layer in track["layers"])
        assert {(each["peer"], each["source"]) for each in streams} == {(ann.id, "audio"), (ann.id, "camera")}
        assert peers[ear.id]["estimate"] > 0
        assert peers[ear.id]["tracks"] == []


async def test_one_after_the_other_in_the_same_section(server: TurnServerProcess) -> None:
    """A section of a participant who has left is another one's: aiortc is told of the new streams."""
    url = page_url(server)
    async with member(url, "again", plan=small) as ann:
        for number in range(3):
            async with member(url, "again", name=f"Bob {number}", plan=small) as bob:
                await ann.until(through_sfu(ann, bob, others=1))
                await ann.until(flows(ann, bob))
            await ann.until(lambda: not ann.pairs)
        assert ann.mesh.sfu is not None
        assert ann.mesh.sfu.pc is not None
        assert len(ann.mesh.sfu.pc.getTransceivers()) == 2


async def test_listeners_and_an_echo(server: TurnServerProcess) -> None:
    """Who sends nothing has no connection for it; an echo sends to all what it gets of one."""
    url = page_url(server)
    async with (
        member(url, "echo", plan=small) as ann,
        member(url, "echo", name="Echo", plan=Echo) as echo,
        member(url, "echo", name="Ear", plan=Listen) as ear,
    ):
        received = ear.mesh.pairs[echo.id].received
        await ear.until(lambda: received.tone > 0.9 and received.video > 7)
        assert ear.mesh.sfu is not None
        assert ear.mesh.sfu.sending is None
        assert ear.mesh.sfu.state is PairState.CONNECTED
        assert ann.mesh.pairs[ear.id].received.audio == 0


async def test_what_is_chosen(server: TurnServerProcess) -> None:
    """`choose`: no picture, and the sound goes on; then one again, and with it a keyframe."""
    url = page_url(server)
    async with member(url, "chosen", plan=Listen) as ann, member(url, "chosen", name="Bob", plan=small) as bob:
        await ann.until(flows(ann))
        [pair] = ann.pairs
        ann.mesh.choose(others=0)
        out = bob.mesh.sfu
        assert out is not None
        await bob.until(lambda: out._wanted.get("camera") is False)
        seen, heard = pair.received.video, pair.received.audio
        await ann.until(lambda: pair.received.audio > heard + 25)
        assert pair.received.video < seen + 10, "a picture that nobody takes is not sent"
        ann.mesh.choose(others=0, tiles=[ShownTile(id=bob.id, h=180)])
        seen = pair.received.video
        await ann.until(lambda: pair.received.video > seen + 10)


async def test_a_connection_that_fails_is_built_again(server: TurnServerProcess) -> None:
    """Each of the two, and both: the pair and its tracks stay, and what went wrong is said."""
    url = page_url(server)
    async with member(url, "fails", plan=small) as ann, member(url, "fails", name="Bob", plan=small) as bob:
        await ann.until(through_sfu(ann, bob, others=1))
        sfu, [pair] = ann.mesh.sfu, ann.pairs
        assert sfu is not None
        for broken in (sfu.sending, sfu.pc):
            assert broken is not None
            await broken.close()
            await ann.until(lambda: sfu.state is not PairState.CONNECTED)
            await ann.until(through_sfu(ann, bob, others=1))
            await ann.until(flows(ann, bob))
        assert sfu.errors == ["the SFU has ended the connection"] * 2
        before = sfu.sending, sfu.pc
        pair.restart()
        await ann.until(lambda: sfu.sending is not before[0] and sfu.pc is not before[1])
        await ann.until(through_sfu(ann, bob, others=1))
        await ann.until(flows(ann, bob))
        assert ann.pairs == [pair]


async def back_in_a_mesh(url: str, one: Member) -> None:
    """Wait until a small room has changed.

    Where a mesh does not come about within ten seconds, as on a machine that is very busy, the room stays with the SFU
    until somebody comes or leaves; here that is somebody who does both.
    """
    epoch = 0

    def settled() -> bool:
        room = one.mesh.room
        assert room is not None
        return room.epoch > epoch and not room.changing and (room.mode == "mesh" or room.why == "no_mesh")

    for _ in range(5):
        await one.until(settled)
        assert one.mesh.room is not None
        if one.mesh.room.mode == "mesh":
            return
        epoch = one.mesh.room.epoch
        async with member(url, one.mesh.room.id, name="Eve", plan=Listen):
            pass


async def test_a_room_changes_and_changes_back(changing: TurnServerProcess) -> None:
    """Make before break: pairs and tracks are the same objects, and go on; connections that are not needed end."""
    url = page_url(changing)
    async with member(url, "grows", plan=small) as ann, member(url, "grows", name="Bob", plan=small) as bob:
        await ann.until(connected(ann, bob, others=1))
        [pair] = ann.pairs
        assert pair.way == "mesh"
        sound, picture = pair.track("audio"), pair.track("camera")
        times = [await frames(each, 5) for each in (sound, picture)]
        quiet = {"plan": Listen}
        async with member(url, "grows", name="Cal", **quiet) as cal, member(url, "grows", name="Dan", **quiet) as dan:
            await ann.until(through_sfu(ann, bob, cal, dan, others=3))
            await ann.until(lambda: ann.mesh.room is not None and not ann.mesh.room.changing)
            senders = [one.mesh.pairs[other.id] for one in (ann, cal, dan) for other in (ann, bob) if one is not other]
            await ann.until(lambda: all(each.received.tone > 0.9 and each.received.video > 9 for each in senders))
            assert ann.mesh.pairs[bob.id] is pair
            assert (pair.track("audio"), pair.track("camera")) == (sound, picture)
            await ann.until(lambda: pair._connection is None)
            for each, track in zip(times, (sound, picture), strict=True):
                each.extend(await frames(track, 20))
        await back_in_a_mesh(url, ann)
        await ann.until(connected(ann, bob, others=1))
        await ann.until(lambda: ann.mesh.sfu is None and bob.mesh.sfu is None)
        await ann.until(flows(ann, bob))
        for each, track in zip(times, (sound, picture), strict=True):
            each.extend(await frames(track, 20))
            assert each == sorted(set(each)), "time goes on"
        assert ann.pairs == [pair]
        assert pair.way == "mesh"
        assert not [frame for one in (ann, bob) for frame in one.frames if frame.t in {"error", "reset"}]
        left = [frame.id for one in (ann, bob) for frame in one.frames if isinstance(frame, PeerLeave)]
        assert not [gone for gone in left if gone in {ann.id, bob.id}]
    wait_for_log(changing, "room closed", "room=grows")


async def test_a_client_of_meshes_only(server: TurnServerProcess, changing: TurnServerProcess) -> None:
    """Its media are seen by no server: such a room is refused, and its own does not grow."""
    with pytest.raises(SignalError) as caught:
        await member(page_url(server), "mesh", plan=Listen, mode="mesh").__aenter__()
    assert caught.value.code == "room_full"
    url = page_url(changing)
    quiet = {"plan": Listen}
    async with (
        member(url, "mesh", mode="mesh", **quiet),
        member(url, "mesh", **quiet) as bob,
        member(url, "mesh", **quiet),
    ):
        with pytest.raises(SignalError) as caught:
            await member(url, "mesh", plan=Listen).__aenter__()
        assert caught.value.code == "room_full"
        assert bob.mesh.sfu is None


def gone_on(pair: Pair, count: int) -> Callable[[], bool]:
    """Whether so many more frames of sound have come."""
    mark = pair.received.audio
    return lambda: pair.received.audio > mark + count


async def test_signaling_is_lost_in_between(server: TurnServerProcess) -> None:
    """A resume: the connections with the SFU stay, and nothing is built again."""
    url = page_url(server)
    async with member(url, "resume", plan=small) as ann, member(url, "resume", name="Bob", plan=small) as bob:
        await ann.until(through_sfu(ann, bob, others=1))
        sfu, before = ann.mesh.sfu, ann.id
        assert sfu is not None
        line = sfu.pc, sfu.sending
        assert ann.signal._socket is not None
        await ann.signal._socket.close()
        await ann.until(lambda: ann.signal.connections == 2)
        await ann.until(flows(ann, bob))
        assert (ann.id, ann.mesh.sfu, sfu.pc, sfu.sending) == (before, sfu, *line)
        # Another session: everything is built anew.
        assert ann.signal._session is not None
        ann.signal._session.key = "forgotten"
        await ann.signal._socket.close()
        await ann.until(lambda: ann.id != before and ann.mesh.sfu is not None and ann.mesh.sfu is not sfu)
        await ann.until(lambda: ann.mesh.pairs[bob.id].state is PairState.CONNECTED)
        await ann.until(gone_on(ann.mesh.pairs[bob.id], 25))
        assert sfu.state is PairState.CLOSED
