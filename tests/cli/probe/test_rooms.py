"""``meshturn probe`` with the link of a room: the SFU of real servers, directly and through their relay."""

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cli.probe.rooms import RoomTarget, probe_room
from tests.support.mesh import member, page_url
from tests.support.netns import NetworkNamespace
from tests.support.server import SHARED_SECRET, TurnServerProcess
from tests.support.server import free_port as find_port
from tests.support.signal_wire import signaling_listeners
from tests.support.tools import require_tool
from turnserver.client.media import Listen

Run = Callable[..., "subprocess.CompletedProcess[str]"]
Start = Callable[..., TurnServerProcess]

CAGE = """table inet cage {
  chain out { type filter hook output priority 0; oifname != lo meta l4proto udp drop; }
}"""

PATIENT = ("--timeout", "30", "--json")
"""For the start of the SFU's process on a busy machine."""

pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Start a server whose rooms have these options; the same one for the same options."""
    running: dict[str, TurnServerProcess] = {}

    def begin(*, external: str | None = None, **signaling: Any) -> TurnServerProcess:
        key = json.dumps([external, signaling])
        if key not in running:
            relay: dict[str, Any] = {"addresses": ["127.0.0.1"]}
            config: dict[str, Any] = {
                "listeners": signaling_listeners(find_port()),
                "relay": relay if external is None else relay | {"external": external},
                "auth": {"shared_secrets": [SHARED_SECRET]},
                "peers": {"allow": ["127.0.0.0/8"]},
                "signaling": {"open": True, **signaling},
            }
            running[key] = TurnServerProcess(config, tmp_path_factory.mktemp("server")).__enter__()
        return running[key]

    yield begin
    for each in running.values():
        each.__exit__(None, None, None)


def steps_of(found: dict[str, Any]) -> dict[str, bool]:
    return {step["name"]: step["ok"] for step in found["steps"]}


@pytest.mark.parametrize("mode", ["sfu", "auto"])
def test_the_sfu_is_reached(run: Run, start: Start, mode: str) -> None:
    """Directly and through the relay; where a mesh would do, the probe brings enough participants."""
    result = run("probe", f"{page_url(start(mode=mode))}/call/probe", *PATIENT)
    found = json.loads(result.stdout)
    assert result.returncode == 0, found
    assert found["ok"] is True
    assert steps_of(found) == {"signaling": True, "sfu-direct": True, "sfu-relay": True}
    said = {step["name"]: step["sentence"] for step in found["steps"]}
    assert said["sfu-direct"].startswith("The SFU at 127.0.0.1:")
    assert " through turn:127.0.0.1:" in said["sfu-relay"]
    assert all(milliseconds > 0 for milliseconds in found["round_trip_ms"].values())


def test_for_people(run: Run, start: Start) -> None:
    result = run("probe", f"{page_url(start(mode='sfu'))}/call/probe", "--timeout", "30")
    assert result.returncode == 0, result.stdout
    assert result.stdout.splitlines()[-1] == "It works: the SFU is reached."


def test_a_wrong_public_address(run: Run, start: Start) -> None:
    """Nothing listens where the SFU is said to be: which port, and what may be the reason."""
    link = f"{page_url(start(mode='sfu', external='127.0.0.77'))}/call/probe"
    result = run("probe", link, "--timeout", "5", "--json")
    found = json.loads(result.stdout)
    assert result.returncode == 1
    assert steps_of(found) == {"signaling": True, "sfu-direct": False, "sfu-relay": False}
    [direct] = [step for step in found["steps"] if step["name"] == "sfu-direct"]
    assert "127.0.0.77:" in direct["sentence"], direct
    assert "relay.external" in direct["hint"]
    assert "media.port" in direct["hint"]


def test_a_network_that_lets_no_udp_out(run: Run, tmp_path: Path) -> None:
    """The SFU is reached through the relay over TCP, and that is all that works."""
    with NetworkNamespace() as inside, NetworkNamespace() as cage:
        inside.ip(f"link add wire0 type veth peer name wire1 netns {cage.name}")
        for where, name, address in ((inside, "wire0", "198.51.100.1"), (cage, "wire1", "198.51.100.2")):
            where.ip(f"addr add {address}/24 dev {name}")
            where.ip(f"link set {name} up")
        config: dict[str, Any] = {
            "listeners": [each | {"address": "198.51.100.1"} for each in signaling_listeners(3478)],
            "auth": {"shared_secrets": [SHARED_SECRET]},
            "signaling": {"open": True, "mode": "sfu"},
        }
        with inside.entered():
            server = TurnServerProcess(config, tmp_path)
            server.start()
        try:
            with cage.entered():
                made = subprocess.run([require_tool("nft"), CAGE], capture_output=True, text=True, check=False)
                assert made.returncode == 0, made.stderr
                result = run("probe", "http://198.51.100.1:3478/call/probe", "--timeout", "5", "--json")
        finally:
            server.stop()
    found = json.loads(result.stdout)
    assert result.returncode == 1, found
    assert steps_of(found) == {"signaling": True, "sfu-direct": False, "sfu-relay": True}, found
    direct, relay = found["steps"][1:]
    assert "Calls go through the relay from here" in direct["hint"]
    assert "transport=tcp" in relay["sentence"]


def test_a_server_without_an_sfu(run: Run, start: Start) -> None:
    result = run("probe", f"{page_url(start(mode='mesh'))}/call/probe", *PATIENT)
    found = json.loads(result.stdout)
    assert (result.returncode, steps_of(found)) == (1, {"signaling": True, "sfu": False})
    assert found["steps"][-1]["sentence"] == "The server has no SFU: all its rooms are meshes."


async def test_a_mesh_with_others_in_it(start: Start) -> None:
    """Their call is left alone."""
    url = page_url(start(mode="auto"))
    async with member(url, "others", plan=Listen) as ann:
        report = await probe_room(RoomTarget(url, "others", f"{url}/call/others"), 30)
        assert [(step.name, step.ok) for step in report.steps] == [("signaling", True), ("sfu", False)]
        assert "1 other is" in report.steps[0].sentence
        assert report.steps[1].hint == "Name a room in which nobody is."
        assert ann.mesh.room is not None
        assert ann.mesh.room.mode == "mesh"


def test_no_token(run: Run, start: Start) -> None:
    """A server that wants one: what to give."""
    result = run("probe", f"{page_url(start(open=False))}/call/probe", *PATIENT)
    found = json.loads(result.stdout)
    assert (result.returncode, steps_of(found)) == (1, {"signaling": False})
    assert "--token-file" in found["steps"][0]["hint"]


def test_nobody_is_there(run: Run) -> None:
    result = run("probe", f"http://127.0.0.1:{find_port()}/call/probe", "--json")
    found = json.loads(result.stdout)
    assert (result.returncode, steps_of(found)) == (1, {"signaling": False})
    assert "Is the address right" in found["steps"][0]["hint"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("https://h/call/tea", "--user", "ann"), "are for TURN servers"),
        (("https://h/call/tea#token=abc",), "has a token in it"),
        (("https://h/call/",), "has no room in it"),
        (("https://h/",), "begins with stun:, stuns:, turn: or turns:"),
        (("https:///call/tea",), "A URL is https://HOST"),
        (("https://h/call/tea", "--token-file", "/nowhere"), "cannot be read"),
        (("https://h/call/tea", "--insecure", "--ca-file", "f"), "exclude each other"),
        (("turn:h", "--token-file", "-"), "--token-file is for rooms"),
    ],
)
def test_wrong_command_lines(run: Run, arguments: tuple[str, ...], said: str) -> None:
    result = run("probe", *arguments)
    assert result.returncode == 2
    assert said in " ".join(result.stderr.split())
