"""The sans-IO client of the probe, in virtual time."""

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.probe.turn_client import Incoming, NoAnswer, TurnClient
from stun.address import Address
from stun.attributes import DATA, ERROR_CODE, XOR_MAPPED_ADDRESS, XOR_PEER_ADDRESS, ErrorValue
from stun.constants import MessageClass, Method
from stun.message import Message, MessageBuilder

PEER = Address.parse("192.0.2.9", 5000)


def _client(patience: float = 60.0, **more: Any) -> TurnClient:
    counter = itertools.count(1)
    return TurnClient(lambda size: next(counter).to_bytes(size, "big"), patience, **more)


def _asking(patience: float = 60.0) -> tuple[TurnClient, bytes]:
    client = _client(patience)
    client.ask(Method.BINDING, [], 100.0)
    request = client.transmit(100.0)
    assert request is not None
    return client, request


def _success(request: bytes, method: int = Method.BINDING) -> bytes:
    builder = MessageBuilder(method, MessageClass.SUCCESS, request[8:20])
    return builder.add(XOR_MAPPED_ADDRESS, PEER).fingerprint().build()


def _schedule(client: TurnClient) -> list[float]:
    """Turn the clock from deadline to deadline; when something was sent, in seconds from the start."""
    sent = []
    while (now := client.deadline()) is not None:
        if client.transmit(now) is not None:
            sent.append(now - 100.0)
    return sent


def test_requests_are_sent_again_as_the_table_says() -> None:
    """RFC 8489 §6.2.1: at 0, 500, 1500, 3500, 7500, 15500 and 31500 ms, then failed."""
    client = _client()
    client.ask(Method.BINDING, [], 100.0)
    assert _schedule(client) == [0, 0.5, 1.5, 3.5, 7.5, 15.5, 31.5]
    with pytest.raises(NoAnswer, match="No answer to 7 requests"):
        client.result()


def test_patience_ends_it_sooner() -> None:
    """RFC 8489 §6.2.1: a client may give up earlier; it says after how long."""
    client = _client(patience=2.0)
    client.ask(Method.BINDING, [], 100.0)
    assert _schedule(client) == [0, 0.5, 1.5]
    with pytest.raises(NoAnswer, match=r"No answer to 3 requests in 2 s\.") as caught:
        client.result()
    assert "firewall" in caught.value.hint


def test_an_answer_ends_the_transaction() -> None:
    """RFC 8489 §6.3.3: the answer is taken once, with its time and how often the request was sent."""
    client, request = _asking()
    assert client.transmit(100.5) == request
    client.receive(_success(request), 100.75)
    answer = client.result()
    assert answer is not None
    assert (answer.seconds, answer.transmissions) == (0.75, 2)
    assert answer.message.first(XOR_MAPPED_ADDRESS) == PEER
    assert client.deadline() is None
    client.receive(_success(request), 101.0)
    assert client.result() is answer


@pytest.mark.parametrize(
    "what", ["transaction", "method", "request", "indication", "garbage", "nothing", "fingerprint"]
)
def test_what_is_no_answer_to_it(what: str) -> None:
    """RFC 8489 §6.3: other transactions, other methods, requests and garbage leave the transaction under way."""
    client, request = _asking()
    good = _success(request)
    frames = {
        "transaction": _success(bytes(20)),
        "method": _success(request, Method.ALLOCATE),
        "request": request,
        "indication": MessageBuilder(Method.BINDING, MessageClass.INDICATION, request[8:20]).build(),
        "garbage": b"\x00\x01garbage",
        "nothing": b"",
        "fingerprint": good[:-1] + bytes([good[-1] ^ 1]),
    }
    client.receive(frames[what], 100.1)
    assert client.result() is None
    client.receive(good, 100.2)
    assert client.result() is not None


def test_broken_answers_are_named_when_there_is_no_other() -> None:
    """RFC 8489 §6.3: what was ignored is said in the end, for silence it was not."""
    client, request = _asking(patience=1.0)
    client.receive(_success(request)[:-1], 100.1)
    _schedule(client)
    with pytest.raises(NoAnswer, match="not valid STUN was ignored"):
        client.result()


def test_an_error_without_credentials_is_final() -> None:
    """RFC 8489 §9.2.5: a 401 to somebody without credentials is the answer."""
    client, request = _asking()
    builder = MessageBuilder(Method.BINDING, MessageClass.ERROR, request[8:20])
    client.receive(builder.add(ERROR_CODE, ErrorValue(401, "who?")).build(), 100.1)
    answer = client.result()
    assert answer is not None
    assert answer.message.first(ERROR_CODE) == ErrorValue(401, "who?")


def test_relayed_data_comes_in_both_ways() -> None:
    """RFC 8656 §11.4, §12.6: Data indications and ChannelData are told apart; empty data is data."""
    client = _client()
    for data in (b"one", b""):
        indication = MessageBuilder(Method.DATA, MessageClass.INDICATION, bytes(12))
        client.receive(indication.add(XOR_PEER_ADDRESS, PEER).add(DATA, data).build(), 1.0)
        client.receive(client.channel_data(0x4001, data), 1.0)
    assert list(client.incoming) == [
        Incoming(PEER, b"one", None),
        Incoming(None, b"one", 0x4001),
        Incoming(PEER, b"", None),
        Incoming(None, b"", 0x4001),
    ]


def test_incomplete_data_indications_are_ignored() -> None:
    """RFC 8656 §11.4: without a peer or without data there is nothing to take."""
    client = _client()
    client.receive(MessageBuilder(Method.DATA, MessageClass.INDICATION, bytes(12)).add(DATA, b"x").build(), 1.0)
    without_data = MessageBuilder(Method.DATA, MessageClass.INDICATION, bytes(12)).add(XOR_PEER_ADDRESS, PEER)
    client.receive(without_data.build(), 1.0)
    assert not client.incoming


def test_a_flood_is_bounded() -> None:
    """Rule 22: however much comes in, only so much is kept."""
    client = _client()
    for _ in range(1000):
        client.receive(client.channel_data(0x4000, b"x"), 1.0)
    assert len(client.incoming) == 64


def test_what_it_sends() -> None:
    """RFC 8656 §11.1, §12.4, §12.5: Send indications, and ChannelData padded on streams only."""
    client, stream = _client(), _client(reliable=True)
    indication = Message.decode(client.send_indication(PEER, b"data"))
    assert (indication.method, indication.message_class) == (Method.SEND, MessageClass.INDICATION)
    assert (indication.first(XOR_PEER_ADDRESS), indication.first(DATA)) == (PEER, b"data")
    assert client.channel_data(0x4000, b"abcde") == bytes.fromhex("40000005") + b"abcde"
    assert stream.channel_data(0x4000, b"abcde") == bytes.fromhex("40000005") + b"abcde\0\0\0"


def test_streams_do_not_send_again() -> None:
    """RFC 8489 §6.2.2: over a reliable transport a request is sent once."""
    client = _client(reliable=True)
    client.ask(Method.BINDING, [], 100.0)
    assert _schedule(client) == [0]


@given(st.lists(st.binary(max_size=80), max_size=6))
def test_whatever_comes_in_raises_nothing(frames: list[bytes]) -> None:
    """Rule 20: hostile frames neither raise nor end the transaction."""
    client, request = _asking()
    for frame in frames:
        client.receive(frame, 100.1)
    client.receive(_success(request), 100.2)
    assert client.result() is not None
