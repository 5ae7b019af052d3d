"""Captures that scapy and tshark read alike: every kind of message, every attribute, over UDP and chopped streams.

Wireshark's dissectors know nothing of scapy, so what both say is so. The captures are made here, with random values of
a fixed seed; tshark tells what it sees as PDML.
"""

import random
import struct
import subprocess
import xml.etree.ElementTree as tree
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Packet, Raw, fuzz
from scapy.sendrecv import sniff
from scapy.sessions import TCPSession
from scapy.utils import rdpcap, wrpcap

import scapy_turn as turn
from scapy_turn import ChannelData, StunAttribute, StunMessage, long_term_key, sign, stun_frames, verify
from scapy_turn.attribute import AddressAttribute, TextAttribute
from scapy_turn.registry import CLASSES, METHODS
from tests.support.tools import require_tool

LAYERS: list[type[StunAttribute]] = [
    layer
    for layer in map(turn.__dict__.get, turn.__all__)
    if isinstance(layer, type) and issubclass(layer, StunAttribute) and layer is not StunAttribute
]
SEALS = (turn.StunMessageIntegrity, turn.StunMessageIntegritySha256, turn.StunFingerprint)
KEY = long_term_key("alice", "example.org", "secret")


class Seen(NamedTuple):
    """A frame as tshark sees it: its fields with what is shown and with the bytes, and those of each attribute."""

    shown: dict[str, str]
    attributes: list[tuple[dict[str, str], dict[str, str]]]


def fields(node: tree.Element) -> tuple[dict[str, str], dict[str, str]]:
    """What is shown of each field, and its bytes in hexadecimal digits; the first of a name counts."""
    shown: dict[str, str] = {}
    raw: dict[str, str] = {}
    for field in node.iter("field"):
        shown.setdefault(field.get("name", ""), field.get("show", ""))
        raw.setdefault(field.get("name", ""), field.get("value", ""))
    return shown, raw


def seen(capture: Path) -> list[Seen]:
    """The frames of STUN and TURN in a capture."""
    command = [require_tool("tshark"), "-r", str(capture), "-T", "pdml", "-J", "stun classicstun"]
    done = subprocess.run(command, capture_output=True, timeout=120, check=True)
    found = []
    for proto in tree.fromstring(done.stdout).iter("proto"):
        if proto.get("name") in {"stun", "classicstun"}:
            shown, _ = fields(proto)
            parts = [one for one in proto.iter("field") if one.get("name") in {"stun.attribute", ""}]
            found.append(Seen(shown, [fields(one) for one in parts if one.find("field") is not None]))
    return found


def colons(data: bytes) -> str:
    """Bytes as tshark shows them."""
    return data.hex(":")


def value(name: str) -> Callable[[Any], dict[str, str]]:
    """For tshark only bytes."""
    return lambda part: {"stun.value": colons(bytes(part.getfieldval(name)))}


def text(field: str) -> Callable[[Any], dict[str, str]]:
    return lambda part: {field: part.getfieldval(part.fields_desc[2].name).decode()}


def family(part: Any) -> dict[str, str]:
    return {"stun.att.family": f"0x{part.family:02x}", "stun.att.reserved": colons(part.rffu.to_bytes(3, "big"))}


def code(part: Any) -> dict[str, str]:
    return {
        "stun.att.error.class": str(part.code // 100),
        "stun.att.error": str(part.code % 100),
        "stun.att.error.reason": part.reason.decode(),
    }


def address(part: Any) -> dict[str, str]:
    return {
        "stun.att.reserved": f"{part.rffu:02x}",
        "stun.att.family": f"0x{part.family:02x}",
        "stun.att.port": str(part.port),
        "stun.att.ipv6" if part.family == 2 else "stun.att.ipv4": part.address,
    }


def algorithm(part: Any) -> dict[str, str]:
    return {"stun.att.pw_alg": str(part.algorithm), "stun.att.pw_alg_len": str(part.parameters_length)}


def algorithms(part: Any) -> dict[str, str]:
    return {"stun.att.pw_alg": str(part.algorithms[0])}


def unknown(part: Any) -> dict[str, str]:
    return {"stun.att.unknown": f"0x{part.types[0]:04x}"}


def flags(part: Any) -> dict[str, str]:
    return {"stun.att.change-ip": str(part.change_ip), "stun.att.change-port": str(part.change_port)}


def nothing(part: Any) -> dict[str, str]:
    """A flag, or what tshark 4 reads as something older: only type, length and bytes are compared."""
    return {}


TOLD: dict[type[StunAttribute], Callable[[Any], dict[str, str]]] = {
    turn.StunUsername: text("stun.att.username"),
    turn.StunRealm: text("stun.att.realm"),
    turn.StunNonce: text("stun.att.nonce"),
    turn.StunSoftware: text("stun.att.software"),
    turn.StunAlternateDomain: value("domain"),
    turn.StunThirdPartyAuthorization: value("server"),
    turn.StunPassword: lambda part: {"stun.att.password": colons(part.password)},
    turn.StunErrorCode: code,
    turn.StunAddressErrorCode: lambda part: {
        "stun.value": colons(
            struct.pack("!BBBB", part.family, part.rffu, part.code // 100, part.code % 100) + part.reason
        )
    },
    turn.StunUnknownAttributes: unknown,
    turn.StunChangeRequest: flags,
    turn.StunMessageIntegrity: lambda part: {"stun.att.hmac": colons(part.hmac)},
    turn.StunMessageIntegritySha256: value("hmac"),
    # 1 is good: tshark computes it, too.
    turn.StunFingerprint: lambda part: {"stun.att.crc32": f"0x{part.crc:08x}", "stun.att.crc32.status": "1"},
    turn.StunPasswordAlgorithm: algorithm,
    turn.StunPasswordAlgorithms: algorithms,
    turn.StunUserhash: value("userhash"),
    turn.StunPriority: lambda part: {"stun.att.priority": str(part.priority)},
    turn.StunUseCandidate: nothing,
    turn.StunPadding: lambda part: {"stun.att.padding": str(part.length)},
    # The XOR-RESPONSE-TARGET of a draft of RFC 5780.
    turn.StunResponsePort: nothing,
    turn.StunIceControlled: lambda part: {"stun.att.tie-breaker": colons(part.tie_breaker.to_bytes(8, "big"))},
    turn.StunIceControlling: lambda part: {"stun.att.tie-breaker": colons(part.tie_breaker.to_bytes(8, "big"))},
    turn.StunAccessToken: lambda part: {
        "stun.value": colons(struct.pack("!H", part.nonce_length) + part.nonce + part.encrypted_block)
    },
    turn.StunAdditionalAddressFamily: lambda part: {
        "stun.value": colons(struct.pack("!I", part.family << 24 | part.rffu))
    },
    turn.StunChannelNumber: lambda part: {
        "stun.att.channelnum": f"0x{part.number:04x}",
        "stun.att.reserved": colons(part.rffu.to_bytes(2, "big")),
    },
    turn.StunConnectionId: lambda part: {"stun.value": colons(part.connection_id.to_bytes(4, "big"))},
    turn.StunData: value("data"),
    turn.StunDontFragment: nothing,
    turn.StunEvenPort: lambda part: {"stun.att.even-port.reserve-next": str(part.reserve)},
    # tshark reads type and code where RFC 8656 §18.13 has 16 reserved bits.
    turn.StunIcmp: nothing,
    turn.StunLifetime: lambda part: {"stun.att.lifetime": str(part.lifetime)},
    turn.StunMobilityTicket: value("ticket"),
    turn.StunRequestedAddressFamily: family,
    turn.StunRequestedTransport: lambda part: {
        "stun.att.transp": f"0x{part.protocol:02x}",
        "stun.att.reserved": colons(part.rffu.to_bytes(3, "big")),
    },
    turn.StunReservationToken: lambda part: {"stun.att.token": colons(part.token)},
}
"""What tshark has to show of an attribute, given how scapy has dissected it."""
TOLD |= {layer: address for layer in LAYERS if issubclass(layer, AddressAttribute)}


def filled(layer: type[StunAttribute], generator: random.Random) -> StunAttribute:
    """An attribute with values of its own; texts are such as a terminal takes."""
    word = f"{generator.choice(['café', 'naïve', 'plain'])} {generator.randrange(10**6)}".encode()
    if issubclass(layer, TextAttribute):
        return layer(**{layer.fields_desc[2].name: word})
    fixed: dict[type[StunAttribute], dict[str, Any]] = {
        turn.StunErrorCode: {"code": generator.randrange(300, 700), "reason": word},
        turn.StunAddressErrorCode: {"code": generator.randrange(300, 700), "reason": word},
        turn.StunUnknownAttributes: {"types": [generator.randrange(0x10000) for _ in range(3)]},
        turn.StunPasswordAlgorithm: {
            "algorithm": generator.randrange(3),
            "parameters": word[:4],
        },
        turn.StunPasswordAlgorithms: {},
        turn.StunAccessToken: {"nonce": word[-5:], "encrypted_block": generator.randbytes(30)},
    }
    return layer(**fixed[layer]) if layer in fixed else fuzz(layer())


def messages() -> Iterator[StunMessage]:
    """Every class of every method and of an unknown one, each with every attribute, and signed."""
    generator = random.Random(8489)
    random.seed(8489)
    for method in [*METHODS, 0x0F5]:
        for msgclass in CLASSES:
            parts: list[Any] = [filled(layer, generator) for layer in LAYERS if layer not in SEALS]
            generator.shuffle(parts)
            parts.append(StunAttribute(type=0x7F00 | generator.randrange(256), value=generator.randbytes(7)))
            identity = generator.randbytes(12)
            message = StunMessage(method=method, msgclass=msgclass, transaction_id=identity, attributes=parts)
            both = sign(message, KEY, fingerprint=False)
            both.attributes.append(turn.StunMessageIntegritySha256(key=KEY))
            both.attributes.append(turn.StunFingerprint())
            # Built once: `fuzz` draws values whenever it is asked.
            yield StunMessage(bytes(both))


@pytest.fixture(scope="module")
def sent(processes: None) -> list[StunMessage]:
    return list(messages())


def compare(frame: Seen, message: StunMessage) -> None:
    """Header and attributes, field by field."""
    header = {
        "stun.type.class": f"0x{(message.msgclass & 2) << 3 | message.msgclass & 1:04x}",
        "stun.type.method": f"0x{method_bits(message.method):04x}",
        "stun.length": str(message.length),
        "stun.cookie": "21:12:a4:42",
        "stun.id": colons(message.transaction_id),
    }
    assert {name: frame.shown[name] for name in header} == header
    assert len(frame.attributes) == len(message.attributes)
    for (shown, raw), part in zip(frame.attributes, message.attributes, strict=True):
        whole = bytes(part)[: 4 + part.length]
        assert raw.get("stun.att.type", whole[:2].hex()) == whole[:2].hex()
        assert shown["stun.att.length"] == str(part.length)
        expected = TOLD[type(part)](part) if type(part) in TOLD else {"stun.value": colons(part.value)}
        # It shows no value where there is no byte of one.
        assert {name: shown.get(name, "") for name in expected} == expected, part.summary()


def method_bits(method: int) -> int:
    """A method where it is in the first two bytes (RFC 8489 §5), as tshark shows it."""
    return (method & 0xF80) << 2 | (method & 0x70) << 1 | method & 0xF


def test_every_attribute_is_compared() -> None:
    assert set(TOLD) == set(LAYERS)


def test_datagrams(sent: list[StunMessage], tmp_path: Path) -> None:
    """Every message kind over IPv4 and IPv6, as both read it from the same file."""
    capture = tmp_path / "udp.pcap"
    link = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
    networks: list[Packet] = [IP(src="192.0.2.1", dst="192.0.2.2"), IPv6(src="2001:db8::1", dst="2001:db8::2")]
    packets = [
        link / networks[at % 2].copy() / UDP(sport=50000, dport=3478) / message for at, message in enumerate(sent)
    ]
    wrpcap(str(capture), packets)
    read = rdpcap(str(capture))
    frames = seen(capture)
    assert len(read) == len(frames) == len(sent) == 4 * (len(METHODS) + 1)
    for packet, frame, message in zip(read, frames, sent, strict=True):
        found = packet[StunMessage]
        assert bytes(found) == bytes(message)
        assert [type(part) for part in found.attributes] == [type(part) for part in message.attributes]
        assert verify(found, KEY).ok
        compare(frame, found)


@pytest.mark.parametrize("size", [97, 536, 1460])
def test_streams(sent: list[StunMessage], tmp_path: Path, size: int) -> None:
    """The same on a TCP connection whose segments begin anywhere, with ChannelData between the messages."""
    capture = tmp_path / "tcp.pcap"
    whole = sent[::5]
    data = b"".join(bytes(one) + bytes(ChannelData(padding=b"\0\0\0") / Raw(b"abcde")) for one in whole)
    packets = [
        IP(src="192.0.2.1", dst="192.0.2.2")
        / TCP(sport=50000, dport=3478, seq=1 + at, ack=1, flags="PA")
        / Raw(data[at : at + size])
        for at in range(0, len(data), size)
    ]
    wrpcap(str(capture), packets)
    packets = sniff(offline=str(capture), session=TCPSession, quiet=True)
    found = [frame for packet in packets for frame in stun_frames(packet)]
    messages_read = [one for one in found if isinstance(one, StunMessage)]
    channel_data = [one for one in found if isinstance(one, ChannelData)]
    frames = seen(capture)
    theirs = [frame for frame in frames if "stun.type" in frame.shown]
    assert len(messages_read) == len(theirs) == len(whole)
    for frame, message in zip(theirs, messages_read, strict=True):
        compare(frame, message)
    others = [frame.shown for frame in frames if "stun.channel" in frame.shown]
    assert len(channel_data) == len(others) == len(whole)
    assert {(one["stun.channel"], one["stun.length"]) for one in others} == {("0x4000", "5")}
    assert {(one.number, one.length, one.payload.load) for one in channel_data} == {(0x4000, 5, b"abcde")}


def test_channel_data(processes: None, tmp_path: Path) -> None:
    """Over UDP, with every length up to a word and more, and the numbers at both ends."""
    capture = tmp_path / "channels.pcap"
    packets = [
        IP(src="192.0.2.1", dst="192.0.2.2")
        / UDP(sport=50000, dport=3478)
        / ChannelData(number=number)
        / Raw(b"x" * size)
        for number in (0x4000, 0x4FFF)
        for size in (1, 2, 3, 4, 5, 1000)
    ]
    wrpcap(str(capture), packets)
    frames = seen(capture)
    read = [packet[ChannelData] for packet in rdpcap(str(capture))]
    assert len(frames) == len(read) == len(packets)
    told = [(frame.shown["stun.channel"], frame.shown["stun.length"]) for frame in frames]
    assert told == [(f"0x{one.number:04x}", str(one.length)) for one in read]


def test_rfc_3489(processes: None, tmp_path: Path) -> None:
    """Without the cookie tshark speaks of classic STUN; the transaction id has 16 bytes for both."""
    capture = tmp_path / "classic.pcap"
    message = StunMessage(
        cookie=0x01020304, transaction_id=b"classic-stun", attributes=[turn.StunChangeRequest(change_ip=1)]
    )
    wrpcap(str(capture), [IP(src="192.0.2.1", dst="192.0.2.2") / UDP(sport=50000, dport=3478) / message])
    (frame,) = seen(capture)
    (packet,) = rdpcap(str(capture))
    assert frame.shown["classicstun.id"] == colons(packet[StunMessage].transaction)
    assert (frame.shown["classicstun.type"], frame.shown["classicstun.att.change.ip"]) == ("0x0001", "1")
