"""Certificates for tests: a fixture that makes them."""

import ipaddress
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID

__all__ = ["Certified", "certify"]


class Certified(NamedTuple):
    """A certificate and its key in files; ``certificate`` has the issuers' ones too, if they were asked for."""

    certificate: Path
    key: Path
    signing: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey
    parsed: x509.Certificate


@pytest.fixture
def certify(tmp_path: Path) -> Callable[..., Certified]:
    """Make a certificate: ``certify("localhost", by=authority, days=3)``; self-signed without an issuer."""

    def make(
        *names: str,
        by: Certified | None = None,
        days: float = 60,
        age: float = 1,
        kind: str = "ecdsa",
        chain: tuple[Certified, ...] = (),
        label: str = "server",
    ) -> Certified:
        number = len(list(tmp_path.glob("*.crt")))
        key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey
        if kind == "rsa":
            key = rsa.generate_private_key(65537, 2048)
        else:
            key = ec.generate_private_key(ec.SECP256R1()) if kind == "ecdsa" else ed25519.Ed25519PrivateKey.generate()
        now = datetime.now(UTC)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{label} {number}")])
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject if by is None else by.parsed.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=age))
            .not_valid_after(now + timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca=not names, path_length=None), critical=True)
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName([_general(name) for name in names]), False)
        signing = key if by is None else by.signing
        parsed = builder.sign(signing, None if isinstance(signing, ed25519.Ed25519PrivateKey) else hashes.SHA256())
        made = Certified(tmp_path / f"{number}.crt", tmp_path / f"{number}.key", key, parsed)
        pem = [parsed, *(issuer.parsed for issuer in chain)]
        made.certificate.write_bytes(b"".join(each.public_bytes(serialization.Encoding.PEM) for each in pem))
        made.key.touch(mode=0o600)
        made.key.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return made

    return make


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
