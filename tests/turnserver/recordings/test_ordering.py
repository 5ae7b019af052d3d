"""Packets in their order, with patience for those that come late."""

from turnserver.media.rtp import build_packet
from turnserver.recordings.ordering import MOST_WAITING, PATIENCE, Arrived, Ordering


def packet(number: int) -> bytes:
    return bytes(build_packet(payload_type=96, sequence=number & 0xFFFF, timestamp=number, ssrc=1, payload=b"x"))


class Track:
    def __init__(self, kind: str = "video") -> None:
        self.ordering = Ordering(kind)
        self.out: list[Arrived] = []

    def push(self, *numbers: int, now: float = 0.0) -> None:
        for number in numbers:
            self.out += self.ordering.push(packet(number), now)

    @property
    def numbers(self) -> list[int]:
        return [each.header.timestamp for each in self.out]


def test_a_late_packet_is_put_in_its_place() -> None:
    track = Track()
    track.push(65_534, 65_535, 65_537, 65_538)
    assert track.numbers == [65_534, 65_535]
    track.push(65_536)
    assert track.numbers == [65_534, 65_535, 65_536, 65_537, 65_538]
    assert [each.lost for each in track.out] == [0] * 5


def test_what_does_not_come_is_given_up() -> None:
    track = Track()
    track.push(1, 4, now=10.0)
    track.out += track.ordering.due(10.0 + PATIENCE["video"] - 0.1)
    assert track.numbers == [1]
    track.out += track.ordering.due(10.01 + PATIENCE["video"])
    assert [(each.header.timestamp, each.lost) for each in track.out] == [(1, 0), (4, 2)]
    track.push(2, 4, 5, now=12.0)
    assert track.numbers == [1, 4, 5], "what comes later or twice has no place"


def test_sound_is_not_sent_again_and_waits_less() -> None:
    track = Track("audio")
    track.push(1, 3, now=0.0)
    track.out += track.ordering.due(PATIENCE["audio"])
    assert track.numbers == [1, 3]


def test_what_waits_is_bounded() -> None:
    track = Track()
    track.push(0, *range(2, MOST_WAITING + 2))
    assert len(track.out) == MOST_WAITING + 1
    assert track.out[1].lost == 1


def test_a_stream_that_begins_anew_goes_on() -> None:
    track = Track()
    track.push(1, 3, 30_000, 30_001)
    assert track.numbers == [1, 3, 30_000, 30_001]


def test_the_end_brings_all() -> None:
    track = Track()
    track.push(1, 3, 6)
    track.out += track.ordering.flush()
    assert [(each.header.timestamp, each.lost) for each in track.out] == [(1, 0), (3, 1), (6, 2)]
    assert list(track.ordering.push(b"no packet", 0.0)) == []
