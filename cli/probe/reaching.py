"""Whether traffic from outside reaches the relay: the addresses are compared, and a socket of the probe is a peer.

The server lets a peer in only with a permission, and by default it gives none for a private address, such as this
machine's in its own network. Then the relay's port is tried once more after the relay is gone: if the system of the
server says that it is closed, by ICMP, datagrams from here arrive there.
"""

import asyncio
import secrets
import statistics
from dataclasses import dataclass
from typing import Final

from cli.probe.conversation import Conversation
from cli.probe.outside import Outside
from cli.probe.report import Report, Step
from stun.address import Address
from turnserver.relay_advice import is_private

__all__ = ["TRIES", "Places", "Reach", "compare", "is_closed", "try_outside", "without_permission"]

TRIES: Final = 3
"""Datagrams sent from outside, one after the other; fewer than echoes, because each that is lost costs a second."""

_PATIENCE: Final = 1.0
"""Seconds to wait for one datagram before it counts as lost."""


@dataclass(frozen=True, slots=True)
class Places:
    """Where everything stands: the server as it was reached, this machine as the server sees it, the relays."""

    server: Address
    reflexive: Address
    relayed: tuple[Address, ...] = ()
    over_udp: bool = True

    def peer(self, source: Address) -> Address:
        """What the server sees a socket of this machine as, as far as that is known: behind a NAT, its public side."""
        return self.reflexive if self.reflexive.family is source.family else source

    @property
    def ports(self) -> str:
        """The relayed ports, in words."""
        found = sorted({address.port for address in self.relayed})
        return f"port{'s' if len(found) > 1 else ''} {' and '.join(map(str, found))}"


@dataclass(slots=True)
class Reach:
    """What has been found out so far about the way to a relayed address."""

    outside: Outside
    relayed: Address
    rejected: bool = False
    """An ICMP error said that the port is closed while the relay was there: a firewall says so, or another host."""

    @property
    def local(self) -> bool:
        """Whether the relay is on this machine, so that there is no network between."""
        return self.outside.source.ip == self.relayed.ip or self.relayed.is_loopback


def compare(places: Places) -> Step | None:
    """What is strange about the first relayed address beside the server's and this machine's; None if nothing is."""
    relayed, server = places.relayed[0], places.server
    if relayed.family is not server.family or relayed.ip == server.ip:
        return None
    if relayed.is_loopback or (is_private(relayed.ip) and not is_private(server.ip) and not server.is_loopback):
        kind = "a loopback address" if relayed.is_loopback else "private"
        return Step(
            "addresses",
            False,
            f"The relayed address {relayed.host} is {kind}, and the server was reached at {server.host}: peers on "
            "other networks cannot send to it.",
            "The server is behind NAT and does not know its public address: set it (meshturn: relay.external; coturn: "
            "external-ip).",
        )
    also = ""
    if relayed.ip == places.reflexive.ip:
        also = " It is this machine's own public address, too: both are behind the same NAT."
    return Step(
        "addresses",
        True,
        f"The relayed address {relayed.host} is not the one at which the server was reached, {server.host}.{also}",
        "This is right behind NAT, or with several addresses; otherwise the public address that it is told is wrong.",
    )


async def try_outside(client: Conversation, reach: Reach, report: Report, places: Places) -> bool:
    """Send from the probe's own socket to the relayed address, and back; ``client`` has a permission for it.

    False, and nothing reported, if a server on this machine takes nothing from its own host: the relay's address is
    that of every other program there.
    """
    clock = asyncio.get_running_loop().time
    tries = 1 if reach.local else TRIES
    arrived, times = 0, []
    for _ in range(tries):
        data, answer = (b"meshturn probe " + secrets.token_bytes(17) for _ in range(2))
        started = clock()
        reach.outside.send(data)
        peer = await _peer_of(client, data)
        if peer is None:
            continue
        arrived += 1
        client.send(peer, answer)
        if await _comes_back(reach.outside, answer):
            times.append(clock() - started)
    reach.rejected = reach.outside.refused > 0 and not arrived
    where, source = reach.relayed, places.peer(reach.outside.source)
    if not arrived and reach.local:
        return False
    if not arrived:
        sentence = (
            f"None of {tries} datagrams from this machine ({source.host}) to the relayed address {where} came through."
        )
        report.steps.append(Step("outside", False, sentence, _why(reach, places)))
    elif not times:
        sentence = f"Datagrams from this machine reach the relayed address {where}, but none comes back from it."
        report.steps.append(
            Step("outside", False, sentence, "A firewall lets the server's relay ports send nothing to this machine.")
        )
    else:
        sentence = f"{len(times)} of {tries} datagrams from this machine to the relayed address {where} were answered."
        lost = "Datagrams are lost; a call would have gaps." if len(times) < tries else ""
        report.steps.append(Step("outside", True, sentence, _note(reach) or lost, seconds=statistics.median(times)))
    return True


async def is_closed(outside: Outside, tries: int = TRIES) -> bool:
    """Whether the port at the other end is said to be closed (ICMP)."""
    for _ in range(tries):
        before = outside.refused
        outside.send(b"meshturn probe")
        await outside.incoming(_PATIENCE)
        if outside.refused > before:
            return True
    return False


async def without_permission(reach: Reach, report: Report, places: Places) -> None:
    """Try the port of a relay that is gone now, because the server takes nothing from this machine."""
    where, source = reach.relayed, places.peer(reach.outside.source)
    who = f"this machine ({source.host})"
    reason = "takes nothing from its own host" if reach.local else f"lets {who} be no peer (403)"
    if not reach.rejected and await is_closed(reach.outside):
        sentence = (
            f"The server {reason}, so nothing was sent through; but its host answers that the port of {where} is "
            "closed now, so the way there is open."
        )
        report.steps.append(Step("outside", True, sentence, _note(reach)))
        return
    sentence = (
        f"Nothing shows that datagrams from {who} reach the relayed address {where}: the server {reason}, and the port "
        "does not answer."
    )
    hint = f"{_why(reach, places)} To be sure, run the probe from a public address, or allow this one for the test."
    report.steps.append(Step("outside", False, sentence, hint))


def _why(reach: Reach, places: Places) -> str:
    """The likely reasons for silence, the most likely first."""
    firewall = f"a firewall in front of the server's relay ports ({places.ports} here; usually UDP 49152-65535)"
    wrong = f"a wrong public address ({reach.relayed.host}; meshturn: relay.external)"
    causes = [firewall] if reach.relayed.ip == places.server.ip else [wrong, firewall]
    if reach.rejected:
        causes[0] += "; whatever is there answers that the port is closed (ICMP)"
    if not places.over_udp:
        causes.append("this machine's network, if it lets no UDP out")
    return f"It is {', or '.join(causes)}."


def _note(reach: Reach) -> str:
    if not reach.local:
        return ""
    return "The relay is on this machine: what a firewall or NAT does to others was not seen. Run the probe elsewhere."


async def _peer_of(client: Conversation, data: bytes) -> Address | None:
    """Wait for a datagram at the client; the peer that it came from, None if it does not come in time."""
    clock = asyncio.get_running_loop().time
    deadline = clock() + _PATIENCE
    while (left := deadline - clock()) > 0:
        item = await client.incoming(left)
        if item is not None and item.data == data:
            return item.peer
    return None


async def _comes_back(outside: Outside, data: bytes) -> bool:
    clock = asyncio.get_running_loop().time
    deadline = clock() + _PATIENCE
    while (left := deadline - clock()) > 0:
        if await outside.incoming(left) == data:
            return True
    return False
