"""The distribution scapy-turn: what is in it, what it says of itself, and that scapy loads it where it is installed."""

import sys
import tarfile
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest

from tests.packaging.conftest import Built, Environment, checked

LOAD = """
from scapy.config import conf
conf.exts.load("scapy-turn")
import scapy.contrib.turn as turn
print(turn.StunMessage(bytes(turn.StunMessage(method="Allocate"))).summary().split(" [")[0])
"""


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
    assert (metadata["Name"], metadata["License"]) == ("scapy-turn", "GPL-2.0-or-later")
    assert "License :: OSI Approved :: GNU General Public License v2 or later (GPLv2+)" in metadata.get_all(
        "Classifier"
    )


def test_scapy_loads_it(scapy_turn_built: Built, tmp_path_factory: pytest.TempPathFactory) -> None:
    """In an environment that has nothing of meshturn."""
    environment = Environment(tmp_path_factory.mktemp("tester"))
    environment.pip("install", "--quiet", "--no-compile", scapy_turn_built.wheel)
    assert environment.output("python", "-c", LOAD) == "STUN Allocate request\n"
