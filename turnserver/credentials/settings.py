"""What credential sources need of the configuration's ``auth``, which has it in `turnserver.config.auth`."""

from collections.abc import Mapping, Sequence
from typing import Literal, Protocol

__all__ = ["HookSection", "MintingSecret", "SecretValue", "SourcesSection"]


class SecretValue(Protocol):
    """A text that does not show itself."""

    def get_secret_value(self) -> str:
        """The text."""


class MintingSecret(Protocol):
    """An item of ``auth.shared_secrets``."""

    @property
    def secret(self) -> SecretValue:
        """The secret."""

    @property
    def hash(self) -> Literal["sha1", "sha256"]:
        """The hash of its HMAC."""


class HookSection(Protocol):
    """``auth.hook``; times are in seconds."""

    @property
    def url(self) -> str:
        """Where the hook is asked; empty without one."""

    @property
    def secret(self) -> SecretValue | None:
        """What signs the requests."""

    @property
    def timeout(self) -> int:
        """How long an answer may take."""

    @property
    def cache(self) -> int:
        """How long an answer about a user is good for."""

    @property
    def cache_unknown(self) -> int:
        """How long the answer is good for that there is no such user."""

    @property
    def connections(self) -> int:
        """How many requests may be under way."""

    @property
    def userhash(self) -> bool:
        """Whether the hook finds users by hash."""


class SourcesSection(Protocol):
    """``auth``, as far as sources are set up by it."""

    @property
    def sources(self) -> Sequence[str]:
        """The names of the sources, in the order in which they are asked."""

    @property
    def users(self) -> Mapping[str, SecretValue]:
        """Users with their passwords."""

    @property
    def shared_secrets(self) -> Sequence[MintingSecret]:
        """What mints time-limited credentials."""

    @property
    def separator(self) -> str:
        """What stands between the expiry and the user of a time-limited username."""

    @property
    def hook(self) -> HookSection:
        """The credential hook."""
