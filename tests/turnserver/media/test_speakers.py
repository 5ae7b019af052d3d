"""Who speaks, from levels of sound: speech, clicks, breaths, silence, and two at a time."""

from collections.abc import Mapping
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnserver.media.speakers import CHANGE_INTERVAL, Speakers

PACKET = 0.02
SPEECH, NOISE, SILENCE = 30, 70, 127


class Conversation:
    """A room in which each sends a packet every 20 ms, and ``due`` is asked ten times in a second."""

    def __init__(self) -> None:
        self.speakers = Speakers()
        self.now = 100.0
        self.changes: list[tuple[float, str | None]] = []
        self._packets = 0

    def go_on(self, seconds: float, levels: Mapping[str, int | None]) -> str | None:
        """For so long these levels; None: no packets (DTX). The speaker in the end."""
        for _ in range(round(seconds / PACKET)):
            self.now += PACKET
            for peer, level in levels.items():
                if level is not None:
                    self.speakers.heard(peer, level, self.now)
            self._packets += 1
            if self._packets % 5 == 0 and self.speakers.due(self.now):
                self.changes.append((self.now, self.speakers.speaker))
        return self.speakers.speaker


@pytest.mark.parametrize("level", [5, SPEECH, 45])
def test_whoever_speaks_is_the_speaker_within_half_a_second(level: int) -> None:
    talk = Conversation()
    assert talk.go_on(2, {"ann": NOISE, "bob": SILENCE, "eve": None}) is None
    assert talk.go_on(0.5, {"ann": NOISE, "bob": level, "eve": None}) == "bob"


def test_a_click_is_no_speech() -> None:
    talk = Conversation()
    talk.go_on(2, {"ann": SPEECH, "bob": NOISE})
    for _ in range(10):
        talk.go_on(0.04, {"ann": SPEECH, "bob": 3})
        talk.go_on(0.4, {"ann": SPEECH, "bob": NOISE})
    assert [peer for _, peer in talk.changes] == ["ann"]


def test_a_click_in_silence_is_no_speech() -> None:
    talk = Conversation()
    talk.go_on(2, {"ann": NOISE})
    talk.go_on(0.02, {"ann": 10})
    assert talk.go_on(2, {"ann": NOISE}) is None


@pytest.mark.parametrize("pause", [SILENCE, NOISE, None])
def test_a_breath_is_no_end_and_silence_neither(pause: int | None) -> None:
    """Silence may be packets that say so, or none. While all are silent, whoever spoke last remains."""
    talk = Conversation()
    for _ in range(4):
        talk.go_on(1.5, {"ann": SPEECH, "bob": 52})
        talk.go_on(0.4, {"ann": pause, "bob": 52})
    assert talk.go_on(30, {"ann": pause, "bob": pause}) == "ann"
    assert [peer for _, peer in talk.changes] == ["ann"]


@pytest.mark.parametrize("pause", [SILENCE, None])
def test_whoever_answers_is_the_speaker_within_a_second(pause: int | None) -> None:
    """Somebody as loud as the speaker takes over when that is silent."""
    talk = Conversation()
    talk.go_on(5, {"ann": SPEECH, "bob": pause})
    assert talk.go_on(1.0, {"ann": pause, "bob": SPEECH}) == "bob"
    assert talk.go_on(1.2, {"ann": SPEECH, "bob": pause}) == "ann"


def test_two_at_a_time_do_not_change_places_unless_one_is_clearly_louder() -> None:
    talk = Conversation()
    talk.go_on(2, {"ann": SPEECH})
    assert talk.go_on(10, {"ann": SPEECH, "bob": SPEECH - 4}) == "ann"
    assert talk.go_on(2, {"ann": SPEECH, "bob": SPEECH - 12}) == "bob"
    assert len(talk.changes) == 2


def test_somebody_who_leaves_is_not_the_speaker() -> None:
    talk = Conversation()
    talk.go_on(2, {"ann": SPEECH, "bob": SPEECH})
    assert talk.speakers.speaker == "ann"
    talk.speakers.gone("ann", talk.now)
    assert talk.speakers.speaker is None
    assert not talk.speakers.due(talk.now), "that was a change"
    assert talk.go_on(CHANGE_INTERVAL + 0.1, {"bob": SPEECH}) == "bob"
    talk.speakers.gone("ann", talk.now)
    assert talk.speakers.speaker == "bob"


def test_time_that_stands_still_or_goes_back_changes_nothing() -> None:
    speakers = Speakers()
    for now in (5.0, 5.0, 4.0, 5.0):
        speakers.heard("ann", 0, now)
        assert not speakers.due(now)


@given(
    st.lists(
        st.dictionaries(st.sampled_from("abcd"), st.one_of(st.none(), st.integers(0, 127)), min_size=1), max_size=80
    )
)
def test_there_is_one_change_a_second_at_most_and_to_somebody_who_is_heard(
    turns: list[dict[str, int | None]],
) -> None:
    talk = Conversation()
    for levels in turns:
        talk.go_on(0.16, levels)
    times = [when for when, _ in talk.changes]
    assert all(later - earlier >= CHANGE_INTERVAL - 1e-9 for earlier, later in pairwise(times))
    loud = {peer for levels in turns for peer, level in levels.items() if level is not None and level < 60}
    assert {peer for _, peer in talk.changes} <= loud


@pytest.mark.parametrize("level", [0, 6, 14])
def test_a_constant_noise_does_not_keep_the_place_for_ever(level: int) -> None:
    talk = Conversation()
    talk.go_on(5, {"ann": level})
    assert talk.go_on(8, {"ann": level, "bob": SPEECH}) == "bob"
    assert talk.go_on(5, {"ann": level, "bob": SPEECH}) == "bob"


def test_nobody_is_too_loud_for_others_to_be_as_loud() -> None:
    talk = Conversation()
    for _ in range(5):
        talk.go_on(2, {"ann": 0})
        talk.go_on(0.2, {"ann": NOISE})
    assert talk.speakers.speaker == "ann"
    talk.go_on(2, {"ann": 0, "bob": 10})
    assert "bob" in [peer for _, peer in talk.changes]
