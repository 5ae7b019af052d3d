"""The layers of messages and ChannelData: building, dissecting, pairing, streams, hostile bytes."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.config import conf
from scapy.layers.inet import IP, TCP, UDP
from scapy.packet import Raw, fuzz
from scapy.plist import PacketList
from scapy.sessions import TCPSession

import scapy_turn
from scapy_turn import (
    ChannelData,
    StunAccessToken,
    StunAttribute,
    StunData,
    StunErrorCode,
    StunFingerprint,
    StunLifetime,
    StunMessage,
    StunMessageIntegrity,
    StunPasswordAlgorithm,
    StunPasswordAlgorithms,
    StunRealm,
    StunSoftware,
    StunUsername,
    StunXorPeerAddress,
    Turn,
    stun_frames,
    verify,
)
from scapy_turn.message import MAX_FRAMES, frame_length, reassembled
from scapy_turn.registry import CLASSES, METHODS
from stun.message import Message
from tests.stun import test_vectors as vectors
from tests.support.examples import scaled

LAYERS = [
    layer
    for layer in map(scapy_turn.__dict__.get, scapy_turn.__all__)
    if isinstance(layer, type) and issubclass(layer, StunAttribute)
]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("msgclass", CLASSES)
def test_every_method_and_class(method: int, msgclass: int) -> None:
    """RFC 8489 §5, as another codec reads it; and by their names."""
    sent = bytes(StunMessage(method=METHODS[method], msgclass=CLASSES[msgclass]))
    read = Message.decode(sent)
    assert (read.method, read.message_class) == (method, msgclass)
    found = StunMessage(sent)
    assert (found.method, found.msgclass) == (method, msgclass)
    assert f"STUN {METHODS[method]} {CLASSES[msgclass]}" in found.summary()


@pytest.mark.parametrize("number", [0x000, 0x00F, 0x010, 0x080, 0x555, 0xAAA, 0xFFF])
def test_any_method(number: int) -> None:
    for msgclass in CLASSES:
        found = StunMessage(bytes(StunMessage(method=number, msgclass=msgclass)))
        assert (found.method, found.msgclass) == (number, msgclass)


def test_rfc_3489() -> None:
    """Without the cookie these bytes are of the transaction id (RFC 3489 §11.1)."""
    data = bytes.fromhex("000100080123456789abcdef0123456789abcdef0003000400000006")
    found = StunMessage(data)
    assert found.transaction == data[4:20]
    assert (found.attributes[0].change_ip, found.attributes[0].change_port) == (1, 1)
    found.clear_cache()
    assert bytes(found) == data


@pytest.mark.parametrize("data", [vectors.REQUEST, vectors.RESPONSE_IPV6, vectors.LONG_TERM, vectors.USERHASH_REQUEST])
def test_vectors_are_the_same_after_a_round(data: bytes) -> None:
    """Byte for byte, spaces in the padding included."""
    found = StunMessage(data)
    assert Raw not in found
    found.clear_cache()
    assert bytes(found) == data


def test_each_message_is_a_transaction() -> None:
    first, second = StunMessage(), StunMessage()
    assert first.transaction_id != second.transaction_id
    assert bytes(first) == bytes(first) == bytes(first.copy())
    assert StunMessage(transaction_id=b"x" * 12).transaction_id == b"x" * 12


def test_errors() -> None:
    assert StunMessage().error is None
    assert StunMessage(msgclass="error").error == 0
    assert StunMessage(msgclass="error", attributes=[StunErrorCode(code=486)]).error == 486


def test_answers() -> None:
    """``sr`` pairs a response with its request, and nothing else."""
    there = IP(src="192.0.2.1", dst="192.0.2.2") / UDP(sport=5000)
    back = IP(src="192.0.2.2", dst="192.0.2.1") / UDP(dport=5000)
    request = there / StunMessage(method="Allocate")
    same = {"transaction_id": request[StunMessage].transaction_id}
    for msgclass in ("success", "error"):
        response = back / StunMessage(method="Allocate", msgclass=msgclass, **same)
        assert response.answers(request)
        assert response.hashret() == request.hashret()
    others = [
        StunMessage(method="Allocate", msgclass="success"),
        StunMessage(method="Refresh", msgclass="success", **same),
        StunMessage(method="Allocate", msgclass="indication", **same),
        StunMessage(method="Allocate", **same),
        StunMessage(method="Allocate", msgclass="success", cookie=1, **same),
        ChannelData() / Raw(b"x"),
    ]
    assert [bool((back / other).answers(request)) for other in others] == [False] * len(others)
    sent, echoed = ChannelData(number=0x4001) / Raw(b"ping"), ChannelData(number=0x4001) / Raw(b"pong")
    assert echoed.answers(sent)
    assert echoed.hashret() == sent.hashret()
    assert not (ChannelData(number=0x4002) / Raw(b"pong")).answers(sent)


def test_channel_data() -> None:
    """RFC 8656 §12.4: padded on TCP, not on UDP; a connectivity check inside is dissected, other bytes are not."""
    payload = b"abcde"
    assert bytes(UDP() / ChannelData(number=0x4000) / Raw(payload))[8:] == b"\x40\0\0\5abcde"
    assert bytes(TCP() / ChannelData(number=0x4000) / Raw(payload))[20:] == b"\x40\0\0\5abcde\0\0\0"
    for padding in (b"", b"\0", b"\0\0\0", b"xyz"):
        data = b"\x40\0\0\5abcde" + padding
        found = ChannelData(data)
        assert (found.length, found.payload.load, found.padding) == (5, payload, padding)
        found.clear_cache()
        assert bytes(found) == data
    check = ChannelData() / StunMessage(attributes=[StunFingerprint()])
    assert verify(ChannelData(bytes(check))[StunMessage]).fingerprint
    assert StunMessage not in ChannelData(bytes(ChannelData() / Raw(bytes(StunMessage())[:-1])))
    assert bytes(ChannelData() / b"") == b"\x40\0\0\0"


def test_lines_read_like_a_log() -> None:
    packet = (
        IP(src="192.0.2.1", dst="192.0.2.2")
        / UDP(sport=5000)
        / StunMessage(
            method="Allocate",
            msgclass="error",
            transaction_id=bytes(12),
            attributes=[StunErrorCode(code=401, reason="Unauthenticated"), StunRealm(realm=b"example.org")],
        )
    )
    assert packet.summary().endswith(
        "UDP 192.0.2.1:5000 > 192.0.2.2:3478 / STUN Allocate error ERROR-CODE=401 Unauthenticated REALM=example.org "
        "[000000000000000000000000]"
    )
    assert (IP() / UDP() / ChannelData(number=0x4001) / Raw(b"abc")).summary().count("ChannelData 0x4001 3 bytes") == 1
    many = StunMessage(attributes=[StunLifetime()] * 40)
    assert "(+28)" in many.summary()


def test_fuzz_stays_well_formed() -> None:
    """Values change; type, length, cookie and padding are right, and so is the integrity."""
    template = fuzz(
        StunMessage(
            attributes=[
                *(layer() for layer in LAYERS if "INTEGRITY" not in layer._name and layer._name != "FINGERPRINT"),
                StunMessageIntegrity(key=b"key"),
                StunFingerprint(),
            ]
        )
    )
    seen = set()
    for _ in range(scaled(50)):
        data = bytes(template)
        found = StunMessage(data)
        assert int.from_bytes(data[2:4], "big") == len(data) - 20
        assert not any(isinstance(part, Raw) for part in found.attributes)
        assert verify(found, b"key") == scapy_turn.Seals(sha1=True, fingerprint=True)
        seen.add((found.method, found.msgclass, found.attribute(StunLifetime).lifetime))
    assert len(seen) > 5


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: layer.__name__)
def test_fuzz_keeps_every_attribute_what_it_is(layer: type[StunAttribute]) -> None:
    """Also the lengths inside of values."""
    random.seed(8489)
    template = fuzz(StunMessage(attributes=[layer()]))
    for _ in range(scaled(20)):
        (found,) = StunMessage(bytes(template)).attributes
        assert type(found) is layer
        if layer is StunPasswordAlgorithms:
            assert bytes(found)[4:].startswith(found.value)
            assert sum(4 for _ in found.algorithms) <= len(found.value)
        if layer is StunPasswordAlgorithm:
            assert found.parameters_length == len(found.parameters)
        if layer is StunAccessToken:
            assert len(found.nonce) == found.nonce_length


def test_fuzzed_channel_data() -> None:
    random.seed(8656)
    template = fuzz(ChannelData()) / Raw(b"abc")
    numbers = {ChannelData(bytes(template)).number for _ in range(50)}
    assert len(numbers) > 10
    assert {number >> 12 for number in numbers} == {4}
    assert {type(Turn(bytes(template))) for _ in range(50)} == {ChannelData}


def frames() -> list[StunMessage | ChannelData]:
    return [
        StunMessage(method="Send", msgclass="indication", attributes=[StunXorPeerAddress(), StunData(data=b"abc")]),
        ChannelData(padding=b"\0\0\0") / Raw(b"abcde"),
        StunMessage(method="Refresh"),
        ChannelData() / Raw(b"abcd"),
    ]


@pytest.mark.parametrize("size", [1, 3, 4, 7, 20, 21, 100, 1000])
def test_streams(size: int) -> None:
    """`TCPSession` puts frames together, however the segments cut them."""
    wire = b"".join(map(bytes, frames()))
    segments = []
    for at in range(0, len(wire), size):
        part = Raw(wire[at : at + size])
        header = TCP(sport=5000, dport=3478, seq=1 + at, flags="PA")
        segments.append(IP(bytes(IP(src="192.0.2.1", dst="192.0.2.2") / header / part)))
    session = TCPSession()
    found = PacketList([done for done in map(session.process, segments) if done is not None and TCP in done])
    layers = [layer for packet in found for layer in stun_frames(packet)]
    assert [type(layer) for layer in layers] == [type(frame) for frame in frames()]
    assert b"".join(bytes(packet[TCP].payload) for packet in found).endswith(wire[-size:])


def test_a_segment_that_ends_several_frames_and_begins_another() -> None:
    """scapy forgets all but the last of the frames that it takes one by one, and with them its place in the stream."""
    wire = b"".join(map(bytes, frames())) * 50
    for size in (90, 150, 333):
        session, found = TCPSession(), []
        for at in range(0, len(wire), size):
            header = TCP(sport=5000, dport=3478, seq=1 + at, flags="PA")
            part = IP(bytes(IP(src="192.0.2.1", dst="192.0.2.2") / header / Raw(wire[at : at + size])))
            found.append(session.process(part))
        layers = [layer for packet in found if packet is not None for layer in stun_frames(packet)]
        assert [type(layer) for layer in layers] == [type(frame) for frame in frames()] * 50
        # With the padding of ChannelData where it was.
        assert b"".join(bytes(packet[TCP].payload) for packet in found if packet is not None) == wire


def test_many_frames_in_a_segment() -> None:
    """They do not become layers without end; nothing of them is lost."""
    data = bytes(StunMessage()) + b"\x40\0\0\0" * 5000
    found = reassembled(data)
    assert found is not None
    assert len(stun_frames(found)) == MAX_FRAMES
    assert bytes(found) == data
    assert found.summary()
    foreign = reassembled(bytes(StunMessage()) + b"POST / HTTP/1.1")
    assert foreign is not None
    assert foreign[Raw].load == b"POST / HTTP/1.1"
    assert stun_frames(ChannelData(number=0x4001) / b"x" / Raw(b"y"))[0].number == 0x4001
    assert stun_frames(Raw(b"x")) == []


def test_frames() -> None:
    """How long a frame is can be said after four bytes, and after eight that it is one."""
    data = bytes(StunMessage(method="Refresh", attributes=[StunLifetime()]))
    assert [frame_length(data[:size]) for size in (0, 1, 3, 4, 8, 28)] == [None, None, None, 28, 28, 28]
    assert frame_length(b"\x40\0\0\5") == 12
    assert reassembled(data[:27]) is None
    for wrong in (b"\x50", b"\x16\3\1", b"POST", b"\0\1\0\3", b"\0\1\0\0\x21\x13"):
        with pytest.raises(ValueError, match=r"no message|neither"):
            frame_length(wrong)
        assert isinstance(reassembled(wrong), Raw)


@given(st.binary(max_size=200), st.sampled_from([StunMessage, ChannelData, Turn, *LAYERS]))
def test_any_bytes(data: bytes, layer: type) -> None:
    """They are dissected without an error, and give the same bytes, also when they are built again."""
    before, conf.debug_dissector = conf.debug_dissector, True
    try:
        if data:
            found = layer(data)
            assert bytes(found) == data
            found.clear_cache()
            assert bytes(found) == data
            assert found.summary().isprintable()
    finally:
        conf.debug_dissector = before


def test_broken_messages() -> None:
    """Messages with a few bytes changed, cut or added: what hypothesis would take long to find."""
    generator = random.Random(5389)
    whole = bytes(StunMessage(attributes=[layer() for layer in LAYERS] + [StunUsername(username=b"u"), StunSoftware()]))
    before, conf.debug_dissector = conf.debug_dissector, True
    try:
        for _ in range(scaled(1000)):
            data = bytearray(whole)
            for _ in range(generator.randrange(1, 9)):
                data[generator.randrange(1, len(data))] = generator.choice([0, 1, 3, 4, 0x7F, 0x80, 0xFF])
            sent = bytes(data[: generator.randrange(20, len(data) + 1)])
            found = StunMessage(sent)
            assert bytes(found) == sent
            found.clear_cache()
            assert bytes(found) == sent
            found.show(dump=True)
            found.summary()
    finally:
        conf.debug_dissector = before
