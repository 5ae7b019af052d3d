"""The public addresses in front of a server, ``relay.external``, as they are on this host.

A mapping says them all. One address, and ``auto``, leave open which of the host's addresses it is for: the pairs are
made here, from the addresses that relays would be bound on. For ``auto``, a STUN server is asked from each of these, at
the start and every few minutes, since public addresses change. Until it answers, an address keeps the public one that
it had.

Relays of two addresses cannot share a public one, because their ports would collide there. The one that the host sends
from towards the public address is taken, and nothing is relayed from the other.
"""

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Callable, Mapping, Sequence
from ipaddress import ip_address
from types import MappingProxyType
from typing import Final

from stun.address import Address
from stun.client.core import ClientCore, ClientOptions
from stun.client.errors import ClientError
from stun.uri import StunUri
from turnserver.config import Config, External, RelayConfig
from turnserver.core.settings import OwnAddresses
from turnserver.errors import StartupError
from turnserver.faults import Faults
from turnserver.net import has_address, source_address
from turnserver.relay_advice import is_private, relay_advice
from turnserver.turnclient.driver import Driver
from turnserver.turnclient.links import open_udp
from turnserver.turnclient.resolve import resolve

__all__ = ["ExternalAddresses", "absent_addresses", "resolved"]

_PATIENCE: Final = 4.0
"""Seconds for one look-up of the STUN server's name, and for one answer of it. A start waits for them."""

_INTERVAL: Final = 300.0
"""Seconds between two times that the STUN server is asked."""

_RETRY: Final = 15.0
"""The same after it has not answered."""

_NOTHING: Final[Mapping[bytes, bytes]] = MappingProxyType({})

_Known = tuple[RelayConfig | None, dict[bytes, bytes]]

_logger = logging.getLogger("meshturn")


def absent_addresses(external: External) -> list[str]:
    """The own addresses of a mapping that this host does not have."""
    return [str(own) for own in external if not has_address(own.packed)]


def resolved(relay: RelayConfig, bound: Sequence[bytes], asked: Mapping[bytes, bytes] = _NOTHING) -> RelayConfig:
    """The section with a mapping in ``external``, whatever it was before.

    ``bound`` are the addresses that relays would be bound on, ``asked`` the answers of a STUN server by these; all are
    packed. ``addresses`` is set where nothing is relayed from some of ``bound``.
    """
    external = relay.external
    if not external.depends:
        return relay
    if external.public is None:
        pairs = {ip: asked[ip] for ip in bound if ip in asked}
    else:
        public = external.public.packed
        pairs = {ip: public for ip in bound if len(ip) == len(public)}
    left_out: set[bytes] = set()
    for shown in dict.fromkeys(pairs.values()):
        sharing = [ip for ip, public in pairs.items() if public == shown]
        if len(sharing) > 1:
            towards = shown if shown in sharing else source_address(shown)
            left_out |= {*sharing} - {towards if towards in sharing else sharing[0]}
    mapping = {ip_address(ip): ip_address(public) for ip, public in pairs.items()}
    update: dict[str, object] = {"external": External(mapping)}
    if left_out:
        update["addresses"] = tuple(ip_address(ip) for ip in bound if ip not in left_out)
    return relay.model_copy(update=update)


class ExternalAddresses:
    """The public addresses of one server; use it inside the running loop.

    ``own`` gives the server's addresses for a configuration without public ones; ``changed`` is called when a STUN
    server has told of other public addresses.
    """

    def __init__(self, own: Callable[[RelayConfig], OwnAddresses], changed: Callable[[], None], faults: Faults) -> None:
        self._own = own
        self._changed = changed
        self._faults = faults
        self._relay: RelayConfig | None = None
        self._found: dict[bytes, bytes] = {}
        self._failed: dict[bytes, str] = {}
        """Why the STUN server has not answered; logged when that changes."""
        self._advised: list[str] = []
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def known(self) -> "_Known":
        """What `restore` takes."""
        return self._relay, self._found

    def in_force(self, config: Config) -> Config:
        """The configuration with a mapping in ``relay.external``."""
        relay = resolved(config.relay, self._bound(config.relay), self._found)
        return config if relay is config.relay else config.model_copy(update={"relay": relay})

    async def use(self, relay: RelayConfig, *, strict: bool = True) -> None:
        """Ask the STUN server, if this configuration says so: wait for its answers, and go on asking.

        Raises `StartupError`, with nothing changed, for a mapping of an address that the host does not have, unless
        ``strict`` is false.
        """
        absent = absent_addresses(relay.external) if strict else []
        if absent:
            raise StartupError(
                f"relay.external maps {', '.join(absent)}, not an address of this machine.",
                "ip address lists its addresses. With the public address alone (relay.external: ADDRESS), its own "
                "address need not be known.",
            )
        await self.close()
        self._news.clear()
        if self._relay is not None:  # what is known already is kept until there is an answer
            before = resolved(self._relay, self._bound(self._relay), self._found).external
            self._found = {own.packed: public.packed for own, public in before.items()}
        self._relay, self._failed = relay, {}
        if relay.external.asked:
            await self._ask(relay)
            self._task = asyncio.get_running_loop().create_task(self._watch(relay))

    async def restore(self, known: "_Known") -> None:
        """Go on as before a `use` that is not to count."""
        await self.close()
        self._relay, self._found = known
        if self._relay is not None and self._relay.external.asked:
            self._task = asyncio.get_running_loop().create_task(self._watch(self._relay))

    def follow(self) -> None:
        """Addresses have come or gone: ask for those that are new."""
        self._news.set()

    def advise(self, own: OwnAddresses, config: Config) -> None:
        """Warn of relay addresses that are of no use to clients: again only when there is something else to say."""
        external = self._relay.external if self._relay is not None else None
        advice = relay_advice(own.relays, config.relay.default_family, external)
        for sentence in advice:
            if sentence not in self._advised:
                _logger.warning(sentence)
        self._advised = advice

    async def close(self) -> None:
        """Ask no more; what has been found stays in use."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def _bound(self, relay: RelayConfig) -> list[bytes]:
        return [each.bound for each in self._own(relay).relays]

    async def _watch(self, relay: RelayConfig) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_RETRY if self._failed else _INTERVAL):
                    await self._news.wait()
            self._news.clear()
            try:
                if await self._ask(relay):
                    self._changed()
            except Exception as error:
                self._faults.note("external", error)

    async def _ask(self, relay: RelayConfig) -> bool:
        """Ask from every address that is behind a NAT; True if something has changed."""
        uri = StunUri.parse(relay.stun_server)
        bound = [ip for ip in self._bound(relay) if is_private(ip) or ip_address(ip).is_loopback]
        servers: list[Address] = []
        trouble = ""
        try:
            servers = await resolve(uri, _PATIENCE)
        except ClientError as error:
            trouble = str(error)
        answers = await asyncio.gather(*(_reflexive(ip, servers, trouble) for ip in bound))
        before, failed = self._found, self._failed
        told = dict(zip(bound, answers, strict=True))
        self._failed = {ip: answer for ip, answer in told.items() if isinstance(answer, str)}
        kept = {ip: before[ip] for ip in self._failed if ip in before}
        self._found = kept | {ip: answer for ip, answer in told.items() if isinstance(answer, bytes)}
        for ip, public in self._found.items():
            if before.get(ip) != public:
                _say(logging.INFO, "external address", ip, external=_host(public), server=str(uri))
        for ip, reason in self._failed.items():
            if failed.get(ip) != reason:
                used = _host(kept.get(ip, ip))
                _say(logging.ERROR, "external address not known", ip, server=str(uri), reason=reason, used=used)
        return self._found != before


async def _reflexive(own: bytes, servers: Sequence[Address], trouble: str) -> bytes | str:
    """The address that a STUN server sees one of ours as (RFC 8489 §2), or why that is not known."""
    fitting = [server for server in servers if len(server.ip) == len(own)]
    reason = trouble or f"the STUN server has no IPv{4 if len(own) == 4 else 6} address"
    for server in fitting:
        try:
            async with asyncio.timeout(_PATIENCE):
                found = await _binding(own, server)
        except TimeoutError:
            reason = f"no answer from {server} in {_PATIENCE:g} s"
        except ClientError as error:
            reason = f"{server}: {error}"
        else:
            if _is_usable(found.ip, own):
                return found.ip
            reason = f"{server} says {found.host}, which cannot be the public address of {_host(own)}"
    return reason


async def _binding(own: bytes, server: Address) -> Address:
    link = await open_udp(StunUri("stun", server.host, server.port, "udp"), server, local=_host(own))
    options = ClientOptions(patience=_PATIENCE, automatic=False)
    driver = Driver(ClientCore(secrets.token_bytes, options=options), link, lambda _: None)
    try:
        return (await driver.ask(driver.core.binding)).result()
    finally:
        await driver.close()


def _is_usable(found: bytes, own: bytes) -> bool:
    """Whether clients can be told it: peers have to be able to send there."""
    if len(found) != len(own):
        return False
    address = ip_address(found)
    if address.is_unspecified or address.is_multicast or address.is_link_local:
        return False
    return not address.is_loopback or ip_address(own).is_loopback


def _host(ip: bytes) -> str:
    return Address(ip, 0).host


def _say(level: int, message: str, ip: bytes, **more: str) -> None:
    _logger.log(level, message, extra={"fields": {"address": _host(ip), **more}})
