"""Who makes room: the network with most, its client with most, and of that the connection idle longest."""

import random
from collections import defaultdict
from typing import Any

import pytest

from stun.address import Address
from turnserver.throttle import packed_network, packed_prefix
from turnserver.transports import idle as module
from turnserver.transports.idle import IdleConnections


def ip(host: str) -> bytes:
    return Address.parse(host, 0).ip


def held(**clients: str) -> IdleConnections[str]:
    """Connections by name, in this order, with their clients' addresses."""
    idle: IdleConnections[str] = IdleConnections()
    for name, host in clients.items():
        idle.add(name, ip(host))
    return idle


def order(idle: IdleConnections[str]) -> list[str]:
    """In which order all of them go."""
    found = []
    while (name := idle.first()) is not None:
        found.append(name)
        idle.remove(name)
    assert len(idle) == 0
    return found


def test_the_one_that_has_been_idle_longest_goes_first() -> None:
    idle = held(a="192.0.2.1", b="192.0.2.1", c="192.0.2.1")
    idle.add("a", ip("192.0.2.1"))
    assert order(idle) == ["b", "c", "a"]


def test_the_client_with_most_gives_first() -> None:
    """However recently it came, and however long the only connection of another has been idle."""
    idle = held(one="192.0.2.1", a="192.0.2.2", b="192.0.2.2", c="192.0.2.2")
    assert order(idle) == ["a", "b", "one", "c"]


def test_the_network_with_most_gives_first() -> None:
    """An IPv4 /24 or an IPv6 /48 can be had with one connection from each of its addresses."""
    assert order(held(one="192.0.2.1", a="198.51.100.1", b="198.51.100.2", c="198.51.100.3"))[:2] == ["a", "b"]
    assert order(held(one="2001:db8::1", a="2001:db8:1:1::1", b="2001:db8:1:2::1", c="2001:db8:1:3::1"))[:2] == [
        "a",
        "b",
    ]
    assert order(held(a="192.0.2.1", b="192.0.2.2", x="2001:db8::1", c="192.0.2.2")) == ["b", "a", "x", "c"]


def test_who_ends_or_is_in_use_does_not_go() -> None:
    idle = held(a="192.0.2.1", b="192.0.2.1", c="198.51.100.1")
    idle.remove("a")
    idle.remove("never seen")
    assert order(idle) == ["b", "c"]


def test_any_history_leads_to_the_same_choice() -> None:
    """Against a plain search of everything, over random arrivals, uses and ends."""
    pick = random.Random(9)
    hosts = [f"{net}.{last}" for net in ("192.0.2", "198.51.100", "203.0.113") for last in (1, 2, 3)] + ["2001:db8::1"]
    idle: IdleConnections[int] = IdleConnections()
    known: dict[int, tuple[bytes, int]] = {}
    for step in range(4000):
        if known and pick.random() < 0.5:
            gone = pick.choice(list(known))
            idle.remove(gone)
            del known[gone]
        else:
            name, client = pick.randrange(40), ip(pick.choice(hosts))
            idle.add(name, client)
            known[name] = client, step
        assert idle.first() == expected(known)


def expected(known: dict[int, tuple[bytes, int]]) -> int | None:
    networks: dict[bytes, dict[bytes, list[tuple[int, int]]]] = defaultdict(lambda: defaultdict(list))
    for name, (client, since) in known.items():
        networks[packed_network(client)][packed_prefix(client)].append((since, name))

    def foremost(clients: dict[bytes, list[tuple[int, int]]]) -> list[tuple[int, int]]:
        return min(clients.values(), key=lambda held: (-len(held), min(held)))

    if not networks:
        return None
    network = min(networks.values(), key=lambda clients: (-sum(map(len, clients.values())), min(foremost(clients))))
    return min(foremost(network))[1]


def test_the_cost_does_not_grow_with_the_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten thousand networks with one connection each: no look at all of them for each newcomer."""
    pops = 0

    def counted(heap: list[Any]) -> Any:
        nonlocal pops
        pops += 1
        return heappop(heap)

    heappop = module.heappop
    monkeypatch.setattr(module, "heappop", counted)
    idle: IdleConnections[int] = IdleConnections()
    count = 10_000
    for number in range(count):
        idle.add(number, bytes((10, number >> 8, number & 255, 1)))
    for number in range(count):
        first = idle.first()
        assert first == number
        idle.remove(first)
        idle.add(count + number, bytes((11, number >> 8, number & 255, 1)))
    assert pops < 3 * count
    assert len(idle._ranking._heap) < 3 * count
