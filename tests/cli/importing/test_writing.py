"""YAML and secrets of a plan."""

import stat
from pathlib import Path

import pytest

from cli.importing.outcome import FoundSecret, Given, Plan
from cli.importing.writing import render, write_new, write_secrets
from turnserver.config import load
from turnserver.config.document import parse
from turnserver.errors import StartupError

HUSH = "hush hush hush hush"


def a_plan() -> Plan:
    plan = Plan()
    plan.take(("log", "level"), "debug", Given(9, "Verbose"))
    plan.take(("auth", "users", "a: {b}\u202e"), FoundSecret("user-1.password", HUSH), Given(2, "user"))
    plan.take(("auth", "users", "yes"), FoundSecret("user-2.key", "0" * 32, hashed=True), Given(3, "user"))
    plan.take(("relay", "addresses"), ["127.0.0.1", "::1"], Given(4, "relay-ip"), Given(5, "relay-ip"))
    plan.take(("listeners",), [{"transport": "udp", "address": "::1", "port": 3478}], Given(0, "listening-port"))
    return plan


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    """Any name and value survives; each option has a comment with its lines; the loader takes it."""
    plan = Plan()
    plan.entries = [entry for entry in a_plan().entries if "\u202e" not in "".join(entry.path)]
    text = render(plan, "turn\n#.conf", "coturn", None)
    assert "## coturn: relay-ip (lines 4, 5)" in text
    assert text.index("\nlisteners:") < text.index("\nrelay:") < text.index("\nauth:") < text.index("\nlog:")
    write_secrets(plan.secrets, tmp_path)
    path = tmp_path / "meshturn.yml"
    path.write_text(text)
    config = load(path).config
    assert config.auth.users["yes"].hashed
    assert [str(each) for each in config.relay.addresses] == ["127.0.0.1", "::1"]


def test_odd_names_are_quoted() -> None:
    """A user name may have every character that YAML gives a meaning."""
    text = render(a_plan(), "turn.conf", "coturn", Path("/secret place"))
    data = parse(text).data
    assert data["auth"]["users"] == {
        "a: {b}\u202e": {"file": "/secret place/user-1.password"},
        "yes": {"key": {"file": "/secret place/user-2.key"}},
    }
    assert "\u202e" not in text
    assert parse(render(Plan(), "empty", "coturn", None)).data == {}


def test_secrets_are_for_the_user_alone(tmp_path: Path) -> None:
    """Each is in a file with mode 0600; the same one again is fine, another one is refused before any is written."""
    first = [FoundSecret("one", HUSH)]
    assert write_secrets(first, tmp_path) == [tmp_path / "one"]
    assert stat.S_IMODE((tmp_path / "one").stat().st_mode) == 0o600
    assert write_secrets(first, tmp_path) == [tmp_path / "one"]
    with pytest.raises(StartupError, match="not overwritten"):
        write_secrets([FoundSecret("two", HUSH), FoundSecret("one", "another")], tmp_path)
    assert (tmp_path / "one").read_text() == f"{HUSH}\n"
    assert not (tmp_path / "two").exists()


def test_a_file_that_others_can_read_is_not_taken_for_ours(tmp_path: Path) -> None:
    """Nor is a link that somebody else has put there."""
    (tmp_path / "one").write_text(f"{HUSH}\n")
    (tmp_path / "one").chmod(0o644)
    (tmp_path / "two").symlink_to(tmp_path / "one")
    for name in ("one", "two"):
        with pytest.raises(StartupError):
            write_secrets([FoundSecret(name, HUSH)], tmp_path)


def test_new_files_only(tmp_path: Path) -> None:
    """A file that is there stays, and a folder that is not there is an error in words."""
    write_new(tmp_path / "a", b"1")
    for path in (tmp_path / "a", tmp_path / "no" / "b"):
        with pytest.raises(StartupError):
            write_new(path, b"2")
    assert (tmp_path / "a").read_bytes() == b"1"
