"""The exchanges that are kept as golden transcripts. ``python -m tests.support.signal_scenarios`` writes them anew.

A transcript is a list. Its first entry says what it shows and how the hub is set; then come the frames of clients
(``from`` is the client's name) and of the server (``from`` is ``server``, ``to`` the client's name) in order, with
the time (``at``, in seconds), and between them what happens to sockets (``socket``: open, cut, stall; ``close``: the
code with which the server closed) and what operators do (``do``).
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support.signal_hub import WALL, Client, World
from turnserver.signaling.protocol.errors import Denial, SignalCode
from turnserver.signaling.rooms.media_port import (
    SfuAnswered,
    SfuConnected,
    SfuFailed,
    SfuGone,
    SfuLayers,
    SfuOffered,
    SfuRecorded,
    SfuSpeaker,
    SfuUnrecorded,
)

__all__ = ["FOLDER", "SCENARIOS", "record", "replay"]

FOLDER = Path(__file__).resolve().parent.parent / "turnserver" / "signaling" / "transcripts"

SDP = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=sendrecv\r\n"
HOST: dict[str, Any] = {"role": "host", "subject": "ann@example.org"}


class Scenario:
    """One exchange: how the hub is set, and what happens."""

    def __init__(self, play: Callable[[World], None], settings: dict[str, Any], grants: dict[str, Any]) -> None:
        self.play = play
        self.settings = settings
        self.grants = grants
        self.about = (play.__doc__ or "").strip()


SCENARIOS: dict[str, Scenario] = {}


def scenario(*, grants: dict[str, Any] | None = None, **settings: Any) -> Callable[[Callable[[World], None]], None]:
    """Add a scenario under the name of its function."""

    def add(play: Callable[[World], None]) -> None:
        SCENARIOS[play.__name__] = Scenario(play, settings, grants or {})

    return add


def grants_of(kept: dict[str, Any]) -> dict[str, Any]:
    """Tokens as a transcript has them: what they allow, or the code they are refused with."""
    found: dict[str, Any] = {}
    for token, allowed in kept.items():
        if "refused" in allowed:
            found[token] = Denial(SignalCode(allowed["refused"]), "this token is no good", retry=allowed.get("retry"))
        else:
            found[token] = {**allowed, **({"caps": frozenset(allowed["caps"])} if "caps" in allowed else {})}
    return found


def record(name: str) -> list[dict[str, Any]]:
    """Play a scenario and write down everything."""
    wanted = SCENARIOS[name]
    setup = {"settings": wanted.settings, "grants": wanted.grants}
    log: list[dict[str, Any]] = [{"from": "setup", "at": 0.0, "about": wanted.about, **setup}]
    wanted.play(World(log=log, grants=grants_of(wanted.grants), **wanted.settings))
    return log


def replay(transcript: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Feed a hub with what clients and operators do in a transcript, and write down everything."""
    setup = transcript[0]
    log = [setup]
    world = World(log=log, grants=grants_of(setup["grants"]), **setup["settings"])
    clients: dict[str, Client] = {}
    for entry in transcript[1:]:
        if entry["from"] == "server":
            continue
        world.pass_time(entry["at"] - world.time)
        if entry["from"] == "operator":
            world.operate(entry["do"], **{key: entry[key] for key in entry if key not in {"from", "at", "do"}})
            continue
        client = clients.setdefault(entry["from"], world.client(entry["from"]))
        if "socket" in entry:
            client.address = entry.get("address", client.address)
            getattr(client, entry["socket"])()
        else:
            client.raw(entry["text"] if "text" in entry else json.dumps(entry["frame"]))
    world.pass_time(transcript[-1]["at"] - world.time)
    return log


def come(world: World, *names: str, token: str | None = None, room: str = "blue", **join: Any) -> list[Client]:
    """Clients that say hello and join."""
    found = [world.client(name) for name in names]
    for client in found:
        client.open()
        client.hello(**({"token": token} if token else {}), client={"name": "example", "ver": "1"})
        client.join(room, media={"a": 1, "v": 1, "s": 0}, **join)
    return found


@scenario()
def call(world: World) -> None:
    """Two people: hello, peek, join, negotiation, changes, messages, leave, bye."""
    ann = world.client("ann")
    ann.open()
    ann.hello(client={"name": "example", "ver": "1"})
    ann.ask("peek", room="blue")
    ann.ask("ice_get", why="check")
    ann.join(media={"a": 1, "v": 1, "s": 0}, meta={"colour": "blue"})
    bob = come(world, "bob")[0]
    bob.say("desc", to=ann.id, pc="bobs-pc1", desc={"type": "offer", "sdp": SDP})
    candidate = "candidate:1 1 udp 2122260223 192.0.2.7 50000 typ host"
    bob.say("cand", to=ann.id, pc="bobs-pc1", list=[{"candidate": candidate, "sdpMid": "0", "sdpMLineIndex": 0}])
    ann.say("desc", ack=ann.seq, to=bob.id, pc="anns-pc1", rpc="bobs-pc1", desc={"type": "answer", "sdp": SDP})
    ann.say("cand", to=bob.id, pc="anns-pc1", rpc="bobs-pc1", list=[None])
    bob.say("cand", ack=bob.seq, to=ann.id, pc="bobs-pc1", rpc="anns-pc1", list=[None])
    world.pass_time(15.0)
    ann.say("ping", ts=15000.5, ack=ann.seq)
    bob.say("update", media={"a": 0, "v": 1, "s": 1}, name="Bob")
    ann.say("msg", id="m1", data={"text": "hello, all"})
    bob.say("msg", to=ann.id, data="hello, Ann")
    ann.say("stat", to=bob.id, path="direct", proto="udp", rtt=12.5, rx=100000, tx=90000, loss=0, fps=30, w=1280)
    ann.ask("join", room="blue", name="ann")
    bob.ask("leave")
    bob.ask("leave")
    world.pass_time(3.0)
    bob.join()
    ann.say("bye")


@scenario(
    open=False, grants={"old": {"refused": "token_expired"}, "early": {"refused": "token_not_yet", "retry": 30000}}
)
def refused_at_the_door(world: World) -> None:
    """Hellos that are no good: no token, bad tokens, another version; and a resume of nothing."""
    for token in (None, "nonsense", "old", "early"):
        ann = world.client("ann")
        ann.open()
        ann.hello(**({"token": token} if token else {}))
    ann = world.client("ann")
    ann.open()
    ann.ask("join", room="blue")
    ann.ask("hello", v=1, resume={"sid": "x", "key": "y", "seq": 0})
    ann.ask("hello", v=7)


@scenario()
def resume(world: World) -> None:
    """A socket is lost and the session goes on: what was missed comes, what arrived is not done again."""
    ann, bob = come(world, "ann", "bob")
    bob.cut()
    ann.say("desc", to=bob.id, pc="anns-pc1", desc={"type": "offer", "sdp": SDP})
    ann.say("update", media={"a": 0, "v": 1, "s": 0})
    ann.say("update", media={"a": 0, "v": 0, "s": 0})
    world.pass_time(5.0)
    key = bob.session["key"]
    bob.open()
    bob.resume()
    bob.cut()
    bob.open()
    bob.resume(key=key)
    bob.say("msg", n=1, id="m1", data="once")
    bob.say("msg", n=1, id="m1", data="once")
    bob.say("msg", n=3, data="too early")
    bob.cut()
    bob.open()
    bob.resume(key=key)
    bob.hello()
    world.pass_time(60.0)


@scenario()
def replaced(world: World) -> None:
    """A second socket for a live session takes its place; nobody else hears of it."""
    ann, bob = come(world, "ann", "bob")
    second = world.client("bob2")
    second.open()
    second.session, second.seq = bob.session, bob.seq
    second.resume()
    ann.say("msg", data="still there?")


@scenario(replay_messages=4)
def resume_lost(world: World) -> None:
    """Too much was missed: a snapshot in place of news, and then the messages, which are still there."""
    ann, bob = come(world, "ann", "bob")
    bob.cut()
    ann.say("msg", data="kept")
    for name in ("cem", "dan"):
        come(world, name)[0].say("bye")
    bob.open()
    bob.resume()
    bob.cut()
    for number in range(6):
        ann.say("msg", data=number)
    bob.open()
    bob.resume()


@scenario(grants={"host": HOST}, room_size=3)
def doors(world: World) -> None:
    """A full room, a locked one, and one where people knock."""
    ann = come(world, "ann", token="host")[0]
    bob, cem = come(world, "bob", "cem")
    dan = come(world, "dan")[0]
    ann.ask("mod", op="cap", value=2)
    ann.ask("mod", op="cap", value=9)
    cem.ask("leave")
    bob.ask("mod", op="lock")
    ann.ask("mod", op="lock")
    dan.join()
    ann.ask("mod", op="cap", value=3)
    ann.ask("mod", op="lock", value="knock")
    dan.say("join", id="j1", room="blue", name="Dan")
    cem.say("join", id="j2", room="blue", name="Cem")
    ann.ask("mod", op="admit", to=dan.id)
    ann.ask("mod", op="admit", to=cem.id)
    ann.ask("mod", op="unlock")
    dan.ask("join", room="green")


@scenario(grants={"host": HOST, "bob": {"subject": "bob", "expires": WALL + 3600}})
def moderation(world: World) -> None:
    """A host mutes, kicks and bans; an operator kicks and closes the room."""
    ann = come(world, "ann", token="host")[0]
    bob = come(world, "bob", token="bob")[0]
    cem, dan = come(world, "cem", "dan")
    ann.ask("mod", op="mute", to=bob.id, value="video")
    cem.cut()
    ann.ask("mod", op="kick", to=cem.id, reason="not here")
    ann.ask("mod", op="ban", to=bob.id, reason="enough")
    cem.open()
    cem.resume()
    bob.open()
    bob.hello(token="bob")
    bob.join()
    world.operate("kick", room="blue", peer=dan.id, reason="by the operator")
    world.operate("close_room", room="blue")


@scenario(grants={"host": HOST})
def hosts(world: World) -> None:
    """A host invites, mutes everybody, has a spotlight, makes another a host and steps down; that one ends the call."""
    ann = come(world, "ann", token="host")[0]
    bob, cem = come(world, "bob", "cem")
    ann.ask("invite", ttl=3600, uses=5)
    bob.ask("invite")
    ann.ask("mod", op="mute")
    ann.ask("mod", op="spotlight", to=bob.id)
    ann.ask("mod", op="spotlight", to=cem.id, value="screen")
    ann.ask("mod", op="host", to=bob.id)
    ann.ask("mod", op="member")
    cem.say("bye", keep=5000)
    world.pass_time(5.0)
    bob.say("mod", op="close")


@scenario()
def ice(world: World) -> None:
    """Live credentials: pushed at about three quarters of their life, and to both ends before an ICE restart."""
    ann, bob = come(world, "ann", "bob")
    world.pass_time(490.0)
    ann.ask("restart", to=bob.id, why="online")
    ann.ask("restart", to="nobody", why="online")
    bob.ask("ice_get", why="user")
    world.operate("rotate")


@scenario()
def stale(world: World) -> None:
    """Frames for a connection that is no more: dropped, and answered with one reset."""
    ann, bob = come(world, "ann", "bob")
    ann.say("desc", to=bob.id, pc="a1", desc={"type": "offer", "sdp": SDP})
    bob.say("reset", to=ann.id, pc="b2", why="failed")
    ann.say("cand", to=bob.id, pc="a1", rpc="b1", list=[None])
    ann.say("cand", ack=ann.seq, to=bob.id, pc="a1", rpc="b1", list=[None])
    ann.say("desc", to=bob.id, pc="a1", rpc="b1", desc={"type": "offer", "sdp": SDP})
    ann.say("desc", to=bob.id, pc="a2", rpc="b2", desc={"type": "offer", "sdp": SDP})


@scenario(grants={"quiet": {"room": "blue", "caps": ["screen"], "name": "The Screen", "max": 2}})
def errors(world: World) -> None:
    """Everything that is answered with an error and survived, and then too much of it."""
    ann = world.client("ann")
    ann.open()
    ann.hello()
    ann.ask("msg", data=1)
    ann.ask("join", room="blue", mode="sfu")
    ann.ask("mode_ready", epoch=2)
    ann.raw('{"t":"wave","id":"w1"}')
    ann.raw('{"t":"join","id":"w2"}')
    ann.join()
    ann.ask("join", room="green")
    ann.ask("desc", to="nobody", pc="a1", desc={"type": "offer", "sdp": SDP})
    screen = world.client("screen")
    screen.open()
    screen.hello(token="quiet")
    screen.ask("peek", room="green")
    screen.join(media={"a": 1, "v": 1, "s": 1})
    screen.ask("desc", to=ann.id, pc="s1", desc={"type": "offer", "sdp": SDP})
    screen.ask("msg", data=1)
    screen.ask("update", media={"a": 1, "v": 0, "s": 1})
    screen.ask("update", name="Another")
    ann.raw("not JSON")
    ann.raw("[]")
    ann.raw('{"t":"msg","n":"one","data":1}')


@scenario(rate=1.0, burst=4, flood=3.0)
def flood(world: World) -> None:
    """Too many messages: told so, and sent away if it goes on; descriptions pass all the same, for a while."""
    ann, bob = come(world, "ann", "bob")
    for number in range(4):
        ann.say("msg", id=f"m{number}", data=number)
    ann.say("desc", to=bob.id, pc="a1", desc={"type": "offer", "sdp": SDP})
    for _ in range(4):
        world.pass_time(0.9)
        ann.say("desc", to=bob.id, pc="a1", desc={"type": "offer", "sdp": SDP})


@scenario(queue_bytes=2000)
def slow_consumer(world: World) -> None:
    """One of three does not read: it is parted with, and comes back; the others do not wait for it."""
    ann, bob, cem = come(world, "ann", "bob", "cem")
    cem.stall()
    for number in range(2):
        ann.say("msg", data="x" * 800 + str(number))
    bob.say("msg", data="x" * 800)
    cem.open()
    cem.resume()


@scenario(sockets_per_address=2)
def crowd(world: World) -> None:
    """So many sockets from one address; of IPv6 a whole /64 is one; and nobody stays who does not say hello."""
    for number in range(3):
        client = world.client(f"v4-{number}", address="192.0.2.1")
        client.open()
    for number in range(3):
        client = world.client(f"v6-{number}", address=f"2001:db8::{number + 1}")
        client.open()
    world.pass_time(10.0)


@scenario()
def drain(world: World) -> None:
    """The server stops: everybody is told when to come back."""
    _ann, _bob = come(world, "ann", "bob")
    world.operate("drain", after=2.0)
    late = world.client("late")
    late.open()


@scenario()
def winding_down(world: World) -> None:
    """The server takes nothing new: rooms go on and can be joined, new ones are refused; then it stops."""
    _ann, bob = come(world, "ann", "bob")
    world.operate("wind_down", within=600.0)
    late = come(world, "late")[0]
    other = world.client("other")
    other.open()
    other.hello()
    other.say("join", id="j1", room="red", name="other")
    bob.say("msg", data="we can go on")
    late.say("leave", id="l1")
    world.operate("drain", after=2.0)


@scenario()
def help_wanted(world: World) -> None:
    """Paths as the server sees them, reports of clients, and a verdict."""
    ann, bob = come(world, "ann", "bob")
    room = world.hub.room("blue")
    assert room is not None
    one, two = (peer.user_id for peer in room.peers)
    world.operate("paths", pairs=[[one, two, "relay", "tls", "a", 5000, 7000]])
    world.operate("paths", pairs=[[one, two, "relay", "tls", "a", 5000, 7000]])
    ann.say("stat", to=bob.id, path="direct")
    world.operate("paths", pairs=[])
    bob.cut()
    ann.ask("diag", to=bob.id, states=["checking", "failed"], cands={"local": ["host"], "remote": ["host"]})
    ann.ask("diag", to="nobody")


@scenario(grants={"host": HOST, "bob": {"subject": "bob"}}, room_size=2, sfu={"room_size": 30})
def grown(world: World) -> None:
    """A mesh of two becomes a room that goes through the SFU, and a mesh again. A client that knows only meshes."""
    ann = come(world, "ann", token="host", mode="auto")[0]
    bob = come(world, "bob", token="bob", mode="auto")[0]
    old = come(world, "old", token="bob")[0]
    old.ask("peek", room="blue")
    eve = come(world, "eve", token="bob", mode="auto")[0]
    for client in (ann, bob, eve):
        pc = f"{client.name}-pub"
        client.say("desc", to="sfu", pc=pc, desc={"type": "offer", "sdp": SDP}, sources={"0": "audio"})
        world.reports(SfuAnswered("blue", client.id, pc, SDP))
        world.reports(SfuConnected("blue", client.id, "publish"))
        world.reports(SfuOffered("blue", client.id, f"{client.name}-sub", SDP))
        client.say("desc", to="sfu", pc=f"{client.name}-sub", desc={"type": "answer", "sdp": SDP})
        client.say("cand", to="sfu", pc=f"{client.name}-sub", list=[None])
        world.reports(SfuConnected("blue", client.id, "subscribe"))
        tiles = [{"id": ann.id, "what": "camera", "h": 720, "pin": True}, {"id": bob.id, "h": 180}]
        client.say("choose", last=9, others=0, tiles=tiles)
    ann.say("mode_ready", epoch=2)
    world.pass_time(1.0)
    bob.ask("mode_ready", epoch=2)
    world.pass_time(10.0)
    eve.say("mode_ready", epoch=2)
    world.reports(SfuSpeaker("blue", bob.id))
    world.reports(SfuLayers("blue", ann.id, "camera", ("h", "l")))
    ann.ask("mod", op="mute", to=bob.id, value="audio")
    bob.say("update", media={"a": 1, "v": 1, "s": 0})
    world.reports(SfuFailed("blue", eve.id, "subscribe", "ICE: no check for 30 s"))
    eve.say("reset", to="sfu", pc="eve-sub", why="failed")
    eve.say("bye")
    bob.say("bye")
    world.pass_time(16.0)
    ann.say("mode_ready", epoch=3)
    ann.ask("choose")


@scenario(grants={"host": HOST, "bob": {"subject": "bob"}}, sfu={"records": True})
def recorded(world: World) -> None:
    """A host has the server record a mesh, which goes through the SFU for it; the disk is full; once more, and over."""
    ann = come(world, "ann", token="host", mode="auto")[0]
    bob = come(world, "bob", token="bob", mode="auto")[0]
    bob.ask("mod", op="record", value="start")
    ann.ask("mod", op="record", value="start")
    world.reports(SfuRecorded("blue"))
    ann.say("mode_ready", epoch=2)
    bob.say("mode_ready", epoch=2)
    come(world, "eve", token="bob", mode="auto")
    world.reports(SfuUnrecorded("blue", "the disk is almost full"))
    ann.ask("mod", op="record", value="start")
    world.reports(SfuRecorded("blue"))
    ann.ask("mod", op="record", value="stop")
    world.reports(SfuUnrecorded("blue", ""))
    ann.ask("mod", op="record", value="pause")


@scenario(room_size=2, sfu={"mode": "sfu"})
def sfu_lost(world: World) -> None:
    """A server whose rooms all go through its SFU, which is lost, and is back."""
    ann, bob = come(world, "ann", "bob", mode="auto")
    world.reports(SfuGone("blue", 1, "the process has ended with code -9"))
    for client in (ann, bob):
        world.reports(SfuConnected("blue", client.id, "publish"))
        world.reports(SfuConnected("blue", client.id, "subscribe"))
    ann.say("mode_ready", epoch=2)
    bob.say("mode_ready", epoch=2)
    world.reports(SfuGone("blue", 2, "the process has ended with code -9"))
    world.reports(SfuGone("blue", 3, "the process has ended with code -9"))
    world.pass_time(12.0)
    come(world, "old")


def main() -> None:
    """Write all transcripts, one entry a line."""
    FOLDER.mkdir(exist_ok=True)
    for name in SCENARIOS:
        lines = ",\n".join(json.dumps(entry, ensure_ascii=False) for entry in record(name))
        (FOLDER / f"{name}.json").write_text(f"[\n{lines}\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main()
