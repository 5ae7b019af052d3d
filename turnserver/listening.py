"""The listeners of a running server: each that can be open is open, whatever becomes of the others.

A wildcard listener has one socket per local address (`turnserver.transports.listeners`). Addresses come and go: by
DHCP, with a virtual IP, late in the boot. `Listening.look` opens the sockets that are missing and closes those whose
address has gone. An address that cannot be bound now, such as an IPv6 address that is still being checked for
duplicates, is a warning and is tried again. Listeners with TLS wait for a certificate that can be used; those where
TLS is up to the client serve the others meanwhile.
"""

import errno
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol

from stun.address import Address
from turnserver.addresses import AddressWatch
from turnserver.core.settings import DiscoverySocket, OwnAddresses, RelayOptions
from turnserver.core.types import ClientTransport, TlsMode
from turnserver.discovery import discovery_sockets
from turnserver.errors import StartupError
from turnserver.faults import RAISED, Faults
from turnserver.losses import Losses
from turnserver.net import has_address, local_addresses
from turnserver.reasons import Reason
from turnserver.snapshot import ListenerView
from turnserver.transports.base import ListenerContext, ListenerLimits, ListenerSection, Transport, TransportCounters
from turnserver.transports.certificates import CertificateSource
from turnserver.transports.crossed import Door
from turnserver.transports.listeners import PlannedListener, planned_listeners
from turnserver.transports.registry import TRANSPORTS

__all__ = ["Listening", "TransportHost", "listener_fields"]

_Key = tuple[str, TlsMode, Address]

_NO_CERTIFICATE: Final = "there is no certificate that can be used"
_NOT_READY: Final = "the address cannot be bound yet; if it is IPv6, its duplicate check is under way or has failed"
"""An address that this machine says it has (RFC 4862 §5.4)."""

_HOST: Final = re.compile(r"[A-Za-z0-9.-]+", re.ASCII)
"""A name in a certificate that is the name of one host, or an IPv4 address."""

_logger = logging.getLogger("meshturn")


class TransportHost(Protocol):
    """What serves the clients of transports: `turnserver.engine.Engine`."""

    def add(self, transport: Transport) -> None:
        """Serve the clients of a transport that has been bound."""

    def remove(self, transport: Transport) -> None:
        """End what the clients of a transport have, and close it."""


@dataclass(frozen=True, slots=True)
class _Bound:
    transport: Transport
    view: ListenerView
    planned: PlannedListener


class Listening:
    """The listeners of one server; use it inside the running loop.

    ``changed`` is called after listeners have been opened or closed while the server runs. ``public`` gives the IP
    address (packed) at which clients reach one of the host's. ``discovery`` are UDP listeners for behavior discovery.
    Those of them that are not in ``sections`` as well are in no URL.
    """

    def __init__(
        self,
        sections: Sequence[ListenerSection],
        context: ListenerContext,
        *,
        faults: Faults,
        changed: Callable[[], None] = lambda: None,
        public: Callable[[bytes], bytes] = lambda ip: ip,
        discovery: Sequence[ListenerSection] = (),
    ) -> None:
        self._sections = (*sections, *discovery)
        self._listed = len(sections)
        self._discovery = tuple(Address(each.address.packed, each.port) for each in discovery)
        self._present: frozenset[bytes] = frozenset()
        """The addresses for behavior discovery that this host had at the last look."""
        self._undiscovered: dict[str, str] = {}
        """Why behavior discovery is not offered, by family; logged when that changes."""
        self._context = replace(context, doors=self.doors)
        self._public = public
        self._faults = faults
        self._changed = changed
        self._bound: dict[_Key, _Bound] = {}
        self._failed: dict[_Key, str] = {}
        """Why a planned listener is not open; logged when that changes."""
        self._number = 0
        self._host: TransportHost | None = None
        self._watch = AddressWatch(self.look, lambda error: faults.note("listeners", error))

    @property
    def transports(self) -> list[Transport]:
        """The open listeners' transports, in the order of the configuration."""
        return [bound.transport for bound in self._bound.values()]

    @property
    def views(self) -> list[ListenerView]:
        """The constant part of their views, in the same order."""
        return [bound.view for bound in self._bound.values()]

    @property
    def reachable(self) -> list[tuple[ClientTransport, Address]]:
        """Transport and address of those that have a socket; one for each of their transports."""
        return [(kind, view.address) for view in self.views if not view.local for kind in view.transports]

    @property
    def offered(self) -> list[tuple[ClientTransport, Address]]:
        """The same without those that clients reach through proxies only, by a host and a port of the proxy's."""
        views = [
            bound.view
            for bound in self._bound.values()
            if bound.planned.section < self._listed and not bound.planned.behind and not bound.view.local
        ]
        return [(kind, view.address) for view in views for kind in view.transports]

    @property
    def addresses(self) -> list[Address]:
        """All addresses that are bound."""
        return [view.address for view in self.views]

    def own(self, relay: RelayOptions) -> OwnAddresses:
        """The server's addresses, with relays as the configuration says.

        A wildcard listener is one of them: it means also an address for which it has no socket yet.
        """
        own = OwnAddresses.of(relay, self.addresses, [address for _, address in self.reachable])
        own = replace(own, discovery=self._discovery_sockets(own))
        wildcards = [Address(one.address.packed, one.port) for one in self._sections if one.address.is_unspecified]
        if not wildcards:
            return own
        return replace(own, listeners=(*own.listeners, *wildcards), local=tuple(local_addresses()))

    def _discovery_sockets(self, own: OwnAddresses) -> tuple[DiscoverySocket, ...]:
        if not self._discovery:
            return ()
        self._present = self._discovery_addresses()
        numbers = {
            bound.view.address: bound.planned.number
            for bound in self._bound.values()
            if bound.view.transport is ClientTransport.UDP
        }
        sockets, reasons = discovery_sockets(self._discovery, numbers, self._present, own.public)
        for family, reason in reasons.items():
            if self._undiscovered.get(family) != reason:
                fields = {"family": family, "reason": reason}
                _logger.warning("behavior discovery is not offered", extra={"fields": fields})
        self._undiscovered = reasons
        return sockets

    def _discovery_addresses(self) -> frozenset[bytes]:
        return frozenset(ip for ip in {each.ip for each in self._discovery} if has_address(ip))

    def carried(self) -> tuple[ListenerView, ...]:
        """The views with their present counters; zeros for a transport that raises."""
        return tuple(_carried(bound.view, bound.transport, self._faults) for bound in self._bound.values())

    def doors(self) -> list[Door]:
        """The open listeners that have a socket, for lines about clients that belong to another."""
        certificates = self._context.certificates
        names = [] if certificates is None else [name for facts in certificates.facts for name in facts.names]
        certified = next(filter(_HOST.fullmatch, names), "")
        doors = []
        for view in self.views:
            public = Address(self._public(view.address.ip), view.address.port)
            name = "" if public.host in names else certified
            if not view.local:
                doors.append(Door(view.kind, view.transports, TRANSPORTS[view.kind].http, view.address, public, name))
        return doors

    # The start and the end

    def open(self) -> None:
        """Bind what can be bound.

        Raises `StartupError` if that is nothing, if a named address cannot be used (unless it is this machine's, and
        only not ready yet), if no address of a wildcard can, or if a passed socket belongs to no listener. Closing
        the transports is the caller's then, too.
        """
        self._context.passed.insist(
            (TRANSPORTS[each.transport].port_space, Address(each.address.packed, each.port))
            for each in self._sections
            if not TRANSPORTS[each.transport].local
        )
        refused = self._load_certificates()
        errors: list[tuple[PlannedListener, StartupError]] = []
        plan = self._plan()
        for planned in plan:
            if planned.tls is True and not _ready(self._context.certificates):
                self._failed[planned.key] = _NO_CERTIFICATE
                continue
            try:
                self._bind(planned)
            except StartupError as error:
                if _errno(error) is None or not (planned.wildcard or _is_unready(planned, error)):
                    raise
                errors.append((planned, error))
        served = {bound.planned.section for bound in self._bound.values()}
        for planned, failed in errors:
            if planned.section not in served and (not served or not _is_unready(planned, failed)):
                raise failed
        if refused is not None and not served:
            raise refused
        if refused is not None:
            _say_waiting(refused, [planned for planned in plan if planned.tls])
        for planned, failed in errors:
            self._note(planned, failed)

    def _load_certificates(self) -> StartupError | None:
        """Why there is no certificate; None if there is one, or none is needed."""
        try:
            if self._context.certificates is not None:
                self._context.certificates.load()
        except StartupError as error:
            return error
        return None

    def serve(self, host: TransportHost) -> None:
        """Begin to serve what is open. Raises `StartupError` for a transport that raises."""
        for bound in self._bound.values():
            with self._faults.starting("transport.serve", _words(bound.view)):
                host.add(bound.transport)
        self._host = host
        certificates = self._context.certificates
        if certificates is not None:
            certificates.on_change = self.soon
            certificates.watch()
        if self._failed or self._discovery or any(section.address.is_unspecified for section in self._sections):
            self._watch.start(again=bool(self._failed))

    def close(self) -> None:
        """Look for addresses no more; the transports are the caller's to close."""
        self._host = None
        if self._context.certificates is not None:
            self._context.certificates.on_change = lambda: None
        self._watch.close()

    # While it runs

    def use(self, limits: ListenerLimits) -> None:
        """Make listeners that come later with these limits; those that are open have their own `Transport.use`."""
        self._context = replace(self._context, limits=limits)

    def soon(self) -> None:
        """`look` in the next turn of the loop, without waiting for an event."""
        if self._host is not None:
            self._watch.soon()

    def look(self) -> bool:
        """Open what is missing and can be open now, and close what has lost its address; True if some could not be."""
        if self._host is None:
            return False
        plan = self._plan_again()
        wanted = {planned.key: planned for planned in plan}
        gone = [key for key, bound in self._bound.items() if bound.planned.wildcard and key not in wanted]
        for key in gone:
            self._drop(key, self._host)
        came = [planned for planned in plan if planned.key not in self._bound and self._try(planned, self._host)]
        self._failed = {key: reason for key, reason in self._failed.items() if key in wanted}
        if came or gone:
            self._bound = {key: self._bound[key] for key in (*wanted, *self._bound) if key in self._bound}
        if came or gone or self._present != self._discovery_addresses():
            self._changed()
        return any(reason is not _NO_CERTIFICATE for reason in self._failed.values())

    def _plan(self) -> list[PlannedListener]:
        plan = planned_listeners(self._sections, self._context, self._number)
        self._number += len(plan)
        return plan

    def _plan_again(self) -> list[PlannedListener]:
        try:
            return self._plan()
        except StartupError:  # every address has gone
            return []

    def _bind(self, planned: PlannedListener) -> _Bound:
        """Bind one. Raises `StartupError`, with nothing left open."""
        with self._faults.starting("transport.bind", str(planned)):
            transport = planned.make()
            try:
                transport.bind()
                view = _view(transport)
            except BaseException:
                try:
                    transport.close()
                except RAISED as error:
                    self._faults.note("transport.close", error)
                raise
        bound = self._bound[planned.key] = _Bound(transport, view, planned)
        return bound

    def _try(self, planned: PlannedListener, host: TransportHost) -> bool:
        """Open a listener while the server runs; False, and said, if that cannot be."""
        if planned.tls is True and not _ready(self._context.certificates):
            self._failed[planned.key] = _NO_CERTIFICATE
            return False
        try:
            bound = self._bind(planned)
            with self._faults.starting("transport.serve", str(planned)):
                host.add(bound.transport)
        except StartupError as error:
            left = self._bound.pop(planned.key, None)
            if left is not None:
                host.remove(left.transport)
            self._note(planned, error)
            return False
        self._failed.pop(planned.key, None)
        _say("listening", bound.view)
        return True

    def _drop(self, key: _Key, host: TransportHost) -> None:
        bound = self._bound.pop(key)
        host.remove(bound.transport)
        _say("listener closed", bound.view, reason="its address has gone")

    def _note(self, planned: PlannedListener, error: StartupError) -> None:
        reason = _NOT_READY if _is_unready(planned, error) else str(error)
        if self._failed.get(planned.key) == reason:
            return
        self._failed[planned.key] = reason
        fields = {"transport": planned.name, "address": str(planned.address), "reason": reason}
        _logger.warning("listener not open, it is tried again", extra={"fields": fields})


def _ready(certificates: CertificateSource | None) -> bool:
    return certificates is not None and certificates.ready


def _errno(error: StartupError) -> int | None:
    """The number of the system's error behind it, None if there is none."""
    return error.__cause__.errno if isinstance(error.__cause__, OSError) else None


def _is_unready(planned: PlannedListener, error: StartupError) -> bool:
    """Whether it is an address that this machine has and cannot bind (RFC 4862 §5.4)."""
    return _errno(error) == errno.EADDRNOTAVAIL and (planned.wildcard or planned.address.ip in local_addresses())


def _words(view: ListenerView) -> str:
    """A listener, for errors."""
    return f"The listener {view.kind} {view.address}"


def listener_fields(view: ListenerView) -> dict[str, str]:
    """A listener for the log: by its name in the configuration and, where that leaves it open, by what it speaks."""
    labels = ", ".join(kind.label for kind in view.transports)
    spoken = {} if labels == view.kind else {"over": labels}
    return {"transport": view.kind, **spoken, "address": str(view.address)}


def _say(message: str, view: ListenerView, **more: str) -> None:
    _logger.info(message, extra={"fields": {**listener_fields(view), **more}})


def _say_waiting(refused: StartupError, waiting: Sequence[PlannedListener]) -> None:
    """What is not served with TLS because of the certificates: an error, since clients count on it."""
    for message, tls, hint in (
        ("listeners with TLS are not open", True, "they are opened as soon as the files are replaced by good ones"),
        (
            "listeners serve clients without TLS only",
            "auto",
            "TLS follows as soon as the files are replaced by good ones",
        ),
    ):
        names = [f"{planned.name} {planned.address}" for planned in waiting if planned.tls == tls]
        if names:
            fields = {"listeners": ", ".join(names), "reason": str(refused), "hint": hint}
            _logger.error(message, extra={"fields": fields})


def _view(transport: Transport) -> ListenerView:
    """The constant part of the view of a bound transport."""
    buffer: int = getattr(transport, "receive_buffer", 0)  # only datagram sockets have one of their own
    return ListenerView(
        transport.name,
        transport.kind,
        transport.address,
        local=transport.local,
        receive_buffer=buffer,
        more_transports=tuple(getattr(transport, "kinds", ()))[1:],
    )


def _carried(view: ListenerView, transport: Transport, faults: Faults) -> ListenerView:
    connections = faults.guarded("transport.connections", lambda: transport.connections, 0)
    counters = faults.guarded("transport.counters", lambda: transport.counters, TransportCounters())
    losses: Losses = faults.guarded("transport.losses", lambda: getattr(transport, "losses", Losses()), Losses())
    refused: Mapping[Reason, int] = faults.guarded("transport.refused", lambda: getattr(transport, "refused", {}), {})
    return replace(view, connections=connections, counters=counters, losses=losses, refused=refused)
