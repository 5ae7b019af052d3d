"""A hub with fixed time and entropy, and clients as scripts: every frame either way is checked against the schema."""

import base64
import json
from collections import deque
from contextlib import suppress
from typing import Any

from tests.support.room_options import hub_settings
from tests.support.signal_media import MEDIA_EVENTS, ScriptedMedia
from tests.support.signal_schema import validate_client, validate_server
from turnserver.core.types import Now
from turnserver.signaling.protocol.base import CLIENT, Counted
from turnserver.signaling.protocol.errors import Denial, SignalCode
from turnserver.signaling.protocol.fields import Ice, IceServer
from turnserver.signaling.rooms.facts import Close, Fact, HubCommand, Revoke, Wake
from turnserver.signaling.rooms.hub import Hub
from turnserver.signaling.rooms.media_port import MediaEvent
from turnserver.signaling.rooms.outbox import Outbox
from turnserver.signaling.rooms.settings import Grant, MediaOptions
from turnserver.signaling.truth.relays import NoRelays, PairPath

__all__ = ["Client", "ScriptedRelays", "World", "counts", "entropy", "invite", "kept", "mint"]

WALL = 1_700_000_000.0


def counts(t: str) -> bool:
    """Whether messages of a type have a number."""
    return t in CLIENT and issubclass(CLIENT[t], Counted)


def entropy() -> Any:
    """A source of bytes that are all different and the same in every run."""
    drawn = 0

    def draw(length: int) -> bytes:
        nonlocal drawn
        drawn += 1
        return (drawn.to_bytes(3, "big") * length)[-length:] if length < 3 else drawn.to_bytes(length, "big")[::-1]

    return draw


def kept(outbox: Outbox) -> tuple[int, int]:
    """Frames, and bytes, of what waits for a client and of what may have to be sent to it again."""
    return len(outbox) + len(outbox._sent), outbox.waiting_bytes + sum(entry.size for entry in outbox._sent)


def mint(user_id: str, wall: float, host: str) -> Ice:
    """ICE servers whose credentials name their user and their time."""
    expires = int(wall) + 600
    credential = base64.b64encode(f"{expires}:{user_id}".encode()).decode()
    urls = (f"turn:{host}:3478?transport=udp",)
    server = IceServer(urls=urls, username=f"{expires}:{user_id}", credential=credential)
    return Ice(servers=(server,), exp=expires, policy="all")


def invite(room: str, host: Grant, ttl: int, uses: int, wall: float) -> tuple[str, int]:
    """A token that names what it is for."""
    return f"{room}-{host.subject}-{uses}", int(wall) + ttl


class ScriptedRelays(NoRelays):
    """Says of pairs what it was told to say, and remembers whom it was told to forget."""

    def __init__(self) -> None:
        self.paths: dict[tuple[str, str], PairPath] = {}
        self.forgotten: list[str] = []

    def pair(self, a: str, b: str) -> PairPath:
        return self.paths.get((a, b), PairPath())

    def forget(self, user_id: str) -> None:
        self.forgotten.append(user_id)


class World:
    """The hub, its clock, its clients. ``grants`` are what tokens allow; a token without one is a bad token.

    With ``sfu`` (options of it), the hub has a media engine, which does nothing by itself.
    """

    def __init__(
        self,
        *,
        log: list[dict[str, Any]] | None = None,
        grants: dict[str, Any] | None = None,
        sfu: dict[str, Any] | None = None,
        **settings: Any,
    ) -> None:
        options, bounds = hub_settings(**{"open": True, **settings})
        self.media = ScriptedMedia()
        self.grants = grants or {}
        self.relays = ScriptedRelays()
        self.log = log
        self.time = 0.0
        self.hub = Hub(
            options,
            entropy(),
            self.admit,
            mint,
            self.relays,
            bounds=bounds,
            invite=invite,
            media=None if sfu is None else self.media,
            media_options=MediaOptions(**sfu or {}),
        )
        self.clients: dict[int, Any] = {}
        self.commands: list[HubCommand] = []
        self.facts: list[Fact] = []
        self._last_cid = 0

    @property
    def now(self) -> Now:
        return Now(1000.0 + self.time, WALL + self.time)

    def admit(self, token: str, wall: float) -> Grant:
        found = self.grants.get(token)
        if isinstance(found, Denial):
            raise found
        if found is None:
            raise Denial(SignalCode.BAD_TOKEN, "not a token of ours")
        return Grant(**found)

    def client(self, name: str, **options: Any) -> "Client":
        """A client without a socket."""
        return Client(self, name, **options)

    def enter(
        self, *names: str, room: str = "blue", join: dict[str, Any] | None = None, **hello: Any
    ) -> "list[Client]":
        """Clients that have said hello, joined, and read everything."""
        found = []
        for name in names:
            client = self.client(name)
            client.open()
            client.hello(**hello)
            client.join(room, **join or {})
            found.append(client)
        for client in found:
            client.heard.clear()
        return found

    def next_cid(self) -> int:
        self._last_cid += 1
        return self._last_cid

    def pass_time(self, seconds: float) -> None:
        """Let time pass, with the hub's timer going off whenever it is set."""
        end = self.time + seconds
        while (due := self.hub.deadline()) is not None and due - 1000.0 <= end:
            self.time = max(self.time, due - 1000.0)
            self.hub.expire(self.now)
            self.work()
        self.time = end

    def operate(self, what: str, **more: Any) -> None:
        """Something that whoever runs the server does, or that the relay engine has seen."""
        if self.log is not None:
            self.log.append({"from": "operator", "at": self.time, "do": what, **more})
        if what == "drain":
            self.hub.drain(more["after"], self.now)
        elif what == "wind_down":
            self.hub.wind_down(self.now.wall + more["within"], self.now)
        elif what == "close_room":
            assert self.hub.close_room(more["room"], self.now)
        elif what == "kick":
            assert self.hub.kick(more["room"], more["peer"], more["reason"], self.now)
        elif what == "record":
            assert self.hub.record(more["room"], more["on"], self.now)
        elif what == "media":
            self.hub.media(MEDIA_EVENTS[more["event"]](**more["says"]), self.now)
        elif what == "rotate":
            self.hub.rotate(self.now)
        else:
            assert what == "paths"
            self.relays.paths = {(a, b): PairPath(*found) for a, b, *found in more["pairs"]}
            self.hub.report_paths(self.now)
        self.work()

    def reports(self, event: MediaEvent) -> None:
        """Something that the media engine says."""
        self.operate("media", event=type(event).__name__, says=event._asdict())

    def work(self) -> None:
        """Carry out commands: sockets that are awake take all there is, those to be closed are closed."""
        while commands := self.hub.commands():
            for command in commands:
                self.commands.append(command)
                client = self.clients.get(command.cid) if not isinstance(command, Revoke) else None
                if client is None:
                    continue
                if isinstance(command, Wake):
                    client.read()
                elif isinstance(command, Close):
                    client.end(command.code)
        self.facts.extend(self.hub.events())

    def revoked(self) -> list[str]:
        """TURN users that were revoked."""
        return [command.user_id for command in self.commands if isinstance(command, Revoke)]


class Client:
    """One client: what it has heard, and what it needs for a resume."""

    def __init__(self, world: World, name: str, *, address: str = "192.0.2.1", host: str = "meet.example"):
        self.world = world
        self.name = name
        self.address = address
        self.host = host
        self.cid = 0
        self.n = 0
        self.seq = 0
        self.count = 0
        self.session: dict[str, Any] = {}
        self.resumes: dict[object, int] = {}
        """The lowest number that it has said it knows, by the id of the hello: the server says again what is above."""
        self.heard: deque[dict[str, Any]] = deque()
        self.stalled = False
        self.closed_with: int | None = None

    @property
    def id(self) -> str:
        return str(self.session["you"]["id"])

    def open(self) -> None:
        """A socket."""
        assert not self.cid
        self.cid = self.world.next_cid()
        self.closed_with = None
        self.world.clients[self.cid] = self
        self.note("open", address=self.address)
        self.world.hub.opened(self.cid, self.address, self.host, self.world.now)
        self.world.work()

    def cut(self, *, noted: bool = True) -> None:
        """The socket is gone."""
        cid, self.cid = self.cid, 0
        if cid:
            if noted:
                self.note("cut")
            del self.world.clients[cid]
            self.world.hub.closed(cid, self.world.now)
            self.world.work()

    def read(self) -> None:
        """Take what there is."""
        while self.cid and not self.stalled and (text := self.world.hub.take(self.cid)) is not None:
            frame = json.loads(text)
            validate_server(frame)
            if self.world.log is not None:
                self.world.log.append({"from": "server", "to": self.name, "at": self.world.time, "frame": frame})
            self.heard.append(frame)
            if frame["t"] == "hello_ok":
                self.session = frame
                if not frame["resumed"]:
                    self.seq = self.n = 0
                self.seq = min(self.seq, self.resumes.get(frame.get("re"), self.seq))
            if "seq" in frame:
                assert frame["seq"] > self.seq, "numbers go up"
                self.seq = frame["seq"]
            if frame["t"] == "sync":
                self.seq = max(self.seq, frame["at"])

    def stall(self) -> None:
        """Read nothing any more."""
        self.stalled = True
        self.note("stall")

    def end(self, code: int) -> None:
        """The hub wants the socket closed: what is left is read first."""
        self.stalled = False
        self.read()
        self.closed_with = code
        if self.world.log is not None and self.cid:
            self.world.log.append({"from": "server", "to": self.name, "at": self.world.time, "close": code})
        self.cut(noted=False)

    def note(self, what: str, **more: Any) -> None:
        if self.world.log is not None:
            self.world.log.append({"from": self.name, "at": self.world.time, "socket": what, **more})

    def say(self, t: str, **fields: Any) -> None:
        """Send a frame; ``n`` counts by itself where it counts."""
        frame: dict[str, Any] = {"t": t, **fields}
        if counts(t) and "n" not in frame:
            self.n += 1
            frame["n"] = self.n
        validate_client(frame)
        self.raw(json.dumps(frame))

    def raw(self, text: str) -> None:
        """Send whatever it is."""
        if self.world.log is not None:
            self.world.log.append({"from": self.name, "at": self.world.time, **_shown(text)})
        with suppress(ValueError, TypeError, KeyError, RecursionError):
            frame = json.loads(text)
            known, name = int(frame["resume"]["seq"]), frame.get("id")
            self.resumes[name] = min(known, self.resumes.get(name, known))
        self.world.hub.text(self.cid, text, self.world.now)
        self.world.work()

    def ask(self, t: str, **fields: Any) -> dict[str, Any]:
        """Send a request; its answer."""
        self.count += 1
        name = f"r{self.count}"
        self.say(t, id=name, **fields)
        answers = [frame for frame in self.heard if frame.get("re") == name]
        assert len(answers) == 1, f"{len(answers)} answers to {t}"
        self.heard.remove(answers[0])
        return answers[0]

    def hello(self, **fields: Any) -> dict[str, Any]:
        return self.ask("hello", v=1, **fields)

    def resume(self, **changes: Any) -> dict[str, Any]:
        """Go on with the session, on the socket that is open."""
        resume = {"sid": self.session["sid"], "key": self.session["key"], "seq": self.seq, **changes}
        return self.ask("hello", v=1, resume=resume)

    def join(self, room: str = "blue", **fields: Any) -> dict[str, Any]:
        return self.ask("join", room=room, **{"name": self.name, **fields})

    def drain(self) -> list[dict[str, Any]]:
        """Everything heard and not asked for."""
        found = list(self.heard)
        self.heard.clear()
        return found

    def types(self) -> list[str]:
        """The types of that."""
        return [frame["t"] for frame in self.drain()]


def _shown(text: str) -> dict[str, Any]:
    """A frame as a transcript has it: its JSON, or its text where it is none."""
    try:
        return {"frame": json.loads(text)}
    except ValueError:
        return {"text": text}
