"""What is sent to another server's ports, and what came of it: real servers on loopback."""

import socket
from collections.abc import Callable
from typing import Any, Literal

import pytest

from tests.support.certify import certify
from tests.support.server import free_port
from turnserver import probing
from turnserver.probing import probe_back
from turnserver.server import Server
from turnserver.signaling.edge.probes import NotProbed, ProbePort

__all__ = ["certify"]

HERE = "127.0.0.1"


def port(protocol: Literal["udp", "tcp", "tls"], number: int) -> ProbePort:
    return ProbePort(protocol=protocol, port=number)


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loopback stands for a host elsewhere."""
    monkeypatch.setattr(probing, "has_address", lambda ip: False)
    monkeypatch.setattr(probing, "PATIENCE", 20.0)


async def test_a_server(elsewhere: None, certify: Callable[..., Any]) -> None:
    """Over each transport; a certificate counts only if a name is given for it."""
    first = free_port(2)
    pair = certify("turn.example.org")
    options = {
        "listeners": [
            {"transport": "udp", "address": HERE, "port": first},
            {"transport": "tcp", "address": HERE, "port": first},
            {"transport": "tls", "address": HERE, "port": first + 1},
        ],
        "tls": {"certificates": [{"certificate": str(pair.certificate), "key": str(pair.key)}]},
    }
    ports = [port("udp", first), port("tcp", first), port("tls", first + 1)]
    async with Server(options):
        found = await probe_back(HERE, ports, "")
        assert [(each.protocol, each.port, each.outcome) for each in found] == [
            ("udp", first, "answered"),
            ("tcp", first, "answered"),
            ("tls", first + 1, "answered"),
        ]
        assert all(each.seconds is not None and each.seconds > 0 for each in found)
        (untrusted,) = await probe_back(HERE, ports[2:], "turn.example.org")
    assert (untrusted.outcome, untrusted.seconds) == ("untrusted", None)
    assert "self-signed" in untrusted.detail.replace(" ", "-")


async def test_closed_ports(elsewhere: None) -> None:
    """The host says so itself."""
    number = free_port()
    found = await probe_back(HERE, [port("udp", number), port("tcp", number), port("tls", number)], "")
    assert [each.outcome for each in found] == ["refused"] * 3


async def test_silence(elsewhere: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A socket that takes everything and says nothing."""
    monkeypatch.setattr(probing, "PATIENCE", 0.3)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mute, socket.create_server((HERE, 0)) as stream:
        mute.bind((HERE, 0))
        ports = [port("udp", mute.getsockname()[1]), port("tcp", stream.getsockname()[1])]
        found = await probe_back(HERE, ports, "")
    assert [each.outcome for each in found] == ["silent", "silent"]


async def test_its_own_host() -> None:
    """That shows nothing of what is in front of it, and is how a key would reach what only this host reaches."""
    with pytest.raises(NotProbed, match="own host"):
        await probe_back(HERE, [port("udp", 1)], "")
