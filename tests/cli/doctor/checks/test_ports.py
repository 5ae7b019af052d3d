"""Whether a server answers: real ones on loopback."""

import socket
from collections.abc import Callable
from typing import Any

from cli.doctor.checks.ports import ports
from cli.doctor.findings import Severity
from cli.doctor.host import Host
from tests.support.server import free_port
from turnserver.server import Server

Certify = Callable[..., Any]


def options(certify: Certify, first: int) -> dict[str, Any]:
    pair = certify("localhost")
    kinds = (("udp", 0), ("tcp", 0), ("tls", 1), ("dtls", 1), ("shared", 2))
    return {
        "listeners": [{"transport": kind, "address": "127.0.0.1", "port": first + more} for kind, more in kinds],
        "tls": {"certificates": [{"certificate": str(pair.certificate), "key": str(pair.key)}]},
        "auth": {"users": {"alice": "secret"}},
    }


async def test_every_transport(make: Callable[..., Host], certify: Certify) -> None:
    """A certificate that nobody trusts is not what this is about."""
    given = options(certify, free_port(3))
    async with Server(given):
        (found,) = await ports(make(given, patience=30.0))
    assert found.grade is Severity.OK, found
    for kind in ("udp", "tcp", "tls", "dtls"):
        assert f"{kind} 127.0.0.1" in found.what
    assert "only programs on this host" in found.what


async def test_nobody_is_there(make: Callable[..., Host], certify: Certify) -> None:
    """Sockets with the same trouble are one finding, which says how to look for the server."""
    first = free_port(3)
    found = await ports(make(options(certify, first), patience=30.0))
    assert {each.grade for each in found} == {Severity.WRONG}
    assert any(f"tls 127.0.0.1:{first + 1}" in each.what and f"tcp 127.0.0.1:{first}" in each.what for each in found)
    assert all("systemctl status meshturn" in each.mend for each in found)


async def test_another_program_has_the_port(make: Callable[..., Host]) -> None:
    """It takes connections, and answers nothing."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        given = {"listeners": [{"transport": "tcp", "address": "127.0.0.1", "port": port}]}
        (found,) = await ports(make(given, patience=0.3))
    assert found.grade is Severity.WRONG
    assert "another program has the port" in found.why


async def test_behind_proxies(make: Callable[..., Host]) -> None:
    """Clients do not come by that port, so it is not judged; nor is a listener without a port."""
    behind = {"transport": "shared", "tls": False, "address": "127.0.0.1", "port": 8080, "proxies": ["10.0.0.0/8"]}
    (found,) = await ports(make({"listeners": [behind]}))
    assert (found.grade, "proxies" in found.what) == (Severity.NOT_CHECKED, True)
    (found,) = await ports(make({"listeners": [{"transport": "udp", "address": "127.0.0.1", "port": 0}]}))
    assert found.grade is Severity.NOT_CHECKED
