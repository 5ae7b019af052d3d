# SPDX-License-Identifier: GPL-2.0-or-later
"""Which layer a datagram is, by its first byte (RFC 7983), and on which ports scapy looks for it."""

import sys
from typing import Any

from scapy.layers.inet import TCP, UDP
from scapy.packet import Packet, Raw, bind_top_down, split_bottom_up

from scapy_turn.message import ChannelData, StunMessage, reassembled

__all__ = ["PORTS", "Turn", "bind", "unbind"]

PORTS = (3478, 5349)
"""RFC 8489 §18.6: without and with TLS or DTLS."""


class Turn(Packet):
    """Whatever is sent to a TURN server's port: never made, it stands for the layer that the first byte says."""

    name = "TURN"
    fields_desc = []

    @classmethod
    def dispatch_hook(cls, _pkt: bytes = b"", *args: Any, **kwargs: Any) -> type[Packet]:
        """0 to 3 is STUN, 20 to 63 DTLS or TLS, 64 to 79 ChannelData, 128 to 191 RTP and RTCP."""
        first = _pkt[0] if _pkt else 255
        if first < 4:
            return StunMessage.dispatch_hook(_pkt)
        if 64 <= first < 80:
            return ChannelData.dispatch_hook(_pkt)
        if 20 <= first < 64:
            return _known("scapy.layers.tls.record", "TLS") if _over_tcp(kwargs) else Raw
        return _known("scapy.layers.rtp", "RTP") if _is_rtp(_pkt) else Raw

    @classmethod
    def tcp_reassemble(cls, data: bytes, metadata: dict[str, Any], session: dict[str, Any]) -> Packet | None:
        """The whole frames at the beginning of a stream (`scapy_turn.message.reassembled`)."""
        return reassembled(data)


def _is_rtp(data: bytes) -> bool:
    """Not RTCP (RFC 5761 §4), with the whole header (RFC 3550 §5.1, §5.3.1): scapy's layer raises otherwise."""
    if not data or not 128 <= data[0] < 192 or len(data) < 12 or 192 <= data[1] < 224:
        return False
    size = 12 + 4 * (data[0] & 15)
    if data[0] & 16:
        size += 4 + 4 * int.from_bytes(data[size + 2 : size + 4], "big")
    return size <= len(data)


def _over_tcp(kwargs: dict[str, Any]) -> bool:
    return isinstance(kwargs.get("_underlayer"), TCP)


def _known(module: str, name: str) -> type[Packet]:
    """A layer that scapy has loaded already; it is for the user to say what else is dissected."""
    found: type[Packet] = getattr(sys.modules.get(module), name, Raw)
    return found


def bind(port: int) -> None:
    """Look for STUN and TURN on another port, too, over UDP and TCP: ``bind(443)``.

    It comes before what is bound to the port already, `scapy.contrib.stun` for example.
    """
    unbind(port)
    for lower in (UDP, TCP):
        ours: list[tuple[dict[str, Any], type[Packet]]] = [({"dport": port}, Turn), ({"sport": port}, Turn)]
        lower.payload_guess = [*ours, *lower.payload_guess]


def unbind(port: int) -> None:
    """Look there no longer, and leave the port to whoever else is bound to it."""
    for lower in (UDP, TCP):
        split_bottom_up(lower, Turn, dport=port)
        split_bottom_up(lower, Turn, sport=port)


for _port in PORTS:
    bind(_port)
for _lower in (UDP, TCP):
    for _layer in (StunMessage, ChannelData):
        bind_top_down(_lower, _layer, sport=PORTS[0], dport=PORTS[0])
