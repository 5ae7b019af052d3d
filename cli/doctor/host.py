"""The facts of a host that checks look at. Each is an argument, so that a test gives others."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from ipaddress import ip_address
from pathlib import Path
from typing import Final, NamedTuple

import ifaddr

from cli.addresses import certified_host
from cli.doctor.clock import ClockState, kernel_clock
from cli.doctor.elsewhere import Elsewhere
from cli.doctor.names import Resolver, SystemResolver
from cli.probe.report import Report
from cli.probe.runner import run_probe
from cli.probe.security import Trust
from stun.address import Address
from stun.uri import StunUri
from turnserver.config import Config, Listener
from turnserver.core.settings import OwnAddresses, RelayAddress
from turnserver.core.types import ClientTransport, IpAddress
from turnserver.external import resolved
from turnserver.net import source_address
from turnserver.proxies import is_behind
from turnserver.signaling.edge.ice import valid_host
from turnserver.transports.listeners import expanded

__all__ = ["Host", "Interface", "Output", "ServedSocket", "interfaces", "run"]

_PATIENCE: Final = 5.0
_LONGEST: Final = 10.0
"""Seconds that a program may take."""

_MAX_FILE: Final = 1024 * 1024
_MOST_DOORS: Final = 64
"""Sockets of listeners that are looked at."""


class Interface(NamedTuple):
    """A network interface with its addresses (packed); link-local IPv6 addresses are left out."""

    name: str
    addresses: tuple[bytes, ...]


class Output(NamedTuple):
    """What a program has written to its two outputs, and its exit code."""

    code: int
    out: bytes
    err: bytes


class ServedSocket(NamedTuple):
    """One socket of a listener and one transport that clients use there; ``behind`` proxies, they do not know it."""

    listener: Listener
    transport: ClientTransport
    address: Address
    behind: bool

    @property
    def uri(self) -> StunUri:
        """The STUN URI of it."""
        scheme, transport = self.transport.uri
        return StunUri("stuns" if scheme == "turns" else "stun", self.address.host, self.address.port, transport)

    def __str__(self) -> str:
        """In words: ``udp 192.0.2.1:3478``."""
        return f"{self.uri.protocol} {self.address}"


def interfaces() -> list[Interface]:
    """The interfaces of this host."""
    found = []
    for adapter in ifaddr.get_adapters():
        texts = [entry.ip if isinstance(entry.ip, str) else entry.ip[0].partition("%")[0] for entry in adapter.ips]
        packed = [ip_address(text) for text in texts]
        found.append(Interface(str(adapter.name), tuple(each.packed for each in packed if not _is_zoned(each))))
    return found


def _is_zoned(address: IpAddress) -> bool:
    return address.version == 6 and address.is_link_local


async def run(arguments: Sequence[str]) -> Output:
    """Run a program to its end, for ten seconds at most. Raises OSError if it cannot be started, or takes longer.

    A TimeoutError is one.
    """
    process = await asyncio.create_subprocess_exec(
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(_LONGEST):
            out, err = await process.communicate()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        raise
    return Output(process.returncode or 0, out, err)


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class Host:
    """A host with its configuration, and the ways to ask about it.

    ``proc`` and ``etc`` are the folders of these names. ``route`` gives the address that packets to another one leave
    from (None without a route), ``wall`` the time in UTC. ``trust`` are the roots by which certificates are judged, and
    ``patience`` is how long each answer may take, in seconds. ``elsewhere`` is a server that probes back.
    """

    config: Config
    proc: Path = Path("/proc")
    etc: Path = Path("/etc")
    interfaces: Callable[[], Sequence[Interface]] = interfaces
    route: Callable[[bytes], bytes | None] = source_address
    wall: Callable[[], datetime] = _now
    clock: Callable[[], ClockState] = kernel_clock
    run: Callable[[Sequence[str]], Awaitable[Output]] = run
    resolver: Resolver = field(default_factory=lambda: SystemResolver(_PATIENCE))
    trust: Trust = field(default_factory=Trust)
    patience: float = _PATIENCE
    elsewhere: Elsewhere | None = None

    def read(self, *parts: str) -> str | None:
        """A file below ``proc``; None if it is not there or cannot be read."""
        try:
            with self.proc.joinpath(*parts).open("rb") as stream:
                return stream.read(_MAX_FILE).decode("utf-8", "replace")
        except OSError:
            return None

    def sysctl(self, key: str) -> int | None:
        """A number of the kernel's by its name in sysctl(8), with slashes: names of interfaces may have dots.

        None if there is none of this name here.
        """
        text = self.read("sys", *key.split("/"))
        try:
            return None if text is None else int(text.split()[0])
        except (ValueError, IndexError):
            return None

    async def probe(self, uri: StunUri) -> Report:
        """Ask a STUN server for the address that it sees, whatever its certificate."""
        return await run_probe(uri, None, self.patience, trust=Trust(insecure=True))

    @cached_property
    def doors(self) -> tuple[ServedSocket, ...]:
        """The sockets of all listeners; of wildcards, loopback addresses only if there are no others."""
        return tuple(dict.fromkeys(self._doors()))[:_MOST_DOORS]

    def _doors(self) -> Iterator[ServedSocket]:
        config = self.config
        for listener in (*config.listeners, *config.discovery_listeners):
            if listener.kind.local:
                continue
            behind = listener.kind.stream and is_behind(listener, config)
            found = [each for each in expanded(listener) if each.port]
            open_to_others = [each for each in found if not each.is_loopback]
            for address in open_to_others if listener.address.is_unspecified and open_to_others else found:
                for transport in listener.client_transports:
                    yield ServedSocket(listener, transport, address, behind)

    @cached_property
    def relays(self) -> tuple[RelayAddress, ...]:
        """What is relayed from, and told to clients; what a STUN server would be asked for is not known."""
        config = self.config
        listening = [each for listener in config.listeners for each in expanded(listener)]
        bound = [each.bound for each in OwnAddresses.of(config.relay, listening).relays]
        return OwnAddresses.of(resolved(config.relay, bound), listening).relays

    def public(self, own: bytes) -> bytes:
        """The public address of one of the host's (packed), as far as the configuration says it."""
        told = {relay.bound: relay.external for relay in self.relays}
        return told.get(own) or self.config.relay.external.of(ip_address(own)).packed

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The names of this server that the configuration has: of ``signaling.urls``, else of the certificate."""
        hosts = [uri.host for uri in map(StunUri.parse, self.config.signaling.urls)]
        found = map(valid_host, hosts or [certified_host(self.config)])
        return tuple(dict.fromkeys(each for each in found if each and not _is_address(each) and each != "localhost"))

    @property
    def family_sizes(self) -> frozenset[int]:
        """4 and 16: the sizes of addresses (packed) that listeners have, loopback left out."""
        return frozenset(len(door.address.ip) for door in self.doors if not door.address.is_loopback)


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
