"""``meshturn conform`` as users run it: against this server, against coturn, and against nothing."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests.support.server import PASSWORD, USERNAME, TurnServerProcess

Run = Callable[..., "subprocess.CompletedProcess[str]"]

ENVIRONMENT = {"MESHTURN_PASSWORD": PASSWORD}


def test_this_server_from_outside(run: Run, turn_server: TurnServerProcess, home: Path) -> None:
    """Everything passes; the three reports say the same."""
    uri = f"turn:127.0.0.1:{turn_server.port}"
    files = ["--junit", "report.xml", "--html", "report.html"]
    result = run("conform", uri, "--user", USERNAME, "--json", *files, env=ENVIRONMENT)
    found = json.loads(result.stdout)
    assert (result.returncode, found["failed"]) == (0, {"MUST": 0, "SHOULD": 0, "choice": 0})
    assert found["software"] == "meshturn test"
    assert found["counts"]["passed"] > 200
    suite = ET.parse(home / "report.xml").getroot().find("testsuite")
    assert suite is not None
    assert int(suite.get("tests", "0")) == sum(found["counts"].values())
    page = (home / "report.html").read_text()
    assert f"{found['counts']['passed']} passed, 0 failed" in page
    assert "at most 4 at once" in result.stderr
    assert PASSWORD not in page + result.stdout


def test_for_people(run: Run, turn_server: TurnServerProcess) -> None:
    uri = f"turn:127.0.0.1:{turn_server.port}"
    result = run("conform", uri, "--only", "binding", "--only", "quota", "--family", "4")
    assert result.returncode == 0
    assert result.stdout.splitlines()[-1].endswith(" passed, 0 failed (0 MUST, 0 SHOULD, 0 choice), 2 not tested.")
    assert "It needs credentials (--user). (quota)" in result.stdout
    assert "1 that may disturb others" in result.stderr


@pytest.mark.interop
def test_exit_codes_by_severity(run: Run, coturn: Callable[..., int]) -> None:
    """1 for a MUST, 4 for a SHOULD, 0 for what is right."""
    uri = f"turn:127.0.0.1:{coturn('--allow-loopback-peers')}"
    options = ["--user", "user", "--password-file", "-"]
    codes = {"channel-above": 1, "peer-multicast": 4, "channel-first": 0}
    for name, code in codes.items():
        result = run("conform", uri, *options, "--only", name, "-v", stdin="secret\n")
        assert result.returncode == code, result.stdout
        assert ("right:" in result.stdout) is bool(code)
        assert ("→ server  0003" in result.stdout) is bool(code)


def test_nothing_there(run: Run, free_port: Callable[[], int]) -> None:
    result = run("conform", f"turn:127.0.0.1:{free_port()}", "--timeout", "0.5", "--only", "binding")
    assert result.returncode == 1
    assert "could not be tested" in result.stdout
    assert "servers that could not be tested: 1" in result.stdout


def test_a_family_that_the_host_does_not_have(run: Run) -> None:
    result = run("conform", "turn:127.0.0.1", "--family", "6", "--only", "binding")
    assert result.returncode == 1
    assert "no IPv6 address" in result.stdout


def test_a_name_that_is_none(run: Run) -> None:
    result = run("conform", "turn:nothing.invalid", "--only", "binding")
    assert result.returncode == 1
    assert "cannot be resolved" in result.stdout
    assert "Conformance of" not in result.stderr


def test_the_list_of_checks(run: Run) -> None:
    result = run("conform", "--list", "--only", "rule 12")
    assert result.returncode == 0
    assert "refresh-family " in result.stdout
    assert "MUST, RFC 8656 §8.2: " in result.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "Missing argument"),
        (["http://example.org"], "begins with stun:"),
        (["turn:127.0.0.1?transport=sctp"], "SCTP is not supported"),
        (["turn:127.0.0.1", "--only", "nothing"], "No check fits nothing"),
        (["turn:127.0.0.1", "--password-file", "-"], "--password-file needs --user"),
        (["turn:127.0.0.1", "--insecure"], "no URI is with TLS"),
        (["turn:127.0.0.1", "--peer-address", "here"], "not an IPv4 or IPv6 address"),
        (["turn:127.0.0.1", "--user", "alice"], "needs a password"),
        (["turn:127.0.0.1", "--timeout", "nan"], "not a number of seconds"),
        (["turn:127.0.0.1", "--junit", "-", "--html", "-"], "--junit - and --html -: only one of them"),
        (["turn:127.0.0.1", "--json", "--html", "-"], "--json and --html -: only one of them"),
    ],
)
def test_mistakes_of_the_command_line(run: Run, arguments: list[str], words: str) -> None:
    result = run("conform", *arguments)
    assert result.returncode == 2
    assert words in result.stderr


@pytest.mark.parametrize(("option", "begins"), [("--junit", "<?xml"), ("--html", "<!")])
def test_a_report_on_standard_output(
    run: Run, turn_server: TurnServerProcess, home: Path, option: str, begins: str
) -> None:
    """It has it for itself, what people read goes to standard error, and no file is called so."""
    result = run("conform", f"stun:127.0.0.1:{turn_server.port}", "--only", "binding-answered", option, "-")
    assert result.returncode == 0
    assert result.stdout.startswith(begins)
    assert result.stdout.rstrip().endswith(">")
    assert "1 passed" in result.stderr
    assert not (home / "-").exists()


def test_a_report_that_cannot_be_written(run: Run, turn_server: TurnServerProcess) -> None:
    """It is said before the tests; what is found out only when it is written loses nothing else."""
    uri = f"stun:127.0.0.1:{turn_server.port}"
    result = run("conform", uri, "--only", "binding-answered", "--html", "/no/such/folder/report.html")
    assert (result.returncode, result.stdout) == (3, "")
    assert "cannot be written" in result.stderr
    assert "Conformance of" not in result.stderr
    full = run("conform", uri, "--only", "binding-answered", "--html", "/dev/full")
    assert full.returncode == 3
    assert "cannot be written: No space left" in full.stderr
    assert "1 passed" in full.stdout


def test_a_report_is_not_begun_before_it_is_made(run: Run, free_port: Callable[[], int], home: Path) -> None:
    """What is there is kept until then, and a name that is free leaves nothing behind."""
    (home / "old.xml").write_text("before")
    result = run("conform", f"turn:127.0.0.1:{free_port()}", "--junit", "old.xml", "--html", str(home))
    assert result.returncode == 3
    assert "Is a directory" in result.stderr
    assert [each.name for each in home.glob("*.xml")] == ["old.xml"]
    assert (home / "old.xml").read_text() == "before"
