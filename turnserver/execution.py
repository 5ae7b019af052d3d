"""Carries out the core's commands, and contains the faults of datapaths and transports.

A command that raises costs only that command. The core is told of it as an event that it knows: a failed relay, a
failed peer connection, a closed client connection. So its tables stay equal to those of the datapath. Closing is tried
again for some minutes (`turnserver.retries`), because no later command would close the same thing.
"""

import errno
import logging
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, Protocol, cast

from stun.address import Address
from stun.constants import TransportProtocol
from turnserver.core.commands import (
    AddRoute,
    AllowPeer,
    CloseClient,
    ClosePeer,
    CloseRelay,
    Command,
    ConnectPeer,
    ForbidPeer,
    OpenRelay,
    RemoveRoute,
    SendToClient,
    SendToPeer,
    Splice,
)
from turnserver.core.server import TurnCore
from turnserver.core.types import Counters, FiveTuple, Now, RelayFailure, RelayId
from turnserver.errors import DatapathError
from turnserver.faults import RAISED, Faults
from turnserver.lines import Lines
from turnserver.reasons import Reason
from turnserver.relay.base import Datapath, StreamRelays
from turnserver.retries import Retries
from turnserver.transports.base import ConnectedTransport, Transport

__all__ = ["Execution", "failure_of"]

_PORT_ERRORS: Final = frozenset({errno.EADDRINUSE})
_SYSTEM_ERRORS: Final = frozenset(
    {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EACCES, errno.EPERM, errno.ENOSPC}
)
_NO_SOCKET: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})

_logger = logging.getLogger("meshturn.relay")


def failure_of(error: BaseException) -> RelayFailure:
    """What a datapath's failure to open a relay is about, by the system's error that it was raised from.

    Without such an error it is the port: a datapath may have its own reasons against one.
    """
    cause = error if isinstance(error, OSError) else error.__cause__
    if not isinstance(cause, OSError) or cause.errno is None or cause.errno in _PORT_ERRORS:
        return RelayFailure.PORT
    return RelayFailure.SYSTEM if cause.errno in _SYSTEM_ERRORS else RelayFailure.ADDRESS


class _Release(NamedTuple):
    """Have a transport forget the path of a client without a channel: requested by the datapath, not by the core."""

    client: FiveTuple


_Closing = CloseRelay | ClosePeer | CloseClient | _Release
_Order = Command | _Release


class _OfRelay(Protocol):
    """A command, or a part of one, that names a relay."""

    @property
    def relay(self) -> RelayId: ...


class _Way(NamedTuple):
    """How one kind of command is carried out, and what is done if it raises."""

    part: str
    do: Callable[[Any], None]
    give_up: Callable[[Any], None]


class Execution:
    """Carries out commands; `carry_out` never raises.

    ``more`` are kinds of commands that the caller carries out. ``closed`` has the counters of closed relays, until the
    caller clears it.
    """

    def __init__(
        self,
        core: TurnCore,
        datapath: Datapath,
        tcp: StreamRelays | None,
        *,
        transports: Mapping[int, Transport],
        clock: Callable[[], Now],
        faults: Faults,
        more: Mapping[Any, Callable[[Any], None]],
    ) -> None:
        self._core = core
        self._datapath = datapath
        self._tcp = tcp
        self._transports = transports
        self._clock = clock
        self._faults = faults
        self._retries: Retries[_Closing] = Retries()
        self._lines = Lines(_logger)
        self.closed: dict[RelayId, Counters] = {}
        self._ways: dict[type[_Order], _Way] = {
            SendToClient: _Way("transport.send", self._send_to_client, self._sending_failed),
            CloseClient: _Way("transport.close_client", self._close_client, self._closing_client_failed),
            _Release: _Way("transport.release", self._release_later, self._try_later),
            OpenRelay: _Way("datapath.open_relay", self._open_relay, self._opening_failed),
            CloseRelay: _Way("datapath.close_relay", self._close_relay, self._try_later),
            AddRoute: _Way("datapath.add_route", self._add_route, lambda add: self._relay_failed(add.route)),
            RemoveRoute: _Way("datapath.remove_route", self._remove_route, self._relay_failed),
            AllowPeer: _Way("datapath.allow_peer", self._allow_peer, self._relay_failed),
            ForbidPeer: _Way("datapath.forbid_peer", self._forbid_peer, self._relay_failed),
            SendToPeer: _Way("datapath.send_to_peer", self._send_to_peer, _lose),
            ConnectPeer: _Way("datapath.connect", self._connect_peer, self._connecting_failed),
            ClosePeer: _Way("datapath.close_peer", self._close_peer, self._try_later),
            Splice: _Way("datapath.splice", self._splice, self._splicing_failed),
            **{kind: _Way("credentials", do, _lose) for kind, do in more.items()},
        }

    def carry_out(self, command: _Order) -> None:
        """Carry out a command of the core, or report its failure to the core."""
        way = self._ways[type(command)]
        try:
            way.do(command)
        except RAISED as error:
            self._note(way.part, error, command)
            try:
                way.give_up(command)
            except RAISED as another:
                self._note("core", another, command)
        else:
            if isinstance(command, _Closing):
                self._retries.done(command)

    def next(self) -> float | None:
        """When to call `try_again`, in monotonic seconds; None while there is nothing to try again."""
        return self._retries.next()

    def try_again(self) -> None:
        """Try again what could not be closed and is due."""
        for command in self._retries.due(self._clock().mono):
            self.carry_out(command)

    def release(self, client: FiveTuple) -> None:
        """The datapath has no route for a client any more. Never raises: it would keep the datapath from closing."""
        transport = self._transports.get(client.listener)
        try:
            if transport is not None:
                transport.release(client)
        except RAISED as error:
            self._note("transport.release", error, _Release(client))
            self._try_later(_Release(client))

    def forget(self, client: FiveTuple) -> None:
        """Have a client's transport forget a path that no datapath was given, unless the client has a channel again."""
        self.carry_out(_Release(client))

    def counters(self, relay: RelayId, protocol: TransportProtocol) -> Counters:
        """The counters of a relay; zeros if the datapath raises."""
        try:
            relays = self._relays(protocol)
            return Counters() if relays is None else relays.counters(relay)
        except RAISED as error:
            self._faults.note("datapath.counters", error)
            return Counters()

    def connection(self, client: FiveTuple) -> ConnectedTransport | None:
        """The transport of a client that has a connection; None for a datagram transport."""
        transport = self._transports.get(client.listener) if client.transport.connected else None
        return cast(ConnectedTransport | None, transport)

    def judged(self, error: BaseException, bind: Address | None = None) -> RelayFailure:
        """What an error in opening a relay, at ``bind`` if that is known, is about; logged unless it is the port."""
        failure = failure_of(error)
        if failure is not RelayFailure.PORT:
            fields = {"why": str(error)} if bind is None else {"address": bind.host, "why": str(error)}
            self._lines.write(logging.WARNING, "no relay can be opened", fields, bind)
        return failure

    # Clients

    def _send_to_client(self, command: SendToClient) -> None:
        transport = self._transports.get(command.client.listener)
        if transport is not None:
            transport.send(command.client, command.frame)

    def _sending_failed(self, command: SendToClient) -> None:
        """A stream that has lost a frame must be closed; lost datagrams are normal."""
        if command.client.transport.connected:
            self._core.client_gone(command.client, self._clock())
            self.carry_out(CloseClient(command.client))

    def _close_client(self, command: CloseClient) -> None:
        transport = self._transports.get(command.client.listener)
        if transport is not None:
            transport.close_client(command.client)

    def _closing_client_failed(self, command: CloseClient) -> None:
        self._core.client_gone(command.client, self._clock())
        self._try_later(command)

    def _release_later(self, command: _Release) -> None:
        """The client may have bound another channel meanwhile."""
        transport = self._transports.get(command.client.listener)
        if transport is not None and not self._core.has_channels(command.client):
            transport.release(command.client)

    # Relays

    def _relays(self, protocol: TransportProtocol) -> Datapath | StreamRelays | None:
        return self._datapath if protocol is TransportProtocol.UDP else self._tcp

    def _open_relay(self, command: OpenRelay) -> None:
        relays = self._relays(command.protocol)
        if relays is None:  # TCP relays are not offered
            self._core.relay_failed(command.relay, self._clock(), RelayFailure.SYSTEM)
            return
        try:
            opened = relays.open_relay(command.relay, command.bind)
        except DatapathError as error:
            self._core.relay_failed(command.relay, self._clock(), self.judged(error, command.bind))
            return
        if opened:
            self._core.relay_opened(command.relay, self._clock())

    def _opening_failed(self, command: OpenRelay) -> None:
        self._core.relay_failed(command.relay, self._clock())
        self.carry_out(CloseRelay(command.relay, command.protocol))  # it may have been carried out in part

    def _close_relay(self, command: CloseRelay) -> None:
        relays = self._relays(command.protocol)
        if relays is not None:
            self.closed.setdefault(command.relay, self.counters(command.relay, command.protocol))
            relays.close_relay(command.relay)

    def _add_route(self, command: AddRoute) -> None:
        self._datapath.add_route(command.route)

    def _remove_route(self, command: RemoveRoute) -> None:
        self._datapath.remove_route(command.client, command.channel)

    def _allow_peer(self, command: AllowPeer) -> None:
        self._datapath.allow_peer(command.relay, command.ip, command.until)

    def _forbid_peer(self, command: ForbidPeer) -> None:
        self._datapath.forbid_peer(command.relay, command.ip)

    def _send_to_peer(self, command: SendToPeer) -> None:
        self._datapath.send_to_peer(command.relay, command.peer, command.data, command.dont_fragment)

    def _relay_failed(self, command: _OfRelay) -> None:
        """The tables of the datapath and the core may differ now; closing the relay ends that."""
        self._core.relay_failed(command.relay, self._clock())

    # Connections with peers

    def _connect_peer(self, command: ConnectPeer) -> None:
        try:
            if self._tcp is None:
                raise DatapathError("TCP relays are not supported")
            self._tcp.connect(command.connection, command.relay, command.peer)
        except DatapathError as error:
            self._core.peer_failed(command.connection, self._clock(), self._connect_cause(error))

    def _connect_cause(self, error: DatapathError) -> Reason:
        """Whether a connection failed for want of a socket here, which is a line, or because of the peer."""
        cause = error.__cause__
        if not isinstance(cause, OSError) or cause.errno not in _NO_SOCKET:
            return Reason.PEER_UNREACHABLE
        fields = {"cause": str(Reason.RELAY_SOCKET), "why": str(error)}
        self._lines.write(logging.WARNING, "no connection with a peer can be made", fields)
        return Reason.RELAY_SOCKET

    def _connecting_failed(self, command: ConnectPeer) -> None:
        self._core.peer_failed(command.connection, self._clock())
        self.carry_out(ClosePeer(command.connection))

    def _close_peer(self, command: ClosePeer) -> None:
        if self._tcp is not None:
            self._tcp.close_peer(command.connection)

    def _splice(self, command: Splice) -> None:
        """The client or the peer may have closed its connection since the request: then both are closed."""
        transport = self.connection(command.client)
        stream = None if transport is None else transport.detach(command.client)
        try:
            if self._tcp is None or stream is None:
                raise DatapathError("the client's connection is closed")
            self._tcp.splice(command.connection, stream)
        except DatapathError:
            self._core.peer_gone(command.connection, self._clock())
            self.carry_out(ClosePeer(command.connection))
        except RAISED:
            if stream is not None:
                stream.close()
            raise

    def _splicing_failed(self, command: Splice) -> None:
        self._core.peer_gone(command.connection, self._clock())
        self.carry_out(ClosePeer(command.connection))
        self.carry_out(CloseClient(command.client))

    # Faults

    def _try_later(self, command: _Closing) -> None:
        if not self._retries.failed(command, self._clock().mono):
            part = self._ways[type(command)].part
            self._note(f"{part}, for good", TimeoutError("given up: all retries failed"), command)

    def _note(self, part: str, error: BaseException, command: _Order) -> None:
        client = getattr(command, "client", None)
        self._faults.note(part, error, client.address if isinstance(client, FiveTuple) else None)


def _lose(command: _Order) -> None:
    """Only the command is lost."""
