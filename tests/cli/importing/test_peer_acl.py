"""Peer ACLs: what others allow counts more than what they deny, and here it is the other way round."""

from ipaddress import ip_address

import pytest

from cli.importing.coturn import import_coturn
from cli.importing.outcome import tree
from turnserver.config import Config
from turnserver.core.policy import PeerPolicy


def imported(text: str) -> tuple[Config, dict[str, list[int]]]:
    plan = import_coturn(text)
    assert plan.problems == []
    lists = {name: [note.line for note in getattr(plan, name) if note.line] for name in ("taken", "already", "cannot")}
    return Config.model_validate({"peers": tree(plan.entries, str).get("peers")}), lists


def reaches(config: Config, peer: str) -> bool:
    policy = PeerPolicy.build(allow=config.peers.allow, deny=config.peers.deny)
    return policy.refusal(ip_address(peer).packed) is None


def test_what_is_closed_already() -> None:
    """Private ranges need no line; a public one does."""
    config, lists = imported("denied-peer-ip=10.0.0.0-10.255.255.255\ndenied-peer-ip=9.9.9.9\nallowed-peer-ip=8.8.8.8")
    assert lists == {"taken": [2], "already": [3, 1], "cannot": []}
    assert [reaches(config, peer) for peer in ("10.1.1.1", "9.9.9.9", "8.8.8.8", "9.9.9.10")] == [
        False,
        False,
        True,
        True,
    ]


def test_a_hole_in_a_range() -> None:
    """What is allowed within what is denied stays open."""
    config, _ = imported(
        "denied-peer-ip=9.0.0.0-9.255.255.255\nallowed-peer-ip=9.9.9.9\n"
        "denied-peer-ip=10.0.0.0-10.255.255.255\nallowed-peer-ip=10.9.9.9"
    )
    assert [reaches(config, peer) for peer in ("9.9.9.8", "9.9.9.9", "10.9.9.8", "10.9.9.9")] == [
        False,
        True,
        False,
        True,
    ]


@pytest.mark.parametrize(
    ("text", "reached"),
    [
        ("", False),
        ("allow-loopback-peers", True),
        ("allow-loopback-peers\ndenied-peer-ip=127.0.0.0-127.255.255.255", False),
    ],
)
def test_loopback(text: str, reached: bool) -> None:
    """It is open if the file opens it, and a denied range counts more than that switch."""
    config, _ = imported(text)
    assert reaches(config, "127.0.0.1") is reached


def test_private_networks_are_said_to_be_closed() -> None:
    """Unless the file has closed or opened all of them."""
    every = (
        "10.0.0.0-10.255.255.255 172.16.0.0-172.31.255.255 192.168.0.0-192.168.255.255 fc00::-fdff:"
        + "ffff:" * 6
        + "ffff"
    )
    closed = "\n".join(f"denied-peer-ip={each}" for each in every.split())
    assert "not set" not in closed
    for text, expected in ((closed, False), (closed.replace("denied", "allowed"), False), ("", True)):
        plan = import_coturn(text)
        assert any(note.line == 0 and note.option == "denied-peer-ip" for note in plan.cannot) is expected


def test_networks_in_another_notation() -> None:
    """coturn takes ranges only: what it would not open stays closed, and what it would not close is closed."""
    config, lists = imported("allowed-peer-ip=10.0.0.0/8\ndenied-peer-ip=9.0.0.0/8")
    assert (lists["cannot"], lists["taken"]) == ([1], [2])
    assert not reaches(config, "10.0.0.1")
    assert not reaches(config, "9.0.0.1")
