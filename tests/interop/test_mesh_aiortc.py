"""Python participants in rooms of the real server: calls that go through its relay, and what it says of them."""

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import aiohttp
import pytest
from av import VideoFrame

from tests.support.mesh import ADMIN_KEY, Member, connected, flows, member, page_url, room_of_the_api, watch_frames
from tests.support.process import wait_for_log
from tests.support.server import SHARED_SECRET, TurnServerProcess
from tests.support.server import free_port as find_port
from tests.support.signal_wire import signaling_listeners
from turnserver.client.errors import SignalError
from turnserver.client.media import Echo, Listen, TestMedia
from turnserver.client.pair import PairState
from turnserver.signaling.edge.tokens import TokenKeys, derived_key
from turnserver.signaling.protocol.server_messages import IceUpdate, PeerMsg

__all__ = ["watch_frames"]

pytestmark = pytest.mark.usefixtures("watch_frames")

KEYS = TokenKeys([derived_key(SHARED_SECRET.encode())])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TurnServerProcess]:
    """The server, with rooms that anybody may enter, and media that must be relayed."""
    port = find_port()
    config: dict[str, Any] = {
        "listeners": [*signaling_listeners(port), {"transport": "tcp", "address": "127.0.0.1", "port": port + 1}],
        "relay": {"addresses": ["127.0.0.1"]},
        "auth": {"shared_secrets": [SHARED_SECRET]},
        "peers": {"allow": ["127.0.0.0/8"]},
        "signaling": {"open": True, "policy": "relay", "admin_keys": {"test": ADMIN_KEY}},
    }
    with TurnServerProcess(config, tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture
def url(server: TurnServerProcess) -> str:
    return page_url(server)


async def test_two_in_a_room(url: str, server: TurnServerProcess) -> None:
    """Signaling §1: media and the data channel both ways through the relay, as both ends and the server's table say."""
    async with member(url, "two") as ann, member(url, "two", name="Bob") as bob:
        await ann.until(connected(ann, bob, others=1))
        await ann.until(flows(ann, bob))
        ann.pairs[0].send("")  # asks for an acknowledgement only
        ann.pairs[0].send("from Ann")
        assert bob.mesh.broadcast(b"from Bob") == 1
        await ann.until(lambda: bool(ann.data() and bob.data()))
        assert (ann.data(), bob.data()) == ([b"from Bob"], ["from Ann"])
        assert ann.pairs[0].name == "Bob"
        for one in (ann, bob):
            [report] = await one.mesh.reports()
            assert (report.path, report.proto, report.rebuilds) == ("relay", "udp", 0)
            assert report.chosen is not None
            assert (report.chosen.local, report.chosen.remote) == ("relay", "relay")
            assert report.received.tone > 0.9
        await ann.until(lambda: all(path.path == "relay" for path in ann.mesh.server_paths.values()))
        await ann.until(lambda: bool(ann.mesh.server_paths and bob.mesh.server_paths))
        path = ann.mesh.server_paths[bob.id]
        assert (path.path, path.proto, path.by) == ("relay", "udp", "both")
        assert path.sent > 10_000
        found = await room_of_the_api(url, "two")
        assert [pair["path"] for pair in found["pairs"]] == ["relay"]
        assert {peer["turn"]["allocations"] for peer in found["peers"]} == {1}
    wait_for_log(server, "room closed", "room=two")


async def test_three_in_a_room(url: str) -> None:
    """Each has one relayed address for each of the others, and hears and sees both."""
    async with member(url, "three") as ann, member(url, "three") as bob, member(url, "three", plan=Echo) as cal:
        await ann.until(connected(ann, bob, cal, others=2))
        await ann.until(flows(ann, bob, cal))
        assert ann.mesh.broadcast("to all") == 2
        await ann.until(lambda: bob.data() == cal.data() == ["to all"])
        found = await room_of_the_api(url, "three")
        assert [peer["turn"]["allocations"] for peer in found["peers"]] == [2, 2, 2]
        await bob.mesh.leave()
        await ann.until(lambda: len(ann.pairs) == len(cal.pairs) == 1)
        await ann.until(flows(ann, cal))


async def test_shared_screens(url: str) -> None:
    """Both share one: each comes beside the camera, as what it is."""

    def sharing() -> TestMedia:
        return TestMedia(160, 96, 10, screen=(128, 64, 5))

    async with member(url, "screens", plan=sharing) as ann, member(url, "screens", plan=sharing) as bob:
        await ann.until(connected(ann, bob, others=1))
        await ann.until(flows(ann, bob))
        for one in (ann, bob):
            pair = one.pairs[0]
            for source, width in (("screen", 128), ("camera", 160)):
                frame = await asyncio.wait_for(pair.track(source).recv(), 90)
                assert isinstance(frame, VideoFrame)
                assert frame.width == width


async def test_the_room_is_full(url: str) -> None:
    """The server's cap: the fifth is told so, and the four hear nothing of it."""
    quiet = {"plan": Listen}
    async with member(url, "full", **quiet) as one, member(url, "full", **quiet), member(url, "full", **quiet):
        await one.until(lambda: len(one.pairs) == 2)
        fourth = member(url, "full", **quiet)
        await fourth.__aenter__()
        with pytest.raises(SignalError) as caught:
            await member(url, "full", **quiet).__aenter__()
        assert caught.value.code == "room_full"
        assert caught.value.detail == {"max": 4}
        assert len(one.pairs) == 3
        await fourth.__aexit__(None, None, None)


async def test_two_who_join_at_once(url: str) -> None:
    """Whoever comes at the same moment is met once, whatever the order of frames."""

    async def come(name: str, met: asyncio.Barrier) -> None:
        async with member(url, "at-once", name=name, plan=Listen) as one:
            await one.until(connected(one, others=3))
            await met.wait()

    met = asyncio.Barrier(4)
    await asyncio.gather(*(come(name, met) for name in ("Ann", "Bob", "Cal", "Dan")))


@pytest.mark.parametrize("hard", [True, False])
async def test_media_do_not_notice_that_signaling_is_lost(url: str, hard: bool) -> None:
    """Signaling §1, resume: the same session, no connection renewed, nothing said meanwhile lost or doubled."""
    async with member(url, "resume") as ann, member(url, "resume", name="Bob") as bob:
        await ann.until(connected(ann, bob, others=1))
        before, pair = ann.id, ann.pairs[0]
        for number in range(3):
            bob.mesh.message(number)
            await (cut(ann) if hard else shut(ann))
            ann.mesh.message(number)
            await ann.until(lambda number=number: ann.signal.connections == 2 + number)  # type: ignore[misc]
        await ann.until(lambda: len(said(ann)) == len(said(bob)) == 3)
        assert said(ann) == said(bob) == [0, 1, 2]
        await ann.until(flows(ann, bob))
        assert ann.id == before
        assert ann.pairs == [pair]
        assert [report.rebuilds for one in (ann, bob) for report in await one.mesh.reports()] == [0, 0]
        assert {frame.t for frame in bob.frames} >= {"peer_gap", "peer_back"}
        assert "peer_leave" not in {frame.t for frame in bob.frames}


async def test_a_lost_session_is_replaced(url: str) -> None:
    """Nothing to resume: a new session, a new id, the same room, media again."""
    async with member(url, "lost") as ann, member(url, "lost", name="Bob") as bob:
        await ann.until(connected(ann, bob, others=1))
        before = ann.id
        assert ann.signal._session is not None
        ann.signal._session.key = "forgotten"
        await cut(ann)
        await ann.until(lambda: ann.id != before and any(peer.id == ann.id for peer in bob.pairs))
        # The old one is still there, and waited for by the server; nobody rebuilds connections with it.
        newer = bob.mesh.pairs[ann.id]
        await ann.until(lambda: newer.state is PairState.CONNECTED)
        await ann.until(lambda: ann.mesh.pairs[bob.id].received.video > 10 and newer.received.video > 10)
        assert bob.mesh.pairs[before].gap


async def test_a_restart(url: str) -> None:
    """Signaling §1 `restart`: fresh credentials to both ends, then a new connection between them."""
    async with member(url, "restart") as ann, member(url, "restart", name="Bob") as bob:
        await ann.until(connected(ann, bob, others=1))
        ann.pairs[0].restart()
        await ann.until(lambda: any(frame.t == "restart" for frame in bob.frames))
        assert [frame.why for frame in bob.frames if isinstance(frame, IceUpdate)] == ["restart"]
        assert [frame.why for frame in ann.frames if isinstance(frame, IceUpdate)] == ["restart"]
        await ann.until(lambda: (bob.id, PairState.RECONNECTING) in ann.states)
        await ann.until(connected(ann, bob, others=1))
        await ann.until(flows(ann, bob))
        found = await room_of_the_api(url, "restart")
        assert all(peer["turn"]["allocations"] >= 1 for peer in found["peers"])


async def test_a_kick_ends_the_relays(url: str, server: TurnServerProcess) -> None:
    """Signaling §1, moderation: by a host; the relays of the one who is sent out are gone at once."""
    token = KEYS.mint("kick", "host", 600, time.time(), token_id="host")
    async with member(url, "kick", token=token) as host, member(url, "kick", name="Bob") as bob:
        await host.until(connected(host, bob, others=1))
        await host.until(flows(host, bob))
        with pytest.raises(SignalError, match="forbidden"):
            await bob.mesh.moderate("kick", host.id)
        user, gone = f".{bob.id} ", bob.pairs[0]
        await host.mesh.moderate("kick", bob.id, reason="loud")
        await host.until(lambda: bob.signal.reason is not None and not host.pairs)
        assert bob.signal.reason is not None
        assert bob.signal.reason.code == "kicked"
        await host.until(lambda: gone.state is PairState.CLOSED)
        assert bob.events[-1].kind == "ended"
    wait_for_log(server, "allocation ended", user, "reason=revoked")


async def test_waiting_for_a_host(url: str) -> None:
    """A locked room with a door to knock at: the host lets in, and `join` comes back only then."""
    token = KEYS.mint("door", "host", 600, time.time(), token_id="door")
    async with member(url, "door", token=token, plan=Listen) as host:
        await host.mesh.moderate("lock", value="knock")
        entered = asyncio.create_task(enter_and_leave(url, "door"))
        await host.until(lambda: any(event.kind == "knock" for event in host.events))
        assert not host.pairs
        [knock] = [event for event in host.events if event.kind == "knock"]
        await host.mesh.moderate("admit", knock.peer)
        assert await entered == [host.id]


async def test_a_token_that_lets_nobody_send(url: str) -> None:
    """Caps of a token: without ``publish`` the server refuses descriptions that send, so we do not make any."""
    token = KEYS.mint("caps", "member", 600, time.time(), token_id="caps", caps=["message"])
    async with member(url, "caps", name="Bob") as bob, member(url, "caps", token=token) as ann:
        await ann.until(connected(ann, bob, others=1))
        await ann.until(flows(ann))
        assert bob.pairs[0].received.audio == 0
        assert not [frame for frame in ann.frames if frame.t == "error"]


async def test_a_verdict(url: str) -> None:
    """`diag`: the server says in a sentence why nothing comes."""
    async with member(url, "why", plan=Listen) as ann, member(url, "why", plan=Listen) as bob:
        await ann.until(connected(ann, bob, others=1))
        verdict = await ann.mesh.diagnose(bob.id)
        assert verdict.code
        assert verdict.text.endswith(".")


async def enter_and_leave(url: str, room: str) -> list[str]:
    async with member(url, room, name="Eve", plan=Listen) as eve:
        return list(eve.mesh.pairs)


async def cut(one: Member) -> None:
    """Lose the connection without a closing handshake."""
    socket = one.signal._socket
    assert socket is not None
    transport = socket.get_extra_info("socket")
    assert transport is not None
    one.signal._socket._response.connection.transport.abort()  # type: ignore[union-attr]  no public way


async def shut(one: Member) -> None:
    """Lose the connection with a closing handshake, as when a proxy restarts."""
    socket = one.signal._socket
    assert socket is not None
    await socket.close(code=aiohttp.WSCloseCode.GOING_AWAY)


def said(one: Member) -> list[object]:
    """Messages that came by way of the server."""
    return [frame.data for frame in one.frames if isinstance(frame, PeerMsg)]
