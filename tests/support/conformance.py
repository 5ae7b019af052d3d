"""A server in the test's own process, on every transport and family of loopback, and the kit run against it."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from cli.conform.bench import KitOptions
from cli.conform.findings import ConformReport, Grade
from cli.conform.pipes import Subject
from cli.conform.runner import chosen, run_checks
from cli.probe.security import Trust
from stun.address import Address
from stun.client.authentication import Login
from stun.uri import StunUri
from tests.support.certificates import issue
from tests.support.server import PASSWORD, USERNAME, free_port, has_ipv6_loopback, loopback_config
from turnserver.server import Server

__all__ = ["LOGIN", "grade_all", "kit_server", "names", "run_group", "server_at"]

LOGIN = Login(USERNAME, PASSWORD)
PATIENCE = 20.0
"""Generous for a busy machine; never waited out where the server does what is right."""
TRANSPORTS = ("udp", "tcp", "tls", "dtls")


def server_at(transport: str, host: str, port: int, ca_file: Path | None = None) -> Subject:
    """A server to test."""
    scheme = "turns" if transport in {"tls", "dtls"} else "turn"
    shown = f"[{host}]" if ":" in host else host
    uri = StunUri.parse(f"{scheme}:{shown}:{port}?transport={'udp' if transport in {'udp', 'dtls'} else 'tcp'}")
    return Subject(uri, Address.parse(host, port), Trust(ca_file))


@asynccontextmanager
async def kit_server(
    directory: Path,
    transports: Sequence[str] = TRANSPORTS,
    *,
    hosts: Sequence[str] | None = None,
    discovery: bool = False,
    **changes: Any,
) -> AsyncIterator[tuple[Server, list[Subject]]]:
    """A running server, and how to reach it; keyword arguments replace whole sections of the configuration."""
    hosts = hosts or (["127.0.0.1", "::1"] if has_ipv6_loopback() else ["127.0.0.1"])
    pair = issue(directory) if {"tls", "dtls"} & set(transports) else None
    port = free_port(3)
    listeners = [
        {"transport": transport, "address": host, "port": port + (transport in {"tls", "dtls"})}
        for transport in transports
        for host in hosts
    ]
    config = loopback_config(listeners=listeners, **changes)
    if pair is not None:
        config["tls"] = {"certificates": [pair.config]}
    if discovery:
        config["behavior_discovery"] = {"primary": f"127.0.0.1:{port}", "alternate": f"127.0.0.2:{port + 2}"}
    targets = [
        server_at(str(each["transport"]), each["address"], each["port"], pair and pair.certificate)
        for each in listeners
    ]
    async with Server(config) as server:
        yield server, targets


async def grade_all(
    targets: Sequence[Subject], *patterns: str, login: Login | None = LOGIN, **options: Any
) -> ConformReport:
    """Run the checks that fit the patterns."""
    given = KitOptions(login=login, **{"patience": PATIENCE, **options})
    return await run_checks(targets, chosen(patterns), given, lambda name, done, total: None)


def names(report: ConformReport, grade: Grade) -> set[str]:
    """The checks with a grade; those that are about another transport do not count as untested."""
    return {
        each.check.name
        for each in report.findings
        if each.grade is grade and not each.sentence.startswith("It is about ")
    }


def run_group(directory: Path, group: str, *, discovery: bool = False, **changes: Any) -> Mapping[str, set[str]]:
    """One group of checks on every transport and family: what failed (with why), and what was not tested."""

    async def run() -> Mapping[str, set[str]]:
        async with kit_server(directory, discovery=discovery, **changes) as (server, targets):
            report = await grade_all(targets, group)
            assert not report.troubles
            assert not server.snapshot().allocations, "it cleans up"
            wrong = {f"{each.target} {each.name}: {each.sentence}" for each in report.failures}
            passed = names(report, Grade.PASSED)
            return {"wrong": wrong, "untested": names(report, Grade.UNTESTED) - passed, "passed": passed}

    return asyncio.run(run())
