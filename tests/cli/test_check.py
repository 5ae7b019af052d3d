"""``meshturn check``: is a configuration good, and what would it do here."""

import json
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

Run = Callable[..., "subprocess.CompletedProcess[str]"]
Write = Callable[[str], Path]

GOOD = """
listeners:
  - {address: 127.0.0.1, port: 3500}
relay:
  addresses: [127.0.0.1]
  external: {127.0.0.1: 198.51.100.1}
auth:
  shared_secrets: [a-secret-of-the-test-0123456789]
"""


def test_a_good_configuration(run: Run, write: Write) -> None:
    """Listeners, relays and counts of secrets are shown; secrets are not; exit code 0."""
    result = run("check", "-c", write(GOOD))
    assert result.returncode == 0, result.stderr
    for words in ("is good", "udp 127.0.0.1:3500", "127.0.0.1 (clients are told 198.51.100.1)", "shared secrets"):
        assert words in result.stdout
    assert "turn:198.51.100.1:3500?transport=udp" in result.stdout
    assert "a-secret" not in result.stdout + result.stderr


def test_nothing_is_bound(run: Run, write: Write, free_port: Callable[[], int]) -> None:
    """It can be run beside the running server whose ports it names."""
    port = free_port()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", port))
        result = run("check", "-c", write(GOOD.replace("3500", str(port))))
    assert (result.returncode, result.stderr) == (0, "")


def test_for_programs(run: Run, write: Write) -> None:
    """--json: the same as one document."""
    found = json.loads(run("check", "--json", "-c", write(GOOD)).stdout)
    assert found["ok"] is True
    assert found["listeners"] == ["udp 127.0.0.1:3500"]
    assert found["relay_ports"] == "49152-65535"
    assert (found["users"], found["shared_secrets"], found["warnings"]) == (0, 1, [])


def test_no_credentials_is_a_warning(run: Run, write: Write) -> None:
    """Rule 3: a server without credentials relays for nobody, and says so."""
    result = run("check", "-c", write("listeners: [{address: 127.0.0.1}]\n"))
    assert result.returncode == 0
    assert "STUN Binding is all" in result.stderr


def test_an_address_of_somebody_else_is_a_warning(run: Run, write: Write) -> None:
    """The file may be meant for another machine, so it is no error."""
    result = run("check", "-c", write(GOOD.replace("address: 127.0.0.1", "address: 203.0.113.77")))
    assert result.returncode == 0
    assert "203.0.113.77 is not an address of this machine" in result.stderr


def test_problems(run: Run, write: Write) -> None:
    """All problems at once, with exit code 2, for people and for programs."""
    path = write("realm: 7\nlog: {level: loud}\n")
    people = run("check", "-c", path)
    assert people.returncode == 2
    assert people.stdout == ""
    assert f"{path}:1: realm" in people.stderr
    assert f"{path}:2: log.level" in people.stderr
    programs = run("check", "--json", "-c", path)
    assert programs.returncode == 2
    found = json.loads(programs.stdout)
    assert found["ok"] is False
    assert [(item["key"], item["line"]) for item in found["problems"]] == [("realm", 1), ("log.level", 2)]


def test_the_environment_is_checked_too(run: Run) -> None:
    """A variable with our prefix that means nothing is a problem of line null."""
    result = run("check", "--json", env={"MESHTURN_REALMS": "x"})
    found = json.loads(result.stdout)
    assert (result.returncode, found["problems"][0]["key"], found["problems"][0]["line"]) == (
        2,
        "MESHTURN_REALMS",
        None,
    )
