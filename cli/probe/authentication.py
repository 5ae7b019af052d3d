"""The client's half of the long-term credential mechanism (RFC 8489 §9.2), for one server."""

from collections.abc import Callable
from dataclasses import dataclass, field

from auth.errors import InvalidString
from auth.keys import long_term_key_md5, long_term_key_sha256, user_hash
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
from stun.constants import PasswordAlgorithm
from stun.message import Message, MessageBuilder

__all__ = ["CannotAuthenticate", "Login", "Session"]

_KEYS: dict[int, Callable[[str, str, str], bytes]] = {
    PasswordAlgorithm.MD5: long_term_key_md5,
    PasswordAlgorithm.SHA256: long_term_key_sha256,
}


class CannotAuthenticate(Exception):
    """The server's challenge cannot be answered; the message is one sentence."""


@dataclass(frozen=True, slots=True)
class Login:
    """A user name and its password; the password never shows in a repr."""

    username: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Session:
    """What a challenge (401 or 438) told us, and the key that follows from it.

    ``offered`` is the server's PASSWORD-ALGORITHMS, echoed as it came (RFC 8489 §9.2.5); None means a server of
    RFC 5389, which knows nothing but MD5 and MESSAGE-INTEGRITY.
    """

    login: Login
    realm: str
    nonce: bytes
    offered: tuple[AlgorithmValue, ...] | None
    chosen: AlgorithmValue | None
    anonymous: bool
    key: bytes = field(repr=False)

    @classmethod
    def from_challenge(cls, login: Login, challenge: Message, before: "Session | None" = None) -> "Session":
        """Read a challenge (RFC 8489 §9.2.5); a 438 may leave out the realm, which is then the one of ``before``.

        Raises `CannotAuthenticate` when it is incomplete, bids the algorithm down, or offers none that we know, and
        `stun.errors.MalformedMessage` for a bad attribute value.
        """
        realm, nonce = challenge.first(REALM), challenge.first(NONCE)
        if realm is None and before is not None:
            realm = before.realm
        if realm is None or nonce is None:
            raise CannotAuthenticate("The server asked for credentials without saying its realm and a nonce.")
        offered = challenge.first(PASSWORD_ALGORITHMS)
        features = nonce_features(nonce)
        if offered is None and features is not None and SecurityFeatures.PASSWORD_ALGORITHMS in features:
            raise CannotAuthenticate("The nonce promises password algorithms but the answer lists none (a bid-down?).")
        chosen = None
        if offered is not None:
            chosen = next((item for item in offered if item.number in _KEYS and not item.parameters), None)
            if chosen is None:
                raise CannotAuthenticate("The server offers only password algorithms that are not known here.")
        derive = _KEYS[chosen.number if chosen else PasswordAlgorithm.MD5]
        try:
            key = derive(login.username, realm, login.password)
        except InvalidString as error:
            raise CannotAuthenticate(f"The user name, realm or password cannot be used: {error}") from error
        anonymous = features is not None and SecurityFeatures.USERNAME_ANONYMITY in features
        return cls(login, realm, nonce, offered, chosen, anonymous, key)

    @property
    def name(self) -> str:
        """How requests are authenticated, in words."""
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
        """True when an answer carries the same kind of integrity as the requests do, and it is right."""
        return (integrity.verify if self.offered is None else integrity.verify_sha256)(answer, self.key)
