"""The distribution scapy-turn: what is in it, what it says of itself, and that scapy loads it where it is installed."""

import sys
import tarfile
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest

from tests.packaging.conftest import ROOT, Built, Environment, checked
from tests.support.server import free_port

LOAD = """
from scapy.config import conf
conf.exts.load("scapy-turn")
import scapy.contrib.turn as turn
print(turn.StunMessage(bytes(turn.StunMessage(method="Allocate"))).summary().split(" [")[0])
"""

PLAIN = """
import sys
from scapy.all import *
from scapy.contrib.stun import *
from scapy_turn import *
assert raw(STUN(stun_message_type="Binding request", transaction_id=7))[4:8] == bytes.fromhex("2112a442")
assert StunMessage in IP(raw(IP() / UDP() / StunMessage()))
assert StunServer and TurnAutomaton and TurnSocket
print([name for name in ("meshturn", "scapy_turn", "scapy") if name in sys.modules])
"""

OLDEST = "2.7.0"

REST = "relay: {addresses: [127.0.0.1]}\nauth: {users: {alice: secret}}\n"


@pytest.fixture(scope="module")
def scapy_turn_built(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Built:
    folder = tmp_path_factory.mktemp("scapy_turn")
    checked([sys.executable, "-m", "build", "--outdir", folder, checkout / "scapy_turn"], folder)
    (sdist,) = folder.glob("*.tar.gz")
    (wheel,) = folder.glob("*.whl")
    return Built(sdist, wheel)


def test_contents(scapy_turn_built: Built, tracked: frozenset[str]) -> None:
    """Every file of the folder is in the source distribution, every module in the wheel, and the licence in both."""
    ours = {name.removeprefix("scapy_turn/") for name in tracked if name.startswith("scapy_turn/")}
    with tarfile.open(scapy_turn_built.sdist) as archive:
        files = {member.name.partition("/")[2] for member in archive.getmembers() if member.isfile()}
    assert sorted(name for name in files if name != "PKG-INFO" and ".egg-info/" not in name) == sorted(ours)
    with zipfile.ZipFile(scapy_turn_built.wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
        (found,) = [archive.read(name) for name in archive.namelist() if name.endswith("/METADATA")]
        (top,) = [archive.read(name) for name in archive.namelist() if name.endswith("/top_level.txt")]
        assert any(
            "GNU GENERAL PUBLIC LICENSE" in archive.read(n).decode() for n in archive.namelist() if "LICENSE" in n
        )
    kinds = {".py", ".typed", ".uts"}
    assert sorted(names) == sorted(f"scapy_turn/{name}" for name in ours if Path(name).suffix in kinds)
    assert top.split() == [b"scapy_turn"]
    metadata = message_from_bytes(found)
    needed = [one for one in metadata.get_all("Requires-Dist") if "extra ==" not in one]
    assert needed == [f"scapy>={OLDEST.removesuffix('.0')}"]
    assert (metadata["Name"], metadata["License-Expression"]) == ("scapy-turn", "GPL-2.0-or-later")
    assert [one for one in metadata.get_all("Classifier") if one.startswith("License")] == []


@pytest.fixture(scope="module")
def tester(scapy_turn_built: Built, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """An environment with scapy-turn, from its source distribution, and the oldest scapy that it takes."""
    environment = Environment(tmp_path_factory.mktemp("tester"))
    environment.pip("install", "--quiet", "--no-compile", scapy_turn_built.sdist, f"scapy=={OLDEST}")
    return environment


def test_scapy_loads_it(tester: Environment) -> None:
    """In an environment that has nothing of meshturn."""
    assert tester.output("python", "-c", LOAD) == "STUN Allocate request\n"
    assert tester.run("python", "-c", "import meshturn").returncode != 0
    assert "usage: python -m scapy_turn scan" in tester.output("python", "-m", "scapy_turn", "scan", "--help")


def test_beside_meshturn(tester: Environment, scapy_turn_built: Built, built: Built) -> None:
    """Both wheels in one environment, with the newest scapy: each works as if alone, and one can test the other."""
    tester.pip("install", "--quiet", "--no-compile", "--force-reinstall", "--no-deps", scapy_turn_built.wheel)
    tester.pip(
        "install", "--quiet", "--no-compile", "--upgrade", "-c", ROOT / "conf" / "constraints.txt", built.wheel, "scapy"
    )
    assert tester.output("python", "-c", LOAD) == "STUN Allocate request\n"
    assert tester.output("python", "-c", PLAIN) == "['scapy_turn', 'scapy']\n"
    listed = tester.pip("list", "--format", "freeze")
    assert {"meshturn", "scapy-turn"} <= {line.partition("==")[0] for line in listed.splitlines()}
    port = free_port()
    config = tester.home / "meshturn.yml"
    config.write_text(f"listeners: [{{transport: udp, address: 127.0.0.1, port: {port}}}]\nrealm: example.org\n{REST}")
    config.chmod(0o600)
    with tester.serving("serve", "-c", config):
        scan = ["python", "-m", "scapy_turn", "scan", f"turn:127.0.0.1:{port}", "--user", "alice", "--timeout", "0.5"]
        printed = tester.output(*scan, SCAPY_TURN_PASSWORD="secret")
    assert "guesses                   meshturn (4 of 4 marks)" in printed
    assert "not-public" in printed
