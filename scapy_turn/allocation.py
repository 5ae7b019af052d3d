# SPDX-License-Identifier: GPL-2.0-or-later
"""An allocation that stays: authentication, refreshes, permissions and channels, kept by a thread of its own."""

import contextlib
import threading
import time
from collections.abc import Callable
from select import select
from typing import Any

from scapy.error import Scapy_Exception
from scapy.packet import Packet, Raw

from scapy_turn.datagrams import Peer
from scapy_turn.demultiplex import Turn
from scapy_turn.integrity import Credential, verify
from scapy_turn.message import ChannelData, StunMessage
from scapy_turn.registry import ERROR, ERRORS, INDICATION, REQUEST
from scapy_turn.stun_attributes import StunErrorCode, StunXorMappedAddress
from scapy_turn.turn_attributes import (
    StunChannelNumber,
    StunData,
    StunIcmp,
    StunLifetime,
    StunRequestedAddressFamily,
    StunRequestedTransport,
    StunXorPeerAddress,
    StunXorRelayedAddress,
)
from scapy_turn.wire import RETRANSMISSION, Bell, Wire

__all__ = ["Allocation", "NoAnswer", "Refused"]

PERMISSION_LIFETIME = 300.0
CHANNEL_LIFETIME = 600.0
MARGIN = 60.0
"""Seconds before its end at which something is renewed, or half of its life if that is shorter."""


class NoAnswer(Scapy_Exception):
    """The server has not answered a request."""


class Refused(Scapy_Exception):
    """The server has refused a request: ``code`` and ``reason`` of the response (RFC 8656 §19)."""

    def __init__(self, response: StunMessage) -> None:
        found = response.attribute(StunErrorCode)
        self.code = response.error or 0
        self.reason = ERRORS.get(self.code, "")
        if found is not None:
            # coturn counts its padding in the length.
            self.reason = bytes(found.reason).decode("utf-8", "replace").rstrip("\0")
        self.response = response
        super().__init__(f"{self.code} {ascii(self.reason)[1:-1]}")


class Allocation:
    """An allocation on a server, made at once, and deleted by `close`.

    ``heard`` is called in the thread with what peers send: their address, and a payload or, for an error that a router
    or a peer has reported, a `StunIcmp`. Raises `Refused` or `NoAnswer` if there is no allocation.
    """

    def __init__(
        self,
        wire: Wire,
        credential: Credential,
        heard: Callable[[Peer, bytes | StunIcmp], None],
        *,
        family: int = 1,
        lifetime: int = 600,
        patience: float = 10.0,
    ) -> None:
        self.wire, self.credential, self.patience = wire, credential, patience
        self.channels: dict[Peer, int] = {}
        self._heard = heard
        self._lock = threading.RLock()
        self._answered = threading.Condition(self._lock)
        self._answers: dict[bytes, StunMessage | None] = {}
        self._due: dict[tuple[str, Any], float] = {}
        self._bell = Bell()
        self._open = True
        self.failure: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="scapy-turn", daemon=True)
        self._thread.start()
        wanted: list[Packet] = [StunRequestedTransport(), StunLifetime(lifetime=lifetime)]
        if family == 2:
            wanted.append(StunRequestedAddressFamily(family=2))
        try:
            response = self.request("Allocate", *wanted)
            relayed, mapped = response.attribute(StunXorRelayedAddress), response.attribute(StunXorMappedAddress)
            if relayed is None:
                raise NoAnswer("the answer to Allocate has no relayed address")
        except Exception:
            self._end()
            raise
        except BaseException:
            self.close()  # interrupted: the server may have it by now
            raise
        self.relayed: Peer = (relayed.address, relayed.port)
        self.mapped: Peer = (mapped.address, mapped.port) if mapped is not None else ("0.0.0.0", 0)
        self._renew("allocation", None, self._lifetime(response))

    def request(self, method: str, *attributes: Packet) -> StunMessage:
        """Ask, authenticate as the server wants it (RFC 8489 §9.2.5), and return its success response.

        Raises `Refused` for any other response, and `NoAnswer` without one.
        """
        response = self._ask(method, attributes)
        for _ in range(2):
            stale = response.error == 438 or (response.error == 401 and self.credential.nonce is None)
            if not stale or not self.credential.learn(response):
                break
            response = self._ask(method, attributes)
        if response.msgclass == ERROR:
            raise Refused(response)
        return response

    def permit(self, *addresses: str) -> None:
        """Let these addresses through, until the allocation ends."""
        parts = [StunXorPeerAddress(address=address, port=0) for address in addresses]
        self.request("CreatePermission", *parts)
        for address in addresses:
            self._renew("permission", address, PERMISSION_LIFETIME)

    def bind(self, peer: Peer) -> int:
        """Bind a channel to a peer, until the allocation ends; the channel's number."""
        with self._lock:
            number = self.channels.get(peer, 0x4000 + len(self.channels))
        self.request("ChannelBind", StunChannelNumber(number=number), _at(peer))
        with self._lock:
            self.channels[peer] = number
        self._renew("channel", peer, min(CHANNEL_LIFETIME, PERMISSION_LIFETIME))
        return number

    def send(self, peer: Peer, data: bytes, *, channel: bool = True) -> None:
        """Send to a peer: over its channel if it has one, else as a Send indication. It permits the address first.

        ``channel`` binds one if there is none. Raises what `request` raises.
        """
        number = self.channels.get(peer)
        if number is None and channel:
            number = self.bind(peer)
        if number is None and ("permission", peer[0]) not in self._due:
            self.permit(peer[0])
        if number is not None:
            self._send(ChannelData(number=number) / Raw(data))
        else:
            self._send(StunMessage(method="Send", msgclass="indication", attributes=[_at(peer), StunData(data=data)]))

    def close(self) -> None:
        """Delete the allocation, and close the connection. Does nothing the second time."""
        if not self._open:
            return
        try:
            if self.failure is None:
                self.patience = min(self.patience, 2.0)
                with contextlib.suppress(Refused, NoAnswer, OSError, EOFError):
                    self.request("Refresh", StunLifetime(lifetime=0))
        finally:
            self._end()

    def _end(self) -> None:
        self._open = False
        self._bell.ring()
        if self._thread is not threading.current_thread():
            self._thread.join()
            self._bell.close()
        self.wire.close()

    def _ask(self, method: str, attributes: tuple[Packet, ...]) -> StunMessage:
        """One transaction, with its retransmissions (RFC 8489 §6.2.1)."""
        message = self.credential.request(method, *attributes)
        data, key = bytes(message), message.transaction
        with self._answered:
            self._answers[key] = None
            give_up, interval = time.monotonic() + self.patience, RETRANSMISSION
            try:
                while self._open and self.failure is None and (now := time.monotonic()) < give_up:
                    self._send(data)
                    until = min(give_up, now + interval) if self.wire.datagrams else give_up
                    interval *= 2
                    self._answered.wait_for(lambda: self._answers[key] or self.failure, until - now)
                    answer = self._answers[key]
                    if answer is not None:
                        return answer
            finally:
                del self._answers[key]
        raise NoAnswer(f"no answer to {method}" + (f": {self.failure}" if self.failure else ""))

    def _send(self, packet: Packet | bytes) -> None:
        with self._lock:
            self.wire.send(packet)

    def _renew(self, what: str, which: Any, lifetime: float) -> None:
        """Note when something has to be renewed."""
        with self._lock:
            self._due[what, which] = time.monotonic() + max(lifetime - MARGIN, lifetime / 2)
        self._bell.ring()

    @staticmethod
    def _lifetime(response: StunMessage) -> float:
        found = response.attribute(StunLifetime)
        return float(found.lifetime) if found is not None else 600.0

    def _run(self) -> None:
        """Read, and start what is due. Renewals have threads of their own, since they wait for answers read here."""
        try:
            while self._open:
                with self._lock:
                    late = [key for key, when in self._due.items() if when <= time.monotonic()]
                    for key in late:
                        self._due[key] = time.monotonic() + MARGIN
                    next_due = min(self._due.values(), default=time.monotonic() + MARGIN)
                for key in late:
                    threading.Thread(target=self._again, args=key, daemon=True).start()
                select([self.wire.fileno(), self._bell.fileno()], [], [], max(0.0, next_due - time.monotonic()))
                self._bell.clear()
                with self._lock:
                    frames = self.wire.read() if self._open else []
                for frame in frames:
                    self._take(frame)
        except (OSError, EOFError, ValueError) as error:
            with self._answered:
                self.failure = error
                self._answered.notify_all()

    def _again(self, what: str, which: Any) -> None:
        try:
            if what == "allocation":
                self._renew(what, which, self._lifetime(self.request("Refresh")))
            elif what == "permission":
                self.permit(which)
            else:
                self.bind(which)
        except (Refused, NoAnswer, OSError):
            # It is tried again after MARGIN, as `_run` has noted.
            return

    def _take(self, frame: bytes) -> None:
        """One frame from the server."""
        layer = Turn(frame) if frame else Raw()
        if isinstance(layer, ChannelData):
            with self._lock:
                peer = next((peer for peer, number in self.channels.items() if number == layer.number), None)
            if peer is not None:
                self._heard(peer, bytes(layer.payload)[: layer.length])
        elif isinstance(layer, StunMessage) and layer.msgclass == INDICATION:
            source, data, icmp = (layer.attribute(kind) for kind in (StunXorPeerAddress, StunData, StunIcmp))
            if source is not None and (data is not None or icmp is not None):
                self._heard((source.address, source.port), icmp if icmp is not None else bytes(data.data))
        elif isinstance(layer, StunMessage) and layer.msgclass != REQUEST:
            self._settle(layer)  # a request that comes back is signed with the right key, and is no answer

    def _settle(self, response: StunMessage) -> None:
        """A response: right if it is sealed with the user's key, or if it says why there is no seal."""
        with self._answered:
            known = response.transaction in self._answers
            sealed = self.credential.nonce is None or verify(response, self.credential.key).ok
            if known and (sealed or response.error in {400, 401, 420, 438, 500}):
                self._answers[response.transaction] = response
                self._answered.notify_all()


def _at(peer: Peer) -> StunXorPeerAddress:
    return StunXorPeerAddress(address=peer[0], port=peer[1])
