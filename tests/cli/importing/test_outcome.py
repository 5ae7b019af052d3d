"""Plans: what the loader does not take goes into the list of what cannot be expressed."""

import pytest

from cli.importing.outcome import FoundSecret, Given, Plan, tree
from turnserver.errors import ConfigError


def test_the_loader_has_the_last_word() -> None:
    """An option that it refuses is given up, with its reason; the others stay."""
    plan = Plan()
    plan.take(("relay", "ports"), "80-90", Given(3, "min-port", "80"))
    plan.take(("realm",), "example.org", Given(4, "realm", "example.org"))
    plan.take(("auth", "users", "a.b"), FoundSecret("a", "\x01"), Given(5, "user"))
    plan.settle()
    assert [entry.path for entry in plan.entries] == [("realm",)]
    assert [note.line for note in plan.taken] == [4]
    assert [(note.line, note.option) for note in plan.cannot] == [(3, "min-port"), (5, "user")]
    assert plan.cannot[0].text.startswith("relay.ports: found '80-90'; allowed: ")


def test_a_plan_that_is_wrong_all_over() -> None:
    """What is no option's fault is an error, not an endless loop."""
    plan = Plan()
    plan.take(("nothing", "known"), 1, Given(1, "a"))
    with pytest.raises(ConfigError):
        plan.settle()


def test_secrets() -> None:
    """They are found wherever they are, and are spelled as somebody wishes."""
    plan = Plan()
    one, two = FoundSecret("one", "1" * 20), FoundSecret("two", "0" * 32, hashed=True)
    plan.take(("auth", "shared_secrets"), [one], Given(1, "static-auth-secret"))
    plan.take(("auth", "users", "bob"), two, Given(2, "user"))
    plan.settle()
    assert plan.secrets == (one, two)
    assert tree(plan.entries, lambda secret: secret.file) == {
        "auth": {"shared_secrets": ["one"], "users": {"bob": "two"}}
    }
