"""The parts of the configuration that signaling reads, as protocols that the configuration's sections satisfy."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, Protocol

from turnserver.core.types import IpAddress
from turnserver.signaling.rooms.settings import RoomOptions

__all__ = ["AuthSection", "Configuration", "NatSection", "SecretText", "SharedSecretSection", "SignalingSection"]


class SecretText(Protocol):
    """A secret that is hidden in ``repr``."""

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
    """The part of ``auth`` about time-limited credentials."""

    @property
    def shared_secrets(self) -> Sequence[SharedSecretSection]:
        """The first one signs."""

    @property
    def separator(self) -> str:
        """The separator between expiry and user in a username."""


class NatSection(Protocol):
    """The part of ``relay`` about 1:1 NAT."""

    @property
    def external(self) -> Mapping[IpAddress, IpAddress]:
        """From the server's own addresses to their public ones."""


class SignalingSection(RoomOptions, Protocol):
    """The section ``signaling``: rooms, who may join them, and what participants are given."""

    @property
    def origins(self) -> Sequence[str]:
        """Web origins that may connect in addition to the server's own."""

    @property
    def frame_ancestors(self) -> Sequence[str]:
        """Web origins whose pages may show the call page in a frame."""

    @property
    def key(self) -> SecretText | None:
        """The key that signs room tokens."""

    @property
    def public_keys(self) -> Sequence[Path]:
        """Files with the public keys of other issuers of room tokens."""

    @property
    def api_keys(self) -> Mapping[str, SecretText]:
        """Keys of programs that may ask for credentials and tokens, by name."""

    @property
    def admin_keys(self) -> Mapping[str, SecretText]:
        """Keys of programs that may also list and close rooms, by name."""

    @property
    def keys_file(self) -> Path | None:
        """The file of further keys, with scopes; it need not be there yet."""

    @property
    def urls(self) -> Sequence[str]:
        """The STUN and TURN URLs that participants are given; if empty, those of the listeners."""


class Configuration(Protocol):
    """The part of the configuration that signaling reads."""

    @property
    def signaling(self) -> SignalingSection:
        """Rooms."""

    @property
    def auth(self) -> AuthSection:
        """Credentials."""

    @property
    def relay(self) -> NatSection:
        """Addresses."""
