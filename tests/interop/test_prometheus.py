"""A real Prometheus scrapes a real server; what it is told agrees with what was sent, and rules and dashboard work."""

import asyncio
import json
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from stun.address import Address
from stun.constants import AddressFamily, TransportProtocol
from tests.support.certificates import issue
from tests.support.metrics import expressions, query, scrape
from tests.support.peer import UdpPeer
from tests.support.process import wait_until
from tests.support.server import PASSWORD, USERNAME, TurnServerProcess, free_port, loopback_config, stream_listeners
from tests.support.signal_wire import Participant
from tests.support.tools import require_tool
from tests.support.turn_client import TurnClient, TurnRefused

CONF = Path(__file__).resolve().parents[2] / "conf"
CHANNEL = 0x4000
QUOTA = 4
PRIVATE = Address.parse("10.1.2.3", 9)


@pytest.fixture(scope="module")
def metrics_port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, metrics_port: int) -> Iterator[TurnServerProcess]:
    """The server with every kind of listener, rooms and metrics."""
    pair = issue(tmp_path_factory.mktemp("certificate"))
    config = loopback_config(
        listeners=stream_listeners(),
        tls={"certificates": [pair.config]},
        metrics={"port": metrics_port},
        limits={"allocations_per_user": QUOTA},
        signaling={"open": True},
    )
    with TurnServerProcess(config, tmp_path_factory.mktemp("server")) as process:
        yield process


def client(server: TurnServerProcess, transport: str, password: str = PASSWORD) -> TurnClient:
    """A client that sends nothing twice, so that what it sends can be counted, however busy the machine is."""
    if transport == "udp":
        return TurnClient.udp("127.0.0.1", server.ports["udp"], USERNAME, password, rto=60.0)
    return TurnClient.tcp("127.0.0.1", server.ports[transport], USERNAME, password)


def refused(ask: Any) -> int:
    with pytest.raises(TurnRefused) as error:
        ask()
    return error.value.code


def relay(sender: TurnClient, sizes: list[int], channel: bool) -> None:
    """Datagrams to a peer and, three times as long, back."""
    allocation = sender.allocate()
    with UdpPeer() as peer:
        if channel:
            sender.channel_bind(CHANNEL, peer.address)
        else:
            sender.create_permission(peer.address)
        for size in sizes:
            if channel:
                sender.send_channel(CHANNEL, bytes(size))
            else:
                sender.send(peer.address, bytes(size))
            data, source = peer.receive()
            assert (len(data), source) == (size, allocation.address)
            peer.send(bytes(3 * size), source)
            sender.receive()


def over_tcp(sender: TurnClient, server: TurnServerProcess) -> None:
    """A TCP relay, a peer that listens, 1,000 bytes to it and 2,000 back (RFC 6062)."""
    sender.allocate(protocol=TransportProtocol.TCP)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = Address.parse(*listener.getsockname())
        answers: list[bytes] = []

        def answer() -> None:
            peer, _ = listener.accept()
            with peer:
                answers.append(peer.recv(1000, socket.MSG_WAITALL))
                peer.sendall(bytes(2000))
                peer.recv(1)

        thread = threading.Thread(target=answer)
        thread.start()
        sender.create_permission(address)
        number = sender.connect_peer(address)
        data_client = client(server, "tcp")
        stream, first = data_client.bind_connection(number)
        with stream:
            stream.settimeout(90)
            stream.sendall(bytes(1000))
            got = len(first)
            while got < 2000:
                got += len(stream.recv(2000))
        thread.join(90)
        assert [len(data) for data in answers] == [1000]


def test_metrics_agree_with_what_was_sent(server: TurnServerProcess, metrics_port: int) -> None:
    """Packets, bytes, allocations, refusals and 401s of a scripted run, exactly; and counters never go backwards."""
    before = scrape(metrics_port)
    with client(server, "udp") as one, client(server, "tcp") as two, client(server, "tcp") as three:
        relay(one, [10, 20, 30], channel=True)
        relay(two, [100, 200], channel=False)
        over_tcp(three, server)
        live = scrape(metrics_port)
        assert live.total("meshturn_allocations") == 3
        assert live.value("meshturn_allocations", transport="udp", family="ipv4", protocol="udp") == 1
        assert live.value("meshturn_allocations", transport="tcp", family="ipv4", protocol="udp") == 1
        assert live.value("meshturn_allocations", transport="tcp", family="ipv4", protocol="tcp") == 1
        assert live.changes("meshturn_relayed_packets_total", before, "direction") == {
            ("to_peers",): 5,
            ("to_client",): 5,
        }
        assert live.changes("meshturn_relayed_bytes_total", before, "direction", "protocol") == {
            ("to_peers", "udp"): 360,
            ("to_client", "udp"): 1080,
            ("to_peers", "tcp"): 1000,
            ("to_client", "tcp"): 2000,
        }
        free = live.value("meshturn_relay_ports_free", address="127.0.0.1", protocol="udp")
        assert free == live.value("meshturn_relay_ports", address="127.0.0.1", protocol="udp") - 2
        assert refused(lambda: one.create_permission(PRIVATE)) == 403
        assert refused(one.allocate) == 437
        assert refused(lambda: one.channel_bind(0x3FFF, Address.parse("127.0.0.1", 9))) == 400
        with client(server, "udp") as four, client(server, "udp") as five:
            four.allocate()
            assert refused(five.allocate) == 486
            four.refresh(0)
            assert refused(four.refresh) == 437
        for transport in ("udp", "tcp"):
            with client(server, transport, "a wrong password") as guesser:
                assert refused(guesser.allocate) == 401
        one.refresh(0)
    wait_until(lambda: scrape(metrics_port).total("meshturn_allocations") == 0, "no allocation is left")
    after = scrape(metrics_port)
    assert after.changes("meshturn_refusals_total", before, "code", "cause") == {
        ("401", "no-credentials"): 8,
        ("401", "wrong-password"): 2,
        ("403", "peer-not-public"): 1,
        ("400", "channel-number"): 1,
        ("437", "allocation-exists"): 1,
        ("437", "no-allocation"): 1,
        ("486", "user-quota"): 1,
    }
    assert after.changes("meshturn_allocate_requests_total", before, "transport", "outcome") == {
        ("udp", "success"): 2,
        ("tcp", "success"): 2,
        ("udp", "challenged"): 4,
        ("tcp", "challenged"): 3,
        ("udp", "refused"): 3,
        ("tcp", "refused"): 1,
    }
    assert after.changes("meshturn_allocations_ended_total", before, "reason") == {("deleted",): 2, ("client-gone",): 2}
    assert after.changes("meshturn_peers_refused_total", before, "cause") == {("peer-not-public",): 1}
    assert after.changes("meshturn_failed_logins_total", before) == {(): 2}
    assert after.changes("meshturn_peer_connections_total", before) == {(): 1}
    for metric in ("meshturn_relayed_packets_total", "meshturn_relayed_bytes_total"):
        labels = ("direction", "protocol")
        assert after.changes(metric, before, *labels) == live.changes(metric, before, *labels), "ended relays count on"
    assert after.total("meshturn_relay_ports_free") == before.total("meshturn_relay_ports_free")
    assert after.total("meshturn_faults_total") == 0


def test_datagrams_of_strangers_are_drops_with_a_cause(server: TurnServerProcess, metrics_port: int) -> None:
    before = scrape(metrics_port)
    with client(server, "udp") as one, UdpPeer() as stranger:
        address = one.allocate().address
        for _ in range(3):
            stranger.send(b"let me in", address)

        def drops() -> dict[tuple[str, ...], float]:
            return scrape(metrics_port).changes("meshturn_relay_drops_total", before, "cause")

        wait_until(lambda: drops() == {("unpermitted",): 3}, "three drops")
        one.refresh(0)


def test_a_dual_allocation_and_a_handshake_that_fails(server: TurnServerProcess, metrics_port: int) -> None:
    before = scrape(metrics_port)
    if "::1" in server.config["relay"]["addresses"]:
        with client(server, "udp") as one:
            one.allocate(additional_family=AddressFamily.IPV6)
            now = scrape(metrics_port)
            assert now.value("meshturn_allocations", transport="udp", family="dual", protocol="udp") == 1
            assert now.changes("meshturn_allocate_requests_total", before, "family") == {("dual",): 1, ("none",): 1}
            one.refresh(0)
    with socket.create_connection(("127.0.0.1", server.ports["tls"])) as sock:
        sock.sendall(b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00")  # a ClientHello that is none
        sock.settimeout(90)
        while sock.recv(1024):
            pass
    wait_until(
        lambda: (
            scrape(metrics_port).changes("meshturn_handshake_failures_total", before, "listener", "cause")
            == {("tls", "tls-failed"): 1}
        ),
        "a failed handshake",
    )


# Rules


def test_the_rules_are_right() -> None:
    done = subprocess.run(
        [require_tool("promtool"), "check", "rules", str(CONF / "prometheus-rules.yml")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def rising(series: str, step: float, count: int = 90) -> dict[str, str]:
    return {"series": series, "values": f"0+{step}x{count}"}


def still(series: str, value: float, count: int = 90) -> dict[str, str]:
    return {"series": series, "values": f"{value}x{count}"}


HERE = 'job="meshturn",instance="turn:9641"'
OUTCOME = 'meshturn_allocate_requests_total{%s,transport="udp",family="%s",outcome="%s"}'

ALERTS: dict[str, tuple[list[dict[str, str]], bool]] = {
    "MeshturnDown": ([still(f"up{{{HERE}}}", 0)], True),
    "MeshturnDown, not": ([still(f"up{{{HERE}}}", 1)], False),
    "MeshturnNoAllocations": (
        [still(OUTCOME % (HERE, "ipv4", "success"), 7), rising(OUTCOME % (HERE, "none", "refused"), 2)],
        True,
    ),
    "MeshturnNoAllocations, not while some succeed": (
        [rising(OUTCOME % (HERE, "ipv4", "success"), 1), rising(OUTCOME % (HERE, "none", "refused"), 2)],
        False,
    ),
    "MeshturnNoAllocations, not while nobody comes": (
        [still(OUTCOME % (HERE, "ipv4", "success"), 7), still(OUTCOME % (HERE, "none", "refused"), 2)],
        False,
    ),
    "MeshturnNoAllocations, not while it drains": (
        [
            still(OUTCOME % (HERE, "ipv4", "success"), 7),
            rising(OUTCOME % (HERE, "none", "refused"), 2),
            still(f"meshturn_draining{{{HERE}}}", 1),
        ],
        False,
    ),
    "MeshturnLoginsRefused": ([rising(f'meshturn_refusals_total{{{HERE},code="401",cause="expired"}}', 60)], True),
    "MeshturnLoginsRefused, not at the start of clients": (
        [rising(f'meshturn_refusals_total{{{HERE},code="401",cause="no-credentials"}}', 600)],
        False,
    ),
    "MeshturnLookupsFailing": ([rising(f"meshturn_failed_lookups_total{{{HERE}}}", 1)], True),
    "MeshturnRelayPortsLow": (
        [
            still(f'meshturn_relay_ports_free{{{HERE},address="192.0.2.1",protocol="udp"}}', 9),
            still(f'meshturn_relay_ports{{{HERE},address="192.0.2.1",protocol="udp"}}', 100),
        ],
        True,
    ),
    "MeshturnRelayPortsLow, not": (
        [
            still(f'meshturn_relay_ports_free{{{HERE},address="192.0.2.1",protocol="udp"}}', 11),
            still(f'meshturn_relay_ports{{{HERE},address="192.0.2.1",protocol="udp"}}', 100),
        ],
        False,
    ),
    "MeshturnDescriptorsLow": (
        [still(f"meshturn_descriptors_free{{{HERE}}}", 5), still(f"meshturn_descriptors_limit{{{HERE}}}", 100)],
        True,
    ),
    "MeshturnAllocationsNearLimit": (
        [
            still(f'meshturn_allocations{{{HERE},transport="udp",family="ipv4",protocol="udp"}}', 60),
            still(f'meshturn_allocations{{{HERE},transport="tls",family="ipv4",protocol="udp"}}', 35),
            still(f"meshturn_allocations_limit{{{HERE}}}", 100),
        ],
        True,
    ),
    "MeshturnCertificateExpires": (
        [still(f'meshturn_certificate_expiry_timestamp_seconds{{{HERE},certificate="/c"}}', 13 * 86400)],
        True,
    ),
    "MeshturnCertificateExpires, not": (
        [still(f'meshturn_certificate_expiry_timestamp_seconds{{{HERE},certificate="/c"}}', 15 * 86400)],
        False,
    ),
    "MeshturnCertificateExpiresSoon": (
        [still(f'meshturn_certificate_expiry_timestamp_seconds{{{HERE},certificate="/c"}}', 1 * 86400)],
        True,
    ),
    "MeshturnLoopLag": (
        [
            rising(f'meshturn_event_loop_lag_seconds_bucket{{{HERE},le="0.1"}}', 100),
            rising(f'meshturn_event_loop_lag_seconds_bucket{{{HERE},le="0.25"}}', 240),
            rising(f'meshturn_event_loop_lag_seconds_bucket{{{HERE},le="+Inf"}}', 240),
        ],
        True,
    ),
    "MeshturnRelayDrops": (
        [
            rising(f'meshturn_relay_drops_total{{{HERE},cause="overrun"}}', 20),
            rising(f'meshturn_relayed_packets_total{{{HERE},direction="to_peers",protocol="udp"}}', 500),
            rising(f'meshturn_relayed_packets_total{{{HERE},direction="to_client",protocol="udp"}}', 500),
        ],
        True,
    ),
    "MeshturnRelayDrops, not for strangers": (
        [
            rising(f'meshturn_relay_drops_total{{{HERE},cause="unpermitted"}}', 20),
            rising(f'meshturn_relayed_packets_total{{{HERE},direction="to_peers",protocol="udp"}}', 500),
        ],
        False,
    ),
    "MeshturnListenerOverruns": (
        [rising(f'meshturn_listener_overruns_total{{{HERE},listener="udp",address="192.0.2.1:3478"}}', 120)],
        True,
    ),
    "MeshturnHandshakesFail": (
        [
            rising(
                f'meshturn_handshake_failures_total{{{HERE},listener="tls",address="192.0.2.1:443",cause="tls-alert"}}',
                60,
            )
        ],
        True,
    ),
    "MeshturnFaults": (
        [
            still(f'meshturn_faults_total{{{HERE},part="core"}}', 0),
            {"series": f'meshturn_faults_total{{{HERE},part="http"}}', "values": "_x60 1x65"},
        ],
        True,
    ),
    "MeshturnLogLinesDropped": ([rising(f"meshturn_log_lines_dropped_total{{{HERE}}}", 1)], True),
}


def test_each_alert_when_it_should(tmp_path: Path) -> None:
    """`promtool test rules`: every alert fires after an hour, and not where only something like it is so."""
    rules = yaml.safe_load((CONF / "prometheus-rules.yml").read_text(encoding="utf-8"))
    known = {rule["alert"]: rule for group in rules["groups"] for rule in group["rules"]}
    assert {name.partition(",")[0] for name, (_, fires) in ALERTS.items() if fires} == set(known)
    promql = []
    for name, (series, fires) in ALERTS.items():
        alert = name.partition(",")[0]
        expression = f'count(ALERTS{{alertname="{alert}",alertstate="firing"}})'
        expected = [{"labels": "{}", "value": 1}] if fires else []
        promql.append(
            {
                "name": name,
                "interval": "1m",
                "input_series": series,
                "promql_expr_test": [{"expr": expression, "eval_time": "70m", "exp_samples": expected}],
            }
        )
    test = tmp_path / "test.yml"
    test.write_text(
        yaml.safe_dump(
            {"rule_files": [str(CONF / "prometheus-rules.yml")], "evaluation_interval": "1m", "tests": promql}
        )
    )
    done = subprocess.run(
        [require_tool("promtool"), "test", "rules", str(test)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


# A real Prometheus


@pytest.fixture
def prometheus(tmp_path: Path, metrics_port: int) -> Iterator[int]:
    """Prometheus with our rules, which scrapes the server every second; its port."""
    program, port = require_tool("prometheus"), free_port()
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(CONF / "prometheus-rules.yml")],
        "scrape_configs": [
            {"job_name": "meshturn", "static_configs": [{"targets": [f"127.0.0.1:{metrics_port}"]}]},
        ],
    }
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config))
    log = tmp_path / "prometheus.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                program,
                f"--config.file={tmp_path / 'prometheus.yml'}",
                f"--storage.tsdb.path={tmp_path / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_until(lambda: _ready(port, process), "Prometheus is ready")
        yield port
    finally:
        process.terminate()
        process.wait(60)


def _ready(port: int, process: "subprocess.Popen[bytes]") -> bool:
    assert process.poll() is None, "Prometheus has ended"
    try:
        return bool(query(port, "up == 1"))
    except OSError:
        return False


async def _call(server: TurnServerProcess) -> tuple[Participant, Participant]:
    """Two people in a room, one of whom says that they are connected."""
    url = f"ws://127.0.0.1:{server.ports['plain']}/v1/ws"
    ann, bob = Participant(url), Participant(url)
    await ann.__aenter__()
    await bob.__aenter__()
    await ann.join("blue", "Ann")
    await bob.join("blue", "Bob")
    await ann.send(t="stat", to=bob.id, path="direct", took=700)
    await ann.request(t="diag", to=bob.id, states=["failed"])
    return ann, bob


async def test_every_query_of_the_dashboard_has_data(server: TurnServerProcess, prometheus: int) -> None:
    """Under a run of clients, with real scrapes; and the alerts are loaded, and none of them is out of order."""
    dashboard = json.loads((CONF / "grafana-dashboard.json").read_text(encoding="utf-8"))
    queries = expressions(dashboard, job="meshturn", instance=".*", __rate_interval="30s")
    assert len(queries) > 40
    people = await _call(server)
    try:
        with client(server, "udp") as one, UdpPeer() as peer:
            allocation = one.allocate()
            one.channel_bind(CHANNEL, peer.address)
            lacking = dict(queries)

            def look() -> bool:
                one.send_channel(CHANNEL, b"hello")
                peer.send(b"hello, too", allocation.address)
                for name, expression in list(lacking.items()):
                    found = query(prometheus, expression)
                    if found and not all(sample["value"][1] == "NaN" for sample in found):
                        del lacking[name]
                return not lacking

            try:
                await asyncio.to_thread(wait_until, look, "data for every query")
            except AssertionError as error:
                error.add_note(f"no data: {lacking}")
                raise
            told = query(prometheus, "sum(meshturn_allocations)")
            assert float(told[0]["value"][1]) == 1
            assert float(query(prometheus, "sum(rate(meshturn_relayed_packets_total[30s]))")[0]["value"][1]) > 0
            one.refresh(0)
    finally:
        for person in people:
            await person.__aexit__(None, None, None)
    firing = query(prometheus, 'ALERTS{alertstate="firing"}')
    assert firing == []
