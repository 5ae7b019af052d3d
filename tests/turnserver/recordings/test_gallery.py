"""Where the pictures of a film are."""

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnserver.recordings.gallery import GalleryTile, fit, gallery


@given(st.integers(1, 40), st.integers(64, 1920), st.integers(64, 1080))
def test_tiles_are_in_the_film_and_beside_one_another(count: int, width: int, height: int) -> None:
    places = gallery(count, width, height)
    assert len(places) == count
    for each in places:
        assert all(value % 2 == 0 for value in each)
        assert 0 <= each.x <= each.x + each.width <= width
        assert 0 <= each.y <= each.y + each.height <= height
    for one, other in combinations(places, 2):
        assert (
            one.x + one.width <= other.x
            or other.x + other.width <= one.x
            or one.y + one.height <= other.y
            or other.y + other.height <= one.y
        )


@pytest.mark.parametrize(
    ("count", "shape"), [(1, [1]), (2, [2]), (3, [2, 1]), (4, [2, 2]), (5, [3, 2]), (9, [3, 3, 3])]
)
def test_rows(count: int, shape: list[int]) -> None:
    places = gallery(count, 1280, 720)
    rows = sorted({place.y for place in places})
    assert [sum(place.y == row for place in places) for row in rows] == shape


def test_the_last_row_stands_in_the_middle() -> None:
    assert gallery(3, 1280, 720)[2] == GalleryTile(320, 360, 640, 360)
    assert gallery(0, 1280, 720) == []


@given(st.integers(1, 4000), st.integers(1, 4000))
def test_a_picture_keeps_its_shape(width: int, height: int) -> None:
    place = GalleryTile(100, 50, 640, 360)
    inner = fit(width, height, place)
    assert place.x <= inner.x
    assert inner.x + inner.width <= place.x + place.width
    assert place.y <= inner.y
    assert inner.y + inner.height <= place.y + place.height
    assert inner.width >= 638 or inner.height >= 358
