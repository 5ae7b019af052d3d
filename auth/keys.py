"""Long-term keys and the user hash (RFC 8489 §9.2.2, §14.4, §18.5.1), over texts prepared with OpaqueString.

The username goes into a key exactly as it is sent in USERNAME; realm and password are prepared here.
"""

import hashlib
import re
from collections.abc import Mapping

from auth.errors import InvalidString
from auth.precis import opaque_string

__all__ = [
    "MD5",
    "SHA256",
    "key_from_hex",
    "long_term_key_md5",
    "long_term_key_sha256",
    "long_term_keys",
    "opaque_string",
    "user_hash",
]

MD5 = 1
"""The number of the MD5 password algorithm (RFC 8489 §18.5.1.1)."""

SHA256 = 2
"""The number of the SHA-256 password algorithm (RFC 8489 §18.5.1.2)."""


_MD5_LENGTH = 16
_HEX = re.compile(r"[0-9A-Fa-f]{32}(?:[0-9A-Fa-f]{32})?", re.ASCII)


def _key_input(username: str, realm: str, password: str) -> bytes:
    text = f"{username}:{opaque_string(realm)}:{opaque_string(password)}"
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise InvalidString("the username has half a surrogate pair") from None


def _md5(data: bytes) -> bytes:
    return hashlib.md5(data, usedforsecurity=False).digest()


def long_term_key_md5(username: str, realm: str, password: str) -> bytes:
    """Return the 16-byte key ``MD5(username ":" OpaqueString(realm) ":" OpaqueString(password))`` (§18.5.1.1).

    Raises InvalidString if the realm or the password is not an OpaqueString, or the username cannot be UTF-8.
    """
    return _md5(_key_input(username, realm, password))


def long_term_key_sha256(username: str, realm: str, password: str) -> bytes:
    """Return the 32-byte key ``SHA-256(username ":" OpaqueString(realm) ":" OpaqueString(password))`` (§18.5.1.2).

    Raises InvalidString if the realm or the password is not an OpaqueString, or the username cannot be UTF-8.
    """
    return hashlib.sha256(_key_input(username, realm, password)).digest()


def long_term_keys(username: str, realm: str, password: str) -> Mapping[int, bytes]:
    """Return both long-term keys by the number of their password algorithm, as a Credential holds them.

    Raises InvalidString as :func:`long_term_key_md5` does.
    """
    data = _key_input(username, realm, password)
    return {MD5: _md5(data), SHA256: hashlib.sha256(data).digest()}


def key_from_hex(digits: str) -> Mapping[int, bytes]:
    """Return a long-term key that is stored instead of a password, by the number of its password algorithm.

    ``digits`` are hexadecimal: 32 of an MD5 key, 64 of a SHA-256 key. Raises ValueError for anything else; the message
    does not repeat them.
    """
    if not _HEX.fullmatch(digits):
        raise ValueError("a key has 32 or 64 hexadecimal digits")
    key = bytes.fromhex(digits)
    return {MD5 if len(key) == _MD5_LENGTH else SHA256: key}


def user_hash(username: str, realm: str) -> bytes:
    """Return the 32-byte USERHASH, ``SHA-256(OpaqueString(username) ":" OpaqueString(realm))`` (RFC 8489 §14.4).

    Raises InvalidString if either text is not an OpaqueString.
    """
    return hashlib.sha256(f"{opaque_string(username)}:{opaque_string(realm)}".encode()).digest()
