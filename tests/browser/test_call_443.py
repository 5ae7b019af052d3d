"""A participant whose network lets nothing but TCP out, in a room that goes through the SFU, in real Chromium."""

import subprocess
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.support.browser import ADDRESS, ARGUMENTS, command_in, launched, serving_calls
from tests.support.call_page import SMALL, CallPage, call_page
from tests.support.netns import NetworkNamespace
from tests.support.server import TurnServerProcess
from tests.support.tools import require_tool

if TYPE_CHECKING:
    from playwright.sync_api import Browser

CAGE = """table inet cage {
  chain out { type filter hook output priority 0; oifname != lo meta l4proto udp drop; }
  chain in { type filter hook input priority 0; iifname != lo meta l4proto udp drop; }
}"""

PATHS = """async () => {
  const paths = [];
  for (const pc of [meshturn.mesh.sfu.sending, meshturn.mesh.sfu.pc]) {
    const reports = await pc.getStats();
    const transport = [...reports.values()].find(({type}) => type === 'transport');
    const pair = reports.get(transport.selectedCandidatePairId);
    const local = reports.get(pair.localCandidateId);
    paths.push([local.candidateType, local.relayProtocol ?? null, reports.get(pair.remoteCandidateId).candidateType]);
  }
  return paths;
}"""


RELAYED = """async () => {
  const reports = await Promise.all([meshturn.mesh.sfu.sending, meshturn.mesh.sfu.pc].map((pc) => pc.getStats()));
  const relayed = ({type, candidateType}) => type === 'local-candidate' && candidateType === 'relay';
  return reports.map((each) => [...each.values()].some(relayed));
}"""


@pytest.fixture(scope="module", autouse=True)
def server(inside: NetworkNamespace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TurnServerProcess]:
    """A server all of whose rooms go through its SFU."""
    with serving_calls(inside, tmp_path_factory, open=True, mode="sfu") as process:
        yield process


@pytest.fixture(scope="module")
def cage(inside: NetworkNamespace) -> Iterator[NetworkNamespace]:
    """A network beside the server's, which UDP does not leave."""
    with NetworkNamespace() as cage:
        inside.ip(f"link add cage0 type veth peer name cable netns {cage.name}")
        for where, name, address in ((inside, "cage0", "198.51.100.1"), (cage, "cable", "198.51.100.2")):
            where.ip(f"link set {name} addrgenmode none")
            where.ip(f"addr add {address}/24 dev {name}")
            where.ip(f"link set {name} up")
        cage.ip("route add default via 198.51.100.1")
        command = [require_tool("ip"), "netns", "exec", cage.name, require_tool("nft"), CAGE]
        made = subprocess.run(command, capture_output=True, text=True, check=False)
        assert made.returncode == 0, made.stderr
        yield cage


@pytest.fixture(scope="module")
def browsers(
    inside: NetworkNamespace, cage: NetworkNamespace, tmp_path_factory: pytest.TempPathFactory
) -> "Iterator[list[Browser]]":
    """A browser beside the server, and one in the cage."""
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        homes = [tmp_path_factory.mktemp("browser") for _ in range(2)]
        with (
            launched(playwright.chromium, command_in(inside), homes[0], ARGUMENTS) as free,
            launched(playwright.chromium, command_in(cage), homes[1], ARGUMENTS) as caged,
        ):
            yield [free, caged]


def seen(page: CallPage) -> None:
    """Wait until the other is seen, and moves."""
    page.connected(1)
    page.frames(10)


def test_one_without_udp_is_in_the_call_by_turns(browsers: "list[Browser]", server: TurnServerProcess) -> None:
    """Media go both ways; the way is the server's own relay, from there to the one port of the SFU."""
    with call_page(browsers[0]) as ann, call_page(browsers[1]) as ben:
        for page, name in ((ann, "Ann"), (ben, "Ben")):
            page.open(f"https://{ADDRESS}/call/tea{SMALL}")
            page.join(name)
        seen(ann)
        seen(ben)
        assert ben.page.evaluate(PATHS) == [["relay", "tls", "host"]] * 2
        assert "relay" not in [kind for kind, _, _ in ann.page.evaluate(PATHS)]
        assert ann.page.evaluate(RELAYED) == [False, False], "who has UDP needs no allocations"
        assert ben.page.evaluate(RELAYED) == [True, True]
        heard = "() => meshturn.mesh.sfu.pc.getStats().then((all) => [...all.values()].some("
        heard += "(each) => each.type === 'inbound-rtp' && each.kind === 'audio' && each.packetsReceived > 50))"
        for page in (ann, ben):
            page.until(heard)
