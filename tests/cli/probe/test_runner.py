"""Finding the server, and the whole probe: names, addresses, links."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from cli.probe.opener import Unsupported
from cli.probe.report import Step
from cli.probe.runner import run_probe
from cli.probe.trouble import LinkError
from stun.address import Address
from stun.client.authentication import Login
from stun.constants import AddressFamily
from stun.uri import StunUri

LOGIN = Login("user", "secret")


async def test_an_address_is_not_looked_up(fake_turn: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """RFC 8489 §8: an address in the URI is used as it is, and both clients go there."""
    _resolves_to(monkeypatch, [])
    server = fake_turn()
    report = await run_probe(
        StunUri.parse("turn:[2001:db8::5]:5000"), LOGIN, 0.2, opener=server.open, outside=server.open_outside
    )
    assert report.ok, report.steps
    assert report.server == "[2001:db8::5]:5000"
    assert server.opened == [Address.parse("2001:db8::5", 5000)] * 2
    assert all(link.closed for link in server.links)


async def test_an_unsupported_transport_is_not_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """RFC 7065 §3.1: a transport that the probe does not speak is said to be so, and nothing is sent."""
    _resolves_to(monkeypatch, [])
    with pytest.raises(Unsupported, match="QUIC"):
        await run_probe(StunUri.parse("turns:example.org?transport=quic"), None, 0.2)


async def test_what_opening_found_out_is_told_once(fake_turn: Callable[..., Any]) -> None:
    """RFC 8656 §3.1: two connections, one certificate; the steps of the first stand before Binding."""
    facts = object()
    server = fake_turn(steps=[Step("connect", True, "Yes."), Step("tls", True, "Yes.")], tls=facts)
    report = await run_probe(
        StunUri.parse("turns:192.0.2.1"), LOGIN, 0.2, opener=server.open, outside=server.open_outside
    )
    assert report.ok, report.steps
    assert [step.name for step in report.steps][:4] == ["connect", "tls", "binding", "allocate"]
    assert len(server.links) == 2
    assert report.tls is facts


async def test_what_failed_while_opening_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rule 26: the step that failed, those before it, and the certificate that was the reason."""
    facts: Any = object()

    async def opener(uri: StunUri, address: Address) -> Any:
        raise LinkError("no trust", "a hint", step="tls", opened=[Step("connect", True, "Yes.")], tls=facts)

    report = await run_probe(StunUri.parse("turns:192.0.2.1"), None, 0.2, opener=opener)
    assert [(step.name, step.ok) for step in report.steps] == [("connect", True), ("tls", False)]
    assert report.tls is facts


async def test_another_address_of_the_name_may_answer(
    fake_turn: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """RFC 8489 §8: the addresses of a name are tried in turn; one that answers is enough, and the rest is said."""
    server = fake_turn()

    async def opener(uri: StunUri, address: Address) -> Any:
        if address.family is AddressFamily.IPV6:
            raise LinkError("no route", "none")
        return await server.open(uri, address)

    _resolves_to(monkeypatch, ["2001:db8::1", "192.0.2.7", "192.0.2.7"])
    report = await run_probe(StunUri.parse("turn:example.org"), LOGIN, 0.2, opener=opener, outside=server.open_outside)
    assert report.ok, report.steps
    assert report.server == "192.0.2.7:3478"
    assert any("[2001:db8::1]:3478" in step.sentence for step in report.steps)
    assert server.opened == [Address.parse("192.0.2.7", 3478)] * 2


async def test_no_address_of_the_name_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """RFC 8489 §8: when the last address fails too, its failure is the probe's."""

    async def opener(uri: StunUri, address: Address) -> Any:
        raise LinkError(f"no route to {address.host}.", "a hint")

    _resolves_to(monkeypatch, ["2001:db8::1", "192.0.2.7"])
    report = await run_probe(StunUri.parse("turn:example.org"), LOGIN, 0.2, opener=opener)
    assert [(step.name, step.sentence, step.hint) for step in report.steps] == [
        ("connect", "no route to 192.0.2.7.", "a hint")
    ]


async def test_a_name_that_does_not_resolve(monkeypatch: pytest.MonkeyPatch) -> None:
    """RFC 8489 §8: a DNS failure is a step that failed, with a hint."""
    _resolves_to(monkeypatch, [])
    report = await run_probe(StunUri.parse("stun:nowhere.example"), None, 0.2)
    assert not report.ok
    assert "The name nowhere.example cannot be resolved" in report.steps[0].sentence
    assert "DNS" in report.steps[0].hint


async def test_a_name_that_no_resolver_takes() -> None:
    """RFC 1035 §2.3.4: a label of more than 63 characters is no host name; no traceback."""
    report = await run_probe(StunUri.parse("stun:" + "a" * 64 + ".example"), None, 5)
    assert "cannot be resolved" in report.steps[0].sentence


def _resolves_to(monkeypatch: pytest.MonkeyPatch, hosts: list[str]) -> None:
    async def getaddrinfo(self: object, host: str, port: int, **more: object) -> list[Any]:
        return [(0, 0, 0, "", (name, port)) for name in hosts]

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", getaddrinfo)
