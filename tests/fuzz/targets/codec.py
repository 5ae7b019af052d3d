"""STUN messages and ChannelData: any datagram is decoded or refused, and what was decoded can be built again."""

from collections.abc import Iterator
from contextlib import suppress

from stun import channeldata
from stun.attributes import REGISTRY
from stun.constants import CHANNEL_MAX_RFC5766
from stun.demux import is_stun
from stun.errors import EncodeError, MalformedMessage
from stun.integrity import verify, verify_sha256
from stun.message import Message, MessageBuilder
from tests.stun import test_vectors
from tests.support.core_world import PEER, PEER6, World

__all__ = ["MAX_LENGTH", "WORDS", "run", "seeds"]

MAX_LENGTH = 1024
WORDS = (b"\x21\x12\xa4\x42", *(number.to_bytes(2, "big") for number in sorted(REGISTRY)))
_COMPUTED = frozenset((0x0008, 0x001C, 0x8028))


def seeds() -> Iterator[bytes]:
    """The RFCs' test vectors, and what a client and a server say to each other."""
    yield from (value for value in vars(test_vectors).values() if isinstance(value, bytes) and len(value) >= 20)
    world = World()
    client = world.client()
    client.challenge()
    for answer in (client.allocate(), client.permit(PEER, PEER6), client.bind(0x4000, PEER), client.refresh(0)):
        yield answer.raw
    yield from (client.build(method, [], signed=number > 1) for number, method in enumerate((1, 3, 4, 8, 9)))
    yield channeldata.encode(0x4000, b"payload")


def run(data: bytes) -> None:
    """Nothing but `MalformedMessage` is raised; values that can be read are written as they were."""
    if not is_stun(data):
        with suppress(MalformedMessage):
            channel, payload = channeldata.decode(data, CHANNEL_MAX_RFC5766)
            assert data.startswith(channeldata.encode(channel, bytes(payload)))
        return
    with suppress(MalformedMessage):
        _check(Message.decode(data))


def _check(message: Message) -> None:
    assert message.encode() == message.raw
    repr(message)
    verify(message, b"key")
    verify_sha256(message, b"key")
    message.unknown_required(REGISTRY)
    builder = MessageBuilder(message.method, message.message_class, message.transaction_id)
    expected = []
    for raw in message.meaningful:
        spec = REGISTRY.get(raw.type)
        if spec is None or raw.type in _COMPUTED:
            continue
        with suppress(MalformedMessage):
            message.first(spec)
            message.all(spec)
        with suppress(MalformedMessage, EncodeError):
            value = spec.decode(raw.value, message.transaction_id)
            builder.add(spec, value)
            expected.append((raw.type, value))
    again = Message.decode(builder.fingerprint().build())
    read = [(raw.type, REGISTRY[raw.type].decode(raw.value, again.transaction_id)) for raw in again.attributes[:-1]]
    assert read == expected
    assert (again.method, again.message_class) == (message.method, message.message_class)
