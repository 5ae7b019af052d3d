"""The file of API keys that ``meshturn keys`` writes and servers read: names, scopes, and hashes of the secrets.

A secret is 256 random bits, so its plain SHA-256 tells nobody what it is: there is nothing to guess that a slow hash
would make more expensive.
"""

import base64
import fcntl
import hashlib
import json
import logging
import os
import re
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from turnserver.errors import StartupError
from turnserver.signaling.edge.scopes import Scope

__all__ = ["ID_BYTES", "MAX_STORED", "NAME", "SECRET_BYTES", "KeyFile", "StoredKey", "WatchedKeys", "new_key"]

MAX_STORED: Final = 500
"""Keys in a file: every one is compared with a client's key."""

MAX_FILE: Final = 1024 * 1024
"""Bytes of a file of keys; `MAX_STORED` of them have a quarter of that."""

_LAST: Final = 253_402_300_799
"""The last second of the year 9999, after which there are no dates."""

SECRET_BYTES: Final = 32
ID_BYTES: Final = 4

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
"""The name of a key, as in ``signaling.api_keys``."""

_PREFIX: Final = "mtk_"
"""Begins every secret, so that programs that look for leaked ones know it."""

_logger = logging.getLogger("meshturn.signaling")


class StoredKey(NamedTuple):
    """One key of a file. ``digest`` is the SHA-256 of its secret; times are Unix time, None never expires.

    Several may have one name, while one is replaced by another; ``id`` is its own.
    """

    id: str
    name: str
    scopes: frozenset[Scope]
    digest: bytes
    created: int
    expires: int | None = None


def new_key(
    name: str, scopes: frozenset[Scope], entropy: Callable[[int], bytes], created: int, ttl: int | None = None
) -> tuple[StoredKey, str]:
    """A new key and its secret, which is nowhere else. ``ttl`` is in seconds."""
    secret = _PREFIX + base64.urlsafe_b64encode(entropy(SECRET_BYTES)).rstrip(b"=").decode()
    expires = None if ttl is None else created + ttl
    digest = hashlib.sha256(secret.encode()).digest()
    return StoredKey(entropy(ID_BYTES).hex(), name, scopes, digest, created, expires), secret


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)

    id: Annotated[str, Field(pattern=r"^[0-9a-f]{8}$")]
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    scopes: Annotated[list[Scope], Field(min_length=1, max_length=len(Scope))]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    created: Annotated[int, Field(ge=0, le=_LAST)]
    expires: Annotated[int, Field(ge=0, le=_LAST)] | None = None


class _Content(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)

    version: Literal[1]
    keys: Annotated[list[_Entry], Field(max_length=MAX_STORED)]


class KeyFile:
    """A file of keys, which need not be there yet."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> tuple[StoredKey, ...]:
        """The keys; none if there is no file. Raises `StartupError` for a file that cannot be used."""
        try:
            return self._parsed(self._bytes())
        except FileNotFoundError:
            return ()
        except OSError as error:
            raise StartupError(f"The keys file {self._shown} cannot be read: {_reason(error)}.") from error

    def change(self, change: Callable[[tuple[StoredKey, ...]], Sequence[StoredKey]]) -> None:
        """Replace the keys by what ``change`` makes of them, at once and whole; others wait meanwhile.

        The file has mode 0600. One that exists keeps its owner and group, and its group may go on reading it if it
        could; a new one that root makes has those of its directory. Raises `StartupError` if it cannot be done, and
        what ``change`` raises; the file is as it was then.
        """
        target = Path(os.path.realpath(self.path))
        try:
            with _alone(target.parent):
                kept = change(self.read())
                if len(kept) > MAX_STORED:
                    hint = "Revoke those that are not needed any more: `meshturn keys list` shows them."
                    raise StartupError(f"There are {MAX_STORED} keys in {self._shown} already.", hint)
                _replace(target, _written(kept))
        except OSError as error:
            hint = "Its directory has to exist, and to be writable for whoever runs this."
            raise StartupError(f"The keys file {self._shown} cannot be written: {_reason(error)}.", hint) from error

    @property
    def _shown(self) -> str:
        return str(self.path) if str(self.path).isprintable() else ascii(str(self.path))

    def _bytes(self) -> bytes:
        """What is in the file; a named pipe is not waited for."""
        descriptor = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as stream:
            mode = os.fstat(descriptor).st_mode
            if not stat.S_ISREG(mode):
                raise StartupError(f"The keys file {self._shown} is not a regular file.")
            if mode & stat.S_IWOTH:
                hint = "Check its keys, and use chmod o-w."
                raise StartupError(f"Everybody on this host can write keys into {self._shown}.", hint)
            return stream.read(MAX_FILE + 1)

    def _parsed(self, data: bytes) -> tuple[StoredKey, ...]:
        hint = "`meshturn keys create` writes such files; they are not meant to be edited."
        if len(data) > MAX_FILE:
            raise StartupError(f"The keys file {self._shown} is larger than {MAX_FILE // 1024} KiB.", hint)
        try:
            content = _Content.model_validate_json(data)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(map(str, first["loc"]))[:60]
            what = "it is not JSON" if first["type"] == "json_invalid" else f"{where or 'it'}: {first['msg'][:100]}"
            raise StartupError(f"The keys file {self._shown} cannot be used: {what}.", hint) from None
        return tuple(
            StoredKey(
                each.id, each.name, frozenset(each.scopes), bytes.fromhex(each.sha256), each.created, each.expires
            )
            for each in content.keys
        )


class WatchedKeys:
    """The keys of a file as they are now: it is looked at whenever a key is asked for, and read again if it is another.

    So a key that is revoked is refused from the next request on. A file that cannot be used any more is a line in the
    log, and the keys before stay. Making one raises `StartupError` for a file that cannot be used.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = KeyFile(path)
        self._seen = self._stamp()
        self._keys = self._file.read()
        self._say()

    def __call__(self) -> tuple[StoredKey, ...]:
        """The present keys."""
        stamp = self._stamp()
        if stamp != self._seen:
            self._seen = stamp
            self._read()
        return self._keys

    def _read(self) -> None:
        try:
            self._keys = self._file.read()
        except StartupError as error:
            fields = {"file": str(self.path), "reason": str(error), "keys": len(self._keys)}
            _logger.error("API keys not read: those before stay", extra={"fields": fields})
        else:
            self._say()

    def _say(self) -> None:
        there = "API keys read" if self._seen is not None else "there is no keys file yet"
        _logger.info(there, extra={"fields": {"file": str(self.path), "keys": len(self._keys)}})

    def _stamp(self) -> tuple[int, ...] | None:
        """What changes with the content; None if there is no file."""
        try:
            found = os.stat(self.path)
        except OSError:
            return None
        return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _written(keys: Sequence[StoredKey]) -> str:
    entries = [
        {
            "id": each.id,
            "name": each.name,
            "scopes": [scope for scope in Scope if scope in each.scopes],
            "sha256": each.digest.hex(),
            "created": each.created,
            "expires": each.expires,
        }
        for each in keys
    ]
    return json.dumps({"version": 1, "keys": entries}, indent=2) + "\n"


@contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """Of all that change files in a directory, one at a time."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
        os.fsync(descriptor)  # the new name
    finally:
        os.close(descriptor)


def _replace(target: Path, text: str) -> None:
    """Write a file under another name first, so that it appears complete; what cannot be written leaves nothing."""
    before = target.stat() if target.exists() else None
    owner = before or target.parent.stat()
    mode = 0o600 | (0 if before is None else before.st_mode & stat.S_IRGRP)
    aside = target.with_name(f".{target.name}.{os.urandom(8).hex()}")
    try:
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(descriptor, "w", encoding="ascii") as stream:
            if os.geteuid() == 0:
                os.fchown(descriptor, owner.st_uid, owner.st_gid)
            os.fchmod(descriptor, mode)
            stream.write(text)
            stream.flush()
            os.fsync(descriptor)
        aside.replace(target)
    finally:
        aside.unlink(missing_ok=True)


def _reason(error: OSError) -> str:
    return error.strerror or type(error).__name__
