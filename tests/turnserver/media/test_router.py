"""Which pictures a receiver is sent, in which order."""

from turnserver.media.router import OTHER, PINNED, SCREEN, SPEAKER, Picture, ReceiverConstraints, Showing, Wish, choose

PICTURES = [Picture("a", "a"), Picture("b", "b"), Picture("b.screen", "b", screen=True), Picture("c", "c")]


def test_without_constraints_everything_is_sent_screens_and_speakers_first() -> None:
    assert choose(PICTURES, ReceiverConstraints(), ["c", "a"]) == [
        Showing("b.screen", 360, SCREEN),
        Showing("c", 360, SPEAKER),
        Showing("a", 360, OTHER),
        Showing("b", 360, OTHER),
    ]


def test_last_n_counts_whoever_spoke_last_but_not_what_is_pinned() -> None:
    wanted = ReceiverConstraints(last=2, others=180, wishes=[Wish("a", 720, pinned=True)])
    assert choose(PICTURES[:2] + PICTURES[3:] + [Picture("d", "d")], wanted, ["d", "c"]) == [
        Showing("a", 720, PINNED),
        Showing("d", 180, SPEAKER),
        Showing("c", 180, OTHER),
    ]
    assert choose(PICTURES, ReceiverConstraints(last=0), ["a"]) == []


def test_a_picture_that_is_not_seen_is_not_sent_and_takes_no_place() -> None:
    wanted = ReceiverConstraints(last=1, wishes=[Wish("b.screen", 0), Wish("a", 0, pinned=True)])
    assert choose(PICTURES, wanted, ["a"]) == [Showing("b", 360, OTHER)]
    assert choose(PICTURES, ReceiverConstraints(others=0, wishes=[Wish("c", 90)]), []) == [Showing("c", 90, OTHER)]


def test_tiles_are_in_the_order_of_their_importance() -> None:
    wanted = ReceiverConstraints(wishes=[Wish("c", 90), Wish("b", 90, pinned=True), Wish("a", 90, pinned=True)])
    assert [shown.source for shown in choose(PICTURES, wanted, [])] == ["b", "a", "b.screen", "c"]


def test_constraints_are_bounded() -> None:
    wanted = ReceiverConstraints(wishes=(Wish(str(number), 90) for number in range(100_000)))
    assert len(wanted.wishes) == 200
