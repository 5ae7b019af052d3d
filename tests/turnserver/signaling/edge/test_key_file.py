"""The file of API keys: what is in it, what may happen to it, and how a server follows it."""

import hashlib
import json
import logging
import os
import stat
import threading
from pathlib import Path
from typing import Any

import pytest

from turnserver.errors import StartupError
from turnserver.signaling.edge.key_file import MAX_FILE, MAX_STORED, KeyFile, StoredKey, WatchedKeys, new_key
from turnserver.signaling.edge.scopes import Scope

SCOPES = frozenset({Scope.TURN, Scope.ADMIN_READ})


def made(name: str = "website", ttl: int | None = None) -> tuple[StoredKey, str]:
    return new_key(name, SCOPES, os.urandom, 1_700_000_000, ttl)


def add(path: Path, key: StoredKey) -> None:
    KeyFile(path).change(lambda present: [*present, key])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "api-keys.json"


def test_a_secret_has_256_bits_and_only_its_hash_is_kept(path: Path) -> None:
    asked: list[int] = []

    def entropy(size: int) -> bytes:
        asked.append(size)
        return os.urandom(size)

    key, secret = new_key("website", SCOPES, entropy, 1_700_000_000, 60)
    assert 32 in asked
    assert secret.startswith("mtk_")
    assert len(secret) == 4 + 43
    assert key.digest == hashlib.sha256(secret.encode()).digest()
    assert key.expires == 1_700_000_060
    add(path, key)
    assert secret not in path.read_text()
    assert secret[4:] not in path.read_text()


def test_what_is_written_is_read(path: Path) -> None:
    keys = [made()[0], made(ttl=60)[0], made("other")[0]]
    for key in keys:
        add(path, key)
    assert list(KeyFile(path).read()) == keys
    KeyFile(path).change(lambda present: present[1:])
    assert list(KeyFile(path).read()) == keys[1:]


def test_no_file_is_no_keys(path: Path) -> None:
    assert KeyFile(path).read() == ()


def test_it_is_private_whatever_the_umask(path: Path) -> None:
    before = os.umask(0)
    try:
        add(path, made()[0])
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(path.parent) == [path.name], "nothing is left beside it"


def test_a_group_that_could_read_it_still_can(path: Path) -> None:
    """The server's, where somebody else runs `meshturn keys`; and who else could, cannot."""
    add(path, made()[0])
    path.chmod(0o644)
    add(path, made()[0])
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_what_root_writes_is_for_the_server(tmp_path: Path) -> None:
    """A new file belongs to whom the directory does; one that is there stays with its owner."""
    folder = tmp_path / "state"
    folder.mkdir()
    os.chown(folder, 12345, 54321)
    path = folder / "keys"
    add(path, made()[0])
    assert (path.stat().st_uid, path.stat().st_gid) == (12345, 54321)
    os.chown(path, 23456, 65432)
    add(path, made()[0])
    assert (path.stat().st_uid, path.stat().st_gid) == (23456, 65432)


def test_a_link_stays_one(path: Path, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    path.symlink_to(tmp_path / "there" / "keys")
    add(path, made()[0])
    assert path.is_symlink()
    assert len(KeyFile(tmp_path / "there" / "keys").read()) == 1


def test_who_changes_it_at_the_same_time_waits(path: Path) -> None:
    """The kind: a key that is lost because two wrote at once."""
    keys = [made(f"key-{number}")[0] for number in range(40)]
    threads = [threading.Thread(target=add, args=(path, key)) for key in keys]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {key.name for key in KeyFile(path).read()} == {key.name for key in keys}


def test_what_cannot_be_changed_stays_as_it_was(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add(path, made()[0])
    before = path.read_bytes()

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(StartupError, match="cannot be written: No space left"):
            add(path, made()[0])
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name]
    with pytest.raises(ZeroDivisionError):
        KeyFile(path).change(lambda present: present[: 1 // 0])
    assert path.read_bytes() == before


def test_no_directory(tmp_path: Path) -> None:
    with pytest.raises(StartupError, match="cannot be written: No such file") as caught:
        add(tmp_path / "nowhere" / "keys", made()[0])
    assert "directory" in caught.value.hint


def test_there_is_an_end(path: Path) -> None:
    KeyFile(path).change(lambda present: [made(f"key-{number}")[0] for number in range(MAX_STORED)])
    before = path.read_bytes()
    assert len(before) < MAX_FILE
    with pytest.raises(StartupError, match=f"{MAX_STORED} keys"):
        add(path, made()[0])
    assert path.read_bytes() == before


ENTRY = {
    "id": "0123abcd",
    "name": "website",
    "scopes": ["turn"],
    "sha256": "00" * 32,
    "created": 0,
    "expires": None,
}


def content(**changes: Any) -> bytes:
    return json.dumps({"version": 1, "keys": [{**ENTRY, **changes}]}).encode()


@pytest.mark.parametrize(
    "data",
    [
        b"", b"{", b"[]", b"null", b"\xff", b'{"version": 1}', b'{"version": 2, "keys": []}', b"[" * 100_000,
        b'{"version": 1, "keys": [], "more": 1}', content(more=1), content(scopes=[]), content(scopes=["root"]),
        content(name="a b"), content(name=""), content(id="x"), content(sha256="00"), content(sha256="g" * 64),
        content(created=-1), content(created="0"), content(expires=1e300), content(expires=True), b" " * (MAX_FILE + 1),
    ],
)  # fmt: skip
def test_what_is_no_file_of_keys(path: Path, data: bytes) -> None:
    """It is said, in one line, and neither read by halves nor written over."""
    path.write_bytes(data)
    with pytest.raises(StartupError) as caught:
        KeyFile(path).read()
    assert str(path) in str(caught.value)
    assert len(str(caught.value)) < 400
    assert str(caught.value).isprintable()
    with pytest.raises(StartupError):
        add(path, made()[0])
    assert path.read_bytes() == data


def test_a_file_that_is_right(path: Path) -> None:
    path.write_bytes(content())
    (key,) = KeyFile(path).read()
    assert key == StoredKey("0123abcd", "website", frozenset({Scope.TURN}), bytes(32), 0, None)


def test_a_file_into_which_everybody_could_put_keys(path: Path) -> None:
    path.write_bytes(content())
    path.chmod(0o602)
    with pytest.raises(StartupError, match="Everybody"):
        KeyFile(path).read()


def test_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(StartupError, match="not a regular file"):
        KeyFile(tmp_path / "pipe").read()
    with pytest.raises(StartupError):
        KeyFile(tmp_path).read()


def test_a_server_follows_it(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A key that is created or revoked counts at the next look; a file that is gone has no keys."""
    caplog.set_level(logging.INFO, "meshturn")
    watched = WatchedKeys(path)
    assert watched() == ()
    key, secret = made()
    add(path, key)
    assert watched() == (key,)
    assert watched() == (key,)
    KeyFile(path).change(lambda present: ())
    assert watched() == ()
    add(path, key)
    assert watched() == (key,)
    path.unlink()
    assert watched() == ()
    said = [(record.getMessage(), vars(record)["fields"]["keys"]) for record in caplog.records]
    read = "API keys read"
    none = "there is no keys file yet"
    assert said == [(none, 0), (read, 1), (read, 0), (read, 1), (none, 0)]
    assert secret not in caplog.text


def test_a_file_that_breaks_changes_nothing(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The keys stay, and it is said once; when it is whole again it counts again."""
    key, _ = made()
    add(path, key)
    watched = WatchedKeys(path)
    caplog.set_level(logging.ERROR, "meshturn")
    caplog.clear()  # what an earlier test left as the level may have let through that the file was read
    path.write_text("{")
    assert [watched() for _ in range(3)] == [(key,)] * 3
    (record,) = caplog.records
    assert record.getMessage() == "API keys not read: those before stay"
    path.write_bytes(content())
    assert [each.id for each in watched()] == ["0123abcd"]


def test_a_server_does_not_start_with_a_broken_one(path: Path) -> None:
    path.write_text("{")
    with pytest.raises(StartupError, match="not JSON"):
        WatchedKeys(path)
