"""Certificates for tests: self-signed, for localhost and the loopback addresses, of either kind of key."""

import ipaddress
import os
import ssl
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

__all__ = ["CertificatePair", "client_context", "issue", "serial_of"]

KeyKind = Literal["ecdsa", "rsa"]
DAY = timedelta(days=1)


class CertificatePair(NamedTuple):
    """A certificate and its key, as PEM files, and the serial number by which it is recognised."""

    certificate: Path
    key: Path
    serial: int

    @property
    def config(self) -> dict[str, str]:
        """The entry of ``tls.certificates`` that names it."""
        return {"certificate": str(self.certificate), "key": str(self.key)}

    def replace_by(self, newer: "CertificatePair") -> None:
        """Put another pair in this one's place as certbot and its like do: each file at once, one after the other."""
        for old, new in ((self.key, newer.key), (self.certificate, newer.certificate)):
            os.replace(new, old)


def issue(
    directory: Path,
    name: str = "server",
    kind: KeyKind = "ecdsa",
    *,
    begins: datetime | None = None,
    ends: datetime | None = None,
    bits: int = 2048,
    addresses: Sequence[str] = (),
) -> CertificatePair:
    """Make a self-signed pair in ``directory``; valid from yesterday for a month unless told otherwise.

    ``bits`` is the length of an RSA key, and ``addresses`` are further ones that it is for.
    """
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey = (
        ec.generate_private_key(ec.SECP256R1()) if kind == "ecdsa" else rsa.generate_private_key(65537, bits)
    )
    now = datetime.now(UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"meshturn test, {name}")])
    names: list[x509.GeneralName] = [x509.DNSName("localhost")]
    names += [x509.IPAddress(ipaddress.ip_address(address)) for address in ("127.0.0.1", "::1", *addresses)]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins or now - DAY)
        .not_valid_after(ends or now + 30 * DAY)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    pair = CertificatePair(directory / f"{name}.crt", directory / f"{name}.key", certificate.serial_number)
    pair.key.touch(mode=0o600)
    pair.key.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    pair.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return pair


def client_context(
    trusted: CertificatePair | None = None,
    *,
    version: ssl.TLSVersion | None = None,
    alpn: tuple[str, ...] = (),
) -> ssl.SSLContext:
    """A client's context: it verifies against ``trusted``, or nothing at all; one TLS version only, if one is given."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if trusted is None:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    else:
        context.load_verify_locations(trusted.certificate)
    if version is not None:
        context.minimum_version = context.maximum_version = version
    if alpn:
        context.set_alpn_protocols(list(alpn))
    return context


def serial_of(connection: ssl.SSLSocket) -> int:
    """The serial number of the certificate that a server has shown."""
    shown = connection.getpeercert(binary_form=True)
    assert shown is not None
    return x509.load_der_x509_certificate(shown).serial_number
