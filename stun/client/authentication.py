"""The client's half of the long-term credential mechanism (RFC 8489 §9.2), for one server."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from auth.errors import InvalidString
from auth.keys import long_term_key_md5, long_term_key_sha256, opaque_string, user_hash
from auth.nonce import SecurityFeatures, nonce_features
from stun import integrity
from stun.attributes import (
    NONCE,
    PASSWORD_ALGORITHM,
    PASSWORD_ALGORITHMS,
    REALM,
    USERHASH,
    USERNAME,
    AlgorithmValue,
)
from stun.client.errors import CannotAuthenticate, InvalidLogin
from stun.constants import PasswordAlgorithm
from stun.message import Message, MessageBuilder

__all__ = ["AuthSession", "Login", "bids_down"]

MAX_USERNAME: Final = 508
"""Bytes (RFC 8489 §14.3: fewer than 509)."""

_KEYS: Final[Mapping[int, Callable[[str, str, str], bytes]]] = MappingProxyType(
    {PasswordAlgorithm.MD5: long_term_key_md5, PasswordAlgorithm.SHA256: long_term_key_sha256}
)


@dataclass(frozen=True, slots=True)
class Login:
    """A user name and its password, prepared with OpaqueString (RFC 8489 §9.2.2); the repr does not show the password.

    ``anonymous`` is whether to send USERHASH instead of USERNAME to servers that announce username anonymity, as
    RFC 8489 §9.2.5 says. ``rfc5389`` makes a client of RFC 5389, as browsers are: an MD5 key, MESSAGE-INTEGRITY and
    USERNAME, whatever the server offers. Raises `InvalidLogin`.
    """

    username: str
    password: str = field(repr=False)
    anonymous: bool = True
    rfc5389: bool = False

    def __post_init__(self) -> None:
        try:
            object.__setattr__(self, "username", opaque_string(self.username))
            object.__setattr__(self, "password", opaque_string(self.password))
        except InvalidString as error:
            raise InvalidLogin(f"The user name or the password cannot be used: {error}.") from error
        if len(self.username.encode()) > MAX_USERNAME:
            raise InvalidLogin(f"The user name is longer than {MAX_USERNAME} bytes.")


@dataclass(frozen=True, slots=True)
class AuthSession:
    """The parameters of a challenge (401 or 438), and the key derived from them.

    ``offered`` is the server's PASSWORD-ALGORITHMS, echoed as it came (RFC 8489 §9.2.5); None means a server of
    RFC 5389, which supports only MD5 and MESSAGE-INTEGRITY.
    """

    login: Login
    realm: str
    nonce: bytes
    offered: tuple[AlgorithmValue, ...] | None
    chosen: AlgorithmValue | None
    anonymous: bool
    key: bytes = field(repr=False)

    @classmethod
    def from_challenge(cls, login: Login, challenge: Message, before: "AuthSession | None" = None) -> "AuthSession":
        """Read a challenge (RFC 8489 §9.2.5).

        A 438 may omit what the session ``before`` it has: the realm, and the algorithms, because after a list of
        them only MESSAGE-INTEGRITY-SHA256 is used. Raises `CannotAuthenticate` when the challenge is incomplete, bids
        the algorithm down, or offers only unknown ones, and `stun.errors.MalformedMessage` for a bad attribute value.
        """
        realm, nonce = challenge.first(REALM), challenge.first(NONCE)
        if realm is None and before is not None:
            realm = before.realm
        if realm is None or nonce is None:
            raise CannotAuthenticate("The server asked for credentials without a realm and a nonce.")
        offered = None if login.rfc5389 else challenge.first(PASSWORD_ALGORITHMS)
        if offered is None and not login.rfc5389 and bids_down(challenge):
            raise CannotAuthenticate("The nonce promises password algorithms but the answer lists none (a bid-down?).")
        if offered is None and before is not None:
            offered = before.offered
        chosen = None
        if offered is not None:
            chosen = next((item for item in offered if item.number in _KEYS and not item.parameters), None)
            if chosen is None:
                raise CannotAuthenticate("The server offers only password algorithms that are not known here.")
        features = nonce_features(nonce)
        announced = features is not None and SecurityFeatures.USERNAME_ANONYMITY in features
        anonymous = announced and login.anonymous and not login.rfc5389
        if before is not None and (before.realm, before.chosen) == (realm, chosen):
            return cls(login, realm, nonce, offered, chosen, anonymous, before.key)
        return cls(login, realm, nonce, offered, chosen, anonymous, _derive(login, realm, chosen))

    @property
    def name(self) -> str:
        """The method of authentication, for people."""
        if self.chosen is None:
            return "MESSAGE-INTEGRITY (HMAC-SHA1, MD5 key)"
        return (
            f"MESSAGE-INTEGRITY-SHA256 ({'SHA-256' if self.chosen.number == PasswordAlgorithm.SHA256 else 'MD5'} key)"
        )

    def sign(self, builder: MessageBuilder) -> MessageBuilder:
        """Add what an authenticated request carries, the integrity last (RFC 8489 §9.2.3.2, §9.2.5)."""
        if self.anonymous:
            builder.add(USERHASH, user_hash(self.login.username, self.realm))
        else:
            builder.add(USERNAME, self.login.username)
        builder.add(REALM, self.realm).add(NONCE, self.nonce)
        if self.offered is None or self.chosen is None:
            return builder.integrity(self.key)
        builder.add(PASSWORD_ALGORITHMS, self.offered).add(PASSWORD_ALGORITHM, self.chosen)
        return builder.integrity_sha256(self.key)

    def verifies(self, answer: Message) -> bool:
        """True when an answer has the same type of integrity as the requests, and it is valid."""
        return (integrity.verify if self.offered is None else integrity.verify_sha256)(answer, self.key)


def bids_down(answer: Message) -> bool:
    """True when a nonce announces password algorithms and the answer lists none: a bid-down attack (§9.2.5).

    Raises `stun.errors.MalformedMessage` for a bad attribute value.
    """
    nonce = answer.first(NONCE)
    features = None if nonce is None else nonce_features(nonce)
    return (
        features is not None
        and SecurityFeatures.PASSWORD_ALGORITHMS in features
        and answer.first(PASSWORD_ALGORITHMS) is None
    )


def _derive(login: Login, realm: str, chosen: AlgorithmValue | None) -> bytes:
    derive = _KEYS[PasswordAlgorithm.MD5 if chosen is None else chosen.number]
    try:
        return derive(login.username, realm, login.password)
    except InvalidString as error:
        raise CannotAuthenticate(f"The server's realm cannot be used: {error}.") from error
