"""A time-limited credential, and how it is written for people, for programs and for a browser."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from auth.ephemeral import SharedSecret, mint
from stun.uri import StunUri

__all__ = ["Issued", "issue"]


@dataclass(frozen=True, slots=True)
class Issued:
    """What a client needs: a user name, a password, their expiry (Unix time), and the server's URIs."""

    username: str
    password: str = field(repr=False)
    expires_at: int
    uris: tuple[StunUri, ...]

    @property
    def expires(self) -> str:
        """The expiry for people, in UTC."""
        return datetime.fromtimestamp(self.expires_at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")

    def ice_servers(self) -> list[dict[str, Any]]:
        """The value of ``iceServers`` for ``RTCPeerConnection``, without DTLS, which browsers do not speak."""
        urls = [str(uri) for uri in self.uris if uri.protocol != "dtls"]
        return [{"urls": urls, "username": self.username, "credential": self.password}]

    def snippet(self) -> str:
        """One line of JavaScript that uses the credential."""
        return f"new RTCPeerConnection({{iceServers: {json.dumps(self.ice_servers())}}})"

    def as_json(self) -> dict[str, Any]:
        """The credential for programs."""
        return {
            "username": self.username,
            "password": self.password,
            "expires_at": self.expires_at,
            "uris": list(map(str, self.uris)),
            "ice_servers": self.ice_servers(),
        }


def issue(secret: SharedSecret, user: str, ttl: int, separator: str, uris: Sequence[StunUri]) -> Issued:
    """Mint a credential that is valid for ``ttl`` seconds from now.

    Raises `auth.errors.InvalidCredential` when ``user`` cannot be part of a user name.
    """
    expires_at = int(time.time()) + ttl
    username, password = mint(secret, user, expires_at, separator)
    return Issued(username, password, expires_at, tuple(uris))
