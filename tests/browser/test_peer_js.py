"""The page's `peer.js` and `mesh.js` in headless Chromium: negotiation, restarts, rebuilds, and what is sent."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.support.netns import NetworkNamespace
from tests.support.signal_lab import LabPage, SignalLab
from tests.support.tools import require_tool
from turnserver.signaling.protocol.fields import IceServer

FAST = {
    "timing": {"silence": 100, "early": 300, "pair": 600, "step": 600, "politeness": 300, "stuck": 2000, "away": 50}
}
"""Steps of the recovery for tests that do not wait."""

PATIENT = {"timing": {"silence": 100, "step": 100_000, "politeness": 0, "stuck": 100_000, "away": 50}}

STEADY = "(who) => lab.steady(who)"
FRAGMENT = "(who) => lab.fragment(who)"
RENEWED = "([who, old]) => lab.steady(who) && lab.fragment(who) !== old"
PRESSED = """() => {
  const peer = lab.runs.ann.peer();
  if (peer.state === 'failed') lab.runs.ann.mesh.restart(peer.id);
  return peer.state === 'connected';
}"""

SHARE = "(who) => lab.share(who)"


def both(ann: LabPage, ben: LabPage) -> list[tuple[LabPage, str]]:
    return [(ann, "ann"), (ben, "ben")]


def call(ann: LabPage, ben: LabPage, **options: Any) -> None:
    """A call that stands."""
    for page, who in both(ann, ben):
        page.enter(who, "blue", **options)
    for page, who in both(ann, ben):
        page.connected(who)
    for page, who in both(ann, ben):
        page.frames(who)


def call_with_polite(polite: str, ann: LabPage, ben: LabPage, **options: Any) -> None:
    """A call that stands, in which that one gives way when offers cross; Ben's was the first offer."""
    ann.enter("ann", "blue", **options)
    ben.enter("ben", "blue", **options)
    while ben.run("() => lab.runs.ben.peer().info.polite") != (polite == "ben"):
        ben.exit("ben")
        ann.until("() => lab.runs.ann.mesh.peers.size === 0")
        ben.enter("ben", "blue", **options)
    settled(ann, ben)


def release(lab: SignalLab, first: str, kind: str = "desc") -> None:
    """Let the frames of that one go first; the other's follow when they have arrived."""
    second = {"ann": "ben", "ben": "ann"}[first]
    before = len(lab.of(second, "client", kind))
    lab.release(first)
    lab.wait(lambda: len(lab.of(second, "client", kind)) > before, f"a {kind} from {first}")
    lab.release(second)


def held(lab: SignalLab) -> None:
    """Wait until frames of both are held on the wire."""
    lab.wait(lambda: lab.holding("ann") and lab.holding("ben"), "something from both")


def settled(ann: LabPage, ben: LabPage) -> None:
    for page, who in both(ann, ben):
        page.until(STEADY, who)
        page.frames(who)


def offers(lab: SignalLab, who: str) -> int:
    return sum(frame["desc"]["type"] == "offer" for frame in lab.of(who, "server", "desc"))


# Crossing offers


@pytest.mark.parametrize("first", ["ann", "ben"])
def test_first_offers_cross(first: str, ann: LabPage, ben: LabPage, lab: SignalLab) -> None:
    """Glare: the one who should have waited gets tired of it, both offer, one call comes of it without a rebuild."""
    lab.hold("ann", "desc")
    lab.hold("ben", "desc")
    ann.enter("ann", "blue")
    ben.enter("ben", "blue")
    held(lab)
    release(lab, first)
    settled(ann, ben)
    assert (offers(lab, "ann"), offers(lab, "ben")) == (1, 1), "the answer to the winner says it all"
    for page, who in both(ann, ben):
        assert page.run("(who) => lab.runs[who].connections", who) == 1
        assert not lab.of(who, "server", "reset")
        sections = page.run("(who) => lab.runs[who].peer().pc.getTransceivers().map((t) => t.currentDirection)", who)
        assert sections == ["sendrecv", "sendrecv"], "no sections beside those of the winner"


@pytest.mark.parametrize("first", ["ann", "ben"])
@pytest.mark.parametrize("polite", ["ann", "ben"])
def test_later_offers_cross(polite: str, first: str, ann: LabPage, ben: LabPage, lab: SignalLab) -> None:
    """Glare: both begin to share a screen at the same moment, and both are seen.

    Where Chromium could not take its offer back without losing the picture, the connection is rebuilt, once.
    """
    call_with_polite(polite, ann, ben)
    lab.erase()
    lab.hold("ann", "desc")
    lab.hold("ben", "desc")
    for page, who in both(ann, ben):
        page.run(SHARE, who)
    held(lab)
    release(lab, first)
    for page, who in both(ann, ben):
        page.until("(who) => lab.runs[who].peer().streams.screen !== null", who)
    settled(ann, ben)
    for page, who in both(ann, ben):
        page.until(
            "async (who) => { const video = document.querySelector('video');"
            " video.srcObject ??= lab.runs[who].peer().streams.screen; return video.videoWidth === 320; }",
            who,
        )
        rebuilt = [frame["why"] for frame in lab.of(who, "server", "reset")]
        assert rebuilt == (["glare"] if who == polite == "ann" else [])


@pytest.mark.parametrize("first", ["ann", "ben"])
@pytest.mark.parametrize("polite", ["ann", "ben"])
def test_both_ends_restart_at_once(polite: str, first: str, ann: LabPage, ben: LabPage, lab: SignalLab) -> None:
    """Two restarts at once: the one whom the server hears first makes the offer, and both have fresh paths of it."""
    call_with_polite(polite, ann, ben)
    lab.erase()
    before = [page.run(FRAGMENT, who) for page, who in both(ann, ben)]
    lab.hold("ann", "restart")
    lab.hold("ben", "restart")
    for page, who in both(ann, ben):
        page.run("(who) => { lab.pc = lab.runs[who].peer().pc; }", who)
        page.run("(who) => { lab.runs[who].signal.dispatchEvent(new CustomEvent('network')); }", who)
    held(lab)
    release(lab, first, "restart")
    for (page, who), old in zip(both(ann, ben), before, strict=True):
        page.until(RENEWED, [who, old])
    settled(ann, ben)
    for page, who in both(ann, ben):
        assert page.run("(who) => lab.runs[who].peer().pc === lab.pc", who)
        assert [frame["why"] for frame in lab.of(who, "server", "restart")] == ["online"]
        assert not lab.of(who, "server", "reset")
    other = {"ann": "ben", "ben": "ann"}[first]
    assert [frame["restart"] for frame in lab.of(first, "server", "desc")] == [True]
    assert [frame["desc"]["type"] for frame in lab.of(other, "server", "desc")] == ["answer"]


@pytest.mark.parametrize("first", ["ann", "ben"])
@pytest.mark.parametrize("polite", ["ann", "ben"])
def test_offers_of_restarts_cross(polite: str, first: str, ann: LabPage, ben: LabPage, lab: SignalLab) -> None:
    """Glare of restarts: though offers do cross, both have fresh paths, and the picture is shown."""
    call_with_polite(polite, ann, ben)
    lab.erase()
    before = [page.run(FRAGMENT, who) for page, who in both(ann, ben)]
    lab.hold("ann", "desc")
    lab.hold("ben", "desc")
    for page, who in both(ann, ben):
        page.run("(who) => lab.runs[who].peer().pc.restartIce()", who)
    held(lab)
    release(lab, first)
    for (page, who), old in zip(both(ann, ben), before, strict=True):
        page.until(RENEWED, [who, old])
    settled(ann, ben)
    for _, who in both(ann, ben):
        rebuilt = [frame["why"] for frame in lab.of(who, "server", "reset")]
        assert rebuilt == (["glare"] if who == polite == "ann" else [])


# Credentials and restarts


def server(name: str) -> tuple[IceServer, ...]:
    return (IceServer(urls=("turn:203.0.113.1:9?transport=udp",), username=name, credential="secret"),)


def test_fresh_credentials_are_used_at_once(ann: LabPage, ben: LabPage, lab: SignalLab) -> None:
    """A pushed `ice` goes into every connection by `setConfiguration`, and disturbs nothing."""
    lab.ice_servers = server("first")
    call(ann, ben)
    for page, who in both(ann, ben):
        page.run("(who) => { lab.runs[who].calls.length = 0; }", who)
    lab.ice_servers = server("second")
    lab.push_ice()
    for page, who in both(ann, ben):
        page.until("(who) => lab.username(who) === 'second'", who)
        assert page.run("(who) => lab.runs[who].mesh.ice.servers[0].username", who) == "second"
        page.frames(who)
        assert page.run("(who) => lab.runs[who].calls", who) == ["setConfiguration"]


def test_a_restart_gathers_with_fresh_credentials_at_both_ends(ann: LabPage, ben: LabPage, lab: SignalLab) -> None:
    """`restart`: both have the credentials before either gathers; the answerer before it takes the offer."""
    lab.ice_servers = server("first")
    call(ann, ben)
    for page, who in both(ann, ben):
        page.run("(who) => { lab.runs[who].calls.length = 0; }", who)
    before = ann.run(FRAGMENT, "ann")
    lab.ice_servers = server("second")
    ann.run("() => lab.runs.ann.mesh.restart(undefined, 'online')")
    for page, who in both(ann, ben):
        page.until("(who) => lab.runs[who].calls.includes('setRemoteDescription') && lab.steady(who)", who)
        calls = page.run("(who) => lab.runs[who].calls.filter((name) => name !== 'addIceCandidate')", who)
        expected = ["setConfiguration", "restartIce", "setRemoteDescription"]
        assert calls == [name for name in expected if who == "ann" or name != "restartIce"]
        assert page.run("(who) => lab.username(who)", who) == "second"
    ann.until(RENEWED, ["ann", before])
    settled(ann, ben)


def test_a_restart_waits_for_the_server(ann: LabPage, ben: LabPage, lab: SignalLab) -> None:
    """The network changed, so the socket is gone, too: the restart follows as soon as there is another one."""
    call(ann, ben)
    before = ben.run(FRAGMENT, "ben")
    ben.run("() => dispatchEvent(new Event('online'))")
    ben.until(RENEWED, ["ben", before])
    settled(ann, ben)
    assert ben.run("() => lab.runs.ben.connections") == 1


# Silence

WATCHFUL = {"timing": {"look": 1000, "misses": 3, "pair": 60_000}}

PORT = """async (who) => {
  const reports = await lab.runs[who].peer().pc.getStats();
  const transport = [...reports.values()].find(({type}) => type === 'transport');
  return reports.get(reports.get(transport.selectedCandidatePairId).localCandidateId).port;
}"""


@contextmanager
def media_lost(inside: NetworkNamespace, ports: list[int]) -> Iterator[None]:
    """What these UDP ports send is lost, but for the checks of ICE (RFC 7983 §7: their first byte is below 4)."""
    rule = f"udp sport {{ {', '.join(map(str, ports))} }} @th,64,8 >= 20 drop"
    script = f"table ip lost {{ chain out {{ type filter hook output priority 0; {rule}; }}; }}"
    command = [require_tool("ip"), "netns", "exec", inside.name, require_tool("nft")]
    made = subprocess.run([*command, script], capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    try:
        yield
    finally:
        subprocess.run([*command, "delete table ip lost"], check=True)


def test_media_of_one_end_that_are_lost(ann: LabPage, ben: LabPage, lab: SignalLab, inside: NetworkNamespace) -> None:
    """Kind: `connected`, and nothing comes. Both see it, and another path is found."""
    call(ann, ben, options=WATCHFUL)
    lab.erase()
    for page, who in both(ann, ben):
        page.run(
            "(who) => { lab.seen = []; const peer = lab.runs[who].peer();"
            " peer.addEventListener('state', ({detail}) => lab.seen.push([detail.state, peer.pc.connectionState])); }",
            who,
        )
    with media_lost(inside, [ann.run(PORT, "ann")]):
        for page, _ in both(ann, ben):
            page.until("() => lab.seen.some(([state, pc]) => state === 'reconnecting' && pc === 'connected')")
        settled(ann, ben)
    assert lab.of("ben", "server", "restart")[0]["why"] == "silent"


def test_a_socket_that_is_back_while_nothing_comes(
    ann: LabPage, ben: LabPage, lab: SignalLab, inside: NetworkNamespace
) -> None:
    """Kind: the network has changed under socket and media alike: the restart waits for no third sign of it."""
    call(ann, ben, options={"timing": {"look": 200, "misses": 10_000, "pair": 60_000}})
    ben.expected = ("WebSocket connection to",)
    ben.run("() => lab.runs.ben.peer().addEventListener('doubt', () => { lab.doubt = true; })")
    with media_lost(inside, [page.run(PORT, who) for page, who in both(ann, ben)]):
        ben.until("() => lab.doubt")
        lab.unplug("ben")
        lab.unplug("ben", False)
        lab.wait(
            lambda: [frame["why"] for frame in lab.of("ben", "server", "restart")] == ["disconnected"], "a restart"
        )
        settled(ann, ben)


def test_nobody_who_is_muted_is_silent(ann: LabPage, ben: LabPage, lab: SignalLab) -> None:
    """Without microphone and camera, and with nothing to say: what asks is answered, and no program sees of it."""
    for page, who in both(ann, ben):
        page.enter(who, "blue", media=False, options={"timing": {"look": 200, "doubts": 20, "misses": 20}})
    for page, who in both(ann, ben):
        page.connected(who)
        page.run(
            "(who) => lab.until(async () => [...(await lab.runs[who].peer().pc.getStats()).values()]"
            ".some(({type, messagesSent, messagesReceived}) =>"
            " type === 'data-channel' && messagesSent > 9 && messagesReceived > 9))",
            who,
        )
    for page, who in both(ann, ben):
        assert page.run("(who) => [lab.runs[who].peer().state, lab.runs[who].data]", who) == ["connected", []]
        assert not lab.of(who, "server", "restart")


# Rebuilds


def test_a_failed_connection(ann: LabPage, ben: LabPage, lab: SignalLab) -> None:
    """`failed`: a restart, then a rebuild with `reset`; the other end drops its own, and says no reset to that."""
    call(ann, ben, options=FAST)
    ann.run("() => { lab.camera = lab.runs.ann.peer().streams.camera; lab.pretend('ann', 'failed'); }")
    ann.until("() => lab.runs.ann.connections === 2")
    assert [frame["why"] for frame in lab.of("ann", "server", "restart")] == ["failed"]
    settled(ann, ben)
    assert [frame["why"] for frame in lab.of("ann", "server", "reset")] == ["failed"]
    assert not lab.of("ben", "server", "reset")
    for page, who in both(ann, ben):
        assert page.run("(who) => [lab.runs[who].connections, lab.runs[who].peer().rebuilds]", who) == [2, 0]
    assert ann.run("() => lab.camera === lab.runs.ann.peer().streams.camera"), "what a tile shows is the same stream"


def test_both_ends_rebuild_at_once(ann: LabPage, ben: LabPage, lab: SignalLab) -> None:
    """Resets that cross: each is told of the other's new connection, and neither drops its own again."""
    call(ann, ben, options={"timing": FAST["timing"] | {"politeness": 0, "step": 30_000}})
    lab.hold("ann", "reset")
    lab.hold("ben", "reset")
    for page, who in both(ann, ben):
        page.run("(who) => lab.pretend(who, 'failed')", who)
    held(lab)
    lab.release("ann")
    lab.release("ben")
    settled(ann, ben)
    for page, who in both(ann, ben):
        assert page.run("(who) => lab.runs[who].connections", who) == 2
        assert len(lab.of(who, "server", "reset")) == 1


def test_when_nothing_helps(ann: LabPage, ben: LabPage, lab: SignalLab) -> None:
    """Three rebuilds, then `diag`, and a sentence for people; pressing the button begins again, and then it works."""
    lab.ice_policy = "relay"
    for page, who in both(ann, ben):
        page.enter(who, "blue", options={"timing": {"stuck": 300, "step": 300, "politeness": 100, "away": 50}})
    for page, who in both(ann, ben):
        page.until("(who) => lab.runs[who].verdicts.length === 1 && lab.runs[who].peer().state === 'failed'", who)
        assert lab.of(who, "server", "diag")
        assert lab.of(who, "client", "diag")
    resets = len(lab.of("ann", "server", "reset")) + len(lab.of("ben", "server", "reset"))
    assert 3 <= resets <= 6
    lab.ice_policy = "all"
    lab.push_ice()
    ann.until("() => lab.runs.ann.mesh.ice.policy === 'all'")
    ben.until("() => lab.runs.ben.mesh.ice.policy === 'all'")
    ann.until(PRESSED)  # more than once where a connection takes longer than this test lets it
    settled(ann, ben)


def test_frames_of_connections_that_are_gone(ann: LabPage, ben: LabPage, lab: SignalLab) -> None:
    """Generations: what is meant for a connection that is gone gets one reset; what comes from one gets nothing."""
    call(ann, ben, options=PATIENT)
    old = ben.run("() => lab.runs.ben.peer().pcId")
    mine = ann.run("() => lab.runs.ann.peer().pcId")
    inject = """([t, fields]) => {
      const run = lab.runs.ann;
      run.calls.length = 0;
      run.signal.dispatchEvent(new CustomEvent(t, {detail: {t, from: run.peer().id, ...fields}}));
      return new Promise((resolve) => setTimeout(() => resolve(run.calls), 50));
    }"""
    candidate = {"candidate": "candidate:1 1 udp 2113937151 192.0.2.77 9 typ host", "sdpMid": "0", "sdpMLineIndex": 0}
    late = {"list": [candidate | {"usernameFragment": "none"}]}
    assert ann.run(inject, ["cand", {"pc": old, "rpc": mine, **late}]) == [], (
        "another generation of the same connection"
    )
    assert ann.run(inject, ["cand", {"pc": old, "rpc": mine, "list": [candidate]}]) == ["addIceCandidate"]
    for _ in range(3):
        assert ann.run(inject, ["cand", {"pc": old, "rpc": "gone", "list": [candidate]}]) == []
    ben.until("() => true")
    assert [frame["why"] for frame in lab.of("ann", "server", "reset")] == ["stale"]
    assert ann.run(inject, ["reset", {"pc": old}]) == [], "of the connection that we have"
    assert ann.run("() => lab.runs.ann.connections") == 1
    ann.run(inject, ["reset", {"pc": "another"}])
    assert ann.run("() => lab.runs.ann.connections") == 2
    assert ann.run(inject, ["cand", {"pc": old, "list": [candidate]}]) == []
    assert len(lab.of("ann", "server", "reset")) == 1


def test_candidates_before_their_description(ann: LabPage, ben: LabPage, lab: SignalLab) -> None:
    """Bounds: candidates that come early wait for their description, and no more than 128 of them."""
    call(ann, ben, options=PATIENT)
    added = ann.run(
        """async () => {
          const {Connection} = await import('/call-assets/connection.js');
          const calls = [];
          class Pc extends RTCPeerConnection {
            addIceCandidate(candidate) {
              calls.push(candidate.sdpMid);
              return super.addIceCandidate(candidate);
            }
          }
          const calls_of = ['needed', 'candidates', 'state', 'tracks', 'channel', 'path'];
          const make = () => new Connection({
            id: 'x', ice: null, RTCPeerConnection: Pc, tracks: new Map(), home: new MediaStream(), publishes: true,
            on: Object.fromEntries(calls_of.map((name) => [name, () => {}])),
            setTimeout: (...rest) => setTimeout(...rest), clearTimeout: (timer) => clearTimeout(timer),
          });
          const [one, other] = [make(), make()];
          for (let i = 0; i < 500; i += 1) {
            await other.add([{candidate: `candidate:${i} 1 udp 9 192.0.2.1 9 typ host`, sdpMid: '0'}]);
          }
          const early = calls.length;
          one.mayOffer = true;
          let offer;
          await one.offer((description) => { offer = description; });
          await other.accept({type: offer.type, sdp: offer.sdp}, 'one', false, () => {});
          one.close();
          other.close();
          return [early, calls.length];
        }"""
    )
    assert added == [0, 128]


# What is sent


def test_mute_and_another_device_need_no_negotiation(ann: LabPage, ben: LabPage, lab: SignalLab) -> None:
    """Fixed sections: camera off, on again, and another camera are `replaceTrack`; no description crosses."""
    call(ann, ben)
    before = len(lab.of("ann", "server", "desc")) + len(lab.of("ben", "server", "desc"))
    decoded = "async () => (await lab.runs.ben.stats.measure()).values().next().value.framesDecoded"
    ann.run("() => { lab.runs.ann.mesh.setTrack('video', null); lab.runs.ann.mesh.setTrack('audio', null); }")
    ann.run("() => lab.runs.ann.mesh.setMedia({a: 0, v: 0})")
    ben.until("() => lab.runs.ben.peer().info.media.v === 0")
    ben.until(
        f"""async () => {{
          const before = await ({decoded})();
          await new Promise((resolve) => setTimeout(resolve, 300));
          return before === await ({decoded})();
        }}"""
    )
    ann.run("() => lab.send('ann', 'video', lab.picture())")
    ben.frames("ben", 10)
    ann.run("async () => lab.send('ann', 'video', await lab.camera())")
    ben.frames("ben", 10)
    assert len(lab.of("ann", "server", "desc")) + len(lab.of("ben", "server", "desc")) == before


def test_without_devices(ann: LabPage, ben: LabPage, lab: SignalLab) -> None:
    """Who has no camera has the same sections, and can send one later without a negotiation."""
    ann.enter("ann", "blue", media=False)
    ben.enter("ben", "blue")
    ann.connected("ann")
    ann.frames("ann")
    before = len(lab.of("ann", "server", "desc")) + len(lab.of("ben", "server", "desc"))
    ann.run("() => lab.send('ann', 'video', lab.picture())")
    ben.frames("ben")
    assert len(lab.of("ann", "server", "desc")) + len(lab.of("ben", "server", "desc")) == before


def test_a_screen_comes_and_goes(ann: LabPage, ben: LabPage, lab: SignalLab) -> None:
    """A screen is a second stream, announced by `meta.screen`, there as long as it is shared, time after time."""
    call(ann, ben)
    for _ in range(2):
        ann.run(SHARE, "ann")
        ben.until("() => lab.runs.ben.peer().streams.screen?.getVideoTracks()[0].muted === false")
        assert ben.run("() => lab.runs.ben.peer().streams.camera.getTracks().map((t) => t.kind).sort()") == [
            "audio",
            "video",
        ]
        ann.run("() => lab.runs.ann.mesh.setTrack('screen', null)")
        ben.until("() => lab.runs.ben.peer().streams.screen === null")
        ben.frames("ben")
    assert ann.run("() => lab.runs.ann.peer().pc.getTransceivers().length") == 3


def test_a_newcomer_sees_the_screen(ann: LabPage, ben: LabPage, lab: SignalLab) -> None:
    """A screen that is shared already is in the first description."""
    ann.enter("ann", "blue")
    ann.run(SHARE, "ann")
    ben.enter("ben", "blue")
    ben.until("() => lab.runs.ben.peer()?.streams.screen?.getVideoTracks()[0].muted === false")
    ben.frames("ben")


def test_a_listener_only_receives(ann: LabPage, ben: LabPage, lab: SignalLab) -> None:
    """Caps: without `publish` nothing is offered to be sent, whoever offers, and everything is received."""
    ann.enter("ann", "blue", token="full")
    ben.enter("ben", "blue", token="listener")
    ben.connected("ben")
    ben.frames("ben")
    directions = ben.run("() => lab.runs.ben.peer().pc.getTransceivers().map((t) => t.currentDirection)")
    assert directions == ["recvonly", "recvonly"]
    assert not lab.of("ben", "client", "error")


def test_a_picture_that_is_not_looked_at_is_not_sent(ann: LabPage, ben: LabPage, lab: SignalLab) -> None:
    """Hidden tiles: the other end pauses its picture for us, without a negotiation, until it is looked at again."""
    call(ann, ben)
    before = len(lab.of("ann", "server", "desc")) + len(lab.of("ben", "server", "desc"))
    active = "(wanted) => lab.runs.ben.peer().pc.getSenders()[1].getParameters().encodings[0].active === wanted"
    ann.run("() => lab.runs.ann.mesh.setHidden(lab.runs.ann.peer().id, true)")
    ben.until(active, False)
    ann.run("() => lab.runs.ann.mesh.setHidden(lab.runs.ann.peer().id, false)")
    ben.until(active, True)
    ann.frames("ann")
    assert len(lab.of("ann", "server", "desc")) + len(lab.of("ben", "server", "desc")) == before


def test_less_is_sent_in_a_larger_room(ann: LabPage, ben: LabPage, lab: SignalLab) -> None:
    """Adaptation: 1.5 Mbit/s for two, 700 kbit/s for three, and back; sound before pictures."""
    call(ann, ben)
    rate = (
        "(wanted) => [...lab.runs.ann.mesh.peers.values()].every((peer) =>"
        " peer.pc.getSenders()[1].getParameters().encodings[0].maxBitrate === wanted)"
    )
    ann.until(rate, 1_500_000)
    ben.enter("cat", "blue")
    ann.connected("ann", 2)
    ann.until(rate, 700_000)
    priority = ann.run("() => lab.runs.ann.peer().pc.getSenders()[0].getParameters().encodings[0].networkPriority")
    assert priority == "high"
    ben.exit("cat")
    ann.until("() => lab.runs.ann.mesh.peers.size === 1")
    ann.until(rate, 1_500_000)


def test_the_data_channel(ann: LabPage, ben: LabPage, lab: SignalLab) -> None:
    """`mesh`, negotiated, id 0: text and bytes in both directions."""
    call(ann, ben)
    for page, who in both(ann, ben):
        page.until("(who) => lab.runs[who].peer().send(`I am ${who}`)", who)
        page.run("(who) => lab.runs[who].peer().send(new Uint8Array([1, 2, 3]))", who)
    for (page, who), other in zip(both(ann, ben), ("ben", "ann"), strict=True):
        page.until("(who) => lab.runs[who].data.length === 2", who)
        assert page.run("(who) => [lab.runs[who].data[0], [...new Uint8Array(lab.runs[who].data[1])]]", who) == [
            f"I am {other}",
            [1, 2, 3],
        ]


def test_somebody_who_may_return(ann: LabPage, ben: LabPage, lab: SignalLab) -> None:
    """States: `lost` while both signaling and media of the other end are away, `reconnecting` while only media are."""
    call(ann, ben, options=PATIENT)
    ben.expected = ("WebSocket connection to",)
    lab.unplug("ben")
    ann.until("() => lab.runs.ann.peer().gap")
    assert ann.run("() => lab.runs.ann.peer().state") == "connected"
    ann.run("() => lab.pretend('ann', 'disconnected')")
    assert ann.run("() => lab.runs.ann.peer().state") == "lost"
    lab.unplug("ben", False)
    ann.until("() => !lab.runs.ann.peer().gap")
    assert ann.run("() => lab.runs.ann.peer().state") == "reconnecting"
    ann.run("() => lab.pretend('ann', undefined)")
    settled(ann, ben)


TAKE_A_SEAT = """
async ([who, room]) => {
  for (;;) {
    try {
      return await lab.enter(who, room, {media: false});
    } catch (error) {
      lab.runs[who].signal.bye();
      if (error.code !== 'room_full' || !(error.retry > 0)) throw error;
      await new Promise((resolve) => setTimeout(resolve, error.retry));
    }
  }
}
"""


def test_a_seat_that_was_given_away(ann: LabPage, ben: LabPage, lab: SignalLab) -> None:
    """Kind: places that the dead hold. Whoever was lost for too long comes back as a newcomer, in the same session."""
    with lab.with_settings(room_size=2, seat_hold=0.3):
        call(ann, ben)
        me = ben.run("() => lab.runs.ben.mesh.you.id")
        ben.expected = ("WebSocket connection to",)
        lab.unplug("ben")
        ann.until("() => lab.runs.ann.peer().gap")
        ann.run(TAKE_A_SEAT, ["cat", "blue"])
        ann.until("(id) => lab.runs.ann.mesh.peers.size === 1 && !lab.runs.ann.mesh.peers.has(id)", me)
        lab.unplug("ben", False)
        lab.wait(lambda: {each["code"] for each in lab.of("ben", "client", "error")} == {"room_full"}, "the refusal")
        assert lab.of("ben", "client", "hello_ok")[-1]["resumed"]
        ann.exit("cat")
        ann.until("(id) => lab.runs.ann.mesh.peers.has(id)", me)
        settled(ann, ben)


def test_leaving_before_one_is_in(ann: LabPage, lab: SignalLab) -> None:
    """What a call needs is loaded by `join()`; who leaves meanwhile never comes in."""
    found = ann.run(
        "async () => { const load = (name) => import(`/call-assets/${name}.js`);"
        " const [{Signal}, {Mesh}] = await Promise.all(['signal', 'mesh'].map(load));"
        " const signal = new Signal(`ws://${location.host}/v1/ws?who=ann`); const mesh = new Mesh(signal);"
        " await signal.open(); const joining = mesh.join('blue', {name: 'Ann'}).catch(({code}) => code);"
        " mesh.leave(); const found = [await joining, mesh.room]; signal.bye(); return found; }"
    )
    assert found == ["closed", None]
    assert not lab.of("ann", "server", "join")


def test_leaving(ann: LabPage, ben: LabPage, lab: SignalLab) -> None:
    """`leave()`: every connection ends at once, at both ends, and the session can join again."""
    call(ann, ben)
    ben.run("() => { lab.pc = lab.runs.ben.peer().pc; lab.runs.ben.mesh.leave(); }")
    assert ben.run("() => [lab.pc.connectionState, lab.runs.ben.mesh.peers.size, lab.runs.ben.mesh.room]") == [
        "closed",
        0,
        None,
    ]
    ann.until("() => lab.runs.ann.mesh.peers.size === 0")
    ben.run("() => lab.runs.ben.mesh.join('blue', {name: 'Ben'})")
    settled(ann, ben)
    assert ann.run("() => lab.runs.ann.peer().info.name") == "Ben"


def test_a_peer_that_disconnects_makes_the_mesh_probe_its_socket(ann: LabPage, ben: LabPage) -> None:
    """Kind: the network has changed under everything, and only the connection of media notices."""
    ann.enter("ann", "blue")
    ben.enter("ben", "blue")
    ann.connected("ann")
    asked = ann.run(
        "() => { const {mesh} = lab.runs.ann; const [peer] = mesh.peers.values(); let probes = 0;"
        " mesh.signal.probe = () => { probes += 1; };"
        " Object.defineProperty(peer, 'state', {value: 'reconnecting', configurable: true});"
        " peer.dispatchEvent(new CustomEvent('state', {detail: {}})); delete peer.state;"
        " peer.dispatchEvent(new CustomEvent('doubt', {detail: {}})); return probes; }"
    )
    assert asked == 2
