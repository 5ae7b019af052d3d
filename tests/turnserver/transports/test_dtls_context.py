"""Contexts for DTLS from the certificates of TLS."""

from pathlib import Path

from OpenSSL import SSL

from tests.support.certificates import issue
from turnserver.transports.certificates import CertificateSource
from turnserver.transports.dtls_context import _MOST, DtlsContexts


def test_a_context_is_made_once_for_the_same_certificates(tmp_path: Path) -> None:
    pairs = (issue(tmp_path, "ec"), issue(tmp_path, "rsa", "rsa"))
    source = CertificateSource([(pair.certificate, pair.key) for pair in pairs])
    assert source.shown() == ()
    source.load()
    shown = source.shown("localhost")
    assert shown == tuple((pair.certificate.read_bytes(), pair.key.read_bytes()) for pair in pairs)
    contexts = DtlsContexts()
    context = contexts.of(shown)
    assert isinstance(context, SSL.Context)
    assert contexts.of(source.shown("LOCALHOST.")) is context
    assert contexts.of(shown[:1]) is not context


def test_those_of_replaced_certificates_do_not_pile_up(tmp_path: Path) -> None:
    pair = issue(tmp_path)
    chain, key = pair.certificate.read_bytes(), pair.key.read_bytes()
    contexts = DtlsContexts()
    for number in range(3 * _MOST):
        contexts.of(((chain + b"\n" * number, key),))
        assert len(contexts._made) <= _MOST


def test_the_ciphers_are_those_of_the_configuration(tmp_path: Path) -> None:
    """`tls.ciphers` is for DTLS, too."""
    pair = issue(tmp_path)
    certificates = ((pair.certificate.read_bytes(), pair.key.read_bytes()),)
    context = DtlsContexts("ECDHE-ECDSA-AES128-GCM-SHA256").of(certificates)
    names = [name for name in SSL.Connection(context, None).get_cipher_list() if not name.startswith("TLS_")]
    assert names == ["ECDHE-ECDSA-AES128-GCM-SHA256"]
