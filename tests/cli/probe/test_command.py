"""``meshturn probe`` as users run it: against coturn, against meshturn, and against nothing."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., "subprocess.CompletedProcess[str]"]
Coturn = Callable[..., int]

USER = ["--user", "user"]
PASSWORD = {"MESHTURN_PASSWORD": "secret"}


@pytest.mark.interop
@pytest.mark.parametrize(("address", "host"), [("127.0.0.1", "127.0.0.1"), ("::1", "[::1]")])
def test_a_whole_relay_of_coturn(run: Run, coturn: Coturn, address: str, host: str) -> None:
    """RFC 8656 §7–§12 with somebody else's server, in both families: everything comes back."""
    port = coturn("--allow-loopback-peers", address=address)
    family = ["--relay-family", "6"] if ":" in address else []
    result = run("probe", f"turn:{host}:{port}", *USER, *family, "--json", env=PASSWORD)
    found = json.loads(result.stdout)
    assert result.returncode == 0, found
    assert found["ok"] is True
    assert found["software"].startswith("Coturn-")
    assert found["realm"] == "example.org"
    assert found["reflexive"].startswith(f"{host}:")
    assert [relayed.startswith(f"{host}:") for relayed in found["relayed"]] == [True, True]
    returned = {step["name"]: (step["sent"], step["returned"]) for step in found["steps"] if "sent" in step}
    assert returned == {"send": (5, 5), "channel": (5, 5)}
    assert all(milliseconds > 0 for milliseconds in found["round_trip_ms"].values())


@pytest.mark.interop
def test_for_people(run: Run, coturn: Coturn, home: Path) -> None:
    """The password may come from a file, whose line end does not count."""
    (home / "password").write_text("secret\r\nsomething else\n")
    result = run("probe", f"turn:127.0.0.1:{coturn('--allow-loopback-peers')}", *USER, "--password-file", "password")
    assert result.returncode == 0, result.stdout
    assert result.stderr == ""
    assert result.stdout.splitlines()[-1] == "It works: data went through the relay and came back."


@pytest.mark.interop
def test_a_wrong_password(run: Run, coturn: Coturn) -> None:
    """RFC 8489 §9.2.5: 401, what to check, and exit code 1; the password may come from standard input."""
    options = ["--password-file", "-", "--json"]
    result = run("probe", f"turn:127.0.0.1:{coturn()}", *USER, *options, stdin="wrong\n")
    assert result.returncode == 1
    last = json.loads(result.stdout)["steps"][-1]
    assert (last["name"], last["ok"], last["code"]) == ("allocate", False, 401)
    assert "wrong" not in result.stdout


@pytest.mark.interop
def test_a_peer_that_is_forbidden(run: Run, coturn: Coturn) -> None:
    """RFC 8656 §9.2: coturn refuses loopback peers by itself; the hint says what to allow."""
    result = run("probe", f"turn:127.0.0.1:{coturn()}", *USER, "--json", env=PASSWORD)
    assert result.returncode == 1
    last = json.loads(result.stdout)["steps"][-1]
    assert (last["name"], last["code"]) == ("permission", 403)
    assert "--allow-loopback-peers" in last["hint"]


@pytest.mark.interop
def test_a_quota_that_is_reached(run: Run, coturn: Coturn) -> None:
    """RFC 8656 §7.2: 486 for the second allocation says that the probe needs two."""
    port = coturn("--allow-loopback-peers", "--user-quota=1")
    result = run("probe", f"turn:127.0.0.1:{port}", *USER, "--json", env=PASSWORD)
    assert result.returncode == 1
    last = json.loads(result.stdout)["steps"][-1]
    assert (last["name"], last["code"]) == ("allocate-second", 486)
    assert "two at once" in last["hint"]
    assert "not signed" not in last["hint"]


@pytest.mark.interop
def test_a_time_limited_credential(run: Run, coturn: Coturn, write: Callable[[str], Path]) -> None:
    """Rule 24: what `credentials issue` makes, coturn takes."""
    port = coturn("--allow-loopback-peers", "--use-auth-secret", "--static-auth-secret=a-secret-0123456789")
    path = write("auth: {shared_secrets: [a-secret-0123456789]}\n")
    issued = json.loads(run("credentials", "issue", "--user", "alice", "--json", "-c", path).stdout)
    env = {"MESHTURN_PASSWORD": issued["password"]}
    result = run("probe", f"turn:127.0.0.1:{port}", "--user", issued["username"], env=env)
    assert result.returncode == 0, result.stdout


@pytest.mark.interop
def test_binding_alone(run: Run, coturn: Coturn) -> None:
    """RFC 8489 §3: a stun: URI takes no credentials and asks for the reflexive address."""
    result = run("probe", f"stun:localhost:{coturn()}", "--json")
    found = json.loads(result.stdout)
    assert (result.returncode, [step["name"] for step in found["steps"] if step["name"] != "resolve"]) == (
        0,
        ["binding"],
    )
    assert found["reflexive"].startswith("127.0.0.1:")


@pytest.fixture
def meshturn(start: Callable[..., Any], write: Callable[[str], Path]) -> Callable[..., int]:
    """Start meshturn on loopback with one user (user/secret); returns its port."""

    def call(address: str = "127.0.0.1", more: str = "") -> int:
        text = f"listeners: [{{address: '{address}', port: 0}}]\nauth: {{users: {{user: secret}}}}\n{more}"
        server = start("serve", "--json", "-c", write(text))
        return int(json.loads(server.until("\n"))["listening"][0]["port"])

    return call


@pytest.mark.net
@pytest.mark.parametrize(("address", "host"), [("127.0.0.1", "127.0.0.1"), ("::1", "[::1]")])
def test_a_whole_relay_of_ours(run: Run, meshturn: Callable[..., int], address: str, host: str) -> None:
    """RFC 8656 §7–§12 with our own server and its default peer rules (rule 16), in both families, with SHA-256."""
    port = meshturn(address)
    family = ["--relay-family", "6"] if ":" in address else []
    result = run("probe", f"turn:{host}:{port}", *USER, *family, "--json", env=PASSWORD)
    found = json.loads(result.stdout)
    assert result.returncode == 0, found
    assert found["integrity"] == "MESSAGE-INTEGRITY-SHA256 (SHA-256 key)"
    assert found["software"] == "meshturn"
    returned = {step["name"]: (step["sent"], step["returned"]) for step in found["steps"] if "sent" in step}
    assert returned == {"send": (5, 5), "channel": (5, 5)}


@pytest.mark.net
def test_our_own_refusals(run: Run, meshturn: Callable[..., int]) -> None:
    """RFC 8656 §7.2: 486 of our own server, and 401 for a wrong password, are told as such."""
    port = meshturn(more="limits: {allocations_per_user: 1}\n")
    full = json.loads(run("probe", f"turn:127.0.0.1:{port}", *USER, "--json", env=PASSWORD).stdout)
    assert (full["steps"][-1]["name"], full["steps"][-1]["code"]) == ("allocate-second", 486)
    assert "not signed" not in full["steps"][-1]["hint"]
    wrong = run("probe", f"turn:127.0.0.1:{port}", *USER, "--json", env={"MESHTURN_PASSWORD": "wrong"})
    assert wrong.returncode == 1
    assert json.loads(wrong.stdout)["steps"][-1]["code"] == 401


@pytest.mark.net
def test_nobody_there(run: Run, free_port: Callable[[], int]) -> None:
    """Rule 26: a closed port on this machine is known at once; exit code 1 and no traceback."""
    result = run("probe", f"turn:127.0.0.1:{free_port()}", *USER, env=PASSWORD)
    assert result.returncode == 1
    assert "Nothing listens there" in result.stdout
    assert result.stderr == ""


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["http://example.org"], "begins with stun:, stuns:, turn: or turns:"),
        (["turn:127.0.0.1\x1b[31m"], "turn:127.0.0.1\\x1b[31m"),
        (["turns:127.0.0.1"], "not supported yet in this version"),
        (["turn:127.0.0.1?transport=tcp"], "not supported yet in this version"),
        (["stun:127.0.0.1", "--user", "x"], "takes no user name"),
        (["turn:127.0.0.1", "--password-file", "x"], "needs --user"),
        (["turn:127.0.0.1", "--user", "x"], "--user needs a password"),
        (["turn:127.0.0.1", "--user", "x", "--password-file", "nowhere"], "cannot be read: No such file"),
        (["turn:127.0.0.1", "--user", "x", "--password-file", "-"], "The password is empty"),
        (["turn:127.0.0.1", "--user", "x", "--password-file", "/dev/zero"], "is it a password at all?"),
        (["turn:127.0.0.1", "--user", "a\x07b", "--password-file", "password"], "cannot be used"),
        (["turn:127.0.0.1", "--user", "x" * 509, "--password-file", "password"], "longer than 508 bytes"),
        (["turn:127.0.0.1", "--user", "x", "--password", "x"], "No such option"),
        (["turn:127.0.0.1", "--timeout", "0"], "--timeout"),
    ],
)
def test_usage_errors(run: Run, home: Path, arguments: list[str], words: str) -> None:
    """What cannot be probed is exit code 2, one sentence, and nothing is sent."""
    (home / "password").write_text("secret\n")
    result = run("probe", *arguments)
    assert (result.returncode, result.stdout) == (2, "")
    assert words in result.stderr
    assert "Traceback" not in result.stderr
    assert "\x1b" not in result.stderr


def test_the_help_says_why_there_is_no_password_option(run: Run) -> None:
    """A password on a command line is everybody's; the help says so."""
    text = " ".join(run("probe", "--help").stdout.split())
    assert "There is no --password option: every user of a machine can read its command lines" in text
