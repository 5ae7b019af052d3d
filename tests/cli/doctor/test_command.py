"""``meshturn doctor``: its options, its output and its exit codes."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

from cli.exit_codes import ExitCode

Run = Callable[..., "subprocess.CompletedProcess[str]"]
Write = Callable[[str], Path]

CONFIG = """
listeners: [{{transport: udp, address: 127.0.0.1, port: {port}}}]
auth: {{users: {{alice: a-secret-of-the-test}}}}
"""


def test_nothing_listens(run: Run, write: Write, free_port: Callable[[], int]) -> None:
    """Exit code 1, and what to do; no secret of the configuration is shown."""
    path = write(CONFIG.format(port=free_port()))
    result = run("doctor", "-c", path, "--only", "ports", "--timeout", "20")
    assert result.returncode == ExitCode.FAILED, result.stderr
    assert "Nothing listens there" in result.stdout
    assert "journalctl -u meshturn" in result.stdout
    assert result.stdout.splitlines()[-1] == "1 wrong, 0 warnings."
    assert "a-secret" not in result.stdout + result.stderr


def test_for_programs(run: Run, write: Write) -> None:
    """One document; checks that were not named are not in it."""
    path = write(CONFIG.format(port=3478))
    result = run("doctor", "-c", path, "--only", "certificate", "--only", "ipv6", "--json")
    written = json.loads(result.stdout)
    assert list(written["checks"]) == ["certificate", "ipv6"]
    assert written["checks"]["certificate"] == [
        {"grade": "ok", "what": "No listener has TLS.", "why": None, "mend": []}
    ]
    assert written["ok"] == (result.returncode == ExitCode.OK)


def test_nothing_could_be_checked(run: Run, write: Write) -> None:
    """That is no success."""
    result = run("doctor", "-c", write(CONFIG.format(port=3478)), "--only", "dns")
    assert result.returncode == ExitCode.FAILED
    assert "not checked" in result.stdout
    assert result.stdout.splitlines()[-1] == "Nothing could be checked."


def test_wrong_command_lines(run: Run, write: Write, home: Path) -> None:
    """Exit code 2: an unknown check, a configuration that is wrong, roots that are none."""
    good = write(CONFIG.format(port=3478))
    (home / "roots.pem").write_text("nothing")
    for arguments in (
        ("--only", "weather"),
        ("-c", home / "missing.yml"),
        ("-c", good, "--ca-file", home / "roots.pem"),
    ):
        assert run("doctor", *arguments).returncode == ExitCode.USAGE, arguments


def test_every_check_is_explained(run: Run) -> None:
    """Each name that --only takes has a line in the help."""
    from cli.doctor.findings import CheckName

    words = run("doctor", "--help").stdout
    lines = [line.split() for line in words.splitlines()]
    assert all(any(line[:1] == [str(subject)] for line in lines) for subject in CheckName)


def test_the_other_server(run: Run, write: Write, home: Path) -> None:
    """Exit code 2 without a key, over plain HTTP, or with a key file that is none; no key is taken from argv."""
    good = write(CONFIG.format(port=3478))
    for arguments in (
        ("--from", "https://192.0.2.1"),
        ("--from", "http://192.0.2.1", "--from-key-file", home / "key"),
        ("--from", "https://192.0.2.1", "--from-key-file", home / "missing"),
        ("--from", "words"),
        ("--from-key-file", home / "key"),
    ):
        assert run("doctor", "-c", good, *arguments).returncode == ExitCode.USAGE, arguments
    result = run(
        "doctor", "-c", good, "--from", "https://192.0.2.1", "--only", "outside", env={"MESHTURN_FROM_KEY": "k"}
    )
    assert result.returncode == ExitCode.FAILED
    assert "No listener is reached directly from elsewhere." in result.stdout
