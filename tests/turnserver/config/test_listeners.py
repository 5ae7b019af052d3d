"""Listeners: what each has by default, what fits which transport, and which two are one too many."""

from typing import Any

import pytest
from pydantic import ValidationError

from turnserver.config.models import Config, Listener

LOOPBACK = {"address": "127.0.0.1"}


def refusals(data: dict[str, Any]) -> list[tuple[tuple[str | int, ...], str]]:
    with pytest.raises(ValidationError) as caught:
        Config.model_validate(data)
    errors = caught.value.errors()
    return [((*error["loc"], *error.get("ctx", {}).get("at", ())), error["msg"]) for error in errors]


@pytest.mark.parametrize(
    ("given", "tls", "port"),
    [
        ({}, False, 3478),
        ({"transport": "tcp"}, False, 3478),
        ({"transport": "tls"}, True, 5349),
        ({"transport": "shared"}, True, 443),
        ({"transport": "shared", "tls": None, "port": None}, True, 443),
        ({"transport": "shared", "tls": True}, True, 443),
        ({"transport": "shared", "tls": False}, False, 80),
        ({"transport": "shared", "tls": False, "port": 443}, False, 443),
        ({"transport": "dtls"}, True, 5349),
    ],
)
def test_what_a_listener_has_depends_on_its_transport(given: dict[str, Any], tls: bool, port: int) -> None:
    """RFC 8656 §3.1 (ports 3478 and 5349, RFC 5928 §3); a shared port is where HTTPS or HTTP is looked for."""
    listener = Listener.model_validate({**LOOPBACK, **given})
    assert (listener.tls, listener.port) == (tls, port)
    assert listener.kind.stream == (listener.transport not in {"udp", "dtls"})
    assert Listener.model_validate(listener.model_dump(mode="json")) == listener


@pytest.mark.parametrize(
    ("given", "key"),
    [
        ({"transport": "udp", "tls": True}, "tls"),
        ({"transport": "tcp", "tls": True}, "tls"),
        ({"transport": "tls", "tls": False}, "tls"),
        ({"transport": "shared", "tls": "no"}, "tls"),
        ({"transport": "udp", "proxies": ["10.0.0.0/8"]}, "proxies"),
        ({"transport": "udp", "proxy_protocol": "required"}, "proxy_protocol"),
        ({"transport": "tcp", "proxy_protocol": "never"}, "proxy_protocol"),
        ({"transport": "sctp"}, "transport"),
        ({"transport": "dtls", "tls": False}, "tls"),
        ({"transport": "dtls", "tls": "auto"}, "tls"),
        ({"transport": "dtls", "proxies": ["10.0.0.0/8"]}, "proxies"),
    ],
)
def test_what_does_not_fit_a_transport(given: dict[str, Any], key: str) -> None:
    ((path, _),) = refusals({"listeners": [{**LOOPBACK, **given}]})
    assert path == ("listeners", 0, key)


def test_udp_and_tcp_ports_are_different_things() -> None:
    listeners = [LOOPBACK, {**LOOPBACK, "transport": "tcp"}, {"address": "::1", "transport": "tcp"}]
    assert len(Config.model_validate({"listeners": listeners}).listeners) == 3


@pytest.mark.parametrize(
    ("one", "other", "collide"),
    [
        ({"transport": "tcp"}, {"transport": "shared", "tls": False}, True),
        ({"transport": "tcp"}, {"transport": "tcp"}, True),
        ({"transport": "tcp", "address": "0.0.0.0"}, {"transport": "shared", "tls": False}, True),
        ({"transport": "tcp"}, {"transport": "shared", "tls": False, "address": "0.0.0.0"}, True),
        ({"transport": "tcp", "address": "0.0.0.0"}, {"transport": "tcp", "proxies": ["10.0.0.1"]}, True),
        ({"transport": "tcp", "address": "0.0.0.0"}, {"transport": "tcp"}, False),
        ({"transport": "tcp", "address": "::"}, {"transport": "shared", "tls": False}, False),
        ({"transport": "tcp"}, {"transport": "shared", "tls": False, "port": 444}, False),
        ({"transport": "udp"}, {"transport": "shared", "tls": False}, False),
    ],
)
def test_streams_cannot_share_a_port(one: dict[str, Any], other: dict[str, Any], collide: bool) -> None:
    """There is one TCP port 443 on an address, and a wildcard takes it on every address."""
    data = {"listeners": [{**LOOPBACK, "port": 443, **one}, {**LOOPBACK, "port": 443, **other}]}
    if not collide:
        assert len(Config.model_validate(data).listeners) == 2
        return
    ((path, message),) = refusals(data)
    assert path == ("listeners", 1)
    assert "TCP on" in message
    assert "listeners[0]" in message
