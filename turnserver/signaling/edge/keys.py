"""Public keys that verify room tokens, read from PEM (RFC 7468) or a JSON Web Key Set (RFC 7517).

Every key has exactly one algorithm, determined here, so that a token's header cannot choose one (RFC 8725 §3.1).
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt import PyJWK
from jwt.exceptions import PyJWTError

from meshturn.root import MeshturnError
from turnserver.errors import StartupError

__all__ = ["MAX_KEYS", "MAX_KEY_FILE", "PublicKey", "UnusableKey", "load_public_keys", "read_public_keys"]

MAX_KEY_FILE: Final = 65536
"""Maximum size of a key file in bytes; a JWKS of `MAX_KEYS` RSA keys with their certificates is smaller."""

MAX_KEYS: Final = 32
"""Maximum number of keys in one file; a token without a ``kid`` is tried with every key of its algorithm."""

_LEAST_RSA_BITS: Final = 2048
"""RFC 7518 §3.3."""

_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]{1,40})-----[^-]*-----END \1-----")
_PRIVATE: Final = "a private key: only the public key is needed here, and the private one belongs to the signer alone"

_ALGORITHMS: Final[Mapping[str, str]] = {"RSA": "RS256", "EC": "ES256", "OKP": "EdDSA"}
_CURVES: Final[Mapping[str, str]] = {"ES256": "P-256", "EdDSA": "Ed25519"}

Verifier = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey


class UnusableKey(MeshturnError, ValueError):
    """A key cannot verify room tokens; the message is a phrase that names what was found, without quoting it."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A key with its algorithm (``RS256``, ``ES256`` or ``EdDSA``) and its id (``kid``), if it has one."""

    algorithm: str
    key: Verifier = field(repr=False)
    kid: str | None = None


def read_public_keys(data: bytes) -> tuple[PublicKey, ...]:
    """Read a file: PEM public keys or certificates, a JSON Web Key Set, or one JSON Web Key.

    Raises `UnusableKey` if the file has no key, or one that must not be there. Keys of a set for other purposes are
    ignored (RFC 7517 §5).
    """
    if len(data) > MAX_KEY_FILE:
        raise UnusableKey(f"more than {MAX_KEY_FILE} bytes")
    keys = _from_json(data) if data.lstrip()[:1] == b"{" else _from_pem(data)
    if not keys:
        raise UnusableKey("no public key for room tokens")
    if len(keys) > MAX_KEYS:
        raise UnusableKey(f"more than {MAX_KEYS} keys")
    return keys


def load_public_keys(path: Path) -> tuple[PublicKey, ...]:
    """The keys in a file. Raises `turnserver.errors.StartupError` with one sentence if the file cannot be used."""
    try:
        with path.open("rb") as stream:
            return read_public_keys(stream.read(MAX_KEY_FILE + 1))
    except OSError as error:
        raise StartupError(f"The public key {path} cannot be read: {error.strerror}.") from error
    except UnusableKey as error:
        raise StartupError(f"The public key {path} cannot be used: {error}.") from error


def _from_pem(data: bytes) -> tuple[PublicKey, ...]:
    keys = []
    for block in _BLOCK.finditer(data):
        label = block[1].decode("ascii")
        if "PRIVATE" in label:
            raise UnusableKey(_PRIVATE)
        try:
            if label == "CERTIFICATE":
                key: object = x509.load_pem_x509_certificate(block[0]).public_key()
            else:
                key = serialization.load_pem_public_key(block[0])
        except (ValueError, UnsupportedAlgorithm):
            raise UnusableKey("PEM that is not a public key or a certificate") from None
        keys.append(_with_algorithm(key))
    return tuple(keys)


def _with_algorithm(key: object, kid: str | None = None) -> PublicKey:
    if isinstance(key, rsa.RSAPublicKey):
        if key.key_size < _LEAST_RSA_BITS:
            raise UnusableKey(f"an RSA key of {key.key_size} bits; the minimum is {_LEAST_RSA_BITS}")
        return PublicKey("RS256", key, kid)
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1):
        return PublicKey("ES256", key, kid)
    if isinstance(key, ed25519.Ed25519PublicKey):
        return PublicKey("EdDSA", key, kid)
    raise UnusableKey("a key that is not RSA, P-256 or Ed25519")


def _from_json(data: bytes) -> tuple[PublicKey, ...]:
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        raise UnusableKey("broken JSON") from None
    listed = found.get("keys", [found])
    if not isinstance(listed, list):
        raise UnusableKey("JSON that is not a JSON Web Key Set")
    if len(listed) > MAX_KEYS:
        raise UnusableKey(f"more than {MAX_KEYS} keys")
    keys = [_from_jwk(jwk) for jwk in listed if isinstance(jwk, dict)]
    return tuple(key for key in keys if key is not None)


def _from_jwk(jwk: Mapping[str, Any]) -> PublicKey | None:
    """One key of a set; None for a key for another purpose."""
    if "d" in jwk:
        raise UnusableKey(_PRIVATE)
    if jwk.get("kty") == "oct":
        raise UnusableKey("a symmetric key: that is a secret, and belongs under signaling.key")
    kind = jwk.get("kty")
    algorithm = _ALGORITHMS.get(kind) if isinstance(kind, str) else None
    if algorithm is None or jwk.get("use", "sig") != "sig":
        return None
    kid = jwk.get("kid")
    if kid is not None and not isinstance(kid, str):
        raise UnusableKey("a kid that is not a string")
    if jwk.get("alg", algorithm) not in (algorithm, "Ed25519" if kind == "OKP" else algorithm):
        return None  # a key for another algorithm must not be used with this one (RFC 8725 §3.1)
    if jwk.get("crv") != _CURVES.get(algorithm):
        return None
    try:
        key = PyJWK({name: jwk[name] for name in ("kty", "crv", "n", "e", "x", "y") if name in jwk}, algorithm).key
    except (PyJWTError, ValueError, TypeError, UnsupportedAlgorithm):
        raise UnusableKey("an invalid JSON Web Key") from None
    return _with_algorithm(key, kid)
