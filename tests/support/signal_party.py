"""A client that does what docs/signaling.md asks of one.

Nothing it sends or hears is lost or doubled, however often its socket is. It keeps counted frames until the server has
them, repeats requests, and handles each number once.
"""

import json
from collections import OrderedDict, deque
from typing import Any

from tests.support.signal_hub import World, counts
from tests.support.signal_schema import validate_client, validate_server

__all__ = ["RELAYED", "Party", "settle"]

RELAYED = frozenset({"desc", "cand", "reset", "restart", "msg"})


class Party:
    """One client. ``in_budget`` and ``out_budget`` are frames that still pass before the socket is lost."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        self.cid = 0
        self.late: list[int] = []
        """Sockets that are lost without the server's having noticed."""
        self.notices = True
        self.in_budget: int | None = None
        self.out_budget: int | None = None
        self.frames_in = 0
        self.frames_out = 0
        self.closed_with: int | None = None
        self.stopped = False
        self.stalled = False
        self.inbox: deque[dict[str, Any]] = deque()
        self.sessions = 0
        self.lost = 0
        self.told: list[dict[str, Any]] = []
        """Every numbered frame handled, in order."""
        self.answers: dict[str, dict[str, Any]] = {}
        self.count = 0
        self._begin()

    def _begin(self) -> None:
        self.sid = self.key = self.id = ""
        self.seq = self.n = 0
        self.room: str | None = None
        self.peers: dict[str, dict[str, Any]] = {}
        self.unsent: OrderedDict[int, dict[str, Any]] = OrderedDict()
        self.asked: dict[str, dict[str, Any]] = {}
        self.greeted = False
        self.synced = False
        """News were lost once: what is relayed may be from somebody who has left since."""

    # The socket

    @property
    def is_open(self) -> bool:
        return bool(self.cid)

    def connect(self) -> None:
        """A new socket; what comes of it happens in `pump`."""
        assert not self.cid
        self.cid = self.world.next_cid()
        self.world.clients[self.cid] = self
        self.greeted = False
        self.world.hub.opened(self.cid, "192.0.2.9", "meet.example", self.world.now)
        self.world.work()

    def drop(self) -> None:
        """The socket is lost, and the server hears of it: now, or whenever `notice` is called."""
        cid, self.cid = self.cid, 0
        if not cid:
            return
        self.greeted = self.stalled = False
        self.in_budget = self.out_budget = None
        self.inbox.clear()
        del self.world.clients[cid]
        if self.notices:
            self.world.hub.closed(cid, self.world.now)
            self.world.work()
        else:
            self.late.append(cid)

    def notice(self) -> None:
        """The server hears of all sockets that were lost."""
        while self.late:
            self.world.hub.closed(self.late.pop(0), self.world.now)
            self.world.work()

    def read(self) -> None:
        """Called by the world when there is something to take."""
        while self.cid and not self.stalled and (text := self.world.hub.take(self.cid)) is not None:
            frame = json.loads(text)
            validate_server(frame)
            if self.in_budget == 0:
                self.drop()
                return
            self.in_budget = None if self.in_budget is None else self.in_budget - 1
            self.frames_in += 1
            self.inbox.append(frame)

    def end(self, code: int) -> None:
        """Called by the world when the hub closes."""
        self.stalled = False
        self.read()
        self.closed_with = code
        kept, self.inbox = self.inbox, deque()
        notices, self.notices = self.notices, True
        self.drop()
        self.notices = notices
        self.inbox = kept
        self.pump()

    # What goes out

    def emit(self, frame: dict[str, Any]) -> None:
        if not self.cid:
            return
        validate_client(frame)
        if self.out_budget == 0:
            self.drop()
            return
        self.out_budget = None if self.out_budget is None else self.out_budget - 1
        self.frames_out += 1
        self.world.hub.text(self.cid, json.dumps({**frame, "ack": self.seq} if self.seq else frame), self.world.now)
        self.world.work()

    def say(self, t: str, **fields: Any) -> None:
        """A counted message: kept until the server has it."""
        assert counts(t)
        self.n += 1
        frame = {"t": t, "n": self.n, **fields}
        self.unsent[self.n] = frame
        if self.greeted:
            self.emit(frame)

    def ask(self, t: str, **fields: Any) -> str:
        """A request: repeated until there is an answer."""
        self.count += 1
        name = f"{self.name}{self.count}"
        if counts(t):
            self.say(t, id=name, **fields)
        else:
            self.asked[name] = {"t": t, "id": name, **fields}
            if self.greeted:
                self.emit(self.asked[name])
        return name

    # What comes in

    def pump(self) -> None:
        """Handle what has come."""
        while self.inbox:
            self._handle(self.inbox.popleft())

    def _handle(self, frame: dict[str, Any]) -> None:
        if frame["t"] in RELAYED and not self.synced:
            assert frame["from"] in self.peers, f"{self.name} does not know who says {frame}"
        if "seq" in frame:
            assert frame["seq"] > self.seq, f"{self.name}: {frame['seq']} after {self.seq}"
            self.seq = frame["seq"]
            self.told.append(frame)
        name = frame.get("re")
        if name is not None:
            assert name not in self.answers or frame["code"] == "resume_lost", f"two answers to {name}"
            self.answers[name] = frame
            self.asked.pop(name, None)
        handler = getattr(self, f"_on_{frame['t']}", None)
        if handler is not None:
            handler(frame)

    def _on_welcome(self, frame: dict[str, Any]) -> None:
        self.count += 1
        hello = {"t": "hello", "id": f"{self.name}{self.count}", "v": 1}
        if self.sid:
            hello["resume"] = {"sid": self.sid, "key": self.key, "seq": self.seq}
        self.emit(hello)

    def _on_hello_ok(self, frame: dict[str, Any]) -> None:
        if not frame["resumed"]:
            self.sessions += 1
        assert self.sid in ("", frame["sid"])
        self.sid, self.key, self.id = frame["sid"], frame["key"], frame["you"]["id"]
        self.room = frame.get("room")
        if self.room is None:
            self.peers.clear()
        while self.unsent and next(iter(self.unsent)) <= frame["n"]:
            self.unsent.popitem(last=False)
        assert not self.unsent or next(iter(self.unsent)) == frame["n"] + 1
        self.greeted = True
        for again in [*self.unsent.values(), *self.asked.values()]:
            self.emit(again)

    def _on_error(self, frame: dict[str, Any]) -> None:
        if frame["code"] == "session_gone":
            self._begin()
            self._on_welcome(frame)
        elif frame["code"] not in {"resume_lost", "not_joined", "no_such_peer", "room_full", "room_locked"}:
            raise AssertionError(frame)

    def _on_goodbye(self, frame: dict[str, Any]) -> None:
        self.stopped = self.stopped or (frame["reconnect"] == "never" and frame["code"] != "replaced")

    def _on_joined(self, frame: dict[str, Any]) -> None:
        self.room = frame["room"]["id"]
        self.peers = {peer["id"]: peer for peer in frame["peers"]}

    def _on_sync(self, frame: dict[str, Any]) -> None:
        assert frame["at"] >= self.seq
        self.synced = True
        self.seq = frame["at"]
        self.lost += frame["lost"]
        self._on_joined(frame)

    def _on_ok(self, frame: dict[str, Any]) -> None:
        """Only `leave` is asked in a way that matters here; see `left`."""

    def left(self) -> None:
        """The answer to `leave` is in."""
        self.room = None
        self.peers.clear()

    def _on_peer_join(self, frame: dict[str, Any]) -> None:
        self.peers[frame["peer"]["id"]] = frame["peer"]

    def _on_peer_leave(self, frame: dict[str, Any]) -> None:
        self.peers.pop(frame["id"], None)

    def _on_peer_gap(self, frame: dict[str, Any]) -> None:
        if frame["id"] in self.peers:
            self.peers[frame["id"]]["gap"] = frame["until"]

    def _on_peer_back(self, frame: dict[str, Any]) -> None:
        if frame["id"] in self.peers:
            self.peers[frame["id"]].pop("gap", None)


def settle(parties: list[Party]) -> None:
    """Everybody handles what has come, and comes back, until nothing happens any more."""
    for _ in range(200):
        busy = False
        for party in parties:
            if not party.is_open and not party.stopped:
                party.connect()
                busy = True
            if party.stalled:
                party.stalled = False
                party.read()
            busy = busy or bool(party.inbox)
            party.pump()
        if not busy and all(party.greeted or party.stopped for party in parties):
            return
    raise AssertionError("no end in sight")
