"""What all relays of a datapath have carried together, and dropped by cause: cheap enough for 10,000 open ones.

The sums never go backwards: what a relay has carried is added to ``before`` when it closes.
"""

from collections.abc import Iterable
from typing import NamedTuple

from turnserver.core.types import Counters
from turnserver.losses import Drops
from turnserver.relay.peersocket import PeerSocket

__all__ = ["NOTHING_CARRIED", "Carried", "carried"]


class Carried(NamedTuple):
    """The sums since the start; ``drops`` are the parts of ``counters.dropped``."""

    counters: Counters
    drops: Drops


NOTHING_CARRIED = Carried(Counters(), Drops())


def carried(links: Iterable[PeerSocket], before: Carried) -> Carried:
    """``before``, and what these relays have carried; what their kernel buffers have dropped as it was last seen.

    One loop over plain attributes, without an object for each relay.
    """
    to_peers, bytes_to_peers, to_client, bytes_to_client, _ = before.counters
    unpermitted, undelivered, unsent, overrun = before.drops
    for link in links:
        udp = link.udp
        to_peers += udp.packets_out
        bytes_to_peers += udp.bytes_out
        to_client += link.packets_to_client
        bytes_to_client += link.bytes_to_client
        unpermitted += link.unpermitted
        undelivered += link.dropped
        unsent += udp.dropped
        overrun += udp.seen_lost
    drops = Drops(unpermitted, undelivered, unsent, overrun)
    return Carried(Counters(to_peers, bytes_to_peers, to_client, bytes_to_client, sum(drops)), drops)
