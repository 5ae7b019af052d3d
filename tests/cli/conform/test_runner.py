"""Which checks are run, and what becomes of them."""

import asyncio
from pathlib import Path
from typing import cast

import pytest

from cli.conform.bench import Bench, KitOptions
from cli.conform.catalogue import all_checks
from cli.conform.findings import Grade, Untestable, Wrong
from cli.conform.pipes import Subject
from cli.conform.registry import Check
from cli.conform.runner import chosen, run_checks
from cli.conform.table import CheckRow, Demand
from cli.probe.security import Trust
from stun.client.authentication import Login
from stun.constants import Method
from tests.support.conformance import LOGIN, PATIENCE, kit_server, server_at


def test_patterns_are_names_groups_rules_and_levels() -> None:
    assert len(chosen([])) == len(all_checks())
    assert [each.row.name for each in chosen(["binding-answered"])] == ["binding-answered"]
    assert {each.group for each in chosen(["channels"])} == {"channels"}
    assert {each.row.rule[:8] for each in chosen(["rule 14"])} == {"Rule 14:"}
    assert {each.row.level for each in chosen(["choice"])} == {Demand.CHOICE}
    assert {each.row.name.partition("-")[0] for each in chosen(["even-*", "dual-*"])} == {"even", "dual"}
    assert chosen(["no-such"]) == []


async def wrong(bench: Bench) -> None:
    await bench.client()
    raise Wrong("It is\nnot.")


async def untestable(bench: Bench) -> None:
    raise Untestable("No way.")


async def broken(bench: Bench) -> None:
    await bench.relay()
    raise ZeroDivisionError("oops")


async def fine(bench: Bench) -> None:
    await bench.relay()


def made(run: object, *, modes: bool = False) -> Check:
    row = CheckRow("one", Demand.MUST, "8489 §1", "It is so.", "Rule 7: Seven")
    return Check(row, run, "group", True, "", modes, False)  # type: ignore[arg-type]


async def test_what_becomes_of_a_check(tmp_path: Path) -> None:
    async with kit_server(tmp_path, ["udp"], hosts=["127.0.0.1"]) as (server, targets):
        seen: list[tuple[str, int, int]] = []
        checks = [made(wrong), made(untestable), made(broken), made(fine, modes=True)]
        options = KitOptions(LOGIN, PATIENCE)
        report = await run_checks(targets, checks, options, lambda *progress: seen.append(progress))
        assert not server.snapshot().allocations
    found = [(each.grade, each.sentence, each.mode) for each in report.findings]
    assert found == [
        (Grade.FAILED, "It is\\x0anot.", ""),
        (Grade.UNTESTED, "No way.", ""),
        (Grade.BROKEN, "The check raised ZeroDivisionError: oops", ""),
        (Grade.PASSED, "", "SHA-1"),
        (Grade.PASSED, "", "SHA-256"),
    ]
    assert report.software == "meshturn test"
    assert [progress[1:] for progress in seen] == [(0, 4), (1, 4), (2, 4), (3, 4), (4, 4)]


async def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    async with kit_server(tmp_path, ["udp", "tcp"], hosts=["127.0.0.1"]) as (_, targets):
        pass
    report = await run_checks(targets, [made(fine)], KitOptions(LOGIN, 0.3), lambda *progress: None)
    assert [target for target, _ in report.troubles] == [str(each) for each in targets]
    assert report.findings == []


async def test_a_wrong_password_is_said_once(tmp_path: Path) -> None:
    """A few hundred wrong logins would only have the server brake."""
    async with kit_server(tmp_path, ["udp"], hosts=["127.0.0.1"]) as (server, targets):
        options = KitOptions(Login(LOGIN.username, "wrong"), PATIENCE)
        report = await run_checks(targets, chosen([]), options, lambda *progress: None)
        assert server.snapshot().failed_logins == 1
    assert report.troubles == [(str(targets[0]), "The server refuses the user name or the password (401).")]


async def test_a_server_that_allows_no_peers_fails_nothing(tmp_path: Path) -> None:
    """As most servers do with a tester on loopback or in a private network."""
    async with kit_server(tmp_path, ["udp", "tcp"], hosts=["127.0.0.1"], peers={}) as (_, targets):
        report = await run_checks(targets, chosen([]), KitOptions(LOGIN, PATIENCE), lambda *progress: None)
    assert [f"{each.name}: {each.sentence}" for each in report.failures] == []
    assert any("forbids the peer" in each.sentence for each in report.findings)


class Hostile(asyncio.DatagramProtocol):
    """Asks for credentials, and gives relayed addresses of a family that does not exist."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        method = data[1]
        if method == Method.ALLOCATE and len(data) < 60:
            kind, body = 0x110, b"\0\x09\0\x04\0\0\x04\x01" + b"\0\x14\0\x01r\0\0\0" + b"\0\x15\0\x01n\0\0\0"
        else:
            kind, body = 0x100, b"\0\x16\0\x08\0\x09" + bytes(6)
        head = (kind | method).to_bytes(2, "big") + len(body).to_bytes(2, "big")
        self.transport.sendto(head + data[4:20] + body, addr)


async def test_a_server_whose_answers_cannot_be_read() -> None:
    """That is a finding about the server, and no end of the run."""
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(Hostile, local_addr=("127.0.0.1", 0))
    target = server_at("udp", *transport.get_extra_info("sockname"))
    report = await run_checks([target], [made(fine)], KitOptions(LOGIN, 0.5), lambda *_: None)
    transport.close()
    assert report.troubles == []
    assert [(each.grade, each.sentence) for each in report.findings] == [
        (Grade.UNTESTED, "The server's answer to Allocate has no relayed address.")
    ]


async def test_without_credentials(tmp_path: Path) -> None:
    async with kit_server(tmp_path, ["udp"], hosts=["127.0.0.1"]) as (_, targets):
        options = KitOptions(None, PATIENCE)
        report = await run_checks(targets, chosen(["binding-answered", "channel-first"]), options, lambda *_: None)
    found = {each.name: each for each in report.findings}
    assert found["binding-answered"].grade is Grade.PASSED
    assert found["channel-first"].grade is Grade.UNTESTED
    assert "--user" in found["channel-first"].sentence


@pytest.mark.parametrize("transport", ["tls"])
async def test_a_certificate_that_is_not_trusted(tmp_path: Path, transport: str) -> None:
    async with kit_server(tmp_path, [transport], hosts=["127.0.0.1"]) as (_, (target,)):
        strict = Subject(target.uri, target.address, Trust())
        report = await run_checks([strict], [made(fine)], KitOptions(LOGIN, PATIENCE), lambda *_: None)
        assert "certificate" in report.troubles[0][1]
        loose = Subject(target.uri, target.address, Trust(insecure=True))
        report = await run_checks([loose], [made(fine)], KitOptions(LOGIN, PATIENCE), lambda *_: None)
        assert [each.grade for each in report.findings] == [Grade.PASSED]
