"""The development certificate of ``meshturn up``: self-signed, so that TLS works without a real certificate."""

import ipaddress
import socket
from collections.abc import Iterable
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from cli.state import StateDirectory
from stun.address import Address
from turnserver.certificates import CertificateFacts, UnreadableCertificate
from turnserver.net import local_addresses

__all__ = ["LIFETIME", "RENEW_BEFORE", "ensure_certificate", "local_names"]

LIFETIME = timedelta(days=90)
RENEW_BEFORE = timedelta(days=30)
"""How long before its expiry a certificate is replaced, as ACME clients do."""

_BACKDATED = timedelta(hours=1)
"""For clients whose clock is slow."""

_MOST_NAMES = 100
"""The largest number of names in the certificate; more addresses are not needed for a trial."""

_LONGEST_NAME = 253


def local_names(more: Iterable[str] = ()) -> list[str]:
    """The names of this machine: ``more`` first, then localhost, its host name, and all its addresses."""
    found = [*more, "localhost", *_host_name(), *(Address(ip, 0).host for ip in local_addresses())]
    return list(dict.fromkeys(found))[:_MOST_NAMES]


def ensure_certificate(state: StateDirectory, names: Iterable[str], now: datetime) -> CertificateFacts:
    """Make sure that the state directory has a certificate for all ``names`` (hosts and addresses), not near its end.

    An existing one that fits is kept. Otherwise a new one is made with the same key, so that a running server can use
    either. Raises `turnserver.errors.StartupError` when the directory cannot be used.
    """
    wanted = list(names)
    kept = _kept(state, now)
    if kept is not None and set(wanted) <= set(kept.names):
        return kept
    key = _key(state)
    certificate = _issue(key, wanted, now)
    state.keep_certificate(certificate.public_bytes(serialization.Encoding.PEM).decode().rstrip())
    return CertificateFacts.of(certificate)


def _kept(state: StateDirectory, now: datetime) -> CertificateFacts | None:
    """The certificate of an earlier run, unless it is damaged, not for the key, or near its end."""
    pair = state.certificate()
    if pair is None:
        return None
    try:
        certificate = x509.load_pem_x509_certificate(pair[0])
        facts = CertificateFacts.of(certificate)
        key = serialization.load_pem_private_key(pair[1], None)
    except (ValueError, TypeError, UnsupportedAlgorithm, UnreadableCertificate):
        return None
    if key.public_key() != certificate.public_key():
        return None
    return facts if facts.not_before <= now < facts.not_after - RENEW_BEFORE else None


def _key(state: StateDirectory) -> ec.EllipticCurvePrivateKey:
    """The existing key; a new one if there is none, or it cannot be used."""
    new = ec.generate_private_key(ec.SECP256R1())
    text = new.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    pem = text.decode().rstrip()
    try:
        kept = serialization.load_pem_private_key(state.keep_key(pem), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        kept = None
    if isinstance(kept, ec.EllipticCurvePrivateKey):
        return kept
    state.replace_key(pem)
    return new


def _issue(key: ec.EllipticCurvePrivateKey, names: list[str], now: datetime) -> x509.Certificate:
    """A certificate for a server only: trusting it makes no other certificate trusted."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "meshturn up, for development")])
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now + LIFETIME)
        .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _host_name() -> list[str]:
    """The host name in the form for certificates; none if it is not a DNS name (host names need not be)."""
    name = socket.gethostname().lower()
    labels = name.rstrip(".").split(".")
    good = all(label and label.isascii() and label.replace("-", "").isalnum() for label in labels)
    return [".".join(labels)] if good and len(name) <= _LONGEST_NAME else []
