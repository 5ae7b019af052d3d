"""The page's `recovery.js` and `watch.js` in Chromium, with the clock turned by hand."""

import pytest

from tests.support.signal_lab import LabPage

RECOVERY = """async () => {
  const {Recovery} = await import('/call-assets/recovery.js');
  const lab = {timers: new Map(), last: 0, did: [], bytes: 0, ready: true, polite: false};
  Object.assign(lab, {pair: 'old', pairBytes: 0, broken: false});
  lab.recovery = new Recovery({
    act: {
      restart: (why) => lab.did.push(`restart ${why}`),
      rebuild: () => { lab.did.push('rebuild'); lab.recovery.begun(); },
      giveUp: () => lab.did.push('give up'),
      settled: () => lab.did.push('settled'),
    },
    flow: async () => ({bytes: lab.bytes, pair: lab.pair, pairBytes: lab.pairBytes}),
    ready: () => lab.ready, polite: () => lab.polite, broken: () => lab.broken,
    setTimeout: (call, delay) => { lab.timers.set(lab.last += 1, {call, delay}); return lab.last; },
    clearTimeout: (timer) => lab.timers.delete(timer),
  });
  lab.delays = () => [...lab.timers.values()].map(({delay}) => delay);
  lab.fire = async () => {
    const [[name, {call}]] = lab.timers;
    lab.timers.delete(name);
    await call();
    await new Promise((resolve) => setTimeout(resolve, 0));
  };
  lab.rest = () => new Promise((resolve) => setTimeout(resolve, 0));
  return await (SCRIPT)(lab);
}"""

STEPS = {
    "disconnected without bytes": (
        """async (lab) => {
          lab.recovery.begun(); lab.recovery.changed('connected'); lab.recovery.changed('disconnected');
          await lab.rest();
          const delays = lab.delays();
          await lab.fire();
          return [delays, lab.did, lab.delays()];
        }""",
        [[2000], ["restart disconnected"], []],
    ),
    "disconnected with bytes": (
        """async (lab) => {
          lab.recovery.begun(); lab.recovery.changed('connected'); lab.recovery.changed('disconnected');
          await lab.rest();
          lab.bytes = 100;
          await lab.fire();
          const did = [...lab.did];
          lab.recovery.changed('connected');
          return [did, lab.delays()];
        }""",
        [[], []],
    ),
    "connected, but suspected, without bytes": (
        """async (lab) => {
          lab.recovery.begun(); lab.recovery.changed('connected'); lab.recovery.suspect();
          await lab.rest();
          await lab.fire();
          return [lab.did, lab.timers.size];
        }""",
        [["restart disconnected"], 0],
    ),
    "connected, but suspected, with bytes": (
        """async (lab) => {
          lab.recovery.begun(); lab.recovery.changed('connected'); lab.recovery.suspect();
          await lab.rest();
          lab.bytes = 100;
          await lab.fire();
          return [lab.did, lab.timers.size];
        }""",
        [[], 0],
    ),
    "failed": (
        """async (lab) => {
          lab.recovery.begun();
          const delays = [lab.delays()];
          lab.recovery.changed('connecting'); lab.recovery.changed('failed');
          for (let round = 0; round < 4; round += 1) { delays.push(lab.delays()); await lab.fire(); }
          return [lab.did, delays, lab.timers.size];
        }""",
        [
            ["restart failed", "rebuild", "rebuild", "rebuild", "give up"],
            [[20000], [10000], [10000], [10000], [10000]],
            0,
        ],
    ),
    "the polite end waits longer": (
        """async (lab) => {
          lab.polite = true;
          lab.recovery.begun(); lab.recovery.changed('failed');
          return lab.delays();
        }""",
        [13000],
    ),
    "the other end is away": (
        """async (lab) => {
          lab.recovery.begun(); lab.recovery.changed('failed');
          lab.ready = false;
          await lab.fire();
          const [did, delays] = [[...lab.did], lab.delays()];
          lab.ready = true;
          await lab.fire();
          return [did, delays, lab.did];
        }""",
        [["restart failed"], [2000], ["restart failed", "rebuild"]],
    ),
    "failed for good": (
        """async (lab) => {
          lab.broken = true;
          lab.recovery.begun(); lab.recovery.changed('connected'); lab.recovery.changed('failed');
          const delays = lab.delays();
          await lab.fire();
          return [delays, lab.did];
        }""",
        [[0], ["rebuild"]],
    ),
    "a restart with a pair": (
        """async (lab) => {
          lab.recovery.begun(); lab.recovery.changed('connected'); lab.recovery.restarted();
          const delays = lab.delays();
          lab.pair = 'current';
          await lab.fire();
          return [delays, lab.did, lab.timers.size];
        }""",
        [[1500], ["settled"], 0],
    ),
    "a restart without a pair": (
        """async (lab) => {
          lab.recovery.begun(); lab.recovery.changed('connected'); lab.recovery.restarted();
          const delays = [lab.delays()];
          await lab.fire();
          delays.push(lab.delays());
          await lab.fire();
          return [delays, lab.did];
        }""",
        [[[1500], [3500]], ["rebuild"]],
    ),
    "a restart without a pair, while the old one serves": (
        """async (lab) => {
          lab.recovery.begun(); lab.recovery.changed('connected'); lab.recovery.restarted();
          for (lab.bytes = 1; lab.bytes < 5; lab.bytes += 1) await lab.fire();
          const did = [...lab.did];
          lab.bytes -= 1;
          await lab.fire();
          return [did, lab.did];
        }""",
        [[], ["rebuild"]],
    ),
    "a restart whose pair ends at an address that is gone": (
        """async (lab) => {
          lab.pair = 'mixed';
          lab.recovery.begun(); lab.recovery.changed('connected'); lab.recovery.restarted();
          await lab.fire();
          const [did, delays] = [[...lab.did], lab.delays()];
          await lab.fire();
          return [did, delays, lab.did];
        }""",
        [[], [1000], ["rebuild"]],
    ),
    "a restart whose pair ends at an address of before, and serves": (
        """async (lab) => {
          lab.pair = 'mixed';
          lab.recovery.begun(); lab.recovery.changed('connected'); lab.recovery.restarted();
          await lab.fire();
          for (lab.bytes = lab.pairBytes = 1; lab.bytes < 4; lab.bytes += 1) await lab.fire();
          lab.pair = 'current';
          await lab.fire();
          return [lab.did, lab.timers.size];
        }""",
        [["settled"], 0],
    ),
    "two restarts in a row": (
        """async (lab) => {
          lab.recovery.begun(); lab.recovery.changed('connected'); lab.recovery.restarted();
          await lab.fire();
          lab.recovery.restarted();
          lab.pair = 'current';
          await lab.fire();
          return [lab.did, lab.timers.size];
        }""",
        [["settled"], 0],
    ),
    "connected again": (
        """async (lab) => {
          lab.recovery.begun(); lab.recovery.changed('failed'); await lab.fire();
          lab.recovery.changed('connected');
          return [lab.recovery.rebuilds, lab.timers.size];
        }""",
        [0, 0],
    ),
    "rebuilt by the other end": (
        """async (lab) => {
          for (let round = 0; round < 5; round += 1) lab.recovery.begun(true);
          await lab.fire();
          return lab.did;
        }""",
        ["give up"],
    ),
}


@pytest.mark.parametrize("what", STEPS)
def test_steps_of_the_recovery(what: str, ann: LabPage) -> None:
    """Policy: disconnected 2 s without bytes → restart; failed → restart, 10 s → rebuild, three of them → give up."""
    script, expected = STEPS[what]
    assert ann.run(RECOVERY.replace("SCRIPT", script)) == expected


WATCH = """async () => {
  const {Watch} = await import('/call-assets/watch.js');
  const lab = {timers: new Map(), last: 0, told: [], bytes: 0, probes: 0, doubts: 0, ready: true};
  lab.needed = true;
  lab.watch = new Watch({
    flow: async () => ({bytes: lab.bytes}), ready: () => lab.ready, told: (...what) => lab.told.push(what),
    probe: () => { lab.probes += 1; return lab.needed; }, doubt: () => { lab.doubts += 1; },
    timing: {look: 2500, doubts: 2, misses: 3},
    setTimeout: (call, delay) => { lab.timers.set(lab.last += 1, call); lab.delay = delay; return lab.last; },
    clearTimeout: (timer) => lab.timers.delete(timer),
  });
  lab.rest = () => new Promise((resolve) => setTimeout(resolve, 0));
  lab.look = async (times) => {
    for (let done = 0; done < times; done += 1) {
      const [[name, call]] = lab.timers;
      lab.timers.delete(name);
      await call();
    }
  };
  lab.watch.on = true;
  await lab.rest();
  return await (SCRIPT)(lab);
}"""

LOOKS = {
    "silence": (
        """async (lab) => {
          const found = [];
          for (let look = 0; look < 3; look += 1) {
            await lab.look(1);
            found.push([lab.probes, lab.doubts, lab.watch.doubtful, lab.watch.silent]);
          }
          lab.bytes = 1;
          await lab.look(1);
          return [...found, lab.delay, lab.watch.doubtful, lab.watch.silent, lab.told];
        }""",
        [
            [1, 0, False, False],
            [2, 1, True, False],
            [3, 1, True, True],
            *[2500, False, False],
            [[True, False], [False, False]],
        ],
    ),
    "an answer to what is asked": (
        """async (lab) => {
          for (let round = 0; round < 10; round += 1) { await lab.look(1); lab.bytes += 1; await lab.look(1); }
          return [lab.told, lab.probes, lab.doubts];
        }""",
        [[], 10, 0],
    ),
    "a remedy that does not help": (
        """async (lab) => {
          const found = [];
          for (let look = 1; look <= 60; look += 1) {
            await lab.look(1);
            if (lab.told.length) found.push([look, ...lab.told.splice(0)]);
          }
          return found;
        }""",
        [[3, [True, False]], [9, [True, True]], [21, [True, True]], [45, [True, True]]],
    ),
    "well for a while, and silence anew": (
        """async (lab) => {
          await lab.look(3);
          for (lab.bytes = 1; lab.bytes < 6; lab.bytes += 1) await lab.look(1);
          lab.bytes -= 1;
          lab.told = [];
          await lab.look(3);
          return lab.told;
        }""",
        [[True, False]],
    ),
    "nothing need come": ("async (lab) => { lab.needed = false; await lab.look(20); return lab.told; }", []),
    "nothing can be done": (
        "async (lab) => { lab.ready = false; await lab.look(20); return [lab.told, lab.probes]; }",
        [[], 0],
    ),
    "not connected": (
        "async (lab) => { await lab.look(3); lab.watch.on = false; return [lab.watch.silent, lab.timers.size]; }",
        [False, 0],
    ),
}


@pytest.mark.parametrize("what", LOOKS)
def test_looks_of_the_watch(what: str, ann: LabPage) -> None:
    """Kind: the browser says `connected`, and nothing comes. Three looks, two of which have asked for something."""
    script, expected = LOOKS[what]
    assert ann.run(WATCH.replace("SCRIPT", script)) == expected
