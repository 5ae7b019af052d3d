"""The addresses of a server's name."""

import asyncio
import re
import socket
from typing import Any

import pytest

from stun.address import Address
from stun.client.errors import ServerUnreachable
from stun.uri import StunUri
from turnserver.turnclient.resolve import MAX_ADDRESSES, NameNotResolved, resolve


def resolves_to(monkeypatch: pytest.MonkeyPatch, outcome: Any) -> list[Any]:
    asked: list[Any] = []

    async def getaddrinfo(self: object, host: str, port: int, *, type: int) -> Any:
        asked.append((host, port, type))
        if isinstance(outcome, Exception):
            raise outcome
        if outcome is None:
            await asyncio.Event().wait()
        return [(0, 0, 0, "", (name, port)) for name in outcome]

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", getaddrinfo)
    return asked


async def test_an_address_is_not_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """RFC 8489 §8."""
    asked = resolves_to(monkeypatch, [])
    assert await resolve(StunUri.parse("turn:[2001:db8::5]:5000"), 1) == [Address.parse("2001:db8::5", 5000)]
    assert asked == []


async def test_each_address_once_and_not_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the system's order; a link-local address without its zone."""
    hosts = ["2001:db8::1", "192.0.2.7", "192.0.2.7", "fe80::1%eth0", *(f"192.0.2.{number}" for number in range(9))]
    asked = resolves_to(monkeypatch, hosts)
    found = await resolve(StunUri.parse("turns:example.org"), 1)
    assert [address.host for address in found] == ["2001:db8::1", "192.0.2.7", "fe80::1", "192.0.2.0"]
    assert len(found) == MAX_ADDRESSES
    assert asked == [("example.org", 5349, socket.SOCK_STREAM)]


@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "Name or service not known"),
        (UnicodeError("label too long"), "cannot be a host name"),
        ([], "has no address"),
        (None, r"no answer in 0\.01 s"),
    ],
)
async def test_what_does_not_resolve(monkeypatch: pytest.MonkeyPatch, outcome: Any, words: str) -> None:
    resolves_to(monkeypatch, outcome)
    with pytest.raises(ServerUnreachable, match=f"'nowhere.example' cannot be resolved: .*{words}") as caught:
        await resolve(StunUri.parse("turn:nowhere.example"), 0.01)
    assert isinstance(caught.value, NameNotResolved)
    assert re.search(words, caught.value.why)
