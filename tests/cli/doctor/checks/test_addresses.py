"""The addresses that clients are told, and what a STUN server sees."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from cli.doctor.checks import addresses as checked
from cli.doctor.checks.addresses import addresses, seen_outside
from cli.doctor.findings import HostFinding, Severity
from cli.doctor.host import Host
from tests.support.server import free_port
from turnserver import external
from turnserver.server import Server

LISTENERS = [{"transport": "udp", "address": "127.0.0.1"}]


@contextmanager
def every_address_is_here(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        for module in (checked, external):
            patch.setattr(module, "has_address", lambda ip: True)
        yield


def on(address: str, **relay: Any) -> dict[str, Any]:
    return {"listeners": [{"transport": "udp", "address": address}], "relay": relay}


def grades(findings: list[HostFinding]) -> set[Severity]:
    return {each.grade for each in findings}


async def test_loopback(make: Callable[..., Host]) -> None:
    """For programs on this host alone, which is worth a word."""
    (found,) = await addresses(make({"listeners": LISTENERS}))
    assert (found.grade, "only programs on this host" in found.what) == (Severity.WARNING, True)


async def test_addresses_of_other_hosts(make: Callable[..., Host]) -> None:
    """In listeners, relays and mappings: the server would not start, or nothing could be bound."""
    given = on("198.51.100.77", external={"198.51.100.77": "203.0.113.9"})
    found = await addresses(make(given))
    assert [each.grade for each in found[:2]] == [Severity.WRONG] * 2
    assert "relay.external maps 198.51.100.77" in found[0].what
    assert found[1].what == "198.51.100.77 is not an address of this host."
    assert all(any("ip -brief address" in line for line in each.mend) for each in found[:2])


async def test_private_without_a_public_one(make: Callable[..., Host], monkeypatch: pytest.MonkeyPatch) -> None:
    """The commonest mistake in clouds."""
    with every_address_is_here(monkeypatch):
        found = await addresses(make(on("10.1.2.3")))
    assert [each.grade for each in found] == [Severity.WRONG, Severity.NOT_CHECKED]
    assert "10.1.2.3 is private" in found[0].what
    assert found[0].mend == ("relay: {external: PUBLIC_ADDRESS}",)


async def test_private_beside_a_public_one(make: Callable[..., Host], monkeypatch: pytest.MonkeyPatch) -> None:
    """Some have another way then: a warning."""
    listeners = [{"transport": "udp", "address": each} for each in ("192.0.2.1", "fd00::1")]
    with every_address_is_here(monkeypatch):
        found = await addresses(make({"listeners": listeners}))
    assert grades(found) == {Severity.WARNING, Severity.NOT_CHECKED}


async def test_as_it_should_be(make: Callable[..., Host], monkeypatch: pytest.MonkeyPatch) -> None:
    """A public address, or one behind a NAT whose public one is known."""
    with every_address_is_here(monkeypatch):
        (found,) = await addresses(make(on("192.0.2.1")))
        assert (found.grade, found.what) == (Severity.OK, "Relays are on 192.0.2.1.")
        found, *more = await addresses(make(on("10.1.2.3", external={"10.1.2.3": "192.0.2.1"})))
    assert (found.grade, found.what) == (Severity.OK, "Relays are on 10.1.2.3, and clients are told 192.0.2.1.")
    assert grades(more) == {Severity.NOT_CHECKED}


async def test_what_a_stun_server_sees(make: Callable[..., Host], monkeypatch: pytest.MonkeyPatch) -> None:
    """The same as clients are told, or another one; it is asked only if the configuration names it."""
    port = free_port()
    async with Server({"listeners": [{"transport": "udp", "address": "127.0.0.1", "port": port}]}):
        asked = {"stun_server": f"stun:127.0.0.1:{port}"}
        (found,) = await seen_outside(make(on("127.0.0.1", **asked), patience=30.0))
        assert (found.grade, "sees this host as 127.0.0.1" in found.what) == (Severity.OK, True)
        (found,) = await seen_outside(make(on("127.0.0.1", external="auto", **asked), patience=30.0))
        assert found.grade is Severity.OK
        told = {"external": {"127.0.0.1": "203.0.113.9"}}
        (found,) = await seen_outside(make(on("127.0.0.1", **told, **asked), patience=30.0))
        assert (found.grade, found.mend) == (Severity.WRONG, ("relay: {external: 127.0.0.1}",))
        assert "clients are told 203.0.113.9" in found.what


async def test_a_stun_server_that_is_not_there(make: Callable[..., Host]) -> None:
    """With ``external: auto`` there is no public address then."""
    asked = {"stun_server": f"stun:127.0.0.1:{free_port()}"}
    (found,) = await seen_outside(make(on("127.0.0.1", **asked), patience=30.0))
    assert found.grade is Severity.WARNING
    (found,) = await seen_outside(make(on("127.0.0.1", external="auto", **asked), patience=30.0))
    assert (found.grade, "does not answer" in found.what) == (Severity.WRONG, True)


async def test_relays_of_another_family(make: Callable[..., Host]) -> None:
    """What is seen of IPv4 says nothing about relays on IPv6."""
    port = free_port()
    async with Server({"listeners": [{"transport": "udp", "address": "127.0.0.1", "port": port}]}):
        given = on("2001:db8::5", stun_server=f"stun:127.0.0.1:{port}")
        (found,) = await seen_outside(make(given, patience=30.0))
    assert (found.grade, "no relays of that family" in found.what) == (Severity.OK, True)
