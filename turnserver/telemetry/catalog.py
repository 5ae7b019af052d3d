"""Every metric: its name, what it means, and how it is read from a snapshot. The documentation is made from here.

Labels have few values, all of them from the code or the configuration: never a name, an address or any other text of a
client. Series that are known beforehand are there from the start with 0, so that a first event is an increase.
"""

import platform
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final, Literal, NamedTuple, TypeAlias, TypeVar

from stun.address import Address
from stun.constants import TransportProtocol
from turnserver import __version__
from turnserver.core.events import EndReason
from turnserver.core.types import AllocationKind, ClientTransport, PortsView, RelayFamily
from turnserver.descriptors import UNLIMITED
from turnserver.histogram import HistogramView
from turnserver.reasons import Reason
from turnserver.signaling.protocol.errors import SignalCode
from turnserver.signaling.truth.sentences import VerdictCode
from turnserver.snapshot import ListenerView, Snapshot, Usage

__all__ = ["METRICS", "Kind", "Metric", "Sample"]

Kind: TypeAlias = Literal["gauge", "counter", "histogram", "info"]
_Key = TypeVar("_Key", bound=str)

Sample: TypeAlias = tuple[tuple[str, ...], float | HistogramView]
"""The values of the labels, and that of the series."""


class Metric(NamedTuple):
    """One metric; counters have ``_total`` at the end of their name, and infos ``_info``."""

    name: str
    kind: Kind
    labels: tuple[str, ...]
    meaning: str
    read: Callable[[Snapshot], Iterable[Sample]]


_HANDSHAKE: Final = frozenset({Reason.TLS_ALERT, Reason.TLS_FAILED, Reason.TLS_NO_PROTOCOL, Reason.NO_CERTIFICATE})
"""Causes of failed handshakes; what else ends a connection early has nothing to do with TLS."""

_PEER_CAUSES: Final = (
    Reason.PEER_NOT_PUBLIC,
    Reason.PEER_DENIED,
    Reason.PEER_OWN_LISTENER,
    Reason.PEER_OWN_ADDRESS,
    Reason.PEER_SWALLOWED,
)
_WITHHELD: Final = (Reason.REFLECTION_BUDGET, Reason.TOO_MANY_FAILURES)
_FAMILIES: Final[tuple[RelayFamily, ...]] = ("ipv4", "ipv6", "dual")
_PATHS: Final = ("direct", "relay", "unknown")
_MODES: Final = ("mesh", "sfu")
_NO_FAMILY: Final = "none"


def _one(value: float) -> Iterator[Sample]:
    """The only series of a metric without labels."""
    yield (), value


def _counted(counts: Mapping[_Key, int], known: Iterable[_Key] = ()) -> Iterator[Sample]:
    """A series for each key, also for the known ones that have not been counted yet."""
    for key in dict.fromkeys((*known, *counts)):
        yield (str(key),), counts.get(key, 0)


def _limit(value: int) -> float:
    return float("inf") if value >= UNLIMITED else value


def _left(usage: Usage) -> float:
    return float("inf") if usage.allowed >= UNLIMITED else max(usage.allowed - usage.used, 0)


# The server


def _build(snapshot: Snapshot) -> Iterator[Sample]:
    yield (__version__, platform.python_version()), 1


def _certificates(snapshot: Snapshot) -> Iterator[Sample]:
    for certificate in snapshot.figures.certificates:
        # A path may have bytes that are no UTF-8.
        yield (certificate.file.encode("utf-8", "backslashreplace").decode(),), certificate.not_after


# Allocations


def _kinds() -> Iterator[AllocationKind]:
    for transport in ClientTransport:
        for family in _FAMILIES:
            yield AllocationKind(transport, family, TransportProtocol.UDP)
            if transport.tcp_relays and family != "dual":
                yield AllocationKind(transport, family, TransportProtocol.TCP)


def _allocations(snapshot: Snapshot) -> Iterator[Sample]:
    counts = snapshot.figures.allocations
    for kind in dict.fromkeys((*_kinds(), *counts)):
        yield (kind.transport.label, kind.family, kind.protocol.name.lower()), counts.get(kind, 0)


def _allocates(snapshot: Snapshot) -> Iterator[Sample]:
    happened = snapshot.figures.happened
    for transport in ClientTransport:
        for family in _FAMILIES:
            opened = sum(n for kind, n in happened.opened.items() if kind[:2] == (transport, family))
            yield (transport.label, family, "success"), opened
        yield (transport.label, _NO_FAMILY, "challenged"), happened.challenged.get(transport, 0)
        yield (transport.label, _NO_FAMILY, "refused"), happened.denied.get(transport, 0)


# Traffic


def _relayed_packets(snapshot: Snapshot) -> Iterator[Sample]:
    for datapath in snapshot.datapaths:
        if datapath.protocol is TransportProtocol.UDP:  # a stream has no packets
            yield ("to_peers", "udp"), datapath.counters.packets_to_peers
            yield ("to_client", "udp"), datapath.counters.packets_to_client


def _relayed_bytes(snapshot: Snapshot) -> Iterator[Sample]:
    for datapath in snapshot.datapaths:
        protocol = datapath.protocol.name.lower()
        yield ("to_peers", protocol), datapath.counters.bytes_to_peers
        yield ("to_client", protocol), datapath.counters.bytes_to_client


def _relay_drops(snapshot: Snapshot) -> Iterator[Sample]:
    for datapath in snapshot.datapaths:
        if datapath.protocol is TransportProtocol.UDP:
            for cause, count in datapath.drops._asdict().items():
                yield (cause,), count


def _named(view: ListenerView) -> tuple[str, str]:
    return view.kind, str(view.address)


def _of_listeners(read: Callable[[ListenerView], float]) -> Callable[[Snapshot], Iterator[Sample]]:
    def samples(snapshot: Snapshot) -> Iterator[Sample]:
        for view in snapshot.listeners:
            yield _named(view), read(view)

    return samples


def _listener_packets(snapshot: Snapshot) -> Iterator[Sample]:
    for view in snapshot.listeners:
        yield (*_named(view), "in"), view.counters.packets_in
        yield (*_named(view), "out"), view.counters.packets_out


def _listener_bytes(snapshot: Snapshot) -> Iterator[Sample]:
    for view in snapshot.listeners:
        yield (*_named(view), "in"), view.counters.bytes_in
        yield (*_named(view), "out"), view.counters.bytes_out


# Refusals


def _refusals(snapshot: Snapshot) -> Iterator[Sample]:
    counts = snapshot.figures.happened.refusals
    known = ((int(code), reason) for reason in Reason for code in reason.errors)
    for code, reason in dict.fromkeys((*known, *counts)):
        yield (str(code), str(reason)), counts.get((code, reason), 0)


def _handshakes(snapshot: Snapshot) -> Iterator[Sample]:
    for view in snapshot.listeners:
        if any(transport.secure for transport in view.transports):
            for cause in sorted(_HANDSHAKE):
                yield (*_named(view), str(cause)), view.refused.get(cause, 0)


def _connections_refused(snapshot: Snapshot) -> Iterator[Sample]:
    for view in snapshot.listeners:
        for cause, count in view.refused.items():
            if cause not in _HANDSHAKE:
                yield (*_named(view), str(cause)), count


# Resources


def _of_ports(read: Callable[[PortsView], int]) -> Callable[[Snapshot], Iterator[Sample]]:
    def samples(snapshot: Snapshot) -> Iterator[Sample]:
        for ports in snapshot.figures.ports:
            yield (Address(ports.bound, 0).host, ports.protocol.name.lower()), read(ports)

    return samples


# Rooms


def _participants(snapshot: Snapshot) -> Iterator[Sample]:
    rooms = snapshot.figures.rooms
    yield ("connected",), rooms.connected
    yield ("away",), rooms.away
    yield ("waiting",), rooms.waiting


_SERVER: Final = (
    Metric("meshturn_build", "info", ("version", "python"), "The version of meshturn, and that of Python.", _build),
    Metric(
        "meshturn_start_time_seconds",
        "gauge",
        (),
        "When the server was started (Unix time); 0 while it does not run.",
        lambda snapshot: _one(snapshot.started_at or 0),
    ),
    Metric(
        "meshturn_draining",
        "gauge",
        (),
        "1 while the server takes nothing new because it is about to stop, else 0.",
        lambda snapshot: _one(snapshot.draining),
    ),
    Metric(
        "meshturn_event_loop_lag_seconds",
        "histogram",
        (),
        "By how much a timer that goes off four times a second was late: how long anything that is ready waits for its "
        "turn.",
        lambda snapshot: [((), snapshot.figures.loop_lag)],
    ),
    Metric(
        "meshturn_faults",
        "counter",
        ("part",),
        "Exceptions that nobody foresaw, by the part of the server. The log has the cause of each kind.",
        lambda snapshot: _counted(snapshot.faults, ("core",)),
    ),
    Metric(
        "meshturn_log_lines_dropped",
        "counter",
        (),
        "Lines of the log that standard error did not take.",
        lambda snapshot: _one(snapshot.figures.log.dropped),
    ),
    Metric(
        "meshturn_log_lines_withheld",
        "counter",
        (),
        "Lines of the log that were not written because there were too many of a kind; their number is a line.",
        lambda snapshot: _one(snapshot.figures.log.withheld),
    ),
    Metric(
        "meshturn_certificate_expiry_timestamp_seconds",
        "gauge",
        ("certificate",),
        "When a certificate in use expires (Unix time), by its file.",
        _certificates,
    ),
)

_ALLOCATIONS: Final = (
    Metric(
        "meshturn_allocations",
        "gauge",
        ("transport", "family", "protocol"),
        "Live allocations, by the transport of the client (`udp`, `tcp`, `tls`, `dtls`), the family of the relay "
        "(`ipv4`, `ipv6`; `dual` has both) and the protocol between server and peers (`udp`, `tcp`).",
        _allocations,
    ),
    Metric(
        "meshturn_allocations_limit",
        "gauge",
        (),
        "`limits.allocations`.",
        lambda snapshot: _one(snapshot.limits.allocations.allowed),
    ),
    Metric(
        "meshturn_allocate_requests",
        "counter",
        ("transport", "family", "outcome"),
        "Allocate requests that were answered. `success` made an allocation. `challenged` got the 401 or 438 that "
        "every client begins with, and `refused` any other error; both have no relay, so that their family is `none`.",
        _allocates,
    ),
    Metric(
        "meshturn_allocations_ended",
        "counter",
        ("reason",),
        "Allocations that have ended, by the reason.",
        lambda snapshot: _counted(snapshot.figures.happened.ended, EndReason),
    ),
    Metric(
        "meshturn_allocations_moved",
        "counter",
        (),
        "How often a client has taken its allocation along to another address (`relay.mobility`).",
        lambda snapshot: _one(snapshot.moved_allocations),
    ),
)

_TRAFFIC: Final = (
    Metric(
        "meshturn_relayed_packets",
        "counter",
        ("direction", "protocol"),
        "Datagrams relayed `to_peers` and `to_client`, as they pass.",
        _relayed_packets,
    ),
    Metric(
        "meshturn_relayed_bytes",
        "counter",
        ("direction", "protocol"),
        "Their payload in bytes; over TCP relays (`tcp`) what the connections with peers have carried.",
        _relayed_bytes,
    ),
    Metric(
        "meshturn_relay_drops",
        "counter",
        ("cause",),
        "Datagrams that relays dropped: `unpermitted` came from peers without a permission, `undelivered` could not be "
        "given to the client (its queue or its socket was full, or they were too old after a pause), `unsent` could "
        "not be sent to the peer, `overrun` came when the receive buffer was full (with very many relays some seconds "
        "late).",
        _relay_drops,
    ),
    Metric(
        "meshturn_swallowed_datagrams",
        "counter",
        (),
        "Datagrams of clients to refused peers that they believe to be allowed (`peers.refusal: swallow`).",
        lambda snapshot: _one(snapshot.swallowed_datagrams),
    ),
    Metric(
        "meshturn_listener_packets",
        "counter",
        ("listener", "address", "direction"),
        "Frames between clients and a listener, `in` and `out`: STUN messages and ChannelData.",
        _listener_packets,
    ),
    Metric(
        "meshturn_listener_bytes",
        "counter",
        ("listener", "address", "direction"),
        "Their size in bytes.",
        _listener_bytes,
    ),
    Metric(
        "meshturn_listener_drops",
        "counter",
        ("listener", "address"),
        "What a listener dropped in both directions: frames, datagrams of other protocols and refused connections.",
        _of_listeners(lambda view: view.counters.dropped),
    ),
    Metric(
        "meshturn_listener_overruns",
        "counter",
        ("listener", "address"),
        "Of these: datagrams that came when the receive buffer was full.",
        _of_listeners(lambda view: view.losses.lost),
    ),
    Metric(
        "meshturn_listener_send_failures",
        "counter",
        ("listener", "address"),
        "Of these: datagrams that this host refused to send, for want of a route or because of a firewall.",
        _of_listeners(lambda view: view.losses.failed),
    ),
)

_REFUSALS: Final = (
    Metric(
        "meshturn_refusals",
        "counter",
        ("code", "cause"),
        "Error answers to requests of every method, by their code and the [reason](../reasons.md). Those with code 401 "
        "say who cannot log in and why.",
        _refusals,
    ),
    Metric(
        "meshturn_answers_withheld",
        "counter",
        ("cause",),
        "Answers without a credential that were not sent, by the reason.",
        lambda snapshot: _counted(snapshot.figures.happened.withheld, _WITHHELD),
    ),
    Metric(
        "meshturn_failed_logins",
        "counter",
        (),
        "Wrong credentials from addresses that are not forged, answered or not.",
        lambda snapshot: _one(snapshot.failed_logins),
    ),
    Metric(
        "meshturn_failed_lookups",
        "counter",
        (),
        "Requests that got 500 because no credential source could answer.",
        lambda snapshot: _one(snapshot.failed_lookups),
    ),
    Metric(
        "meshturn_pending_lookups",
        "gauge",
        (),
        "Requests that wait for a credential source.",
        lambda snapshot: _one(snapshot.limits.pending_lookups.used),
    ),
    Metric(
        "meshturn_peers_refused",
        "counter",
        ("cause",),
        "Peers that the peer ACL refused, by the reason; browsers cause `peer-not-public` in most calls.",
        lambda snapshot: _counted(snapshot.figures.happened.peers_refused, _PEER_CAUSES),
    ),
    Metric(
        "meshturn_peer_connections",
        "counter",
        (),
        "Connections between TCP relays and peers that were made (RFC 6062).",
        lambda snapshot: _one(snapshot.figures.happened.peer_connections),
    ),
    Metric(
        "meshturn_peer_connections_refused",
        "counter",
        ("cause",),
        "Connections of peers that were closed because there was no room for them.",
        lambda snapshot: _counted(snapshot.figures.happened.peer_connections_refused),
    ),
)

_RESOURCES: Final = (
    Metric(
        "meshturn_relay_ports",
        "gauge",
        ("address", "protocol"),
        "Relay ports of an address: the size of `relay.ports`.",
        _of_ports(lambda ports: ports.allowed),
    ),
    Metric(
        "meshturn_relay_ports_free",
        "gauge",
        ("address", "protocol"),
        "Those of them that no relay has.",
        _of_ports(lambda ports: ports.allowed - ports.used),
    ),
    Metric(
        "meshturn_descriptors_limit",
        "gauge",
        (),
        "File descriptors for relays, connections with peers and connections of clients: what the limit of open files "
        "leaves for these.",
        lambda snapshot: _one(_limit(snapshot.limits.descriptors.allowed)),
    ),
    Metric(
        "meshturn_descriptors_free",
        "gauge",
        (),
        "Those of them that are not taken.",
        lambda snapshot: _one(_left(snapshot.limits.descriptors)),
    ),
    Metric(
        "meshturn_connections",
        "gauge",
        (),
        "Connections of clients with any protocol, HTTP too.",
        lambda snapshot: _one(snapshot.limits.connections.used),
    ),
    Metric(
        "meshturn_connections_limit",
        "gauge",
        (),
        "`limits.connections`.",
        lambda snapshot: _one(snapshot.limits.connections.allowed),
    ),
    Metric(
        "meshturn_listener_connections",
        "gauge",
        ("listener", "address"),
        "Connections that speak TURN, by listener.",
        _of_listeners(lambda view: view.connections),
    ),
    Metric(
        "meshturn_connections_evicted",
        "counter",
        (),
        "Idle connections that were closed to make room for others.",
        lambda snapshot: _one(snapshot.evicted_connections),
    ),
    Metric(
        "meshturn_handshake_failures",
        "counter",
        ("listener", "address", "cause"),
        "Handshakes of TLS and DTLS that have failed, by the [reason](../reasons.md#connections-of-clients).",
        _handshakes,
    ),
    Metric(
        "meshturn_connections_refused",
        "counter",
        ("listener", "address", "cause"),
        "Connections that ended before they spoke STUN or HTTP for any other "
        "[reason](../reasons.md#connections-of-clients), and datagrams of another protocol.",
        _connections_refused,
    ),
)

_ROOMS: Final = (
    Metric(
        "meshturn_rooms",
        "gauge",
        ("mode",),
        "Rooms with participants, by the way of their media.",
        lambda snapshot: _counted(snapshot.figures.rooms.modes, _MODES),
    ),
    Metric(
        "meshturn_rooms_limit", "gauge", (), "`signaling.rooms`.", lambda snapshot: _one(snapshot.limits.rooms.allowed)
    ),
    Metric(
        "meshturn_rooms_recorded",
        "gauge",
        (),
        "Rooms that the server records.",
        lambda snapshot: _one(snapshot.figures.rooms.recorded),
    ),
    Metric(
        "meshturn_rooms_opened",
        "counter",
        (),
        "Rooms that a first participant has opened.",
        lambda snapshot: _one(snapshot.figures.happened.rooms_opened),
    ),
    Metric(
        "meshturn_participants",
        "gauge",
        ("state",),
        "Participants of rooms: `connected` ones, those that are `away` and may come back, and who is `waiting` for "
        "admission.",
        _participants,
    ),
    Metric(
        "meshturn_participants_joined",
        "counter",
        (),
        "Participants that have joined a room.",
        lambda snapshot: _one(snapshot.figures.happened.joined),
    ),
    Metric(
        "meshturn_sessions",
        "gauge",
        (),
        "Signaling sessions, in rooms and outside.",
        lambda snapshot: _one(snapshot.figures.rooms.sessions),
    ),
    Metric(
        "meshturn_pairs",
        "gauge",
        ("path",),
        "Pairs of participants in meshes, by the path of their media as far as it is known; looked at every 2 s.",
        lambda snapshot: _counted(snapshot.figures.rooms.paths, _PATHS),
    ),
    Metric(
        "meshturn_connect_seconds",
        "histogram",
        (),
        "How long it took a pair to connect for the first time. Clients say so, within ten seconds.",
        lambda snapshot: [((), snapshot.figures.happened.connect_times)],
    ),
    Metric(
        "meshturn_verdicts",
        "counter",
        ("verdict",),
        "Answers to clients whose call does not come about, by their code.",
        lambda snapshot: _counted(snapshot.figures.happened.verdicts, VerdictCode),
    ),
    Metric(
        "meshturn_signaling_refusals",
        "counter",
        ("code",),
        "Clients and messages that signaling refused, by the [code](../reasons.md#rooms).",
        lambda snapshot: _counted(snapshot.figures.happened.signaling_refusals, SignalCode),
    ),
)

METRICS: Final[tuple[Metric, ...]] = (*_SERVER, *_ALLOCATIONS, *_TRAFFIC, *_REFUSALS, *_RESOURCES, *_ROOMS)
"""All of them, in the order of the documentation."""
