"""The page's `uplink.js` in Chromium, with links and time that are only numbers: estimate, division, trials, faults."""

from itertools import pairwise
from typing import Any

import pytest

from tests.support.signal_lab import LabPage

CALL = """async ([{seconds, link, count, trip, estimates, strangers, silent, slower, late}]) => {
  const {Estimate, Mode, divide, wish} = await import('/call-assets/uplink.js');
  const quality = {height: 360, maxBitrate: 400_000, screenBitrate: 1_000_000};
  const at = (list, now) => list.filter(([from]) => from <= now).at(-1)[1];
  const estimate = new Estimate();
  const mode = new Mode();
  const ids = Array.from({length: count}, (_, index) => `p${index}`);
  const none = {pair: 'c', sent: 0, packets: 0, expected: 0, lost: 0, trips: 0, travelled: 0, available: null};
  const sums = new Map(ids.map((id) => [id, {...none}]));
  let limits = null; let queue = 0;
  const seen = {queue: [], mode: [], sent: [], video: [], capacity: []};
  const state = (budget, name, trial) => divide({
    budget, mode: name, trial, screen: false, quality,
    peers: ids.map((id) => ({id, width: null, paused: false, packetTime: limits?.get(id).packetTime ?? 0})),
  });
  for (let now = 0; now < seconds; now += 1) {
    const carries = at(link, now);
    const wire = ids.map((id) => {
      const {audio = {}, video = {}, packetTime = 0} = limits?.get(id) ?? {};
      const speech = (audio.maxBitrate ?? 32_000) + 464 * 1000 / (packetTime || 20);
      const picture = silent || video.active === false ? 0 : Math.min(video.maxBitrate ?? 400_000, 400_000) / 0.88;
      return Math.round(speech + picture);
    });
    const all = wire.reduce((one, other) => one + other);
    const before = queue;
    queue = Math.max(0, queue + (all - carries) / carries);
    const lost = Math.max(0, queue - 0.6) * carries / all;
    queue = Math.min(0.6, queue);
    ids.forEach((id, index) => {
      const sum = sums.get(id);
      const packets = Math.round(wire[index] / 4000);
      const delay = (at(slower ?? [[0, 0]], now)) + (strangers?.[index] ?? 0) * (now > 5);
      sum.sent += wire[index] / 8 - packets * 28;
      sum.packets += packets;
      sum.expected += packets;
      sum.lost += Math.round(packets * lost);
      sum.trips += 1;
      sum.travelled += trip + (before + queue) / 2 + delay;
      sum.available = !estimates ? null : queue > 0.05 ? 0.88 * wire[index] * Math.min(1, carries / all) : 1_000_000;
    });
    const counted = new Map([...sums].map(([id, sum]) => [id, {...sum}]));
    if (late && at(late, now)) estimate.skip(now * 1000, counted);
    else {
      estimate.step(now * 1000, counted, wish(state(Infinity, 'good', 0), quality));
      mode.step(now * 1000, estimate, count);
    }
    limits = state(estimate.budget, mode.name, mode.trial);
    seen.queue.push(queue);
    seen.mode.push(mode.name);
    seen.sent.push(all);
    seen.video.push([...limits.values()].filter(({video}) => video.active).length);
    seen.capacity.push(Number.isFinite(estimate.capacity) ? estimate.capacity : null);
  }
  return seen;
}"""

LINKS: dict[str, dict[str, Any]] = {
    "wide": {"link": [[0, 20e6]], "mode": "good", "pictures": 3, "limited": False},
    "300 kbit/s": {"link": [[0, 300e3]], "mode": "slow", "pictures": 3, "limited": True},
    "300 kbit/s, without the browser's estimates": {
        "link": [[0, 300e3]],
        "estimates": False,
        "mode": "slow",
        "pictures": 3,
        "limited": True,
    },
    "900 kbit/s": {"link": [[0, 900e3]], "mode": "good", "pictures": 3, "limited": True},
    "100 kbit/s": {"link": [[0, 100e3]], "mode": "sound", "pictures": 0, "limited": True},
    "100 kbit/s after a while": {"link": [[0, 20e6], [20, 100e3]], "mode": "sound", "pictures": 0, "limited": True},
    "two people at 120 kbit/s": {"link": [[0, 120e3]], "count": 1, "mode": "slow", "pictures": 1, "limited": True},
    "two people at 60 kbit/s": {"link": [[0, 60e3]], "count": 1, "mode": "sound", "pictures": 0, "limited": True},
    "wide again": {"link": [[0, 100e3], [60, 20e6]], "seconds": 260, "mode": "good", "pictures": 3, "limited": False},
    "a slow uplink of somebody else's": {
        "link": [[0, 20e6]],
        "strangers": [0.5, 0, 0],
        "mode": "good",
        "pictures": 3,
        "limited": False,
    },
    "a way that has become longer": {
        "link": [[0, 20e6]],
        "slower": [[0, 0], [20, 0.3]],
        "seconds": 200,
        "mode": "good",
        "pictures": 3,
        "limited": False,
    },
    "a machine that is too busy": {
        "link": [[0, 20e6]],
        "slower": [[0, 0], [20, 2], [50, 0]],
        "late": [[0, False], [20, True], [50, False]],
        "estimates": False,
        "mode": "good",
        "pictures": 3,
        "limited": False,
    },
    "nothing to send": {"link": [[0, 20e6]], "silent": True, "mode": "good", "pictures": 3, "limited": False},
}


@pytest.mark.parametrize("name", LINKS)
def test_a_call_over_a_link(name: str, ann: LabPage) -> None:
    """Where the link is slow, its queue is empty nine seconds in ten; where it is not, nothing is limited."""
    case = {"seconds": 120, "count": 3, "trip": 0.03, "estimates": True} | LINKS[name]
    seen = ann.run(CALL, [case])
    assert set(seen["mode"][-40:]) == {case["mode"]}, seen
    assert sorted(seen["video"][-40:])[20] == case["pictures"], seen
    assert (seen["capacity"][-1] is not None) == case["limited"], seen
    last = sorted(seen["queue"][-90:])
    assert last[80] <= 0.2, seen
    if case["limited"]:
        carried = case["link"][-1][1]
        assert sum(seen["sent"][-60:]) / 60 > 0.5 * carried, "the link is used"


def test_pictures_are_tried_ever_more_rarely(ann: LabPage) -> None:
    """At 100 kbit/s each trial fails: they come after 20, 40, 80, … seconds, and the mode never changes."""
    case = {"seconds": 400, "count": 3, "trip": 0.03, "estimates": True, "link": [[0, 100e3]]}
    seen = ann.run(CALL, [case])
    begun = [now for now in range(30, 400) if seen["video"][now] > 0 and seen["video"][now - 1] == 0]
    assert 2 <= len(begun) <= 7, begun
    gaps = [later - earlier for earlier, later in pairwise(begun)]
    assert gaps == sorted(gaps), begun
    assert set(seen["mode"][30:]) == {"sound"}


DIVIDE = """async ([state]) => {
  const {divide} = await import('/call-assets/uplink.js');
  const quality = {height: 360, maxBitrate: 400_000, screenBitrate: 1_000_000};
  const peers = state.peers.map((peer) => ({width: null, paused: false, packetTime: 0, ...peer}));
  const budget = state.budget ?? Infinity;
  return Object.fromEntries(divide({mode: 'good', screen: false, quality, ...state, peers, budget}));
}"""


def divided(ann: LabPage, **state: Any) -> dict[str, Any]:
    found = ann.run(DIVIDE, [state])
    assert isinstance(found, dict)
    return found


def test_a_budget_is_divided_by_the_size_at_which_a_picture_is_shown(ann: LabPage) -> None:
    """Who shows it larger gets more; who does not show it gets none; what one does not need is the others'."""
    peers = [{"id": "large", "width": 1280}, {"id": "small", "width": 320}, {"id": "none", "width": 0}]
    found = divided(ann, budget=600_000, peers=peers)
    assert found["none"]["video"] == {"active": False}
    assert found["large"]["video"]["maxBitrate"] > 2 * found["small"]["video"]["maxBitrate"] > 0
    assert found["small"]["video"]["height"] == 180
    everything = divided(ann, peers=peers)
    assert (everything["large"]["by"], everything["small"]["by"]) == ("room", "size")
    assert everything["large"]["video"]["maxBitrate"] == 400_000
    assert everything["large"]["audio"] == {}


def test_pictures_become_larger_one_after_the_other(ann: LabPage) -> None:
    """Each change of size begins with a whole picture: one at a time becomes larger, well above where it would fit."""
    small = {"video": {"active": True}, "shape": 0}
    peers = [{"id": each, "before": small} for each in "abc"]

    def heights(budget: int, peers: list[dict[str, Any]]) -> list[int]:
        found = divided(ann, budget=budget, mode="slow", peers=peers)
        return sorted(each["video"]["height"] for each in found.values())

    assert heights(340_000, peers) == [180, 180, 180]
    assert heights(480_000, peers) == [180, 180, 240]
    large = [{**each, "before": {**small, "shape": 1}} for each in peers]
    assert heights(340_000, large) == [240, 240, 240]
    assert heights(240_000, large) == [180, 180, 180]


def test_pictures_begin_again_one_after_the_other(ann: LabPage) -> None:
    """After a queue has been emptied three whole pictures at once would fill it again."""
    none = {"video": {"active": False}}
    peers = [{"id": each, "before": none} for each in "abc"]
    found = divided(ann, budget=400_000, mode="slow", peers=peers)
    assert sorted(each["video"]["active"] for each in found.values()) == [False, False, True]
    assert all(each["video"]["active"] for each in divided(ann, peers=peers).values()), "where nothing is limited"


def test_sound_comes_first_then_the_screen(ann: LabPage) -> None:
    """A shared screen takes what speech leaves; cameras stop before it does, and speech never."""
    peers = [{"id": "a"}, {"id": "b"}, {"id": "c"}]
    shared = divided(ann, budget=500_000, mode="slow", screen=True, peers=peers)
    for each in shared.values():
        assert each["audio"]["maxBitrate"] == 20_000
        assert each["screen"]["maxBitrate"] > 50_000
        assert each["screen"]["maxBitrate"] > each["video"].get("maxBitrate", 0)
    least = divided(ann, budget=1, mode="sound", screen=True, peers=peers)
    for each in least.values():
        assert each["audio"]["maxBitrate"] == 8000
        assert each["packetTime"] == 60
        assert each["video"] == each["screen"] == {"active": False}


@pytest.mark.parametrize(
    "said",
    [None, 5, "x", [], {"show": 5}, {"show": {"me": "wide"}}, {"show": {"me": None}}, {"show": {"me": {}}}],
)
def test_a_size_that_is_none(said: Any, ann: LabPage) -> None:
    """What others say is taken for a size only if it is one."""
    script = "async ([meta]) => (await import('/call-assets/uplink.js')).shownWidth(meta, 'me')"
    assert ann.run(script, [said]) is None


def test_sizes(ann: LabPage) -> None:
    """Widths come in classes, so that a window that is dragged says little; absurd ones have bounds."""
    script = """async () => {
      const {shownWidth, widthClass} = await import('/call-assets/uplink.js');
      const said = [-1, 0, 320, 1e9].map((me) => shownWidth({show: {me}}, 'me'));
      return [[0, -5, NaN, 1, 160, 170, 300, 700, 9000].map(widthClass), said];
    }"""
    assert ann.run(script) == [[0, 0, 0, 160, 160, 160, 320, 640, 1920], [0, 0, 320, 1920]]


NONE: dict[str, Any] = {}
FAULTS: dict[str, tuple[str, list[str], dict[str, Any], int, dict[str, Any]]] = {
    "nobody's": ("good", [], {"b": NONE, "c": NONE}, 0, {}),
    "our uplink": ("slow", [], {"b": NONE, "c": NONE}, 2, {}),
    "our uplink, sound only": ("sound", [], {"b": NONE, "c": NONE}, 1, {}),
    "they say so": ("good", [], {"b": {"up": "slow"}, "c": NONE}, 0, {"b": [2, "theirs", False]}),
    "they say that there is only sound": ("good", ["b"], {"b": {"up": "sound"}}, 0, {"b": [1, "theirs", True]}),
    "all arrive badly": ("good", ["b", "c"], {"b": NONE, "c": NONE}, 2, {}),
    "all find us bad": ("good", [], {"b": {"bad": ["me"]}, "c": {"bad": ["me"]}}, 2, {}),
    "others find that one bad, too": ("good", ["b"], {"b": NONE, "c": {"bad": ["b"]}}, 0, {"b": [2, "theirs", False]}),
    "only here, only that one": ("good", ["b"], {"b": NONE, "c": NONE}, 0, {"b": [2, "between", False]}),
    "two people, and nobody knows": ("good", ["b"], {"b": NONE}, 0, {"b": [2, "between", False]}),
    "nonsense": ("good", [], {"b": 5, "c": {"up": ["sound"], "bad": "me"}}, 0, {}),
}


@pytest.mark.parametrize("what", FAULTS)
def test_whose_fault_it_is(what: str, ann: LabPage) -> None:
    """From what both ends see; where that does not tell, nobody is blamed."""
    mode, bad, links, ours, theirs = FAULTS[what]
    script = """async ([mode, bad, links]) => {
      const {blame} = await import('/call-assets/uplink.js');
      const found = blame('me', mode, bad, Object.entries(links).map(([id, link]) => ({id, link})));
      const marks = [...found.peers].map(([id, {bars, whose, sound}]) => [id, [bars, whose, sound]]);
      return [found.you, Object.fromEntries(marks)];
    }"""
    assert ann.run(script, [mode, bad, links]) == [ours, theirs]


def test_what_arrives_badly_for_a_moment_is_not_told(ann: LabPage) -> None:
    """Three times in a row, then until it has been well for a while."""
    script = """async ([losses]) => {
      const {Arrivals} = await import('/call-assets/uplink.js');
      const arrivals = new Arrivals();
      return losses.map((loss) => arrivals.step(new Map([['b', {loss, rtt: 20}]])).length);
    }"""
    losses = [0, 20, 0, 20, 20, 20, 0, 20, *([0] * 7)]
    assert ann.run(script, [losses]) == [0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0]
