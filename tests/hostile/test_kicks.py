"""Who was sent away stays away, whatever the others do: the rooms, the table of revocations, and the relay's core."""

import itertools
import json
from typing import Any

from auth.ephemeral import SharedSecret, TimeLimitedCredentials
from auth.revocation import RevokedUsers
from tests.support.core_world import World, code_of
from tests.support.room_options import hub_settings
from turnserver.core.types import Now
from turnserver.signaling.edge.ice import IceServers
from turnserver.signaling.edge.service import Service
from turnserver.signaling.rooms.settings import Doorway, Grant

LEAVES = 20_000
SECRET = SharedSecret(b"0123456789abcdef")
LIFETIME = 600


class Rooms:
    """The real signaling service without sockets, on the clock of a TURN core that has the same revocations."""

    def __init__(self) -> None:
        self.world = World(source=TimeLimitedCredentials([SECRET]))
        self.revoked = self.world.core.state.revoked = RevokedUsers()
        options, bounds = hub_settings(open=True, credential_lifetime=LIFETIME)
        ice = IceServers(SECRET, ":", LIFETIME, "all", lambda host, inner: ("turn:turn.example.org",))
        self.service = Service(
            options,
            lambda token, wall: Grant(role="host"),
            ice.mint,
            self.revoked,
            separator=":",
            bounds=bounds,
            clock=lambda: self.world.now,
        )
        self._cids = itertools.count(1)

    def enter(self, **hello: Any) -> tuple[int, dict[str, Any]]:
        """Somebody new joins; gives the socket and the answer."""
        cid = next(self._cids)
        self.service.opened(cid, f"10.{cid >> 16}.{cid >> 8 & 255}.{cid & 255}", Doorway("meet.example.org"))
        self.say(cid, t="hello", id="h", v=1, **hello)
        joined = next(frame for frame in self.say(cid, t="join", id="j", room="x", name="A") if frame.get("re") == "j")
        assert joined["t"] == "joined"
        return cid, joined

    def say(self, cid: int, **frame: Any) -> list[dict[str, Any]]:
        self.service.text(cid, json.dumps(frame))
        return [json.loads(text) for text in iter(lambda: self.service.take(cid), None)]

    def leave(self, cid: int) -> None:
        self.say(cid, t="bye", id="b")
        self.service.closed(cid)

    def pass_time(self, seconds: float) -> None:
        self.world.now = Now(self.world.now.mono + seconds, self.world.now.wall + seconds)
        while (due := self.service.hub.deadline()) is not None and due <= self.world.now.mono:
            self.service._tick()

    def allocates(self, joined: dict[str, Any], port: int) -> int:
        """The code of an Allocate with the credential that a participant has been given; 0 for a success."""
        server = joined["ice"]["servers"][0]
        client = self.world.client(port=port, user=server["username"], password=server["credential"])
        return code_of(client.allocate())


def test_twenty_thousand_leaves_do_not_let_a_kicked_user_back_in() -> None:
    """Kind: what strangers can fill must not push out a decision. Anybody who may join may also leave, for ever."""
    rooms = Rooms()
    host, _ = rooms.enter(token="host")
    _, kicked = rooms.enter()
    assert rooms.allocates(kicked, 1000) == 0
    rooms.say(host, t="mod", id="k", n=1, op="kick", to=kicked["you"]["id"])
    assert rooms.allocates(kicked, 1001) == 401
    rooms.pass_time(0.01)  # so that the others' credentials end later
    for _ in range(LEAVES):
        cid, _ = rooms.enter()
        rooms.leave(cid)
        rooms.pass_time(0.01)
    rooms.pass_time(10.0)
    assert rooms.allocates(kicked, 1002) == 401, "20,000 others have left since"
    assert len(rooms.revoked) > LEAVES


def test_neither_do_more_leaves_than_the_table_has_room_for() -> None:
    """The same when the table is full: leaves make room for leaves."""
    rooms = Rooms()
    rooms.revoked._limit = 20
    host, _ = rooms.enter(token="host")
    _, kicked = rooms.enter()
    rooms.say(host, t="mod", id="k", n=1, op="kick", to=kicked["you"]["id"])
    rooms.pass_time(1.0)
    for _ in range(100):
        cid, _ = rooms.enter()
        rooms.leave(cid)
        rooms.pass_time(1.0)
    assert rooms.allocates(kicked, 1002) == 401
    assert len(rooms.revoked) == 20
