"""A probe's findings for people."""

import io
from datetime import UTC, datetime

import pytest
from rich.console import Console

from cli.probe.render import render
from cli.probe.report import Report, Step
from cli.probe.security import TlsFacts
from turnserver.certificates import CertificateFacts


def _shown(report: Report, *, terminal: bool = False) -> str:
    stream = io.StringIO()
    render(Console(file=stream, width=100, force_terminal=terminal, markup=False, emoji=False), report)
    return stream.getvalue()


def test_what_works() -> None:
    """RFC 8656 §3: the facts, a line for each step with its time, and the verdict."""
    report = Report("turn:example.org:3478?transport=udp", "192.0.2.1:3478", "coturn", reflexive="198.51.100.7:1000")
    report.relayed = ["203.0.113.9:50000"]
    report.steps.append(Step("binding", True, "The server answers.", seconds=0.0015))
    lines = [line.rstrip() for line in _shown(report).splitlines()]
    assert lines == [
        "Probe of turn:example.org:3478?transport=udp",
        "  server             192.0.2.1:3478",
        "  software           coturn",
        "  reflexive address  198.51.100.7:1000",
        "  relayed addresses  203.0.113.9:50000",
        " ok   binding  1.5 ms  The server answers.",
        "It works: data went through the relay and came back.",
    ]


def test_what_others_cannot_reach_does_not_work() -> None:
    """Whatever came back inside the server; and on the server's own machine nothing was seen of the way to others."""
    report = Report("turn:example.org:3478?transport=udp", relayed=["203.0.113.9:50000"])
    report.steps += [Step("send", True, "Yes."), Step("outside", False, "No.", "A firewall.")]
    assert "It works" not in _shown(report)
    assert "nothing shows that traffic from outside" in " ".join(_shown(report).split())
    report.steps.append(Step("channel", False, "No."))
    assert _shown(report).splitlines()[-1] == "It does not work."
    local = Report("turn:localhost:3478?transport=udp", relayed=["127.0.0.1:50000"], local=True)
    local.steps.append(Step("outside", True, "Yes."))
    assert "Others were not tried." in _shown(local)


@pytest.mark.parametrize(
    ("direct", "relay", "verdict"),
    [
        (True, True, "It works: the SFU is reached."),
        (False, True, "The SFU is reached through the relay only."),
        (True, False, "The SFU is reached directly only: who is behind a firewall has no way to it."),
        (False, False, "It does not work."),
    ],
)
def test_the_sfu(direct: bool, relay: bool, verdict: str) -> None:
    report = Report("https://example.org/call/tea")
    report.steps += [Step("sfu-direct", direct, "So."), Step("sfu-relay", relay, "So.")]
    assert _shown(report).splitlines()[-1] == verdict


BEGIN, END = datetime(2026, 1, 2, tzinfo=UTC), datetime(2026, 4, 2, 12, 30, tzinfo=UTC)


def test_a_certificate() -> None:
    """RFC 8489 §6.2.3: what the server showed of itself; a long list of names is cut."""
    names = tuple(f"h{number}.org" for number in range(10))
    certificate = CertificateFacts("CN=example.org", "CN=Some CA", names, BEGIN, END, "ECDSA P-256", "ab" * 32)
    report = Report("turns:example.org:5349?transport=tcp", steps=[Step("tls", True, "Yes.")])
    report.tls = TlsFacts("TLSv1.3", "TLS_AES_128_GCM_SHA256", 128, "stun.turn", certificate)
    lines = [line.strip() for line in _shown(report).splitlines()]
    assert lines[1:9] == [
        "TLS             TLSv1.3, TLS_AES_128_GCM_SHA256 (128 bits), ALPN stun.turn",
        "certificate of  CN=example.org",
        "issued by       CN=Some CA",
        f"for             {', '.join(names[:8])} and 2 more",
        "valid           2026-01-02 to 2026-04-02 12:30 UTC",
        "key             ECDSA P-256",
        f"SHA-256         {'ab' * 32}",
        "trusted         yes",
    ]


def test_a_server_that_is_not_trusted_does_not_simply_work() -> None:
    """Rule 26: with --insecure everything may work, and yet no browser would connect."""
    certificate = CertificateFacts("CN=x", "CN=x", (), BEGIN, END, "RSA 2048", "00")
    report = Report("turns:x", relayed=["203.0.113.9:50000"], steps=[Step("tls", True, "Yes.")])
    report.tls = TlsFacts("TLSv1.2", "A", 256, None, certificate, "It is self-signed.")
    shown = _shown(report)
    assert "browsers would not connect" in shown.splitlines()[-1]
    assert "itself" in shown
    assert "no name" in shown


@pytest.mark.parametrize(
    ("uri", "verdict"),
    [
        ("stun:example.org", "It answers."),
        ("turn:example.org", "It answers. Give --user and a password to try the relay too."),
    ],
)
def test_binding_alone_promises_nothing_more(uri: str, verdict: str) -> None:
    """RFC 8489 §3: an answer to Binding is no proof of a relay."""
    shown = _shown(Report(uri, steps=[Step("binding", True, "Yes.")]))
    assert shown.splitlines()[-1] == verdict


def test_what_fails() -> None:
    """RFC 8656 §19: the failed step, its hint, loss on the way, and the verdict."""
    steps = [Step("binding", True, "Yes.", seconds=1.6, transmissions=3), Step("allocate", False, "No.", "Do this.")]
    shown = _shown(Report("turn:example.org", steps=steps))
    assert "FAIL  allocate" in shown
    assert "Hint: Do this." in shown
    assert "It took 3 transmissions" in shown
    assert shown.splitlines()[-1] == "It does not work."


def test_hostile_text_stays_text() -> None:
    """Rule 24: control characters, markup and emoji codes in what a server says do nothing."""
    evil = "\x1b[2J\x07[bold]:boom:\u202e"
    shown = _shown(Report("turn:x", software=evil, steps=[Step(evil, False, evil, evil)]), terminal=True)
    assert "\x1b[2J" not in shown
    assert "\x07" not in shown
    assert "\u202e" not in shown
    assert "\\x1b[2J\\x07[bold]:boom:\\u202e" in shown
