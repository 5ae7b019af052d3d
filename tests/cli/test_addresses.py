"""The addresses and URIs that clients are given."""

import ipaddress
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cli import addresses
from cli.addresses import (
    as_told,
    certified_host,
    client_uris,
    free_local_port,
    is_free_locally,
    local_loopbacks,
    page_url,
    page_urls,
    primary_addresses,
    public_uris,
    reach,
    relay_text,
    stun_uri,
)
from stun.address import Address
from stun.uri import StunUri
from turnserver.config import Config, Listener
from turnserver.core.settings import RelayAddress
from turnserver.core.types import ClientTransport

UDP = ClientTransport.UDP


def _uris(config: dict[str, Any], listening: list[tuple[ClientTransport, Address]] | None = None) -> list[str]:
    return [str(uri) for uri in client_uris(Config.model_validate(config), listening)]


@pytest.fixture
def primary(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(addresses, "primary_addresses", lambda: ["192.0.2.5", "2001:db8::5"])


def test_primary_addresses_are_local_and_usable() -> None:
    """Rule 23: one for each family at most, never a wildcard or link-local one, and at least one."""
    found = [ipaddress.ip_address(host) for host in primary_addresses()]
    assert 1 <= len(found) == len({address.version for address in found})
    assert not any(address.is_unspecified or address.is_link_local for address in found)


def test_without_a_route_there_is_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rule 23: a machine without a network still serves itself."""

    class Unrouted:
        def __init__(self, *arguments: object) -> None:
            raise OSError("no route")

    monkeypatch.setattr(addresses.socket, "socket", Unrouted)
    assert primary_addresses() == ["127.0.0.1"]


@pytest.mark.usefixtures("primary")
def test_one_public_address_is_named_for_whatever_is_ours() -> None:
    """Rule 23: also for the primary address of a wildcard; not for loopback, and not for the other family."""
    listeners = [{"address": "0.0.0.0"}, {"address": "::"}, {"address": "127.0.0.1", "port": 3500}]
    assert _uris({"listeners": listeners, "relay": {"external": "198.51.100.1"}}) == [
        "turn:198.51.100.1:3478?transport=udp",
        "turn:[2001:db8::5]:3478?transport=udp",
        "turn:127.0.0.1:3500?transport=udp",
    ]


def test_what_a_server_has_asked_for_is_named() -> None:
    """``relay.external: auto``: a running server knows it."""
    relay = {"external": "auto", "stun_server": "stun.example.org"}
    config = Config.model_validate({"listeners": [{"address": "10.0.0.5"}], "relay": relay})
    relays = [RelayAddress(Address.parse("10.0.0.5", 0).ip, Address.parse("198.51.100.1", 0).ip)]
    assert [str(uri) for uri in client_uris(as_told(config, relays))] == ["turn:198.51.100.1:3478?transport=udp"]
    mapped = Config.model_validate({"relay": {"external": {"10.0.0.5": "198.51.100.1"}}})
    assert as_told(mapped, relays) is mapped


@pytest.mark.usefixtures("primary")
def test_a_wildcard_is_known_by_the_primary_addresses() -> None:
    """RFC 7065 §3.1: nobody can connect to 0.0.0.0."""
    assert _uris({}) == ["turn:192.0.2.5:3478?transport=udp", "turn:[2001:db8::5]:3478?transport=udp"]
    assert _uris({"listeners": [{"address": "0.0.0.0", "port": 3500}]}) == ["turn:192.0.2.5:3500?transport=udp"]


def test_behind_nat_the_public_address_is_named() -> None:
    """Rule 23: bind the private, advertise the external address."""
    config = {
        "listeners": [{"address": "192.0.2.5"}, {"address": "127.0.0.1", "port": 3500}],
        "relay": {"external": {"192.0.2.5": "198.51.100.1"}},
    }
    assert _uris(config) == ["turn:198.51.100.1:3478?transport=udp", "turn:127.0.0.1:3500?transport=udp"]


@pytest.mark.usefixtures("primary")
def test_ports_as_bound_count() -> None:
    """Port 0 names nothing until it is bound; what nobody was told to use is left out."""
    config = {"listeners": [{"address": "0.0.0.0", "port": 0}]}
    bound = [(UDP, Address.parse("127.0.0.1", 40000)), (UDP, Address.parse("192.0.2.5", 40001))]
    assert _uris(config) == []
    assert _uris(config, bound) == ["turn:192.0.2.5:40001?transport=udp"]


def _tls(*certified: Any) -> dict[str, Any]:
    return {"certificates": [{"certificate": str(one.certificate), "key": str(one.key)} for one in certified]}


@pytest.mark.parametrize(
    ("names", "host"),
    [
        (["*.example.org", "turn.example.org"], "turn.example.org"),
        (["203.0.113.5", "TURN.example.org"], "turn.example.org"),
        (["localhost", "203.0.113.5"], "203.0.113.5"),
        (["localhost", "127.0.0.1"], "localhost"),
        (["*.example.org"], ""),
    ],
)
def test_the_host_that_a_certificate_is_for(certify: Callable[..., Any], names: list[str], host: str) -> None:
    """RFC 9525 §6.3: a wildcard is the name of no host."""
    assert certified_host(Config.model_validate({"tls": _tls(certify(*names))})) == host


def test_a_certificate_that_cannot_be_read_names_nothing(certify: Callable[..., Any], tmp_path: Path) -> None:
    made = certify("turn.example.org")
    broken = tmp_path / "broken.pem"
    broken.write_text("no certificate")
    tls = _tls(made)
    tls["certificates"].insert(0, {"certificate": str(broken), "key": str(made.key)})
    assert certified_host(Config.model_validate({"tls": tls})) == "turn.example.org"
    assert certified_host(Config()) == ""


def test_others_are_told_the_name_of_the_certificate(certify: Callable[..., Any]) -> None:
    """Kind: a URL that names what its readers cannot use. Here, a browser refuses TLS with another name."""
    config = {
        "listeners": [
            {"address": "10.0.0.5"},
            {"address": "2001:db8::5"},
            {"transport": "tls", "address": "10.0.0.5"},
            {"address": "127.0.0.1", "port": 3500},
        ],
        "relay": {"external": {"10.0.0.5": "203.0.113.5"}},
        "tls": _tls(certify("turn.example.org")),
    }
    checked = Config.model_validate(config)
    assert list(map(str, public_uris(checked))) == [
        "turn:turn.example.org:3478?transport=udp",
        "turns:turn.example.org:5349?transport=tcp",
        "turn:127.0.0.1:3500?transport=udp",
    ]
    assert {uri.host for uri in public_uris(checked, "other.example.org")} == {"other.example.org"}
    for_this_machine = Config.model_validate(config | {"tls": _tls(certify("localhost"))})
    assert [uri.host for uri in public_uris(for_this_machine)] == [
        "203.0.113.5",
        "203.0.113.5",
        "2001:db8::5",
        "localhost",
    ]


def test_others_are_not_told_an_inner_port() -> None:
    """Kind: a URL with a port that clients do not know, because a proxy is in front of it, or because it is local."""
    config = {
        "listeners": [
            {"address": "192.0.2.5"},
            {"address": "192.0.2.5", "port": 8081},
            {"transport": "tcp", "address": "192.0.2.5"},
            {"transport": "shared", "tls": False, "address": "192.0.2.5", "port": 8081, "proxies": ["10.0.0.0/8"]},
            {"address": "127.0.0.1", "port": 3500},
        ],
        "proxies": ["127.0.0.1"],
    }
    checked = Config.model_validate(config)
    udp = ["turn:192.0.2.5:3478?transport=udp", "turn:192.0.2.5:8081?transport=udp"]
    local = "turn:127.0.0.1:3500?transport=udp"
    assert sorted(map(str, public_uris(checked))) == sorted([*udp, local, "turn:192.0.2.5:3478?transport=tcp"])
    assert {(uri.port, uri.transport) for uri in public_uris(checked, "turn.example.org")} == {
        (3478, "udp"),
        (8081, "udp"),
        (3478, "tcp"),
    }
    required = Config.model_validate(config | {"proxy_protocol": "required"})
    assert list(map(str, public_uris(required))) == [*udp, local]


def test_others_are_told_the_urls_that_participants_are_told(certify: Callable[..., Any]) -> None:
    """Kind: a URL that names what its readers cannot use: only the operator knows the ports before this machine."""
    urls = ["stun:a.example.org", "turn:a.example.org", "turns:b.example.org:443?transport=tcp"]
    config = Config.model_validate(
        {
            "listeners": [{"transport": "tls", "address": "10.0.0.5", "port": 8443}],
            "tls": _tls(certify("turn.example.org")),
            "signaling": {"urls": urls},
        }
    )
    expected = ["turn:a.example.org:3478?transport=udp", "turns:b.example.org:443?transport=tcp"]
    assert list(map(str, public_uris(config))) == expected
    assert list(map(str, public_uris(config, "c.example.org"))) == [
        "turn:c.example.org:3478?transport=udp",
        "turns:c.example.org:443?transport=tcp",
    ]
    only_stun = config.model_copy(update={"signaling": config.signaling.model_copy(update={"urls": (urls[0],)})})
    assert list(map(str, public_uris(only_stun))) == ["turns:turn.example.org:8443?transport=tcp"]


def test_the_same_listener_as_a_stun_uri() -> None:
    """RFC 7064 §3.1: stun: for turn:, stuns: for turns:, without a transport."""
    assert str(stun_uri(StunUri.parse("turn:[2001:db8::1]:5000?transport=udp"))) == "stun:[2001:db8::1]:5000"
    assert str(stun_uri(StunUri.parse("turns:example.org"))) == "stuns:example.org:5349"


@pytest.mark.parametrize(
    ("hosts", "words"),
    [
        (["127.0.0.1", "::1"], "programs on this machine"),
        (["192.168.1.5", "fd00::5"], "machines on this network"),
        (["127.0.0.1", "10.0.0.1"], "machines on this network"),
        (["8.8.8.8", "10.0.0.1"], ""),
    ],
)
def test_who_can_reach_it(hosts: list[str], words: str) -> None:
    """Rule 23: a private address is no use to the rest of the world, and that is said."""
    note = reach(hosts)
    assert words in note
    assert bool(note) == bool(words)


def test_relays_in_words() -> None:
    """Rule 23: behind 1:1 NAT a relay has two addresses."""
    private, public = bytes([10, 0, 0, 1]), bytes([198, 51, 100, 1])
    assert relay_text(RelayAddress(private, private)) == "10.0.0.1"
    assert relay_text(RelayAddress(private, public)) == "10.0.0.1 (clients are told 198.51.100.1)"


def test_every_way_in_has_its_uri() -> None:
    """RFC 7065 §3.1: TLS is turns:, and a shared port is what its TLS makes of it."""
    ways = [("udp", True), ("tcp", True), ("tls", True), ("shared", True), ("shared", False)]
    listeners = [
        {"transport": transport, "address": "192.0.2.5", "port": 1000 + number} | ({} if tls else {"tls": False})
        for number, (transport, tls) in enumerate(ways)
    ]
    config = Config.model_construct(
        listeners=tuple(map(Listener.model_validate, listeners)), relay=Config().relay, auth=Config().auth
    )
    assert list(map(str, client_uris(config))) == [
        "turn:192.0.2.5:1000?transport=udp",
        "turn:192.0.2.5:1001?transport=tcp",
        "turns:192.0.2.5:1002?transport=tcp",
        "turns:192.0.2.5:1003?transport=tcp",
        "turn:192.0.2.5:1004?transport=tcp",
    ]


def test_a_page_is_on_the_port_of_its_turns_uri() -> None:
    """RFC 3986 §3.2.2: an IPv6 address in brackets."""
    assert page_url(StunUri.parse("turns:192.0.2.5:5349")) == "https://192.0.2.5:5349/"
    assert page_url(StunUri.parse("turns:[2001:db8::5]:443")) == "https://[2001:db8::5]:443/"


def test_the_pages_of_a_server() -> None:
    """This machine's own page first; its listener is nothing that TURN clients are told of, and `tls` is no page."""
    listeners = [
        {"transport": "udp", "address": "192.0.2.5", "port": 3478},
        {"transport": "tls", "address": "192.0.2.5", "port": 5349},
        {"transport": "shared", "address": "192.0.2.5", "port": 443},
        {"transport": "shared", "tls": False, "address": "127.0.0.1", "port": 8080},
        {"transport": "shared", "tls": False, "address": "::1", "port": 8080},
    ]
    config = Config.model_construct(
        listeners=tuple(map(Listener.model_validate, listeners)), relay=Config().relay, auth=Config().auth
    )
    uris = client_uris(config)
    assert [uri.port for uri in uris] == [3478, 5349, 443]
    assert page_urls(config, uris) == ["http://localhost:8080/", "https://192.0.2.5:443/"]


def test_ports_of_localhost() -> None:
    """A port counts as free if it is on every address that ``localhost`` may stand for."""
    assert local_loopbacks()[0] == "127.0.0.1"
    port = free_local_port()
    assert is_free_locally(port)
    for host in local_loopbacks():
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.create_server((host, port), family=family):
            assert not is_free_locally(port)


def test_a_listener_without_a_socket_is_nowhere_to_go() -> None:
    """Frames are handed to it by the program that it is part of."""
    config = Config.model_validate({"listeners": [{"transport": "memory", "address": "192.0.2.5"}]})
    assert client_uris(config) == []
