"""Debian coturn's own client over TCP and TLS, and with TCP relays: everything sent comes back, nothing is lost."""

from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from dataclasses import replace

import pytest

from tests.support.certificates import CertificatePair, issue
from tests.support.server import TurnServerProcess, loopback_config, stream_listeners
from tests.support.uclient import MESSAGES, Outcome, Scenario, assert_all_returned, echo_server, run_side_by_side

PLAIN = {
    "channels": Scenario("-t -c", 1),
    "send-and-data-indications": Scenario("-t -c -s", 1),
    "even-port-pairs": Scenario("-t", 2),
    "even-port-pairs-by-indications": Scenario("-t -s", 2),
    "client-to-client": Scenario("-t -y", 4, peer=None),
    "client-to-client-one-relay-each": Scenario("-t -y -c", 2, peer=None),
    "client-to-client-by-indications": Scenario("-t -y -s", 4, peer=None),
    "client-to-client-over-ipv6-relays": Scenario("-t -x -y", 4, peer=None),
    "ipv6-relay": Scenario("-t -x -c", 1, peer="::1"),
    "ipv6-relay-pairs-by-indications": Scenario("-t -x -s", 2, peer="::1"),
    "ipv4-relay-asked-for": Scenario("-t -X -c", 1),
    "ipv6-server-ipv6-relay": Scenario("-t -x -c", 1, server="::1", peer="::1"),
    "ipv6-server-ipv4-relay": Scenario("-t -X -c", 1, server="::1"),
    "odd-sizes-need-padding": Scenario("-t -c -l 101", 1),
    "large-messages": Scenario("-t -c -l 1400", 1),
    "extra-permissions-and-bindings": Scenario("-t -c -G", 1),
    "tcp-relays": Scenario("-T", 2, peer=None),
    "tcp-relays-ipv6": Scenario("-T -x", 2, peer=None),
    "tcp-relays-ipv6-server": Scenario("-T -x", 2, server="::1", peer=None),
    "tcp-relays-twenty-clients": Scenario("-T -m 20 -z 40", 20, peer=None),
    "fifty-clients": Scenario("-t -c -m 50 -z 40", 50),
    "fifty-clients-in-even-port-pairs": Scenario("-t -m 50 -z 40", 50),
    "fifty-clients-to-each-other": Scenario("-t -y -c -m 50 -z 40", 50, peer=None),
    "fifty-clients-with-tcp-relays": Scenario("-T -m 50 -z 40", 50, peer=None),
}
SCENARIOS = {f"tcp-{name}": replace(scenario, transport="tcp") for name, scenario in PLAIN.items()}
# Under TLS this client takes what one SSL_read gives for one message: it notices if frames share a record.
SCENARIOS |= {
    f"tls-{name}": replace(scenario, flags=f"-S {scenario.flags}", transport="tls") for name, scenario in PLAIN.items()
}
# Some 2,500 TCP relays. Where the machine is busy, making them takes the server longer than it lets media wait.
CROWD = {name: scenario for name, scenario in SCENARIOS.items() if "fifty-clients-with-tcp-relays" in name}
SCENARIOS |= {
    "shared-channels": Scenario("-S -t -c", 1, transport="shared"),
    "shared-tcp-relays": Scenario("-S -T", 2, peer=None, transport="shared"),
    "shared-without-tls-channels": Scenario("-t -c", 1, transport="plain"),
    "shared-without-tls-tcp-relays": Scenario("-T", 2, peer=None, transport="plain"),
}


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> CertificatePair:
    """The server's certificate; the client presents it as its own too, because it insists on having one."""
    return issue(tmp_path_factory.mktemp("certificate"))


def serve(tmp_path_factory: pytest.TempPathFactory, certificate: CertificatePair) -> TurnServerProcess:
    """A server with every kind of listener, and the channel numbers of RFC 5766, which this client draws from."""
    config = loopback_config(listeners=stream_listeners(), tls={"certificates": [certificate.config]})
    config["relay"]["legacy_channels"] = True
    # With TCP relays every client connects to every other, which takes two data connections.
    config["limits"] |= {"connections_per_address": 10_000, "tcp_connections_per_allocation": 200}
    return TurnServerProcess(config, tmp_path_factory.mktemp("server"))


@pytest.fixture(scope="module")
def turn_server(tmp_path_factory: pytest.TempPathFactory, certificate: CertificatePair) -> Iterator[TurnServerProcess]:
    """The server of most scenarios."""
    with serve(tmp_path_factory, certificate) as server:
        yield server


@pytest.fixture(scope="module")
def outcomes(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    certificate: CertificatePair,
    turn_server: TurnServerProcess,
) -> Iterator[Mapping[str, Future[Outcome]]]:
    """Every scenario that has been selected, started; by name. A `CROWD` has a server of its own."""
    selected = {item.callspec.params.get("scenario") for item in request.session.items if hasattr(item, "callspec")}
    others = {name: scenario for name, scenario in SCENARIOS.items() if name not in CROWD}
    with (
        echo_server() as echo_port,
        serve(tmp_path_factory, certificate) as crowded,
        run_side_by_side(others, selected, turn_server, echo_port) as started,
        run_side_by_side(CROWD, selected, crowded, echo_port, at_once=1) as crowds,
    ):
        yield {**started, **crowds}


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_uclient_gets_everything_back(scenario: str, outcomes: Mapping[str, Future[Outcome]]) -> None:
    """RFC 8656 §§3.1, 12.5, RFC 6062: allocations, channels, indications and TCP relays over streams."""
    if scenario not in outcomes:
        pytest.skip("this machine has no IPv6 loopback address")
    assert_all_returned(outcomes[scenario].result(), SCENARIOS[scenario].streams * MESSAGES)
