"""The credential sources by name."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from turnserver.registry import Registry

if TYPE_CHECKING:
    from auth.source import CredentialSource
    from turnserver.credentials.settings import SourcesSection

__all__ = ["SOURCES", "MakeSource", "SourceKind"]


class MakeSource(Protocol):
    """Makes a source from the configuration; None if the source is not configured."""

    def __call__(self, auth: "SourcesSection", *, clock: Callable[[], float]) -> "CredentialSource | None":
        """``clock`` gives monotonic seconds."""


@dataclass(frozen=True, slots=True)
class SourceKind:
    """An entry of `SOURCES`."""

    about: str
    """A short description for lists of the sources."""
    make: MakeSource


def _users(auth: "SourcesSection", *, clock: Callable[[], float]) -> "CredentialSource | None":
    from auth.keys import key_from_hex  # noqa: PLC0415  loaded when it is used, as those below
    from auth.source import StaticUsers  # noqa: PLC0415

    users = {name: secret.get_secret_value() for name, secret in auth.users.items() if not secret.hashed}
    keys = {name: key_from_hex(secret.get_secret_value()) for name, secret in auth.users.items() if secret.hashed}
    return StaticUsers(users, keys) if users or keys else None


def _shared_secrets(auth: "SourcesSection", *, clock: Callable[[], float]) -> "CredentialSource | None":
    from auth.ephemeral import SharedSecret, TimeLimitedCredentials  # noqa: PLC0415

    secrets = [SharedSecret(entry.secret.get_secret_value().encode(), entry.hash) for entry in auth.shared_secrets]
    return TimeLimitedCredentials(secrets, auth.separator, auth.username_order) if secrets else None


def _hook(auth: "SourcesSection", *, clock: Callable[[], float]) -> "CredentialSource | None":
    from turnserver.credentials.hook import HookSource  # noqa: PLC0415

    return HookSource.from_config(auth.hook, clock=clock) if auth.hook.url else None


def _nobody(auth: "SourcesSection", *, clock: Callable[[], float]) -> "CredentialSource | None":
    from auth.source import Nobody  # noqa: PLC0415

    return Nobody()


SOURCES: Final[Registry[SourceKind]] = Registry("credential source")
"""The available credential sources; ``auth.sources`` selects and orders them."""

SOURCES.add("users", SourceKind("users and passwords in the configuration", _users))
SOURCES.add("shared_secrets", SourceKind("time-limited credentials", _shared_secrets))
SOURCES.add("hook", SourceKind("a program that the server asks over HTTP", _hook))
SOURCES.add("nobody", SourceKind("knows nobody", _nobody))
