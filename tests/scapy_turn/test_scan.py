"""The command: what it prints, what it does not take, and what it says where there is nothing."""

import json
import os
import re
import runpy
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from scapy_turn import fingerprint
from scapy_turn.scan import PROBES, Target, main, parse_uri
from tests.support.process import wait_for_log
from tests.support.server import PASSWORD, USERNAME, TurnServerProcess, free_port


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server is on this machine: what is not answered at once is not answered."""
    monkeypatch.setattr(fingerprint, "PATIENCE", 0.3)


@pytest.mark.parametrize(
    ("text", "server", "transport"),
    [
        ("turn:192.0.2.1", ("192.0.2.1", 3478), "udp"),
        ("stun:turn.example.org:5000", ("turn.example.org", 5000), "udp"),
        ("turn:[2001:db8::1]:99?transport=tcp", ("2001:db8::1", 99), "tcp"),
        ("turns:192.0.2.1?transport=tcp", ("192.0.2.1", 5349), "tls"),
        ("turns:192.0.2.1?transport=udp", ("192.0.2.1", 5349), "dtls"),
    ],
)
def test_uris(text: str, server: tuple[str, int], transport: str) -> None:
    """RFC 7064, RFC 7065."""
    assert parse_uri(text) == (server, transport)


@pytest.mark.parametrize(
    "text", ["", "turn:", "http://a", "turn:a:0", "turn:a:70000", "turn:a?transport=sctp", "turn:\n"]
)
def test_what_is_no_uri(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["scan", text])
    assert "no URI such as" in capsys.readouterr().err


def test_json(
    server: TurnServerProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every probe, with a password from a file as Windows writes them; run as a module."""
    secret = tmp_path / "password"
    secret.write_bytes(f"{PASSWORD}\r\nanother line".encode())
    arguments = ["scan", f"turn:127.0.0.1:{server.port}", "--user", USERNAME, "--password-file", str(secret)]
    monkeypatch.setattr(sys, "argv", ["scapy_turn", *arguments, "--json", "--timeout", "0.2"])
    with pytest.raises(SystemExit, match="0"):
        runpy.run_module("scapy_turn", run_name="__main__")
    report = json.loads(capsys.readouterr().out)
    assert set(report) == set(PROBES)
    assert all(part["rows"] and "skipped" not in part for name, part in report.items() if name != "flood")
    assert report["flood"] == {"rows": [], "skipped": "only with --flood COUNT: it sends so many packets of each kind"}
    assert report["fingerprint"]["rows"][0]["guesses"].startswith("meshturn (4 of 4")


def test_tables(server: TurnServerProcess, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """For people: with a password from the environment, and some probes only."""
    monkeypatch.setenv("SCAPY_TURN_PASSWORD", PASSWORD)
    address = f"127.0.0.1:{server.ports['tcp']}"
    command = ["scan", f"turn:{address}?transport=tcp", "--user", USERNAME, "--peer", "10.0.0.1", "--peer", "127.0.0.9"]
    assert main([*command, "--only", "peers", "--only", "strangers"]) == 0
    printed = capsys.readouterr().out
    assert re.search(r"^10\.0\.0\.1 +private +no +no +403 Forbidden", printed, re.MULTILINE)
    assert re.search(r"^127\.0\.0\.9 +yes +yes +allowed", printed, re.MULTILINE)
    assert re.search(r"^Allocate +28 +[0-9]+ +1 +error 401", printed, re.MULTILINE)
    assert re.search(r"^no STUN +20 +0 +0 +the connection was closed", printed, re.MULTILINE)
    assert PASSWORD not in printed


def test_without_a_credential_or_a_server(
    server: TurnServerProcess, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["scan", f"turn:127.0.0.1:{server.port}", "--only", "peers", "--only", "fingerprint"]) == 0
    assert "needs a credential" in capsys.readouterr().out
    assert (
        main(["scan", f"turn:127.0.0.1:{free_port()}?transport=tcp", "--only", "fingerprint", "--timeout", "0.1"]) == 1
    )
    assert "nothing answers" in capsys.readouterr().out
    monkeypatch.setenv("SCAPY_TURN_PASSWORD", PASSWORD)
    monkey = ["scan", f"turn:127.0.0.1:{free_port()}", "--user", "a", "--only", "peers", "--timeout", "0.1"]
    assert main(monkey) == 1
    assert "no answer to Allocate" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (("--user", "alice"), "needs a password"),
        (("--timeout", "nan"), "0.01 to 60"),
        (("--timeout", "-1"), "0.01 to 60"),
    ],
)
def test_what_cannot_be_understood(
    wrong: tuple[str, str], words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("SCAPY_TURN_PASSWORD", raising=False)
    with pytest.raises(SystemExit, match="2"):
        main(["scan", "turn:127.0.0.1", *wrong])
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot be read: No such file or directory"),
        (b"", "is empty"),
        (b"\r\nsecret", "is empty"),
        (b"\xff\n", "is not UTF-8 text"),
        (b"x" * 5000, "longer than 4096 bytes"),
    ],
    ids=["absent", "empty", "no first line", "no text", "endless"],
)
def test_password_files_that_are_none(
    content: bytes | None, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "password"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SystemExit, match="2"):
        main(["scan", "turn:127.0.0.1", "--user", "alice", "--password-file", str(file)])
    said = capsys.readouterr().err
    assert words in said
    assert str(file) in said
    assert "Errno" not in said


def test_output_that_nobody_takes(server: TurnServerProcess) -> None:
    """A full disk is said; who has closed a pipe is told nothing. Neither has a traceback."""
    command = [sys.executable, "-m", "scapy_turn", "scan", f"turn:127.0.0.1:{server.port}", "--only", "nonces"]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False, timeout=60)
    assert done.returncode == 3
    assert done.stderr == "Standard output cannot be written to: No space left on device.\n"
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, check=False, timeout=60)
    os.close(write)
    assert (done.returncode, done.stderr) == (0, "")


def test_an_interrupted_scan(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(target: Target) -> list[dict[str, Any]]:
        raise KeyboardInterrupt

    monkeypatch.setitem(PROBES, "nonces", ("Nonces", interrupted))
    assert main(["scan", "turn:127.0.0.1", "--only", "nonces"]) == 130
    assert capsys.readouterr().out == ""


def test_an_interrupted_scan_leaves_no_allocation(server: TurnServerProcess) -> None:
    """It is deleted at once, rather than after its ten minutes."""
    peers = [f"--peer=198.51.{number >> 8}.{number & 255}" for number in range(4000)]
    command = [sys.executable, "-m", "scapy_turn", "scan", f"turn:127.0.0.1:{server.port}", "--only", "peers", *peers]
    before = len(server.log)
    scan = subprocess.Popen(
        [*command, "--user", USERNAME], env=os.environ | {"SCAPY_TURN_PASSWORD": PASSWORD}, stdout=subprocess.PIPE
    )
    try:
        wait_for_log(server, "allocation opened", after=before)
        scan.send_signal(signal.SIGINT)
        assert scan.communicate(timeout=60) == (b"", None)
    finally:
        scan.kill()
        scan.wait()
    assert scan.returncode == 130
    wait_for_log(server, "allocation ended", "reason=deleted", after=before)


def test_flood(server: TurnServerProcess, capsys: pytest.CaptureFixture[str]) -> None:
    """It is asked for, has a bound, and is of use over UDP only."""
    command = ["scan", f"turn:127.0.0.1:{server.port}", "--only", "flood", "--timeout", "0.2"]
    assert main([*command, "--flood", "20"]) == 0
    assert re.search(r"^Binding +20 +20 +400 +640 +1\.60", capsys.readouterr().out, re.MULTILINE)
    over_tcp = ["scan", f"turn:127.0.0.1:{server.ports['tcp']}?transport=tcp", "--only", "flood", "--flood", "9"]
    main(over_tcp)
    assert "over UDP only" in capsys.readouterr().out
    for wrong in ("0", "-1", "5001", "many"):
        with pytest.raises(SystemExit, match="2"):
            main([*command, "--flood", wrong])
        assert "a number from 1 to 5000" in capsys.readouterr().err
