"""``meshturn nat``: its options, its output and its exit codes."""

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from click.testing import CliRunner, Result

from cli.exit_codes import ExitCode
from cli.main import meshturn
from tests.support.nat_server import serving
from tests.support.nat_world import SimServer


@contextmanager
def in_background(server: SimServer) -> Iterator[None]:
    """The server in a thread of its own: the command runs a loop of its own."""
    loop = asyncio.new_event_loop()
    ready, end = threading.Event(), asyncio.Event()

    async def serve() -> None:
        async with serving(server):
            ready.set()
            await end.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), daemon=True)
    thread.start()
    assert ready.wait(60)
    try:
        yield
    finally:
        loop.call_soon_threadsafe(end.set)
        thread.join(60)
        loop.close()


def nat(*arguments: str) -> Result:
    return CliRunner().invoke(meshturn, ["nat", *arguments])


def test_for_people(server: SimServer) -> None:
    """Exit code 0, and the verdicts as text."""
    with in_background(server):
        result = nat(f"stun:{server.primary}")
    assert (result.exit_code, result.stderr) == (ExitCode.OK, "")
    assert f"server  {server.primary} sim, RFC 5780, with {server.alternate}" in result.stdout
    assert "endpoint-independent filtering" in result.stdout
    assert result.stdout.splitlines()[-1].startswith("Direct connections work")


def test_for_programs_over_both(server: SimServer) -> None:
    """One document, with a result for each transport."""
    with in_background(server):
        result = nat(f"stun:{server.primary}", "--transport", "both", "--family", "4", "--json")
    written = json.loads(result.stdout)
    assert (result.exit_code, written["ok"]) == (ExitCode.OK, True)
    assert [(way["transport"], way["family"], way["nat"]) for way in written["results"]] == [
        ("udp", 4, False),
        ("tcp", 4, False),
    ]


def test_the_plan_of_a_long_search(server: SimServer) -> None:
    """It is on standard error, so that standard output stays one document."""
    with in_background(server):
        result = nat(f"stun:{server.primary}", "--lifetime", "2s", "--json")
    assert "takes at most" in result.stderr.splitlines()[0]
    assert result.stderr.splitlines()[1] == "Round 1: bindings are idle for 1, 2 s."
    assert json.loads(result.stdout)["results"][0]["lifetime"]["at_most_seconds"] is None


def test_no_answer_is_exit_code_1(server: SimServer) -> None:
    """And so is a family that was named and did not answer, though another did."""
    result = nat(f"stun:127.0.0.1:{server.primary.port}", "--transport", "tcp")
    assert result.exit_code == ExitCode.FAILED
    assert "nothing listens there over TCP" in result.stdout
    with in_background(server):
        result = nat(f"stun:{server.primary}", "--family", "both", "--json")
    assert (result.exit_code, json.loads(result.stdout)["ok"]) == (ExitCode.FAILED, False)


def test_an_address_that_is_not_here_is_exit_code_3(server: SimServer) -> None:
    """The machine does not allow it."""
    result = nat(f"stun:{server.primary}", "--local-address", "192.0.2.77")
    assert result.exit_code == ExitCode.CANNOT_START
    assert "192.0.2.77 cannot be opened" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Missing argument 'URI...'"),
        (["example.org"], "begins with stun:"),
        (["turn:example.org"], "write stun:HOST"),
        (["stuns:example.org"], "write stun:HOST"),
        (["stun:a"] * 9, "At most 8 servers"),
        (["stun:a", "--timeout", "0"], "0.5<=x<=40"),
        (["stun:a", "--lifetime", "1s"], "between two seconds and an hour"),
        (["stun:a", "--lifetime", "2h"], "between two seconds and an hour"),
        (["stun:a", "--lifetime", "soon"], "is not a duration"),
        (["stun:a", "--transport", "tls"], "is not one of"),
        (["stun:a", "--local-address", "localhost"], "is not an IPv4 or IPv6 address"),
        (["stun:a", "--local-address", "::1", "--family", "4"], "another family"),
        (["stun:a", "--lifetime", "5m", "--transport", "tcp"], "--lifetime is about UDP"),
    ],
)
def test_wrong_command_lines(arguments: list[str], message: str) -> None:
    """Exit code 2, before anything is sent."""
    result = nat(*arguments)
    assert result.exit_code == ExitCode.USAGE
    assert message in result.stderr
