# SPDX-License-Identifier: GPL-2.0-or-later
"""Packets of IP and UDP for what a socket or a relay has brought without these headers, and where they wait."""

import threading
from typing import Any

from scapy.automaton import ObjectPipe
from scapy.layers.inet import ICMP, IP, UDP, IPerror, UDPerror
from scapy.layers.inet6 import ICMPv6DestUnreach, ICMPv6PacketTooBig, ICMPv6TimeExceeded, IPerror6, IPv6
from scapy.packet import Packet

__all__ = ["Inbox", "Peer", "datagram", "ends", "reported"]

Peer = tuple[str, int]
"""Address and port of a peer, or of anything else."""


def datagram(source: Peer, to: Peer, data: bytes, layer: type[Packet] | None = None) -> Packet:
    """What a datagram would look like on the way between two addresses of one family.

    It is dissected by its ports, or as ``layer``.
    """
    network = IPv6(src=source[0], dst=to[0]) if ":" in source[0] else IP(src=source[0], dst=to[0])
    made = network / UDP(sport=source[1], dport=to[1])
    if layer is not None and data:
        return made / layer(data)
    return type(network)(bytes(made / data))


def ends(packet: Packet, family: int) -> tuple[Peer, Peer, bytes]:
    """Source, destination and payload of a datagram of a family, 4 or 6.

    Raises `ValueError` for a packet without IP of this family and UDP.
    """
    network: Any = packet.getlayer(IPv6 if family == 6 else IP)
    found: Any = None if network is None else network.getlayer(UDP)
    if found is None:
        raise ValueError(f"a relay carries UDP over {'IPv6' if family == 6 else 'IPv4'} only")
    return (network.src, found.sport), (network.dst, found.dport), bytes(found.payload)


def reported(peer: Peer, to: Peer, icmp: Any) -> Packet:
    """The ICMP error as it would have come from a peer; about the packet that was sent, whose source port it has."""
    if ":" not in peer[0]:
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


class Inbox(ObjectPipe[Packet]):
    """Packets that wait to be read. What comes when it is full is dropped and counted, as a full socket would."""

    LIMIT = 1000

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.dropped = 0
        self._waiting = 0
        self._lock = threading.Lock()

    def send(self, obj: Packet) -> int:
        """1, or 0 for a packet that was dropped."""
        with self._lock:
            if self._waiting >= self.LIMIT:
                self.dropped += 1
                return 0
            self._waiting += 1
        return super().send(obj)

    def recv(self, n: int | None = 0, options: Any = 0) -> Packet | None:
        """The next packet; waits for one."""
        packet = super().recv(n, options)
        with self._lock:
            self._waiting -= 1
        return packet
