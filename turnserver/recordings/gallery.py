"""Where the pictures of a film are: a grid that grows and shrinks with who is there.

Pictures are in rows of equal tiles, as square a grid as can be, and the last row stands in the middle. All numbers are
even, since colours have half the resolution.
"""

from math import ceil, sqrt
from typing import NamedTuple

__all__ = ["GalleryTile", "fit", "gallery"]


class GalleryTile(NamedTuple):
    """A rectangle, in pixels."""

    x: int
    y: int
    width: int
    height: int


def gallery(count: int, width: int, height: int) -> list[GalleryTile]:
    """The tiles of so many pictures in a film of that size."""
    if count < 1:
        return []
    columns = ceil(sqrt(count))
    rows = ceil(count / columns)
    wide, high = _even(width / columns), _even(height / rows)
    places = []
    for number in range(count):
        row, column = divmod(number, columns)
        here = min(columns, count - row * columns)
        left = _even((width - here * wide) / 2)
        places.append(GalleryTile(left + column * wide, _even((height - rows * high) / 2) + row * high, wide, high))
    return places


def fit(width: int, height: int, place: GalleryTile) -> GalleryTile:
    """A picture of that size as large as its tile lets it be, in the middle and undistorted."""
    scale = min(place.width / max(width, 1), place.height / max(height, 1))
    wide, high = max(_even(width * scale), 2), max(_even(height * scale), 2)
    return GalleryTile(
        place.x + _even((place.width - wide) / 2), place.y + _even((place.height - high) / 2), wide, high
    )


def _even(value: float) -> int:
    return int(value) // 2 * 2
