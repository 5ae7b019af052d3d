"""From options to parts: nothing the operator says is lost on the way."""

from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest

from auth.ephemeral import SharedSecret, mint
from stun.address import Address
from turnserver.assembly import (
    api_options,
    core_settings,
    credential_source,
    hub_settings,
    ice_servers,
    peer_policy,
    relay_addresses,
    token_keys,
)
from turnserver.config import Config, LimitsConfig
from turnserver.core.policy import PeerPolicy
from turnserver.core.settings import Limits, RelayAddress
from turnserver.core.types import ClientTransport
from turnserver.errors import StartupError
from turnserver.signaling.protocol.errors import Refusal

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


PLAIN = {"transport": "shared", "tls": False, "address": "127.0.0.1", "port": 8080}


def test_where_there_are_rooms() -> None:
    """On shared listeners, unless they are not wanted."""
    assert config(listeners=[PLAIN]).serves_rooms
    assert not config(listeners=[PLAIN], signaling={"enabled": False}).serves_rooms
    assert not config().serves_rooms


def test_every_option_of_rooms_arrives() -> None:
    """Each has a value of its own here, so that none can take another's place."""
    wanted = {
        "open": True,
        "room_size": 3,
        "rooms": 7,
        "resume": 33,
        "heartbeat": 11,
        "credential_lifetime": 120,
        "sockets_per_address": 5,
        "policy": "relay",
    }
    settings = hub_settings(config(signaling=wanted))
    assert {name: getattr(settings, name) for name in wanted} == wanted


def test_room_tokens_are_signed_with_the_key_or_what_is_derived_from_the_secret(tmp_path: Path) -> None:
    """A key of its own counts alone; without one every shared secret does, so that they can be replaced in turn."""
    old, new = "an older secret, long enough", "a newer secret, long enough"
    one = token_keys(config(auth={"shared_secrets": [old]}))
    both = token_keys(config(auth={"shared_secrets": [new, old]}))
    keyed = token_keys(config(auth={"shared_secrets": [old]}, signaling={"key": "k" * 32}))
    token = one.mint("x", "host", 60, 1000.0, token_id="a")
    assert both.admit(token, 1010.0).role == "host"
    with pytest.raises(Refusal):
        keyed.admit(token, 1010.0)
    assert not token_keys(config()).can_mint


def test_public_keys_that_cannot_be_used(tmp_path: Path) -> None:
    """One sentence that names the file."""
    gone, broken = tmp_path / "gone.pem", tmp_path / "broken.pem"
    for path in (gone, broken):
        path.write_text("nothing\n")
    both = [config(signaling={"public_keys": [str(path)]}) for path in (gone, broken)]
    gone.unlink()
    for path, each in zip((gone, broken), both, strict=True):
        with pytest.raises(StartupError, match=path.name):
            token_keys(each)


def test_participants_are_told_of_the_listeners_or_of_what_is_configured() -> None:
    """With the first shared secret, as every other credential."""
    listening = [(ClientTransport.UDP, Address(PUBLIC, 3478))]
    auth = {"shared_secrets": ["the first secret of this test", "another secret of this test"]}
    made = ice_servers(config(auth=auth), listening).mint("hash.peer", 1000.0, "turn.example.org")
    assert made.servers[0].urls[0] == "turn:turn.example.org:3478?transport=udp"
    secret = SharedSecret(b"the first secret of this test")
    assert (made.servers[0].username, made.servers[0].credential) == mint(secret, "hash.peer", 1600)
    urls = ("turns:elsewhere.example.org",)
    configured = ice_servers(config(auth=auth, signaling={"urls": urls}), listening).mint("u", 1000.0, "x")
    assert configured.servers[0].urls == urls


def test_keys_of_the_api_arrive() -> None:
    """Each under its name."""
    keys = {"api_keys": {"app": "a" * 20}, "admin_keys": {"ops": "b" * 20}, "origins": ["https://app.example.org"]}
    made = config(signaling=keys)
    options = api_options(made, token_keys(made), ice_servers(made, ()))
    assert (options.api_keys, options.admin_keys) == ({"app": "a" * 20}, {"ops": "b" * 20})
    assert list(options.origins) == ["https://app.example.org"]
    assert "a" * 20 not in repr(options)
