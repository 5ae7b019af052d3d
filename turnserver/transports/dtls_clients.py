"""The clients of a DTLS listener: a handshake under way, and the path of a client once it is complete."""

import asyncio
import math
from collections.abc import Sequence

from turnserver.core.types import FiveTuple
from turnserver.dtls import DtlsSession
from turnserver.net import Destination
from turnserver.paths import ChannelHop
from turnserver.receiver import Source
from turnserver.transports.limits import ConnectionSlot

__all__ = ["DtlsCounters", "DtlsHandshake", "DtlsPath"]


class DtlsCounters:
    """What a listener counts: frames in both directions and their bytes, and what was dropped."""

    __slots__ = ("bytes_in", "bytes_out", "dropped", "packets_in", "packets_out")

    def __init__(self) -> None:
        self.packets_in = self.bytes_in = self.packets_out = self.bytes_out = self.dropped = 0


class DtlsHandshake:
    """A handshake under way, whose client has proven its address. ``deadline`` is in monotonic seconds."""

    __slots__ = ("deadline", "destination", "random", "session", "slot", "source", "timer")

    def __init__(
        self,
        source: Source,
        destination: Destination,
        session: DtlsSession,
        slot: ConnectionSlot,
        *,
        random: bytes,
        deadline: float,
    ) -> None:
        self.source = source
        self.destination = destination
        self.session = session
        self.slot = slot
        self.random = random
        """The random of its ClientHello, by which a retransmission is known."""
        self.deadline = deadline
        self.timer: asyncio.TimerHandle | None = None

    def flush(self) -> None:
        """Send what the session has to send."""
        for datagram in self.session.flight():
            self.destination.send(datagram)

    def stop(self) -> None:
        """Cancel the timer."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None


class DtlsPath:
    """The path of one client; see `turnserver.paths.ClientPath`.

    ``idle_deadline`` is the monotonic time in seconds after which the transport ends the session.
    """

    __slots__ = (
        "_counters",
        "channels",
        "client",
        "destination",
        "idle_deadline",
        "kept",
        "known",
        "random",
        "session",
        "slot",
        "source",
    )

    padded: bool = True

    def __init__(
        self, client: FiveTuple, handshake: DtlsHandshake, counters: DtlsCounters, idle_deadline: float
    ) -> None:
        self.channels: dict[int, ChannelHop] = {}
        self.client = client
        self.source = handshake.source
        self.destination = handshake.destination
        self.session = handshake.session
        self.slot = handshake.slot
        self.random = handshake.random
        self.idle_deadline = idle_deadline
        self.kept = False
        """Whether the client has an allocation, and may therefore be idle."""
        self.known = False
        """Whether the sink has received a frame of the client."""
        self._counters = counters

    def keep(self, on: bool, idle_deadline: float) -> None:
        """Whether the client may be idle without limit; if not, until ``idle_deadline``."""
        self.kept = on
        self.idle_deadline = math.inf if on else idle_deadline
        self.slot.use(on)

    def send(self, data: bytes | memoryview, tos: int = 0) -> bool:
        """Send one whole frame to the client in a record of its own; False, and counted, if it had to be dropped."""
        counters = self._counters
        record = self.session.seal(data)
        if record is None or not self.destination.send(record, tos):
            counters.dropped += record is None  # the socket counts what it could not send
            return False
        counters.packets_out += 1
        counters.bytes_out += len(data)
        return True

    def send_run(self, datagrams: Sequence[bytes | memoryview], tos: int = 0) -> bool:
        """Send frames of one size. Each has its record by then, so that none can be tried again: always true."""
        sealed = [self.session.seal(datagram) for datagram in datagrams]
        whole = [record for record in sealed if record is not None]
        counters = self._counters
        counters.dropped += len(sealed) - len(whole)
        if not whole:
            return True
        if self.destination.send_run(whole, tos):
            sent = len(whole)
        else:
            sent = sum([self.destination.send(record, tos) for record in whole])
        counters.packets_out += sent
        counters.bytes_out += sent * len(datagrams[0])
        return True
