"""What the core has to do and does in slices: what is due, what was revoked, and what another peer ACL forbids.

Thousands of allocations may expire in the same second, or be revoked together. To end them all in one piece would take
hundreds of milliseconds, in which nobody is served. So the shell lets the core do one slice in each turn of its loop
(`Backlog.run`), and other traffic gets its turn between two of them. The work of a slice is counted in steps: one for
each deadline, allocation or permission, and one for each command that follows from it.

What waits here counts as gone all the same: before an input is handled, what it concerns is settled (`Backlog.settle`).
"""

from collections.abc import Callable, Collection, Iterator
from functools import partial
from math import inf
from typing import Final, TypeVarTuple

from stun.address import Address
from stun.constants import TransportProtocol
from turnserver.core.allocation import Allocation, Channel
from turnserver.core.deadlines import DeadlineKey, DeadlineKind
from turnserver.core.handlers.common import refusal_of
from turnserver.core.state import CoreState
from turnserver.core.types import FiveTuple, Now, RelayId

__all__ = ["SLICE", "Backlog"]

SLICE: Final = 128
"""Steps of one slice: some milliseconds of work, with what the shell does for the commands."""

_ROOM: Final = 2 * SLICE
"""Further steps for the Allocates that come between two slices, see `Backlog.make_room`."""

_SHARE: Final = 16
"""Steps after which `Backlog.make_room` looks whether it has done enough."""

_CHEAP: Final = 0.125
"""Steps for forgetting a kept answer: a dictionary entry."""


_Arguments = TypeVarTuple("_Arguments")


class Backlog:
    """The backlog of one core. ``expired`` handles a deadline, ``fault`` records an exception; neither raises.

    ``behind`` is whether anything is left that should have been done by now.
    """

    def __init__(
        self, state: CoreState, expired: Callable[[DeadlineKey, Now], None], fault: Callable[[Exception], None]
    ) -> None:
        self.behind = False
        self._state = state
        self._expired = expired
        self._fault = fault
        self._room: float = _ROOM
        self._spare: float = SLICE
        """Steps left for inputs, which share one slice until the backlog is empty or the shell has done its own."""
        self._ending: dict[int, Callable[[Allocation, Now], None]] = {}
        self._checking: Iterator[Callable[[], None]] | None = None

    def deadline(self) -> float | None:
        """When `run` must be called, in monotonic seconds: at once (0) or at the next deadline; None without one."""
        return 0.0 if self.behind else self._state.deadlines.next()

    def is_ending(self, allocation: Allocation) -> bool:
        """Whether an allocation waits to be ended, and therefore counts as gone."""
        return allocation.serial in self._ending

    def end(self, allocations: Collection[Allocation], end: Callable[[Allocation, Now], None], now: Now) -> None:
        """End these allocations by calling ``end`` for each: the first ones now, as many as fit one slice."""
        self._ending.update((allocation.serial, end) for allocation in allocations)
        self.run(now, SLICE)

    def recheck(self, now: Now) -> None:
        """Ask the peer ACL again about all: one slice now, the rest with `run` (docs/conformance.md, rule 16)."""
        self._state.unchecked = dict.fromkeys(self._state.by_serial)
        self._checking = None
        self.run(now, SLICE)

    def advance(self, now: Now) -> bool:
        """Before an input: do what is due, if it is not too much; returns whether there is more (see `settle`)."""
        if not self.behind:
            upcoming = self._state.deadlines.next()
            if upcoming is None or upcoming > now.mono:
                return False
        if self._spare > 0:
            self._spare -= self._expire(now, self._spare)
        self._look_behind(now)
        return self.behind

    def run(self, now: Now, budget: int | None = None) -> bool:
        """Do one slice of ``budget`` steps, or everything; returns whether there is more. The last step is finished."""
        self._work(now, inf if budget is None else budget)
        self._look_behind(now)
        if self.behind:
            self._spare, self._room = 0.0, _ROOM
        return self.behind

    def settle(self, now: Now, client: FiveTuple | None = None, relay: RelayId | None = None) -> None:
        """Do what is due or waits for the allocation of a client, or of a relay."""
        state = self._state
        if client is not None and (allocation := state.allocation(client)) is not None:
            self._settle_allocation(allocation, now)
        if relay is not None:
            held = state.by_relay.get(relay)
            opening = state.opening_relays.get(relay)
            if held is not None:
                self._settle_allocation(held[0], now)
            elif opening is not None:
                self._settle_allocation(opening[0].allocation, now)

    def settle_key(self, kind: DeadlineKind, item: object, now: Now) -> None:
        """Handle a deadline that is not an allocation's, if it is due."""
        self._settle_keys([DeadlineKey(kind, 0, item)], now)

    def settle_user(self, user_id: str, now: Now) -> None:
        """End allocations of a user that are due or revoked, up to one slice, so that the quota is theirs again."""
        left = SLICE
        for allocation in list(self._state.by_user.get(user_id, ())):
            if left <= 0:
                return
            left -= self._cost(self._settle_allocation, allocation, now)

    def make_room(self, now: Now) -> None:
        """Before an Allocate: end one allocation that is due, so that ports and capacity of the dead can be had."""
        before = len(self._state.allocations)
        while self.behind and self._room > 0 and len(self._state.allocations) >= before:
            self._room -= self._work(now, _SHARE)
            self._look_behind(now)

    # Inside

    @property
    def _has_chores(self) -> bool:
        return bool(self._ending or self._state.unchecked or self._checking is not None)

    def _look_behind(self, now: Now) -> None:
        upcoming = self._state.deadlines.next()
        self.behind = self._has_chores or (upcoming is not None and upcoming <= now.mono)
        if not self.behind:
            self._spare, self._room = SLICE, _ROOM

    def _cost(self, do: Callable[[*_Arguments], None], *arguments: *_Arguments) -> int:
        """Do something and return its steps; an exception costs only this."""
        before = len(self._state.commands)
        try:
            do(*arguments)
        except Exception as error:
            self._fault(error)
        return 1 + len(self._state.commands) - before

    def _work(self, now: Now, budget: float) -> float:
        """Do what is due, then what was left undone; returns the steps, ``budget`` or a few more if there is more."""
        spent = self._expire(now, budget)
        while spent < budget and self._has_chores:
            spent += self._cost(self._do_chore, now)
        return spent

    def _expire(self, now: Now, budget: float) -> float:
        """Handle deadlines, the earliest first; returns the steps."""
        spent = 0.0
        for key in self._state.deadlines.due(now.mono) if budget > 0 else ():
            cost = self._cost(self._expired, key, now)
            spent += _CHEAP if key.kind is DeadlineKind.RETRANSMISSION else cost
            if spent >= budget:
                break
        return spent

    def _do_chore(self, now: Now) -> None:
        """One step: end an allocation, or check one permission, channel or connection."""
        state = self._state
        if self._ending:
            serial = next(iter(self._ending))
            end = self._ending.pop(serial)
            allocation = state.by_serial.get(serial)
            if allocation is not None:
                end(allocation, now)
            return
        if self._checking is None:
            serial = next(iter(state.unchecked))
            allocation = state.by_serial.get(serial)
            if allocation is None:
                del state.unchecked[serial]
                return
            self._checking = self._checks(allocation, now)
        check = next(self._checking, None)
        if check is None:
            self._checking = None
            del state.unchecked[next(iter(state.unchecked))]
        else:
            check()

    def _checks(self, allocation: Allocation, now: Now) -> Iterator[Callable[[], None]]:
        """Ask the peer ACL about each permission and channel of an allocation, and about its connections."""
        state = self._state
        for ip in list(allocation.permissions):
            yield partial(self._check_permission, allocation, ip)
        for bound in list(allocation.channels.values()):
            yield partial(self._check_channel, allocation, bound)
        yield lambda: state.tcp.close_where(
            allocation, lambda peer: state.refusal(peer, TransportProtocol.TCP) is not None, now
        )

    def _check_permission(self, allocation: Allocation, ip: bytes) -> None:
        if ip in allocation.permissions and refusal_of(self._state, Address(ip, 0), with_port=False) is not None:
            self._state.forbid(allocation, ip)

    def _check_channel(self, allocation: Allocation, bound: Channel) -> None:
        if allocation.channels.get(bound.number) is bound and not bound.swallows:
            if refusal_of(self._state, bound.peer, with_port=True) is not None:
                self._state.unbind_channel(allocation, bound.number)

    def _settle_allocation(self, allocation: Allocation, now: Now) -> None:
        end = self._ending.pop(allocation.serial, None)
        if end is not None:
            self._cost(end, allocation, now)
            return
        serial = allocation.serial
        keys = [DeadlineKey(DeadlineKind.OPENING, serial, None)]
        keys += [DeadlineKey(DeadlineKind.RELAY, serial, relay.id) for relay in allocation.relays]
        keys += [DeadlineKey(DeadlineKind.PERMISSION, serial, ip) for ip in allocation.permissions]
        keys += [DeadlineKey(DeadlineKind.CHANNEL, serial, number) for number in allocation.channels]
        keys += [DeadlineKey(DeadlineKind.CONNECTION, 0, each.id) for each in self._state.tcp.of(allocation)]
        self._settle_keys(keys, now)

    def _settle_keys(self, keys: Collection[DeadlineKey], now: Now) -> None:
        deadlines = self._state.deadlines
        for key in keys:
            when = deadlines.get(key)
            if when is not None and when <= now.mono:
                deadlines.remove(key)
                self._cost(self._expired, key, now)
