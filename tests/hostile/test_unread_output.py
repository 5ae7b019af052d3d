"""A server of which nobody reads the log: strangers and clients go on being served, and it stops when it is told to."""

import fcntl
import json
import os
import secrets
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stun.address import Address
from tests.support.server import PASSWORD, ROOT, USERNAME, TurnServerProcess, loopback_config
from tests.support.turn_client import ChannelMessage, TurnClient
from turnserver.config import load_mapping

PIPE_SIZE = 4096
REQUESTS = 1000
TIMEOUT = 90.0

UNKNOWN_ATTRIBUTE = bytes.fromhex("7777000400000000")
"""Comprehension-required, so that a Binding request with it is refused with 420, and that is worth a line."""


class UnreadServer(TurnServerProcess):
    """A server whose standard output and error are small pipes; nobody reads them until `read`."""

    def _spawn(self) -> "subprocess.Popen[bytes]":
        reader, writer = os.pipe()
        fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, PIPE_SIZE)
        command = [*self.command, str(self._config_file)]
        process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=writer, stderr=writer)
        os.close(writer)
        self._output = os.fdopen(reader, "rb")
        return process

    def read(self) -> threading.Thread:
        """Read from now on, into the file of the log."""

        def copy() -> None:
            with self._output, self._log_file.open("wb") as log:
                while data := self._output.read1(65536):
                    log.write(data)
                    log.flush()

        thread = threading.Thread(target=copy)
        thread.start()
        return thread


REDIRECTIONS = {
    "closed": ">&- 2>&-",
    "full": ">/dev/full 2>/dev/full",
    "without a reader": "",
}


class MuteServer(TurnServerProcess):
    """A server whose standard output and error take nothing from the start."""

    def __init__(self, redirections: str, config: dict[str, Any], directory: Path) -> None:
        super().__init__(config, directory)
        self.redirections = redirections

    def _spawn(self) -> "subprocess.Popen[bytes]":
        reader, writer = os.pipe()
        os.close(reader)
        command = ["/bin/sh", "-c", f'exec "$@" {self.redirections}', "sh", *self.command, str(self._config_file)]
        process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=writer, stderr=writer)
        os.close(writer)
        return process


def config(**log: str) -> dict[str, Any]:
    return loopback_config(log={"format": "json", **log})


def ask(client: socket.socket) -> bytes:
    """A Binding request that is refused; gives the answer."""
    transaction = secrets.token_bytes(12)
    client.send(bytes.fromhex("000100082112a442") + transaction + UNKNOWN_ATTRIBUTE)
    while (answer := client.recv(2000))[8:20] != transaction:
        pass
    return answer


@pytest.fixture
def stranger() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(TIMEOUT)
        yield sock


@pytest.fixture
def peer() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(TIMEOUT)
        sock.bind(("127.0.0.1", 0))
        yield sock


def relay(client: TurnClient, peer: socket.socket, count: int) -> None:
    """A channel to the peer, and so many packets both ways."""
    client.allocate()
    client.channel_bind(0x4000, Address.parse(*peer.getsockname()))
    for number in range(count):
        data = b"%d" % number
        client.send_channel(0x4000, data)
        received, source = peer.recvfrom(2000)
        assert received == data
        peer.sendto(received, source)
        assert client.receive() == ChannelMessage(0x4000, data)


def test_a_strangers_requests_freeze_nobody(tmp_path: Any, stranger: socket.socket, peer: socket.socket) -> None:
    """A thousand requests, each worth a line; every one is answered, and relaying goes on."""
    with UnreadServer(config(), tmp_path) as server:
        stranger.connect(("127.0.0.1", server.port))
        for _ in range(REQUESTS):
            assert ask(stranger)[:2] == b"\x01\x11", "a refusal"
        with TurnClient.udp("127.0.0.1", server.port, USERNAME, PASSWORD) as client:
            relay(client, peer, 100)


def test_with_all_that_can_be_said_clients_are_served(
    tmp_path: Any, stranger: socket.socket, peer: socket.socket
) -> None:
    """At level debug: hundreds of lines when the pipe holds a few. Read at last, they are all there and in order."""
    with UnreadServer(config(level="debug"), tmp_path) as server:
        with TurnClient.udp("127.0.0.1", server.port, USERNAME, PASSWORD) as client:
            relay(client, peer, 10)
            for lifetime in range(600, 800):
                client.refresh(lifetime)
            client.send_channel(0x4000, b"still here")
            assert peer.recv(2000) == b"still here"
        reading = server.read()
        server.stop()
        reading.join()
        entries = [json.loads(line) for line in server.log.splitlines() if line.startswith("{")]
        refreshed = [entry["lifetime"] for entry in entries if entry["message"] == "allocation refreshed"]
        assert refreshed == list(range(600, 800))
        assert [entry["message"] for entry in entries[-3:]] == ["stopping", "allocation ended", "stopped"]


@pytest.mark.parametrize("name", REDIRECTIONS)
def test_output_that_cannot_be_written_does_not_end_the_server(
    name: str, tmp_path: Path, stranger: socket.socket, peer: socket.socket
) -> None:
    """Neither the warnings of the configuration before the start, nor ``ready``, nor a line of the log."""
    warned_of = {**config(), "auth": {"users": {USERNAME: PASSWORD}, "shared_secrets": ["short"]}}
    assert load_mapping(warned_of).warnings
    with MuteServer(REDIRECTIONS[name], warned_of, tmp_path) as server:
        stranger.connect(("127.0.0.1", server.port))
        assert ask(stranger)[:2] == b"\x01\x11"
        with TurnClient.udp("127.0.0.1", server.port, USERNAME, PASSWORD) as client:
            relay(client, peer, 10)
        server.stop()
