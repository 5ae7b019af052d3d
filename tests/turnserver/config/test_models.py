"""The schema: defaults, bounds, and what must fit together."""

from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from turnserver.config import CertificateConfig, Config, Listener
from turnserver.config.context import Context
from turnserver.config.models import Section
from turnserver.core.types import PortRange

HUSH = "hush hush hush hush"


def sections(section: type[BaseModel] = Config) -> list[type[BaseModel]]:
    found = [section]
    for info in section.model_fields.values():
        if isinstance(info.annotation, type) and issubclass(info.annotation, Section):
            found += sections(info.annotation)
    return found


def refusals(data: dict[str, Any]) -> list[tuple[tuple[str | int, ...], str]]:
    with pytest.raises(ValidationError) as caught:
        Config.model_validate(data)
    errors = caught.value.errors()
    return [((*error["loc"], *error.get("ctx", {}).get("at", ())), error["msg"]) for error in errors]


def test_defaults() -> None:
    config = Config()
    assert (config.realm, config.software) == ("meshturn", "meshturn")
    assert [(one.transport, str(one.address), one.port) for one in config.listeners] == [
        ("udp", "0.0.0.0", 3478),
        ("udp", "::", 3478),
    ]
    assert (config.relay.addresses, dict(config.relay.external)) == ((), {})
    assert config.relay.ports == PortRange(49152, 65535)
    assert (config.relay.datapath, config.relay.tos) == ("auto", "copy")
    assert (dict(config.auth.users), config.auth.shared_secrets, config.auth.separator) == ({}, (), ":")
    assert (config.auth.nonce_lifetime, config.auth.strict_expiry) == (600, False)
    assert (config.peers.allow, config.peers.deny, config.peers.strict_permissions) == ((), (), False)
    assert (config.log.level, config.log.format) == ("info", "text")


def test_default_limits() -> None:
    """Rule 11: 600 seconds unless asked for more, 3600 at most; rule 4: the budget is on."""
    limits = Config().limits
    assert (limits.allocations, limits.allocations_per_user) == (12_000, 64)
    assert (limits.permissions_per_allocation, limits.channels_per_allocation) == (256, 256)
    assert (limits.default_lifetime, limits.max_lifetime) == (600, 3600)
    assert (limits.reflection_burst, limits.reflection_rate, limits.pending_lookups) == (65_536, 4096, 1024)


def test_default_limits_of_streams() -> None:
    """Rule 22: what a connection may take of the server is bounded in number, time and bytes."""
    limits = Config().limits
    assert (limits.connections, limits.connections_per_address, limits.tcp_connections_per_allocation) == (
        10_000,
        200,
        32,
    )
    assert (limits.handshake_timeout, limits.first_message_timeout) == (10, 10)
    assert (limits.idle_timeout, limits.stall_timeout, limits.send_queue) == (60, 30, 262_144)
    assert Config().tls.reload_interval == 10


@pytest.mark.parametrize("name", ["allocations", "allocations_per_user"])
def test_quotas_without_a_limit(name: str) -> None:
    """``unlimited`` and 0 are the largest number; other words and numbers are refused."""
    for value, meant in (("unlimited", 1_000_000), (0, 1_000_000), (7, 7), (1_000_000, 1_000_000)):
        assert getattr(Config.model_validate({"limits": {name: value}}).limits, name) == meant
    for wrong in ("none", -1, 1_000_001, True, "0"):
        ((path, message),) = refusals({"limits": {name: wrong}})
        assert path == ("limits", name)
        assert "unlimited (or 0)" in message


def test_a_queue_holds_the_largest_message() -> None:
    """RFC 8656 §12.5: ChannelData of 65,535 bytes with header and padding; a smaller queue could never send it."""
    assert [path for path, _ in refusals({"limits": {"send_queue": 65_539}})] == [("limits", "send_queue")]
    assert Config.model_validate({"limits": {"send_queue": 65_540}}).limits.send_queue == 65_540


@pytest.mark.parametrize("section", [*sections(), Listener, CertificateConfig], ids=lambda section: section.__name__)
def test_every_option_is_described(section: type[BaseModel]) -> None:
    assert section.__doc__
    for name, info in section.model_fields.items():
        assert info.description, name
        assert info.description.endswith("."), name


@pytest.mark.parametrize("section", [*sections(), Listener, CertificateConfig], ids=lambda section: section.__name__)
def test_sections_are_frozen_and_closed(section: type[BaseModel]) -> None:
    assert section.model_config["frozen"] is True
    assert section.model_config["extra"] == "forbid"


def test_nothing_is_the_default() -> None:
    assert Config.model_validate({"realm": None, "relay": None, "log": {"level": None}, "listeners": None}) == Config()


def test_one_word_of_yaml_is_not_mistaken_for_nothing() -> None:
    ((path, message),) = refusals({"relay": {"datapath": None}})
    assert path == ("relay", "datapath")
    assert '"null" (in quotes)' in message
    assert Config.model_validate({"relay": {"datapath": "null"}}).relay.datapath == "null"


@pytest.mark.parametrize(
    ("options", "allowed"),
    [
        ({"relay": {"datapath": "fast"}}, "auto or asyncio"),
        ({"listeners": [{"address": "127.0.0.1", "transport": "sctp"}]}, "udp or tcp or tls or shared or dtls"),
        (
            {"listeners": [{"address": "127.0.0.1", "transport": "udp", "tls": True}]},
            "true for tls and dtls, false for udp and tcp, either for shared",
        ),
        (
            {"listeners": [{"address": "127.0.0.1", "transport": "udp", "tls": "auto"}]},
            "auto for tcp, tls and shared",
        ),
        ({"listeners": [{"address": "127.0.0.1", "transport": "tcp", "tls": "maybe"}]}, "true, false or auto"),
    ],
)
def test_messages_do_not_offer_what_is_for_embedding(options: dict[str, Any], allowed: str) -> None:
    ((_, message),) = refusals(options)
    assert message.endswith(f"; allowed: {allowed}")


def test_what_is_for_embedding_can_be_configured() -> None:
    listener = {"address": "127.0.0.1", "transport": "memory"}
    config = Config.model_validate({"listeners": [listener], "relay": {"datapath": "null"}})
    assert (config.listeners[0].transport, config.relay.datapath) == ("memory", "null")


@pytest.mark.parametrize("value", [3, "text", [], True])
@pytest.mark.parametrize("name", ["tls", "relay", "auth", "peers", "limits", "log"])
def test_a_section_is_a_mapping(name: str, value: object) -> None:
    ((path, message),) = refusals({name: value})
    assert path == (name,)
    assert message.endswith("allowed: a mapping of options")


def test_listeners() -> None:
    some = {"address": "127.0.0.1", "port": 0}
    assert len(Config.model_validate({"listeners": [some, some]}).listeners) == 2
    assert [path for path, _ in refusals({"listeners": []})] == [("listeners",)]
    assert [path for path, _ in refusals({"listeners": [{}] * 65})] == [("listeners",)]
    assert [path for path, _ in refusals({"listeners": [{"transport": "sctp"}]})] == [
        ("listeners", 0, "transport"),
        ("listeners", 0, "address"),
    ]


def test_duplicate_listeners() -> None:
    one, other = {"address": "::1"}, {"address": "0:0::1", "port": 3478, "transport": "udp"}
    ((path, message),) = refusals({"listeners": [{"address": "127.0.0.1"}, one, other]})
    assert path == ("listeners", 2)
    assert "listeners[1]" in message


LOOPBACK = {"address": "127.0.0.1"}


@pytest.mark.parametrize("transport", ["tls", "shared"])
def test_tls_without_certificates(transport: str) -> None:
    """The problem names the listener and where the certificates belong."""
    context = Context()
    Config.model_validate({"listeners": [LOOPBACK, {**LOOPBACK, "transport": transport}]}, context=context)
    (finding,) = context.findings
    assert finding.path == ("listeners", 1, "transport")
    assert "tls.certificates" in finding.found + finding.allowed
    assert ("listeners[].tls: false" in finding.allowed) == (transport == "shared")


def test_tls_with_certificates(tmp_path: Path) -> None:
    for name in ("chain.pem", "key.pem"):
        (tmp_path / name).touch(mode=0o600)
    data = {
        "listeners": [{**LOOPBACK, "transport": "tls"}],
        "tls": {"certificates": [{"certificate": "chain.pem", "key": "key.pem"}], "reload_interval": "1m"},
    }
    context = Context(directory=tmp_path)
    config = Config.model_validate(data, context=context)
    (pair,) = config.tls.certificates
    assert (pair.certificate, pair.key, config.tls.reload_interval) == (
        tmp_path / "chain.pem",
        tmp_path / "key.pem",
        60,
    )
    assert context.findings == []
    assert Config.model_validate(config.model_dump(mode="json")) == config


def test_a_plain_shared_port_needs_no_certificates() -> None:
    config = Config.model_validate({"listeners": [{**LOOPBACK, "transport": "shared", "tls": False}]})
    assert config.tls.certificates == ()


def test_duplicate_relay_addresses() -> None:
    ((path, _),) = refusals({"relay": {"addresses": ["192.0.2.1", "2001:db8::1", "2001:DB8::1"]}})
    assert path == ("relay", "addresses", 2)


@pytest.mark.parametrize(
    ("relay", "where", "what"),
    [
        ({"external": {"10.0.0.1": "2001:db8::1"}}, "10.0.0.1", "IPv4"),
        ({"external": {"fd00::1": "192.0.2.1"}}, "fd00::1", "IPv6"),
        ({"external": {"10.0.0.1": "192.0.2.1"}, "addresses": ["10.0.0.2"]}, "10.0.0.1", "one of 10.0.0.2"),
        ({"external": {"10.0.0.1": "192.0.2.1", "10.0.0.2": "192.0.2.1"}}, "10.0.0.2", "not shared"),
    ],
)
def test_external_addresses_fit(relay: dict[str, Any], where: str, what: str) -> None:
    """Rule 23: behind NAT, bind the private address and advertise the external one."""
    ((path, message),) = refusals({"relay": relay})
    assert path == ("relay", "external", where)
    assert what in message


@pytest.mark.parametrize(
    ("relay", "what"),
    [
        ({"external": "auto"}, "relay.stun_server"),
        ({"external": "203.0.113.5", "addresses": ["10.0.0.1", "10.0.0.2"]}, "a mapping"),
        ({"external": "203.0.113.5", "addresses": ["fd00::1"]}, "a mapping"),
        ({"external": "0.0.0.0"}, "auto"),
        ({"external": "224.0.0.1"}, "auto"),
        ({"external": "fe80::1%eth0"}, "auto"),
        ({"external": "turn.example.org"}, "auto"),
        ({"external": ["203.0.113.5"]}, "auto"),
        ({"external": 3}, "auto"),
    ],
)
def test_one_external_address_fits(relay: dict[str, Any], what: str) -> None:
    """Rule 23: one public address is for one of the host's own; ``auto`` needs somebody to ask."""
    ((path, message),) = refusals({"relay": relay})
    assert path == ("relay", "external")
    assert what in message


def test_external_addresses() -> None:
    relay = Config.model_validate({"relay": {"addresses": ["10.0.0.1"], "external": {"10.0.0.1": "192.0.2.1"}}}).relay
    assert dict(relay.external) == {ip_address("10.0.0.1"): ip_address("192.0.2.1")}


def test_lifetimes_are_ordered() -> None:
    """RFC 8656 §7.2: the default is not above the maximum."""
    ((path, _),) = refusals({"limits": {"default_lifetime": "1h", "max_lifetime": "30m"}})
    assert path == ("limits", "max_lifetime")
    assert Config.model_validate({"limits": {"default_lifetime": 60, "max_lifetime": 60}}).limits.max_lifetime == 60


def test_users() -> None:
    config = Config.model_validate({"auth": {"users": {"cafe\u0301": HUSH}}})
    assert {name: secret.get_secret_value() for name, secret in config.auth.users.items()} == {"caf\u00e9": HUSH}


@pytest.mark.parametrize("name", ["", "a\n", "\u200b", "u" * 509])
def test_unusable_user_names(name: str) -> None:
    """RFC 8489 §14.3: a username is an OpaqueString."""
    assert len(refusals({"auth": {"users": {name: HUSH}}})) == 1


def test_users_that_are_the_same_after_preparation() -> None:
    """RFC 8265 §4.2.3: names are compared after preparation."""
    ((path, message),) = refusals({"auth": {"users": {"caf\u00e9": HUSH, "cafe\u0301": HUSH}}})
    assert path[:2] == ("auth", "users")
    assert HUSH not in message


@pytest.mark.parametrize(
    "item", [HUSH, {"secret": HUSH}, {"secret": HUSH, "hash": "sha1"}, {"env": "TURN"}, {"secret": {"env": "TURN"}}]
)
def test_shared_secrets(item: object) -> None:
    context = Context(environ={"TURN": HUSH})
    config = Config.model_validate({"auth": {"shared_secrets": [item]}}, context=context)
    (entry,) = config.auth.shared_secrets
    assert (entry.secret.get_secret_value(), entry.hash) == (HUSH, "sha1")
    assert context.warnings == []


def test_shared_secret_with_another_hash() -> None:
    (entry,) = Config.model_validate(
        {"auth": {"shared_secrets": [{"secret": HUSH, "hash": "sha256"}]}}
    ).auth.shared_secrets
    assert entry.hash == "sha256"


@pytest.mark.parametrize(
    "item",
    [3, None, True, [HUSH], {}, {"hash": "sha1"}, {HUSH: 1}, {"secret": HUSH, HUSH: 1}, {"secret": HUSH, "hash": 1}],
)
def test_other_shared_secrets_are_refused_without_being_repeated(item: object) -> None:
    found = refusals({"auth": {"shared_secrets": [item]}})
    assert len(found) == 1
    assert found[0][0][:3] == ("auth", "shared_secrets", 0)
    assert HUSH not in str(found)


@pytest.mark.parametrize("key", ["shared_secrets", "users"])
def test_a_secret_in_the_place_of_a_list_or_mapping_is_not_repeated(key: str) -> None:
    assert HUSH not in str(refusals({"auth": {key: HUSH}}))


def test_warnings() -> None:
    context = Context()
    Config.model_validate({"auth": {"shared_secrets": ["short"]}}, context=context)
    Config.model_validate({}, context=context)
    assert len(context.warnings) == 2
    assert "short" not in context.warnings[0].replace("shorter", "")
    assert "nobody can relay" in context.warnings[1]


def test_nothing_shows_a_secret() -> None:
    config = Config.model_validate({"auth": {"users": {"alice": HUSH}, "shared_secrets": [HUSH]}})
    for shown in (repr(config), str(config.auth), str(config.model_dump()), config.model_dump_json()):
        assert HUSH not in shown
        assert "alice" in shown


def test_where_there_are_rooms() -> None:
    """On shared listeners, unless they are not wanted."""
    plain = {"transport": "shared", "tls": False, "address": "127.0.0.1", "port": 8080}
    assert Config.model_validate({"listeners": [plain]}).serves_rooms
    assert not Config.model_validate({"listeners": [plain], "signaling": {"enabled": False}}).serves_rooms
    assert not Config().serves_rooms


@pytest.mark.parametrize(
    ("listener", "health", "free"),
    [
        ({"transport": "tcp", "address": "127.0.0.1", "port": 8081}, "127.0.0.1", False),
        ({"transport": "tcp", "address": "0.0.0.0", "port": 8081}, "127.0.0.1", False),
        ({"transport": "tcp", "address": "127.0.0.1", "port": 8081}, "0.0.0.0", False),
        ({"transport": "tcp", "address": "127.0.0.2", "port": 8081}, "127.0.0.1", True),
        ({"transport": "tcp", "address": "::", "port": 8081}, "127.0.0.1", True),
        ({"transport": "udp", "address": "127.0.0.1", "port": 8081}, "127.0.0.1", True),
    ],
)
def test_health_checks_have_a_port_of_their_own(listener: dict[str, Any], health: str, free: bool) -> None:
    """Otherwise the start would fail, or the check be answered by what is to be checked."""
    options = {"listeners": [listener], "health": {"address": health, "port": 8081}}
    if free:
        assert Config.model_validate(options).health.port == 8081
    else:
        ((path, message),) = refusals(options)
        assert path[-1] == "port"
        assert "listeners[0]" in message


def test_metrics_and_health_checks_do_not_share_a_port() -> None:
    options = {"health": {"port": 8081}, "metrics": {"port": 8081}}
    ((path, message),) = refusals(options)
    assert path == ("port",)
    assert "health" in message
    Config.model_validate({"health": {"port": 8081}, "metrics": {"port": 8081, "address": "127.0.0.2"}})


@pytest.mark.parametrize(
    ("metrics", "warned"),
    [
        ({}, False),
        ({"port": 9641}, False),
        ({"port": 9641, "address": "10.0.0.5"}, False),
        ({"port": 9641, "address": "0.0.0.0"}, True),
        ({"port": 9641, "address": "8.8.8.8"}, True),
        ({"port": 9641, "address": "0.0.0.0", "allow": ["10.0.0.0/8"]}, False),
        ({"address": "0.0.0.0"}, False),
    ],
)
def test_metrics_for_everybody_are_a_warning(metrics: dict[str, Any], warned: bool) -> None:
    context = Context()
    Config.model_validate({"auth": {"users": {"alice": HUSH}}, "metrics": metrics}, context=context)
    assert ["metrics" in warning for warning in context.warnings] == ([True] if warned else [])
