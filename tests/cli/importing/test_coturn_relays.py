"""coturn's relays."""

import pytest

from cli.importing.coturn import import_coturn
from cli.importing.outcome import tree


def imported(text: str) -> tuple[dict[str, object], set[int]]:
    """The options besides the listeners, and the lines that cannot be expressed."""
    plan = import_coturn(text)
    assert plan.problems == []
    options = tree(plan.entries, str)
    del options["listeners"]
    return options, {note.line for note in plan.cannot if note.line}


@pytest.mark.parametrize(
    ("text", "relay", "cannot"),
    [
        ("external-ip=198.51.100.1", {"external": "198.51.100.1"}, set()),
        ("external-ip=198.51.100.1/10.0.0.1", {"external": {"10.0.0.1": "198.51.100.1"}}, set()),
        ("external-ip=turn.example.org", None, {1}),
        ("external-ip=198.51.100.1\nexternal-ip=198.51.100.2", {"external": "198.51.100.1"}, {2}),
        (
            "external-ip=198.51.100.1\nexternal-ip=198.51.100.2/10.0.0.2",
            {"external": {"10.0.0.2": "198.51.100.2"}},
            {1},
        ),
        ("relay-ip=10.0.0.1\nexternal-ip=198.51.100.2/10.0.0.2", {"addresses": ["10.0.0.1"]}, {2}),
        (
            "relay-ip=10.0.0.1\nrelay-ip=10.0.0.2\nexternal-ip=198.51.100.2",
            {"addresses": ["10.0.0.1", "10.0.0.2"]},
            {3},
        ),
        ("external-ip=2001:db8::1/10.0.0.1", None, {1}),
        ("relay-ip=eth0", None, {1}),
        ("min-port=50000", {"ports": "50000-65535"}, set()),
        ("max-port=50000", {"ports": "49152-50000"}, set()),
        ("min-port=100\nmax-port=90", None, {1, 2}),
    ],
)
def test_addresses_and_ports(text: str, relay: object, cannot: set[int]) -> None:
    """Addresses only; what the loader would refuse is said instead."""
    options, lines = imported(text)
    assert options.get("relay") == relay
    assert lines == cannot


def test_other_servers() -> None:
    """One for each family, with the default port."""
    text = "alternate-server=192.0.2.1\nalternate-server=[2001:db8::1]:3479\nalternate-server=192.0.2.2\n"
    options, lines = imported(f"{text}alternate-server=other.example.org")
    assert options == {"alternate_servers": ["192.0.2.1:3478", "[2001:db8::1]:3479"]}
    assert lines == {3, 4}
