"""The facts of a host, and those that a test gives."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cli.doctor import host as hosts
from cli.doctor.host import Host, interfaces, run

LOOPBACK = bytes((127, 0, 0, 1))


def test_numbers_of_the_kernel(make: Callable[..., Host], kernel: Callable[..., None], tmp_path: Path) -> None:
    """What is not there, or is no number, is None and not zero."""
    kernel(**{"net/core/rmem_max": 212992, "net/ipv4/conf/eth0.100/rp_filter": 1})
    (tmp_path / "proc" / "sys" / "strange").write_text("\xff words\n", "latin-1")
    (tmp_path / "proc" / "sys" / "empty").write_text("\n")
    host = make()
    assert host.sysctl("net/core/rmem_max") == 212992
    assert host.sysctl("net/ipv4/conf/eth0.100/rp_filter") == 1
    assert [host.sysctl(key) for key in ("net/core/nothing", "strange", "empty")] == [None] * 3


def test_doors(make: Callable[..., Host]) -> None:
    """One for each socket and transport; those behind proxies are marked, and port 0 is none."""
    listeners: list[dict[str, Any]] = [
        {"transport": "udp", "address": "127.0.0.1", "port": 3478},
        {"transport": "tcp", "address": "127.0.0.1", "port": 3478, "tls": "auto"},
        {"transport": "shared", "tls": False, "address": "127.0.0.1", "port": 80, "proxies": ["10.0.0.0/8"]},
        {"transport": "udp", "address": "127.0.0.1", "port": 0},
    ]
    certificates = {"certificates": [{"certificate": "none.pem", "key": "none.key"}]}
    host = make({"listeners": listeners, "tls": certificates})
    assert [(str(door), door.behind) for door in host.doors] == [
        ("udp 127.0.0.1:3478", False),
        ("tls 127.0.0.1:3478", False),
        ("tcp 127.0.0.1:3478", False),
        ("tcp 127.0.0.1:80", True),
    ]
    assert str(host.doors[1].uri) == "stuns:127.0.0.1:3478"


def test_wildcards_leave_loopback_out(make: Callable[..., Host], monkeypatch: pytest.MonkeyPatch) -> None:
    """Others cannot reach it; on a host that has nothing else it is what there is."""
    from turnserver.transports import listeners

    outer = bytes((192, 0, 2, 7))
    options = {"listeners": [{"transport": "udp", "address": "0.0.0.0"}]}
    monkeypatch.setattr(listeners, "local_addresses", lambda: [LOOPBACK, outer])
    assert [door.address.ip for door in make(options).doors] == [outer]
    monkeypatch.setattr(listeners, "local_addresses", lambda: [LOOPBACK])
    assert [door.address.ip for door in make(options).doors] == [LOOPBACK]


def test_public_addresses(make: Callable[..., Host]) -> None:
    """As clients are told them."""
    listeners = [{"transport": "udp", "address": "127.0.0.1"}]
    host = make({"listeners": listeners, "relay": {"external": {"127.0.0.1": "198.51.100.1"}}})
    assert host.public(LOOPBACK) == bytes((198, 51, 100, 1))
    assert make({"listeners": listeners}).public(LOOPBACK) == LOOPBACK


def test_names(make: Callable[..., Host], certify: Callable[..., Any]) -> None:
    """Those of ``signaling.urls``; without these that of the certificate. Addresses are no names."""
    pair = certify("turn.example.org")
    tls = {"certificates": [{"certificate": str(pair.certificate), "key": str(pair.key)}]}
    assert make({"tls": tls}).names == ("turn.example.org",)
    urls = ["turn:A.example.org:3478", "turns:a.example.org:443", "turn:192.0.2.1", "stun:[2001:db8::1]"]
    assert make({"tls": tls, "signaling": {"urls": urls}}).names == ("a.example.org",)
    assert make().names == ()


def test_the_real_interfaces() -> None:
    """Loopback is one of them, and link-local IPv6 addresses are left out."""
    found = interfaces()
    assert any(LOOPBACK in each.addresses for each in found)
    assert not any(len(ip) == 16 and ip[:2] == b"\xfe\x80" for each in found for ip in each.addresses)


async def test_running_a_program(processes: None) -> None:
    """Both outputs and the exit code; a program that is not there is an OSError."""
    output = await run([sys.executable, "-c", "import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)"])
    assert (output.code, output.out.strip(), output.err.strip()) == (3, b"out", b"err")
    with pytest.raises(FileNotFoundError):
        await run(["/nonexistent/program"])


async def test_a_program_that_does_not_end(processes: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is killed, and nothing waits for it."""
    monkeypatch.setattr(hosts, "_LONGEST", 0.2)
    with pytest.raises(TimeoutError):
        await run([sys.executable, "-c", "import time; time.sleep(600)"])
