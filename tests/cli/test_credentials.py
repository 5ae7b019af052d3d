"""``meshturn credentials issue``: what rule 24 describes, ready to use."""

import base64
import hashlib
import hmac
import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cli.state import StateDirectory
from stun.uri import StunUri

Run = Callable[..., "subprocess.CompletedProcess[str]"]
Write = Callable[[str], Path]

SECRET = "a-secret-of-the-test-0123456789"
CONFIG = f"""
listeners:
  - {{address: 127.0.0.1, port: 3500}}
  - {{address: "::1", port: 0}}
auth:
  shared_secrets: [{{secret: {SECRET}, hash: %s}}, another-secret-0123456789]
  separator: "%s"
"""


@pytest.mark.parametrize(("algorithm", "separator"), [("sha1", ":"), ("sha256", "|")])
def test_it_is_made_with_the_first_secret(run: Run, write: Write, algorithm: str, separator: str) -> None:
    """Rule 24: <expiry><separator><user>, base64(HMAC(secret, username)) with the secret's hash."""
    before = int(time.time())
    path = write(CONFIG % (algorithm, separator))
    result = run("credentials", "issue", "--user", "alice", "--ttl", "90m", "--json", "-c", path)
    after = int(time.time())
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    expiry, _, user = found["username"].partition(separator)
    assert user == "alice"
    assert before + 5400 <= int(expiry) == found["expires_at"] <= after + 5400
    digest = hmac.digest(SECRET.encode(), found["username"].encode(), getattr(hashlib, algorithm))
    assert found["password"] == base64.b64encode(digest).decode()
    assert found["uris"] == ["turn:127.0.0.1:3500?transport=udp"]
    assert found["ice_servers"] == [
        {"urls": found["uris"], "username": found["username"], "credential": found["password"]}
    ]
    assert SECRET not in result.stdout + result.stderr


def test_for_people(run: Run, write: Write) -> None:
    """Name, password, expiry and URLs, whole lines to copy; the secret is not among them."""
    result = run("credentials", "issue", "-c", write(CONFIG % ("sha1", ":")))
    assert result.returncode == 0, result.stderr
    for word in ("username", "password", "valid until", "UTC", "turn:127.0.0.1:3500?transport=udp", "iceServers"):
        assert word in result.stdout
    assert SECRET not in result.stdout


def test_with_the_secret_of_up(run: Run, home: Path) -> None:
    """Without -c, the secret that `meshturn up` keeps."""
    state = StateDirectory(home / "state")
    state.prepare()
    found = json.loads(run("credentials", "issue", "--json", "--state-dir", state.path).stdout)
    digest = hmac.digest(state.secret().encode(), found["username"].encode(), hashlib.sha1)
    assert found["password"] == base64.b64encode(digest).decode()
    assert found["username"].isdigit()


def test_the_host_of_the_urls(run: Run, write: Write, home: Path, certify: Callable[..., Any]) -> None:
    """Kind: a URL that names what its readers cannot use."""
    made = certify("turn.example.org")
    text = CONFIG % ("sha1", ":") + f"tls: {{certificates: [{{certificate: {made.certificate}, key: {made.key}}}]}}\n"
    path = write(text)

    def urls(*options: object) -> list[str]:
        result = run("credentials", "issue", "--json", *options)
        assert result.returncode == 0, result.stderr
        found: list[str] = json.loads(result.stdout)["ice_servers"][0]["urls"]
        return found

    assert urls("-c", path) == ["turn:turn.example.org:3500?transport=udp"]
    assert urls("-c", path, "--host", "other.example.org.") == ["turn:other.example.org:3500?transport=udp"]
    path = write(f"{text}signaling: {{urls: ['turns:relay.example.org:443?transport=tcp']}}\n")
    assert urls("-c", path) == ["turns:relay.example.org:443?transport=tcp"]
    state = StateDirectory(home / "state")
    state.prepare()
    state.keep("password", [StunUri.parse("turn:192.0.2.1")])
    assert urls("--state-dir", state.path, "--host", "192.0.2.9") == ["turn:192.0.2.9:3478?transport=udp"]


def test_without_a_url_there_is_a_warning(run: Run, write: Write) -> None:
    """Kind: a URL that names what its readers cannot use. Here, only the operator knows the port of the proxy."""
    listeners = "listeners: [{transport: tcp, address: 192.0.2.5, proxies: [10.0.0.0/8]}]\n"
    result = run("credentials", "issue", "--json", "-c", write(f"{listeners}auth: {{shared_secrets: [{SECRET}]}}\n"))
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["uris"] == []
    assert "signaling.urls" in result.stderr


@pytest.mark.parametrize("text", ["auth: {users: {a: b-password}}\n", "{}\n"])
def test_a_configuration_without_a_secret(run: Run, write: Write, text: str) -> None:
    """No shared secret: a clear error and exit code 2."""
    result = run("credentials", "issue", "-c", write(text))
    assert (result.returncode, result.stdout) == (2, "")
    assert "auth.shared_secrets" in result.stderr
    assert "at least one shared secret" in result.stderr


def test_before_up_has_ever_run(run: Run) -> None:
    """No state directory: a clear error and exit code 2."""
    result = run("credentials", "issue")
    assert (result.returncode, result.stdout) == (2, "")
    assert "run `meshturn up` once" in result.stderr


@pytest.mark.parametrize("options", [["--user", "a\x07b"], ["--user", "x" * 600], ["--ttl", "0"], ["--ttl", "forever"]])
def test_what_cannot_be_issued(run: Run, write: Write, options: list[str]) -> None:
    """Rule 24: names that are no OpaqueString and lifetimes that are none are usage errors."""
    result = run("credentials", "issue", *options, "-c", write(CONFIG % ("sha1", ":")))
    assert (result.returncode, result.stdout) == (2, "")
    assert "\x07" not in result.stderr
    assert "Traceback" not in result.stderr
