"""``stun`` and ``behavior_discovery``: two addresses with two ports, or nothing."""

from typing import Any

import pytest

from tests.turnserver.config.test_listeners import refusals
from turnserver.config.models import Config

BOTH = {"primary": "192.0.2.1:3478", "alternate": "192.0.2.2:3479"}
SIX = {"primary_ipv6": "[2001:db8::1]:3478", "alternate_ipv6": "[2001:db8::2]:3479"}


def sockets(data: dict[str, Any]) -> list[str]:
    config = Config.model_validate(data)
    assert {listener.transport for listener in config.discovery_listeners} <= {"udp"}
    return [f"{listener.address} {listener.port}" for listener in config.discovery_listeners]


def test_each_port_of_each_address() -> None:
    """RFC 5780 §6: the same two ports on both addresses."""
    four = ["192.0.2.1 3478", "192.0.2.1 3479", "192.0.2.2 3478", "192.0.2.2 3479"]
    six = ["2001:db8::1 3478", "2001:db8::1 3479", "2001:db8::2 3478", "2001:db8::2 3479"]
    assert sockets({}) == []
    assert sockets({"behavior_discovery": BOTH}) == four
    assert sockets({"behavior_discovery": SIX}) == six
    assert sockets({"behavior_discovery": BOTH | SIX}) == four + six


@pytest.mark.parametrize(
    ("given", "option"),
    [
        ({"primary": "192.0.2.1:3478"}, "primary"),
        ({"alternate": "192.0.2.1:3478"}, "alternate"),
        (BOTH | {"alternate": "192.0.2.1:3479"}, "alternate"),
        (BOTH | {"alternate": "192.0.2.2:3478"}, "alternate"),
        (BOTH | {"alternate": "[2001:db8::2]:3479"}, "alternate"),
        (BOTH | {"primary": "0.0.0.0:3478"}, "primary"),
        (SIX | {"primary_ipv6": "192.0.2.1:3478"}, "primary_ipv6"),
    ],
)
def test_what_cannot_be(given: dict[str, str], option: str) -> None:
    found = refusals({"behavior_discovery": given})
    assert ("behavior_discovery", option) in {path[:2] for path, _ in found}


@pytest.mark.parametrize("value", ["192.0.2.1", "192.0.2.1:0", "turn.example.org:3478", 3478])
def test_an_address_and_a_port(value: object) -> None:
    assert refusals({"behavior_discovery": BOTH | {"primary": value}})


def test_udp_listeners_may_be_the_same() -> None:
    """They are then the ones that clients are told of, and discovery adds the others."""
    listeners = [{"transport": "udp", "address": "192.0.2.1", "port": 3478}]
    listeners += [{"transport": "tcp", "address": "192.0.2.1", "port": 3479}]
    Config.model_validate({"listeners": listeners, "behavior_discovery": BOTH})
