"""The asyncio half of the probe's client, over a link in memory."""

from collections.abc import Callable
from typing import Any

import pytest

from cli.probe.authentication import Login
from cli.probe.conversation import Conversation
from cli.probe.turn_client import Incoming, NoAnswer
from stun import channeldata
from stun.address import Address
from stun.attributes import REQUESTED_TRANSPORT, XOR_MAPPED_ADDRESS
from stun.constants import MessageClass, Method
from stun.uri import StunUri


async def _connected(server: Any) -> tuple[Conversation, Any]:
    link = await server.open(StunUri.parse("turn:192.0.2.1"), Address.parse("192.0.2.1", 3478))
    return Conversation(link, 0.2, Login("user", "secret")), link


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
    """RFC 8489 §6.2.1: without an answer the question ends with `NoAnswer`."""
    client, _ = await _connected(fake_turn(silent={Method.BINDING}))
    with pytest.raises(NoAnswer):
        await client.ask(Method.BINDING)


async def test_relayed_data(fake_turn: Callable[..., Any]) -> None:
    """RFC 8656 §12.6: what was relayed to us is taken in order; None when nothing comes."""
    client, link = await _connected(fake_turn())
    link.frames.put_nowait(channeldata.encode(0x4000, b"one"))
    link.frames.put_nowait(b"\xffgarbage")
    link.frames.put_nowait(channeldata.encode(0x4000, b"two"))
    assert await client.incoming(1) == Incoming(None, b"one", 0x4000)
    assert await client.incoming(1) == Incoming(None, b"two", 0x4000)
    assert await client.incoming(0.01) is None
