"""The facts of a certificate, for people and for programs. Reading any certificate raises one type of error at most."""

import ipaddress
import re
import ssl
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.utils import CryptographyDeprecationWarning
from cryptography.x509.oid import ExtendedKeyUsageOID

from turnserver.errors import ServerError

__all__ = ["SOON", "CertificateFacts", "UnreadableCertificate", "chain_faults"]

SOON = timedelta(days=14)
"""A certificate that expires within this should have been renewed by now; ACME clients do it a month ahead."""

_MOST_NAMES = 100
"""Maximum number of names that are kept; a certificate may have megabytes of them."""

_LONGEST = 255

_ESCAPED = re.compile(r"\\([^0-9A-Fa-f])", re.DOTALL)
"""A character with its backslash; before two hexadecimal digits, it stands for a byte that is no text."""

_UNREADABLE = (ValueError, x509.InvalidVersion, UnsupportedAlgorithm)

_CURVES = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}


class UnreadableCertificate(ServerError, ValueError):
    """The certificate cannot be read."""


@dataclass(frozen=True, slots=True)
class CertificateFacts:
    """The facts of one certificate. Times are in UTC.

    Texts are as in the certificate, with a bound on their length: what shows them escapes them, once. ``subject`` and
    ``issuer`` are in the form of RFC 4514. ``names`` are DNS names and addresses that it is for, ``key`` is like
    ``ECDSA P-256`` and ``kind`` like ``EC``, ``sha256`` is its fingerprint in hexadecimal digits.
    """

    subject: str
    issuer: str
    names: tuple[str, ...]
    not_before: datetime
    not_after: datetime
    key: str
    sha256: str
    kind: str = ""

    @classmethod
    def from_der(cls, data: bytes) -> "CertificateFacts":
        """Read a certificate as a TLS server sends it. Raises `UnreadableCertificate`."""
        try:
            with warnings.catch_warnings():
                # Warnings about a foreign certificate do not belong on standard error.
                warnings.simplefilter("ignore", CryptographyDeprecationWarning)
                return cls.of(x509.load_der_x509_certificate(data))
        except _UNREADABLE as error:
            raise UnreadableCertificate("The certificate cannot be read.") from error

    @classmethod
    def from_pem(cls, data: bytes) -> "CertificateFacts":
        """Read the first certificate of a chain in PEM, the server's own. Raises `UnreadableCertificate`."""
        try:
            return cls.of(x509.load_pem_x509_certificate(data))
        except _UNREADABLE as error:
            raise UnreadableCertificate("The certificate cannot be read.") from error

    @classmethod
    def of(cls, certificate: x509.Certificate) -> "CertificateFacts":
        """The facts of a certificate. Raises `UnreadableCertificate` for invalid dates or names."""
        try:
            kind, key = _key(certificate)
            return cls(
                subject=_name(certificate.subject),
                issuer=_name(certificate.issuer),
                names=_names(certificate),
                not_before=certificate.not_valid_before_utc,
                not_after=certificate.not_valid_after_utc,
                key=key,
                sha256=certificate.fingerprint(hashes.SHA256()).hex(),
                kind=kind,
            )
        except _UNREADABLE as error:
            raise UnreadableCertificate("The certificate cannot be read.") from error

    @property
    def plain_subject(self) -> str:
        """The subject without the backslashes of RFC 4514, for what has escapes of its own."""
        return _ESCAPED.sub(r"\1", self.subject)

    @property
    def self_signed(self) -> bool:
        """Whether issuer and subject are the same."""
        return self.subject == self.issuer

    @property
    def span(self) -> str:
        """The period of validity, for people."""
        return f"{self.not_before:%Y-%m-%d} to {self.not_after:%Y-%m-%d %H:%M UTC}"

    def expiry(self, now: datetime) -> str:
        """How soon it expires, in a few words, if that is soon (`SOON`) or past; empty otherwise."""
        left = self.not_after - now
        if left <= timedelta():
            return f"expired on {self.not_after:%Y-%m-%d %H:%M UTC}"
        if left > SOON:
            return ""
        return f"expires in {_count(left.days, 'day') if left.days else 'less than a day'}"

    def as_json(self) -> dict[str, Any]:
        """The facts for programs; times in ISO 8601."""
        return {
            "subject": self.subject,
            "issuer": self.issuer,
            "self_signed": self.self_signed,
            "names": list(self.names),
            "not_before": self.not_before.astimezone(UTC).isoformat(),
            "not_after": self.not_after.astimezone(UTC).isoformat(),
            "key": self.key,
            "sha256": self.sha256,
        }


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _name(name: x509.Name) -> str:
    return _cut(name.rfc4514_string()) or "(nobody)"


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _names(certificate: x509.Certificate) -> tuple[str, ...]:
    """The subject alternative names; none without them, because the common name is not used any more (RFC 9525)."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, x509.DuplicateExtension, x509.UnsupportedGeneralNameType, ValueError):
        return ()
    names = [_cut(name) for name in found.get_values_for_type(x509.DNSName)[:_MOST_NAMES]]
    addresses = found.get_values_for_type(x509.IPAddress)[:_MOST_NAMES]
    return tuple([*names, *(str(item) for item in addresses if isinstance(item, _Ip))][:_MOST_NAMES])


_Ip = ipaddress.IPv4Address | ipaddress.IPv6Address


def _key(certificate: x509.Certificate) -> tuple[str, str]:
    """The kind of the public key, and its description."""
    try:
        key = certificate.public_key()
    except (UnsupportedAlgorithm, ValueError):
        return "unknown", "unknown"
    known: tuple[tuple[type, str, Callable[[Any], str]], ...] = (
        (ec.EllipticCurvePublicKey, "EC", lambda it: f"ECDSA {_CURVES.get(it.curve.name, it.curve.name)}"),
        (rsa.RSAPublicKey, "RSA", lambda it: f"RSA {it.key_size}"),
        (ed25519.Ed25519PublicKey, "Ed25519", lambda it: "Ed25519"),
        (ed448.Ed448PublicKey, "Ed448", lambda it: "Ed448"),
    )
    for found, kind, words in known:
        if isinstance(key, found):
            return kind, words(key)
    return type(key).__name__, type(key).__name__


def chain_faults(chain: Sequence[x509.Certificate], now: datetime) -> list[str]:
    """What is wrong with a chain for the clients that are shown it, and not for the server itself; each is a sentence.

    ``chain`` is the server's own certificate and what follows it in the file. Whether clients trust the last issuer is
    theirs to know: a missing root is no fault.
    """
    own, *others = chain
    faults = []
    if not _names(own):
        faults.append("It names no host (subject alternative names): browsers refuse it.")
    if not _is_for_servers(own):
        faults.append("It is not for servers (extended key usage): clients refuse it.")
    issuer = _issuer_in(own, others)
    if issuer is None and own.issuer != own.subject and not _is_system_root(own):
        faults.append(
            f"The intermediate certificates are missing: the file has nothing that issued it ({_name(own.issuer)}), so "
            "clients that do not trust this issuer as a root refuse it. Use the full chain (certbot's fullchain.pem)."
        )
    for _ in others:
        if issuer is None:
            break
        if issuer.not_valid_after_utc <= now:
            faults.append(
                f"An intermediate certificate of its chain, {_name(issuer.subject)}, expired on "
                f"{issuer.not_valid_after_utc:%Y-%m-%d %H:%M UTC}: clients refuse it."
            )
        issuer = None if issuer.issuer == issuer.subject else _issuer_in(issuer, others)
    return faults


def _is_for_servers(certificate: x509.Certificate) -> bool:
    """RFC 5280 §4.2.1.12: without the extension, a certificate is for every use."""
    try:
        usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except (x509.ExtensionNotFound, x509.DuplicateExtension, x509.UnsupportedGeneralNameType, ValueError):
        return True
    return any(each in usage for each in (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE))


def _issuer_in(certificate: x509.Certificate, others: Sequence[x509.Certificate]) -> x509.Certificate | None:
    return next((other for other in others if _issued(other, certificate)), None)


def _issued(issuer: x509.Certificate, certificate: x509.Certificate) -> bool:
    if certificate.issuer != issuer.subject:
        return False
    try:
        certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, UnsupportedAlgorithm, ValueError, TypeError):
        return False
    return True


def _is_system_root(certificate: x509.Certificate) -> bool:
    """Whether a root in this machine's store has issued it; False where there is no store."""
    try:
        roots = ssl.create_default_context().get_ca_certs(binary_form=True)
    except OSError:
        return False
    with warnings.catch_warnings():
        # Some roots are older than the rules of today.
        warnings.simplefilter("ignore", CryptographyDeprecationWarning)
        for data in roots:
            try:
                if _issued(x509.load_der_x509_certificate(data), certificate):
                    return True
            except _UNREADABLE:
                continue
    return False
