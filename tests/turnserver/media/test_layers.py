"""Ladders of qualities from what is known of a track's streams."""

from turnserver.media.layers import EVERY_FRAME, Quality, StreamRates, best_for, ladder, usual_bitrate


def test_three_sizes_with_fewer_frames_of_the_smallest() -> None:
    streams = [
        StreamRates((60_000, 90_000, 150_000), 180),
        StreamRates((200_000, 300_000, 500_000), 360),
        StreamRates((600_000, 900_000, 1_500_000), 720),
    ]
    assert ladder(streams) == [
        Quality(0, 0, 60_000, 180),
        Quality(0, 1, 90_000, 180),
        Quality(0, EVERY_FRAME, 150_000, 180),
        Quality(1, EVERY_FRAME, 500_000, 360),
        Quality(2, EVERY_FRAME, 1_500_000, 720),
    ]


def test_a_temporal_layer_that_costs_next_to_nothing_is_no_rung() -> None:
    assert ladder([StreamRates((145_000, 148_000, 150_000), 180)]) == [Quality(0, EVERY_FRAME, 150_000, 180)]
    assert ladder([StreamRates((60_000, 62_000, 150_000), 180)]) == [
        Quality(0, 0, 60_000, 180),
        Quality(0, EVERY_FRAME, 150_000, 180),
    ]


def test_a_picture_of_any_height_costs_no_more_than_the_largest_camera() -> None:
    assert usual_bitrate(16_383) == usual_bitrate(2160) < 10_000_000


def test_what_has_not_been_seen_has_the_usual_bitrate_and_size() -> None:
    rungs = ladder([StreamRates(()), StreamRates(())])
    assert [(rung.stream, rung.height) for rung in rungs] == [(0, 180), (1, 360)]
    assert [round(rung.bitrate / 10_000) for rung in rungs] == [15, 46]
    assert usual_bitrate(720) > 1_000_000


def test_what_cannot_be_had_is_no_rung() -> None:
    assert ladder([]) == []
    assert ladder([StreamRates((1.0,), 180, available=False)]) == []
    (rung,) = ladder([StreamRates((1.0,), 180, available=False), StreamRates((500_000,), 360)])
    assert rung == Quality(1, EVERY_FRAME, 500_000, 360)


def test_a_larger_picture_never_costs_less() -> None:
    rungs = ladder([StreamRates((400_000,), 180), StreamRates((100_000,), 360)])
    assert rungs[0].bitrate < rungs[1].bitrate


def test_the_best_for_a_tile_is_the_smallest_that_need_not_be_stretched() -> None:
    rungs = ladder([StreamRates((60_000, 150_000), 180), StreamRates((500_000,), 360), StreamRates((1.5e6,), 720)])
    assert [rungs[best_for(rungs, height)].height for height in (1, 180, 181, 360, 720, 2000)] == [
        180,
        180,
        360,
        360,
        720,
        720,
    ]
    assert rungs[best_for(rungs, 100)].temporal == EVERY_FRAME
    assert best_for(rungs, 0) == -1
    assert best_for([], 180) == -1
