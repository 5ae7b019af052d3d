"""What TLS failures mean, and what a handshake showed."""

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cli.probe.security import TlsFacts, Trust, alpn_was_refused, distrust, handshake_trouble
from turnserver.certificates import CertificateFacts

Certify = Callable[..., Any]


def _verification(code: int, message: str = "it is bad") -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_code = code
    error.verify_message = message
    return error


def _ssl_error(reason: str) -> ssl.SSLError:
    error = ssl.SSLError(1, "no")
    error.reason = reason
    return error


@pytest.mark.parametrize(
    ("code", "words", "hint"),
    [
        (9, "not valid yet", "clocks"),
        (10, "has expired", "Renew"),
        (18, "self-signed", "--ca-file"),
        (19, "does not trust", "--ca-file"),
        (20, "does not know who issued", "fullchain"),
        (21, "does not know who issued", "fullchain"),
        (23, "revoked", "new one"),
        (62, "is not for turn.example.org", "it has none"),
        (64, "is not for turn.example.org", "it has none"),
        (999, "cannot be trusted: it is bad", "--ca-file"),
    ],
)
def test_why_a_server_is_not_trusted(code: int, words: str, hint: str) -> None:
    """RFC 8489 §6.2.3: each reason is a sentence and says what to do."""
    trouble = distrust(_verification(code), "turn.example.org", None)
    assert words in trouble.sentence
    assert hint in trouble.hint


def test_a_wrong_name_names_the_right_ones(certify: Certify) -> None:
    """RFC 9525 §6: the names that would have done, a few of them."""
    few = CertificateFacts.of(certify("a.example", "192.0.2.1").parsed)
    assert "(a.example, 192.0.2.1)" in distrust(_verification(62), "b.example", few).hint
    many = CertificateFacts.of(certify(*(f"{letter}.example" for letter in "abcdefgh")).parsed)
    assert "e.example and more" in distrust(_verification(64), "b.example", many).hint


def test_what_openssl_says_stays_text() -> None:
    """Rule 24: nothing that came over the network steers the terminal."""
    assert "\x1b" not in distrust(_verification(1000, "\x1b[2J"), "\x1b[2Jx", None).sentence
    assert "\x1b" not in distrust(_verification(62), "\x1b[2Jx", None).sentence


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("WRONG_VERSION_NUMBER", "does not speak TLS"),
        ("HTTP_REQUEST", "does not speak TLS"),
        ("UNSUPPORTED_PROTOCOL", "no version of TLS"),
        ("TLSV1_ALERT_PROTOCOL_VERSION", "no version of TLS"),
        ("UNEXPECTED_EOF_WHILE_READING", "closed the connection during the TLS handshake"),
        ("SSLV3_ALERT_HANDSHAKE_FAILURE", "refuses the TLS handshake"),
        ("DH_KEY_TOO_SMALL", "failed: dh key too small"),
        ("", "failed: no."),
    ],
)
def test_why_a_handshake_failed(reason: str, words: str) -> None:
    """RFC 8446 §6: OpenSSL's reasons in words."""
    trouble = handshake_trouble(_ssl_error(reason))
    assert words in trouble.sentence
    assert trouble.hint


def test_a_reset_is_a_handshake_that_broke_off() -> None:
    """RFC 8446 §6.1: a connection that ends without an alert."""
    assert "closed the connection" in handshake_trouble(ConnectionResetError()).sentence


def test_a_refusal_of_alpn() -> None:
    """RFC 7301 §3.2: no_application_protocol is told apart from other alerts."""
    assert alpn_was_refused(_ssl_error("TLSV1_ALERT_NO_APPLICATION_PROTOCOL"))
    assert not alpn_was_refused(_ssl_error("SSLV3_ALERT_HANDSHAKE_FAILURE"))
    assert not alpn_was_refused(ConnectionResetError())
    unnamed = ssl.SSLError(1, "[SSL] tlsv1 alert no application protocol (_ssl.c:1006)")
    assert alpn_was_refused(unnamed)
    assert "refuses the TLS handshake" in handshake_trouble(unnamed).sentence


def test_whom_to_trust(certify: Certify, tmp_path: Path) -> None:
    """RFC 8489 §6.2.3: chain and host name are checked unless that is turned off; a file of roots replaces the rest."""
    strict = Trust(certify("localhost").certificate).context()
    assert (strict.verify_mode, strict.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert len(strict.get_ca_certs()) + strict.cert_store_stats()["x509"] >= 1
    assert strict.cert_store_stats()["x509"] == 1
    loose = Trust(insecure=True).context(verify=False)
    assert (loose.verify_mode, loose.check_hostname) == (ssl.CERT_NONE, False)
    assert strict.minimum_version >= ssl.TLSVersion.TLSv1_2
    (tmp_path / "none.pem").write_text("nothing")
    for name in ("none.pem", "missing.pem"):
        with pytest.raises((ssl.SSLError, FileNotFoundError)):
            Trust(tmp_path / name).context()


def test_facts_for_programs(certify: Certify) -> None:
    """RFC 8489 §6.2.3: null where there is nothing."""
    certificate = CertificateFacts.of(certify("localhost").parsed)
    facts = TlsFacts("TLSv1.3", "TLS_AES_128_GCM_SHA256", 128, None, certificate, "It is self-signed.")
    assert facts.as_json() == {
        "version": "TLSv1.3",
        "cipher": "TLS_AES_128_GCM_SHA256",
        "bits": 128,
        "alpn": None,
        "trusted": False,
        "trouble": "It is self-signed.",
        "certificate": certificate.as_json(),
    }
    assert TlsFacts("TLSv1.3", "A", 0, "h2\x1b", None).as_json()["certificate"] is None
    assert "\x1b" not in TlsFacts("TLSv1.3", "A", 0, "h2\x1b", None).summary
