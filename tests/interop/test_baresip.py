"""Debian's baresip, whose libre has an ICE and a TURN client of its own: calls between two symmetric NATs.

libre deletes its allocation when a peer is refused with 403, and the other end's private address always is one. So
its ICE needs `peers.refusal: swallow`. It has TURN over UDP only. Its ICE tries one pair of candidates after the other,
some two seconds each, so all calls of this module are under way at the same time.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack

import pytest

from tests.net.lab import ADDRESS, Lab, Nat
from tests.net.public_server import PUBLIC_HERE, PublicServer
from tests.support.baresip import Baresip, let_sip_through, prepare
from tests.support.certificates import issue
from tests.support.process import wait_for_log

pytestmark = pytest.mark.net

Servers = Mapping[str, PublicServer]
Calls = Mapping[str, tuple[Baresip, Baresip]]

PORTS = {"error": 3478, "swallow": 3480}
CALLS = {"relayed": ("turn", "error"), "ice": ("ice", "swallow"), "ice-refused": ("ice", "error")}
"""Media traversal, and what the server does with a peer that it denies."""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    prepare(tmp_path_factory.getbasetemp() / "tone.wav")
    with Lab() as built:
        yield built


@pytest.fixture(scope="module")
def servers(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """One for each kind of refusal."""
    with ExitStack() as stack:
        started = {}
        for refusal, port in PORTS.items():
            directory = tmp_path_factory.mktemp(refusal)
            changes = {
                "listeners": [{"transport": "udp", "address": ADDRESS, "port": port}],
                "peers": {"allow": PUBLIC_HERE, "refusal": refusal},
            }
            started[refusal] = stack.enter_context(PublicServer(lab, issue(directory), directory, **changes))
        yield started


@pytest.fixture(scope="module")
def calls(lab: Lab, servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Calls]:
    """All calls, begun; each with hosts of its own, which only a relay connects."""
    directory = tmp_path_factory.mktemp("baresip")
    tone = tmp_path_factory.getbasetemp() / "tone.wav"
    with ExitStack() as stack:
        ends: dict[str, tuple[Baresip, Baresip]] = {}
        for name, (traversal, refusal) in CALLS.items():
            pair = []
            for number in (1, 2):
                host = lab.host(f"{name}-{number}", Nat.SYMMETRIC)
                let_sip_through(lab, host)
                url = f"turn:{ADDRESS}:{PORTS[refusal]}"
                pair.append(stack.enter_context(Baresip(host, traversal, url, tone, directory / host.name)))
            pair[0].call(pair[1])
            ends[name] = (pair[0], pair[1])
        yield ends


@pytest.mark.parametrize("name", ["relayed", "ice"])
def test_a_call_through_the_relay(servers: Servers, calls: Calls, name: str) -> None:
    """What each end hears comes from the other end's relay; what went to denied peers is counted."""
    _, refusal = CALLS[name]
    for end, other in (calls[name], calls[name][::-1]):
        heard, port = end.hears()
        assert heard == ADDRESS
        words = ("allocation opened", f"client={other.host.gate.wan}:", f"relayed={ADDRESS}:{port} ")
        assert wait_for_log(servers[refusal], *words)
    calls[name][0].hang_up()
    counted = ["swallowed="] if refusal == "swallow" else []
    for end in calls[name]:
        assert wait_for_log(servers[refusal], "allocation ended", f"client={end.host.gate.wan}:", "deleted", *counted)


def test_ice_has_no_relay_where_denied_peers_are_an_error(servers: Servers, calls: Calls) -> None:
    """Why there is `peers.refusal: swallow`: one 403 costs the whole allocation."""
    for end in calls["ice-refused"]:
        end.says("TURN Client error: 403 Forbidden")
        client = f"client={end.host.gate.wan}:"
        assert wait_for_log(servers["error"], "allocation ended", client, "reason=deleted", "packets_to_peers=0")
    assert "receiving from" not in calls["ice-refused"][0].output
