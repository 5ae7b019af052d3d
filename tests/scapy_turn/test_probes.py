"""The probes, on the real server and on coturn, whose deviations they have to find."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from scapy_turn import Credential
from scapy_turn.fingerprint import behaviour, guess
from scapy_turn.probes import MOST, PEERS, _features, allowed_peers, amplification, flood, nonces, questions
from tests.support.server import PASSWORD, USERNAME, TurnServerProcess, free_port, loopback_config

SECONDS = 0.2
"""For what is answered at once or not at all: the server is on this machine."""


@pytest.fixture(scope="module")
def server(processes: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TurnServerProcess]:
    """With the peers that are denied by default, and nothing on loopback allowed but own relays."""
    with TurnServerProcess(loopback_config(peers={}, software=""), tmp_path_factory.mktemp("server")) as running:
        yield running


def test_strangers(server: TurnServerProcess) -> None:
    """What a stranger gets of each kind; that there is no long answer to a short question is turn-rule 4."""
    found = {one.kind: one for one in amplification(("127.0.0.1", server.port), SECONDS)}
    assert list(found) == [kind for kind, _ in questions()]
    assert found["Binding"].says == "success"
    assert found["Binding"].ratio == 1.6
    assert found["Allocate"].says == found["ChannelBind"].says == "error 401"
    assert found["Binding, unknown attributes"].says == "error 420"
    silent = ["Send indication", "Binding indication", "ChannelData", "no STUN", "a message that is cut off"]
    assert {found[kind].says for kind in silent} == {"silence"}
    assert found["Binding with PADDING"].ratio < 1


def test_peers(server: TurnServerProcess) -> None:
    """Nothing of what should not be reached is allowed; but the host's own relays stand on loopback here."""
    verdicts = allowed_peers(("127.0.0.1", server.port), Credential(USERNAME, PASSWORD))
    assert [one.address for one in verdicts] == list(PEERS)
    allowed = {one.what for one in verdicts if one.allowed}
    assert allowed <= {what for what in PEERS.values() if "loopback" in what}
    # A channel has a port, and no relay of this server stands on that one.
    assert not [one.address for one in verdicts if one.channel]
    assert all("403" in one.says for one in verdicts if not one.allowed)


def test_nonces(server: TurnServerProcess) -> None:
    address = ("127.0.0.1", server.port)
    stranger = nonces(address)
    assert stranger is not None
    assert (stranger.cookie, stranger.features) == (True, "password algorithms")
    assert (stranger.again, stranger.other_port, stranger.changed) == (None, None, None)
    wrong = nonces(address, Credential(USERNAME, "not the password"))
    assert wrong is not None
    assert (wrong.again, wrong.other_port, wrong.invented) == (None, None, None)
    report = nonces(address, Credential(USERNAME, PASSWORD))
    assert report is not None
    assert (report.again, report.other_port) == (True, False)
    assert (report.invented, report.changed, report.downgraded) == (438, 438, 400)
    assert report.entropy >= 96


@pytest.mark.parametrize(
    ("nonce", "features"),
    [
        (b"obMatJos2gAAAx", "password algorithms"),
        (b"obMatJos2wAAAx", "password algorithms, username anonymity"),
        (b"obMatJos2AAABx", "bit 23"),
        (b"obMatJos2!!!!x", "not base64"),
        (b"obMatJos2", ""),
        (b"0123456789abcdef", ""),
    ],
)
def test_features(nonce: bytes, features: str) -> None:
    """RFC 8489 §18.1: bit 0 is the first one."""
    assert _features(nonce) == features


def test_a_flood(processes: None, coturn: tuple[str, int], tmp_path: Path) -> None:
    """A server with a budget for strangers ends it; one without answers everything."""
    config = loopback_config(limits={"reflection_burst": 2000, "reflection_rate": 0})
    with TurnServerProcess(config, tmp_path) as stingy:
        (bound,) = flood(("127.0.0.1", stingy.port), 400, ["Allocate"], SECONDS)
    assert (bound.sent, bound.bytes_sent) == (400, 400 * 28)
    assert 0 < bound.answers < 200
    assert bound.bytes_received <= bound.bytes_sent + 2000
    found = {one.kind: one for one in flood(coturn, 100, ["Binding", "Allocate"], SECONDS)}
    assert found["Binding"].answers == found["Allocate"].answers == 100
    assert found["Allocate"].ratio > 3
    for count in (0, MOST + 1):
        with pytest.raises(ValueError, match=f"from 1 to {MOST}"):
            flood(coturn, count)
    with pytest.raises(ValueError, match="no kind 'Bind'"):
        flood(coturn, 1, ["Bind"])


def test_a_server_without_answers() -> None:
    """Silence everywhere is a result, too."""
    address = ("127.0.0.1", free_port())
    assert {one.says for one in amplification(address, 0.01)} == {"silence"}
    assert nonces(address, seconds=0.01) is None


def test_another_server(coturn: tuple[str, int]) -> None:
    """What is different on coturn 4.6 is seen: an answer of RFC 3489 and a long one, private peers, SHA-1 only."""
    found = {one.kind: one for one in amplification(coturn, SECONDS)}
    assert found["Binding"].ratio > 2
    assert found["Binding of RFC 3489"].says == "success"
    verdicts = {one.address: one for one in allowed_peers(coturn, Credential(USERNAME, PASSWORD), ["10.0.0.1", "::1"])}
    assert verdicts["10.0.0.1"].allowed
    assert verdicts["10.0.0.1"].channel
    assert verdicts["::1"].says == "family not relayed"
    report = nonces(coturn, Credential(USERNAME, PASSWORD))
    assert report is not None
    assert (report.cookie, report.features, report.again) == (False, "", True)
    assert (report.invented, report.changed, report.downgraded) == (438, 438, None)
    seen = behaviour(coturn)
    assert (seen.nonce, seen.algorithms) == ("hex", False)
    assert guess(seen)[0].name == "coturn"
