"""A time-limited credential and its forms."""

import json
import time

import pytest

from auth.ephemeral import SharedSecret, password_for
from auth.errors import InvalidCredential
from cli.credential import Issued, issue
from stun.uri import StunUri

URI = StunUri.parse("turn:192.0.2.1")
SECRET = SharedSecret(b"a-secret-of-the-test")


def test_it_expires_when_it_was_told_to() -> None:
    """Rule 24: <expiry>:<user>, and the password that the secret gives it."""
    before = int(time.time())
    issued = issue(SECRET, "alice", 3600, ":", [URI])
    assert before + 3600 <= issued.expires_at <= int(time.time()) + 3600
    assert issued.username == f"{issued.expires_at}:alice"
    assert issued.password == password_for(SECRET, issued.username)


def test_a_user_that_cannot_be_named() -> None:
    """Rule 24: a user that is no OpaqueString gets no credential."""
    with pytest.raises(InvalidCredential):
        issue(SECRET, "a\x00b", 3600, ":", [URI])


def test_its_forms() -> None:
    """RFC 7065 §3.1: what browsers take, what programs take, and a moment for people."""
    issued = Issued("1767225600:a", 'p"</script>', 1767225600, (URI,))
    servers = [{"urls": ["turn:192.0.2.1:3478?transport=udp"], "username": "1767225600:a", "credential": 'p"</script>'}]
    assert issued.expires == "2026-01-01 00:00:00 UTC"
    assert issued.ice_servers() == servers
    assert issued.as_json() == {
        "username": "1767225600:a",
        "password": 'p"</script>',
        "expires_at": 1767225600,
        "uris": ["turn:192.0.2.1:3478?transport=udp"],
        "ice_servers": servers,
    }
    start, end = "new RTCPeerConnection({iceServers: ", "})"
    assert issued.snippet().startswith(start)
    assert json.loads(issued.snippet().removeprefix(start).removesuffix(end)) == servers
    assert "</script>" not in repr(issued)


def test_browsers_get_no_url_of_dtls() -> None:
    """RFC 7350: other clients do."""
    uris = (URI, StunUri.parse("turns:192.0.2.1?transport=udp"))
    issued = Issued("1767225600:a", "secret", 1767225600, uris)
    assert issued.ice_servers()[0]["urls"] == ["turn:192.0.2.1:3478?transport=udp"]
    assert issued.as_json()["uris"] == ["turn:192.0.2.1:3478?transport=udp", "turns:192.0.2.1:5349?transport=udp"]
