"""Debian's libnice, through GStreamer's webrtcbin: calls between two symmetric NATs, over every transport that it has.

Its TLS mode speaks plain TURN to the port of a ``turns:`` URL, so it needs ``tls: auto`` there.
"""

import re
from collections.abc import Iterator

import pytest

from tests.net.lab import ADDRESS, Firewall, Host, Lab, Nat
from tests.net.public_server import PublicServer
from tests.support.certificates import issue
from tests.support.gstreamer import WebRtcEnd, call, require_webrtcbin
from tests.support.process import wait_for_log

pytestmark = pytest.mark.net

PORTS = {"udp": 3478, "tcp": 3478, "auto": 5349, "tls": 443}
LISTENERS = [
    {"transport": "udp", "address": ADDRESS, "port": PORTS["udp"]},
    {"transport": "tcp", "address": ADDRESS, "port": PORTS["tcp"]},
    {"transport": "tls", "address": ADDRESS, "port": PORTS["auto"], "tls": "auto"},
    {"transport": "tls", "address": ADDRESS, "port": PORTS["tls"]},
]


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    require_webrtcbin()
    with Lab() as built:
        yield built


@pytest.fixture(scope="module")
def server(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PublicServer]:
    directory = tmp_path_factory.mktemp("server")
    with PublicServer(lab, issue(directory), directory, listeners=LISTENERS) as running:
        yield running


@pytest.fixture(scope="module")
def hosts(lab: Lab) -> tuple[Host, Host]:
    """Two hosts that only a relay connects."""
    return lab.host("ann", Nat.SYMMETRIC), lab.host("bob", Nat.SYMMETRIC)


@pytest.mark.parametrize(
    ("url", "transport", "firewall"),
    [
        (f"turn:{ADDRESS}:{PORTS['udp']}?transport=udp", "udp", Firewall.OPEN),
        (f"turn:{ADDRESS}:{PORTS['tcp']}?transport=tcp", "tcp", Firewall.NO_UDP),
        (f"turns:{ADDRESS}:{PORTS['auto']}?transport=tcp", "tcp", Firewall.NO_UDP),
    ],
    ids=["udp", "tcp", "turns-to-tls-auto"],
)
def test_a_call_through_the_relay(
    server: PublicServer, hosts: tuple[Host, Host], url: str, transport: str, firewall: Firewall
) -> None:
    """RFC 8656 §3.1. Both ends have a relay, and nothing else connects them."""
    for host in hosts:
        host.block(firewall)
    before = len(server.log)
    with WebRtcEnd(hosts[0], url) as ann, WebRtcEnd(hosts[1], url) as bob:
        call(ann, bob)
    for host in hosts:
        opened = wait_for_log(server, "allocation opened", f"client={host.gate.wan}:", after=before)
        assert f" transport={transport} " in opened
    if transport == "tcp":  # with UDP it only falls silent
        ended = wait_for_log(server, "allocation ended", "reason=client-gone", after=before)
        assert re.search(r"packets_to_peers=[1-9]", ended), ended


def test_where_tls_is_not_auto_the_log_has_the_url_that_works(server: PublicServer, hosts: tuple[Host, Host]) -> None:
    """Its TLS mode gets no relay on a port with TLS; the operator reads why, and what to give such clients."""
    host = hosts[0]
    before = len(server.log)
    with WebRtcEnd(host, f"turns:{ADDRESS}:{PORTS['tls']}?transport=tcp") as end:
        assert "relay" not in end.candidates(end.offer())
    line = wait_for_log(
        server, "TURN without TLS on a listener with TLS", f"listener='tls {ADDRESS}:443'", after=before
    )
    works = re.search(r"works='?(turn:\S+)", line)
    assert works is not None, line
    with WebRtcEnd(host, works[1]) as end:
        assert "relay" in end.candidates(end.offer())
