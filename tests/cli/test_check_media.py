"""What ``meshturn check`` says of the SFU."""

import json
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cli import check_media
from cli.check_media import media_facts, media_rows, media_warnings
from turnserver.config import load_mapping
from turnserver.core.settings import RelayAddress

Run = Callable[..., "subprocess.CompletedProcess[str]"]
Write = Callable[[str], Path]

LOOPBACK = bytes((127, 0, 0, 1))
HERE = RelayAddress(LOOPBACK, bytes((198, 51, 100, 1)))
CONFIG = """
listeners: [{{transport: shared, tls: false, address: 127.0.0.1, port: 8099}}]
relay: {{addresses: [127.0.0.1], external: {{127.0.0.1: 198.51.100.1}}}}
auth: {{shared_secrets: [a-secret-of-the-test-0123456789]}}
signaling: {{mode: {mode}}}
media: {{port: {port}, processes: {processes}, room_size: 12}}
"""


def facts(mode: str, relays: list[RelayAddress], **media: Any) -> dict[str, Any]:
    return media_facts(load_mapping({"signaling": {"mode": mode}, "media": media}).config, relays)


def test_meshes_only() -> None:
    """No ports, nothing tried, nothing lacking; the libraries are said all the same."""
    found = facts("mesh", [HERE], port=1)
    assert (found["ports"], found["processes"], found["problem"]) == (None, 0, None)
    assert found["libraries"]["pyOpenSSL"]
    assert media_rows(found, 4) == [("media of rooms", "directly from each participant to each")]
    assert media_warnings(found) == []


def test_a_port_that_can_be_bound_and_one_that_cannot(run: Run, write: Write) -> None:
    """It is tried for an instant: beside a server that runs, the port is its own."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        path = write(CONFIG.format(mode="auto", port=port, processes=0))
        result = run("check", "-c", path)
        assert result.returncode == 0, "a warning, and no error"
        assert f"The media port 127.0.0.1:{port} cannot be used: Address already in use." in result.stderr
        assert f"UDP port {port}, where clients reach 198.51.100.1; in use; rooms of up to 12" in result.stdout
    result = run("check", "-c", path)
    assert "media port" not in result.stderr
    assert "in the server's own process" in result.stdout
    assert "for 12 people each" in result.stdout
    assert "directly in rooms of up to 4 people, through the SFU of this server in larger ones" in result.stdout
    media = json.loads(run("check", "--json", "-c", path).stdout)["media"]
    assert (media["mode"], media["ports"], media["addresses"]) == ("auto", [port], ["198.51.100.1"])
    assert (media["processes"], media["room_size"], media["problem"]) == (0, 12, None)
    assert media.keys() >= {"libraries"}


def test_a_port_of_the_relays() -> None:
    """Nothing is tried; more processes have more ports."""
    found = facts("sfu", [HERE])
    assert (found["ports"], found["problem"]) == ("49152-65535", None)
    assert ("media of rooms", "through the SFU of this server") in media_rows(found, 4)
    assert "a free one of 49152-65535" in media_rows(found, 4)[1][1]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    found = facts("sfu", [HERE], port=port, processes=2)
    assert found["ports"] == [port, port + 1]
    assert "child processes: 2 at most" in media_rows(found, 4)[1][1]


def test_a_port_that_relays_may_have() -> None:
    """It is the SFU's only if no relay has it when a room begins."""
    found = facts("sfu", [HERE], port=49151, processes=2)
    assert found["ports_of_relays"] == [49152]
    assert "49152 is also among relay.ports" in media_warnings(found)[0]
    assert facts("mesh", [HERE], port=49152)["ports_of_relays"] == []


def test_only_over_ipv6(run: Run, write: Write) -> None:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as free:
        free.bind(("::1", 0))
        port = free.getsockname()[1]
    text = CONFIG.format(mode="sfu", port=port, processes=0).replace("external: {127.0.0.1: 198.51.100.1}", "")
    path = write(text.replace("[127.0.0.1],", "['::1']"))
    media = json.loads(run("check", "--json", "-c", path).stdout)["media"]
    assert (media["addresses"], media["ports"], media["problem"]) == (["::1"], [port], None)


@pytest.mark.parametrize(
    ("listener", "processes", "refused"),
    [
        ("{transport: udp, address: 127.0.0.1, port: 4478}", 0, True),
        ("{transport: udp, address: 0.0.0.0, port: 4478}", "auto", True),
        ("{transport: udp, address: 127.0.0.1, port: 4480}", 3, True),
        ("{transport: udp, address: 127.0.0.1, port: 4480}", 2, False),
        ("{transport: udp, address: 127.0.0.2, port: 4478}", 1, False),
        ("{transport: tcp, address: 127.0.0.1, port: 4478}", 1, False),
    ],
)
def test_a_port_of_a_listener(run: Run, write: Write, listener: str, processes: object, refused: bool) -> None:
    """It would be missing at the first room only, so it is refused; what is about another address or TCP is not."""
    text = CONFIG.format(mode="auto", port=4478, processes=processes).replace(
        "{transport: shared", f"{listener}, {{transport: shared"
    )
    result = run("check", "-c", write(text))
    assert ("which listeners[0] has for udp" in result.stderr) is refused
    assert result.returncode == (2 if refused else 0)


def test_a_public_name(run: Run, write: Write) -> None:
    """ICE needs addresses: a name in `relay.external` is refused, with what is allowed."""
    text = CONFIG.format(mode="sfu", port=0, processes=0).replace("{127.0.0.1: 198.51.100.1}", "turn.example.org")
    result = run("check", "-c", write(text))
    assert result.returncode == 2
    assert "allowed: a public address, auto, or a mapping" in " ".join(result.stderr.split())


def test_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A library, and an address to be reached at."""
    monkeypatch.setattr(check_media, "_LIBRARIES", {"pyOpenSSL": "DTLS", "pylibsrtp": "SRTP", "no-such-library": "x"})
    found = facts("sfu", [])
    assert found["libraries"]["no-such-library"] is None
    assert ("SFU, libraries", "x") not in media_rows(found, 4)
    assert "no-such-library missing (x)" in media_rows(found, 4)[2][1]
    assert "no address" in media_rows(found, 4)[1][1]
    found["libraries"]["pylibsrtp"] = None
    lacking, address = media_warnings(found)
    assert "pylibsrtp" in lacking
    assert "relays from none" in address
