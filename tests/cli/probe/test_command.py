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
    assert (
        result.stdout.splitlines()[-1]
        == "It works on this machine: data went through the relay and came back. Others were not tried."
    )


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
    assert "no MESSAGE-INTEGRITY" not in last["hint"]


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


@pytest.mark.interop
@pytest.mark.parametrize(("address", "host"), [("127.0.0.1", "127.0.0.1"), ("::1", "[::1]")])
def test_a_whole_relay_of_coturn_over_tcp(run: Run, coturn: Coturn, address: str, host: str) -> None:
    """RFC 8656 §3.1, §12.5: the same over TCP, ChannelData padded."""
    port = coturn("--allow-loopback-peers", address=address, streams=True)
    family = ["--relay-family", "6"] if ":" in address else []
    result = run("probe", f"turn:{host}:{port}?transport=tcp", *USER, *family, "--json", env=PASSWORD)
    found = json.loads(result.stdout)
    assert result.returncode == 0, found
    assert [step["name"] for step in found["steps"]][:3] == ["connect", "binding", "allocate"]
    returned = {step["name"]: (step["sent"], step["returned"]) for step in found["steps"] if "sent" in step}
    assert returned == {"send": (5, 5), "channel": (5, 5)}
    assert found["tls"] is None


@pytest.fixture
def coturn_tls(coturn: Coturn, certify: Callable[..., Any]) -> Callable[..., tuple[int, Any]]:
    """Start coturn with a certificate for loopback; returns its TLS port and the certificate."""

    def call(**how: Any) -> tuple[int, Any]:
        made = certify("127.0.0.1", "localhost", **how)
        # coturn tells TLS from plain TCP by the first byte, on either port.
        pair = [f"--cert={made.certificate}", f"--pkey={made.key}"]
        return coturn("--allow-loopback-peers", "--tls-listening-port=0", *pair, streams=True), made

    return call


@pytest.mark.interop
@pytest.mark.parametrize("kind", ["ecdsa", "rsa"])
def test_a_whole_relay_of_coturn_over_tls(run: Run, coturn_tls: Callable[..., Any], kind: str) -> None:
    """RFC 8489 §6.2.3: the certificate is checked against --ca-file and the host, shown, and the relay works."""
    port, made = coturn_tls(kind=kind)
    options = [*USER, "--ca-file", made.certificate]
    result = run("probe", f"turns:localhost:{port}", *options, "--json", env=PASSWORD)
    found = json.loads(result.stdout)
    assert result.returncode == 0, found
    returned = {step["name"]: (step["sent"], step["returned"]) for step in found["steps"] if "sent" in step}
    assert returned == {"send": (5, 5), "channel": (5, 5)}
    assert found["tls"]["trusted"] is True
    assert found["tls"]["version"].startswith("TLSv1.")
    assert found["tls"]["certificate"]["names"] == ["localhost", "127.0.0.1"]
    assert found["tls"]["certificate"]["key"] == {"ecdsa": "ECDSA P-256", "rsa": "RSA 2048"}[kind]
    people = run("probe", f"stuns:127.0.0.1:{port}", "--ca-file", made.certificate)
    assert people.returncode == 0, people.stdout
    assert people.stdout.splitlines()[-1] == "It answers."
    assert "trusted            yes" in people.stdout


@pytest.mark.interop
def test_a_server_that_is_not_trusted(run: Run, coturn_tls: Callable[..., Any]) -> None:
    """RFC 8489 §6.2.3: self-signed is exit code 1 and no credentials leave; --insecure goes on and says so."""
    port, _ = coturn_tls()
    refused = run("probe", f"turns:127.0.0.1:{port}", *USER, "--json", env=PASSWORD)
    assert refused.returncode == 1
    found = json.loads(refused.stdout)
    assert [(step["name"], step["ok"]) for step in found["steps"]] == [("connect", True), ("tls", False)]
    assert "self-signed" in found["steps"][-1]["sentence"]
    assert (found["tls"]["trusted"], found["tls"]["certificate"]["self_signed"]) == (False, True)
    went_on = run("probe", f"turns:127.0.0.1:{port}", *USER, "--insecure", env=PASSWORD)
    assert went_on.returncode == 0, went_on.stdout
    assert "browsers would not connect" in went_on.stdout.splitlines()[-1]


@pytest.fixture
def meshturn(start: Callable[..., Any], write: Callable[[str], Path]) -> Callable[..., int]:
    """Start meshturn on loopback with one user (user/secret); returns its port."""

    def call(address: str = "127.0.0.1", more: str = "") -> int:
        text = f"listeners: [{{address: '{address}', port: 0}}]\nauth: {{users: {{user: secret}}}}\n{more}"
        server = start("serve", "--json", "-c", write(text))
        return int(json.loads(server.until("\n"))["listening"][0]["port"])

    return call


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


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
@pytest.mark.parametrize(
    ("listener", "scheme"),
    [
        ("transport: tcp", "turn"),
        ("transport: tls", "turns"),
        ("transport: shared", "turns"),
        ("transport: shared, tls: false", "turn"),
    ],
)
def test_every_way_into_ours(
    run: Run,
    start: Callable[..., Any],
    write: Callable[[str], Path],
    certify: Callable[..., Any],
    listener: str,
    scheme: str,
    address: str,
) -> None:
    """RFC 8656 §3.1: the whole relay by TCP, TLS and the shared port; RFC 7443: ALPN stun.turn is taken."""
    made = certify(address)
    text = f"listeners: [{{{listener}, address: '{address}', port: 0}}]\nauth: {{users: {{user: secret}}}}\n"
    text += f"tls: {{certificates: [{{certificate: {made.certificate}, key: {made.key}}}]}}\n"
    port = json.loads(start("serve", "--json", "-c", write(text)).until("\n"))["listening"][0]["port"]
    host = f"[{address}]" if ":" in address else address
    options = [*USER, "--relay-family", "6" if ":" in address else "4"]
    options += ["--ca-file", made.certificate] if scheme == "turns" else []
    result = run("probe", f"{scheme}:{host}:{port}?transport=tcp", *options, "--json", env=PASSWORD)
    found = json.loads(result.stdout)
    assert result.returncode == 0, found
    returned = {step["name"]: (step["sent"], step["returned"]) for step in found["steps"] if "sent" in step}
    assert returned == {"send": (5, 5), "channel": (5, 5)}
    if scheme == "turns":
        assert (found["tls"]["version"], found["tls"]["alpn"], found["tls"]["trusted"]) == (
            "TLSv1.3",
            "stun.turn",
            True,
        )


def test_tls_on_our_plain_port(run: Run, start: Callable[..., Any], write: Callable[[str], Path]) -> None:
    """Rule 22: a TLS ClientHello on a plain TURN port ends at once, and the probe says what is likely."""
    text = "listeners: [{transport: tcp, address: 127.0.0.1, port: 0}]\nauth: {users: {user: secret}}\n"
    port = json.loads(start("serve", "--json", "-c", write(text)).until("\n"))["listening"][0]["port"]
    found = json.loads(run("probe", f"stuns:127.0.0.1:{port}", "--json", "--timeout", "20").stdout)
    assert [(step["name"], step["ok"]) for step in found["steps"]] == [("connect", True), ("tls", False)]
    assert "TLS" in found["steps"][-1]["sentence"]


def test_our_own_refusals(run: Run, meshturn: Callable[..., int]) -> None:
    """RFC 8656 §7.2: 486 of our own server, and 401 for a wrong password, are told as such."""
    port = meshturn(more="limits: {allocations_per_user: 1}\n")
    full = json.loads(run("probe", f"turn:127.0.0.1:{port}", *USER, "--json", env=PASSWORD).stdout)
    assert (full["steps"][-1]["name"], full["steps"][-1]["code"]) == ("allocate-second", 486)
    assert "no MESSAGE-INTEGRITY" not in full["steps"][-1]["hint"]
    wrong = run("probe", f"turn:127.0.0.1:{port}", *USER, "--json", env={"MESHTURN_PASSWORD": "wrong"})
    assert wrong.returncode == 1
    assert json.loads(wrong.stdout)["steps"][-1]["code"] == 401


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
        (["turns:127.0.0.1?transport=quic"], "Probing over QUIC is not supported"),
        (["turn:127.0.0.1?transport=sctp"], "Probing over SCTP is not supported"),
        (["stun:127.0.0.1?transport=tcp"], "has no query"),
        (["turn:127.0.0.1", "--insecure"], "turn: goes without"),
        (["stun:127.0.0.1", "--ca-file", "password"], "stun: goes without"),
        (["turns:127.0.0.1", "--ca-file", "missing"], "missing cannot be used: No such file or directory"),
        (["turns:127.0.0.1", "--ca-file", "password"], "password cannot be used: it holds no certificates"),
        (["stun:127.0.0.1", "--user", "x"], "takes no user name"),
        (["turn:127.0.0.1", "--password-file", "x"], "needs --user"),
        (["turn:127.0.0.1", "--user", "x"], "--user needs a password"),
        (["turn:127.0.0.1", "--user", "x", "--password-file", "nowhere"], "cannot be read: No such file"),
        (["turn:127.0.0.1", "--user", "x", "--password-file", "-"], "The password is empty"),
        (["turn:127.0.0.1", "--user", "x", "--password-file", "/dev/zero"], "too long for a password"),
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
