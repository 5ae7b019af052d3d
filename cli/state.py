"""The state directory of ``meshturn up``: a generated secret for nobody else, kept between runs."""

import os
import secrets
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path

from cli.text import one_line
from stun.uri import StunUri
from turnserver.errors import StartupError

__all__ = ["StateDirectory", "default_state_dir"]

_SECRET = "shared-secret"  # noqa: S105  a file name
_PASSWORD = "try.password"  # noqa: S105  a file name
_URIS = "uris"
_SECRET_BYTES = 32
_SHORTEST = 16
"""Characters of a secret; a shorter file was cut off, and a guessable secret is an open relay."""

_LONGEST = 4096


def default_state_dir(environ: Mapping[str, str]) -> Path:
    """``$XDG_STATE_HOME/meshturn``, or ``~/.local/state/meshturn``; relative paths do not count (XDG 0.8).

    Raises `StartupError` when there is no home directory either.
    """
    base = environ.get("XDG_STATE_HOME", "")
    if base.startswith("/"):
        return Path(base) / "meshturn"
    try:
        return Path.home() / ".local" / "state" / "meshturn"
    except RuntimeError:
        raise StartupError("There is no home directory to keep the secret in.", "Give --state-dir DIR.") from None


class StateDirectory:
    """A directory of ours, made with mode 0700 if it is not there."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()

    @property
    def shown(self) -> str:
        """The directory's path, safe to show."""
        return one_line(str(self.path))

    @property
    def secret_path(self) -> Path:
        """Where the shared secret is."""
        return self.path / _SECRET

    @property
    def _uris_path(self) -> Path:
        return self.path / _URIS

    @property
    def password_path(self) -> Path:
        """Where ``up`` leaves the password of the credential that it printed, for ``probe --password-file``."""
        return self.path / _PASSWORD

    def prepare(self) -> None:
        """Make the directory and the secret where they are missing.

        Two that start at once end up with one secret: it is written aside and linked into place, which only the
        first can do. Raises `StartupError` when the directory cannot be used, or is open to others.
        """
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            _insist_on_ours(
                self.path, 0o022, "writable by others", "Give --state-dir DIR with a directory of your own."
            )
            if not self.secret_path.exists():
                self._create_secret()
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise StartupError(
                f"The state directory {self.shown} cannot be used: {reason}.",
                "Give --state-dir DIR (or MESHTURN_STATE_DIR) with a directory that you can write to.",
            ) from error

    def secret(self) -> str:
        """The shared secret. Raises `StartupError` when it is missing, too short, or readable by others."""
        path = self.secret_path
        try:
            _insist_on_ours(
                path,
                0o077,
                "open to others",
                f"Others may know the secret: remove {one_line(str(path))} for a new one.",
            )
            with path.open("rb") as stream:
                text = stream.read(_LONGEST).decode("ascii", "replace").strip()
        except FileNotFoundError:
            raise StartupError(
                f"There is no shared secret in {self.shown}.",
                "Run `meshturn up` once to make one, or give -c FILE.",
            ) from None
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise StartupError(f"The secret {one_line(str(path))} cannot be read: {reason}.") from error
        if len(text) < _SHORTEST:
            raise StartupError(
                f"The secret in {one_line(str(path))} is empty or too short.", "Remove the file to have a new one made."
            )
        return text

    def keep(self, password: str, uris: Sequence[StunUri]) -> None:
        """Leave what other commands need: the password of the line to try, and where the server is.

        Both replace those of the last run. Raises `StartupError` when they cannot be written.
        """
        try:
            self._write_aside(password).replace(self.password_path)
            self._write_aside("\n".join(map(str, uris))).replace(self._uris_path)
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise StartupError(f"The state directory {self.shown} cannot be written to: {reason}.") from error

    def uris(self) -> list[StunUri]:
        """Where the server of the last `meshturn up` was; empty when there was none, or the file is not ours."""
        try:
            with self._uris_path.open("rb") as stream:
                text = stream.read(_LONGEST).decode("ascii")
            return [StunUri.parse(line) for line in text.splitlines()]
        except (OSError, ValueError):
            return []

    def _create_secret(self) -> None:
        aside = self._write_aside(secrets.token_urlsafe(_SECRET_BYTES))
        try:
            self.secret_path.hardlink_to(aside)
        except FileExistsError:
            pass  # Another `up` was quicker; its secret counts.
        except OSError:
            aside.replace(self.secret_path)  # A file system without hard links: whole, if not first come, first served.
        finally:
            aside.unlink(missing_ok=True)

    def _write_aside(self, text: str) -> Path:
        """Write a file of mode 0600 under a name of its own; renaming or linking it makes it appear whole."""
        path = self.path / f".new-{secrets.token_hex(8)}"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as stream:
            stream.write(text + "\n")
            stream.flush()
            os.fsync(descriptor)
        return path


def _insist_on_ours(path: Path, forbidden: int, what: str, hint: str) -> None:
    """Refuse a file or directory that is another user's, or has one of the mode bits ``forbidden``."""
    facts = path.stat()
    if facts.st_uid not in (os.geteuid(), 0):
        raise StartupError(f"{one_line(str(path))} belongs to another user.", "Give --state-dir DIR with your own.")
    if stat.S_IMODE(facts.st_mode) & forbidden:
        raise StartupError(f"{one_line(str(path))} is {what}.", hint)
