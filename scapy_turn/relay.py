# SPDX-License-Identifier: GPL-2.0-or-later
"""A super-socket through a relay: packets of IP and UDP go out of it as if the relay had sent them."""

import ssl
import threading
import time
from typing import Any

from scapy.packet import Packet
from scapy.supersocket import SuperSocket

from scapy_turn.allocation import Allocation
from scapy_turn.datagrams import Inbox, Peer, datagram, ends, reported
from scapy_turn.integrity import Credential
from scapy_turn.turn_attributes import StunIcmp
from scapy_turn.wire import Wire

__all__ = ["TurnSocket"]


class TurnSocket(SuperSocket):
    """Send and receive through a TURN server: ``TurnSocket(("192.0.2.1", 3478), "alice", "secret")``.

    ``sr1(IP(dst=…)/UDP(dport=…)/…)`` of it works as that of any socket: the payload goes to this address and port, and
    an answer comes back with the addresses and ports exchanged, whatever source the packet had. A packet from somebody
    to whom nothing was sent is addressed to the relay's address. ICMP errors that the server reports are packets, too.

    Every destination gets a channel; with ``channels=False`` a permission and Send indications. ``family=6`` relays
    IPv6. Everything is renewed until `close`. Raises `scapy_turn.allocation.Refused` or `NoAnswer`.
    """

    desc = "send and receive through a TURN server"
    closed = True  # scapy closes whatever is collected, also what was given a wrong argument

    def __init__(
        self,
        server: Peer,
        username: str,
        password: str,
        *,
        transport: str = "udp",
        context: ssl.SSLContext | None = None,
        family: int = 4,
        channels: bool = True,
        lifetime: int = 600,
        patience: float = 10.0,
        prefer_sha256: bool = True,
    ) -> None:
        self.family, self.channels = family, channels
        self._lock = threading.Lock()
        self._sources: dict[Peer, tuple[str, int]] = {}
        self._pipe = Inbox("TurnSocket")
        credential = Credential(username, password, prefer_sha256=prefer_sha256)
        try:
            self.allocation = Allocation(
                Wire(server, transport, context=context),
                credential,
                self._heard,
                family=2 if family == 6 else 1,
                lifetime=lifetime,
                patience=patience,
            )
        except BaseException:
            self._pipe.close()
            raise
        self.ins = self.outs = self._pipe  # type: ignore[assignment]
        self.closed = False

    @property
    def dropped(self) -> int:
        """Packets that there was no room for, since nobody has read so many."""
        return self._pipe.dropped

    @property
    def relayed(self) -> Peer:
        """The address that peers see."""
        return self.allocation.relayed

    def send(self, x: Packet) -> int:
        """Send the payload of a packet's UDP layer to its destination.

        Raises `ValueError` for a packet without IP or UDP, and what `Allocation.send` raises.
        """
        source, peer, data = ends(x, self.family)
        with self._lock:
            self._sources[peer] = source
        x.sent_time = time.time()
        self.allocation.send(peer, data, channel=self.channels)
        return len(data)

    def recv(self, x: int | None = None, **kwargs: Any) -> Packet | None:
        """The next packet; waits for one."""
        return self._pipe.recv()

    def fileno(self) -> int:
        """For select(2)."""
        return self._pipe.fileno()

    def close(self) -> None:
        """Delete the allocation."""
        if not self.closed:
            self.closed = True
            self.allocation.close()
            self._pipe.close()

    def _heard(self, peer: Peer, what: bytes | StunIcmp) -> None:
        """Queue what a peer has sent; in the allocation's thread. A server can say anything of whom it is from."""
        if (":" in peer[0]) != (self.family == 6):
            return
        with self._lock:
            to = self._sources.get(peer) or self.relayed
        packet = reported(peer, to, what) if isinstance(what, StunIcmp) else datagram(peer, to, what)
        packet.time = time.time()
        self._pipe.send(packet)
