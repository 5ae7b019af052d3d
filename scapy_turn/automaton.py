# SPDX-License-Identifier: GPL-2.0-or-later
# scapy types what its decorators return as what they are given, and every automaton has other arguments.
# mypy: disable-error-code="arg-type, attr-defined, call-arg, override"
"""The life of an allocation as an automaton of scapy, whose states and packets can be watched, stopped and changed."""

import copy
import ssl
import threading
import time
from collections import deque
from types import TracebackType
from typing import Any, ClassVar, Self

from scapy.automaton import ATMT, Automaton
from scapy.error import log_runtime
from scapy.packet import Packet, Raw
from scapy.supersocket import SuperSocket

from scapy_turn.datagrams import Inbox, Peer, datagram, ends, reported
from scapy_turn.demultiplex import Turn
from scapy_turn.integrity import Credential, verify
from scapy_turn.message import ChannelData, StunMessage
from scapy_turn.registry import INDICATION
from scapy_turn.stun_attributes import StunErrorCode
from scapy_turn.turn_attributes import (
    StunChannelNumber,
    StunData,
    StunIcmp,
    StunLifetime,
    StunRequestedAddressFamily,
    StunRequestedTransport,
    StunXorPeerAddress,
    StunXorRelayedAddress,
)
from scapy_turn.wire import RETRANSMISSION, Wire

__all__ = ["TurnAutomaton", "WireSocket"]

PERMISSION_LIFETIME = 300.0
HISTORY = 1000
"""States that are remembered."""


class WireSocket(SuperSocket):
    """A connection with a server as a socket of scapy: one frame after the other, as `StunMessage` or `ChannelData`."""

    desc = "frames of STUN and TURN on a connection with a server"

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self._frames: deque[bytes] = deque()

    def recv(self, x: int | None = None, **kwargs: Any) -> Packet | None:
        """The next frame, or None. Raises `EOFError` when the connection has ended."""
        if not self._frames:
            try:
                self._frames.extend(self.wire.read())
            except OSError as error:
                raise EOFError(str(error)) from error
        if not self._frames:
            return None
        frame = self._frames.popleft()
        packet: Packet = Turn(frame) if frame else Raw()
        packet.time = time.time()
        return packet

    def send(self, x: Packet) -> int:
        """Send one frame."""
        x.sent_time = time.time()
        return self.wire.send(x)

    def fileno(self) -> int:
        """For select(2)."""
        return self.wire.fileno()

    def close(self) -> None:
        """Close the connection."""
        self.closed = True
        self.wire.close()

    @staticmethod
    def select(sockets: Any, remain: float | None = None) -> Any:
        """Those that can be read; one that has read more frames than it has given is among them at once."""
        filled = [one for one in sockets if isinstance(one, WireSocket) and one._frames]
        ready = SuperSocket.select(sockets, 0 if filled else remain)
        return [*filled, *(one for one in ready if one not in filled)]


class TurnAutomaton(Automaton):
    """``TurnAutomaton(("192.0.2.1", 3478), "alice", "secret")``: it allocates, renews, and lets go when it is stopped.

    Packets to peers go in at ``io.peer.send(IP()/UDP()/…)``, those from peers come out of ``io.peer.recv()``, with the
    addresses as for `TurnSocket`. A peer gets a permission or, with ``channels=True``, a channel; what the server
    refuses is in ``refused``, and ``inbox.dropped`` counts packets that nobody has read in time. ``allocated`` is set
    as long as there is an allocation, and ``relayed`` is its address; ``history`` has the names of the states that it
    was in. ``with TurnAutomaton(…) as life:`` begins, waits for the allocation, and deletes it at the end.

    Wrong credentials and the like end in the state REFUSED, a server without answers in SILENT; `run` raises
    ``ErrorState`` for both, and `EOFError` when a stream ends. Like any automaton it has breakpoints, the ``graph()``
    of its class, and interception points, at which a request can be replaced before it is sent.
    """

    MARGIN: ClassVar[float] = 60.0
    """Seconds before its end at which something is renewed, or half of its life if that is shorter."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        # The pipe that scapy makes has no bound, and blocks the automaton after 65536 packets that nobody reads.
        self.ioout["peer"].close()
        self.inbox = self.ioout["peer"] = self.io.peer.rd = self.oi.peer.wr = Inbox("peer")

    def parse_args(
        self,
        server: Peer,
        username: str,
        password: str,
        *,
        transport: str = "udp",
        context: ssl.SSLContext | None = None,
        family: int = 4,
        lifetime: int = 600,
        channels: bool = False,
        patience: float = 10.0,
        prefer_sha256: bool = True,
        **more: Any,
    ) -> None:
        """Take the options, and connect. Raises `OSError` if there is no connection."""
        super().parse_args(**more)
        # scapy keeps the timers in the class, and so shares them between automata.
        self.timeout = copy.deepcopy(self.timeout)
        self.family, self.lifetime, self.channels, self.patience = family, lifetime, channels, patience
        self.credential = Credential(username, password, prefer_sha256=prefer_sha256)
        self.history: list[str] = []
        self.allocated = threading.Event()
        self.relayed: Peer = ("0.0.0.0", 0)
        self.refused: dict[str, str] = {}
        self.numbers: dict[Peer, int] = {}
        self._request: StunMessage | None = None
        self._ticks = self._challenges = 0
        self._due: dict[Peer | None, float] = {}
        self._permitted: set[str] = set()
        self._sources: dict[Peer, Peer] = {}
        self._subject: Peer = ("0.0.0.0", 0)
        self._pending: tuple[Peer, bytes] | None = None
        link = WireSocket(Wire(server, transport, context=context))
        self.send_sock_class = self.recv_sock_class = lambda **_: link

    def __enter__(self) -> Self:
        try:
            self.runbg()
            while not self.allocated.wait(0.05):
                if not self.isrunning():
                    self.run()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Delete the allocation if there is one, and close everything. Does nothing the second time."""
        self.stop()
        self.destroy()

    @ATMT.state(initial=1)
    def BEGIN(self) -> Any:
        """Connected."""
        self._enter("BEGIN")

    @ATMT.state()
    def ALLOCATING(self) -> Any:
        """Allocate is under way; a second time with the nonce of a 401."""
        self._enter("ALLOCATING")
        wanted: list[Packet] = [StunRequestedTransport(), StunLifetime(lifetime=self.lifetime)]
        if self.family == 6:
            wanted.append(StunRequestedAddressFamily(family=2))
        self._ask("Allocate", *wanted)

    @ATMT.state()
    def ALLOCATED(self) -> Any:
        """Nothing is under way."""
        self._enter("ALLOCATED")
        pending, self._pending = self._pending, None
        if pending is not None:
            self._relay(*pending)
        timer = self.timer_by_name("something_is_due")
        if timer is not None:
            timer.set(max(0.0, min(self._due.values(), default=3600.0) - time.monotonic()))

    @ATMT.state()
    def REFRESHING(self) -> Any:
        """Refresh is under way."""
        self._enter("REFRESHING")
        self._ask("Refresh", StunLifetime(lifetime=self.lifetime))

    @ATMT.state()
    def PERMITTING(self) -> Any:
        """CreatePermission is under way, or ChannelBind."""
        self._enter("PERMITTING")
        host, port = self._subject
        if self.channels:
            number = self.numbers.get(self._subject, 0x4000 + len(self.numbers))
            self._ask("ChannelBind", StunChannelNumber(number=number), StunXorPeerAddress(address=host, port=port))
        else:
            self._ask("CreatePermission", StunXorPeerAddress(address=host, port=port))

    @ATMT.state(stop=1)
    def RELEASING(self) -> Any:
        """A Refresh with lifetime 0 is under way, if there is something to delete."""
        self._enter("RELEASING")
        self.patience = min(self.patience, 2.0)
        if self.allocated.is_set():
            self._ask("Refresh", StunLifetime(lifetime=0))

    @ATMT.state(final=1)
    def ENDED(self) -> Any:
        """No allocation is left."""
        self._enter("ENDED")
        self.allocated.clear()
        return list(self.history)

    @ATMT.state(error=1)
    def REFUSED(self, response: StunMessage) -> Any:
        """The server does not want this client, or has lost its allocation."""
        self._enter("REFUSED")
        self.allocated.clear()
        return _words(response)

    @ATMT.state(error=1)
    def SILENT(self) -> Any:
        """A request was sent again and again (RFC 8489 §6.2.1), and there is no answer."""
        self._enter("SILENT")
        self.allocated.clear()
        return "no answer"

    @ATMT.condition(BEGIN)
    def connected(self) -> None:
        """Go on at once."""
        raise self.ALLOCATING()

    @ATMT.receive_condition(ALLOCATING)
    def allocate_is_answered(self, packet: Packet) -> None:
        """A challenge, an allocation, or a refusal."""
        answer = self._answer(packet)
        if answer is None:
            return
        if self._is_challenge(answer):
            raise self.ALLOCATING()
        if answer.error is not None:
            raise self.REFUSED(answer)
        found = answer.attribute(StunXorRelayedAddress)
        self.relayed = self.relayed if found is None else (found.address, found.port)
        self._keep(None, _lifetime(answer))
        self.allocated.set()
        raise self.ALLOCATED()

    @ATMT.timer(ALLOCATING, RETRANSMISSION)
    def allocate_is_late(self) -> None:
        """Ask again, or give up."""
        if self._is_lost():
            raise self.SILENT()

    @ATMT.ioevent(ALLOCATED, name="peer")
    def a_packet_is_to_be_sent(self, pipe: Any) -> None:
        """Relay it; if nobody has allowed that yet, ask first."""
        packet = pipe.recv()
        try:
            source, peer, data = ends(packet, self.family)
        except (ValueError, AttributeError) as error:
            log_runtime.warning("not relayed: %s", error)
            return
        self._sources[peer] = source
        if not self._relay(peer, data):
            self._subject, self._pending = peer, (peer, data)
            raise self.PERMITTING()

    @ATMT.receive_condition(ALLOCATED)
    def a_packet_has_come(self, packet: Packet) -> None:
        """From a peer, or an answer that nobody waits for."""
        self._answer(packet)

    @ATMT.timeout(ALLOCATED, 60.0)
    def something_is_due(self) -> None:
        """Renew what comes first."""
        now = time.monotonic()
        which = min(self._due, key=self._due.__getitem__)
        if which is None:
            raise self.REFRESHING()
        self._due[which] = now + self.MARGIN
        self._subject = which
        raise self.PERMITTING()

    @ATMT.receive_condition(REFRESHING)
    def refresh_is_answered(self, packet: Packet) -> None:
        """It lives on, or it does not (RFC 8656 §7)."""
        answer = self._answer(packet)
        if answer is None:
            return
        if self._is_challenge(answer):
            raise self.REFRESHING()
        if answer.error is not None:
            raise self.REFUSED(answer)
        self._keep(None, _lifetime(answer))
        raise self.ALLOCATED()

    @ATMT.timer(REFRESHING, RETRANSMISSION)
    def refresh_is_late(self) -> None:
        """Ask again, or give up."""
        if self._is_lost():
            raise self.SILENT()

    @ATMT.receive_condition(PERMITTING)
    def permission_is_answered(self, packet: Packet) -> None:
        """A peer that is refused is no reason to end."""
        answer = self._answer(packet)
        if answer is None:
            return
        if self._is_challenge(answer):
            raise self.PERMITTING()
        if answer.error is not None:
            self.refused[self._subject[0]] = _words(answer)
            self._due.pop(self._subject, None)
            self._pending = None
        else:
            self._keep(self._subject, PERMISSION_LIFETIME)
            self._permitted.add(self._subject[0])
            if self.channels:
                self.numbers.setdefault(self._subject, 0x4000 + len(self.numbers))
        raise self.ALLOCATED()

    @ATMT.timer(PERMITTING, RETRANSMISSION)
    def permission_is_late(self) -> None:
        """Ask again, or give up."""
        if self._is_lost():
            raise self.SILENT()

    @ATMT.condition(RELEASING)
    def nothing_is_left(self) -> None:
        """It never had an allocation."""
        if not self.allocated.is_set():
            raise self.ENDED()

    @ATMT.receive_condition(RELEASING)
    def release_is_answered(self, packet: Packet) -> None:
        """Whatever the answer is."""
        answer = self._answer(packet)
        if answer is None:
            return
        if self._is_challenge(answer):
            raise self.RELEASING()
        raise self.ENDED()

    @ATMT.timer(RELEASING, RETRANSMISSION)
    def release_is_late(self) -> None:
        """It expires by itself."""
        if self._is_lost():
            raise self.ENDED()

    @ATMT.eof(RELEASING)
    def connection_has_ended(self) -> None:
        """An allocation ends with its connection."""
        raise self.ENDED()

    def renewal(self, lifetime: float) -> float:
        """Seconds after which something with this lifetime is renewed."""
        return max(lifetime - self.MARGIN, lifetime / 2)

    def _enter(self, state: str) -> None:
        self.history.append(state)
        del self.history[:-HISTORY]

    def _ask(self, method: str, *attributes: Packet) -> None:
        self._ticks = 0
        self._request = self.credential.request(method, *attributes)
        self.send(self._request)

    def _is_lost(self) -> bool:
        """A tick of half a second has passed: send again at 0.5, 1.5, 3.5 … seconds; True after all patience."""
        self._ticks += 1
        if self._ticks * RETRANSMISSION >= self.patience:
            return True
        again = self._ticks & (self._ticks + 1) == 0
        if again and self._request is not None and self.listen_sock.wire.datagrams:  # type: ignore[union-attr]
            self.send(self._request)
        return False

    def _answer(self, packet: Packet) -> StunMessage | None:
        """The response to what is under way, if it is one and signed (RFC 8489 §9.2.5); all else is dealt with."""
        if isinstance(packet, ChannelData):
            peer = next((peer for peer, number in self.numbers.items() if number == packet.number), None)
            self._heard(peer, bytes(packet.payload)[: packet.length])
        elif isinstance(packet, StunMessage) and packet.msgclass == INDICATION:
            source, data, icmp = (packet.attribute(kind) for kind in (StunXorPeerAddress, StunData, StunIcmp))
            if source is not None and (data is not None or icmp is not None):
                self._heard((source.address, source.port), icmp if icmp is not None else bytes(data.data))
        elif isinstance(packet, StunMessage) and self._request is not None and packet.answers(self._request):
            sealed = self.credential.nonce is None or verify(packet, self.credential.key).ok
            if sealed or packet.error in {400, 401, 420, 438, 500}:
                self._request = None
                return packet
        return None

    def _is_challenge(self, answer: StunMessage) -> bool:
        """Whether the same can be asked with the nonce of this answer."""
        stale = answer.error == 438 or (answer.error == 401 and self.credential.nonce is None)
        if stale and self._challenges < 2 and self.credential.learn(answer):
            self._challenges += 1
            return True
        self._challenges = 0
        return False

    def _keep(self, which: Peer | None, lifetime: float) -> None:
        self._due[which] = time.monotonic() + self.renewal(lifetime)

    def _relay(self, peer: Peer, data: bytes) -> bool:
        """Send to a peer, if there is a way to it."""
        if peer in self.numbers:
            self.send(ChannelData(number=self.numbers[peer]) / Raw(data))
        elif not self.channels and peer[0] in self._permitted:
            parts = [StunXorPeerAddress(address=peer[0], port=peer[1]), StunData(data=data)]
            self.send(StunMessage(method="Send", msgclass="indication", attributes=parts))
        else:
            return False
        return True

    def _heard(self, peer: Peer | None, what: Any) -> None:
        """Give what a peer has sent to whoever reads, if it is of this family and not too much."""
        if peer is None or (":" in peer[0]) != (self.family == 6):
            return
        to = self._sources.get(peer, self.relayed)
        self.oi.peer.send(reported(peer, to, what) if isinstance(what, StunIcmp) else datagram(peer, to, what))


def _lifetime(response: StunMessage) -> float:
    found = response.attribute(StunLifetime)
    return float(found.lifetime) if found is not None else 600.0


def _words(response: StunMessage) -> str:
    """The code and the reason phrase of an error response."""
    found = response.attribute(StunErrorCode)
    return f"{response.error}" if found is None else found.told()
