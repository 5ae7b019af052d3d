"""Certificates: what is checked, what is refused and how, and how they are replaced."""

import asyncio
import logging
import os
import ssl
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from tests.support.certificates import CertificatePair, client_context, issue
from tests.support.certify import certify
from tests.support.stream_world import captured_log
from turnserver.config import Config
from turnserver.errors import StartupError
from turnserver.faults import Faults
from turnserver.transports.certificates import CertificateError, CertificateSource, inspect_pair
from turnserver.transports.certificates import CertificatePair as Files

__all__ = ["certify"]

Certify = Callable[..., Any]
NOW = datetime.now(UTC)
DAY = timedelta(days=1)


class Wall:
    """Unix time that moves when the test says so."""

    def __init__(self) -> None:
        self.time = NOW.timestamp()

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def log() -> Iterator[list[logging.LogRecord]]:
    """What the logger of TLS writes."""
    with captured_log("meshturn.tls") as records:
        yield records


def files(pair: CertificatePair) -> tuple[Path, Path]:
    return pair.certificate, pair.key


def served(
    source: CertificateSource, ciphers: str = "", alpn: tuple[str, ...] = (), name: str | None = None, address: str = ""
) -> tuple[int, ssl.SSLObject]:
    """A handshake in memory: the serial number that is shown, and the client's end."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = source.context(("stun.turn", "http/1.1"), name, address).wrap_bio(outgoing, incoming, server_side=True)
    context = client_context(version=ssl.TLSVersion.TLSv1_2 if ciphers else None, alpn=alpn)
    if ciphers:
        context.set_ciphers(ciphers)
    client = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
    waiting = [client, server]
    while waiting:
        for end in list(waiting):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
            waiting.remove(end)
    shown = client.getpeercert(binary_form=True)
    assert shown is not None
    return x509.load_der_x509_certificate(shown).serial_number, client


def reason_of(records: list[logging.LogRecord]) -> str:
    (record,) = records
    assert record.levelno == logging.ERROR
    assert record.getMessage() == "certificate refused, the old one stays in use"
    return str(record.__dict__["fields"]["reason"])


def test_ecdsa_and_rsa_are_served_side_by_side(tmp_path: Path) -> None:
    """RFC 8422: the client's ciphers decide which it is shown."""
    ecdsa, rsa = issue(tmp_path, "ecdsa"), issue(tmp_path, "rsa", "rsa")
    source = CertificateSource([files(ecdsa), files(rsa)])
    source.load()
    assert [facts.kind for facts in source.facts] == ["EC", "RSA"]
    assert served(source, "ECDHE-ECDSA-AES128-GCM-SHA256")[0] == ecdsa.serial
    assert served(source, "ECDHE-RSA-AES128-GCM-SHA256")[0] == rsa.serial


def test_the_facts_are_those_of_the_certificate(tmp_path: Path) -> None:
    facts = inspect_pair(_pair(issue(tmp_path)), NOW.timestamp()).facts
    assert facts.subject == facts.issuer == "CN=meshturn test\\, server"
    assert facts.names == ("localhost", "127.0.0.1", "::1")
    assert facts.kind == "EC"
    assert facts.not_before < NOW < facts.not_after
    assert len(facts.sha256) == 64


def test_the_log_escapes_the_subject_once(tmp_path: Path, log: list[logging.LogRecord]) -> None:
    """Kind: a text that is escaped twice. The log doubles the backslashes that RFC 4514 has."""
    CertificateSource([files(issue(tmp_path))]).load()
    assert [record.__dict__["fields"]["subject"] for record in log] == ["CN=meshturn test, server"]


def _pair(pair: CertificatePair) -> Files:
    return Files(pair.certificate, pair.key)


def test_alpn_is_answered_and_old_tls_refused(tmp_path: Path) -> None:
    """RFC 7443: ``stun.turn``; RFC 9325 §3.1.1: nothing older than TLS 1.2; §4.2: no ciphers without secrecy."""
    source = CertificateSource([files(issue(tmp_path))])
    source.load()
    assert served(source, alpn=("stun.turn",))[1].selected_alpn_protocol() == "stun.turn"
    assert served(source, alpn=("h2", "http/1.1"))[1].selected_alpn_protocol() == "http/1.1"
    context = source.context(("stun.turn",))
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert context.options & ssl.OP_NO_RENEGOTIATION
    names = [cipher["name"] for cipher in context.get_ciphers()]
    assert all(name.startswith(("TLS_", "ECDHE-")) and "CBC" not in name for name in names)


def test_a_context_is_made_once(tmp_path: Path) -> None:
    """Making one takes a millisecond; handshakes share it."""
    source = CertificateSource([files(issue(tmp_path))])
    with pytest.raises(RuntimeError):
        source.context(())
    source.load()
    assert source.context(("stun.turn",)) is source.context(["stun.turn"])
    assert source.context(("stun.turn",)) is not source.context(("http/1.1",))


# What is refused

Spoil = Callable[[Path], tuple[CertificatePair, str]]


def mismatched(directory: Path) -> tuple[CertificatePair, str]:
    pair, other = issue(directory, "new"), issue(directory, "other")
    os.replace(other.key, pair.key)
    return pair, "does not belong to"


def expired(directory: Path) -> tuple[CertificatePair, str]:
    return issue(directory, "new", begins=NOW - 3 * DAY, ends=NOW - DAY), "expired on"


def early(directory: Path) -> tuple[CertificatePair, str]:
    return issue(directory, "new", begins=NOW + DAY), "not valid before"


def no_certificate(directory: Path) -> tuple[CertificatePair, str]:
    pair = issue(directory, "new")
    pair.certificate.write_text("-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n")
    return pair, "not a chain of certificates"


def empty_certificate(directory: Path) -> tuple[CertificatePair, str]:
    pair = issue(directory, "new")
    pair.certificate.write_bytes(b"")
    return pair, "not a chain of certificates"


def broken_chain(directory: Path) -> tuple[CertificatePair, str]:
    pair = issue(directory, "new")
    with pair.certificate.open("ab") as file:
        file.write(b"-----BEGIN CERTIFICATE-----\nMIIBIjANBgkq\n-----END CERTIFICATE-----\n")
    return pair, "not a chain of certificates"


def no_key(directory: Path) -> tuple[CertificatePair, str]:
    pair = issue(directory, "new")
    pair.key.write_text("secret")
    return pair, "not a private key in PEM"


def encrypted_key(directory: Path) -> tuple[CertificatePair, str]:
    pair = issue(directory, "new")
    key = serialization.load_pem_private_key(pair.key.read_bytes(), None)
    encryption = serialization.BestAvailableEncryption(b"x")
    pair.key.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption))
    return pair, "encrypted"


def huge(directory: Path) -> tuple[CertificatePair, str]:
    pair = issue(directory, "new")
    pair.key.write_bytes(bytes(2**20 + 1))
    return pair, "too large"


def missing(directory: Path) -> tuple[CertificatePair, str]:
    pair = issue(directory, "new")
    pair.key.unlink()
    return pair, "cannot be read (No such file"


def named_pipe(directory: Path) -> tuple[CertificatePair, str]:
    """Reading one would wait for somebody who writes."""
    pair = issue(directory, "new")
    pair.key.unlink()
    os.mkfifo(pair.key)
    return pair, "not a regular file"


BAD = [
    named_pipe,
    mismatched,
    expired,
    early,
    no_certificate,
    empty_certificate,
    broken_chain,
    no_key,
    encrypted_key,
    huge,
    missing,
]


@pytest.mark.parametrize("spoil", BAD, ids=lambda function: function.__name__)
def test_a_bad_pair_at_the_start_is_a_startup_error(spoil: Spoil, tmp_path: Path) -> None:
    pair, reason = spoil(tmp_path)
    with pytest.raises(StartupError, match=r"new\.crt cannot be used") as caught:
        CertificateSource([files(pair)]).load()
    assert reason in str(caught.value)
    assert "tls.certificates" in caught.value.hint
    with pytest.raises(CertificateError):
        inspect_pair(_pair(pair), NOW.timestamp())


@pytest.mark.parametrize("spoil", BAD, ids=lambda function: function.__name__)
def test_a_bad_pair_later_is_refused_and_the_old_one_stays(
    spoil: Spoil, tmp_path: Path, log: list[logging.LogRecord]
) -> None:
    """One line says why, once; handshakes go on with the old pair, for protocols asked for later as well."""
    old = issue(tmp_path, "old")
    source = CertificateSource([files(old)])
    source.load()
    log.clear()
    new, reason = spoil(tmp_path)
    for ours, theirs in ((old.certificate, new.certificate), (old.key, new.key)):
        ours.unlink()
        if theirs.exists():
            os.replace(theirs, ours)
    assert not source.check()
    assert not source.check()
    assert reason in reason_of(log)
    assert served(source)[0] == old.serial
    assert source.context(("something else",)) is not None
    good = issue(tmp_path, "good")
    old.replace_by(good)
    assert source.check()
    assert served(source)[0] == good.serial


def test_no_certificates_at_all_is_a_startup_error() -> None:
    with pytest.raises(StartupError, match="there is none") as caught:
        CertificateSource([]).load()
    assert "tls.certificates" in caught.value.hint


def test_what_openssl_refuses_does_not_take_the_others_along(tmp_path: Path, log: list[logging.LogRecord]) -> None:
    """A key that is too short for this OpenSSL, for example: one line, and the other pair is served."""
    weak, good = issue(tmp_path, "weak", "rsa", bits=1024), issue(tmp_path, "good")
    source = CertificateSource([files(weak), files(good)])
    source.load()
    assert served(source)[0] == good.serial
    assert [record.getMessage() for record in log] == ["certificate refused", "certificate loaded"]
    assert "OpenSSL does not accept it" in str(log[0].__dict__["fields"]["reason"])
    with pytest.raises(CertificateError, match="OpenSSL does not accept it"):
        inspect_pair(_pair(weak), NOW.timestamp())


# Several hosts

RSA_ONLY, ECDSA_ONLY = "ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-GCM-SHA256"


def test_each_host_has_its_certificates(certify: Certify) -> None:
    """RFC 6066 §3: by the name first, then by the kind of key, also for a name that only a wildcard is for."""
    turn, turn_rsa = certify("turn.example.org"), certify("turn.example.org", kind="rsa")
    meet, wild = certify("meet.example.net"), certify("*.example.net", kind="rsa")
    source = CertificateSource([(one.certificate, one.key) for one in (turn, turn_rsa, meet, wild)])
    source.load()
    for name, ciphers, expected in (
        ("turn.example.org", ECDSA_ONLY, turn),
        ("turn.example.org", RSA_ONLY, turn_rsa),
        ("Meet.Example.NET.", ECDSA_ONLY, meet),
        ("meet.example.net", RSA_ONLY, wild),
        ("other.example.net", RSA_ONLY, wild),
        ("elsewhere.example.com", ECDSA_ONLY, turn),
        (None, RSA_ONLY, turn_rsa),
    ):
        assert served(source, ciphers, name=name)[0] == expected.parsed.serial_number, (name, ciphers)
    assert source.context((), "a.example.net") is source.context((), "b.example.net")


def test_an_address_has_its_certificate(certify: Certify) -> None:
    """Who reaches the server by its address names no host."""
    named, numbered = certify("turn.example.org"), certify("203.0.113.5")
    source = CertificateSource([(one.certificate, one.key) for one in (named, numbered)])
    source.load()
    assert served(source, address="203.0.113.5")[0] == numbered.parsed.serial_number
    assert served(source, address="203.0.113.6")[0] == named.parsed.serial_number


def test_the_certificates_of_all_hosts_are_renewed(certify: Certify, log: list[logging.LogRecord]) -> None:
    """Each by itself: one that is broken stays as it is, and the others are taken."""
    first, second, third = certify("a.org"), certify("b.org"), certify("c.org")
    source = CertificateSource([(one.certificate, one.key) for one in (first, second, third)])
    source.load()
    log.clear()
    newer = certify("b.org")
    os.replace(newer.key, second.key)
    os.replace(newer.certificate, second.certificate)
    third.key.write_text("spoilt")
    assert source.check()
    shown = [served(source, name=name)[0] for name in ("a.org", "b.org", "c.org")]
    assert shown == [one.parsed.serial_number for one in (first, newer, third)]
    assert sorted(record.getMessage() for record in log) == [
        "certificate refused, the old one stays in use",
        "certificate replaced",
    ]


def test_a_renewed_certificate_may_have_other_names(certify: Certify) -> None:
    """What clients are shown follows at once."""
    first, second = certify("a.org"), certify("b.org")
    source = CertificateSource([(one.certificate, one.key) for one in (first, second)])
    source.load()
    newer = certify("b.org", "new.org")
    os.replace(newer.key, second.key)
    os.replace(newer.certificate, second.certificate)
    assert served(source, name="new.org")[0] == first.parsed.serial_number
    assert source.check()
    assert served(source, name="new.org")[0] == newer.parsed.serial_number


def test_a_certificate_that_is_never_shown_is_worth_a_warning(tmp_path: Path, log: list[logging.LogRecord]) -> None:
    """Two with one kind of key for the same names: the first is shown."""
    one, other, rsa = issue(tmp_path, "one"), issue(tmp_path, "other"), issue(tmp_path, "rsa", "rsa")
    source = CertificateSource([files(one), files(rsa), files(other)])
    source.load()
    assert [served(source, ciphers)[0] for ciphers in (ECDSA_ONLY, RSA_ONLY)] == [one.serial, rsa.serial]
    (record,) = [record for record in log if record.levelno == logging.WARNING]
    assert record.getMessage() == "certificate is never shown"
    assert record.__dict__["fields"]["certificate"] == str(other.certificate)


# What clients would object to


def test_a_chain_without_its_intermediate_is_said(certify: Certify, log: list[logging.LogRecord]) -> None:
    """certbot's cert.pem instead of fullchain.pem; at the start and at each renewal. It is used all the same.

    The kind of fault: wrong for clients only, and visible to the server.
    """
    root = certify(label="root")
    between = certify(by=root, label="between")
    good = certify("turn.example.org", by=between, chain=(between,))
    lone = certify("turn.example.org", by=between)
    source = CertificateSource([(good.certificate, good.key)])
    source.load()
    assert [record.levelno for record in log] == [logging.INFO]
    os.replace(lone.key, good.key)
    os.replace(lone.certificate, good.certificate)
    assert source.check()
    assert log[-1].levelno == logging.WARNING
    assert "fullchain.pem" in log[-1].__dict__["fields"]["reason"]
    assert served(source)[0] == lone.parsed.serial_number
    log.clear()
    assert source.check(force=True) is False
    assert log == []


# What is taken


def test_a_good_pair_is_taken_when_the_files_change(tmp_path: Path, log: list[logging.LogRecord]) -> None:
    """New handshakes see it; what was begun with the old one is not touched."""
    old, new = issue(tmp_path, "old"), issue(tmp_path, "new")
    source = CertificateSource([files(old)])
    source.load()
    before, context = served(source)[0], source.context(("stun.turn",))
    log.clear()
    assert not source.check()
    old.replace_by(new)
    assert source.check()
    assert (before, served(source)[0]) == (old.serial, new.serial)
    assert source.context(("stun.turn",)) is not context
    (record,) = log
    assert (record.levelno, record.getMessage()) == (logging.INFO, "certificate replaced")
    assert record.__dict__["fields"]["sha256"] == source.facts[0].sha256


def test_half_a_replacement_is_waited_out(tmp_path: Path, log: list[logging.LogRecord]) -> None:
    """Two files cannot be replaced at once: seen in between, the pair does not match, and is tried again."""
    old, new = issue(tmp_path, "old"), issue(tmp_path, "new")
    source = CertificateSource([files(old)])
    source.load()
    log.clear()
    os.replace(new.certificate, old.certificate)
    assert not source.check()
    assert served(source)[0] == old.serial
    os.replace(new.key, old.key)
    assert source.check()
    assert served(source)[0] == new.serial
    assert [record.levelno for record in log] == [logging.ERROR, logging.INFO]


def test_symbolic_links_are_followed(tmp_path: Path) -> None:
    """As certbot has it: the link is turned, the files it led to stay."""
    old, new = issue(tmp_path, "old"), issue(tmp_path, "new")
    certificate, key = tmp_path / "live.crt", tmp_path / "live.key"
    certificate.symlink_to(old.certificate)
    key.symlink_to(old.key)
    source = CertificateSource([(certificate, key)])
    source.load()
    for link, target in ((certificate, new.certificate), (key, new.key)):
        link.unlink()
        link.symlink_to(target)
    assert source.check()
    assert served(source)[0] == new.serial


def test_one_bad_pair_does_not_stop_the_other(tmp_path: Path, log: list[logging.LogRecord]) -> None:
    ecdsa, rsa, new = issue(tmp_path, "ecdsa"), issue(tmp_path, "rsa", "rsa"), issue(tmp_path, "new")
    source = CertificateSource([files(ecdsa), files(rsa)])
    source.load()
    log.clear()
    ecdsa.replace_by(new)
    rsa.key.write_text("spoilt")
    assert source.check()
    assert served(source, "ECDHE-ECDSA-AES128-GCM-SHA256")[0] == new.serial
    assert served(source, "ECDHE-RSA-AES128-GCM-SHA256")[0] == rsa.serial
    assert [record.levelno for record in log] == [logging.ERROR, logging.INFO]


def test_a_pair_that_was_early_is_taken_when_its_time_has_come(tmp_path: Path, log: list[logging.LogRecord]) -> None:
    """Nothing changes in the files then, so it is looked at again; the log is told once."""
    wall = Wall()
    old, new = issue(tmp_path, "old"), issue(tmp_path, "new", begins=NOW + DAY)
    source = CertificateSource([files(old)], wall=wall)
    source.load()
    log.clear()
    old.replace_by(new)
    assert not source.check()
    assert not source.check()
    assert "not valid before" in reason_of(log)
    wall.time += 2 * 86400
    assert source.check()
    assert served(source)[0] == new.serial


def test_a_certificate_that_ends_soon_is_worth_a_warning(tmp_path: Path, log: list[logging.LogRecord]) -> None:
    CertificateSource([files(issue(tmp_path, ends=NOW + DAY))]).load()
    (record,) = log
    assert record.levelno == logging.WARNING


def test_certificate_and_key_may_be_one_file(tmp_path: Path) -> None:
    pair = issue(tmp_path)
    both = tmp_path / "both.pem"
    both.write_bytes(pair.certificate.read_bytes() + pair.key.read_bytes())
    source = CertificateSource([(both, both)])
    source.load()
    assert served(source)[0] == pair.serial


def test_what_was_checked_is_what_is_used(tmp_path: Path) -> None:
    """The files may change between the check and a context made later; the later content was never checked."""
    pair = issue(tmp_path)
    source = CertificateSource([files(pair)])
    source.load()
    pair.certificate.write_text("spoilt")
    assert served(source)[0] == pair.serial


def test_there_need_be_no_memfd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the kernel has none, a file of the user's own does."""
    monkeypatch.delattr(os, "memfd_create")
    pair = issue(tmp_path)
    source = CertificateSource([files(pair)])
    source.load()
    assert served(source)[0] == pair.serial


async def test_the_files_are_watched_by_one_timer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No signal is needed; and nothing is left in the loop afterwards."""
    loop = asyncio.get_running_loop()
    timers: list[tuple[float, Callable[[], None]]] = []

    class Handle:
        def cancel(self) -> None:
            timers.clear()

    def call_later(delay: float, callback: Callable[[], None]) -> Handle:
        timers.append((delay, callback))
        return Handle()

    monkeypatch.setattr(loop, "call_later", call_later)
    old, new = issue(tmp_path, "old"), issue(tmp_path, "new")
    source = CertificateSource([files(old)], reload_interval=10.0)
    source.start()
    source.start()
    old.replace_by(new)
    ((delay, tick),) = timers
    assert delay == 10.0
    tick()
    assert served(source)[0] == new.serial
    assert len(timers) == 2
    source.close()
    assert timers == []
    CertificateSource([files(old)], reload_interval=0).start()
    assert timers == []


async def test_the_files_are_watched_after_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is counted, the certificate stays in use, and the next check takes the new one."""
    loop = asyncio.get_running_loop()
    ticks: list[Callable[[], None]] = []
    old, new = issue(tmp_path, "old"), issue(tmp_path, "new")
    faults = Faults()
    source = CertificateSource([files(old)], reload_interval=10.0, faults=faults)
    with monkeypatch.context() as patch:
        patch.setattr(loop, "call_later", lambda delay, callback: ticks.append(callback))
        source.start()
        old.replace_by(new)
        with monkeypatch.context() as broken:
            broken.setattr(source, "check", lambda: 1 // 0)
            ticks.pop()()
        assert faults.counts == {"certificates": 1}
        assert served(source)[0] == old.serial
        ticks.pop()()
        assert served(source)[0] == new.serial
        assert len(ticks) == 1


@pytest.mark.parametrize(
    ("ciphers", "names"),
    [("ECDHE-ECDSA-AES128-GCM-SHA256", {"ECDHE-ECDSA-AES128-GCM-SHA256"}), ("", None)],
)
def test_the_ciphers_of_the_configuration_are_used(tmp_path: Path, ciphers: str, names: set[str] | None) -> None:
    """`tls.ciphers` is what a handshake with TLS 1.2 may choose from; without it, only AEAD with forward secrecy."""
    pair = issue(tmp_path)
    entry = {"certificate": str(pair.certificate), "key": str(pair.key)}
    section = Config.model_validate({"tls": {"certificates": [entry], "ciphers": ciphers}}).tls
    source = CertificateSource.from_config(section)
    source.load()
    found = {each["name"] for each in source.context([]).get_ciphers() if not each["name"].startswith("TLS_")}
    assert found
    assert found == names if names else all(name.startswith("ECDHE-") for name in found)
