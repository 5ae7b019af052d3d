"""One listener that cannot be open does not take the others along; addresses and certificates may come later.

The addresses are those of a network namespace, changed with ip(8) while the server runs.
"""

import asyncio
import logging
import os
import socket
import ssl
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from cli.addresses import client_uris
from stun.address import Address
from stun.constants import MessageClass, Method
from stun.message import Message, MessageBuilder
from tests.support.certificates import client_context, issue
from tests.support.certify import certify
from tests.support.netns import NetworkNamespace
from tests.support.turn_client import TurnClient, TurnRefused
from turnserver import addresses
from turnserver.core.events import AllocationEnded, EndReason
from turnserver.core.server import TurnCore
from turnserver.core.types import ClientTransport
from turnserver.errors import StartupError
from turnserver.listening import listener_fields
from turnserver.observers.recorder import Recorder
from turnserver.server import Server
from turnserver.snapshot import ListenerView

__all__ = ["certify"]

LIMIT = 60.0
PORT = 3478
USERS = {"users": {"alice": "correct horse"}}
STREAMS = ("tcp", "tls", "shared")
YESTERDAY = datetime.now(UTC) - timedelta(days=1)


@pytest.fixture
def inside() -> Iterator[NetworkNamespace]:
    """The test is inside a namespace of its own, with loopback only."""
    with NetworkNamespace() as namespace, namespace.entered():
        yield namespace


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(LIMIT):
        while not condition():
            await asyncio.sleep(0.01)


def serving(server: Server) -> list[str]:
    return [f"{each.kind} {each.address}" for each in server.snapshot().listeners]


def core_of(server: Server) -> TurnCore:
    assert server._parts is not None
    assert server._parts.core is not None
    return server._parts.core


def client_of(host: str) -> TurnClient:
    return TurnClient.udp(host, PORT, "alice", "correct horse")


async def answers(host: str, port: int, context: ssl.SSLContext | None = None) -> bool:
    """Whether a Binding request over TCP or TLS gets its answer."""
    name = None if context is None else "localhost"
    reader, writer = await asyncio.wait_for(
        asyncio.open_connection(host, port, ssl=context, server_hostname=name), LIMIT
    )
    writer.write(MessageBuilder(Method.BINDING, MessageClass.REQUEST, os.urandom(12)).build())
    head = await asyncio.wait_for(reader.readexactly(20), LIMIT)
    answer = Message.decode(head + await reader.readexactly(head[2] << 8 | head[3]))
    writer.close()
    return answer.message_class == MessageClass.SUCCESS


async def status_of_health(port: int, context: ssl.SSLContext | None = None) -> bytes:
    """The first line of an answer over HTTP or HTTPS."""
    name = None if context is None else "localhost"
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=name)
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    line = await asyncio.wait_for(reader.readline(), LIMIT)
    writer.close()
    return line.strip()


# Certificates


def spoil_nothing(_: Path) -> None:
    """The pair has expired, and otherwise fits."""


def empty(path: Path) -> None:
    path.write_bytes(b"")


def overwrite(path: Path) -> None:
    path.write_text("nonsense")


@pytest.mark.parametrize("spoil", [spoil_nothing, empty, overwrite], ids=lambda function: function.__name__)
async def test_a_bad_certificate_at_the_start_keeps_only_tls_back(
    spoil: Callable[[Path], None], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """UDP and TCP are served, the log has an error, and TLS comes up when the files have been replaced."""
    bad = issue(tmp_path, "bad", ends=YESTERDAY + timedelta(hours=1), begins=YESTERDAY)
    spoil(bad.certificate)
    kinds = ("udp", "tcp", "tls", "shared")
    listeners = [{"transport": kind, "address": "127.0.0.1", "port": 0} for kind in kinds]
    tls = {"certificates": [bad.config], "reload_interval": 1}
    caplog.set_level(logging.INFO)
    async with Server({"listeners": listeners, "auth": USERS, "tls": tls}) as server:
        assert [each.kind for each in server.snapshot().listeners] == ["udp", "tcp"]
        (record,) = [record for record in caplog.records if "TLS are not open" in record.getMessage()]
        assert record.levelno == logging.ERROR
        assert str(bad.certificate) in str(record.__dict__["fields"])
        assert await answers("127.0.0.1", server.snapshot().listeners[1].address.port)
        good = issue(tmp_path, "good")
        context = client_context(good)
        bad.replace_by(good)
        await until(lambda: len(server.snapshot().listeners) == len(kinds))
        assert [each.kind for each in server.snapshot().listeners] == list(kinds)
        policy = core_of(server).state.policy
        for each in server.snapshot().listeners:
            assert policy.refusal(each.address.ip, each.address.port) == "own listener"
        for each in server.snapshot().listeners[2:]:
            assert await answers("127.0.0.1", each.address.port, context)


@pytest.mark.parametrize("gone", ["certificate", "key", "both"])
async def test_a_missing_certificate_keeps_only_tls_back(
    gone: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The kind of fault: one broken part takes the others along. The files may come later, and a reload is no worse."""
    pair = issue(tmp_path, "server")
    taken = [
        path for path in (pair.certificate, pair.key) if gone in {"both", "key" if path == pair.key else "certificate"}
    ]
    kept = {path: path.read_bytes() for path in taken}
    for path in taken:
        path.unlink()
    listeners = [{"transport": kind, "address": "127.0.0.1", "port": 0} for kind in ("udp", "tcp", "tls")]
    options = {"listeners": listeners, "auth": USERS, "tls": {"certificates": [pair.config], "reload_interval": 1}}
    async with Server(options) as server:
        assert [each.kind for each in server.snapshot().listeners] == ["udp", "tcp"]
        (record,) = [record for record in caplog.records if "TLS are not open" in record.getMessage()]
        assert record.levelno == logging.ERROR
        assert str(taken[0]) in str(record.__dict__["fields"])
        assert (await server.reload({**options, "software": "new"})).taken == ("software",)
        for path, content in kept.items():
            path.write_bytes(content)
        await until(lambda: len(server.snapshot().listeners) == len(listeners))


async def test_two_hosts_on_one_port(certify: Callable[..., Any]) -> None:
    """The kind: virtual hosts. Clients check their certificate, and each host's is renewed."""
    root = certify(label="root")
    one, other = (certify(name, by=root) for name in ("turn.example.org", "meet.example.net"))
    certificates = [{"certificate": str(each.certificate), "key": str(each.key)} for each in (one, other)]
    tls = {"certificates": certificates, "reload_interval": 86400}
    listeners = [{"transport": "tls", "address": "127.0.0.1", "port": 0}]
    context = ssl.create_default_context(cafile=str(root.certificate))
    async with Server({"listeners": listeners, "auth": USERS, "tls": tls}) as server:
        port = server.snapshot().listeners[0].address.port

        async def shown(name: str) -> int:
            _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=name)
            found = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
            writer.transport.abort()
            return x509.load_der_x509_certificate(found).serial_number

        assert await shown("turn.example.org") == one.parsed.serial_number
        assert await shown("meet.example.net") == other.parsed.serial_number
        newer = certify("meet.example.net", by=root)
        newer.key.replace(other.key)
        newer.certificate.replace(other.certificate)
        assert server.reload_certificates()
        assert await shown("meet.example.net") == newer.parsed.serial_number
        assert await shown("turn.example.org") == one.parsed.serial_number


async def test_a_reload_looks_at_the_certificates_at_once(tmp_path: Path) -> None:
    bad = issue(tmp_path, "bad", ends=YESTERDAY + timedelta(hours=1), begins=YESTERDAY)
    listeners = [{"transport": kind, "address": "127.0.0.1", "port": 0} for kind in ("udp", "tls")]
    tls = {"certificates": [bad.config], "reload_interval": 86400}
    async with Server({"listeners": listeners, "auth": USERS, "tls": tls}) as server:
        assert len(server.snapshot().listeners) == 1
        bad.replace_by(issue(tmp_path, "good"))
        await server.reload(server.config)
        await until(lambda: len(server.snapshot().listeners) == 2)


def test_a_shared_listener_has_its_name_in_the_log() -> None:
    """Kind: a thing that the log calls otherwise than the configuration: `shared` was `tls` or `tcp` there."""
    address = Address.parse("192.0.2.1", 443)
    assert [
        listener_fields(ListenerView(kind, transport, address))
        for kind, transport in (
            ("shared", ClientTransport.TLS),
            ("shared", ClientTransport.TCP),
            ("tls", ClientTransport.TLS),
        )
    ] + [
        listener_fields(ListenerView("tls", ClientTransport.TLS, address, more_transports=(ClientTransport.TCP,)))
    ] == [
        {"transport": "shared", "over": "tls", "address": "192.0.2.1:443"},
        {"transport": "shared", "over": "tcp", "address": "192.0.2.1:443"},
        {"transport": "tls", "address": "192.0.2.1:443"},
        {"transport": "tls", "over": "tls, tcp", "address": "192.0.2.1:443"},
    ]


async def test_one_good_certificate_of_two_is_enough(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    good = issue(tmp_path, "good")
    bad = issue(tmp_path, "bad", "rsa", ends=YESTERDAY + timedelta(hours=1), begins=YESTERDAY)
    listeners = [{"transport": "tls", "address": "127.0.0.1", "port": 0}]
    tls = {"certificates": [bad.config, good.config]}
    async with Server({"listeners": listeners, "auth": USERS, "tls": tls}) as server:
        (view,) = server.snapshot().listeners
        assert await answers("127.0.0.1", view.address.port, client_context(good))
    assert [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR] == [
        "certificate refused"
    ]


# TLS or not, as the client likes


async def test_clients_with_tls_and_without_on_one_port(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """``tls: auto`` on every kind of stream listener; each is listed with both transports, and both URLs."""
    pair = issue(tmp_path, "localhost")
    listeners = [{"transport": kind, "tls": "auto", "address": "127.0.0.1", "port": 0} for kind in STREAMS]
    options = {"listeners": listeners, "auth": USERS, "tls": {"certificates": [pair.config]}}
    context = client_context(pair)
    async with Server(options) as server:
        now = server.snapshot()
        assert [each.kind for each in now.listeners] == list(STREAMS)
        for each in now.listeners:
            assert await answers("127.0.0.1", each.address.port)
            assert await answers("127.0.0.1", each.address.port, context)
        pages = now.listeners[STREAMS.index("shared")].address.port
        assert await status_of_health(pages) == await status_of_health(pages, context) == b"HTTP/1.1 200 OK"
        assert now.listening == tuple(
            (kind, each.address) for each in now.listeners for kind in (ClientTransport.TLS, ClientTransport.TCP)
        )
        assert [str(uri) for uri in client_uris(server.config, now.listening)] == [
            f"{scheme}:127.0.0.1:{each.address.port}?transport=tcp"
            for each in now.listeners
            for scheme in ("turns", "turn")
        ]


async def test_without_a_certificate_those_without_tls_are_served(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The kind: what cannot be served for now does not keep back what can. TLS follows with the certificate."""
    bad = issue(tmp_path, "bad", ends=YESTERDAY + timedelta(hours=1), begins=YESTERDAY)
    listeners = [{"transport": "tls", "tls": "auto", "address": "127.0.0.1", "port": 0}]
    tls = {"certificates": [bad.config], "reload_interval": 1}
    async with Server({"listeners": listeners, "auth": USERS, "tls": tls}) as server:
        (view,) = server.snapshot().listeners
        assert await answers("127.0.0.1", view.address.port)
        (record,) = [each for each in caplog.records if "without TLS only" in each.getMessage()]
        assert record.levelno == logging.ERROR
        good = issue(tmp_path, "good")
        context = client_context(good)
        with pytest.raises((ssl.SSLError, OSError)):
            await answers("127.0.0.1", view.address.port, context)
        bad.replace_by(good)
        certificates = server._parts.certificates if server._parts is not None else None
        assert certificates is not None
        await until(lambda: certificates.ready)
        assert await answers("127.0.0.1", view.address.port, context)


async def test_who_comes_to_the_wrong_listener_gets_a_line_with_the_url_that_works(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Both ways, with the public address of a server behind NAT (``relay.external``), or the certificate's name."""
    pair = issue(tmp_path, "localhost")
    listeners = [{"transport": kind, "address": "127.0.0.1", "port": 0} for kind in ("tcp", "tls")]
    options = {
        "listeners": listeners,
        "auth": USERS,
        "tls": {"certificates": [pair.config]},
        "relay": {"external": {"127.0.0.1": "203.0.113.5"}},
    }
    caplog.set_level(logging.INFO, "meshturn.streams")
    async with Server(options) as server:
        plain, secure = (each.address.port for each in server.snapshot().listeners)
        with pytest.raises((ssl.SSLError, OSError)):
            await answers("127.0.0.1", plain, client_context(pair))
        with pytest.raises((asyncio.IncompleteReadError, OSError)):
            await answers("127.0.0.1", secure)
        lines = {
            each.getMessage(): each.__dict__["fields"] for each in caplog.records if each.name == "meshturn.streams"
        }
    both = f"turn:203.0.113.5:{plain}?transport=tcp or turns:localhost:{secure}?transport=tcp"
    assert {line: (fields["listener"], fields["works"]) for line, fields in lines.items()} == {
        "TLS on a listener without TLS": (f"tcp 127.0.0.1:{plain}", both),
        "TURN without TLS on a listener with TLS": (f"tls 127.0.0.1:{secure}", both),
    }


# Addresses


@pytest.mark.process
async def test_an_address_that_comes_is_served_and_one_that_goes_is_closed(
    inside: NetworkNamespace, caplog: pytest.LogCaptureFixture
) -> None:
    """A wildcard listener follows the addresses; allocations on the others do not notice."""
    caplog.set_level(logging.INFO)
    recorder = Recorder()
    inside.ip("address add 10.7.0.1/32 dev lo")
    listeners = [{"transport": kind, "address": address} for kind in ("udp", "tcp") for address in ("0.0.0.0", "::")]
    config = {"listeners": listeners, "auth": USERS, "peers": {"allow": ["0.0.0.0/0", "::/0"]}}
    async with Server(config, observers=[recorder]) as server:
        before = serving(server)
        assert f"udp 10.7.0.1:{PORT}" in before
        with client_of("10.7.0.1") as stays:
            allocation = await asyncio.to_thread(stays.allocate)
            assert allocation.relayed[0].host == "10.7.0.1"
            inside.ip("address add 10.7.0.2/32 dev lo")
            inside.ip("address add fd00::2/128 dev lo")
            await until(lambda: len(serving(server)) == len(before) + 4)
            assert {f"udp 10.7.0.2:{PORT}", f"tcp [fd00::2]:{PORT}"} < set(serving(server))
            assert await answers("10.7.0.2", PORT)
            for host in ("10.7.0.2", "fd00::2"):
                own = Address(ip_address(host).packed, PORT)
                assert core_of(server).state.policy.refusal(own.ip, own.port) == "own listener"
                with client_of(host) as client:
                    relayed = (await asyncio.to_thread(client.allocate, family=own.family)).relayed[0]
                    assert relayed.host == host
                    with pytest.raises(TurnRefused) as refused:
                        await asyncio.to_thread(client.channel_bind, 0x4000, own)
                    assert refused.value.code == 403
            inside.ip("address del 10.7.0.2/32 dev lo")
            inside.ip("address del fd00::2/128 dev lo")
            await until(lambda: serving(server) == before)
            ended = [each.event for each in recorder.events if isinstance(each.event, AllocationEnded)]
            assert [event.reason for event in ended] == [EndReason.LISTENER_CLOSED] * 2
            assert await asyncio.to_thread(stays.refresh) > 0
    said = [
        (record.getMessage(), record.__dict__["fields"]["address"])
        for record in caplog.records
        if "listen" in record.msg
    ]
    assert ("listening", f"10.7.0.2:{PORT}") in said
    assert ("listener closed", f"10.7.0.2:{PORT}") in said


@pytest.mark.process
async def test_without_events_addresses_are_found_too(
    inside: NetworkNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(addresses, "_events", lambda: None)
    monkeypatch.setattr(addresses, "LOOK_INTERVAL", 0.05)
    async with Server({"listeners": [{"address": "0.0.0.0"}], "auth": USERS}) as server:
        inside.ip("address add 10.7.0.3/32 dev lo")
        await until(lambda: f"udp 10.7.0.3:{PORT}" in serving(server))


@pytest.mark.process
async def test_a_reload_looks_for_addresses_at_once(inside: NetworkNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system tells of no changes, SIGHUP does."""
    monkeypatch.setattr(addresses, "_events", lambda: None)
    monkeypatch.setattr(addresses, "LOOK_INTERVAL", 86400.0)
    async with Server({"listeners": [{"address": "0.0.0.0"}], "auth": USERS}) as server:
        inside.ip("address add 10.7.0.8/32 dev lo")
        await server.reload(server.config)
        await until(lambda: f"udp 10.7.0.8:{PORT}" in serving(server))


@pytest.mark.process
async def test_a_server_that_starts_before_its_network(inside: NetworkNamespace) -> None:
    """Boot order: at first there is only loopback; then relays are on the real address, and loopback is none."""
    async with Server({"listeners": [{"address": "0.0.0.0"}], "auth": USERS}) as server:
        assert serving(server) == [f"udp 127.0.0.1:{PORT}"]
        inside.ip("address add 10.7.0.4/32 dev lo")
        await until(lambda: len(serving(server)) == 2)
        assert [relay.bound for relay in server.snapshot().relays] == [ip_address("10.7.0.4").packed]
        with client_of("10.7.0.4") as client:
            assert (await asyncio.to_thread(client.allocate)).relayed[0].host == "10.7.0.4"


@pytest.mark.process
async def test_an_ipv6_address_that_fails_its_check_is_a_warning(
    inside: NetworkNamespace, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RFC 4862 §5.4: somebody else has it, so it cannot be bound. The rest is served; it is, too, once it is good."""
    monkeypatch.setattr(addresses, "LOOK_INTERVAL", 0.2)
    with NetworkNamespace() as other:
        inside.ip(f"link add name left type veth peer name right netns {other.name}")
        other.ip("link set right up")
        other.ip("address add fd00:7::1/64 dev right nodad")
        inside.ip("link set left up")
        inside.ip("address add fd00:7::1/64 dev left")
        listeners = [{"address": "0.0.0.0"}, {"address": "::"}, {"address": "fd00:7::1", "port": PORT + 1}]
        async with Server({"listeners": listeners, "auth": USERS}) as server:
            assert serving(server) == [f"udp 127.0.0.1:{PORT}", f"udp [::1]:{PORT}"]
            warned = [record for record in caplog.records if record.levelno == logging.WARNING]
            told = [record.__dict__["fields"]["address"] for record in warned if "not open" in record.getMessage()]
            assert told == [f"[fd00:7::1]:{PORT}", f"[fd00:7::1]:{PORT + 1}"]
            assert "duplicate check" in warned[-2].__dict__["fields"]["reason"]
            inside.ip("address del fd00:7::1/64 dev left")
            inside.ip("address add fd00:7::1/64 dev left nodad")
            await until(lambda: len(serving(server)) == 4)
            assert {f"udp [fd00:7::1]:{PORT}", f"udp [fd00:7::1]:{PORT + 1}"} < set(serving(server))


@pytest.mark.process
async def test_one_address_of_a_wildcard_that_is_in_use(
    inside: NetworkNamespace, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others are served, and that one as soon as it is free; if all are in use, that is the start's error."""
    monkeypatch.setattr(addresses, "LOOK_INTERVAL", 0.05)
    inside.ip("address add 10.7.0.5/32 dev lo")
    config = {"listeners": [{"address": "0.0.0.0"}], "auth": USERS}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("10.7.0.5", PORT))
        async with Server(config) as server:
            assert serving(server) == [f"udp 127.0.0.1:{PORT}"]
            assert "already in use" in str([record.__dict__.get("fields") for record in caplog.records])
            taken.close()
            await until(lambda: len(serving(server)) == 2)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("0.0.0.0", PORT))
        with pytest.raises(StartupError, match="already in use"):
            await Server(config).start()


async def test_a_named_address_of_somebody_else_is_an_error() -> None:
    """Probably a mistake, so it is said at the start, although others could be served."""
    listeners = [{"address": "127.0.0.1", "port": 0}, {"address": "203.0.113.77", "port": 0}]
    with pytest.raises(StartupError, match=r"203\.0\.113\.77 is not an address of this machine"):
        await Server({"listeners": listeners, "auth": USERS}).start()


@pytest.mark.process
async def test_reloaded_limits_count_for_listeners_that_come_later(inside: NetworkNamespace) -> None:
    config: dict[str, Any] = {"listeners": [{"transport": "tcp", "address": "0.0.0.0"}], "auth": USERS}
    async with Server(config) as server:
        await server.reload({**config, "limits": {"idle_timeout": 7}})
        inside.ip("address add 10.7.0.6/32 dev lo")
        await until(lambda: len(serving(server)) == 2)
        assert [transport._limits.idle_timeout for transport in server.transports] == [7, 7]  # type: ignore[attr-defined]


# Behavior discovery


@pytest.mark.process
async def test_behavior_discovery_ends_with_an_address_and_returns(
    inside: NetworkNamespace, caplog: pytest.LogCaptureFixture
) -> None:
    """RFC 5780 §6: a client that is told of an address which has gone would take its own NAT for one that filters."""
    hosts = ("192.0.2.1", "192.0.2.2")
    inside.ip("link set lo up")
    for host in hosts:
        inside.ip(f"addr add {host}/32 dev lo")
    options = {
        "listeners": [{"transport": "udp", "address": hosts[0], "port": PORT}],
        "auth": USERS,
        "behavior_discovery": {"primary": f"{hosts[0]}:{PORT}", "alternate": f"{hosts[1]}:{PORT + 1}"},
    }

    def told() -> list[str]:
        return [str(each.public) for each in core_of(server).state.own.discovery]

    async with Server(options) as server:
        every = [f"{host}:{port}" for host in hosts for port in (PORT, PORT + 1)]
        assert told() == every
        inside.ip(f"addr del {hosts[1]}/32 dev lo")
        await until(lambda: not told())
        (record,) = [each for each in caplog.records if each.getMessage() == "behavior discovery is not offered"]
        assert record.__dict__["fields"] == {
            "family": "IPv4",
            "reason": "192.0.2.2 is no address of this host now",
        }
        inside.ip(f"addr add {hosts[1]}/32 dev lo")
        await until(lambda: told() == every)


@pytest.mark.process
async def test_behavior_discovery_behind_1_1_nat_needs_both_public_addresses(
    inside: NetworkNamespace, caplog: pytest.LogCaptureFixture
) -> None:
    """A private OTHER-ADDRESS is of no use to anybody. A reload that names both public addresses offers it."""
    hosts = ("10.0.0.1", "10.0.0.2")
    for host in hosts:
        inside.ip(f"addr add {host}/32 dev lo")
    inside.ip("link set lo up")
    external = {hosts[0]: "203.0.113.1"}
    options: dict[str, Any] = {
        "listeners": [{"transport": "udp", "address": hosts[0], "port": PORT}],
        "auth": USERS,
        "relay": {"addresses": list(hosts), "external": external},
        "behavior_discovery": {"primary": f"{hosts[0]}:{PORT}", "alternate": f"{hosts[1]}:{PORT + 1}"},
    }
    async with Server(options) as server:
        assert core_of(server).state.own.discovery == ()
        assert "relay.external has no public address for 10.0.0.2" in [
            each.__dict__["fields"]["reason"] for each in caplog.records if "discovery" in each.getMessage()
        ]
        whole = external | {hosts[1]: "203.0.113.2"}
        await server.reload({**options, "relay": {"addresses": list(hosts), "external": whole}})
        assert [each.public.host for each in core_of(server).state.own.discovery] == [
            public for public in whole.values() for _ in range(2)
        ]
