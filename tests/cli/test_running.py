"""What ``serve`` and ``up`` share."""

import json
import os
import signal
from types import SimpleNamespace

import pytest

from cli.running import announce, announce_json, run_server
from stun.address import Address
from turnserver.config import Config
from turnserver.core.settings import RelayAddress
from turnserver.core.types import ClientTransport
from turnserver.worker import Worker

SERVER = SimpleNamespace(
    listening=[(ClientTransport.UDP, Address.parse("::1", 3478))],
    relays=(RelayAddress(bytes([10, 0, 0, 1]), bytes([198, 51, 100, 1])),),
)


def test_ready_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    """A line for each address, and `ready` last: a script can wait for it."""
    announce(SERVER)
    assert capsys.readouterr().out == (
        "listening on udp [::1]:3478\nrelaying from 10.0.0.1 (clients are told 198.51.100.1)\nready\n"
    )


def test_ready_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    """One line of JSON."""
    announce_json(SERVER)
    written = capsys.readouterr().out
    assert written.count("\n") == 1
    assert json.loads(written) == {
        "event": "ready",
        "listening": [{"transport": "udp", "address": "::1", "port": 3478}],
        "relays": ["10.0.0.1 (clients are told 198.51.100.1)"],
    }


@pytest.mark.net
def test_it_runs_until_it_is_told_to_stop() -> None:
    """Ready is said once, with the port as bound; a signal ends it, and the socket is closed."""
    config = Config.model_validate({"listeners": [{"address": "127.0.0.1", "port": 0}]})
    ready: list[int] = []

    def on_ready(server: Worker) -> None:
        ready.extend(address.port for _, address in server.listening)
        os.kill(os.getpid(), signal.SIGTERM)

    run_server(config, on_ready)
    assert len(ready) == 1
    again = Config.model_validate({"listeners": [{"address": "127.0.0.1", "port": ready[0]}]})
    run_server(again, on_ready)
    assert ready == [ready[0]] * 2
