"""Adapts the ICE servers and candidates of `signal.v1` to aiortc.

aiortc takes one TURN server, without an IPv6 literal in its URL. It does not trickle candidates, but accepts trickled
ones. All media are bundled, so that there is one ICE transport, and one relayed transport address, per pair.
"""

import re
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from aioice.stun import TransactionError
from aiortc import (
    RTCBundlePolicy,
    RTCConfiguration,
    RTCIceServer,
    RTCIceTransport,
    RTCPeerConnection,
)
from aiortc.rtcconfiguration import RTCIceTransportPolicy
from aiortc.rtcicetransport import RTCIceCandidate
from aiortc.sdp import candidate_from_sdp

from turnserver.signaling.protocol.fields import RELAY_TRANSPORTS, Ice, RelayTransport

__all__ = [
    "MAX_CANDIDATES",
    "Chosen",
    "IceChoice",
    "answers",
    "bundle_tag",
    "candidate_types",
    "candidates_of",
    "chosen_pair",
    "flow",
    "ice_transport",
    "ice_ufrag",
    "read_candidate",
    "traffic",
]

_URL: Final = re.compile(r"(turns?):([A-Za-z0-9._-]{1,253})(?::[0-9]{1,5})?(?:\?transport=(udp|tcp))?")
_MAX_CANDIDATE: Final = 512
MAX_CANDIDATES: Final = 64
"""Candidates of a description that are looked at."""
_REPETITIONS: Final = 3
"""How often a check is sent again without an answer: after 0.5, 1.5 and 3.5 s. It has failed after 7.5 s."""


@dataclass(frozen=True, slots=True)
class IceChoice:
    """The TURN server that is used, of those that the server offers."""

    url: str = ""
    """Empty if none can be used."""
    username: str = ""
    credential: str = ""
    transport: RelayTransport | None = None
    relay_only: bool = False
    tls: ssl.SSLContext | None = None
    """How to check the certificate of a ``turns:`` server; None for the system's roots."""

    def __repr__(self) -> str:
        return f"IceChoice({self.url!r}, relay_only={self.relay_only})"

    @classmethod
    def of(
        cls,
        ice: Ice | None,
        *,
        via: RelayTransport | None = None,
        relay_only: bool = False,
        tls: ssl.SSLContext | None = None,
    ) -> "IceChoice":
        """Choose one of the offered servers: one over ``via``, or the one with the fastest transport."""
        only = relay_only or (ice is not None and ice.policy == "relay")
        found: dict[RelayTransport, IceChoice] = {}
        for server in () if ice is None else ice.servers:
            for url in server.urls:
                transport = _transport_of(url)
                if transport is not None and transport not in found:
                    found[transport] = cls(url, server.username, server.credential, transport, only, tls)
        for transport in RELAY_TRANSPORTS if via is None else (via,):
            if transport in found:
                return found[transport]
        return cls(relay_only=only)

    def configuration(self) -> RTCConfiguration:
        """The same for aiortc."""
        servers = [RTCIceServer(self.url, self.username, self.credential)] if self.url else []
        policy = RTCIceTransportPolicy.RELAY if self.relay_only else RTCIceTransportPolicy.ALL
        return RTCConfiguration(servers, policy, RTCBundlePolicy.MAX_BUNDLE)

    def prepare(self, connection: RTCPeerConnection) -> None:
        """Apply ``tls``, for which aiortc has no setting; to be called before candidates are gathered."""
        transport = ice_transport(connection)
        if self.tls is not None and self.transport == "tls" and transport is not None:
            # aioice passes this value to `loop.create_connection`, which takes a context as well as a flag.
            setattr(transport._connection, "turn_ssl", self.tls)  # noqa: B010  its annotation knows the flag only


@dataclass(frozen=True, slots=True)
class Chosen:
    """The candidate pair that ICE has nominated."""

    local: str
    """Type of the candidate: ``host``, ``srflx``, ``prflx`` or ``relay``."""
    remote: str
    local_address: str
    remote_address: str

    @property
    def path(self) -> Literal["relay", "direct"]:
        """``relay`` if either candidate is relayed."""
        return "relay" if "relay" in (self.local, self.remote) else "direct"


def ice_transport(connection: RTCPeerConnection) -> RTCIceTransport | None:
    """The ICE transport of a connection; None while it has no media and no data channel."""
    for transceiver in connection.getTransceivers():
        if not transceiver._bundled:
            return transceiver.receiver.transport.transport
    return None if connection.sctp is None else connection.sctp.transport.transport


def chosen_pair(connection: RTCPeerConnection) -> Chosen | None:
    """The nominated candidate pair; None before nomination. aiortc has no public way to read it."""
    transport = ice_transport(connection)
    pair = None if transport is None else transport._connection._nominated.get(1)
    if pair is None:
        return None
    local, remote = pair.local_candidate, pair.remote_candidate
    return Chosen(local.type, remote.type, f"{local.host} {local.port}", f"{remote.host} {remote.port}")


def candidate_types(connection: RTCPeerConnection | None) -> tuple[list[str], list[str]]:
    """The types of our candidates and of theirs, sorted; none without a connection."""
    transport = None if connection is None else ice_transport(connection)
    if transport is None:
        return [], []
    ours = {candidate.type for candidate in transport.iceGatherer.getLocalCandidates()}
    theirs = {candidate.type for candidate in transport.getRemoteCandidates()}
    return sorted(ours), sorted(theirs)


async def traffic(connection: RTCPeerConnection) -> tuple[int, int]:
    """Bytes sent and received over a connection: DTLS, media and data, but not the checks of ICE."""
    sent = received = 0
    for entry in (await connection.getStats()).values():
        if entry.type == "transport":
            sent, received = entry.bytesSent, entry.bytesReceived
    return sent, received


async def flow(connection: RTCPeerConnection) -> tuple[int, int]:
    """Packets of media sent, and bytes received, which are those of `traffic`."""
    sent = received = 0
    for entry in (await connection.getStats()).values():
        if entry.type == "outbound-rtp":
            sent += entry.packetsSent
        elif entry.type == "transport":
            received = entry.bytesReceived
    return sent, received


async def answers(connection: RTCPeerConnection) -> bool:
    """Whether the other end answers a check on the chosen path now (RFC 7675 §5.1); aioice asks every 5 s only.

    This takes 7.5 s if it does not. It has to be cancelled before the connection is closed.
    """
    transport = ice_transport(connection)
    agent = None if transport is None else transport._connection
    pair = None if agent is None else agent._nominated.get(1)
    if agent is None or pair is None or agent.remote_password is None:
        return False
    try:
        await pair.protocol.request(
            agent.build_request(pair, nominate=False),
            pair.remote_addr,
            integrity_key=agent.remote_password.encode(),
            retransmissions=_REPETITIONS,
        )
    except (TransactionError, OSError):
        return False
    return True


def ice_ufrag(sdp: str) -> str:
    """The username fragment of a description's first section; a changed one is an ICE restart (RFC 8839 §4.4.1)."""
    return _first(r"^a=ice-ufrag:(\S{1,256})", sdp)


def bundle_tag(sdp: str) -> str:
    """The section whose transport carries the whole bundle (RFC 9143 §7.2)."""
    return _first(r"^a=group:BUNDLE (\S{1,64})", sdp)


def candidates_of(sdp: str) -> Iterator[str]:
    """The candidates of a description, bounded in number; those of a bundle are in one of its sections or in all."""
    for count, found in enumerate(re.finditer(r"^a=(candidate:[^\r\n]*)", sdp, re.MULTILINE)):
        if count >= MAX_CANDIDATES:
            return
        yield found[1]


def read_candidate(line: str) -> RTCIceCandidate | None:
    """Read ``candidate:…``; None for other text, and for another component than RTP's."""
    if len(line) > _MAX_CANDIDATE:
        return None
    try:
        candidate = candidate_from_sdp(line.removeprefix("candidate:"))
    except (ValueError, AssertionError, IndexError):
        return None
    return candidate if candidate.component == 1 and 0 < candidate.port < 65536 else None


def _first(pattern: str, sdp: str) -> str:
    found = re.search(pattern, sdp, re.MULTILINE)
    return found[1] if found else ""


def _transport_of(url: str) -> RelayTransport | None:
    found = _URL.fullmatch(url)
    if found is None:
        return None
    if found[1] == "turns":
        return None if found[3] == "udp" else "tls"
    return "tcp" if found[3] == "tcp" else "udp"
