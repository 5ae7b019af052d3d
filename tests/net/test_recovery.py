"""What calls survive: each test takes something away under a running call and measures how long the picture stands.

Every gap goes into the report and into ``artifacts/recovery.json``. They are only to end; ``python -m bench.gaps``
measures some of them on a quiet machine. What is asserted is how the picture comes back.
"""

import json
import re
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import jwt
import pytest

from tests.net import scripts
from tests.net.browsers import Participant
from tests.net.lab import Nat
from tests.net.stage import Cast, Stage, rooms_config
from tests.support.process import wait_for_log

pytestmark = pytest.mark.browser

ARTIFACTS = Path(__file__).resolve().parents[2] / "artifacts"
KEY = "the laboratory signs its tokens with this key"
LIFETIME = 10
"""Seconds that credentials can begin to relay: the shortest that the configuration takes."""

LOST = ["WebSocket connection to", "net::ERR_"]
"""What Chromium itself writes to the console when the network or the server is away."""

Measure = Callable[..., None]


@pytest.fixture(scope="module")
def signaling() -> dict[str, Any]:
    """Rooms for everybody, tokens for hosts, and credentials that do not live long."""
    return rooms_config(key=KEY, credential_lifetime=LIFETIME)


@pytest.fixture(scope="module")
def gaps() -> Iterator[dict[str, dict[str, float]]]:
    """All the gaps of this run; written down at the end."""
    measured: dict[str, dict[str, float]] = {}
    yield measured
    ARTIFACTS.mkdir(exist_ok=True)
    (ARTIFACTS / "recovery.json").write_text(json.dumps(measured, indent=2, sort_keys=True) + "\n")


class Gaps:
    """Watches the pictures of a call in both directions, from before something happens until after it."""

    def __init__(self, *viewers: Participant) -> None:
        self._viewers = viewers
        for viewer in viewers:
            viewer.watch()
        self._marks = [viewer.mark() for viewer in viewers]

    def begin(self) -> None:
        """Now it happens."""
        self._marks = [viewer.mark() for viewer in self._viewers]

    def end(self) -> list[float]:
        """Wait until both pictures move again; the longest time that each stood, in seconds."""
        for viewer in self._viewers:
            viewer.flows_after(viewer.mark())  # on a busy machine, pictures from before may still come for a while
        return [viewer.gap_since(mark) for viewer, mark in zip(self._viewers, self._marks, strict=True)]


@pytest.fixture
def record(
    request: pytest.FixtureRequest, gaps: dict[str, dict[str, float]], record_property: Callable[[str, object], None]
) -> Callable[[list[float]], None]:
    """Writes down the gaps of a test: that of Ann's view and that of Bob's."""

    def write(found: list[float]) -> None:
        named = {f"{name}_sees": round(gap, 3) for name, gap in zip(("ann", "bob"), found, strict=True)}
        gaps[request.node.name.removeprefix("test_")] = named
        for name, gap in named.items():
            record_property(f"gap_{name}", gap)

    return write


Recorder = Callable[[list[float]], None]


def fragments(participant: Participant, peer: str) -> list[str | None]:
    """The ICE user fragments of both ends (RFC 8839 §5.4): other ones after a restart, none before a description."""
    found: list[str | None] = participant.ask(scripts.FRAGMENTS, peer)
    return found


def have_restarted(participant: Participant, peer: str, before: list[str | None]) -> bool:
    """Whether both ends have other user fragments than before."""
    now = fragments(participant, peer)
    return None not in now and not set(now) & set(before)


@pytest.mark.parametrize("heard", [True, False], ids=["heard", "unheard"])
@pytest.mark.parametrize("gate", ["same", "other"])
def test_address_change(stage: Stage, cast: Cast, record: Recorder, gate: str, heard: bool) -> None:
    """RFC 8445 §2.4: one side gets a new address, at the same NAT or at another, and does not wait until ICE fails.

    Paths are looked for anew because the browser says that it is online; where it says nothing, because the server
    does not answer on the socket, which is asked as soon as no media come, and can be reached on a new one.
    """
    stage.arrange(Nat.SYMMETRIC)
    ann, bob = cast(0, expected=LOST), cast(1, expected=LOST)
    if not heard:
        ann.page.add_init_script(scripts.DEAF)
    for each in (ann, bob):
        each.join(f"move-{gate}-{heard}")
    for each in (ann, bob):
        each.meet(1)
    gaps = Gaps(ann, bob)
    for each in (ann, bob):
        each.restarts.clear()
    gaps.begin()
    stage.hosts[0].move(None if gate == "same" else stage.lab.gate(Nat.SYMMETRIC))
    ann.until(lambda: bool(ann.restarts or bob.restarts), lambda: "a restart of ICE")
    record(gaps.end())
    ann.take("relay", bob.id)
    first = {each.name: each.restarts[0][0] for each in (ann, bob) if each.restarts}  # one may come before the other's
    assert first.get("Ann", "online" if heard else "disconnected") == ("online" if heard else "disconnected")
    assert first.get("Bob", "disconnected") != "failed"
    ann.wait_for_sockets(2)


def test_nat_rebinding(stage: Stage, cast: Cast, record: Recorder) -> None:
    """RFC 4787 §4.3: a NAT forgets its mappings; nothing changes on the host itself."""
    stage.arrange(Nat.SYMMETRIC)
    ann, bob = cast.pair("rebinding", expected=LOST)
    gaps = Gaps(ann, bob)
    gaps.begin()
    stage.hosts[0].rebind()
    record(gaps.end())


def test_link_down_and_up(stage: Stage, cast: Cast, record: Recorder) -> None:
    """A cable that is out for a while, and back: the same address, and the same call."""
    stage.arrange(Nat.SYMMETRIC)
    ann, bob = cast.pair("link", expected=LOST)
    gaps = Gaps(ann, bob)
    gaps.begin()
    stage.hosts[0].link(up=False)
    ann.wait("() => !navigator.onLine", what="the browser knows that the network is away")
    stage.hosts[0].link(up=True)
    record(gaps.end())


@pytest.mark.parametrize("nat", [Nat.SYMMETRIC, Nat.PORT_PRESERVING], ids=["relayed", "direct"])
def test_signaling_sockets_lost(stage: Stage, cast: Cast, record: Recorder, nat: Nat) -> None:
    """Resume: both WebSockets die at once; the sessions go on, and the media do not notice."""
    stage.arrange(nat)
    people = cast.pair(f"sockets-{nat}", expected=LOST)
    ids = [each.id for each in people]
    before = [fragments(each, each.peers()[0]) for each in people]
    gaps = Gaps(*people)
    gaps.begin()
    for host in stage.hosts:
        host.kill_connections(443)
    for each in people:
        each.wait_for_sockets(2)
        each.wait("() => meshturn.signal.state === 'open'", what="the session goes on")
    record(gaps.end())
    assert [each.id for each in people] == ids
    assert [fragments(each, each.peers()[0]) for each in people] == before


@pytest.mark.parametrize("nat", [Nat.SYMMETRIC, Nat.PORT_PRESERVING], ids=["relayed", "direct"])
def test_server_restart(stage: Stage, cast: Cast, record: Recorder, nat: Nat) -> None:
    """The server stops (it drains) and starts again with nothing in its memory: rooms are filled again by the pages.

    What went through its relays is gone and is built anew.
    """
    stage.arrange(nat)
    people = ann, bob = cast.pair(f"restart-{nat}", expected=LOST)
    gaps = Gaps(ann, bob)
    gaps.begin()
    stage.server.restart()
    for each in people:
        each.wait("() => meshturn.signal.state === 'open'", what="there is a session again")
    for each in people:
        each.meet(1)
    record(gaps.end())


def test_credentials_expired_then_restart(stage: Stage, cast: Cast, record: Recorder) -> None:
    """RFC 8656 §7.2: what both began the call with allocates no more; the restart has fresh ones, at both ends."""
    stage.arrange(Nat.SYMMETRIC)
    ann, bob = cast.pair("expired")
    first = [each.ask(scripts.EXPIRY) for each in (ann, bob)]
    before = fragments(ann, bob.id)
    for each, expiry in zip((ann, bob), first, strict=True):
        each.wait("(expiry) => Date.now() / 1000 > expiry + 1", expiry, what="the credentials have expired")
    gaps = Gaps(ann, bob)
    gaps.begin()
    ann.ask("(peer) => meshturn.mesh.restart(peer, 'user')", bob.id)
    ann.until(lambda: have_restarted(ann, bob.id, before), lambda: "both ends have restarted")
    record(gaps.end())
    assert all(each.ask(scripts.EXPIRY) > expiry for each, expiry in zip((ann, bob), first, strict=True))
    ann.take("relay", bob.id)


def test_both_restart_at_once(stage: Stage, cast: Cast, record: Recorder) -> None:
    """RFC 8829 §4.1.8.2, perfect negotiation: offers that cross end in one restart that both have."""
    stage.arrange(Nat.SYMMETRIC)
    ann, bob = cast.pair("glare")
    before = fragments(ann, bob.id)
    gaps = Gaps(ann, bob)
    at = ann.ask("() => Date.now()") + 500
    gaps.begin()
    for one, other in ((ann, bob), (bob, ann)):
        one.ask(scripts.RESTART_AT, {"peer": other.id, "at": at})
    ann.until(lambda: have_restarted(ann, bob.id, before), lambda: "both ends have restarted")
    for each in (ann, bob):
        each.wait(scripts.SETTLED, what="negotiation is over")
    record(gaps.end())
    assert fragments(ann, bob.id) == fragments(bob, ann.id)[::-1]


def host_token(room: str) -> str:
    """A token for somebody who may send others out."""
    claims = {"room": room, "role": "host", "aud": "meshturn", "exp": 4_000_000_000}
    return jwt.encode(claims, KEY, algorithm="HS256")


def moment(line: str) -> float:
    """When a line of the log was written, in seconds."""
    stamp = re.match(r"\S+", line)
    assert stamp is not None
    return datetime.fromisoformat(stamp[0]).timestamp()


def test_kick(stage: Stage, cast: Cast) -> None:
    """RFC 8656 §5 and the project's promise: who is removed loses the relay within a second, and is told why."""
    stage.arrange(Nat.SYMMETRIC)
    ann, bob = cast(0), cast(1)
    ann.join("kick", token=host_token("kick"))
    bob.join("kick")
    for each in (ann, bob):
        each.meet(1)
    start = len(stage.server.log)
    removed = bob.id
    tile = ann.page.locator(f'[data-testid=tile][data-peer="{removed}"]')
    tile.hover()
    tile.get_by_test_id("kick-button").click()
    ann.page.locator("[data-answer=kick]").click()
    asked = wait_for_log(stage.server, "participant sent away", f"peer={removed}", after=start)
    ended = wait_for_log(stage.server, "allocation ended", "reason=revoked", f"{removed} ", after=start)
    assert moment(ended) - moment(asked) < 1
    page = bob.page.get_by_test_id("error-page")
    page.wait_for()
    assert page.get_attribute("data-code") == "kicked"
    assert "removed" in page.inner_text()
    ann.wait("() => meshturn.mesh.peers.size === 0", what="Bob is gone from Ann's page")
