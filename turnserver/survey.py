"""Makes snapshots: asks every part of a server for its present state (`turnserver.snapshot`)."""

from collections.abc import Mapping
from dataclasses import dataclass

from auth.revocation import RevokedUsers
from turnserver.config import Config
from turnserver.core.types import AllocationView, CoreTotals, Now
from turnserver.faults import Faults
from turnserver.lines import withheld_lines
from turnserver.log import dropped_lines
from turnserver.parts import Parts
from turnserver.pauses import Pauses
from turnserver.signaling.rooms.views import RoomsView
from turnserver.snapshot import CertificateView, Figures, LimitsView, LogView, Snapshot, Usage
from turnserver.telemetry.tally import Tally

__all__ = ["Survey"]

_NO_USERS: Mapping[str, int] = {}


@dataclass(frozen=True, slots=True)
class Survey:
    """What a server keeps for its whole life, as far as it is part of snapshots."""

    faults: Faults
    revoked: RevokedUsers
    tally: Tally
    pauses: Pauses

    def take(self, config: Config, parts: Parts | None, now: Now, *, draining: bool, details: bool) -> Snapshot:
        """The present state. Without ``details`` the lists that grow with use are empty, and the cost is small."""
        if parts is None or parts.core is None or parts.engine is None:
            limits = self._limits(config, parts, CoreTotals(), 0, details=details)
            return Snapshot(False, None, 0.0, limits, figures=self._figures(None), faults=self.faults.counts)
        totals, service = parts.core.totals(), parts.service
        nothing: list[AllocationView] = []
        return Snapshot(
            running=True,
            started_at=parts.started.wall,
            uptime=now.mono - parts.started.mono,
            limits=self._limits(
                config, parts, totals, 0 if service is None else service.hub.room_count, details=details
            ),
            listeners=() if parts.listening is None else parts.listening.carried(),
            relays=parts.own.relays,
            datapaths=parts.datapath_views(details=details),
            allocations=tuple(
                self.faults.guarded("engine.allocations", parts.engine.allocations, nothing) if details else nothing
            ),
            rooms=tuple(service.hub.rooms()) if details and service is not None else (),
            media=self.faults.guarded("media", parts.media_view, None) if details else None,
            failed_lookups=totals.failed_lookups,
            evicted_connections=parts.limiter.evicted,
            failed_logins=totals.failed_logins,
            unanswered_logins=totals.unanswered_logins,
            withheld_answers=totals.withheld_answers,
            swallowed_datagrams=totals.swallowed_datagrams,
            figures=self._figures(parts),
            moved_allocations=totals.moves,
            faults=self.faults.counts,
            draining=draining,
        )

    def _limits(
        self, config: Config, parts: Parts | None, totals: CoreTotals, rooms: int, *, details: bool
    ) -> LimitsView:
        return LimitsView(
            allocations=Usage(totals.allocations, config.limits.allocations),
            pending_lookups=Usage(totals.pending_lookups, config.limits.pending_lookups),
            connections=Usage(0 if parts is None else parts.limiter.count, config.limits.connections),
            rooms=Usage(rooms, config.signaling.rooms),
            allocations_per_user=config.limits.allocations_per_user,
            users=totals.users if details else _NO_USERS,
            descriptors=Usage(0, 0) if parts is None else Usage(parts.descriptors.used, parts.descriptors.total),
            revocations=Usage(len(self.revoked), self.revoked.limit),
        )

    def _figures(self, parts: Parts | None) -> Figures:
        core, service = (None, None) if parts is None else (parts.core, parts.service)
        certificates = None if parts is None else parts.certificates
        return Figures(
            allocations={} if core is None else core.kinds(),
            ports=() if core is None else core.ports(),
            certificates=tuple(
                CertificateView(str(file), facts.not_before.timestamp(), facts.not_after.timestamp())
                for file, facts in (() if certificates is None else certificates.in_use)
            ),
            rooms=RoomsView() if service is None else service.hub.census,
            happened=self.tally.view(),
            loop_lag=self.pauses.lags,
            log=LogView(dropped_lines(), withheld_lines()),
        )
