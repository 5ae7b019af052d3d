"""The hub under a sequence of sockets, frames and pauses: it raises nothing, and says only what the schema allows.

An input is lines of text: the first character says who or what, the rest is the frame or the time. ``A+`` opens a
socket of the first client, ``A-`` loses it, ``A{...`` is a frame, ``t60`` is a minute, and ``o`` an operator's act.
"""

import json
from collections.abc import Iterator

from tests.fuzz.targets.signaling import WORDS as FRAME_WORDS
from tests.support.signal_hub import Client, World, kept
from tests.support.signal_scenarios import FOLDER

__all__ = ["MAX_LENGTH", "WORDS", "run", "seeds"]

MAX_LENGTH = 6144
WORDS = (*FRAME_WORDS, b"\nA+\n", b"\nB+\n", b"\nA-\n", b"\nt60\n", b"\no\n")
_NAMES = "ABCD"
_STEPS = 80
_QUEUE = 20_000
_OPERATOR = ("drain", "rotate", "report", "close_room")


def seeds() -> Iterator[bytes]:
    """The transcripts. Keys and ids are the same in every run, so even resumes succeed."""
    for path in sorted(FOLDER.glob("*.json")):
        names: list[str] = []
        lines: list[str] = []
        at = 0.0
        for entry in json.loads(path.read_text(encoding="utf-8")):
            speaker = entry["from"]
            if speaker in ("server", "setup"):
                continue
            if entry["at"] > at:
                lines.append(f"t{entry['at'] - at:g}")
                at = entry["at"]
            if speaker == "operator":
                lines.append(f"o{len(lines) % len(_OPERATOR)}")
                continue
            if speaker not in names:
                names.append(speaker)
            who = _NAMES[names.index(speaker) % len(_NAMES)]
            if "socket" in entry:
                lines.append(who + {"open": "+", "cut": "-"}.get(entry["socket"], "!"))
            else:
                lines.append(who + (entry.get("text") or json.dumps(entry["frame"], separators=(",", ":"))))
        yield "\n".join(lines[: 2 * _STEPS]).encode("utf-8", "surrogatepass")


def run(data: bytes) -> None:
    """Tables agree after each line, queues are bounded, and when all are gone for an hour nothing is left."""
    world = World(room_size=3, queue_bytes=_QUEUE, replay_messages=12, joins_per_minute=1_000)
    clients = {name: Client(world, name) for name in _NAMES}
    for line in data.decode("utf-8", "surrogateescape").split("\n")[:_STEPS]:
        _take(world, clients, line)
        _check(world)
    for client in clients.values():
        client.stalled = False
        client.cut()
    world.pass_time(3_600.0)
    _check(world)
    assert world.hub.peer_count == world.hub.room_count == 0
    assert not world.hub._state.sessions


def _take(world: World, clients: dict[str, Client], line: str) -> None:
    kind, rest = line[:1], line[1:]
    client = clients.get(kind)
    if client is not None:
        if rest == "+":
            if not client.cid:
                client.stalled = False
                client.open()
        elif not client.cid:
            pass
        elif rest == "-":
            client.cut()
        elif rest == "!":
            client.stall()
        else:
            client.raw(rest)
            client.heard.clear()
    elif kind == "t" and rest[:6].replace(".", "", 1).isdecimal():
        world.pass_time(float(rest[:6]))
    elif kind == "o":
        _operate(world, rest)


def _operate(world: World, rest: str) -> None:
    what = _OPERATOR[ord(rest[0]) % len(_OPERATOR)] if rest else "rotate"
    if what == "close_room":
        for room in world.hub.rooms()[:1]:
            world.operate(what, room=room.id)
    elif what == "drain":
        world.operate(what, after=5.0)
    elif what == "report":
        world.operate("paths", pairs=[])
    else:
        world.operate(what)


def _check(world: World) -> None:
    state = world.hub._state
    for room in state.rooms.values():
        assert room.members, "an empty room vanishes"
        assert len(room.members) <= room.max
        assert all(state.peers[peer_id] is member.session for peer_id, member in room.members.items())
    for session in state.sessions.values():
        assert kept(session.outbox)[1] <= 3 * _QUEUE + 70_000
        assert session.outbox.acked <= session.outbox.seq
        assert session.room is None or session.peer_id in state.rooms[session.room].members
    assert sum(state.sockets.values()) == len(state.connections)
    assert sum(state.held.values()) == len(state.peers)
