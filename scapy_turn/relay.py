# SPDX-License-Identifier: GPL-2.0-or-later
"""A super-socket through a relay: packets of IP and UDP go out of it as if the relay had sent them."""

import ssl
import threading
import time
from typing import Any

from scapy.automaton import ObjectPipe
from scapy.layers.inet import ICMP, IP, UDP, IPerror, UDPerror
from scapy.layers.inet6 import ICMPv6DestUnreach, ICMPv6PacketTooBig, ICMPv6TimeExceeded, IPerror6, IPv6
from scapy.packet import Packet
from scapy.supersocket import SuperSocket

from scapy_turn.allocation import Allocation, Peer
from scapy_turn.integrity import Credential
from scapy_turn.turn_attributes import StunIcmp
from scapy_turn.wire import Wire

__all__ = ["TurnSocket"]

QUEUE = 1000
"""Packets that wait to be read; what comes then is dropped, as a full socket would."""


class TurnSocket(SuperSocket):
    """Send and receive through a TURN server: ``TurnSocket(("192.0.2.1", 3478), "alice", "secret")``.

    ``sr1(IP(dst=…)/UDP(dport=…)/…)`` of it works as that of any socket: the payload goes to this address and port, and
    an answer comes back with the addresses and ports exchanged, whatever source the packet had. A packet from somebody
    to whom nothing was sent is addressed to the relay's address. ICMP errors that the server reports are packets, too.

    Every destination gets a channel; with ``channels=False`` a permission and Send indications. ``family=6`` relays
    IPv6. Everything is renewed until `close`. Raises `scapy_turn.allocation.Refused` or `NoAnswer`.
    """

    desc = "send and receive through a TURN server"

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
        self.closed = True
        self.family, self.channels = family, channels
        self.dropped = 0
        self._waiting = 0
        self._lock = threading.Lock()
        self._sources: dict[Peer, tuple[str, int]] = {}
        self._pipe: ObjectPipe[Packet] = ObjectPipe("TurnSocket")
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
    def relayed(self) -> Peer:
        """The address that peers see."""
        return self.allocation.relayed

    def send(self, x: Packet) -> int:
        """Send the payload of a packet's UDP layer to its destination.

        Raises `ValueError` for a packet without IP or UDP, and what `Allocation.send` raises.
        """
        network = x.getlayer(IPv6 if self.family == 6 else IP)
        datagram = None if network is None else network.getlayer(UDP)
        if network is None or datagram is None:
            raise ValueError(f"a relay carries UDP over {'IPv6' if self.family == 6 else 'IPv4'} only")
        peer, data = (network.dst, datagram.dport), bytes(datagram.payload)
        with self._lock:
            self._sources[peer] = (network.src, datagram.sport)
        x.sent_time = time.time()
        self.allocation.send(peer, data, channel=self.channels)
        return len(data)

    def recv(self, x: int | None = None, **kwargs: Any) -> Packet | None:
        """The next packet; waits for one."""
        packet = self._pipe.recv()
        with self._lock:
            self._waiting -= 1
        return packet

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
            source = self._sources.get(peer)
            if self._waiting >= QUEUE:
                self.dropped += 1
                return
        to = source or self.relayed
        packet = self._error(peer, to, what) if isinstance(what, StunIcmp) else self._packet(peer, to, what)
        packet.time = time.time()
        with self._lock:
            self._waiting += 1
        self._pipe.send(packet)

    def _packet(self, peer: Peer, to: Peer, data: bytes) -> Packet:
        """What a datagram would look like if it had come without a relay; dissected by its ports."""
        network = IPv6(src=peer[0], dst=to[0]) if self.family == 6 else IP(src=peer[0], dst=to[0])
        made = network / UDP(sport=peer[1], dport=to[1]) / data
        return type(network)(bytes(made))

    def _error(self, peer: Peer, to: Peer, icmp: StunIcmp) -> Packet:
        """The ICMP error as it would have come; about the packet that was sent, whose source port it has."""
        if self.family != 6:
            made = IP(src=peer[0], dst=to[0]) / ICMP(type=icmp.icmp_type, code=icmp.icmp_code)
            if (icmp.icmp_type, icmp.icmp_code) == (3, 4):
                made[ICMP].nexthopmtu = icmp.icmp_data & 0xFFFF
            return made / IPerror(src=to[0], dst=peer[0], proto=17) / UDPerror(sport=to[1], dport=peer[1])
        kinds = {2: ICMPv6PacketTooBig, 3: ICMPv6TimeExceeded}
        error: Packet = kinds.get(icmp.icmp_type, ICMPv6DestUnreach)(code=icmp.icmp_code)
        if icmp.icmp_type == 2:
            error.mtu = icmp.icmp_data
        inner = IPerror6(src=to[0], dst=peer[0], nh=17) / UDPerror(sport=to[1], dport=peer[1])
        return IPv6(src=peer[0], dst=to[0]) / error / inner
