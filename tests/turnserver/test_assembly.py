"""From options to parts: nothing the operator says is lost on the way."""

from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

from auth.ephemeral import SharedSecret, mint
from stun.address import Address
from turnserver.assembly import (
    core_settings,
    credential_source,
    peer_policy,
    relay_addresses,
)
from turnserver.config import Config, LimitsConfig
from turnserver.core.policy import PeerPolicy
from turnserver.core.settings import Limits, RelayAddress

LOOPBACK = ip_address("127.0.0.1").packed
PUBLIC = ip_address("203.0.113.9").packed


def config(**options: Any) -> Config:
    return Config.model_validate(options)


def packed(text: str) -> bytes:
    return ip_address(text).packed


def test_relay_addresses_are_the_configured_ones() -> None:
    chosen = config(relay={"addresses": ["127.0.0.1"], "external": {"127.0.0.1": "203.0.113.9"}})
    assert relay_addresses(chosen, []) == (RelayAddress(LOOPBACK, PUBLIC),)


def test_relay_addresses_are_else_the_listeners_without_loopback() -> None:
    listeners = [Address(LOOPBACK, 3478), Address(packed("198.51.100.7"), 3478), Address(packed("198.51.100.7"), 443)]
    assert relay_addresses(config(), listeners) == (RelayAddress(packed("198.51.100.7"), packed("198.51.100.7")),)


def test_loopback_is_better_than_nothing() -> None:
    assert relay_addresses(config(), [Address(LOOPBACK, 3478)]) == (RelayAddress(LOOPBACK, LOOPBACK),)


def test_the_policy_knows_the_servers_own_addresses() -> None:
    """Rule 16: own listeners refused, own relays (bound and external) allowed on relay ports only."""
    chosen = config(relay={"ports": "50000-50100"}, peers={"allow": ["10.0.0.0/8"], "deny": ["8.8.8.0/24"]})
    policy = peer_policy(chosen, [RelayAddress(LOOPBACK, PUBLIC)], [Address(packed("10.1.1.1"), 3478)])
    assert policy.refusal(packed("10.1.1.1"), 3478) == "own listener"
    assert policy.refusal(packed("10.1.1.1"), 3479) is None
    assert policy.refusal(LOOPBACK, 50050) is None
    assert policy.refusal(PUBLIC, 50050) is None
    assert policy.refusal(PUBLIC, 50101) is not None
    assert policy.refusal(packed("8.8.8.8")) == "deny 8.8.8.0/24"
    assert policy.refusal(packed("9.9.9.9")) is None
    assert policy.allow == (ip_network("10.0.0.0/8"),)


def test_every_limit_reaches_the_core() -> None:
    """Each option set to a value of its own, so a mix-up cannot hide."""
    shared = [name for name in LimitsConfig.model_fields if hasattr(Limits(), name)]
    values = {name: 100 + index for index, name in enumerate(shared)}
    settings = core_settings(config(limits=values), (), PeerPolicy())
    assert {name: getattr(settings.limits, name) for name in shared} == values


def test_switches_and_names_reach_the_core() -> None:
    chosen = config(
        realm="example.org",
        software="",
        relay={"ports": "50000-50100", "legacy_channels": True},
        alternate_servers=["192.0.2.7:3478", "[2001:db8::7]:443"],
        peers={"strict_permissions": True},
        auth={"strict_expiry": True},
    )
    settings = core_settings(chosen, (RelayAddress(LOOPBACK, LOOPBACK),), PeerPolicy())
    assert (settings.realm, settings.software) == ("example.org", "")
    assert (settings.ports.first, settings.ports.last) == (50000, 50100)
    assert settings.last_channel == 0x7FFF
    assert settings.alternate == (Address.parse("192.0.2.7", 3478), Address.parse("2001:db8::7", 443))
    assert settings.strict_permissions
    assert settings.strict_expiry
    assert settings.relays == (RelayAddress(LOOPBACK, LOOPBACK),)


def test_users_and_every_secret_can_log_in(tmp_path: Path) -> None:
    """Rule 24: several secrets at once, static users beside them, the separator as configured."""
    options = {
        "users": {"alice": "wonderland"},
        "shared_secrets": ["first secret of all", {"secret": "second secret of all", "hash": "sha256"}],
        "separator": "-",
    }
    source = credential_source(config(auth=options))
    assert source.find("nobody", "r", 0.0) == ()
    found = source.find("alice", "r", 0.0)
    assert not isinstance(found, str)
    assert [credential.user_id for credential in found] == ["alice"]
    name, _ = mint(SharedSecret(b"second secret of all", "sha256"), "bob", 2_000_000_000, "-")
    assert name == "2000000000-bob"
    assert [credential.user_id for credential in source.find(name, "r", 0.0)] == ["bob", "bob"]


def test_without_users_nobody_can() -> None:
    source = credential_source(config())
    assert source.find("alice", "r", 0.0) == ()
    assert not source.anonymous
