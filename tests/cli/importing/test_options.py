"""Options by name, each of them in one list."""

from cli.importing.options import Options
from cli.importing.outcome import Given, Plan, Remark


def options(*given: Given) -> Options:
    return Options(given, Plan())


def test_the_last_one_counts() -> None:
    """Of an option with one value; the others are noted once."""
    some = options(Given(1, "realm", "a"), Given(2, "realm", "b"))
    assert some.all("realm") == [Given(1, "realm", "a"), Given(2, "realm", "b")]
    assert some.last("realm") == some.last("realm") == Given(2, "realm", "b")
    assert some.plan.already == [Remark(1, "realm", "line 2 has another value, which counts")]
    assert some.last("user") is None
    assert some.names() == ["realm"]


def test_switches() -> None:
    """One that is on is taken once; one that is off is the default."""
    some = options()
    for line, on in ((1, False), (2, True), (3, True)):
        some.switch(Given(line, "prod"), ("software",), "", "it is sent", on=on)
    assert [note.line for note in some.plan.already] == [1, 3]
    assert [note.line for note in some.plan.taken] == [2]


def test_nothing_is_passed_over() -> None:
    """What nobody has spoken of is noted at the end."""
    some = options(Given(1, "realm", "a"), Given(2, "cipher-list", "b"))
    some.plan.take(("realm",), "a", Given(1, "realm", "a"))
    some.finish()
    assert [note.line for note in some.plan.already] == [2]
