"""Debian coturn's own clients against the real server: everything sent comes back, nothing is lost."""

import re
from collections.abc import Iterator, Mapping
from concurrent.futures import Future

import pytest

from tests.support.server import (
    PASSWORD,
    SHARED_SECRET,
    USERNAME,
    TurnServerProcess,
    free_port,
    has_ipv6_loopback,
    loopback_config,
)
from tests.support.uclient import (
    MESSAGES,
    TOTALS,
    Outcome,
    Scenario,
    assert_all_returned,
    echo_server,
    run,
    run_side_by_side,
    run_uclient,
)

SCENARIOS = {
    "channels": Scenario("-c", 1),
    "send-and-data-indications": Scenario("-c -s", 1),
    "even-port-pairs": Scenario("", 2),
    "even-port-pairs-by-indications": Scenario("-s", 2),
    "client-to-client": Scenario("-y", 4, peer=None),
    "client-to-client-one-relay-each": Scenario("-y -c", 2, peer=None),
    "client-to-client-by-indications": Scenario("-s -y", 4, peer=None),
    "client-to-client-over-ipv6-relays": Scenario("-x -y -c", 2, peer=None),
    "ipv6-relay": Scenario("-x -c", 1, peer="::1"),
    "ipv6-relay-pairs": Scenario("-x", 2, peer="::1"),
    "ipv6-relay-by-indications": Scenario("-x -c -s", 1, peer="::1"),
    "ipv4-relay-asked-for": Scenario("-X -c", 1),
    "ipv6-server-ipv6-relay": Scenario("-x -c", 1, server="::1", peer="::1"),
    "ipv6-server-ipv4-relay": Scenario("-X -c", 1, server="::1"),
    "padded-channel-data": Scenario("-c -D -l 101", 1),
    "dont-fragment": Scenario("-c -g", 1),
    "dont-fragment-by-indications": Scenario("-c -g -s", 1),
    "large-messages": Scenario("-c -l 1400", 1),
    "extra-permissions-and-bindings": Scenario("-c -G", 1),
    "fifty-clients": Scenario("-c -m 50 -z 40", 50),
    "fifty-clients-in-even-port-pairs": Scenario("-m 50 -z 40", 50),
}


@pytest.fixture(scope="module")
def turn_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TurnServerProcess]:
    """The server, with the channel numbers of RFC 5766: ``turnutils_uclient`` 4.6 draws from 0x4000 to 0x7FFF."""
    config = loopback_config()
    config["relay"]["legacy_channels"] = True
    with TurnServerProcess(config, tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture(scope="module")
def echo_port() -> Iterator[int]:
    """The first of the two ports on which ``turnutils_peer`` sends back whatever comes."""
    with echo_server() as port:
        yield port


@pytest.fixture(scope="module")
def outcomes(
    request: pytest.FixtureRequest, turn_server: TurnServerProcess, echo_port: int
) -> Iterator[Mapping[str, Future[Outcome]]]:
    """Every scenario that has been selected, started; by name."""
    selected = {item.callspec.params.get("scenario") for item in request.session.items if hasattr(item, "callspec")}
    with run_side_by_side(SCENARIOS, selected, turn_server, echo_port) as started:
        yield started


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_uclient_gets_everything_back(scenario: str, outcomes: Mapping[str, Future[Outcome]]) -> None:
    """RFC 8656 §§7, 9, 11, 12, 15: allocations, permissions, channels and indications as coturn's client does them."""
    if scenario not in outcomes:
        pytest.skip("this machine has no IPv6 loopback address")
    assert_all_returned(outcomes[scenario].result(), SCENARIOS[scenario].streams * MESSAGES)


@pytest.mark.parametrize("user", [("-u", "bob"), ()], ids=["expiry-and-user", "expiry-alone"])
def test_uclient_with_a_shared_secret(user: tuple[str, ...], turn_server: TurnServerProcess, echo_port: int) -> None:
    """Rule 24: a username of `<expiry>[:<user>]` and a password derived from the shared secret."""
    outcome = run_uclient(turn_server, Scenario("-c", 1), echo_port, *user, "-W", SHARED_SECRET)
    assert_all_returned(outcome, MESSAGES)


@pytest.mark.parametrize(
    ("source", "credentials"),
    [
        ("127.0.1.1", ("-u", USERNAME, "-w", PASSWORD + "!")),
        ("127.0.1.2", ("-u", "mallory", "-w", PASSWORD)),
        ("127.0.1.3", ("-u", "mallory", "-W", SHARED_SECRET[::-1])),
    ],
    ids=["wrong-password", "unknown-user", "wrong-shared-secret"],
)
def test_uclient_without_the_right_credentials_gets_nothing(
    source: str, credentials: tuple[str, ...], turn_server: TurnServerProcess, echo_port: int
) -> None:
    """RFC 8489 §9.2.4: 401 for an unknown user and for wrong integrity, so that the client gives up and says so.

    It tries so often that one address for all of these would be answered slowly, as a guesser is.
    """
    outcome = run_uclient(turn_server, Scenario("-c", 1), echo_port, "-L", source, *credentials)
    assert outcome.code != 0, outcome.output
    assert "Cannot complete Allocation" in outcome.output
    assert not TOTALS.search(outcome.output)


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_stunclient_learns_its_address(address: str, turn_server: TurnServerProcess) -> None:
    """RFC 8489 §14.2: XOR-MAPPED-ADDRESS is the client's own address, on both families."""
    if ":" in address and not has_ipv6_loopback():
        pytest.skip("this machine has no IPv6 loopback address")
    outcome = run("turnutils_stunclient", "-p", str(turn_server.port), address)
    assert outcome.code == 0, outcome.output
    reflexive = re.findall(r"UDP reflexive addr: (\S+):\d+", outcome.output)
    assert reflexive, outcome.output
    assert set(reflexive) == {address}


def test_natdiscovery_learns_its_address_and_port(turn_server: TurnServerProcess) -> None:
    """RFC 8489 §14.2: the reflexive port is the one that the client is bound to."""
    port = str(free_port())
    outcome = run(
        "turnutils_natdiscovery", "-m", "-L", "127.0.0.1", "-l", port, "-p", str(turn_server.port), "127.0.0.1"
    )
    assert f"UDP reflexive addr: 127.0.0.1:{port}\n" in outcome.output


@pytest.mark.parametrize("flags", ["-m", "-f", "-m -f -P", "-H"])
def test_natdiscovery_ends_and_leaves_the_server_well(flags: str, turn_server: TurnServerProcess) -> None:
    """RFC 5780 §4: a client that looks for NAT behaviour discovery ends, and the server still answers afterwards."""
    run("turnutils_natdiscovery", *flags.split(), "-p", str(turn_server.port), "127.0.0.1")
    assert turn_server.is_running
    assert run("turnutils_stunclient", "-p", str(turn_server.port), "127.0.0.1").code == 0
