"""From the configuration to the parts: the one place where options become the arguments of somebody's constructor."""

from collections.abc import Sequence

from auth.ephemeral import SharedSecret, TimeLimitedCredentials
from auth.source import Chain, CredentialSource, StaticUsers
from stun.address import Address
from stun.constants import CHANNEL_MAX, CHANNEL_MAX_RFC5766
from turnserver.config import Config
from turnserver.core.policy import PeerPolicy
from turnserver.core.settings import CoreSettings, Limits, PortRange, RelayAddress

__all__ = [
    "core_settings",
    "credential_source",
    "peer_policy",
    "relay_addresses",
]


def relay_addresses(config: Config, listeners: Sequence[Address]) -> tuple[RelayAddress, ...]:
    """Where relays are bound: as configured, or the listeners' own addresses, loopback only if there is no other."""
    external = {private.packed: public.packed for private, public in config.relay.external.items()}
    bound = [address.packed for address in config.relay.addresses]
    if not bound:
        own = list(dict.fromkeys(address.ip for address in listeners))
        bound = [ip for ip in own if not Address(ip, 0).is_loopback] or own
    return tuple(RelayAddress(ip, external.get(ip, ip)) for ip in bound)


def peer_policy(config: Config, relays: Sequence[RelayAddress], listeners: Sequence[Address]) -> PeerPolicy:
    """The peer ACL, with the server's own addresses as they really are."""
    first, last = config.relay.ports
    return PeerPolicy.build(
        allow=config.peers.allow,
        deny=config.peers.deny,
        listeners=listeners,
        relays=[ip for relay in relays for ip in (relay.bound, relay.external)],
        ports=(first, last),
    )


def core_settings(config: Config, relays: tuple[RelayAddress, ...], policy: PeerPolicy) -> CoreSettings:
    """What the core needs to know."""
    first, last = config.relay.ports
    limits = config.limits
    return CoreSettings(
        realm=config.realm,
        software=config.software,
        relays=relays,
        ports=PortRange(first, last),
        policy=policy,
        strict_permissions=config.peers.strict_permissions,
        strict_expiry=config.auth.strict_expiry,
        last_channel=CHANNEL_MAX_RFC5766 if config.relay.legacy_channels else CHANNEL_MAX,
        alternate=tuple(Address(server.address.packed, server.port) for server in config.alternate_servers),
        limits=Limits(
            allocations=limits.allocations,
            allocations_per_user=limits.allocations_per_user,
            permissions_per_allocation=limits.permissions_per_allocation,
            channels_per_allocation=limits.channels_per_allocation,
            default_lifetime=limits.default_lifetime,
            max_lifetime=limits.max_lifetime,
            reflection_burst=limits.reflection_burst,
            reflection_rate=limits.reflection_rate,
            pending_lookups=limits.pending_lookups,
            tcp_connections_per_allocation=limits.tcp_connections_per_allocation,
        ),
    )


def credential_source(config: Config) -> CredentialSource:
    """Static users first, then time-limited credentials."""
    sources: list[CredentialSource] = []
    if config.auth.users:
        sources.append(StaticUsers({name: secret.get_secret_value() for name, secret in config.auth.users.items()}))
    if config.auth.shared_secrets:
        shared = [
            SharedSecret(entry.secret.get_secret_value().encode(), entry.hash) for entry in config.auth.shared_secrets
        ]
        sources.append(TimeLimitedCredentials(shared, config.auth.separator))
    return Chain(sources)
