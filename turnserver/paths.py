"""The seam between transports and datapaths: how relayed packets go past the core, from a client's side to a peer's.

A transport owns a `ClientPath` for each client. The datapath hangs a `ChannelHop` into it for every channel that has a
route, and the transport gives ChannelData of that channel to the hop. Neither knows more of the other.
"""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

__all__ = ["ChannelHop", "ClientPath", "Pausable"]


class ChannelHop(Protocol):
    """The way from one channel of one client to its peer."""

    expires: float
    """Monotonic time, in seconds, after which the transport must not use the hop (it hands the frame to the core)."""

    def send(self, data: bytes | memoryview, tos: int = 0) -> bool:
        """Send one datagram to the peer; False, and counted, if it had to be dropped. Never raises.

        ``tos`` is the DSCP/ECN byte seen, or 0.
        """

    def send_run(self, datagrams: Sequence[bytes | memoryview], tos: int = 0) -> bool:
        """Send datagrams of one size in one go; False if *none* was sent, and the caller may try them one by one."""


class ClientPath(Protocol):
    """How to reach one client; made and owned by the client's transport."""

    channels: dict[int, ChannelHop]
    """The client's live channels; written by the datapath, read by the transport."""

    padded: bool
    """True where ChannelData is padded to four bytes (streams, RFC 8656 §12.5; and DTLS)."""

    def send(self, data: bytes | memoryview, tos: int = 0) -> bool:
        """Send one whole frame to the client; False if it had to be dropped (a full buffer, a path gone)."""

    def send_run(self, datagrams: Sequence[bytes | memoryview], tos: int = 0) -> bool:
        """Send frames of one size in one go; False if *none* was sent, and the caller may try them one by one."""


@runtime_checkable
class Pausable(Protocol):
    """A transport or a datapath that drops media which has waited while the server did not run."""

    def paused(self, on: bool) -> None:
        """The server runs again after a pause: drop the media that waits now (``on``); or stop doing so."""
