"""The state directory of ``meshturn up``: the secret that credentials are made from (rule 24) stays secret."""

import os
import resource
import stat
from pathlib import Path

import pytest

from cli.state import StateDirectory, default_state_dir
from stun.uri import StunUri
from turnserver.errors import StartupError

URI = StunUri.parse("turn:192.0.2.1:3500")


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_directory_and_the_secret_are_for_nobody_else(tmp_path: Path) -> None:
    """Rule 24: the directory is 0700, the secret 0600 and long, and nothing else is left behind."""
    state = StateDirectory(tmp_path / "a" / "meshturn")
    state.prepare()
    assert _mode(state.path) == 0o700
    assert _mode(state.secret_path) == 0o600
    assert _mode(state.admin_key_path) == 0o600
    assert len(state.secret()) >= 43
    assert len(state.admin_key()) >= 43
    assert state.admin_key() != state.secret()
    assert {path.name for path in state.path.iterdir()} == {state.secret_path.name, state.admin_key_path.name}


def test_a_wide_open_umask_changes_nothing(tmp_path: Path) -> None:
    """Rule 24: the modes do not depend on the umask."""
    before = os.umask(0)
    try:
        state = StateDirectory(tmp_path / "state")
        state.prepare()
        state.keep("p", [URI])
    finally:
        os.umask(before)
    assert (_mode(state.path), _mode(state.secret_path), _mode(state.password_path)) == (0o700, 0o600, 0o600)


def test_the_secret_is_kept_between_runs_and_differs_between_directories(tmp_path: Path) -> None:
    """Rule 24: credentials issued before a restart stay valid; two servers do not share a secret."""
    first, other = StateDirectory(tmp_path / "one"), StateDirectory(tmp_path / "two")
    first.prepare()
    other.prepare()
    secret = first.secret()
    first.prepare()
    assert first.secret() == secret
    assert other.secret() != secret


def test_the_first_of_two_that_start_at_once_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rule 24: a secret that appears between looking and making is kept, and used by both."""
    state = StateDirectory(tmp_path / "state")
    state.prepare()
    secret = state.secret()
    monkeypatch.setattr(Path, "exists", lambda self: False)
    state.prepare()
    assert state.secret() == secret
    assert len(list(state.path.iterdir())) == 2


def test_the_admin_key_says_what_it_is(tmp_path: Path) -> None:
    """Rule 24: without one, or with one that others can read, there is a sentence that names it."""
    state = StateDirectory(tmp_path / "state")
    with pytest.raises(StartupError, match="There is no admin key"):
        state.admin_key()
    state.prepare()
    state.admin_key_path.chmod(0o644)
    with pytest.raises(StartupError, match="open to others") as caught:
        state.admin_key()
    assert "Other users may have read the admin key" in caught.value.hint


def test_where_the_pages_were(tmp_path: Path) -> None:
    """What `up` leaves for `meshturn rooms`; nothing before, and nothing when there were no pages."""
    state = StateDirectory(tmp_path / "state")
    state.prepare()
    assert state.url() == ""
    state.keep("p", [URI], "http://localhost:8080/")
    assert state.url() == "http://localhost:8080/"
    state.keep("p", [URI])
    assert state.url() == ""


@pytest.mark.parametrize("text", ["", "\n", "short\n"])
def test_a_secret_that_could_be_guessed_is_refused(tmp_path: Path, text: str) -> None:
    """Rule 24: an empty or cut-off secret is an open relay, so it is an error that says what to do."""
    state = StateDirectory(tmp_path / "state")
    state.prepare()
    state.secret_path.write_text(text)
    with pytest.raises(StartupError, match="too short") as caught:
        state.secret()
    assert "Remove the file" in caught.value.hint


def test_a_secret_that_others_can_read_is_refused(tmp_path: Path) -> None:
    """Rule 24: a secret that may have been read is not used any more."""
    state = StateDirectory(tmp_path / "state")
    state.prepare()
    state.secret_path.chmod(0o640)
    with pytest.raises(StartupError, match="open to others"):
        state.secret()


def test_a_directory_that_others_can_write_to_is_refused(tmp_path: Path) -> None:
    """Rule 24: whoever may rename files in the directory may replace the secret."""
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    with pytest.raises(StartupError, match="writable by others"):
        StateDirectory(shared).prepare()
    assert list(shared.iterdir()) == []
    assert _mode(shared) == 0o777


def test_a_directory_that_cannot_be_made_is_one_sentence_and_a_hint(tmp_path: Path) -> None:
    """Rule 24: no traceback for a path that leads through a file."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StartupError, match="cannot be used: Not a directory") as caught:
        StateDirectory(tmp_path / "file" / "state").prepare()
    assert "--state-dir" in caught.value.hint


def test_there_is_no_secret_before_the_first_run(tmp_path: Path) -> None:
    """Rule 24: issuing credentials before `up` has run says so."""
    with pytest.raises(StartupError, match="There is no shared secret") as caught:
        StateDirectory(tmp_path).secret()
    assert "meshturn up" in caught.value.hint


def test_what_other_commands_need_is_kept(tmp_path: Path) -> None:
    """Rule 24: the password of the line to try and the URIs are those of the last run."""
    state = StateDirectory(tmp_path / "state")
    state.prepare()
    assert state.uris() == []
    state.keep("first", [URI, URI])
    state.keep("second", [URI])
    assert state.password_path.read_text() == "second\n"
    assert state.uris() == [URI]
    assert not list(state.path.glob(".new-*"))


def test_a_full_disk_leaves_no_files_behind(tmp_path: Path) -> None:
    """Kind: a file that outlives what it was for. Each try would add one, on a disk that is full already."""
    state = StateDirectory(tmp_path / "state")
    state.prepare()
    before = sorted(path.name for path in state.path.iterdir())
    state.admin_key_path.unlink()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))  # every write to a file fails, as on a full disk
    try:
        for write in (
            lambda: state.keep("password", [URI]),
            lambda: state.keep_key("key"),
            lambda: state.replace_key("key"),
            lambda: state.keep_certificate("certificate"),
            state.prepare,
        ):
            with pytest.raises(StartupError, match="File too large"):
                write()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert sorted(path.name for path in state.path.iterdir()) == [name for name in before if name != "admin-key"]


def test_kept_uris_that_make_no_sense_are_none(tmp_path: Path) -> None:
    """RFC 7065 §3.1: a file that somebody else wrote is not believed, and not an error."""
    state = StateDirectory(tmp_path / "state")
    state.prepare()
    state.keep("p", [URI])
    (state.path / "uris").write_bytes(b"http://example.org\n\xff\x1b")
    assert state.uris() == []


def test_what_cannot_be_kept_is_one_sentence(tmp_path: Path) -> None:
    """Rule 24: a state directory that has gone in the meantime is an error of ours."""
    with pytest.raises(StartupError, match="cannot be written to"):
        StateDirectory(tmp_path / "gone").keep("p", [URI])


def test_the_default_follows_xdg(monkeypatch: pytest.MonkeyPatch) -> None:
    """XDG base directories: XDG_STATE_HOME counts when it is absolute, else ~/.local/state."""
    monkeypatch.setenv("HOME", "/home/somebody")
    assert default_state_dir({"XDG_STATE_HOME": "/state"}) == Path("/state/meshturn")
    assert default_state_dir({"XDG_STATE_HOME": "relative"}) == Path("/home/somebody/.local/state/meshturn")
    assert default_state_dir({}) == Path("/home/somebody/.local/state/meshturn")


def test_a_certificate_that_cannot_be_kept_is_one_sentence(tmp_path: Path) -> None:
    """Rule 24: a state directory that has gone in the meantime is an error of ours."""
    state = StateDirectory(tmp_path / "gone")
    assert state.certificate() is None
    for keep in (state.keep_key, state.replace_key, state.keep_certificate):
        with pytest.raises(StartupError, match="cannot be written to: No such file or directory"):
            keep("text")


def test_a_key_is_kept_once_and_replaced_on_purpose(tmp_path: Path) -> None:
    """Rule 24: the key is 0600 either way."""
    state = StateDirectory(tmp_path / "state")
    state.prepare()
    assert state.keep_key("first") == b"first\n"
    assert state.keep_key("second") == b"first\n"
    state.replace_key("third")
    state.keep_certificate("certificate")
    assert state.certificate() == (b"certificate\n", b"third\n")
    assert (_mode(state.key_path), _mode(state.certificate_path)) == (0o600, 0o600)
