"""Who speaks: from the levels of sound that packets carry (RFC 6464), without decoding it.

Each participant has a loudness, which rises within a quarter of a second of speech and falls more slowly: a click is
no speech, and a breath is no end of it. Another one becomes the speaker by being clearly louder, or when the speaker is
silent; and so does nobody just because all are silent. Silence may be packets that say so, or none (DTX).
"""

from math import exp
from typing import Final

__all__ = ["CHANGE_INTERVAL", "Speakers"]

CHANGE_INTERVAL: Final = 1.0
"""Seconds between two changes: pictures that change places more often are a nuisance."""

_FLOOR: Final = 60.0
"""The level, in dB below the loudest (-dBov), that counts as silence. Rooms behind noise suppression are below it."""

_SPEAKING: Final = 8.0
"""Loudness, in dB above the floor, from which on somebody speaks. Speech is at 20 to 40."""

_LOUDER: Final = 6.0
"""dB by which another one has to be louder than the speaker."""

_LOUDEST: Final = 45.0
"""Loudness above which there is no louder: nobody shouts all others down."""

_NOISE: Final = 3.0
"""Seconds after which what has been that loud all the time is no speech, which has pauses."""

_RISE: Final = 0.25
_FALL: Final = 0.8
"""Seconds in which loudness comes within a third of what is heard."""

_PACKET: Final = 0.06
"""Seconds that one packet speaks for, at most: Opus has up to 60 ms in one where browsers use it."""

_SILENT: Final = 0.1
"""Seconds without a packet after which that is silence, and no delay."""


class _Voice:
    """How loud a participant is, in dB above the floor, and since when that is so, in seconds.

    ``quiet`` is when it was last below `_LOUDEST`, or silent.
    """

    __slots__ = ("at", "loudness", "quiet")

    def __init__(self, at: float) -> None:
        self.at = self.quiet = at
        self.loudness = 0.0

    def hear(self, level: int, now: float) -> None:
        passed = now - self.at
        self.loudness = self.then(now)
        target = max(_FLOOR - level, 0.0)
        if target < _LOUDEST or passed > _SILENT:
            self.quiet = now
        target = 0.0 if now - self.quiet > _NOISE else min(target, _LOUDEST)
        span = _RISE if target > self.loudness else _FALL
        self.loudness += (target - self.loudness) * (1 - exp(-min(max(passed, 0.0), _PACKET) / span))
        self.at = max(now, self.at)

    def then(self, now: float) -> float:
        silence = now - self.at - _SILENT
        return self.loudness if silence <= 0 else self.loudness * exp(-silence / _FALL)


class Speakers:
    """The speaker among the participants of a room. ``speaker`` is the present or the last one, None before."""

    __slots__ = ("_changed", "_voices", "speaker")

    def __init__(self) -> None:
        self.speaker: str | None = None
        self._voices: dict[str, _Voice] = {}
        self._changed = float("-inf")

    def heard(self, peer: str, level: int, now: float) -> None:
        """A packet of a participant's sound, ``level`` dB below the loudest (0 to 127)."""
        voice = self._voices.get(peer)
        if voice is None:
            voice = self._voices[peer] = _Voice(now)
        voice.hear(level, now)

    def gone(self, peer: str, now: float) -> None:
        """A participant has left, or is muted. If it was the speaker, there is none until somebody else speaks."""
        self._voices.pop(peer, None)
        if self.speaker == peer:
            self.speaker = None
            self._changed = now

    def due(self, now: float) -> bool:
        """Look who speaks, some times in a second; whether ``speaker`` has changed.

        It does so once a second at most.
        """
        if now - self._changed < CHANGE_INTERVAL:
            return False
        present = self.speaker
        bar = _SPEAKING
        voice = None if present is None else self._voices.get(present)
        if voice is not None:
            loudness = voice.then(now)
            if loudness >= _SPEAKING:
                bar = min(loudness + _LOUDER, _LOUDEST - 1)
        loudest = present
        for peer, voice in self._voices.items():
            if peer != present:
                loudness = voice.then(now)
                if loudness > bar:
                    loudest, bar = peer, loudness
        if loudest == present:
            return False
        self.speaker = loudest
        self._changed = now
        return True
