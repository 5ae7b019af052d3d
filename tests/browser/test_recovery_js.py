"""The page's `recovery.js` in Chromium, with the clock turned by hand."""

import pytest

from tests.support.signal_lab import LabPage

RECOVERY = """async () => {
  const {Recovery} = await import('/call-assets/recovery.js');
  const lab = {timers: new Map(), last: 0, did: [], bytes: 0, ready: true, polite: false};
  lab.recovery = new Recovery({
    act: {
      restart: (why) => lab.did.push(`restart ${why}`),
      rebuild: () => { lab.did.push('rebuild'); lab.recovery.begun(); },
      giveUp: () => lab.did.push('give up'),
    },
    bytes: async () => lab.bytes, ready: () => lab.ready, polite: () => lab.polite,
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
