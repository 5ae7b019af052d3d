"""Recordings as users get them: what a wheel says without its extra, and that it records and makes a film with it."""

import json
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.packaging.conftest import PATIENCE, ROOT, Built, Environment

STARTED = """
import asyncio, sys, time
from pathlib import Path
from meshturn.turnserver.config.media import MediaConfig
from meshturn.turnserver.core.settings import OwnAddresses, RelayAddress
from meshturn.turnserver.core.types import PortRange
from meshturn.turnserver.faults import Faults
from meshturn.turnserver.sfu import Sfu

async def main():
    own = OwnAddresses((RelayAddress(bytes((127, 0, 0, 1)), bytes((127, 0, 0, 1))),))
    told, faults = [], Faults()
    config = MediaConfig(processes=int(sys.argv[2]), recordings=Path(sys.argv[1]))
    sfu = Sfu(config, PortRange(49152, 65535), lambda: own, report=told.append, changed=lambda _: None, faults=faults,
              clock=time.monotonic)
    sfu.open("r", 1)
    sfu.record("r", True)
    while not told:
        await asyncio.sleep(0.05)
    print(told, dict(faults.counts))
    sfu.stop()
    await sfu.wait_closed()

asyncio.run(main())
"""


@pytest.fixture(scope="module")
def plain(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """An environment with the wheel, and with no extra."""
    environment = Environment(tmp_path_factory.mktemp("plain"))
    environment.pip("install", "--quiet", "--no-compile", "-c", ROOT / "conf" / "constraints.txt", built.wheel)
    return environment


@pytest.mark.parametrize("processes", [0, 1])
def test_without_the_extra_a_recording_does_not_begin_and_says_what_to_install(
    plain: Environment, tmp_path: Path, processes: int
) -> None:
    output = plain.output("python", "-c", STARTED, tmp_path / "recordings", processes)
    assert output == "[SfuUnrecorded(room='r', why=\"recording needs PyAV: pip install 'meshturn[media]'\")] {}\n"
    assert list(tmp_path.iterdir()) == []


def test_without_the_extra_no_film_is_made_and_one_sentence_says_what_to_install(
    plain: Environment, tmp_path: Path
) -> None:
    """What is recorded is listed all the same."""
    done = plain.run("meshturn", "recordings", "mix", tmp_path, "-o", tmp_path / "a.webm")
    assert (done.returncode, done.stdout) == (3, "")
    assert "needs PyAV, which is not installed" in " ".join(done.stderr.split())
    assert "pip install 'meshturn[media]'" in done.stderr
    assert "Traceback" not in done.stderr
    assert plain.output("meshturn", "recordings", "list", tmp_path) == "There are no recordings.\n"


def listed(environment: Environment, directory: Path) -> dict[str, Any]:
    """The only recording; empty as long as there is none."""
    found = json.loads(environment.output("meshturn", "recordings", "list", directory, "--json"))["recordings"]
    return found[0] if found else {}


def test_with_the_extra_a_call_is_recorded_and_a_film_is_made(environment: Environment, tmp_path: Path) -> None:
    config, recordings, film = tmp_path / "meshturn.yml", tmp_path / "recordings", tmp_path / "tea.mp4"
    config.write_text(f"""\
listeners:
  - {{transport: udp, address: 127.0.0.1, port: 0}}
  - {{transport: shared, tls: false, address: 127.0.0.1, port: 0}}
relay: {{addresses: [127.0.0.1]}}
peers: {{allow: [127.0.0.0/8]}}
auth: {{shared_secrets: [0123456789abcdef0123456789abcdef]}}
signaling: {{mode: sfu, open: true, admin_keys: {{me: key-0123456789-0123456789}}}}
media: {{port: 0, recordings: {recordings}, recordings_reserve: 0}}
""")
    config.chmod(0o600)
    with environment.serving("serve", "-c", config) as ready:
        (page,) = [f"http://127.0.0.1:{one['port']}/" for one in ready["listening"] if one["transport"] == "tcp"]
        server = ["--url", page, "--key-file", tmp_path / "key"]
        (tmp_path / "key").touch(mode=0o600)
        (tmp_path / "key").write_text("key-0123456789-0123456789")
        call = ["meshturn", "call", "tea", "--url", page, "--stay"]
        with environment.running(*call, "--name", "Ann") as ann, environment.running(*call, "--name", "Bob") as bob:
            ann.until("media is received", ann.errors)
            environment.output("meshturn", "rooms", "record", "tea", *server)
            until = time.monotonic() + PATIENCE
            while (found := listed(environment, recordings)).get("bytes", 0) < 60_000 or len(found["files"]) < 2:
                assert time.monotonic() < until, found
            environment.output("meshturn", "rooms", "record", "tea", "--stop", *server)
            while (found := listed(environment, recordings))["end"] is None:
                assert time.monotonic() < until, found
            for each in (ann, bob):
                assert each.stop(signal.SIGINT) == 0
    assert (found["room"], found["end"], found["participants"]) == ("tea", "stopped", 2)
    made = environment.output(
        "meshturn", "recordings", "mix", found["path"], "-o", film, "--size", "320x180", "--rate", "5", "--json"
    )
    assert json.loads(made)["duration"] == pytest.approx(found["duration"], abs=2.0)
    assert film.stat().st_size > 5_000
