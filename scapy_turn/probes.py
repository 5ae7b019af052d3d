# SPDX-License-Identifier: GPL-2.0-or-later
"""Probes: what a server answers strangers, how much, whom it relays to, and what its nonces are like.

Each sends few packets, but for `flood`, and cleans up after itself: nothing is sent to a peer, and an allocation is
deleted.
"""

import base64
import math
import select
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace

from scapy.packet import Packet, Raw

from scapy_turn.allocation import Allocation, NoAnswer, Refused
from scapy_turn.attribute import StunAttribute
from scapy_turn.datagrams import Peer
from scapy_turn.demultiplex import Turn
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

__all__ = [
    "FLOODS",
    "MOST",
    "PEERS",
    "Amount",
    "Flood",
    "NonceReport",
    "PeerVerdict",
    "allowed_peers",
    "amplification",
    "flood",
    "nonces",
    "questions",
]

COOKIE = b"obMatJos2"
"""What a nonce begins with that says what its server can do (RFC 8489 §9.2)."""

FLOODS = ("Binding", "Binding of RFC 3489", "Allocate")
MOST = 5000
"""Kinds of packets that `flood` sends by default, and how many of each at most."""

PEERS = {
    "0.0.0.0": "unspecified",
    "0.1.2.3": "this network",
    "10.0.0.1": "private",
    "100.64.0.1": "shared (CGNAT)",
    "127.0.0.1": "loopback",
    "168.63.129.16": "services of Azure, a public address",
    "169.254.169.254": "link-local (metadata of clouds)",
    "172.16.0.1": "private",
    "192.0.0.1": "protocol assignments",
    "192.0.2.1": "documentation",
    "192.168.0.1": "private",
    "198.18.0.1": "benchmarks",
    "224.0.0.1": "multicast",
    "240.0.0.1": "reserved",
    "255.255.255.255": "broadcast",
    "::": "unspecified",
    "::1": "loopback",
    "::7f00:1": "loopback in an IPv4-compatible address",
    "::a00:1": "private in an IPv4-compatible address",
    "::ffff:0:7f00:1": "loopback in an IPv4-translated address",
    "::ffff:127.0.0.1": "loopback in an IPv4-mapped address",
    "::ffff:10.0.0.1": "private in an IPv4-mapped address",
    "64:ff9b::7f00:1": "loopback in a NAT64 address",
    "64:ff9b::a00:1": "private in a NAT64 address",
    "64:ff9b:1::7f00:1": "loopback in a local NAT64 address",
    "100::1": "discard",
    "2001::1": "Teredo",
    "2001:0:7f00:1::1": "loopback in a Teredo address",
    "2001:db8::1": "documentation",
    "2002:7f00:1::1": "loopback in a 6to4 address",
    "2002:a00:1::1": "private in a 6to4 address",
    "3fff::1": "documentation",
    "fc00::1": "unique local",
    "fd00:ec2::254": "unique local (metadata of clouds)",
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
    """Whether a server lets a user reach an address: ``allowed``, or the error with which it refuses.

    ``channel`` says the same of ChannelBind, which is another way to the same peer.
    """

    address: str
    what: str
    allowed: bool
    channel: bool
    says: str


@dataclass(frozen=True)
class NonceReport:
    """What a server's nonces are like, see `nonces`. None is for what could not be seen, without a credential say."""

    length: int
    entropy: float
    cookie: bool
    features: str
    differ: bool
    again: bool | None = None
    other_port: bool | None = None
    invented: int | None = None
    changed: int | None = None
    downgraded: int | None = None


@dataclass(frozen=True)
class Flood:
    """What many packets of a kind have brought, all from one port."""

    kind: str
    sent: int
    answers: int
    bytes_sent: int
    bytes_received: int

    @property
    def ratio(self) -> float:
        """Bytes out of the server for each byte into it."""
        return self.bytes_received / self.bytes_sent if self.bytes_sent else 0.0


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


def amplification(server: Peer, seconds: float = 1.0, transport: str = "udp") -> list[Amount]:
    """What each of `questions` brings: once sent, all at the same time, and all that comes within ``seconds``.

    The bytes do not count the headers of IP and UDP, 28 or 48 for each packet. On a stream the source of a request is
    proven, so there only the answers are of interest. Raises `OSError` if there is no connection.
    """
    with ExitStack() as stack:
        # A socket for each: an answer that is late does not count for another question.
        wires: dict[Wire, tuple[str, int]] = {}
        for kind, packet in questions():
            wire = stack.enter_context(Wire(server, transport))
            wires[wire] = (kind, wire.send(packet))
        frames: dict[Wire, list[bytes]] = {wire: [] for wire in wires}
        closed: set[Wire] = set()
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0 and len(closed) < len(wires):
            for wire in select.select([wire for wire in wires if wire not in closed], [], [], left)[0]:
                try:
                    frames[wire] += wire.read()
                except (EOFError, OSError):
                    closed.add(wire)
    found = []
    for wire, (kind, sent) in wires.items():
        got = frames[wire]
        said = Turn(got[0]) if got and got[0] else None
        says = "the connection was closed" if wire in closed and not got else _said(said)
        found.append(Amount(kind, sent, sum(map(len, got)), len(got), says))
    return found


def flood(server: Peer, count: int = 1000, kinds: Iterable[str] = FLOODS, seconds: float = 1.0) -> list[Flood]:
    """Send so many packets of each kind of `questions` over UDP, as fast as they are read, and count what comes back.

    This is what somebody would do who forges the sources of requests, so a server should not go on for ever with more
    bytes than it gets (RFC 8656 §21.1.6 leaves it to the server how). ``count`` is at most `MOST`: more tells nothing
    more. Each packet has a transaction of its own. Raises `ValueError` for another count or kind.
    """
    if not 1 <= count <= MOST:
        raise ValueError(f"from 1 to {MOST} packets, not {count}")
    known = dict(questions())
    found = []
    for kind in kinds:
        if kind not in known:
            raise ValueError(f"no kind {kind!a}")
        template = bytes(known[kind])
        with Wire(server) as wire:
            frames: list[bytes] = []
            for number in range(count):
                # The last bytes of the transaction id, or of what is in its place.
                wire.send(template[:12] + number.to_bytes(8, "big") + template[20:])
                frames += wire.read()
            while more := wire.wait(seconds):
                frames += more
        found.append(Flood(kind, count, len(frames), count * len(template), sum(map(len, frames))))
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
            found |= {
                one: PeerVerdict(one, PEERS.get(one, ""), False, False, "family not relayed") for one in addresses
            }
            continue
        with closing(held):
            for address in addresses:
                found[address] = _verdict(held, address)
    return [found[one] for one in wanted]


def _verdict(held: Allocation, address: str) -> PeerVerdict:
    allowed = channel = True
    says = "allowed"
    try:
        held.permit(address)
    except (Refused, NoAnswer) as error:
        allowed, says = False, str(error)
    try:
        held.bind((address, 9))
    except (Refused, NoAnswer):
        channel = False
    return PeerVerdict(address, PEERS.get(address, ""), allowed, channel, says)


def nonces(
    server: Peer, credential: Credential | None = None, seconds: float = 3.0, transport: str = "udp"
) -> NonceReport | None:
    """Look at a server's nonces; None if it has none. With a credential also: which ones does it take?

    With a wrong one it is as without.

    ``cookie`` is the one of RFC 8489 §9.2, which carries ``features``; ``differ`` whether three challenges had more
    than one nonce. ``again`` says whether one is taken twice, and ``other_port`` whether one is taken that another port
    of this host was given. ``invented`` and ``changed`` are the codes for a nonce that was made up, and for one with
    one character changed (438 is right, §9.2.4); ``downgraded`` the one for a list of password algorithms that is not
    what the server has offered (400, §9.2.4).
    """
    with Wire(server, transport) as first, Wire(server, transport) as second:
        challenges = [_challenge(wire, seconds) for wire in (first, first, second)]
        values = [bytes(one.attribute(StunNonce).nonce) for one in challenges if one is not None]
        if not values or challenges[0] is None:
            return None
        value = values[0]
        cookie = value.startswith(COOKIE)
        report = NonceReport(
            len(value), round(_entropy(value) * len(value)), cookie, _features(value), len(set(values)) > 1
        )
        if credential is None:
            return report
        credential.learn(challenges[0])
        # 437 means that everything was right but for the allocation, which there is none of.
        codes = [_code(first, credential, seconds) for _ in range(2)]
        if 401 in codes:
            return report  # the credential is wrong, which says nothing about nonces
        other_port = _code(second, credential, seconds) == 437
        downgraded = None
        if credential.algorithms is not None:
            offered, credential.algorithms = credential.algorithms, b"\0\1\0\0"
            downgraded = _code(first, credential, seconds)
            credential.algorithms = offered
        # With the features of a real one: without them the key would be another.
        credential.nonce = (value[:13] if cookie else b"") + b"0" * 20
        invented = _code(first, credential, seconds)
        credential.nonce = value[:-1] + (b"1" if value[-1:] != b"1" else b"2")
        changed = _code(first, credential, seconds)
    return replace(
        report,
        again=codes == [437, 437],
        other_port=other_port,
        invented=invented,
        changed=changed,
        downgraded=downgraded,
    )


def _features(nonce: bytes) -> str:
    """What the bits behind the cookie say (RFC 8489 §9.2, §18.1)."""
    if not nonce.startswith(COOKIE):
        return ""
    try:
        bits = int.from_bytes(base64.b64decode(nonce[9:13], validate=True), "big")
    except ValueError:
        return "not base64"
    names = {23: "password algorithms", 22: "username anonymity"}
    return ", ".join(names.get(bit, f"bit {23 - bit}") for bit in range(23, -1, -1) if bits >> bit & 1)


def _challenge(wire: Wire, seconds: float) -> StunMessage | None:
    for answer in wire.exchange(StunMessage(method="Allocate", attributes=[StunRequestedTransport()]), seconds):
        if isinstance(answer, StunMessage) and answer.attribute(StunNonce) is not None:
            return answer
    return None


def _code(wire: Wire, credential: Credential, seconds: float) -> int | None:
    """What a Refresh that deletes nothing is answered with."""
    answers = wire.exchange(credential.request("Refresh", StunLifetime(lifetime=0)), seconds)
    return answers[0].error if answers and isinstance(answers[0], StunMessage) else None


def _entropy(value: bytes) -> float:
    """Bits in a character, by how often each occurs: an upper bound, of one nonce."""
    return -sum(count / len(value) * math.log2(count / len(value)) for count in Counter(value).values())
