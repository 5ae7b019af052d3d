"""Runs discoveries: for each transport and family, with the addresses that the servers' names have."""

import asyncio
import contextlib
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from cli.nat.report import NatReport, Way
from cli.nat.sockets import NatSockets, TcpSockets, UdpSockets, mtu_towards, own_address
from stun.address import Address
from stun.client.nat.dialogue import Dialogue
from stun.client.nat.discovery import DiscoveryPlan, discover
from stun.client.nat.steps import Script
from stun.constants import AddressFamily
from stun.uri import StunUri
from turnserver.text import one_line
from turnserver.turnclient.resolve import NameNotResolved, resolve

__all__ = ["Conversing", "Wishes", "run_nat"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the command line asks for.

    ``families`` is empty for those of the servers' addresses. ``patience`` is for one answer, ``lifetime`` how far to
    search; both in seconds.
    """

    uris: Sequence[StunUri]
    transports: Sequence[str] = ("udp",)
    families: Sequence[AddressFamily] = ()
    local: Address | None = None
    patience: float = 5.0
    lifetime: float | None = None


class Conversing:
    """Runs one script over sockets, in real time; it is what the sockets report to."""

    def __init__(self, patience: float, say: Callable[[str], None], *, reliable: bool) -> None:
        self._patience = patience
        self._say = say
        self._reliable = reliable
        self._stirred = asyncio.Event()
        self._dialogue: Dialogue[Any] | None = None

    async def run(self, script: Script[T], sockets: NatSockets) -> T:
        """The result of a script."""
        clock = asyncio.get_running_loop().time
        dialogue: Dialogue[T] = Dialogue(script, secrets.token_bytes, reliable=self._reliable, patience=self._patience)
        self._dialogue = dialogue
        dialogue.begin(clock())
        while True:
            self._stirred.clear()
            while outgoing := dialogue.outgoing():
                for each in outgoing:
                    sockets.send(each.socket, each.to, each.data)
            for note in dialogue.notes():
                self._say(note)
            if dialogue.done:
                return dialogue.result
            deadline = dialogue.deadline()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(deadline):
                    await self._stirred.wait()
            dialogue.expire(clock())

    def received(self, number: int, source: Address, data: bytes) -> None:
        """Something has been received."""
        if self._dialogue is not None:
            self._dialogue.receive(number, source, data, asyncio.get_running_loop().time())
        self._stirred.set()

    def failed(self, number: int, to: Address, why: str) -> None:
        """Nothing can be sent there."""
        if self._dialogue is not None:
            self._dialogue.failed(number, to, why, asyncio.get_running_loop().time())
        self._stirred.set()


async def run_nat(wishes: Wishes, say: Callable[[str], None]) -> NatReport:
    """Find out what the command line asks for; ``say`` is told about the progress of a long search.

    Raises `turnserver.errors.StartupError` if this machine does not allow it.
    """
    addresses, unresolved = await _resolve(wishes)
    families = wishes.families or sorted({address.family for address in addresses})
    if not wishes.families and wishes.local is not None:
        families = [wishes.local.family]
    report = NatReport([str(uri) for uri in wishes.uris], unresolved=unresolved)
    for transport in wishes.transports:
        for family in families:
            servers = [address for address in addresses if address.family is family]
            report.ways.append(await _one_way(wishes, transport, family, servers, say))
    return report


async def _one_way(
    wishes: Wishes, transport: str, family: AddressFamily, servers: Sequence[Address], say: Callable[[str], None]
) -> Way:
    if not servers:
        return Way(transport, family, trouble="The servers have no address of this family.")
    host = wishes.local or next(filter(None, map(own_address, servers)), None)
    if host is None:
        return Way(transport, family, trouble="This machine has no route to the servers.")
    reliable = transport == "tcp"
    conversing = Conversing(wishes.patience, say, reliable=reliable)
    sockets: NatSockets = (TcpSockets if reliable else UdpSockets)(host, conversing)
    plan = DiscoveryPlan(
        servers,
        sockets.local,
        reliable=reliable,
        mtu=mtu_towards(servers[0]),
        lifetime=None if reliable else wishes.lifetime,
    )
    try:
        return Way(transport, family, await conversing.run(discover(plan), sockets))
    finally:
        await sockets.close()


async def _resolve(wishes: Wishes) -> tuple[list[Address], list[str]]:
    """One address of each family for each server, and a sentence for each name that has none."""
    found: list[Address] = []
    unresolved = []
    for uri in wishes.uris:
        try:
            addresses = await resolve(uri, wishes.patience)
        except NameNotResolved as error:
            unresolved.append(one_line(str(error), 200))
            continue
        for family in AddressFamily:
            found += [address for address in addresses if address.family is family][:1]
    return found, unresolved
