"""The state directory of ``meshturn up``: a generated secret and a TLS key, private and kept between runs."""

import contextlib
import os
import secrets
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from stun.uri import StunUri
from turnserver.errors import StartupError
from turnserver.text import one_line

__all__ = ["StateDirectory", "default_state_dir"]

_SECRET = "shared-secret"  # noqa: S105  a file name
_PASSWORD = "try.password"  # noqa: S105  a file name
_ADMIN_KEY = "admin-key"
_KEYS = "api-keys.json"
_URIS = "uris"
_URL = "url"
_KEY = "certificate.key"
_CERTIFICATE = "certificate.pem"
_SECRET_BYTES = 32
_SHORTEST = 16
"""Least characters of a secret; a shorter file was truncated, and a secret that can be guessed is an open relay."""

_LONGEST = 4096
_LONGEST_PEM = 65536


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
    """The directory; it is made with mode 0700 if it does not exist."""

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
    def admin_key_path(self) -> Path:
        """Where the key is that `meshturn rooms` sends to the server of `meshturn up`."""
        return self.path / _ADMIN_KEY

    @property
    def keys_path(self) -> Path:
        """Where `meshturn keys` keeps the API keys of the server of `meshturn up`."""
        return self.path / _KEYS

    @property
    def certificate_path(self) -> Path:
        """Where the development certificate is; see `cli.development`."""
        return self.path / _CERTIFICATE

    @property
    def key_path(self) -> Path:
        """Where the key of the development certificate is."""
        return self.path / _KEY

    @property
    def _uris_path(self) -> Path:
        return self.path / _URIS

    @property
    def _url_path(self) -> Path:
        return self.path / _URL

    @property
    def password_path(self) -> Path:
        """Where ``up`` writes the password of the credential that it prints, for ``probe --password-file``."""
        return self.path / _PASSWORD

    def prepare(self) -> None:
        """Make the directory, the secret and the admin key if they are missing.

        Two processes that start at once use the same ones. Raises `StartupError` when the directory cannot be used, or
        is open to others.
        """
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            _insist_on_ours(
                self.path, 0o022, "writable by others", "Give --state-dir DIR with a directory of your own."
            )
            for path in (self.secret_path, self.admin_key_path):
                if not path.exists():
                    self._create(path, secrets.token_urlsafe(_SECRET_BYTES))
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise StartupError(
                f"The state directory {self.shown} cannot be used: {reason}.",
                "Give --state-dir DIR (or MESHTURN_STATE_DIR) with a directory that you can write to.",
            ) from error

    def certificate(self) -> tuple[bytes, bytes] | None:
        """The development certificate and its key, PEM; None when either is missing.

        Raises `StartupError` when they cannot be read, or the key is readable by others.
        """
        try:
            what = f"Other users may have read the key: remove {one_line(str(self.key_path))} for a new one."
            _insist_on_ours(self.key_path, 0o077, "open to others", what)
            return self._read(self.certificate_path), self._read(self.key_path)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._unusable(error) from error

    def keep_key(self, new: str) -> bytes:
        """The key of the development certificate: ``new`` (PEM), unless there is one already. Raises `StartupError`."""
        try:
            if not self.key_path.exists():
                self._create(self.key_path, new)
            return self._read(self.key_path)
        except OSError as error:
            raise self._unusable(error) from error

    def replace_key(self, new: str) -> None:
        """Replace a key that cannot be used. Raises `StartupError`."""
        try:
            self._replace(self.key_path, new)
        except OSError as error:
            raise self._unusable(error) from error

    def keep_certificate(self, new: str) -> None:
        """Replace the development certificate, PEM. Raises `StartupError`."""
        try:
            self._replace(self.certificate_path, new)
        except OSError as error:
            raise self._unusable(error) from error

    def secret(self) -> str:
        """The shared secret. Raises `StartupError` when it is missing, too short, or readable by others."""
        return self._kept(self.secret_path, "shared secret")

    def admin_key(self) -> str:
        """The key for `meshturn rooms`. Raises `StartupError` when it is missing, too short, or readable by others."""
        return self._kept(self.admin_key_path, "admin key")

    def _kept(self, path: Path, what: str) -> str:
        shown = one_line(str(path))
        try:
            _insist_on_ours(
                path, 0o077, "open to others", f"Other users may have read the {what}: remove {shown} for a new one."
            )
            with path.open("rb") as stream:
                text = stream.read(_LONGEST).decode("ascii", "replace").strip()
        except FileNotFoundError:
            raise StartupError(
                f"There is no {what} in {self.shown}.", "Run `meshturn up` once to make one, or give -c FILE."
            ) from None
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise StartupError(f"The {what} {shown} cannot be read: {reason}.") from error
        if len(text) < _SHORTEST:
            raise StartupError(
                f"The {what} in {shown} is empty or too short.", "Remove the file to have a new one made."
            )
        return text

    def keep(self, password: str, uris: Sequence[StunUri], url: str = "") -> None:
        """Write what other commands need: the password of the printed credential, and the URIs of server and pages.

        They replace those of the last run. Raises `StartupError` when they cannot be written.
        """
        try:
            self._replace(self.password_path, password)
            self._replace(self._uris_path, "\n".join(map(str, uris)))
            self._replace(self._url_path, url)
        except OSError as error:
            raise self._unusable(error) from error

    def uris(self) -> list[StunUri]:
        """The URIs of the server of the last `meshturn up`; empty when there are none, or the file is invalid."""
        try:
            with self._uris_path.open("rb") as stream:
                text = stream.read(_LONGEST).decode("ascii")
            return [StunUri.parse(line) for line in text.splitlines()]
        except (OSError, ValueError):
            return []

    def url(self) -> str:
        """The URL of the pages of the last `meshturn up` (``http://localhost:8080``); empty when there were none."""
        try:
            with self._url_path.open("rb") as stream:
                return stream.read(_LONGEST).decode("ascii").strip()
        except (OSError, ValueError):
            return ""

    def _unusable(self, error: OSError) -> StartupError:
        reason = error.strerror or type(error).__name__
        return StartupError(f"The state directory {self.shown} cannot be written to: {reason}.")

    @staticmethod
    def _read(path: Path) -> bytes:
        with path.open("rb") as stream:
            return stream.read(_LONGEST_PEM)

    def _create(self, path: Path, text: str) -> None:
        """Write a file that does not exist. Of two processes, only the first can link its own into place."""
        with self._written_aside(text) as aside:
            try:
                path.hardlink_to(aside)
            except FileExistsError:
                pass  # Another `up` was faster; its file counts.
            except OSError:
                aside.replace(path)  # A file system without hard links: the file is complete, but the last writer wins.

    def _replace(self, path: Path, text: str) -> None:
        with self._written_aside(text) as aside:
            aside.replace(path)

    @contextlib.contextmanager
    def _written_aside(self, text: str) -> Iterator[Path]:
        """A file of mode 0600 under a temporary name, so that renaming or linking makes it appear complete.

        It does not outlive the context, even if it cannot be written: each try on a full disk would leave another one.
        """
        path = self.path / f".new-{secrets.token_hex(8)}"
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "w", encoding="ascii") as stream:
                stream.write(text + "\n")
                stream.flush()
                os.fsync(descriptor)
            yield path
        finally:
            path.unlink(missing_ok=True)


def _insist_on_ours(path: Path, forbidden: int, what: str, hint: str) -> None:
    """Refuse a file or directory that belongs to another user, or has one of the mode bits ``forbidden``."""
    facts = path.stat()
    if facts.st_uid not in (os.geteuid(), 0):
        raise StartupError(f"{one_line(str(path))} belongs to another user.", "Give --state-dir DIR with your own.")
    if stat.S_IMODE(facts.st_mode) & forbidden:
        raise StartupError(f"{one_line(str(path))} is {what}.", hint)
