"""Certificates: real ones in files, and as a real server shows them."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cli.doctor.checks.certificate import certificate
from cli.doctor.findings import HostFinding, Severity
from cli.doctor.host import Host
from cli.probe.security import Trust
from tests.support.server import free_port
from turnserver.server import Server

NAME = "turn.example.org"
Certify = Callable[..., Any]
Make = Callable[..., Host]


def options(*pairs: Any, port: int, urls: str = NAME) -> dict[str, Any]:
    return {
        "listeners": [{"transport": "tls", "address": "127.0.0.1", "port": port}],
        "tls": {"certificates": [{"certificate": str(one.certificate), "key": str(one.key)} for one in pairs]},
        "signaling": {"urls": [f"turns:{urls}:{port}"]},
        "auth": {"users": {"alice": "secret"}},
    }


def with_authority(certify: Certify, *names: str, **more: Any) -> tuple[Any, Trust]:
    """A certificate of an authority of the test's own, and trust in that."""
    authority = certify(label="authority")
    return certify(*names, by=authority, **more), Trust(authority.certificate)


def grades(findings: list[HostFinding]) -> list[Severity]:
    return [each.grade for each in findings]


def chained(certify: Certify) -> tuple[Any, Any, Any]:
    root = certify(label="root")
    middle = certify(by=root, label="middle")
    return root, middle, certify(NAME, by=middle, chain=(middle,))


async def test_as_it_should_be(make: Make, certify: Certify) -> None:
    """The file is complete, and a client that asks for the name trusts what it is shown."""
    root, _, pair = chained(certify)
    given = options(pair, port=free_port())
    async with Server(given):
        found = await certificate(make(given, trust=Trust(root.certificate), patience=30.0))
    assert grades(found) == [Severity.OK, Severity.OK], found
    assert found[1].what == f"Clients that connect to {NAME} trust the certificate they are shown."


async def test_a_missing_intermediate(make: Make, certify: Certify) -> None:
    """In the file, and for a client: certbot's cert.pem in place of fullchain.pem."""
    root, middle, _ = chained(certify)
    pair = certify(NAME, by=middle)
    given = options(pair, port=free_port())
    async with Server(given):
        found = await certificate(make(given, trust=Trust(root.certificate), patience=30.0))
    assert grades(found) == [Severity.WRONG, Severity.WRONG]
    assert "intermediate certificates are missing" in found[0].what
    assert "refuse the certificate they are shown" in found[1].what
    assert all(any("fullchain.pem" in line for line in each.mend) for each in found)


async def test_expired(make: Make, certify: Certify) -> None:
    """The server does not use it, so nothing answers with TLS."""
    pair = certify(NAME, days=-1, age=30)
    found = await certificate(make(options(pair, port=free_port()), patience=30.0))
    assert Severity.WRONG in grades(found)
    assert "expired" in found[0].what
    assert any(line.startswith("certbot renew") for line in found[0].mend)
    assert found[-1].grade is Severity.NOT_CHECKED


async def test_expired_in_a_running_server(make: Make, certify: Certify) -> None:
    """It was good when the server loaded it: clients know the time, too."""
    pair, trust = with_authority(certify, NAME, days=1)
    given = options(pair, port=free_port())
    later = datetime.now(UTC) + timedelta(days=2)
    async with Server(given):
        found = await certificate(make(given, trust=trust, patience=30.0, wall=lambda: later))
    assert (found[0].grade, "expired" in found[0].what) == (Severity.WRONG, True)


async def test_soon(make: Make, certify: Certify) -> None:
    """It should have been renewed by now."""
    pair, trust = with_authority(certify, NAME, days=5)
    found = await certificate(make(options(pair, port=free_port()), trust=trust, patience=30.0))
    assert (found[0].grade, "expires in" in found[0].what) == (Severity.WARNING, True)


async def test_another_name(make: Make, certify: Certify) -> None:
    """Clients are given a URL with a name that no certificate is for."""
    pair, trust = with_authority(certify, "other.example.org")
    given = options(pair, port=free_port())
    async with Server(given):
        found = await certificate(make(given, trust=trust, patience=30.0))
    assert grades(found) == [Severity.OK, Severity.WRONG, Severity.WRONG]
    assert f"No certificate is for {NAME}" in found[1].what
    assert f"not for {NAME}" in found[2].what
    assert "other.example.org" in found[2].mend[0]


async def test_renewed_and_not_in_use(make: Make, certify: Certify) -> None:
    """The file is a new one, and the server still shows the old."""
    authority = certify(label="authority")
    old, new = certify(NAME, by=authority), certify(NAME, by=authority)
    port = free_port()
    async with Server(options(old, port=port)):
        found = await certificate(make(options(new, port=port), trust=Trust(authority.certificate), patience=30.0))
    assert grades(found) == [Severity.OK, Severity.WARNING]
    assert "in none of the files" in found[1].what


async def test_never_shown(make: Make, certify: Certify) -> None:
    """One before it has the same name and kind of key."""
    authority = certify(label="authority")
    pairs = [certify(NAME, by=authority) for _ in range(2)]
    found = await certificate(make(options(*pairs, port=free_port()), patience=30.0))
    assert any(each.grade is Severity.WARNING and "never shown" in each.what for each in found)


async def test_files_that_are_not_there(make: Make, tmp_path: Path) -> None:
    """Kind: a path with characters that a shell reads. The line to paste quotes it."""
    given = options(port=free_port()) | {
        "tls": {"certificates": [{"certificate": str(tmp_path / "a b.pem"), "key": str(tmp_path / "k.pem")}]}
    }
    found = await certificate(make(given, patience=30.0))
    assert found[0].grade is Severity.WRONG
    assert found[0].mend[0].endswith(f"-in '{tmp_path}/a b.pem'")


async def test_without_tls(make: Make) -> None:
    """Nothing to look at is fine only if no listener needs it."""
    found = await certificate(make({"listeners": [{"transport": "udp", "address": "127.0.0.1"}]}))
    assert [each.what for each in found] == ["No listener has TLS."]


async def test_no_name_and_no_listener(make: Make, certify: Certify) -> None:
    """No handshake can be tried, and that is said."""
    pair = certify("192.0.2.1")
    tls = {"certificates": [{"certificate": str(pair.certificate), "key": str(pair.key)}]}
    listener = {"transport": "tls", "address": "127.0.0.1", "port": free_port()}
    found = await certificate(make({"listeners": [listener], "tls": tls}))
    assert (found[-1].grade, "no name" in found[-1].what) == (Severity.NOT_CHECKED, True)
    behind = listener | {"proxies": ["10.0.0.0/8"]}
    found = await certificate(make({"listeners": [behind], "tls": tls}))
    assert (found[-1].grade, "reached directly" in found[-1].what) == (Severity.NOT_CHECKED, True)
