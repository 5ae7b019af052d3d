"""What could not be closed is tried again, less and less often, and not for ever."""

from turnserver.retries import TRIES, Retries


def test_a_failure_is_tried_again_after_twice_the_time() -> None:
    retries: Retries[str] = Retries()
    assert retries.next() is None
    now, pauses = 100.0, []
    while retries.failed("a", now):
        due = retries.next()
        assert due is not None
        assert retries.due(due - 0.001) == []
        assert retries.due(due) == ["a"]
        pauses.append(due - now)
        now = due
    assert pauses == [1.0 * 2**number for number in range(TRIES - 1)]
    assert 240 < now - 100.0 < 300, "some minutes"
    assert len(retries) == 0
    assert retries.next() is None


def test_what_has_been_done_is_forgotten() -> None:
    """So that the next failure, of something else of that name, begins anew."""
    retries: Retries[str] = Retries()
    retries.failed("a", 0.0)
    retries.failed("b", 0.5)
    retries.done("a")
    retries.done("never heard of")
    assert (len(retries), retries.next()) == (1, 1.5)
    assert retries.due(10.0) == ["b"]
    retries.done("b")
    assert len(retries) == 0
    retries.failed("a", 20.0)
    assert retries.next() == 21.0
