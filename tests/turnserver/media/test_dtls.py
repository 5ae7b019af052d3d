"""The handshake of a media connection: with itself, and with aiortc's certificates and contexts."""

import hashlib
from datetime import UTC, datetime
from typing import Any

import pytest
from aiortc.rtcdtlstransport import SRTP_AEAD_AES_128_GCM, SRTP_AES128_CM_SHA1_80, RTCCertificate
from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import SSL, crypto

from turnserver.dtls import DtlsClosed, DtlsFailed, DtlsSession, records, secured
from turnserver.media.dtls import DtlsIdentity, Fingerprint, SrtpHandshake, create_identity
from turnserver.media.srtp import SrtpReceiver, SrtpSender

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def ours() -> DtlsIdentity:
    return create_identity(NOW)


@pytest.fixture(scope="module")
def browser() -> DtlsIdentity:
    return create_identity(NOW)


def carry(source: SrtpHandshake, target: SrtpHandshake) -> int:
    flight = source.flight()
    for datagram in flight:
        assert len(datagram) <= 1200
        target.feed(datagram)
    return sum(map(len, flight))


def pair(ours: DtlsIdentity, browser: DtlsIdentity, *expected: Fingerprint) -> tuple[SrtpHandshake, SrtpHandshake]:
    server = SrtpHandshake(ours, "server", expected or [browser.fingerprint])
    client = SrtpHandshake(browser, "client", [ours.fingerprint])
    for source, target in ((client, server), (server, client), (client, server), (server, client)):
        carry(source, target)
    return server, client


def test_both_sides_have_the_same_keys(ours: DtlsIdentity, browser: DtlsIdentity) -> None:
    """AES-GCM; what one protects the other reads."""
    server, client = pair(ours, browser)
    assert server.keys is not None
    assert client.keys is not None
    assert server.keys.profile.name == b"SRTP_AEAD_AES_128_GCM"
    for near, far in ((server.keys, client.keys), (client.keys, server.keys)):
        memory = bytearray(b"\x80\x60\x00\x01" + bytes(8) + b"hello" + bytes(32))
        size = SrtpSender(near).protect(memory, 17)
        assert SrtpReceiver(far).unprotect(memory[:size], size) == 17
    assert server.timeout() is None
    for datagram in client.close():
        with pytest.raises(DtlsClosed):
            server.feed(datagram)


def test_the_flight_of_the_server_is_small(ours: DtlsIdentity, browser: DtlsIdentity) -> None:
    """Or a client would wait for its second check until three times its bytes are enough."""
    server = SrtpHandshake(ours, "server", [browser.fingerprint])
    carry(SrtpHandshake(browser, "client", [ours.fingerprint]), server)
    assert 200 < sum(map(len, server.flight())) < 1000


def test_a_certificate_that_was_not_announced(ours: DtlsIdentity, browser: DtlsIdentity) -> None:
    """RFC 8122 §5: the strongest hash function decides, and any fingerprint by it will do."""
    right = browser.fingerprint
    with pytest.raises(DtlsFailed, match="certificate"):
        pair(ours, browser, ours.fingerprint)
    with pytest.raises(DtlsFailed, match="certificate"):
        pair(ours, browser, right, Fingerprint("sha-512", bytes(64)))
    with pytest.raises(DtlsFailed, match="certificate"):
        pair(ours, browser, Fingerprint("sha-1", right.value))
    server, _ = pair(ours, browser, ours.fingerprint, right)
    assert server.keys is not None


def foreign(context: SSL.Context, server: SrtpHandshake) -> DtlsSession:
    """A client with another context goes through a handshake."""
    client = DtlsSession.connect(context, None, 1200)
    client.begin()
    for _ in range(3):
        for datagram in client.flight():
            server.feed(datagram)
        for datagram in server.flight():
            for record in records(datagram):
                client.feed(record)
    return client


def fingerprint_of(certificate: RTCCertificate) -> Fingerprint:
    (found,) = [each for each in certificate.getFingerprints() if each.algorithm == "sha-256"]
    return Fingerprint("sha-256", bytes.fromhex(found.value.replace(":", "")))


@pytest.mark.parametrize(
    ("profiles", "chosen"),
    [
        ([SRTP_AES128_CM_SHA1_80, SRTP_AEAD_AES_128_GCM], b"SRTP_AEAD_AES_128_GCM"),
        ([SRTP_AES128_CM_SHA1_80], b"SRTP_AES128_CM_SHA1_80"),
    ],
)
def test_the_profile_is_our_choice(ours: DtlsIdentity, profiles: list[Any], chosen: bytes) -> None:
    certificate = RTCCertificate.generateCertificate()
    server = SrtpHandshake(ours, "server", [fingerprint_of(certificate)])
    foreign(certificate._create_ssl_context(profiles), server)
    assert server.keys is not None
    assert server.keys.profile.name == chosen


def test_one_without_srtp(ours: DtlsIdentity) -> None:
    certificate = RTCCertificate.generateCertificate()
    context = secured(SSL.Context(SSL.DTLS_CLIENT_METHOD))
    context.use_certificate(certificate._cert)
    context.use_privatekey(certificate._key)
    with pytest.raises(DtlsFailed, match="SRTP"):
        foreign(context, SrtpHandshake(ours, "server", [fingerprint_of(certificate)]))


def test_one_without_a_certificate(ours: DtlsIdentity, browser: DtlsIdentity) -> None:
    context = secured(SSL.Context(SSL.DTLS_CLIENT_METHOD))
    context.set_tlsext_use_srtp(b"SRTP_AES128_CM_SHA1_80")
    with pytest.raises(DtlsFailed, match="certificate"):
        foreign(context, SrtpHandshake(ours, "server", [browser.fingerprint]))


def test_a_lost_flight_is_sent_again(ours: DtlsIdentity, browser: DtlsIdentity) -> None:
    """There is a time for it; before that nothing is repeated."""
    client = SrtpHandshake(browser, "client", [ours.fingerprint])
    assert client.flight()
    wait = client.timeout()
    assert wait is not None
    assert 0 < wait <= 1
    client.retransmit()
    assert client.flight() == []


def test_how_a_fingerprint_is_written() -> None:
    assert str(Fingerprint("sha-256", b"\x01\xab")) == "sha-256 01:AB"


@pytest.mark.filterwarnings("ignore:Passing pyOpenSSL X509 objects is deprecated")  # `cryptography` cannot make it
@pytest.mark.parametrize("announced", [True, False])
def test_a_certificate_of_a_version_that_there_is_not(
    ours: DtlsIdentity, monkeypatch: pytest.MonkeyPatch, announced: bool
) -> None:
    """Its bytes count, and nothing that is in it: it is the one of the description, or a failure like any other."""
    made: list[tuple[Any, Any]] = []
    monkeypatch.setattr("turnserver.media.dtls.DtlsIdentity.__init__", lambda _, *parts: made.append(parts))
    create_identity(NOW)
    certificate, key = made[0]
    version = b"\xa0\x03\x02\x01"
    data = certificate.public_bytes(Encoding.DER).replace(version + b"\x02", version + b"\x05", 1)
    client = DtlsSession.connect(_context_with(data, key), None, 1200)
    client.begin()
    fingerprint = hashlib.sha256(data).digest() if announced else bytes(32)
    server = SrtpHandshake(ours, "server", [Fingerprint("sha-256", fingerprint)])

    def meet() -> None:
        for _ in range(4):
            for datagram in client.flight():
                server.feed(datagram)
            for datagram in server.flight():
                for record in records(datagram):
                    client.feed(record)

    if announced:
        meet()
        assert server.keys is not None
    else:
        with pytest.raises(DtlsFailed, match="not that of the description"):
            meet()


def _context_with(data: bytes, key: Any) -> SSL.Context:
    context = secured(SSL.Context(SSL.DTLS_CLIENT_METHOD))
    context.set_verify(SSL.VERIFY_NONE, lambda *_: True)
    context.use_certificate(crypto.load_certificate(crypto.FILETYPE_ASN1, data))
    context.use_privatekey(key)
    context.set_tlsext_use_srtp(b"SRTP_AES128_CM_SHA1_80")
    return context
