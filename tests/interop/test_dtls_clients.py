"""DTLS (RFC 7350) with what is not ours: coturn's client and server, ``openssl s_client``, and GnuTLS."""

import asyncio
import re
import select
import ssl
import subprocess
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import ExitStack

import pytest

from bench.dtls import DtlsLeg
from bench.flows import Counters, Flow, Peer
from bench.servers import LOGIN, Coturn
from stun.client.authentication import Login
from stun.client.errors import ErrorResponse
from stun.constants import TransportProtocol
from tests.support.certificates import CertificatePair, client_context, issue
from tests.support.peer import UdpPeer
from tests.support.server import PASSWORD, USERNAME, TurnServerProcess, free_port, has_ipv6_loopback, loopback_config
from tests.support.tools import require_tool
from tests.support.uclient import MESSAGES, Outcome, Scenario, assert_all_returned, echo_server, run_side_by_side
from turnserver.turnclient.client import TurnClient

SCENARIOS = {
    "channels": Scenario("-S -c", 1, transport="dtls"),
    "indications": Scenario("-S -c -s", 1, transport="dtls"),
    "odd-sizes": Scenario("-S -c -l 101", 1, transport="dtls"),
    "large-messages": Scenario("-S -c -l 1200", 1, transport="dtls"),
    "client-to-client": Scenario("-S -y -m 4", 4, peer=None, transport="dtls"),
    "ipv6": Scenario("-S -x -c", 1, server="::1", peer="::1", transport="dtls"),
    "twenty-clients": Scenario("-S -c -m 20 -z 40", 20, transport="dtls"),
}


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> CertificatePair:
    return issue(tmp_path_factory.mktemp("certificate"))


@pytest.fixture(scope="module")
def turn_server(certificate: CertificatePair, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TurnServerProcess]:
    """The server with UDP and DTLS, and the channel numbers of RFC 5766, which this client draws."""
    config = loopback_config()
    config["relay"]["legacy_channels"] = True
    port = free_port()
    addresses = [each["address"] for each in config["listeners"]]
    config["listeners"] += [{"transport": "dtls", "address": address, "port": port} for address in addresses]
    config["tls"] = {"certificates": [certificate.config]}
    with TurnServerProcess(config, tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture(scope="module")
def outcomes(request: pytest.FixtureRequest, turn_server: TurnServerProcess) -> Iterator[Mapping[str, Future[Outcome]]]:
    """Every scenario that has been selected, started; by name."""
    selected = {item.callspec.params.get("scenario") for item in request.session.items if hasattr(item, "callspec")}
    with echo_server() as port, run_side_by_side(SCENARIOS, selected, turn_server, port) as started:
        yield started


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_uclient_gets_everything_back(
    scenario: str, outcomes: Mapping[str, Future[Outcome]], turn_server: TurnServerProcess
) -> None:
    """RFC 7350 §4.6: allocations, permissions, channels and indications over DTLS; each record is one frame.

    The client draws DTLS 1.0 or 1.2 for every connection. The former is refused with an alert (RFC 8996), and it draws
    again.
    """
    if scenario not in outcomes:
        pytest.skip("this machine has no IPv6 loopback address")
    assert_all_returned(outcomes[scenario].result(), SCENARIOS[scenario].streams * MESSAGES)
    assert set(re.findall(r"allocation opened client=\S+ transport=(\w+)", turn_server.log)) == {"dtls"}


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_openssl_verifies_the_certificate(
    host: str, turn_server: TurnServerProcess, certificate: CertificatePair
) -> None:
    """RFC 9325: DTLS 1.2 with forward secrecy; with the server's name (SNI) and the right certificate."""
    if ":" in host and not has_ipv6_loopback():
        pytest.skip("this machine has no IPv6 loopback address")
    outcome = s_client(turn_server, host, "-CAfile", str(certificate.certificate), "-verify_return_error")
    assert "Verify return code: 0 (ok)" in outcome
    assert "Protocol  : DTLSv1.2" in outcome
    assert re.search(r"Cipher    : ECDHE-ECDSA-(AES\d+-GCM|CHACHA20)", outcome)
    assert "Secure Renegotiation IS supported" in outcome


@pytest.mark.parametrize("flags", ["-dtls1", "-cipher AES128-SHA:ECDHE-ECDSA-AES128-SHA"])
def test_openssl_is_refused_what_is_weak(flags: str, turn_server: TurnServerProcess) -> None:
    """RFC 8996, RFC 9325 §4.2: neither DTLS 1.0 nor CBC or key transport by RSA."""
    outcome = s_client(turn_server, "127.0.0.1", *flags.split(), code=1)
    assert "Cipher is (NONE)" in outcome or "alert" in outcome


@pytest.mark.parametrize("mtu", [1200, 300])
def test_gnutls_completes_the_handshake(mtu: int, turn_server: TurnServerProcess, certificate: CertificatePair) -> None:
    """RFC 6347, RFC 7443: the cookie, fragments, ALPN and close_notify with a library that is not OpenSSL."""
    port = str(turn_server.ports["dtls"])
    command = [require_tool("gnutls-cli"), "--udp", f"--mtu={mtu}", "-p", port, "--alpn=stun.turn"]
    result = subprocess.run(
        [*command, f"--x509cafile={certificate.certificate}", "localhost"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=60,
        check=False,
        text=True,
    )
    assert result.returncode == 0, result.stdout
    for line in (
        "Status: The certificate is trusted.",
        "Description: (DTLS1.2-",
        "Application protocol: stun.turn",
        "Peer has closed the GnuTLS connection",
    ):
        assert line in result.stdout


def s_client(server: TurnServerProcess, host: str, *flags: str, code: int = 0) -> str:
    """What ``openssl s_client`` says of its handshake; it ends by itself, since there is no input."""
    where = f"[{host}]:{server.ports['dtls']}" if ":" in host else f"{host}:{server.ports['dtls']}"
    version = [] if "-dtls1" in flags else ["-dtls"]
    command = [require_tool("openssl"), "s_client", *version, "-connect", where, "-servername", "localhost", *flags]
    result = subprocess.run(
        command, input="Q\n", stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60, check=False, text=True
    )
    assert result.returncode == code, result.stdout
    return result.stdout


async def a_visit(uri: str, login: Login, tls: ssl.SSLContext) -> None:
    """Everything that a client does, in order."""
    with UdpPeer() as peer:
        async with TurnClient(uri, login=login, tls=tls) as client:
            mapped = await client.binding()
            assert mapped.host == "127.0.0.1"
            allocation = await client.allocate(lifetime=1200)
            assert (allocation.mapped, allocation.lifetime) == (mapped, 1200)
            await client.create_permission(peer.address)
            for bind in (False, True):
                if bind:
                    await client.bind_channel(peer.address)
                for data in (b"x", b"odd", bytes(1200)):
                    client.send(peer.address, data)
                    await asyncio.to_thread(peer.echo)
                    async with asyncio.timeout(90):
                        assert (await client.receive()).data == data
            assert await client.refresh() > 0
        async with TurnClient(uri, login=login, tls=tls) as client:
            await client.allocate()


async def test_our_client_with_our_server(turn_server: TurnServerProcess, certificate: CertificatePair) -> None:
    """RFC 7350 §4.6: and no TCP relays over DTLS."""
    uri, login = f"turns:localhost:{turn_server.ports['dtls']}?transport=udp", Login(USERNAME, PASSWORD)
    await a_visit(uri, login, client_context(certificate))
    async with TurnClient(uri, login=login, tls=client_context(certificate)) as client:
        with pytest.raises(ErrorResponse) as caught:
            await client.allocate(protocol=TransportProtocol.TCP)
        assert caught.value.code == 400


async def test_our_client_with_coturn() -> None:
    """RFC 7350: the handshake with its cookie, allocations, channels, indications, and the goodbye."""
    require_tool("turnserver")
    with Coturn(None) as server:
        uri = f"turns:127.0.0.1:{server.port + 1}?transport=udp"
        await a_visit(uri, Login(LOGIN.username, LOGIN.password), client_context())


@pytest.mark.parametrize("who", ["meshturn", "coturn"])
def test_the_load_of_the_benchmark(turn_server: TurnServerProcess, who: str) -> None:
    """Its tokens go round by both servers, each comes back as it was sent, and none is lost where nothing is."""
    with ExitStack() as stack:
        server, login = ("127.0.0.1", turn_server.ports["dtls"]), Login(USERNAME, PASSWORD)
        if who == "coturn":
            require_tool("turnserver")
            server, login = stack.enter_context(Coturn(None)).address("dtls"), LOGIN
        counters, flow = Counters(), Flow(DtlsLeg(), 0, 4, 160)
        peer = Peer(160, counters)
        stack.callback(peer.close)
        stack.callback(flow.close)
        flow.open(server, login, peer.address)
        readers = {flow.client.fileno(): flow.leg.reader(flow, counters), peer.socket.fileno(): peer.read}
        for _ in flow.start():
            pass
        while min(flow.turns.values()) < 10:
            ready, _, _ = select.select(list(readers), [], [], 60)
            assert ready, flow.turns
            for each in ready:
                readers[each]()
    assert counters.at_client >= 40
    assert counters.at_peer >= counters.at_client
    assert (counters.corrupt, counters.late) == (0, 0)
    assert len(counters.latencies) == flow.turns[flow.probe]
