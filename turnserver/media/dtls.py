"""DTLS of a media connection (RFC 5764, RFC 8827 §6.5): who the other side is, and the keys of SRTP.

Nobody signs these certificates: each side has made its own, and its description has the fingerprint (RFC 8122). A
handshake is complete when the certificate of the other side is that one.
"""

import hmac
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final, Literal, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512, Hash, HashAlgorithm
from OpenSSL import SSL
from OpenSSL.crypto import FILETYPE_ASN1, dump_certificate

from turnserver.dtls import DtlsFailed, DtlsSession, records, secured
from turnserver.media.srtp import PROFILES, SrtpKeys, split_keys

__all__ = ["DtlsIdentity", "DtlsRole", "Fingerprint", "SrtpHandshake", "create_identity"]

DtlsRole = Literal["client", "server"]
"""``a=setup:active`` is the client, ``a=setup:passive`` the server (RFC 5763 §5)."""

_HASHES: Final[dict[str, type[HashAlgorithm]]] = {"sha-512": SHA512, "sha-384": SHA384, "sha-256": SHA256}
"""Hash functions of fingerprints, the strongest first (RFC 8122 §5); SHA-1 and MD5 prove nothing any more."""

_MTU: Final = 1200
"""Bytes of the largest datagram of a handshake: IPv6's smallest MTU without headers, and with room for TURN's."""

_LIFETIME: Final = timedelta(days=3650)
"""Nobody looks at the dates of such a certificate, and a server may run for years."""

_CIPHERS: Final = (
    b"ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-ECDSA-AES256-GCM-SHA384"
    b":ECDHE-ECDSA-AES128-SHA:ECDHE-ECDSA-AES256-SHA"
)
"""The first is what every endpoint has (RFC 8827 §6.5); the last two are for old ones."""

_EXPORTER: Final = b"EXTRACTOR-dtls_srtp"


class Fingerprint(NamedTuple):
    """The hash of a certificate: the name of the function in lower case, and its value (RFC 8122 §5)."""

    algorithm: str
    value: bytes

    def __str__(self) -> str:
        """As in ``a=fingerprint``."""
        return f"{self.algorithm} {self.value.hex(':').upper()}"


class DtlsIdentity:
    """The certificate of this server for media, and the contexts with it."""

    def __init__(self, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
        self.fingerprint = Fingerprint("sha-256", certificate.fingerprint(SHA256()))
        self.contexts: dict[DtlsRole, SSL.Context] = {
            "server": _context(SSL.DTLS_SERVER_METHOD, certificate, key),
            "client": _context(SSL.DTLS_CLIENT_METHOD, certificate, key),
        }


def create_identity(now: datetime) -> DtlsIdentity:
    """A new certificate, self-signed, on P-256 (RFC 8827 §6.5). It says nothing about this host."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "media")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + _LIFETIME)
    return DtlsIdentity(builder.sign(key, SHA256()), key)


def _context(method: int, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> SSL.Context:
    context = secured(SSL.Context(method))
    context.set_cipher_list(_CIPHERS)
    context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, lambda *_: True)  # by its fingerprint, later
    context.use_certificate(certificate)
    context.use_privatekey(key)
    context.set_tlsext_use_srtp(b":".join(profile.name for profile in PROFILES))
    return context


class SrtpHandshake:
    """One side of the DTLS association of a connection; see `turnserver.dtls.DtlsSession`.

    ``fingerprints`` are those of the other side's description. ``keys`` are there once the handshake is complete and
    the certificate is the right one.
    """

    def __init__(self, identity: DtlsIdentity, role: DtlsRole, fingerprints: Sequence[Fingerprint]) -> None:
        self._client = role == "client"
        self._fingerprints = tuple(fingerprints)
        context = identity.contexts[role]
        if self._client:
            self._session = DtlsSession.connect(context, None, _MTU)
            self._session.begin()
        else:
            self._session = DtlsSession.serve(context, _MTU)
        self.keys: SrtpKeys | None = None

    def feed(self, datagram: bytes | bytearray | memoryview) -> None:
        """Take one datagram. Raises `DtlsFailed`, also for a wrong certificate, and `DtlsClosed`."""
        for record in records(datagram):
            self._session.feed(record)
            if self._session.established and self.keys is None:
                self.keys = self._verified()

    def flight(self) -> list[bytes]:
        """The datagrams that have to be sent now."""
        return self._session.flight()

    def timeout(self) -> float | None:
        """Seconds until `retransmit`; None while nothing waits for an answer."""
        return self._session.timeout()

    def retransmit(self) -> None:
        """Have the last flight sent again, if it is time. Raises `DtlsFailed`."""
        self._session.retransmit()

    def close(self) -> list[bytes]:
        """End the association; the datagrams that say so."""
        return self._session.close()

    def _verified(self) -> SrtpKeys:
        connection = self._session.connection
        certificate = connection.get_peer_certificate()
        # Its bytes are what counts: nothing in it is read, and OpenSSL takes some that `cryptography` refuses to.
        if certificate is None or not self._is_expected(dump_certificate(FILETYPE_ASN1, certificate)):
            raise DtlsFailed("the certificate is not that of the description", alert=False)
        name = connection.get_selected_srtp_profile()
        for profile in PROFILES:
            if profile.name == name:
                material = connection.export_keying_material(_EXPORTER, 2 * (profile.key + profile.salt))
                return split_keys(profile, material, client=self._client)
        raise DtlsFailed("no common protection profile for SRTP", alert=False)

    def _is_expected(self, certificate: bytes) -> bool:
        """RFC 8122 §5: by the strongest hash function that the description has, in any of its fingerprints."""
        for algorithm, function in _HASHES.items():
            claimed = [each.value for each in self._fingerprints if each.algorithm == algorithm]
            if claimed:
                digest = Hash(function())
                digest.update(certificate)
                actual = digest.finalize()
                return any(hmac.compare_digest(actual, value) for value in claimed)
        return False
