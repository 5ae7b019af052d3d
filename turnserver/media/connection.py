"""One connection of one participant, sans-IO: ICE, DTLS and SRTP as one (RFC 8445, RFC 5764, RFC 3711).

Datagrams and the time go in; `PeerConnection.events` says what has happened, and the datagrams to be sent are in the
`Wire` that all connections of one socket share. `PeerConnection.receive` decrypts media in the memory that it is given,
so an `Rtp` event is valid only until that memory is used again.

Video is paced: what exceeds a burst waits here, not encrypted yet, and leaves at a multiple of the bandwidth that the
receiver has. The dozens of packets of a keyframe would overflow the queue of a slow link at once, and take the sound
with them. Everything else leaves at once.
"""

from collections import deque
from collections.abc import Callable, Collection, Sequence
from typing import Final, Literal, NamedTuple

from stun.address import Address
from stun.demux import LAST_STUN_BYTE
from turnserver.batch import SocketName, socket_name
from turnserver.dtls import DtlsClosed, DtlsFailed
from turnserver.media.dtls import DtlsIdentity, DtlsRole, Fingerprint, SrtpHandshake
from turnserver.media.ice import IceAgent, IceCredentials, IcePath
from turnserver.media.lane import LARGEST, Lane
from turnserver.media.rtcp import Packet, read_compound
from turnserver.media.rtp import Header, find_extension, is_rtcp, read_header
from turnserver.media.srtp import SrtpCipher, SrtpReceiver, SrtpSender

__all__ = [
    "BURST",
    "CONNECT_LIMIT",
    "INITIAL_PACE",
    "LARGEST_RTP",
    "MOST_PACED",
    "Closed",
    "Connected",
    "ConnectionEvent",
    "Failed",
    "FailureReason",
    "Lanes",
    "PeerConnection",
    "Rtcp",
    "Rtp",
    "Wire",
]

CONNECT_LIMIT: Final = 30.0
"""Seconds until a connection that is not there has failed, from the time its description was made."""

BURST: Final = 15_000
"""Bytes of video that leave at once: a dozen packets, which the queue of any link takes."""

INITIAL_PACE: Final = 50_000_000
"""Bits a second of paced video until `PeerConnection.pace` says otherwise: what no access link carries for long."""

MOST_PACED: Final = 1_000_000
"""Bytes of video that may wait, and"""

LONGEST_PACED: Final = 1.0
"""seconds for which the last of them may have to: what a receiver cannot take in time is of no use later."""

LARGEST_RTP: Final = 1_600
"""Bytes of the largest RTP packet that is taken. A longer one would be sent on in fragments, which networks lose."""

_MOST_EVENTS: Final = 512
"""Events that may wait. The owner takes them after each datagram, which makes one or two."""

FailureReason = Literal["connect", "certificate", "dtls", "consent"]
"""No connection in time; a certificate that is not that of the description; a handshake that failed; no consent."""


class Connected(NamedTuple):
    """Media can be sent and received. ``profile`` is the protection profile of SRTP."""

    profile: str


class Failed(NamedTuple):
    """The connection has failed and is of no more use. ``text`` says why in a few words, for the log."""

    reason: FailureReason
    text: str


class Closed(NamedTuple):
    """The other side has closed the connection."""


class Rtp(NamedTuple):
    """A genuine RTP packet, decrypted: the first ``size`` bytes of ``packet``, which is memory of the receiver."""

    packet: bytearray | memoryview
    size: int
    header: Header


class Rtcp(NamedTuple):
    """The packets of a genuine compound RTCP packet."""

    packets: Sequence[Packet]


ConnectionEvent = Connected | Failed | Closed | Rtp | Rtcp


class Lanes(NamedTuple):
    """Where media waits to be sent, to addresses of one family."""

    audio: Lane
    video: Lane


class Wire:
    """What connections share with their socket.

    ``outgoing`` are datagrams of feedback and handshakes with their destinations, in the order in which they are to be
    sent; ``lanes`` has the media, by the bytes of an IP address. ``restless`` are connections whose deadline has come
    nearer. ``now`` is the time, in monotonic seconds, of the input that is being worked on.
    """

    __slots__ = ("lanes", "now", "outgoing", "restless")

    def __init__(self) -> None:
        self.outgoing: list[tuple[bytes | bytearray, Address]] = []
        self.lanes = {length: Lanes(Lane(length), Lane(length)) for length in (4, 16)}
        self.restless: set[PeerConnection] = set()
        self.now = 0.0

    @property
    def waiting(self) -> int:
        """Datagrams that are to be sent."""
        return len(self.outgoing) + sum([lane.waiting for lanes in self.lanes.values() for lane in lanes])

    def take_outgoing(self) -> list[tuple[bytes | bytearray, Address]]:
        """What is to be sent before the media, which is then no longer here."""
        taken = self.outgoing[:]
        self.outgoing.clear()  # the list is the agents', too
        return taken

    def take(self) -> list[tuple[bytes | bytearray, Address]]:
        """Copies of all datagrams that are to be sent, in their order, which are then no longer here."""
        taken = self.take_outgoing()
        for kind in zip(*self.lanes.values(), strict=True):
            taken += [datagram for lane in kind for batch in lane.drain() for datagram in batch]
        return taken


class PeerConnection:
    """A connection; see the module.

    ``local`` are its ICE credentials, which no other connection of the socket has. ``entropy`` gives random bytes,
    ``now`` is monotonic seconds. `remote` has to follow, at once when the other side has offered, else when its answer
    is here. Connections of one socket share a ``wire``.
    """

    def __init__(
        self,
        identity: DtlsIdentity,
        local: IceCredentials,
        *,
        entropy: Callable[[int], bytes],
        now: float,
        wire: Wire | None = None,
    ) -> None:
        self.wire = Wire() if wire is None else wire
        self.events: list[ConnectionEvent] = []
        self.state: Literal["new", "connected", "ended"] = "new"
        self.dropped = 0
        """Datagrams of no use: from nowhere known, forged, replayed, malformed; and video without room in its queue."""
        self.send_time = 0
        """The id of the extension abs-send-time; 0 without it. What was paced gets the time at which it leaves, or the
        receiver would take our pacing for a queue in the network."""
        self._identity = identity
        self._ice = IceAgent(local, None, entropy=entropy, outgoing=self.wire.outgoing)
        self._connect_by: float | None = now + CONNECT_LIMIT
        self._handshake: SrtpHandshake | None = None
        self._flight: deque[bytes] = deque()
        self._asked: IcePath | None = None
        self._audience: set[Address] = set()
        """Where parts of the handshake have been sent to."""
        self._retransmit_at: float | None = None
        self._sender: SrtpSender | None = None
        self._protect: SrtpCipher | None = None
        """The sender's, for each packet to find it at once."""
        self._receiver: SrtpReceiver | None = None
        self._target: Address | None = None
        self._name = SocketName()
        self._lanes = self.wire.lanes[4]
        """Where media to the target goes."""
        self._paced: deque[tuple[bytearray, int]] = deque()
        self._paced_bytes = 0
        self._pace = INITIAL_PACE / 8
        self._credit = float(BURST)
        self._credited = now

    # Negotiation

    @property
    def local(self) -> IceCredentials:
        """The ICE credentials of this side."""
        return self._ice.local

    @property
    def ufrags(self) -> tuple[str, ...]:
        """The ufrags by which checks name this connection."""
        return self._ice.ufrags

    @property
    def paths(self) -> dict[Address, IcePath]:
        """The addresses of the other side that may send; the owner does not change them."""
        return self._ice.paths

    @property
    def selected(self) -> Address | None:
        """Where media is sent to; None before the connection is there."""
        return self._target

    def remote(self, credentials: IceCredentials, fingerprints: Sequence[Fingerprint], role: DtlsRole) -> None:
        """The description of the other side has come. ``role`` is that of this side in DTLS.

        Later descriptions of the same connection change nothing here; for an ICE restart there is `restart`.
        """
        self._ice.remote = credentials
        if self._handshake is None and self.state == "new":
            self._handshake = SrtpHandshake(self._identity, role, fingerprints)
            self._take_flight()

    def restart(self, local: IceCredentials, remote: IceCredentials | None) -> None:
        """Begin an ICE restart (RFC 8445 §9), by an offer of either side. DTLS and media go on (RFC 8842 §4)."""
        self._ice.restart(local, remote)

    # Datagrams

    def receive(self, datagram: bytearray | memoryview, size: int, source: Address, now: float) -> None:
        """Take one datagram: the first ``size`` bytes of writable memory, which is changed."""
        self.wire.now = now
        if self.state == "ended" or not size:
            return
        first = datagram[0]
        if 128 <= first < 192:
            self._media(datagram, size, source)
        elif first <= LAST_STUN_BYTE:
            self._ice.receive(bytes(datagram[:size]), source, now)
            self._paths_changed()
        elif 20 <= first < 64:
            self._dtls(bytes(datagram[:size]), source)
        else:
            self.dropped += 1

    def send_rtp(self, packet: bytearray, size: int, *, audio: bool = False) -> bool:
        """Send an RTP packet of ``size`` bytes, which stays the caller's.

        ``audio`` is not paced. False if it was dropped: there is no connection, its sequence number has been sent
        before, it is too large, or too much waits.
        """
        if audio:
            return self._put(packet, size, self._lanes.audio)
        if self._has_credit(size):
            return self._put(packet, size, self._lanes.video)
        if self._target is None or size > LARGEST or self._paced_bytes + size > self._most_paced:
            self.dropped += 1
            return False
        self._paced.append((bytearray(packet), size))
        self._paced_bytes += size
        self.wire.restless.add(self)
        return True

    def send_rtcp(self, packet: bytes) -> bool:
        """Send a compound RTCP packet; False if it was dropped."""
        if self._sender is None or self._target is None:
            return False
        protected = self._sender.protect_rtcp(packet)
        if protected is None:
            return False
        self.wire.outgoing.append((protected, self._target))
        return True

    def pace(self, bits: float) -> None:
        """How much video may leave in a second, in bits: some 2.5 times what the receiver is believed to take."""
        self._pace = bits / 8
        while self._paced_bytes > self._most_paced:
            self._paced_bytes -= self._paced.popleft()[1]
            self.dropped += 1

    def purge(self, ssrcs: Collection[int]) -> None:
        """Drop the video of these streams that waits: nobody is to see it any more."""
        names = {ssrc.to_bytes(4) for ssrc in ssrcs}
        kept = deque(entry for entry in self._paced if bytes(entry[0][8:12]) not in names)
        self.dropped += len(self._paced) - len(kept)
        self._paced, self._paced_bytes = kept, sum(size for _, size in kept)

    # Time

    @property
    def waiting(self) -> int:
        """Bytes of video that wait for their turn."""
        return self._paced_bytes

    @property
    def deadline(self) -> float | None:
        """When `expire` has to be called, in monotonic seconds; None: never."""
        if self.state == "ended":
            return None
        due = [self._connect_by, self._retransmit_at, self._ice.consent_until]
        if self._paced:
            due.append(self._credited + max(0.0, self._paced[0][1] - self._credit) / self._pace)
        return min([each for each in due if each is not None], default=None)

    def expire(self, now: float) -> None:
        """Do what is due."""
        self.wire.now = now
        if self.state == "ended":
            return
        consent = self._ice.consent_until
        if consent is not None and consent <= now:
            self._fail("consent", "no connectivity check for too long")
        elif self._connect_by is not None and self._connect_by <= now:
            self._fail(
                "connect", "no path was found in time" if self._target is None else "the handshake took too long"
            )
        else:
            if self._retransmit_at is not None and self._retransmit_at <= now:
                self._step(self._retransmitted)
            self._release()

    def close(self) -> None:
        """End the connection, and say so to the other side."""
        if self._handshake is not None and self.state == "connected" and self._target is not None:
            self.wire.outgoing += [(datagram, self._target) for datagram in self._handshake.close()]
        self._end()

    # ICE

    def _paths_changed(self) -> None:
        selected = self._ice.selected
        if self._flight:
            self._send_flight()
        if selected is not None and self._sender is not None and selected.proven:
            self._target = selected.address
            self._name, self._lanes = socket_name(selected.address), self.wire.lanes[len(selected.address.ip)]
            self._settle()

    def _settle(self) -> None:
        if self.state == "new" and self._handshake is not None and self._handshake.keys is not None:
            self.state = "connected"
            self._connect_by = None
            self.wire.restless.add(self)
            self._say(Connected(self._handshake.keys.profile.name.decode()))

    # DTLS

    def _dtls(self, datagram: bytes, source: Address) -> None:
        path = self._ice.paths.get(source)
        if path is None or self._handshake is None:
            self.dropped += 1  # the other side sends it again
            return
        path.received += len(datagram)
        handshake = self._handshake
        self._asked = path
        self._step(lambda: handshake.feed(datagram))
        if self.state != "ended" and handshake.keys is not None and self._sender is None:
            self._sender, self._receiver = SrtpSender(handshake.keys), SrtpReceiver(handshake.keys)
            self._protect = self._sender.protect_in
            if self._audience == {source}:
                self._ice.prove(path)  # what completed the handshake depends on what was sent there, and only there
            self._paths_changed()

    def _step(self, step: Callable[[], None]) -> None:
        """Do something with the handshake, and send what it has to say."""
        try:
            step()
        except DtlsClosed:
            self._say(Closed())
            self._end()
        except DtlsFailed as error:
            self._take_flight()
            self._fail("certificate" if "certificate" in str(error) else "dtls", str(error))
        else:
            self._take_flight()

    def _retransmitted(self) -> None:
        if self._handshake is not None:
            self._handshake.retransmit()

    def _take_flight(self) -> None:
        handshake = self._handshake
        if handshake is None:
            return
        flight = handshake.flight()
        if flight:
            self._flight = deque(flight)
        self._send_flight()
        wait = handshake.timeout()
        self._retransmit_at = None if wait is None else self.wire.now + wait
        if wait is not None:
            self.wire.restless.add(self)

    def _send_flight(self) -> None:
        """Send as much of a flight as the path may get; the rest follows when more has come from it."""
        path = self._ice.selected or self._asked
        while path is not None and self._flight and path.allows(len(self._flight[0])):
            datagram = self._flight.popleft()
            path.sent += len(datagram)
            self._audience.add(path.address)
            self.wire.outgoing.append((datagram, path.address))

    # Media

    def _media(self, datagram: bytearray | memoryview, size: int, source: Address) -> None:
        receiver = self._receiver
        if receiver is None or source not in self._ice.paths:
            self.dropped += 1
            return
        if is_rtcp(datagram[:2]):
            size = receiver.unprotect_rtcp(datagram, size)
            if size < 0:
                self.dropped += 1
            else:
                self._say(Rtcp(read_compound(bytes(datagram[:size]))))
            return
        size = receiver.unprotect(datagram, size)
        header = read_header(datagram, size) if 0 < size <= LARGEST_RTP else None
        if header is None:
            self.dropped += 1
            return
        self._say(Rtp(datagram, size, header))

    def _put(self, packet: bytearray, size: int, lane: Lane) -> bool:
        """Put a packet on its way."""
        protect = self._protect
        if protect is None or self._target is None:
            return False
        if lane.put(packet, size, self._name, protect):
            return True
        self.dropped += 1
        return False

    @property
    def _most_paced(self) -> float:
        return min(max(self._pace * LONGEST_PACED, BURST), MOST_PACED)

    def _has_credit(self, size: int) -> bool:
        """Whether video may leave at once; takes the bytes off the credit if so."""
        now = self.wire.now
        if now > self._credited:
            self._credit = min(BURST, self._credit + (now - self._credited) * self._pace)
            self._credited = now
        if self._paced or self._credit < size:
            return False
        self._credit -= size
        return True

    def _release(self) -> None:
        """Let the video go that has waited long enough."""
        paced, self._paced = self._paced, deque()
        while paced and self._has_credit(paced[0][1]):
            packet, size = paced.popleft()
            self._paced_bytes -= size
            if self.send_time:
                _stamp(packet, size, self.send_time, self.wire.now)
            self._put(packet, size, self._lanes.video)
        self._paced = paced

    # The end

    def _say(self, event: ConnectionEvent) -> None:
        if len(self.events) < _MOST_EVENTS:
            self.events.append(event)

    def _fail(self, reason: FailureReason, text: str) -> None:
        self._say(Failed(reason, text))
        self._end()

    def _end(self) -> None:
        self.state = "ended"
        self._target = self._sender = self._receiver = self._protect = None
        self._flight.clear()
        self._paced.clear()
        self._paced_bytes = 0
        self.wire.restless.add(self)


def _stamp(packet: bytearray, size: int, number: int, now: float) -> None:
    """Write the time of sending: 24 bits, of which six are whole seconds."""
    header = read_header(packet, size)
    place = None if header is None else find_extension(packet, header, number)
    if place is not None and place[1] == 3:
        packet[place[0] : place[0] + 3] = (int(now * 262_144) & 0xFFFFFF).to_bytes(3, "big")
