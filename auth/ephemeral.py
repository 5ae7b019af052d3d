"""Time-limited credentials: ``<expiry>[:<user>]`` and a password made with a shared secret.

The scheme of draft-uberti-behave-turn-rest, as in coturn and many web back ends: the username starts with the Unix time
at which it expires, the password is ``base64(HMAC(secret, username))``, and the server needs only the secret.

Some back ends have it the other way round, ``<user>:<expiry>``, and coturn takes both. So does `NameOrder` ``any``: the
expiry is the number before the first separator or, if that is no number, the one after the last. A user whose name
is a number of up to 15 digits is therefore taken for an expiry, in names of the second kind.
"""

import hmac
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from auth.errors import InvalidCredential, InvalidString
from auth.keys import long_term_keys, opaque_string
from auth.source import CredentialSource
from auth.types import Credential

__all__ = [
    "MAX_USERNAME_BYTES",
    "NameOrder",
    "SharedSecret",
    "TimeLimitedCredentials",
    "mint",
    "parse_username",
    "password_for",
]

NameOrder: TypeAlias = Literal["any", "expiry-first"]
"""Where a username may have its expiry."""

MAX_USERNAME_BYTES = 508
"""The longest USERNAME, in bytes of UTF-8 (RFC 8489 §14.3: fewer than 509)."""

_MAX_DIGITS = 15
# Up to the year 31 million, and still exact in a float; a longer number is not a plausible time.

_ASCII_DIGITS = frozenset("0123456789")


@dataclass(frozen=True, slots=True)
class SharedSecret:
    """A secret that the server shares with the program that mints credentials, and the hash of its HMAC.

    Raises InvalidCredential if the secret is empty or the algorithm is neither ``sha1`` (the common one) nor
    ``sha256``.
    """

    secret: bytes = field(repr=False)
    algorithm: Literal["sha1", "sha256"] = "sha1"

    def __post_init__(self) -> None:
        """Refuse values that could not authenticate a user."""
        if not self.secret:
            raise InvalidCredential("a shared secret is not empty")
        if self.algorithm not in {"sha1", "sha256"}:
            raise InvalidCredential("the hash of a shared secret is sha1 or sha256")


def password_for(secret: SharedSecret, username: str) -> str:
    """Return the password that goes with a time-limited username, ``base64(HMAC(secret, username))``.

    Raises InvalidCredential if the username cannot be written in UTF-8.
    """
    try:
        message = username.encode()
    except UnicodeEncodeError:
        raise InvalidCredential("a username is text that UTF-8 can carry") from None
    return b64encode(hmac.digest(secret.secret, message, secret.algorithm)).decode("ascii")


def mint(secret: SharedSecret, user: str, expires_at: int, separator: str = ":") -> tuple[str, str]:
    """Return the username and the password of a credential that is good until ``expires_at`` (Unix time, seconds).

    ``user`` is the user that quotas count; it may be empty. Raises InvalidCredential if the user is not an
    OpaqueString, the time is not a positive number of up to 15 digits, the separator is not usable, or the username
    would be longer than 508 bytes.
    """
    _check_separator(separator)
    if not 0 < expires_at < 10**_MAX_DIGITS:
        raise InvalidCredential(f"the expiry is Unix time: a positive number of up to {_MAX_DIGITS} digits")
    try:
        username = f"{int(expires_at)}{separator}{opaque_string(user)}" if user else str(int(expires_at))
    except InvalidString as error:
        raise InvalidCredential(f"the user is not usable in a username: {error}") from None
    if len(username.encode()) > MAX_USERNAME_BYTES:
        raise InvalidCredential(f"the username would be longer than {MAX_USERNAME_BYTES} bytes")
    return username, password_for(secret, username)


def parse_username(username: str, separator: str = ":", order: NameOrder = "expiry-first") -> tuple[int, str]:
    """Split ``<expiry>`` or ``<expiry><separator><user>`` into the Unix time in seconds and the user ("" without
    one).

    The user is everything after the first separator and is still untrusted text. With the order ``any`` a name that
    does not begin with an expiry may end with one: the user is everything before the last separator then. Raises
    InvalidCredential if there is no expiry, which is 1 to 15 ASCII digits, or the separator is not usable.
    """
    _check_separator(separator)
    digits, _, user = username.partition(separator)
    if _is_time(digits):
        return int(digits), user
    if order == "any":
        user, _, digits = username.rpartition(separator)
        if user and _is_time(digits):
            return int(digits), user
    raise InvalidCredential("the username is not <expiry> or <expiry><separator><user>")


def _is_time(digits: str) -> bool:
    return 0 < len(digits) <= _MAX_DIGITS and _ASCII_DIGITS.issuperset(digits)


def _check_separator(separator: str) -> None:
    if not separator or not _ASCII_DIGITS.isdisjoint(separator):
        raise InvalidCredential("the separator is at least one character, and none of them a digit")


class TimeLimitedCredentials(CredentialSource):
    """A source for all users whose credentials were minted with one of the shared secrets.

    It stores no users: any name of the right form gets one credential per secret, in the order of the secrets, and only
    the key shows whether the name was really minted. Such a user cannot be found by hash, because a hash does not
    contain the expiry. Raises InvalidCredential if there is no secret or the separator is not usable.
    """

    __slots__ = ("_order", "_secrets", "_separator")

    def __init__(
        self, secrets: Sequence[SharedSecret], separator: str = ":", order: NameOrder = "expiry-first"
    ) -> None:
        _check_separator(separator)
        if not secrets:
            raise InvalidCredential("time-limited credentials need at least one shared secret")
        self._secrets = tuple(secrets)
        self._separator = separator
        self._order: NameOrder = order

    def __repr__(self) -> str:
        """Count the secrets; show none."""
        return f"TimeLimitedCredentials({len(self._secrets)} secrets)"

    def find(self, username: str, realm: str, wall: float) -> Sequence[Credential]:
        """Return one credential per secret, or nothing if the name does not have the form.

        ``user_id`` is the prepared user part, or the whole username without one; ``expires_at`` is the expiry in the
        name, past or not. Names that are not OpaqueStrings belong to no user (RFC 8489 §14.3).
        """
        if len(username) > MAX_USERNAME_BYTES:
            return ()
        try:
            expires_at, user = parse_username(username, self._separator, self._order)
            prepared = opaque_string(username)
            user_id = opaque_string(user) if user else prepared
            return tuple(
                Credential(
                    username,
                    realm,
                    user_id,
                    long_term_keys(username, realm, password_for(secret, username)),
                    float(expires_at),
                )
                for secret in self._secrets
            )
        except (InvalidCredential, InvalidString):
            return ()

    def misread(self, username: str) -> str:
        """What is wrong with the time in a name that has a separator or begins with a digit, and should have one."""
        first, separator, rest = username[: MAX_USERNAME_BYTES + 1].partition(self._separator)
        if not separator and first[:1] not in _ASCII_DIGITS:
            return ""
        last = rest.rpartition(self._separator)[2]
        if self._order == "expiry-first" and _is_time(last) and not _is_time(first):
            return "the expiry comes after the user, and has to come first"
        if len(first) > _MAX_DIGITS and _ASCII_DIGITS.issuperset(first):
            return f"the expiry has more than {_MAX_DIGITS} digits"
        return "there is no expiry, which is a number of seconds"

    def holds(self, credential: Credential, wall: float) -> bool:
        """Whether it was minted with one of the secrets; expired or not."""
        return any(credential.equals(each) for each in self.find(credential.username, credential.realm, wall))
