"""The development certificate of ``meshturn up``."""

import ipaddress
import socket
import ssl
import stat
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from cli import development
from cli.development import LIFETIME, RENEW_BEFORE, ensure_certificate, local_names
from cli.state import StateDirectory
from turnserver.errors import StartupError
from turnserver.transports.certificates import CertificatePair, inspect_pair

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
NAMES = ["localhost", "turn.example.org", "127.0.0.1", "2001:db8::1"]
DAY = timedelta(days=1)


@pytest.fixture
def state(tmp_path: Path) -> StateDirectory:
    made = StateDirectory(tmp_path / "state")
    made.prepare()
    return made


def _parsed(state: StateDirectory) -> x509.Certificate:
    return x509.load_pem_x509_certificate(state.certificate_path.read_bytes())


def test_it_is_for_a_server_and_nothing_else(state: StateDirectory) -> None:
    """RFC 5280 §4.2.1: who trusts it trusts this server, not whatever its key may sign."""
    facts = ensure_certificate(state, NAMES, NOW)
    certificate = _parsed(state)
    extensions = certificate.extensions
    assert set(facts.names) == set(NAMES)
    assert (facts.key, facts.self_signed) == ("ECDSA P-256", True)
    assert facts.not_before < NOW < facts.not_after == NOW + LIFETIME
    assert extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False
    assert extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign is False
    assert inspect_pair(CertificatePair(state.certificate_path, state.key_path), NOW.timestamp()).facts.kind == "EC"


def test_the_key_is_for_nobody_else(state: StateDirectory) -> None:
    """Rule 24: mode 0600 from the first byte on, and nothing left behind."""
    ensure_certificate(state, NAMES, NOW)
    assert stat.S_IMODE(state.key_path.stat().st_mode) == 0o600
    kept = {"shared-secret", "admin-key", "certificate.pem", "certificate.key"}
    assert {path.name for path in state.path.iterdir()} == kept


def test_it_is_kept_between_runs(state: StateDirectory) -> None:
    """Whoever has told a browser to trust it need not do so every day."""
    first = ensure_certificate(state, NAMES, NOW)
    assert ensure_certificate(state, NAMES, NOW + LIFETIME - RENEW_BEFORE - DAY) == first
    assert ensure_certificate(state, NAMES[:1], NOW) == first


@pytest.mark.parametrize(
    ("names", "later"),
    [(NAMES, LIFETIME - RENEW_BEFORE + DAY), (NAMES, LIFETIME + DAY), ([*NAMES, "192.0.2.9"], DAY), (NAMES, -10 * DAY)],
    ids=["near its end", "past its end", "another address", "before its time"],
)
def test_it_is_renewed_in_time(state: StateDirectory, names: list[str], later: timedelta) -> None:
    """Renewed a month ahead and for a new address; with the same key, so that the pair fits at every moment."""
    first = ensure_certificate(state, NAMES, NOW)
    key = state.key_path.read_bytes()
    second = ensure_certificate(state, names, NOW + later)
    assert second.sha256 != first.sha256
    assert set(second.names) == set(names)
    assert second.not_before < NOW + later < second.not_after
    assert state.key_path.read_bytes() == key


@pytest.mark.parametrize(
    ("which", "text"),
    [
        ("certificate_path", ""),
        ("certificate_path", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
        ("key_path", ""),
        ("key_path", "nothing"),
        ("key_path", None),
        ("certificate_path", None),
    ],
)
def test_what_is_damaged_is_replaced(state: StateDirectory, which: str, text: str | None) -> None:
    """A disk that was full, a file that was removed: the next run has a good pair again."""
    ensure_certificate(state, NAMES, NOW)
    path: Path = getattr(state, which)
    if text is None:
        path.unlink()
    else:
        path.write_text(text)
    ensure_certificate(state, NAMES, NOW)
    inspect_pair(CertificatePair(state.certificate_path, state.key_path), NOW.timestamp())
    assert stat.S_IMODE(state.key_path.stat().st_mode) == 0o600


@pytest.mark.parametrize("kind", ["ecdsa", "rsa"])
def test_somebody_elses_key_is_not_taken_with_our_certificate(
    state: StateDirectory, certify: Callable[..., Any], kind: str
) -> None:
    """RFC 8446 §4.4.3: a certificate is worth nothing without its key."""
    ensure_certificate(state, NAMES, NOW)
    state.key_path.write_bytes(certify(kind=kind).key.read_bytes())
    ensure_certificate(state, NAMES, NOW)
    inspect_pair(CertificatePair(state.certificate_path, state.key_path), NOW.timestamp())


def test_a_key_with_a_passphrase_is_replaced(state: StateDirectory, certify: Callable[..., Any]) -> None:
    """There is nobody to ask for it."""
    locked = certify().signing.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"x")
    )
    ensure_certificate(state, NAMES, NOW)
    state.key_path.write_bytes(locked)
    ensure_certificate(state, NAMES, NOW)
    inspect_pair(CertificatePair(state.certificate_path, state.key_path), NOW.timestamp())


def test_a_key_that_others_have_read_is_refused(state: StateDirectory) -> None:
    """Rule 24: who has the key can be this server to whoever trusts its certificate."""
    ensure_certificate(state, NAMES, NOW)
    state.key_path.chmod(0o644)
    with pytest.raises(StartupError, match="open to others") as caught:
        ensure_certificate(state, NAMES, NOW)
    assert "remove" in caught.value.hint


def test_the_first_of_two_that_start_at_once_keeps_its_key(
    state: StateDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A certificate made with another's key would fit nothing."""
    ensure_certificate(state, NAMES, NOW)
    key = state.key_path.read_bytes()
    monkeypatch.setattr(Path, "exists", lambda self: False)
    ensure_certificate(state, [*NAMES, "192.0.2.9"], NOW)
    assert state.key_path.read_bytes() == key


def test_a_client_that_trusts_the_file_can_connect(state: StateDirectory) -> None:
    """RFC 9525 §6: by name and by address, of either family, with nothing but the file to trust."""
    ensure_certificate(state, ["localhost", "127.0.0.1", "::1"], datetime.now(UTC))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(state.certificate_path, state.key_path)
    client = ssl.create_default_context(cafile=str(state.certificate_path))
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    for host in ("localhost", "127.0.0.1", "::1"):
        ours, theirs = (ssl.MemoryBIO(), ssl.MemoryBIO()), (ssl.MemoryBIO(), ssl.MemoryBIO())
        one = client.wrap_bio(*ours, server_hostname=host)
        other = server.wrap_bio(*theirs, server_side=True)
        for _ in range(3):
            for end in (one, other):
                with suppress(ssl.SSLWantReadError):
                    end.do_handshake()
                theirs[0].write(ours[1].read())
                ours[0].write(theirs[1].read())
        assert one.version() == "TLSv1.3"


def test_what_this_machine_is_known_by(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rule 23: every address that a client may use here, and the names for it."""
    names = local_names(["198.51.100.1", "localhost"])
    assert names[:2] == ["198.51.100.1", "localhost"]
    assert "127.0.0.1" in names
    assert len(names) == len(set(names))
    many = [ipaddress.ip_address(0x0A000000 + number).packed for number in range(300)]
    monkeypatch.setattr(development, "local_addresses", lambda: many)
    assert len(local_names()) == 100


@pytest.mark.parametrize(
    ("name", "known"),
    [("Web-1", ["web-1"]), ("a.example.org.", ["a.example.org"]), ("my_host", []), ("b\u00fccher", []), ("", [])],
)
def test_host_names_that_are_no_dns_names(monkeypatch: pytest.MonkeyPatch, name: str, known: list[str]) -> None:
    """RFC 5280 §4.2.1.6: dNSName is the preferred name syntax; host names may be anything."""
    monkeypatch.setattr(socket, "gethostname", lambda: name)
    monkeypatch.setattr(development, "local_addresses", lambda: [])
    assert local_names() == ["localhost", *known]
