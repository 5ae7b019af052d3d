"""From the configured listeners to transports: nothing the operator says is lost on the way."""

from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest

from stun.address import Address
from tests.support.certificates import CertificatePair, issue
from turnserver.config import Config
from turnserver.core.types import ClientTransport
from turnserver.net import local_addresses
from turnserver.proxies import Arrival
from turnserver.streams import ByteStream
from turnserver.transports.base import ListenerContext, Transport
from turnserver.transports.certificates import CertificateSource
from turnserver.transports.dtls import DtlsTransport
from turnserver.transports.limits import ConnectionLimiter
from turnserver.transports.listeners import expanded, planned_listeners
from turnserver.transports.memory import MemoryTransport
from turnserver.transports.stream import StreamTransport
from turnserver.transports.udp import UdpTransport

LOOPBACK = ip_address("127.0.0.1").packed


def config(**options: Any) -> Config:
    return Config.model_validate(options)


def made_of(chosen: Config, **context: Any) -> list[Transport]:
    limiter = ConnectionLimiter(chosen.limits)
    found = ListenerContext(chosen.limits, limiter, tos=chosen.relay.tos, proxies=chosen, **context)
    return [planned.make() for planned in planned_listeners(chosen.listeners, found)]


def streams(chosen: Config, **context: Any) -> list[StreamTransport]:
    made = made_of(chosen, **context)
    assert all(isinstance(transport, StreamTransport) for transport in made)
    return [transport for transport in made if isinstance(transport, StreamTransport)]


def test_one_transport_per_listener() -> None:
    made = made_of(config(listeners=[{"address": "127.0.0.1", "port": 1}, {"address": "::1", "port": 2}]))
    assert [(made.name, made.kind, made.listener, made.address) for made in made] == [
        ("udp", ClientTransport.UDP, 0, Address(LOOPBACK, 1)),
        ("udp", ClientTransport.UDP, 1, Address(ip_address("::1").packed, 2)),
    ]


def test_wildcards_stand_for_every_local_address() -> None:
    made = made_of(config())
    assert sorted(transport.address.ip for transport in made) == sorted(local_addresses())
    assert {transport.address.port for transport in made} == {3478}
    assert len({transport.listener for transport in made}) == len(made)
    (listener,) = config(listeners=[{"address": "0.0.0.0", "port": 7}]).listeners
    assert expanded(listener) == [Address(ip, 7) for ip in local_addresses() if len(ip) == 4]


def test_an_address_that_is_named_twice_is_opened_once() -> None:
    made = made_of(config(listeners=[{"address": "127.0.0.1"}, {"address": "0.0.0.0"}]))
    assert [transport.address.ip for transport in made].count(LOOPBACK) == 1


def test_stream_listeners_on_wildcards() -> None:
    """Rule 23: every local address has a socket of its own; named twice, it is opened once."""
    listeners = [{"transport": "tcp", "address": "127.0.0.1"}, {"transport": "tcp", "address": "0.0.0.0"}]
    made = streams(config(listeners=listeners))
    assert sorted(transport.address.ip for transport in made) == sorted(ip for ip in local_addresses() if len(ip) == 4)


def test_the_limits_and_the_proxies_reach_the_streams() -> None:
    """The limits are the section itself; the networks of the proxies are the listener's own, or those of all."""
    proxies = [ip_network("10.0.0.0/8"), ip_network("2001:db8::/32")]
    listeners = [
        {"transport": "tcp", "address": "127.0.0.1", "proxies": [str(network) for network in proxies]},
        {"transport": "tcp", "address": "::1"},
        {"transport": "tcp", "address": "127.0.0.2", "proxies": [], "proxy_protocol": "optional"},
    ]
    chosen = config(listeners=listeners, proxies=["192.0.2.1"], proxy_protocol="required")
    first, second, third = streams(chosen)
    assert first._limits is second._limits is chosen.limits
    inside, common = Address.parse("2001:db8::1", 0), Address.parse("192.0.2.1", 0)
    assert [inside in each.proxies for each in (first, second, third)] == [True, False, False]
    assert [common in each.proxies for each in (first, second, third)] == [False, True, False]
    assert [each.header_required for each in (first, second, third)] == [True, True, False]


def test_connections_are_counted_over_all_listeners() -> None:
    """Rule 3: in total means in total."""
    first, second = streams(
        config(listeners=[{"transport": "tcp", "address": "127.0.0.1"}, {"transport": "tcp", "address": "::1"}])
    )
    assert first._limiter is second._limiter


@pytest.fixture
def pair(tmp_path: Path) -> CertificatePair:
    return issue(tmp_path)


class Http:
    """Takes connections."""

    def accept(self, stream: ByteStream, first: bytes, arrival: Arrival) -> None:
        raise AssertionError("nobody connects here")


def test_each_way_in_is_what_it_says(pair: CertificatePair) -> None:
    """TLS where it is asked for, HTTP where the port is shared, and one port of UDP beside the same of TCP."""
    listeners = [
        {"transport": "udp", "address": "127.0.0.1", "port": 3478},
        {"transport": "tcp", "address": "127.0.0.1", "port": 3478},
        {"transport": "tls", "address": "127.0.0.1", "port": 5349},
        {"transport": "shared", "address": "127.0.0.1", "port": 443},
        {"transport": "shared", "address": "127.0.0.1", "port": 80, "tls": False},
        {"transport": "memory", "address": "127.0.0.1", "port": 3478},
        {"transport": "dtls", "address": "127.0.0.1", "port": 5349},
    ]
    chosen = config(listeners=listeners, tls={"certificates": [pair.config], "reload_interval": 7})
    source, http = CertificateSource.from_config(chosen.tls), Http()
    made = made_of(chosen, certificates=source, http=http)
    assert [(each.name, each.kind.name, each.address.port, each.listener, each.local) for each in made] == [
        ("udp", "UDP", 3478, 0, False),
        ("tcp", "TCP", 3478, 1, False),
        ("tls", "TLS", 5349, 2, False),
        ("shared", "TLS", 443, 3, False),
        ("shared", "TCP", 80, 4, False),
        ("memory", "UDP", 3478, 5, True),
        ("dtls", "DTLS", 5349, 6, False),
    ]
    assert [type(each) for each in made] == [UdpTransport, *[StreamTransport] * 4, MemoryTransport, DtlsTransport]
    facts = [(t.tls is source, t.http is http) for t in made if isinstance(t, StreamTransport)]
    assert facts == [(False, False), (True, False), (True, True), (False, True)]
    source.load()
    assert [fact.kind for fact in source.facts] == ["EC"]
    assert source._interval == 7.0
    assert (chosen.has_streams, chosen.serves_http, chosen.serves_rooms) == (True, True, True)


def test_without_stream_listeners(pair: CertificatePair) -> None:
    chosen = config(listeners=[{"transport": "tcp", "address": "127.0.0.1"}])
    assert (chosen.has_streams, chosen.serves_http) == (True, False)
    assert not config().has_streams
    assert not config(
        listeners=[{"transport": "dtls", "address": "127.0.0.1"}], tls={"certificates": [pair.config]}
    ).has_streams


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_tos_reaches_the_transports(address: str) -> None:
    for tos, copies in (("copy", True), ("clear", False)):
        (made,) = made_of(config(listeners=[{"address": address}], relay={"tos": tos}))
        assert isinstance(made, UdpTransport)
        assert made._copies_tos is copies


def test_a_listener_by_its_address_is_there_only() -> None:
    (listener,) = config(listeners=[{"address": "192.0.2.5", "port": 1}]).listeners
    assert expanded(listener) == [Address.parse("192.0.2.5", 1)]
