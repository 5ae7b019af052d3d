"""The state of a client at its server, with expiry: allocation, permissions, channels (RFC 8656 §7–§12).

A lifetime begins when the server processes the request, which is after the request was sent. The client counts from the
time of sending, so it never uses something that has expired at the server. Each item is renewed a minute before its
end, which is enough for a transaction with its retransmissions. A channel number stays reserved for its peer for five
minutes after the binding has ended (§12).

`Holdings` is a table with deadlines. It sends nothing; `stun.client.core` renews what `due` names.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from stun.address import Address
from stun.client.errors import ClientError, NoAllocation
from stun.client.events import AllocationGrant, AllocationLost, ChannelLost, ClientEvent, PermissionLost
from stun.constants import CHANNEL_MAX, CHANNEL_MIN

__all__ = [
    "CHANNEL_LIFETIME",
    "PERMISSION_LIFETIME",
    "REFUSED_RETRY_AFTER",
    "RENEW_BEFORE",
    "RETRY_AFTER",
    "HeldChannel",
    "Holding",
    "Holdings",
]

PERMISSION_LIFETIME: Final = 300.0
"""Seconds (RFC 8656 §9)."""

CHANNEL_LIFETIME: Final = 600.0
"""Seconds (RFC 8656 §12)."""

RENEW_BEFORE: Final = 60.0
"""Seconds before its end at which an item is renewed; with a lifetime below two minutes, half of that."""

RETRY_AFTER: Final = 5.0
"""Seconds until a renewal without an answer is tried again, while the item has not expired."""

REFUSED_RETRY_AFTER: Final = 20.0
"""The same for a refused renewal: more frequent tries would look like password guessing."""

TOGETHER: Final = 30.0
"""Seconds: permissions that will be due within this time are renewed together with those that are due now."""

_NUMBER_KEPT: Final = 300.0
"""Seconds after the end of a binding before its number may go to another peer, or its peer to another number (§12)."""

_NEVER: Final = float("inf")


@dataclass(slots=True)
class Holding:
    """An item that ends at ``until`` and is due for renewal at ``renew``; ``pending`` during a renewal."""

    until: float
    renew: float
    pending: bool = False

    @classmethod
    def lasting(cls, since: float, lifetime: float) -> "Holding":
        """An item with a lifetime of ``lifetime`` seconds from ``since``."""
        return cls(since + lifetime, since + max(lifetime - RENEW_BEFORE, lifetime / 2))

    def renewed(self, since: float, lifetime: float) -> None:
        """Start a new lifetime of ``lifetime`` seconds at ``since``."""
        self.until = since + lifetime
        self.renew = since + max(lifetime - RENEW_BEFORE, lifetime / 2)
        self.pending = False

    def is_due(self, moment: float) -> bool:
        """Whether it is to be renewed at that moment."""
        return not self.pending and self.renew <= moment


@dataclass(slots=True, kw_only=True)
class HeldChannel(Holding):
    """A channel: bound until ``until``, and its number reserved until ``free``."""

    number: int
    peer: Address
    free: float = _NEVER


class Holdings:
    """The allocation of one client, with its permissions by IP address and its channels by number.

    ``renewing`` says whether items are renewed; otherwise they only expire.
    """

    def __init__(self, *, renewing: bool) -> None:
        self.allocation: AllocationGrant | None = None
        self.generation = 0
        """Number of the allocation, so that answers for an earlier one are recognized."""
        self.trouble: ClientError | None = None
        """Why the last renewal of the allocation failed; None if it did not."""
        self.ticket: bytes | None = None
        """The last ticket of a mobile allocation (RFC 8016)."""
        self.life = Holding(_NEVER, _NEVER)
        self.permissions: dict[bytes, Holding] = {}
        self.channels: dict[int, HeldChannel] = {}
        self._by_peer: dict[Address, HeldChannel] = {}
        self._next_number = CHANNEL_MIN
        self._renewing = renewing
        self._deadline: float | None = None
        self._stale = False

    # The allocation

    def opened(self, allocation: AllocationGrant, since: float, ticket: bytes | None = None) -> None:
        """An Allocate has succeeded; the state of an earlier one is removed."""
        self.closed()
        self.allocation = allocation
        self.ticket = ticket or None
        self.life = Holding.lasting(since, allocation.lifetime)

    def refreshed(self, lifetime: int, since: float, ticket: bytes | None = None) -> None:
        """A Refresh has succeeded; a mobile allocation has a new ticket by it."""
        if self.allocation is not None:
            self.ticket = ticket or self.ticket
            self.allocation = self.allocation._replace(lifetime=lifetime)
            self.life.renewed(since, lifetime)
            self.trouble = None
            self._stale = True

    def closed(self) -> None:
        """Remove the allocation, its permissions and its channels."""
        self.allocation = None
        self.generation += 1
        self.trouble = None
        self.ticket = None
        self.life = Holding(_NEVER, _NEVER)
        self.permissions.clear()
        self.channels.clear()
        self._by_peer.clear()
        self._next_number = CHANNEL_MIN
        self._stale = True

    def successor(self) -> "Holdings":
        """Empty ones, for a client whose allocation another 5-tuple has now; answers to it are for an earlier one."""
        successor = Holdings(renewing=self._renewing)
        successor.generation = self.generation + 1
        return successor

    def moved(self) -> None:
        """Another 5-tuple has them: no renewal is under way there, and the mapped address is another one."""
        if self.allocation is not None:
            self.allocation = self.allocation._replace(mapped=None)
        for held in (self.life, *self.permissions.values(), *self.channels.values()):
            held.pending = False
        self._stale = True

    def lost(self, error: ClientError | None) -> list[ClientEvent]:
        """The allocation was lost; returns the events."""
        if self.allocation is None:
            return []
        self.closed()
        return [AllocationLost(error)]

    # Permissions

    def permitted(self, ip: bytes, since: float) -> None:
        """A CreatePermission or a ChannelBind for this address has succeeded."""
        held = self.permissions.get(ip)
        if held is None:
            self.permissions[ip] = Holding.lasting(since, PERMISSION_LIFETIME)
        else:
            held.renewed(since, PERMISSION_LIFETIME)
        self._stale = True

    def is_permitted(self, ip: bytes, now: float) -> bool:
        """Whether there is a permission for this address."""
        held = self.permissions.get(ip)
        return held is not None and held.until > now

    def forbidden(self, ip: bytes, error: ClientError | None) -> list[ClientEvent]:
        """A permission was lost; returns the events."""
        if self.permissions.pop(ip, None) is None:
            return []
        self._stale = True
        return [PermissionLost(ip, error)]

    # Channels

    def reserve(self, peer: Address, number: int | None, now: float) -> HeldChannel:
        """The channel that is to be bound to a peer: the one that it has, or one with a free number.

        Raises ValueError for a number out of range, or one of another peer, and `NoAllocation` when all 4,096
        numbers are taken.
        """
        held = self._by_peer.get(peer)
        if held is not None and held.free > now:
            if number not in (None, held.number):
                raise ValueError(f"the peer {peer} has the channel 0x{held.number:04x} already")
            return held
        if number is None:
            number = self._free_number(now)
        elif not CHANNEL_MIN <= number <= CHANNEL_MAX:
            raise ValueError(f"no channel number: {number:#06x}; they go from {CHANNEL_MIN:#06x} to {CHANNEL_MAX:#06x}")
        elif not self._is_free(number, now):
            raise ValueError(f"the channel {number:#06x} belongs to {self.channels[number].peer}")
        self._drop(number)
        channel = HeldChannel(until=0.0, renew=_NEVER, number=number, peer=peer)
        self.channels[number] = self._by_peer[peer] = channel
        self._stale = True
        return channel

    def bound(self, channel: HeldChannel, since: float) -> None:
        """A ChannelBind has succeeded."""
        if self.channels.get(channel.number) is channel:
            channel.renewed(since, CHANNEL_LIFETIME)
            channel.free = _NEVER
            self.permitted(channel.peer.ip, since)

    def unbound(self, channel: HeldChannel, now: float, error: ClientError | None, *, known: bool) -> list[ClientEvent]:
        """A ChannelBind has failed; returns the events. ``known``: the server has refused it, so nothing is bound."""
        if self.channels.get(channel.number) is not channel:
            return []
        was_bound = channel.until > now
        channel.until, channel.renew, channel.pending = 0.0, _NEVER, False
        self._stale = True
        if known and not was_bound:
            self._drop(channel.number)
        else:
            channel.free = now + CHANNEL_LIFETIME + _NUMBER_KEPT
        return [ChannelLost(channel.number, channel.peer, error)] if was_bound else []

    def channel_to(self, peer: Address, now: float) -> int | None:
        """The channel that is bound to a peer; None if none is."""
        channel = self._by_peer.get(peer)
        return channel.number if channel is not None and channel.until > now else None

    def peer_of(self, number: int, now: float) -> Address | None:
        """The peer of a channel that is bound, or being bound: the server may be ahead of its answer (RFC 8656 §12)."""
        channel = self.channels.get(number)
        if channel is None or (channel.until <= now and not channel.pending):
            return None
        return channel.peer

    def forget(self, peer: Address, now: float) -> None:
        """Let the channel and the permission of a peer expire: no request deletes them.

        Another peer's channel with the same IP address keeps the permission.
        """
        channel = self._by_peer.get(peer)
        if channel is not None:
            channel.free = max(channel.until, now) + _NUMBER_KEPT
            channel.until, channel.renew = 0.0, _NEVER
        if not any(other.peer.ip == peer.ip and other.until > now for other in self.channels.values()):
            self.permissions.pop(peer.ip, None)
        self._stale = True

    # Time

    def lapse(self, now: float) -> list[ClientEvent]:
        """Remove what has expired; returns the events."""
        if self.allocation is None:
            return []
        if self.life.until <= now:
            return self.lost(self.trouble)
        told: list[ClientEvent] = []
        for ip in [ip for ip, held in self.permissions.items() if held.until <= now]:
            told += self.forbidden(ip, None)
        for channel in self.channels.values():
            if 0.0 < channel.until <= now:
                channel.free = channel.until + _NUMBER_KEPT
                channel.until, channel.renew = 0.0, _NEVER
                told.append(ChannelLost(channel.number, channel.peer, None))
                self._stale = True
        return told

    def due_permissions(self, now: float) -> list[bytes]:
        """The addresses whose permissions to renew: those that are due, and those that soon will be."""
        if not any(held.is_due(now) for held in self.permissions.values()):
            return []
        return [ip for ip, held in self.permissions.items() if held.is_due(now + TOGETHER)]

    def due_channels(self, now: float) -> Iterator[HeldChannel]:
        """The channels to bind again."""
        return (channel for channel in list(self.channels.values()) if channel.is_due(now))

    def changed(self) -> None:
        """Deadlines were changed by the caller."""
        self._stale = True

    def deadline(self) -> float | None:
        """The time of the next expiry or renewal; None if there is none."""
        if self._stale:
            held = [self.life, *self.permissions.values(), *self.channels.values()]
            ends = [each.until for each in held if 0.0 < each.until < _NEVER]
            if self._renewing:
                ends += [each.renew for each in held if not each.pending and each.renew < _NEVER]
            self._deadline = min(ends, default=None)
            self._stale = False
        return self._deadline

    def _is_free(self, number: int, now: float) -> bool:
        channel = self.channels.get(number)
        return channel is None or channel.free <= now

    def _free_number(self, now: float) -> int:
        count = CHANNEL_MAX - CHANNEL_MIN + 1
        for step in range(count):
            number = CHANNEL_MIN + (self._next_number - CHANNEL_MIN + step) % count
            if self._is_free(number, now):
                self._next_number = number + 1
                return number
        raise NoAllocation(f"All {count} channel numbers are taken.")

    def _drop(self, number: int) -> None:
        channel = self.channels.pop(number, None)
        if channel is not None and self._by_peer.get(channel.peer) is channel:
            del self._by_peer[channel.peer]
        self._stale = True
