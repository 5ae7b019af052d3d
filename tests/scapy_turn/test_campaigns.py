"""The campaigns for UTscapy, scapy's own test runner, run as scapy's users run them."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

CAMPAIGNS = sorted((Path(__file__).resolve().parents[2] / "scapy_turn" / "campaigns").glob("*.uts"))


def utscapy(campaign: Path, folder: Path) -> "subprocess.CompletedProcess[str]":
    """As documented, in a folder of its own: neither depends on where it runs, nor leaves anything."""
    command = [sys.executable, "-m", "scapy.tools.UTscapy", "-f", "text", "-t", str(campaign)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=200, check=False)


@pytest.mark.parametrize("campaign", CAMPAIGNS, ids=lambda path: path.stem)
def test_campaign(processes: None, campaign: Path, tmp_path: Path) -> None:
    text = campaign.read_text(encoding="utf-8")
    tests = len(re.findall(r"^= ", text, re.MULTILINE))
    done = utscapy(campaign, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"PASSED={tests} FAILED=0" in done.stdout
    assert text.startswith("# SPDX-License-Identifier: GPL-2.0-or-later\n")
    assert list(tmp_path.iterdir()) == []


def test_a_campaign_can_fail(processes: None, tmp_path: Path) -> None:
    campaign = tmp_path / "wrong.uts"
    campaign.write_text("% Wrong\n\n+ Set\n\n= One\nassert 1 == 2\n\n= Two\nassert True\n")
    done = utscapy(campaign, tmp_path)
    assert done.returncode != 0
    assert "PASSED=1 FAILED=1" in done.stdout


def test_there_are_campaigns() -> None:
    assert {path.stem for path in CAMPAIGNS} >= {"layers", "integrity", "streams", "machines"}
