# SPDX-License-Identifier: GPL-2.0-or-later
"""Probes: what a server answers strangers, how much, whom it relays to, and what its nonces are like.

Each sends few packets and cleans up after itself: nothing is sent to a peer, and an allocation is deleted.
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from scapy.packet import Packet, Raw

from scapy_turn.allocation import Allocation, NoAnswer, Refused
from scapy_turn.attribute import StunAttribute
from scapy_turn.datagrams import Peer
from scapy_turn.integrity import Credential
from scapy_turn.message import ChannelData, StunMessage
from scapy_turn.registry import CLASSES
from scapy_turn.stun_attributes import (
    StunChangeRequest,
    StunFingerprint,
    StunMessageIntegrity,
    StunNonce,
    StunPadding,
    StunRealm,
    StunUsername,
)
from scapy_turn.turn_attributes import (
    StunChannelNumber,
    StunConnectionId,
    StunData,
    StunLifetime,
    StunRequestedTransport,
    StunXorPeerAddress,
)
from scapy_turn.wire import Wire

__all__ = ["PEERS", "Amount", "NonceReport", "PeerVerdict", "allowed_peers", "amplification", "nonces", "questions"]

PEERS = {
    "0.0.0.0": "unspecified",
    "10.0.0.1": "private",
    "100.64.0.1": "shared (CGNAT)",
    "127.0.0.1": "loopback",
    "169.254.169.254": "link-local (metadata of clouds)",
    "172.16.0.1": "private",
    "192.0.0.1": "protocol assignments",
    "192.0.2.1": "documentation",
    "192.168.0.1": "private",
    "198.18.0.1": "benchmarks",
    "224.0.0.1": "multicast",
    "255.255.255.255": "broadcast",
    "::": "unspecified",
    "::1": "loopback",
    "::7f00:1": "loopback in an IPv4-compatible address",
    "::ffff:127.0.0.1": "loopback in an IPv4-mapped address",
    "::ffff:10.0.0.1": "private in an IPv4-mapped address",
    "64:ff9b::7f00:1": "loopback in a NAT64 address",
    "64:ff9b:1::7f00:1": "loopback in a local NAT64 address",
    "2001::1": "Teredo",
    "2001:db8::1": "documentation",
    "2002:7f00:1::1": "loopback in a 6to4 address",
    "fc00::1": "unique local",
    "fe80::1": "link-local",
    "fec0::1": "site-local",
    "ff02::1": "multicast",
}
"""Addresses to which a relay should not lead, and what they are."""


@dataclass(frozen=True)
class Amount:
    """What a stranger's packet has brought: bytes sent and received (of UDP payload), answers, and what they say."""

    kind: str
    sent: int
    received: int
    answers: int
    says: str

    @property
    def ratio(self) -> float:
        """Bytes out of the server for each byte into it."""
        return self.received / self.sent if self.sent else 0.0


@dataclass(frozen=True)
class PeerVerdict:
    """Whether a server lets a user reach an address: ``allowed``, or the error with which it refuses."""

    address: str
    what: str
    allowed: bool
    says: str


@dataclass(frozen=True)
class NonceReport:
    """What a server's nonces are like. None is for what could not be seen, without a credential for example."""

    length: int
    entropy: float
    cookie: bool
    differ: bool
    other_port: bool | None
    invented: int | None
    changed: int | None


def questions() -> Iterator[tuple[str, Packet]]:
    """A packet of every kind that a stranger can send, and what it is called."""
    peer = StunXorPeerAddress(address="192.0.2.1", port=9)
    yield "Binding", StunMessage()
    yield "Binding with FINGERPRINT", StunMessage(attributes=[StunFingerprint()])
    yield "Binding of RFC 3489", StunMessage(cookie=0x01020304)
    yield "Binding, CHANGE-REQUEST for both", StunMessage(attributes=[StunChangeRequest(change_ip=1, change_port=1)])
    yield "Binding with PADDING", StunMessage(attributes=[StunPadding(bytes=bytes(256))])
    yield "Binding, unknown attributes", StunMessage(attributes=[StunAttribute(type=0x7E00 + n) for n in range(16)])
    yield "Allocate", StunMessage(method="Allocate", attributes=[StunRequestedTransport()])
    yield "Allocate, wrong integrity", StunMessage(method="Allocate", attributes=[*_wrong(), StunRequestedTransport()])
    yield (
        "Allocate, nothing but integrity",
        StunMessage(method="Allocate", attributes=[StunMessageIntegrity(hmac=bytes(20))]),
    )
    yield "Refresh", StunMessage(method="Refresh", attributes=[StunLifetime(lifetime=0)])
    yield "CreatePermission", StunMessage(method="CreatePermission", attributes=[peer])
    yield "ChannelBind", StunMessage(method="ChannelBind", attributes=[StunChannelNumber(), peer])
    yield "Connect", StunMessage(method="Connect", attributes=[peer])
    yield "ConnectionBind", StunMessage(method="ConnectionBind", attributes=[StunConnectionId()])
    yield "SharedSecret", StunMessage(method="SharedSecret")
    yield "unknown method", StunMessage(method=0x0FF)
    yield "Send indication", StunMessage(method="Send", msgclass="indication", attributes=[peer, StunData(data=b"x")])
    yield "Binding indication", StunMessage(msgclass="indication")
    yield "Binding success", StunMessage(msgclass="success")
    yield "Binding error", StunMessage(msgclass="error")
    yield "ChannelData", ChannelData() / Raw(b"x")
    yield "no STUN", Raw(b"\xff" * 20)
    yield "a message that is cut off", Raw(bytes(StunMessage(attributes=[StunLifetime()]))[:-4])


def _wrong() -> list[Packet]:
    named: list[Packet] = [StunUsername(username=b"a"), StunRealm(realm=b"b"), StunNonce(nonce=b"c" * 16)]
    return [*named, StunMessageIntegrity(hmac=bytes(20))]


def amplification(server: Peer, seconds: float = 1.0) -> list[Amount]:
    """What each of `questions` brings over UDP: once sent, and all that comes within ``seconds``.

    The bytes do not count the headers of IP and UDP, 28 or 48 for each packet.
    """
    found = []
    for kind, packet in questions():
        # A socket for each: an answer that is late does not count for the next one.
        with Wire(server) as wire:
            sent = wire.send(packet)
            frames = wire.wait(seconds)
            if frames:
                frames += wire.wait(min(0.05, seconds))
            said = StunMessage(frames[0]) if frames else None
            found.append(Amount(kind, sent, sum(map(len, frames)), len(frames), _said(said)))
    return found


def _said(answer: Packet | None) -> str:
    if answer is None:
        return "silence"
    if not isinstance(answer, StunMessage):
        return "something that is no STUN"
    return f"error {answer.error}" if answer.error is not None else CLASSES[answer.msgclass]


def allowed_peers(
    server: Peer,
    credential: Credential,
    peers: Iterable[str] = tuple(PEERS),
    transport: str = "udp",
    patience: float = 5.0,
) -> list[PeerVerdict]:
    """Ask for a permission for each address, on an allocation of its family.

    Permissions only: nothing is sent to a peer. Raises `Refused` or `NoAnswer` if there is no allocation at all; a
    family that the server does not relay is a verdict of its own.
    """
    wanted = list(peers)
    found: dict[str, PeerVerdict] = {}
    for family, addresses in (
        (1, [one for one in wanted if ":" not in one]),
        (2, [one for one in wanted if ":" in one]),
    ):
        if not addresses:
            continue
        try:
            held = Allocation(
                Wire(server, transport), credential, lambda peer, data: None, family=family, patience=patience
            )
        except Refused as error:
            if error.code != 440:
                raise
            found |= {one: PeerVerdict(one, PEERS.get(one, ""), False, "family not relayed") for one in addresses}
            continue
        for address in addresses:
            found[address] = _verdict(held, address)
        held.close()
    return [found[one] for one in wanted]


def _verdict(held: Allocation, address: str) -> PeerVerdict:
    what = PEERS.get(address, "")
    try:
        held.permit(address)
    except (Refused, NoAnswer) as error:
        return PeerVerdict(address, what, False, str(error))
    return PeerVerdict(address, what, True, "allowed")


def nonces(server: Peer, credential: Credential | None = None, seconds: float = 3.0) -> NonceReport | None:
    """Look at a server's nonces; None if it has none. With a credential also: which ones does it take?

    ``other_port`` says whether one is taken that another port of this host was given; ``invented`` and ``changed`` are
    the codes for a nonce that was made up, and for one with one character changed (438 is right, RFC 8489 §9.2.4).
    """
    ask = StunMessage(method="Refresh", attributes=[StunLifetime(lifetime=0)])
    with Wire(server) as first, Wire(server) as second:
        challenges = [_challenge(wire, seconds) for wire in (first, first, second)]
        values = [bytes(one.attribute(StunNonce).nonce) for one in challenges if one is not None]
        if not values or challenges[0] is None:
            return None
        value = values[0]
        other_port: bool | None = None
        invented = changed = None
        if credential is not None:
            credential.learn(challenges[0])
            # 437 means that everything was right but for the allocation, which there is none of.
            other_port = _code(second, credential, ask, seconds) == 437
            credential.nonce = b"obMatJos2AAAA" + b"0" * 16
            invented = _code(first, credential, ask, seconds)
            credential.nonce = value[:-1] + (b"1" if value[-1:] != b"1" else b"2")
            changed = _code(first, credential, ask, seconds)
    return NonceReport(
        len(value),
        round(_entropy(value) * len(value)),
        value.startswith(b"obMatJos2"),
        len(set(values)) > 1,
        other_port,
        invented,
        changed,
    )


def _challenge(wire: Wire, seconds: float) -> StunMessage | None:
    for answer in wire.exchange(StunMessage(method="Allocate", attributes=[StunRequestedTransport()]), seconds):
        if isinstance(answer, StunMessage) and answer.attribute(StunNonce) is not None:
            return answer
    return None


def _code(wire: Wire, credential: Credential, ask: StunMessage, seconds: float) -> int | None:
    answers = wire.exchange(credential.request("Refresh", *ask.attributes), seconds)
    return answers[0].error if answers and isinstance(answers[0], StunMessage) else None


def _entropy(value: bytes) -> float:
    """Bits in a character, by how often each occurs: an upper bound, of one nonce."""
    return -sum(count / len(value) * math.log2(count / len(value)) for count in Counter(value).values())
