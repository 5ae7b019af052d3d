"""The asyncio half of the probe's client, over a link in memory."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from cli.probe.conversation import Conversation
from cli.probe.trouble import LinkError, Trouble
from stun import channeldata
from stun.address import Address
from stun.attributes import REQUESTED_TRANSPORT, XOR_MAPPED_ADDRESS
from stun.client.authentication import Login
from stun.client.events import PeerData
from stun.constants import MessageClass, Method
from stun.uri import StunUri
from turnserver.turnclient.links import unreachable

PEER = Address.parse("192.0.2.9", 5000)


async def _connected(server: Any) -> tuple[Conversation, Any]:
    opened = await server.open(StunUri.parse("turn:192.0.2.1"), Address.parse("192.0.2.1", 3478))
    return Conversation(opened, 0.2, Login("user", "secret")), opened.link


async def test_a_question_and_its_answer(fake_turn: Callable[..., Any]) -> None:
    """RFC 8489 §6: a request is sent, and its answer is waited for."""
    client, link = await _connected(fake_turn())
    answer = await client.ask(Method.BINDING)
    assert answer.message.first(XOR_MAPPED_ADDRESS) == Address.parse("198.51.100.7", 1000)
    assert client.session is None
    await client.close()
    assert link.closed


async def test_a_challenge_is_answered_in_between(fake_turn: Callable[..., Any]) -> None:
    """RFC 8489 §9.2.5: one question here may be two requests there."""
    server = fake_turn()
    client, _ = await _connected(server)
    answer = await client.ask(Method.ALLOCATE, (REQUESTED_TRANSPORT, 17))
    assert answer.message.message_class is MessageClass.SUCCESS
    assert answer.signed
    assert client.session is not None
    assert [request.first(REQUESTED_TRANSPORT) for request in server.requests] == [17, 17]


async def test_silence_ends(fake_turn: Callable[..., Any]) -> None:
    """RFC 8489 §6.2.1: without an answer the question ends with a sentence and a hint."""
    client, _ = await _connected(fake_turn(silent={Method.BINDING}))
    with pytest.raises(Trouble, match="No answer to 1 request") as caught:
        await client.ask(Method.BINDING)
    assert "firewall" in caught.value.hint


async def test_relayed_data(fake_turn: Callable[..., Any]) -> None:
    """RFC 8656 §12.6: what was relayed to us is taken in order; None when nothing comes."""
    client, link = await _connected(fake_turn())
    answer = await client.bind(0x4000, PEER)
    assert answer.is_success
    link.deliver(channeldata.encode(0x4000, b"one"))
    link.deliver(b"\xffgarbage")
    link.deliver(channeldata.encode(0x4000, b"two"))
    assert await client.incoming(1) == PeerData(PEER, b"one", 0x4000)
    assert await client.incoming(1) == PeerData(PEER, b"two", 0x4000)
    assert await client.incoming(0.01) is None


async def test_a_flood_is_bounded(fake_turn: Callable[..., Any]) -> None:
    """Rule 22: what nobody takes is dropped, not kept."""
    client, link = await _connected(fake_turn())
    await client.bind(0x4000, PEER)
    for number in range(1000):
        link.receiver.frame_received(channeldata.encode(0x4000, b"%d" % number))
    kept = 0
    while await client.incoming(0.01) is not None:
        kept += 1
    assert kept == 64


async def test_a_broken_link_ends_the_waiting(fake_turn: Callable[..., Any]) -> None:
    """Rule 26: what the system says is told at once, to whoever waits, and once."""
    client, link = await _connected(fake_turn(silent={Method.BINDING}))
    refused = unreachable(ConnectionRefusedError())
    asyncio.get_running_loop().call_soon(link.receiver.link_troubled, refused)
    with pytest.raises(LinkError, match="Nothing listens there"):
        await client.ask(Method.BINDING)
    assert await client.incoming(0.01) is None
    asyncio.get_running_loop().call_soon(link.receiver.link_troubled, refused)
    with pytest.raises(LinkError, match="Nothing listens there"):
        await client.incoming(10)
