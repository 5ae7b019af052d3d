"""Passwords and roots for commands that talk to a server (`meshturn probe` tests them whole)."""

from pathlib import Path

import click
import pytest

from cli.logins import read_login, read_trust
from stun.uri import StunUri


def test_the_first_line_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("secret\r\nsomething else\n")
    login = read_login("alice", str(tmp_path / "password"))
    assert (login.username, login.password) == ("alice", "secret")


def test_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MESHTURN_PASSWORD", "secret")
    assert read_login("alice", None).password == "secret"


def test_a_password_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "password").write_bytes(b"\xff\n")
    with pytest.raises(click.UsageError, match="not UTF-8"):
        read_login("alice", str(tmp_path / "password"))
    (tmp_path / "password").write_bytes(b"\n")
    with pytest.raises(click.UsageError, match="empty"):
        read_login("alice", str(tmp_path / "password"))


def test_roots_are_for_tls(tmp_path: Path) -> None:
    with pytest.raises(click.UsageError, match="about TLS"):
        read_trust(StunUri.parse("turn:example.org"), True, None)
    (tmp_path / "roots").write_text("nothing")
    with pytest.raises(click.UsageError, match="no certificates in PEM"):
        read_trust(StunUri.parse("turns:example.org"), False, tmp_path / "roots")
    assert read_trust(StunUri.parse("turns:example.org"), True, None).insecure
