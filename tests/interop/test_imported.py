"""Configurations made by ``meshturn import`` from files in the styles of well-known guides serve the clients of each.

The files are those of `tests/cli/importing/files`, with the addresses and ports of this machine, and with what coturn
needs for peers on loopback, too.
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from tests.support.certificates import issue
from tests.support.server import ROOT, TurnServerProcess, free_port
from tests.support.uclient import MESSAGES, Scenario, assert_all_returned, echo_server, run_uclient

FILES = ROOT / "tests" / "cli" / "importing" / "files"
ELSEWHERE = re.compile(
    r"^(listening-ip|relay-ip|external-ip|listening-port|tls-listening-port|cert|pkey|dh-file|min-port|max-port)\b.*\n",
    re.MULTILINE,
)
"""Lines that belong to the machine of the guide."""

LOOPBACK = "listening-ip=127.0.0.1\nrelay-ip=127.0.0.1\nallow-loopback-peers\nallowed-peer-ip=127.0.0.1\n"


class Guide(NamedTuple):
    """A file, and how clients of that guide come: their credentials and their transport."""

    file: str
    credentials: tuple[str, ...]
    flags: str = "-c -s"
    transport: str = "udp"


GUIDES = {
    "synapse": Guide("synapse.conf", ("-u", "@ann:example.org", "-W", "n0t+a/real=secret==for-matrix")),
    "synapse-over-tcp": Guide(
        "synapse.conf", ("-u", "@ann:example.org", "-W", "n0t+a/real=secret==for-matrix"), "-c -s -t", "tcp"
    ),
    "nextcloud": Guide("nextcloud.conf", ("-W", "3f9c1c4e5a7b8d2e6f0a1b2c3d4e5f60718293a4b5c6d7e8f9a0b1c2d3e4f506")),
    "jitsi": Guide("jitsi.conf", ("-W", "JitsiSharedSecret=0123")),
    "jitsi-over-tls": Guide("jitsi.conf", ("-W", "JitsiSharedSecret=0123"), "-c -s -t -S", "tls"),
    "bigbluebutton": Guide("bigbluebutton.conf", ("-u", "7", "-W", "0123456789abcdef0123456789abcdef")),
    "bigbluebutton-over-tls": Guide(
        "bigbluebutton.conf", ("-u", "7", "-W", "0123456789abcdef0123456789abcdef"), "-c -s -t -S", "tls"
    ),
    "home-assistant": Guide("home-assistant.conf", ("-u", "homeassistant", "-w", "corr3ct:horse=battery")),
    "home-assistant-with-a-key": Guide("home-assistant.conf", ("-u", "doorbell", "-w", "the password of the doorbell")),
    "eturnal": Guide("eturnal.yml", ("-u", "ann", "-W", "long-and-cryptic-for-eturnal")),
    "eturnal-with-a-user": Guide("eturnal.yml", ("-u", "alice", "-w", "l0ooooong-password")),
}


@pytest.fixture(scope="module")
def echo_port() -> Iterator[int]:
    """The first of the two ports on which ``turnutils_peer`` sends back whatever comes."""
    with echo_server() as port:
        yield port


def local(file: str, folder: Path) -> Path:
    """The file of a guide for this machine."""
    pair = issue(folder)
    text = (FILES / file).read_text()
    port = free_port(2)
    path = folder / file
    if path.suffix == ".yml":
        options = yaml.safe_load(text)["eturnal"]
        options["listen"] = [{"ip": "127.0.0.1", "port": port, "transport": "udp"}]
        options["whitelist_peers"] = ["127.0.0.1"]
        for name in ("relay_ipv4_addr", "relay_ipv6_addr", "tls_crt_file", "tls_key_file", "modules"):
            del options[name]
        path.write_text(yaml.safe_dump({"eturnal": options}))
        return path
    text = ELSEWHERE.sub("", text) + LOOPBACK + f"listening-port={port}\ntls-listening-port={port + 1}\n"
    if "cipher-list" in text:
        text += f"cert={pair.certificate}\npkey={pair.key}\n"
    path.write_text(text)
    return path


@pytest.fixture
def serving(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[TurnServerProcess]:
    """A server with what the import printed, unchanged."""
    file = local(request.param, tmp_path)
    command = [sys.executable, "-m", "meshturn", "import", "eturnal" if file.suffix == ".yml" else "coturn", str(file)]
    result = subprocess.run(
        [*command, "--secrets", str(tmp_path)], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert result.returncode == 0, result.stderr
    folder = tmp_path / "server"
    folder.mkdir()
    with TurnServerProcess(yaml.safe_load(result.stdout), folder) as server:
        yield server


@pytest.mark.parametrize(
    ("serving", "guide"),
    [(guide.file, guide) for guide in GUIDES.values()],
    ids=list(GUIDES),
    indirect=["serving"],
)
def test_a_client_of_the_guide_relays(serving: TurnServerProcess, guide: Guide, echo_port: int) -> None:
    """coturn's client, with the credentials of the guide: all that it sends comes back."""
    scenario = Scenario(guide.flags, 1, transport=guide.transport)
    assert_all_returned(run_uclient(serving, scenario, echo_port, *guide.credentials), MESSAGES)
