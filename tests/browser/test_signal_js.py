"""The page's `signal.js` in headless Chromium against the real rooms, over a wire that is cut where it hurts."""

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.netns import NetworkNamespace
from tests.support.signal_lab import LabPage, SignalLab, lab_page

if TYPE_CHECKING:
    from playwright.sync_api import Browser


UNREACHABLE = ("WebSocket connection to",)
"""What Chromium itself writes to the console when a socket cannot be opened."""


SAY = "([who, from, to]) => { for (let i = from; i <= to; i += 1) lab.runs[who].mesh.message({who, i}); }"
HEARD = "(who) => lab.runs[who].heard"
HEARD_ALL = "([who, count]) => lab.runs[who].heard.length >= count"


def said(who: str, first: int, last: int) -> list[dict[str, Any]]:
    return [{"who": who, "i": number} for number in range(first, last + 1)]


def talk(speaker: LabPage, who: str, first: int, last: int) -> None:
    speaker.run(SAY, [who, first, last])


def heard(listener: LabPage, who: str, count: int) -> list[dict[str, Any]]:
    listener.until(HEARD_ALL, [who, count])
    return list(listener.run(HEARD, who))


def call_with_cuts(ann: LabPage, ben: LabPage, lab: SignalLab, room: str, *at: int) -> tuple[int, int]:
    """A call in which Ben's socket is lost at these frames; gives how many frames crossed, and sockets lost."""
    lab.cut("ben", *at)
    ann.enter("ann", room)
    ben.enter("ben", room)
    talk(ann, "ann", 1, 3)
    talk(ben, "ben", 1, 3)
    ann.connected("ann")
    ben.connected("ben")
    talk(ann, "ann", 4, 5)
    talk(ben, "ben", 4, 5)
    assert heard(ben, "ben", 5) == said("ann", 1, 5)
    assert heard(ann, "ann", 5) == said("ben", 1, 5)
    for page, who in ((ann, "ann"), (ben, "ben")):
        page.until("(who) => lab.runs[who].peer().pc.signalingState === 'stable'", who)
        facts = page.run(
            "(who) => { const {connections, gone, mesh} = lab.runs[who];"
            " return {connections, gone, peers: mesh.peers.size, rebuilds: lab.runs[who].peer().rebuilds}; }",
            who,
        )
        assert facts == {"connections": 1, "gone": [], "peers": 1, "rebuilds": 0}
    assert not lab.of("ann", "server", "reset")
    assert not lab.of("ben", "server", "reset")
    crossed, cuts = lab.crossed("ben"), lab.cuts("ben")
    ann.exit("ann")
    ben.exit("ben")
    return crossed, cuts


def test_the_socket_lost_at_every_frame_of_a_join(ann: LabPage, ben: LabPage, lab: SignalLab) -> None:
    """Resume: whichever frame of join and negotiation is lost with its socket, nothing is lost or heard twice."""
    crossed, _ = call_with_cuts(ann, ben, lab, "uncut")
    assert crossed > 15
    for number in range(1, 100):
        lab.forget()
        _, cuts = call_with_cuts(ann, ben, lab, f"cut-{number}", number)
        assert not lab.faults, lab.faults
        if cuts == 0:
            break
    assert 15 < number < 100, "every frame has been lost once"


def test_many_sockets_lost_in_one_call(ann: LabPage, ben: LabPage, lab: SignalLab) -> None:
    """Resume: a key whose `hello_ok` was lost may be used again, time after time."""
    _, cuts = call_with_cuts(ann, ben, lab, "often", 3, 6, 9, 14, 20, 27, 33)
    assert cuts == 7


WATCH_MEDIA = """(who) => {
  const peer = lab.runs[who].peer();
  lab.watched = {pc: peer.pc, states: []};
  for (const type of ['connectionstatechange', 'iceconnectionstatechange', 'signalingstatechange']) {
    peer.pc.addEventListener(type, () => lab.watched.states.push(peer.pc.connectionState));
  }
}"""
UNTOUCHED = "(who) => lab.watched.pc === lab.runs[who].peer().pc && lab.watched.states.length === 0"


def test_media_do_not_notice_a_lost_socket(ann: LabPage, ben: LabPage, lab: SignalLab) -> None:
    """A closed signaling socket never closes a connection: pictures go on, and the other end only hears of a gap."""
    ann.enter("ann", "blue")
    ben.enter("ben", "blue")
    ann.connected("ann")
    ben.connected("ben")
    ben.frames("ben")
    for page, who in ((ann, "ann"), (ben, "ben")):
        page.run(WATCH_MEDIA, who)
    lab.unplug("ben")
    ben.expected = UNREACHABLE
    ben.until("() => lab.runs.ben.signal.state === 'reconnecting'")
    ann.until("() => lab.runs.ann.peer().gap")
    talk(ann, "ann", 1, 3)
    talk(ben, "ben", 1, 3)
    ben.frames("ben", 10)
    ann.frames("ann", 10)
    assert ann.run("() => lab.runs.ann.peer().state") == "connected"
    lab.unplug("ben", False)
    assert heard(ben, "ben", 3) == said("ann", 1, 3)
    assert heard(ann, "ann", 3) == said("ben", 1, 3)
    ann.until("() => !lab.runs.ann.peer().gap")
    assert ann.run(UNTOUCHED, "ann")
    assert ben.run(UNTOUCHED, "ben")
    assert lab.of("ben", "client", "hello_ok")[-1]["resumed"]


def test_media_do_not_notice_lost_sessions(ann: LabPage, ben: LabPage, lab: SignalLab) -> None:
    """The server forgets everything: both ends join anew under new names, and keep the connection that they have."""
    before = [ann.enter("ann", "blue"), ben.enter("ben", "blue")]
    ann.connected("ann")
    ben.connected("ben")
    ben.frames("ben")
    for page, who in ((ann, "ann"), (ben, "ben")):
        page.run(WATCH_MEDIA, who)
    lab.lose_everything()
    for page, who, old in ((ann, "ann", before[1]), (ben, "ben", before[0])):
        page.until(
            "([who, old]) => { const {mesh} = lab.runs[who];"
            " return mesh.peers.size === 1 && !mesh.peers.has(old) && !lab.runs[who].peer().gap; }",
            [who, old],
        )
        assert page.run(UNTOUCHED, who)
        assert page.run("(who) => lab.runs[who].mesh.you.id", who) not in before
    talk(ann, "ann", 1, 3)
    assert heard(ben, "ben", 3) == said("ann", 1, 3)
    ben.run("() => lab.runs.ben.mesh.restart()")
    ben.until("() => lab.watched.states.length > 0 && lab.watched.pc.signalingState === 'stable'")
    ben.frames("ben", 10)
    assert ben.run("() => lab.watched.pc === lab.runs.ben.peer().pc")


def test_what_was_not_kept_is_replaced_by_a_snapshot(
    browser: "Browser", inside: NetworkNamespace, rooms: SignalLab
) -> None:
    """Overflow: after `sync` the client knows who is here, and its connections are as they were."""
    rooms.forget()
    with (
        rooms.with_settings(replay_messages=8),
        lab_page(browser, rooms) as ann,
        lab_page(browser, rooms) as ben,
    ):
        ann.enter("ann", "blue")
        ben.enter("ben", "blue")
        ann.connected("ann")
        ben.connected("ben")
        ben.run(WATCH_MEDIA, "ben")
        rooms.unplug("ben")
        ben.expected = UNREACHABLE
        ben.until("() => lab.runs.ben.signal.state === 'reconnecting'")
        talk(ann, "ann", 1, 12)
        ann.run("() => lab.runs.ann.mesh.rename('Anna')")
        ann.run("() => lab.runs.ann.signal.request('peek', {room: 'blue'})")
        rooms.unplug("ben", False)
        ben.until("() => lab.runs.ben.peer().info.name === 'Anna'")
        assert rooms.of("ben", "client", "sync")[0]["lost"]
        assert ben.run(UNTOUCHED, "ben")
        talk(ann, "ann", 13, 13)
        ben.until("() => lab.runs.ben.heard.at(-1)?.i === 13")
        got = ben.run(HEARD, "ben")
        assert got == said("ann", 14 - len(got), 13), "those that were kept, in order"
        assert len(got) <= 9


def test_a_second_socket_replaces_the_first(ann: LabPage, lab: SignalLab) -> None:
    """`online` makes a new socket at once; the old one's `goodbye` is not ours any more, and nobody hears of it."""
    ann.enter("ann", "blue", media=False)
    first = ann.run("() => lab.runs.ann.signal.sid")
    ann.run("() => dispatchEvent(new Event('online'))")
    ann.until("() => lab.runs.ann.states.join() === 'connecting,open,reconnecting,open'")
    assert ann.run("() => lab.runs.ann.signal.sid") == first
    assert ann.run("() => lab.runs.ann.gone") == []
    assert lab.of("ann", "client", "hello_ok")[-1]["resumed"]


@pytest.mark.parametrize("code", ["kicked", "room_closed"])
def test_sent_away(code: str, ann: LabPage, lab: SignalLab) -> None:
    """`reconnect: never`: the client hears why, lets go of the room, and does not come back."""
    peer = ann.enter("ann", "blue", media=False)
    ann.run(
        "() => { lab.ended = [];"
        " lab.runs.ann.mesh.addEventListener('ended', ({detail}) => lab.ended.push(detail.code)); }"
    )
    hub, now = lab.service.hub, lab.service._clock()
    lab.do(lambda: hub.kick("blue", peer, "", now) if code == "kicked" else hub.close_room("blue", now))
    ann.until("() => lab.runs.ann.signal.state === 'closed'")
    assert ann.run("() => [lab.runs.ann.gone, lab.ended, lab.runs.ann.mesh.room]") == [[code], [code], None]
    error = ann.run("() => lab.runs.ann.signal.request('peek', {room: 'blue'}).catch((error) => error.code)")
    assert error == "closed"


def test_a_taken_session_is_not_taken_back(ann: LabPage, ben: LabPage, lab: SignalLab) -> None:
    """`replaced`: two clients with one session do not drive each other out for ever."""
    ann.run(
        "() => { const store = new Map(); lab.store = {getItem: (k) => store.get(k) ?? null,"
        " setItem: (k, v) => store.set(k, v), removeItem: (k) => store.delete(k), store}; }"
    )
    ann.run("() => lab.enter('ann', 'blue', {media: false, options: {}, storage: null})")
    # A copy of the session, as only a page that is going away writes it down. Its bye is lost.
    copied = ann.run(
        "async () => { const {Signal} = await import('/call-assets/signal.js'); const {signal} = lab.runs.ann;"
        " const Mute = class extends WebSocket { send(text) { if (JSON.parse(text).t !== 'bye') super.send(text); } };"
        " const first = new Signal(signal.url, {storage: lab.store, random: () => 0, WebSocket: Mute});"
        " await first.open();"
        " lab.first = first; lab.ends = []; first.addEventListener('gone', ({detail}) => lab.ends.push(detail.code));"
        " dispatchEvent(new Event('pagehide')); const second = new Signal(signal.url, {storage: lab.store});"
        " lab.second = second; return [first.sid, (await second.open()).sid, second.recovered]; }"
    )
    assert copied[0] == copied[1]
    assert copied[2]
    ann.until("() => lab.ends.length === 1")
    assert ann.run("() => [lab.ends, lab.first.state, lab.second.state]") == [["replaced"], "closed", "open"]
    ann.run("() => lab.second.bye()")


def test_a_reload_resumes_and_a_copy_of_the_tab_does_not(ann: LabPage, ben: LabPage, lab: SignalLab) -> None:
    """The session is in the storage only while the page is away, so a duplicated tab finds nothing to take."""
    enter = "() => lab.enter('ann', 'blue', {storage: sessionStorage})"
    peer = ann.run(enter)
    ben.enter("ben", "blue")
    ann.connected("ann")
    ben.connected("ben")
    assert ann.run("() => sessionStorage.length") == 0
    old = ben.run("() => lab.runs.ben.peer().pcId")
    ann.open()
    assert ann.run("() => sessionStorage.length") == 1
    assert ann.run(enter) == peer
    assert ann.run("() => [lab.runs.ann.signal.recovered, sessionStorage.length]") == [True, 0]
    ann.connected("ann")
    ben.until("(old) => lab.runs.ben.peer().pcId !== old && lab.runs.ben.peer().state === 'connected'", old)
    ben.frames("ben", 10)
    ann.frames("ann", 10)
    assert [frame["why"] for frame in lab.of("ann", "server", "reset")] == ["reload"]
    assert not lab.of("ben", "server", "reset")


def test_a_reload_that_does_not_join_again_leaves_the_room(ann: LabPage, ben: LabPage, lab: SignalLab) -> None:
    """Nobody waits for a page that is back in its lobby."""
    ann.run("() => lab.enter('ann', 'blue', {storage: sessionStorage, media: false})")
    ben.enter("ben", "blue", media=False)
    ann.open()
    ann.run(
        "async () => { const {Signal} = await import('/call-assets/signal.js');"
        " const {Mesh} = await import('/call-assets/mesh.js');"
        " lab.signal = new Signal(`ws://${location.host}/v1/ws?who=ann`, {storage: sessionStorage});"
        " lab.mesh = new Mesh(lab.signal); await lab.signal.open(); }"
    )
    ben.until("() => lab.runs.ben.mesh.peers.size === 0")
    assert lab.of("ben", "client", "peer_leave")[0]["reason"] == "left"


def test_answers_that_are_lost(ann: LabPage, lab: SignalLab) -> None:
    """Requests: asked again after a resume when they are not counted; the answer replayed when they are."""
    ann.enter("ann", "blue", media=False)
    lab.cut_type("ann", "client", "room_info")
    info = ann.run("() => lab.runs.ann.signal.request('peek', {room: 'blue'})")
    assert (info["count"], lab.cuts("ann")) == (1, 1)
    lab.cut_type("ann", "client", "error")
    code = ann.run("() => lab.runs.ann.mesh.moderate('lock').catch((error) => error.code)")
    assert (code, lab.cuts("ann")) == ("forbidden", 2)
    lab.cut_type("ann", "server", "mod")
    code = ann.run("() => lab.runs.ann.mesh.moderate('unlock').catch((error) => error.code)")
    assert (code, lab.cuts("ann")) == ("forbidden", 3)


def test_too_many_messages_are_said_again(ann: LabPage, ben: LabPage, lab: SignalLab) -> None:
    """Rate limit: what the server had to drop comes when it may."""
    ann.enter("ann", "blue", media=False)
    ben.enter("ben", "blue", media=False)
    said = 0
    while "rate_limited" not in [frame["code"] for frame in lab.of("ann", "client", "error")]:  # a busy page is slow
        assert said < 1400
        talk(ann, "ann", said + 1, said + 140)
        said += 140
        got = heard(ben, "ben", said)
    assert sorted(each["i"] for each in got) == list(range(1, said + 1))


def test_the_server_says_goodbye_until_later(ann: LabPage, lab: SignalLab) -> None:
    """`draining`: the client is back after the time that it was given, with a fresh session if it must."""
    ann.enter("ann", "blue", media=False)
    before = ann.run("() => lab.runs.ann.mesh.you.id")
    ann.expected = UNREACHABLE

    def drain() -> None:
        lab.service.hub.drain(0.2, lab.service._clock())

    lab.do(drain)
    ann.until("() => lab.runs.ann.states.includes('reconnecting')")
    lab.lose_everything()
    ann.until("(before) => lab.runs.ann.mesh.room && lab.runs.ann.mesh.you.id !== before", before)
    assert ann.run("() => lab.runs.ann.gone") == []
    goodbyes = [frame["reconnect"] for frame in lab.of("ann", "client", "goodbye")]
    assert goodbyes[0] == "resume", "and if it comes back too early it is told to come later, and afresh"
    assert set(goodbyes[1:]) <= {"fresh"}


SCRIPTED = """async () => {
  const {Signal} = await import('/call-assets/signal.js');
  const lab = {sockets: [], delays: [], events: [], timers: new Map(), last: 0, clock: 0, world: new EventTarget()};
  class FakeSocket {
    constructor(url, protocols) {
      Object.assign(this, {url, protocols, readyState: 0, sent: []});
      lab.sockets.push(this);
    }
    send(text) { this.sent.push(JSON.parse(text)); }
    close(code) { this.readyState = 3; this.closedWith = code; }
    hear(frame) { this.onmessage?.({data: JSON.stringify(frame)}); }
    lose(code = 1006) { this.readyState = 3; this.onclose?.({code}); }
    greet(more = {}) {
      this.readyState = 1;
      const count = lab.sockets.length;
      this.hear({t: 'welcome', v: [1], limits: {}, hb: 15000, resume: 60000, cid: `c${count}`, now: 0});
      const hello = this.sent.at(-1);
      const you = {id: 'me', role: 'member', caps: []};
      this.hear({t: 'hello_ok', re: hello.id, v: 1, sid: 's', key: `k${count}`, cid: `c${count}`,
                 resumed: 'resume' in hello, n: 0, you, ...more});
      return hello;
    }
  }
  lab.fire = (delay) => {
    const found = [...lab.timers].filter(([, timer]) => timer.delay === delay);
    if (found.length !== 1) throw new Error(`${found.length} timers of ${delay}`);
    lab.timers.delete(found[0][0]);
    lab.clock += delay;
    found[0][1].call();
  };
  lab.signal = new Signal('ws://test/', {
    WebSocket: FakeSocket, random: () => 0.5, world: lab.world, now: () => lab.clock,
    setTimeout: (call, delay) => { lab.timers.set(lab.last += 1, {call, delay}); return lab.last; },
    clearTimeout: (timer) => lab.timers.delete(timer),
  });
  for (const type of ['gone', 'resumed', 'restarted', 'network']) {
    lab.signal.addEventListener(type, ({detail}) => lab.events.push([type, detail.code ?? null]));
  }
  lab.signal.addEventListener('state', ({detail}) => lab.delays.push(detail.reconnectIn ?? detail.state));
  lab.opened = lab.signal.open();
  lab.opened.catch(() => {});
  return await (SCRIPT)(lab);
}"""


def scripted(page: LabPage, script: str) -> Any:
    """Run a script with a `Signal` whose sockets, clock and network are all played by the script."""
    return page.run(SCRIPTED.replace("SCRIPT", script))


def test_back_off(ann: LabPage) -> None:
    """Reconnections: 0–500 ms, then 0.3, 1.2, 2.7, 4.8, 7, 7 s, ±50 %; from the start again after a good connection."""
    found = scripted(
        ann,
        """(lab) => {
          const last = () => lab.sockets.at(-1);
          last().greet();
          lab.clock += 6000;
          const waits = [];
          for (let round = 0; round < 7; round += 1) {
            last().lose();
            waits.push(lab.delays.at(-1));
            lab.fire(waits.at(-1));
          }
          last().greet();
          lab.clock += 6000;
          last().lose();
          return {waits, after: lab.delays.at(-1), sockets: lab.sockets.length};
        }""",
    )
    assert found == {"waits": [250, 300, 1200, 2700, 4800, 7000, 7000], "after": 250, "sockets": 8}


def test_at_once_when_the_network_is_back(ann: LabPage) -> None:
    """`online` does not wait for the back-off, and resumes with what was last given."""
    found = scripted(
        ann,
        """(lab) => {
          lab.sockets[0].greet();
          lab.sockets[0].hear({t: 'peer_back', id: 'x', seq: 4});
          lab.clock += 9000;
          lab.world.dispatchEvent(new Event('online'));
          lab.sockets[0].hear({t: 'goodbye', cid: 'c1', code: 'replaced', msg: '', reconnect: 'never'});
          const hello = lab.sockets[1].greet();
          const {length: sockets, 0: {closedWith: closed}} = lab.sockets;
          return {sockets, resume: hello.resume, events: lab.events, closed};
        }""",
    )
    assert found["sockets"] == 2
    assert found["resume"] == {"sid": "s", "key": "k1", "seq": 4}
    assert found["events"] == [["network", None], ["resumed", None]]
    assert found["closed"] == 1000


def test_a_socket_that_is_dead_without_knowing(ann: LabPage) -> None:
    """Heartbeat: a ping every 15 s; a socket that says nothing for 7.5 s after one is given up."""
    found = scripted(
        ann,
        """(lab) => {
          const [socket] = lab.sockets;
          socket.greet();
          const ping = socket.sent.at(-1);
          socket.hear({t: 'pong', ts: ping.ts, now: 0});
          lab.fire(15000);
          const second = socket.sent.at(-1).t;
          lab.fire(7500);
          return [ping.t, second, lab.signal.state, lab.delays.at(-1)];
        }""",
    )
    assert found == ["ping", "ping", "reconnecting", 250]


def test_a_socket_in_doubt_is_probed_once(ann: LabPage) -> None:
    """A peer that disconnects may mean that the own address has changed, which no event tells: 3 seconds, not 22."""
    found = scripted(
        ann,
        """(lab) => {
          const [socket] = lab.sockets;
          socket.greet();
          socket.hear({t: 'pong', ts: socket.sent.at(-1).ts, now: 0});
          const before = socket.sent.length;
          lab.signal.probe();
          lab.signal.probe();
          const asked = socket.sent.slice(before).map(({t}) => t);
          lab.fire(3000);
          return [asked, lab.signal.state];
        }""",
    )
    assert found == [["ping"], "reconnecting"]


def test_a_goodbye_for_another_socket(ann: LabPage) -> None:
    """`cid`: a goodbye that names another socket is not for this one."""
    found = scripted(
        ann,
        """(lab) => {
          const [socket] = lab.sockets;
          socket.greet();
          socket.hear({t: 'goodbye', cid: 'other', code: 'replaced', msg: '', reconnect: 'never'});
          const before = lab.signal.state;
          socket.hear({t: 'goodbye', cid: 'c1', code: 'replaced', msg: '', reconnect: 'never'});
          return [before, lab.signal.state, lab.events];
        }""",
    )
    assert found == ["open", "closed", [["gone", "replaced"]]]


@pytest.mark.parametrize(
    ("code", "reason"), [(4401, "bad_token"), (4403, "forbidden"), (4409, "replaced"), (4410, "kicked")]
)
def test_final_close_codes(code: int, reason: str, ann: LabPage) -> None:
    """Close codes after which there is no coming back, though the goodbye was lost."""
    found = scripted(
        ann,
        f"""(lab) => {{
          lab.sockets[0].greet();
          lab.sockets[0].lose({code});
          return [lab.events, lab.sockets.length, lab.timers.size];
        }}""",
    )
    assert found == [[["gone", reason]], 1, 0]


def test_what_is_sent_is_kept_until_it_has_arrived(ann: LabPage) -> None:
    """Counted messages: repeated after a resume, with their numbers, but for those that the server has."""
    found = scripted(
        ann,
        """(lab) => {
          const [first] = lab.sockets;
          first.greet();
          for (let i = 1; i <= 4; i += 1) lab.signal.send('msg', {data: i});
          const heard = [];
          lab.signal.addEventListener('msg', ({detail}) => heard.push(detail.seq));
          first.hear({t: 'msg', from: 'x', data: 0, seq: 1});
          first.hear({t: 'msg', from: 'x', data: 0, seq: 2});
          first.lose();
          lab.signal.send('msg', {data: 5});
          lab.fire(250);
          const [, second] = lab.sockets;
          const hello = second.greet({n: 2});
          second.hear({t: 'msg', from: 'x', data: 0, seq: 2});
          second.hear({t: 'msg', from: 'x', data: 0, seq: 3});
          const again = second.sent.filter(({t}) => t === 'msg').map(({n, data}) => [n, data]);
          const kept = lab.signal.unacknowledged;
          second.hear({t: 'pong', ts: second.sent.filter(({t}) => t === 'ping').at(-1).ts, now: 0});
          return {seq: hello.resume.seq, again, heard, kept, after: lab.signal.unacknowledged};
        }""",
    )
    assert found == {"seq": 2, "again": [[3, 3], [4, 4], [5, 5]], "heard": [1, 2, 3], "kept": 3, "after": 0}


def test_a_session_that_is_gone(ann: LabPage) -> None:
    """`session_gone`: a fresh hello on the same socket, numbers from the start, and what was counted is let go."""
    found = scripted(
        ann,
        """async (lab) => {
          lab.sockets[0].greet();
          const lost = lab.signal.request('mod', {op: 'lock'}).catch((error) => error.code);
          lab.sockets[0].lose();
          lab.fire(250);
          const [, socket] = lab.sockets;
          socket.readyState = 1;
          socket.hear({t: 'welcome', v: [1], limits: {}, hb: 15000, resume: 60000, cid: 'c2', now: 0});
          const resume = socket.sent.at(-1);
          socket.hear({t: 'error', re: resume.id, code: 'session_gone', msg: ''});
          const fresh = socket.sent.at(-1);
          const you = {id: 'new', role: 'member', caps: []};
          socket.hear({t: 'hello_ok', re: fresh.id, v: 1, sid: 's2', key: 'k', cid: 'c2', resumed: false, n: 0, you});
          lab.signal.send('msg', {data: 1});
          const {sid} = lab.signal;
          return {resumes: 'resume' in fresh, lost: await lost, n: socket.sent.at(-1).n, events: lab.events, sid};
        }""",
    )
    assert found == {"resumes": False, "lost": "session_gone", "n": 1, "events": [["restarted", None]], "sid": "s2"}


def test_a_token_that_is_refused(ann: LabPage) -> None:
    """`bad_token`: `open()` says so, and there is no second attempt."""
    found = scripted(
        ann,
        """async (lab) => {
          const [socket] = lab.sockets;
          socket.readyState = 1;
          socket.hear({t: 'welcome', v: [1], limits: {}, hb: 15000, resume: 60000, cid: 'c1', now: 0});
          socket.hear({t: 'error', re: socket.sent.at(-1).id, code: 'bad_token', msg: 'no'});
          return [await lab.opened.catch((error) => [error.name, error.code]), lab.events, lab.timers.size];
        }""",
    )
    assert found == [["SignalError", "bad_token"], [["gone", "bad_token"]], 0]


def test_more_than_can_be_kept(ann: LabPage) -> None:
    """Bound: 1000 messages are kept without a socket; with one more the session is given up, not left with a hole."""
    found = scripted(
        ann,
        """(lab) => {
          lab.sockets[0].greet();
          lab.sockets[0].lose();
          for (let i = 1; i <= 1000; i += 1) lab.signal.send('msg', {data: i});
          const kept = lab.signal.unacknowledged;
          lab.signal.send('msg', {data: 1001});
          lab.fire(250);
          return [kept, lab.signal.unacknowledged, 'resume' in lab.sockets[1].greet(), lab.events];
        }""",
    )
    assert found == [1000, 0, False, [["restarted", None]]]


def test_a_page_that_goes_says_so_and_another_client_may_take_over(ann: LabPage, lab: SignalLab) -> None:
    """`bye` with `keep`: the server waits for a reload, and not for a minute; without a storage nobody comes back."""
    ann.run("() => lab.enter('ann', 'blue', {media: false, options: {}, storage: null})")
    ann.run(
        "() => { lab.left = false; lab.runs.ann.signal.addEventListener('state', () => { lab.left = true; });"
        " dispatchEvent(new Event('pagehide')); }"
    )
    ann.until("() => lab.left")
    assert [frame["keep"] for frame in lab.of("ann", "server", "bye")] == [1]
