"""The parts of ``auth`` that credential sources read, as protocols; `turnserver.config.auth` satisfies them."""

from collections.abc import Mapping, Sequence
from typing import Literal, Protocol

__all__ = ["HookSection", "MintingSecret", "SecretValue", "SourcesSection", "UserValue"]


class SecretValue(Protocol):
    """A secret that is hidden in ``repr``."""

    def get_secret_value(self) -> str:
        """The text."""


class UserValue(SecretValue, Protocol):
    """What a user proves."""

    @property
    def hashed(self) -> bool:
        """Whether the text is a long-term key in hexadecimal digits, and not a password."""


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
        """The hook's URL; empty if there is no hook."""

    @property
    def secret(self) -> SecretValue | None:
        """The secret that signs the requests."""

    @property
    def timeout(self) -> int:
        """Maximum time for an answer."""

    @property
    def cache(self) -> int:
        """How long an answer about a user is cached."""

    @property
    def cache_unknown(self) -> int:
        """How long the answer that a user is unknown is cached."""

    @property
    def connections(self) -> int:
        """Maximum number of concurrent requests."""

    @property
    def userhash(self) -> bool:
        """Whether the hook finds users by hash."""


class SourcesSection(Protocol):
    """The part of ``auth`` that configures sources."""

    @property
    def sources(self) -> Sequence[str]:
        """The names of the sources, in the order in which they are asked."""

    @property
    def users(self) -> Mapping[str, UserValue]:
        """Users with their passwords or keys."""

    @property
    def shared_secrets(self) -> Sequence[MintingSecret]:
        """The secrets that mint time-limited credentials."""

    @property
    def separator(self) -> str:
        """The separator between expiry and user in a time-limited username."""

    @property
    def username_order(self) -> Literal["any", "expiry-first"]:
        """Where a time-limited username may have its expiry."""

    @property
    def hook(self) -> HookSection:
        """The credential hook."""
