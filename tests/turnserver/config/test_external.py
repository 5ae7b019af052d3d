"""The option ``relay.external``: one address, ``auto``, or a mapping; and the STUN server that is asked."""

from ipaddress import ip_address
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from turnserver.config import Config, External, load_mapping, show, take_over
from turnserver.errors import ConfigError

PRIVATE, PUBLIC = ip_address("10.0.0.5"), ip_address("203.0.113.5")


def external(value: Any, **more: Any) -> External:
    return Config.model_validate({"relay": {"external": value, **more}}).relay.external


def test_a_mapping_is_one() -> None:
    found = external({"10.0.0.5": "203.0.113.5"})
    assert dict(found) == {PRIVATE: PUBLIC}
    assert (found.depends, found.addresses, found.of(PRIVATE), found.of(PUBLIC)) == (False, [PUBLIC], PUBLIC, PUBLIC)


def test_one_address_is_for_whatever_address_the_host_has() -> None:
    found = external("203.0.113.5")
    assert (dict(found), found.depends, found.asked, found.addresses) == ({}, True, False, [PUBLIC])
    assert [str(found.of(ip_address(own))) for own in ("10.0.0.5", "192.168.0.2", "127.0.0.1", "fd00::5")] == [
        "203.0.113.5",
        "203.0.113.5",
        "127.0.0.1",
        "fd00::5",
    ]


def test_auto_asks() -> None:
    found = external("auto", stun_server="stun.example.org")
    assert (dict(found), found.depends, found.asked, found.addresses) == ({}, True, True, [])
    assert found.of(PRIVATE) == PRIVATE


@pytest.mark.parametrize("value", ["203.0.113.5", "2001:db8::5", "auto", {}, {"10.0.0.5": "203.0.113.5"}])
def test_it_is_shown_as_it_is_written(value: Any) -> None:
    """And differs from every other spelling that means something else, so that a reload sees the change."""
    options = {"relay": {"external": value, "stun_server": "stun:stun.example.org:3478"}}
    config = Config.model_validate(options)
    assert yaml.safe_load(show(config))["relay"]["external"] == value
    assert config == Config.model_validate(options)
    assert repr(value) in repr(config.relay.external)
    other = Config.model_validate({"relay": {"external": "198.51.100.7"}})
    assert "relay.external" in take_over(config, other).taken
    assert config.relay.external != value


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("stun:stun.example.org", "stun:stun.example.org:3478"),
        ("stun.example.org", "stun:stun.example.org:3478"),
        ("stun.example.org:19302", "stun:stun.example.org:19302"),
        ("192.0.2.1", "stun:192.0.2.1:3478"),
        ("stun:[2001:db8::1]:3479", "stun:[2001:db8::1]:3479"),
        ("", ""),
    ],
)
def test_stun_servers(written: str, read: str) -> None:
    assert Config.model_validate({"relay": {"stun_server": written}}).relay.stun_server == read


@pytest.mark.parametrize("written", ["stuns:example.org", "turn:example.org", "stun://example.org", "a b", 3478, ["a"]])
def test_what_is_no_stun_server(written: Any) -> None:
    """Only UDP: the answer has to come from where relays send from."""
    with pytest.raises(ValidationError) as caught:
        Config.model_validate({"relay": {"stun_server": written}})
    assert caught.value.errors()[0]["loc"] == ("relay", "stun_server")


def test_every_error_of_a_mapping_has_its_key() -> None:
    with pytest.raises(ConfigError) as caught:
        load_mapping({"relay": {"external": {"10.0.0.5": "nowhere", "10.0.0.6": 7}}})
    assert [problem.key for problem in caught.value.problems] == [
        "relay.external.'10.0.0.5'",
        "relay.external.'10.0.0.6'",
    ]
