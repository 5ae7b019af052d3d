"""The client's errors in the probe's words."""

import ssl

import pytest

from cli.probe.security import TlsFacts
from cli.probe.trouble import broken, silence, unreachable
from stun.client.errors import IntegrityViolated, NoAnswer, ServerUnreachable
from turnserver.turnclient import links


def ended(*, nonsense: bytes = b"", answered: bool = False, cause: Exception | None = None) -> links.LinkBroken:
    error = links.LinkBroken("It ended.", nonsense=nonsense, answered=answered)
    error.__cause__ = cause
    return error


def test_silence_has_a_hint_of_its_own_on_streams() -> None:
    """RFC 8489 §6.2: what nobody answers has other reasons over UDP than over a connection."""
    for reliable, words in ((False, "firewall"), (True, "may not be a TURN server")):
        trouble = silence(NoAnswer(1, 2.0), reliable=reliable)
        assert str(trouble) == "No answer to 1 request in 2 s."
        assert words in trouble.hint


@pytest.mark.parametrize("error", [NoAnswer(1, 2.0, "nonsense came"), IntegrityViolated("No usable answer came.")])
def test_answers_that_were_of_no_use_are_no_silence(error: NoAnswer | IntegrityViolated) -> None:
    trouble = silence(error, reliable=False)
    assert (str(trouble), trouble.hint) == (str(error), "")


def test_what_the_system_says() -> None:
    """Rule 26: a closed port and a missing route want different things looked at."""
    refused = links.unreachable(ConnectionRefusedError(111, "Connection refused"))
    assert "port" in unreachable(refused).hint
    nowhere = broken(links.unreachable(OSError(113, "No route to host")), None)
    assert "routes" in nowhere.hint
    assert (nowhere.step, nowhere.opened) == ("connect", ())


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ended(), "may not be a TURN server"),
        (ended(answered=True), "log may say why"),
        (ended(nonsense=b"HTTP/1.1 400"), "a web server"),
        (ended(nonsense=b"SSH-2.0"), "an SSH server"),
        (ended(nonsense=b"\x15\x03\x03"), "a TLS server"),
        (ended(nonsense=b"220 mail"), "a mail or file server"),
        (ended(nonsense=b"\xff"), "no TURN server"),
        (ended(nonsense=b"\xff", answered=True), "RFC 8656"),
    ],
)
def test_why_a_connection_has_ended(error: ServerUnreachable, words: str) -> None:
    """RFC 8656 §12.5: another service is named by how it begins."""
    assert words in broken(error, None).hint


def test_a_port_for_tls_closes_on_a_plain_request() -> None:
    """The URI that works is named; with TLS, that cannot be it."""
    assert "try turns:" in broken(ended(), None).hint
    assert "turns:" not in broken(ended(), TlsFacts("TLSv1.3", "TLS_AES_128_GCM_SHA256", 128, None, None)).hint


def test_a_refusal_by_tls_is_one_of_its_step() -> None:
    """RFC 8446 §4.4.2."""
    trouble = broken(ended(cause=ssl.SSLError(1, "[SSL: TLSV13_ALERT_CERTIFICATE_REQUIRED] alert")), None)
    assert trouble.step == "tls"
