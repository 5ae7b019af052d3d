"""The qualities in which a track can be had: simulcast layers and their temporal layers, as one ladder of bitrates.

A publisher sends a picture in up to three sizes at once (RFC 8853), each in its own stream; a stream may have temporal
layers (RFC 7741 §3, RFC 9628 §3), which halve the frame rate when they are left out. The rungs of a ladder are the
steps that are worth taking: fewer frames of the smallest picture first, then the larger pictures with all frames.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

__all__ = ["EVERY_FRAME", "MAX_TEMPORAL", "Quality", "StreamRates", "best_for", "ladder", "usual_bitrate"]

MAX_TEMPORAL: Final = 4
"""Temporal layers that are told apart. No browser sends more than three."""

EVERY_FRAME: Final = 7
"""The temporal limit that lets everything pass: the field has three bits."""

_HEIGHTS: Final = (180, 360, 720, 1080)
"""Heights of pictures, in pixels, that are taken for granted until a keyframe has told the height."""

_HIGHEST: Final = 2160
"""Pixels of the highest picture whose bitrate can be told from its height: 8 Mbit/s."""

_WORTH: Final = 0.1
"""Share by which a rung must cost more than the one below it: a rung that costs the same is none."""


class StreamRates(NamedTuple):
    """What is known about one stream of a track; the smallest picture comes first.

    ``bitrates`` are bit/s up to each temporal layer, so they do not decrease. ``height`` is 0 while it is not known.
    ``available`` says that it can be had: it arrives, or would if it were asked for.
    """

    bitrates: tuple[float, ...]
    height: int = 0
    available: bool = True


class Quality(NamedTuple):
    """One rung: which stream of the track, up to which temporal layer, at how many bit/s, and how high, in pixels."""

    stream: int
    temporal: int
    bitrate: float
    height: int


def usual_bitrate(height: int) -> float:
    """Bit/s that a browser spends on a picture of this height; for streams that have not been seen yet.

    The height is what a publisher says, up to 16,383; above that of any camera it tells nothing more.
    """
    return float(min(max(height, 90), _HIGHEST) ** 1.6 * 37.0)


def ladder(streams: Sequence[StreamRates]) -> list[Quality]:
    """The rungs, the cheapest first. Empty if no stream can be had."""
    rungs: list[Quality] = []
    for index, stream in enumerate(streams):
        if not stream.available:
            continue
        height = stream.height or _HEIGHTS[min(index, len(_HEIGHTS) - 1)]
        whole = stream.bitrates[-1] if stream.bitrates and stream.bitrates[-1] > 0 else usual_bitrate(height)
        if not rungs:
            for temporal, bitrate in enumerate(stream.bitrates[:-1]):
                if 0 < bitrate < whole * (1 - _WORTH) and (not rungs or bitrate > rungs[-1].bitrate * (1 + _WORTH)):
                    rungs.append(Quality(index, temporal, bitrate, height))
        if rungs and rungs[-1].stream != index:
            whole = max(whole, rungs[-1].bitrate * (1 + _WORTH))
        rungs.append(Quality(index, EVERY_FRAME, whole, height))
    return rungs


def best_for(rungs: Sequence[Quality], height: int) -> int:
    """The rung that is good enough for a tile of this height in pixels, -1 for none: for height 0 or an empty ladder.

    That is the smallest picture that need not be stretched, or else the largest one, with all of its frames.
    """
    if height <= 0:
        return -1
    best = -1
    for index, rung in enumerate(rungs):
        if rung.temporal != EVERY_FRAME:
            continue
        best = index
        if rung.height >= height:
            break
    return best
