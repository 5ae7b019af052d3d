"""DTLS with the real server and with coturn, and what happens where there is none."""

import socket
import sys
from collections.abc import Iterator

import pytest
from scapy.layers.inet import IP, UDP
from scapy.packet import Raw

from scapy_turn import StunMessage, TurnAutomaton, TurnSocket
from scapy_turn.dtls import MTU, datagrams_of
from scapy_turn.probes import amplification
from scapy_turn.scan import main
from scapy_turn.wire import Wire
from tests.scapy_turn.conftest import Echo, running_coturn
from tests.support.certificates import issue
from tests.support.server import PASSWORD, USERNAME, TurnServerProcess, free_port, loopback_config


@pytest.fixture(scope="module")
def server(processes: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TurnServerProcess]:
    folder = tmp_path_factory.mktemp("server")
    listeners = [{"transport": "dtls", "address": "127.0.0.1", "port": free_port()}]
    config = loopback_config(listeners=listeners, tls={"certificates": [issue(folder).config]})
    with TurnServerProcess(config, folder) as running:
        yield running


@pytest.fixture(scope="module")
def coturn(processes: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, int]]:
    folder = tmp_path_factory.mktemp("coturn")
    pair = issue(folder)
    with running_coturn(folder, "--cert", str(pair.certificate), "--pkey", str(pair.key)) as port:
        yield "127.0.0.1", port + 1


def round_trip(address: tuple[str, int], echo: Echo) -> None:
    with TurnSocket(address, USERNAME, PASSWORD, transport="dtls") as relayed:
        for size in (5, 1000, 1400):
            packet = IP(dst=echo.address[0]) / UDP(sport=53, dport=echo.address[1]) / Raw(b"x" * size)
            answer = relayed.sr1(packet, timeout=60, verbose=0)
            assert answer is not None
            assert len(answer[Raw].load) == size
        assert set(echo.sources) == {relayed.relayed}


def test_meshturn(server: TurnServerProcess, echo: Echo) -> None:
    round_trip(("127.0.0.1", server.port), echo)
    with TurnAutomaton(("127.0.0.1", server.port), USERNAME, PASSWORD, transport="dtls") as life:
        life.io.peer.send(IP(dst=echo.address[0]) / UDP(dport=echo.address[1]) / Raw(b"hello"))
        assert life.io.peer.recv()[Raw].load == b"hello"


def test_coturn(coturn: tuple[str, int], echo: Echo) -> None:
    round_trip(coturn, echo)


def test_scan(server: TurnServerProcess, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    found = {one.kind: one.says for one in amplification(("127.0.0.1", server.port), 0.3, "dtls")}
    assert (found["Binding"], found["Allocate"]) == ("success", "error 401")
    monkeypatch.setenv("SCAPY_TURN_PASSWORD", PASSWORD)
    uri = f"turns:127.0.0.1:{server.port}?transport=udp"
    assert main(["scan", uri, "--user", USERNAME, "--only", "nonces", "--timeout", "1"]) == 0
    assert "downgraded  400" in capsys.readouterr().out


def test_nobody_answers() -> None:
    """A port that is silent, one that is closed, and one that speaks something else."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mute:
        mute.bind(("127.0.0.1", 0))
        with pytest.raises(TimeoutError, match="in time"):
            Wire(mute.getsockname(), "dtls", timeout=0.2)
    with pytest.raises(OSError, match=r"refused|in time"):
        Wire(("127.0.0.1", free_port()), "dtls", timeout=0.2)
    with pytest.raises(ValueError, match="for TLS"):
        Wire(("127.0.0.1", 9), "dtls", context=object())  # type: ignore[arg-type]


def test_without_the_library(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """It says what to install; all else works without it."""
    monkeypatch.setitem(sys.modules, "OpenSSL", None)
    with pytest.raises(OSError, match=r"scapy-turn\[dtls\]"):
        Wire(("127.0.0.1", 9), "dtls")
    assert main(["scan", "turns:127.0.0.1:9?transport=udp", "--only", "strangers"]) == 1
    assert "pip install" in capsys.readouterr().out


def test_a_server_that_ends(processes: None, echo: Echo, tmp_path_factory: pytest.TempPathFactory) -> None:
    """It closes its sessions, and a client sees it."""
    folder = tmp_path_factory.mktemp("ending")
    listeners = [{"transport": "dtls", "address": "127.0.0.1", "port": free_port()}]
    config = loopback_config(listeners=listeners, tls={"certificates": [issue(folder).config]})
    with TurnServerProcess(config, folder) as ending:
        wire = Wire(("127.0.0.1", ending.port), "dtls")
        assert wire.exchange(StunMessage(), 60)
    with pytest.raises(EOFError):
        wire.wait(60)
    wire.close()
    wire.close()


def test_records_are_put_into_datagrams() -> None:
    """Whole ones, as many as fit, in their order."""
    records = [bytes(11) + size.to_bytes(2, "big") + bytes(size) for size in (500, 600, 700, 2000, 1)]
    found = list(datagrams_of(b"".join(records)))
    assert found == [records[0] + records[1], records[2], records[3], records[4]]
    assert max(map(len, found[:2])) <= MTU
    assert list(datagrams_of(b"")) == []
