"""The media sections of the SFU's offers: who and what is in each.

A section is used again for another participant when its own has left. The id of its media stream is the peer id, with
``.screen`` after it for a shared screen and its sound.
"""

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from aiortc import RTCPeerConnection

from turnserver.client.ice import ice_transport
from turnserver.client.streams import source_named
from turnserver.signaling.protocol.fields import MediaSource

__all__ = ["SfuSection", "offered", "route"]

_SCREEN: Final = ".screen"
_REPAIRED: Final = "_RTCRtpReceiver__rtx_ssrc"
"""aiortc's own table of RTX streams; there is no public way to it."""

_SECTION: Final = re.compile(r"^m=(audio|video) ([0-9]{1,5}) ")
_MID: Final = re.compile(r"^a=mid:(\S{1,64})", re.MULTILINE)
_STREAM: Final = re.compile(r"^a=msid:(\S{1,64})", re.MULTILINE)
_SILENT: Final = re.compile(r"^a=(?:recvonly|inactive)\s*$", re.MULTILINE)
_SSRC: Final = re.compile(r"^a=ssrc:([0-9]{1,10}) ", re.MULTILINE)
_REPAIR: Final = re.compile(r"^a=ssrc-group:FID ([0-9]{1,10}) ([0-9]{1,10})\s*$", re.MULTILINE)


class SfuSection(NamedTuple):
    """A media section of the SFU's offer that sends something."""

    peer: str
    source: MediaSource
    ssrcs: tuple[int, ...]
    repair: tuple[int, int] | None
    """The SSRC of what is sent, and that of what is sent again (RFC 4588)."""


def offered(sdp: str) -> dict[str, SfuSection]:
    """What a description of the SFU's offers to send, by ``mid``."""
    found = {}
    for text in sdp.split("\nm=")[1:]:
        section = "m=" + text
        kind, mid, stream = _SECTION.match(section), _MID.search(section), _STREAM.search(section)
        if kind is None or mid is None or stream is None or int(kind[2]) == 0 or _SILENT.search(section):
            continue
        source = source_named(kind[1], screen=stream[1].endswith(_SCREEN))
        repair = _REPAIR.search(section)
        pair = None if repair is None else (int(repair[1]), int(repair[2]))
        ssrcs = tuple(dict.fromkeys(int(each) for each in _SSRC.findall(section)))
        found[mid[1]] = SfuSection(stream[1].removesuffix(_SCREEN), source, ssrcs, pair)
    return found


def route(pc: RTCPeerConnection, sections: Mapping[str, SfuSection]) -> None:
    """Tell aiortc of streams in sections that were another participant's before.

    It learns the SSRCs of a section once, and drops packets with others (RFC 9143 §9.2 has them from the section).
    """
    transport = ice_transport(pc)
    if transport is None:
        return
    for transceiver in pc.getTransceivers():
        section, receiver = sections.get(transceiver.mid or ""), transceiver.receiver
        router = receiver.transport._rtp_router
        if section is None or receiver not in router.receivers:
            continue
        for ssrc in section.ssrcs:
            router.ssrc_table[ssrc] = receiver
        if section.repair is not None:
            getattr(receiver, _REPAIRED)[section.repair[1]] = section.repair[0]
