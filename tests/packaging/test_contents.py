"""What is in the source distribution and in the wheel, and what their metadata says."""

import json
import re
import sys
import tarfile
import zipfile
from email import message_from_bytes
from email.message import Message
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from build_backend.stage import DATA, FOLDERS
from tests.packaging.conftest import Built, Environment, checked
from turnserver import __version__

ABSENT = re.compile(r"\.ci/|\.git|bench/results/|scapy_turn/|tests/scapy_turn/")
"""What of the repository is not in the source distribution: its own automation, and scapy-turn, under the GPL."""


def contents(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist() if not name.endswith("/")}


def metadata(wheel: Path) -> Message:
    (found,) = [data for name, data in contents(wheel).items() if name.endswith(".dist-info/METADATA")]
    return message_from_bytes(found)


def description(found: Message) -> str:
    text = found.get_payload(decode=True)
    assert isinstance(text, bytes)
    return text.decode()


def test_the_wheel_has_every_file_of_the_packages_and_no_other(built: Built, tracked: frozenset[str]) -> None:
    expected = {name for name in tracked if name.startswith("meshturn/")}
    expected |= {f"meshturn/{name}" for name in tracked if name.partition("/")[0] in FOLDERS or name in DATA}
    files = {name for name in contents(built.wheel) if ".dist-info/" not in name}
    assert sorted(files) == sorted(expected)


def test_the_wheel_installs_one_package(built: Built) -> None:
    """By its files, and by what it says to those who ask which distribution a package is of."""
    found = contents(built.wheel)
    assert {name.partition("/")[0] for name in found} == {"meshturn", f"meshturn-{__version__}.dist-info"}
    assert found[f"meshturn-{__version__}.dist-info/top_level.txt"].split() == [b"meshturn"]


def test_the_checkout_makes_the_same_wheel(built: Built, checkout: Path, tmp_path: Path) -> None:
    """``pip install .`` installs what a release has, and a build leaves nothing behind."""
    before = {path.relative_to(checkout) for path in checkout.rglob("*")}
    checked([sys.executable, "-m", "build", "--wheel", "--outdir", tmp_path, checkout], tmp_path)
    (wheel,) = tmp_path.glob("*.whl")
    assert contents(wheel) == contents(built.wheel)
    assert {path.relative_to(checkout) for path in checkout.rglob("*")} == before


def test_the_source_distribution_is_the_repository(built: Built, tracked: frozenset[str]) -> None:
    """``conf/``, ``docs/``, the changelog and the licence too; what setuptools adds is its own record."""
    with tarfile.open(built.sdist) as archive:
        files = {member.name.partition("/")[2] for member in archive.getmembers() if member.isfile()}
    ours = {name for name in files if name != "PKG-INFO" and not name.startswith("meshturn.egg-info/")}
    assert {"CHANGELOG.md", "LICENSE", "conf/meshturn.yml", "conf/constraints.txt", "docs/configuration.md"} <= ours
    assert sorted(ours) == sorted(name for name in tracked if not ABSENT.match(name))


def test_metadata(built: Built) -> None:
    """Complete, by the current standard, and without a person or a host in it."""
    found = metadata(built.wheel)
    assert (found["Name"], found["Version"], found["Requires-Python"]) == ("meshturn", __version__, ">=3.11")
    assert (found["License-Expression"], found.get_all("License-File")) == ("MIT", ["LICENSE"])
    assert found["License"] is None
    assert [name for name in found if name in {"Author", "Author-email", "Maintainer", "Maintainer-email"}] == []
    assert [name for name in found if name in {"Home-page", "Download-URL", "Project-URL"}] == []
    assert "signaling" in found["Summary"]
    assert {"turn", "stun", "webrtc"} <= set(found["Keywords"].split(","))
    classifiers = found.get_all("Classifier")
    assert {"Typing :: Typed", "Programming Language :: Python :: 3.11"} <= set(classifiers)
    assert not [one for one in classifiers if one.startswith("License ::")]
    assert {"call"} <= set(found.get_all("Provides-Extra"))


@pytest.mark.parametrize("source", ["checkout", "sdist"])
def test_installers_are_told_the_same_before_they_build(
    built: Built, checkout: Path, environment: Environment, source: str
) -> None:
    """PEP 517 has a hook of its own for metadata: pip resolves dependencies by that."""
    what = checkout if source == "checkout" else built.sdist
    report = environment.pip(
        "install", "--quiet", "--dry-run", "--ignore-installed", "--no-deps", "--report", "-", what
    )
    (item,) = json.loads(report)["install"]
    told, found = item["metadata"], metadata(built.wheel)
    assert told["requires_dist"] == found.get_all("Requires-Dist")
    assert told["description"].strip() == description(found).strip()
    assert (told["name"], told["version"], told["summary"]) == (found["Name"], found["Version"], found["Summary"])


def test_typing_is_announced(built: Built) -> None:
    """PEP 561: the marker in the top-level package holds for everything beneath it."""
    assert "meshturn/py.typed" in contents(built.wheel)


@pytest.mark.parametrize("kind", ["wheel", "sdist"])
def test_the_description_has_no_link_into_the_repository(built: Built, kind: str) -> None:
    if kind == "wheel":
        found = metadata(built.wheel)
    else:
        with tarfile.open(built.sdist) as archive:
            (member,) = [one for one in archive.getmembers() if re.fullmatch(r"[^/]+/PKG-INFO", one.name)]
            extracted = archive.extractfile(member)
            assert extracted is not None
            found = message_from_bytes(extracted.read())
    assert found["Description-Content-Type"] == "text/markdown"
    html = MarkdownIt("commonmark").enable("table").render(description(found))
    assert "pip install meshturn" in html
    assert "<h2>" in html
    targets = re.findall(r'(?:href|src)="([^"]*)"', html)
    assert [target for target in targets if not re.match(r"https?://|mailto:", target)] == []
