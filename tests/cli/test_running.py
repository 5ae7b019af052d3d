"""What ``serve`` and ``up`` share."""

import contextlib
import json
import os
import signal
from dataclasses import replace

import pytest

from cli.running import announce, announce_json, call_pages, run_server
from stun.address import Address
from turnserver.config import Config, Listener
from turnserver.core.settings import RelayAddress
from turnserver.core.types import ClientTransport
from turnserver.server import Server
from turnserver.snapshot import LimitsView, ListenerView, Snapshot, Usage

NONE = Usage(0, 0)
NOW = Snapshot(True, 0.0, 0.0, LimitsView(NONE, NONE, NONE, NONE))


class FixedServer:
    """A server as far as it is asked here: a configuration, and a snapshot that says what is bound."""

    def __init__(self, config: Config, now: Snapshot) -> None:
        self.config = config
        self.now = now

    def snapshot(self) -> Snapshot:
        return self.now


SERVER = FixedServer(
    Config(),
    replace(
        NOW,
        listeners=(ListenerView("udp", ClientTransport.UDP, Address.parse("::1", 3478)),),
        relays=(RelayAddress(bytes([10, 0, 0, 1]), bytes([198, 51, 100, 1])),),
    ),
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
        "pages": [],
    }


def test_where_the_calls_are(capsys: pytest.CaptureFixture[str]) -> None:
    """Of a server with rooms: the pages, as a browser would reach them."""
    listeners = [
        {"transport": "shared", "address": "192.0.2.5", "port": 443},
        {"transport": "shared", "tls": False, "address": "127.0.0.1", "port": 8080},
    ]
    config = Config().model_copy(update={"listeners": tuple(map(Listener.model_validate, listeners))})
    bound = (
        ListenerView("shared", ClientTransport.TLS, Address.parse("192.0.2.5", 443)),
        ListenerView("shared", ClientTransport.TCP, Address.parse("127.0.0.1", 8080)),
    )
    server = FixedServer(config, replace(NOW, listeners=bound))
    announce(server)
    assert capsys.readouterr().out.splitlines()[2:] == [
        "calls at http://localhost:8080/call/ROOM",
        "calls at https://192.0.2.5:443/call/ROOM",
        "ready",
    ]
    assert call_pages(server) == ["http://localhost:8080/", "https://192.0.2.5:443/"]


def test_it_runs_until_it_is_told_to_stop() -> None:
    """Ready is said once, with the port as bound; a signal ends it, and the socket is closed."""
    config = Config.model_validate({"listeners": [{"address": "127.0.0.1", "port": 0}]})
    ready: list[int] = []

    def on_ready(server: Server) -> None:
        ready.extend(address.port for _, address in server.snapshot().listening)
        os.kill(os.getpid(), signal.SIGTERM)

    run_server(config, on_ready)
    assert len(ready) == 1
    again = Config.model_validate({"listeners": [{"address": "127.0.0.1", "port": ready[0]}]})
    run_server(again, on_ready)
    assert ready == [ready[0]] * 2


def test_standard_output_that_takes_nothing_holds_up_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipe that is full before the server has said a word: it serves, and it stops."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writer, bytes(65536))
    os.set_blocking(writer, True)
    stream = os.fdopen(writer, "w")
    monkeypatch.setattr("sys.stdout", stream)
    monkeypatch.setattr("cli.running._PATIENCE", 0.01)

    def on_ready(server: Server) -> None:
        announce(server)
        os.kill(os.getpid(), signal.SIGTERM)

    run_server(Config.model_validate({"listeners": [{"address": "127.0.0.1", "port": 0}]}), on_ready)
    os.close(reader)
    stream.close()


def test_what_is_said_when_it_is_ready_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    def on_ready(server: Server) -> None:
        announce(server)
        os.kill(os.getpid(), signal.SIGTERM)

    run_server(Config.model_validate({"listeners": [{"address": "127.0.0.1", "port": 0}]}), on_ready)
    assert capsys.readouterr().out.endswith("ready\n")
