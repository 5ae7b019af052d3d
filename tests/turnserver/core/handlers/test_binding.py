"""Binding (RFC 8489 §3): the reflexive address, without authentication and without state."""

import pytest

from stun import attributes as a
from stun.address import Address
from stun.constants import MessageClass, Method
from stun.message import MessageBuilder
from tests.support.core_world import SOFTWARE, World, names_of
from turnserver.core.commands import SendToClient
from turnserver.core.types import ClientTransport


@pytest.mark.parametrize("host", ["192.0.2.10", "2a00::10"])
def test_the_reflexive_address(host: str) -> None:
    """Rule 4, RFC 8489 §3, §14.2: XOR-MAPPED-ADDRESS and not a byte more."""
    world = World()
    client = world.client(host)
    answer = client.send(client.build(Method.BINDING, signed=False))
    assert (answer.method, answer.message_class) == (Method.BINDING, MessageClass.SUCCESS)
    assert names_of(answer) == ["XOR-MAPPED-ADDRESS"]
    assert answer.first(a.XOR_MAPPED_ADDRESS) == client.path.address
    assert world.take() == [SendToClient(client.path, answer.raw)]
    assert world.take_events() == []
    assert world.core.deadline() is None


def test_ipv4_is_shown_plain() -> None:
    """Rule 23: however the socket sees it."""
    world = World()
    client = world.client("::ffff:192.0.2.10", 1234)
    answer = client.send(client.build(Method.BINDING, signed=False))
    assert answer.first(a.XOR_MAPPED_ADDRESS) == Address.parse("192.0.2.10", 1234)


@pytest.mark.parametrize("transport", [ClientTransport.TCP, ClientTransport.TLS])
def test_streams_are_told_the_software(transport: ClientTransport) -> None:
    """Rule 4: a connection is no reflection."""
    client = World().client(transport=transport)
    answer = client.send(client.build(Method.BINDING, signed=False))
    assert (names_of(answer), answer.first(a.SOFTWARE)) == (["XOR-MAPPED-ADDRESS", "SOFTWARE"], SOFTWARE)


def test_a_fingerprint_for_a_fingerprint() -> None:
    """Rule 6, RFC 8489 §14.7: ICE connectivity checks carry one; the answer then, too."""
    client = World().client()
    frame = MessageBuilder(Method.BINDING, MessageClass.REQUEST, client.transaction_id()).fingerprint().build()
    assert names_of(client.send(frame)) == ["XOR-MAPPED-ADDRESS", "FINGERPRINT"]


def test_credentials_are_not_looked_at() -> None:
    """RFC 8489 §3: Binding is not authenticated here, so a wrong password does not matter and nothing is proven."""
    client = World().client(password="guess")
    client.nonce = b"whatever"
    assert names_of(client.send(client.build(Method.BINDING))) == ["XOR-MAPPED-ADDRESS"]


def test_optional_attributes_do_not_matter() -> None:
    """RFC 8489 §6.3.1: SOFTWARE of the client, and the like."""
    client = World().client()
    frame = client.build(Method.BINDING, [(a.SOFTWARE, "a browser")], signed=False)
    assert names_of(client.send(frame)) == ["XOR-MAPPED-ADDRESS"]


def test_binding_beside_an_allocation() -> None:
    """RFC 8656 §5: the 5-tuple's allocation does not care."""
    world = World()
    client = world.client()
    client.allocate()
    assert names_of(client.send(client.build(Method.BINDING, signed=False))) == ["XOR-MAPPED-ADDRESS"]
    assert world.core.state.live(client.path) is not None
