"""What signaling reads of the configuration, as protocols that its sections satisfy."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, Protocol

from turnserver.core.types import IpAddress
from turnserver.signaling.rooms.settings import RoomOptions

__all__ = ["AuthSection", "Configuration", "NatSection", "SecretText", "SharedSecretSection", "SignalingSection"]


class SecretText(Protocol):
    """A secret that shows itself only when it is asked to."""

    def get_secret_value(self) -> str:
        """The secret itself."""


class SharedSecretSection(Protocol):
    """One of ``auth.shared_secrets``."""

    @property
    def secret(self) -> SecretText:
        """The secret."""

    @property
    def hash(self) -> Literal["sha1", "sha256"]:
        """The hash of the HMAC that makes passwords."""


class AuthSection(Protocol):
    """What ``auth`` says of time-limited credentials."""

    @property
    def shared_secrets(self) -> Sequence[SharedSecretSection]:
        """The first one signs."""

    @property
    def separator(self) -> str:
        """What stands between the expiry and the user in a username."""


class NatSection(Protocol):
    """What ``relay`` says of 1:1 NAT."""

    @property
    def external(self) -> Mapping[IpAddress, IpAddress]:
        """From the server's own addresses to their public ones."""


class SignalingSection(RoomOptions, Protocol):
    """What ``signaling`` says: of rooms, of who may join them, and of what participants are told."""

    @property
    def origins(self) -> Sequence[str]:
        """Web origins that may connect beside the server's own."""

    @property
    def key(self) -> SecretText | None:
        """What signs room tokens."""

    @property
    def public_keys(self) -> Sequence[Path]:
        """Files of keys of others who sign room tokens."""

    @property
    def api_keys(self) -> Mapping[str, SecretText]:
        """Keys of programs that may ask for credentials and tokens, by name."""

    @property
    def admin_keys(self) -> Mapping[str, SecretText]:
        """Keys of those who may also see rooms and close them, by name."""

    @property
    def urls(self) -> Sequence[str]:
        """The STUN and TURN URLs that participants are given; without any, those of the listeners."""


class Configuration(Protocol):
    """The configuration, as far as signaling reads it."""

    @property
    def signaling(self) -> SignalingSection:
        """Rooms."""

    @property
    def auth(self) -> AuthSection:
        """Credentials."""

    @property
    def relay(self) -> NatSection:
        """Addresses."""
