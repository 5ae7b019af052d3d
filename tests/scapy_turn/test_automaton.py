"""The life of an allocation on the real server: every state, renewal, refusals, and changed packets."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from scapy.automaton import Automaton
from scapy.layers.inet import ICMP, IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.packet import Packet, Raw

from scapy_turn import ChannelData, StunLifetime, StunMessage, StunRequestedTransport, TurnAutomaton
from scapy_turn.automaton import WireSocket
from scapy_turn.wire import Wire
from tests.scapy_turn.conftest import Echo
from tests.support.peer import refused_address
from tests.support.server import PASSWORD, USERNAME, TurnServerProcess

BORN = ["BEGIN", "ALLOCATING", "ALLOCATING", "ALLOCATED"]
GONE = ["RELEASING", "ENDED"]


def until(condition: Callable[[], object]) -> None:
    """Wait for something that the automaton does."""
    give_up = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.01)


@contextmanager
def living(
    server: TurnServerProcess, kind: type[TurnAutomaton] = TurnAutomaton, **options: object
) -> Iterator[TurnAutomaton]:
    """An automaton that has an allocation; stopped at the end."""
    port = server.ports[str(options.get("transport", "udp"))]
    with kind(("127.0.0.1", port), USERNAME, PASSWORD, **options) as life:
        yield life


class Hasty(TurnAutomaton):
    """Renews everything at once."""

    def renewal(self, lifetime: float) -> float:
        return 0.1


def to(echo: Echo, data: bytes = b"hello") -> Packet:
    network = IPv6 if ":" in echo.address[0] else IP
    return network(dst=echo.address[0]) / UDP(sport=5000, dport=echo.address[1]) / Raw(data)


@pytest.mark.parametrize("transport", ["udp", "tcp", "tls"])
@pytest.mark.parametrize("channels", [False, True])
def test_a_life(server: TurnServerProcess, echo: Echo, transport: str, channels: bool) -> None:
    """Allocated, used and deleted; a permission is asked for once."""
    with living(server, transport=transport, channels=channels) as life:
        for number in range(3):
            life.io.peer.send(to(echo, b"%d" % number))
            answer = life.io.peer.recv()
            assert (answer[UDP].sport, answer[UDP].dport, answer[Raw].load) == (echo.address[1], 5000, b"%d" % number)
        assert set(echo.sources) == {life.relayed}
        assert bool(life.numbers) is channels
    assert life.history == [*BORN, "PERMITTING", "ALLOCATED", *GONE]
    assert not life.allocated.is_set()


@pytest.mark.parametrize("channels", [False, True])
def test_a_life_on_coturn(coturn: tuple[str, int], echo: Echo, channels: bool) -> None:
    """The same states on another server, renewal and all."""
    with Hasty(coturn, USERNAME, PASSWORD, channels=channels) as life:
        life.io.peer.send(to(echo))
        assert life.io.peer.recv()[Raw].load == b"hello"
        until(lambda: life.history.count("REFRESHING") > 1 and life.history.count("PERMITTING") > 1)
    assert life.history[:6] == [*BORN, "PERMITTING", "ALLOCATED"]
    assert life.history[-2:] == GONE
    assert life.refused == {}


def test_ipv6(server: TurnServerProcess, echo6: Echo) -> None:
    with living(server, family=6) as life:
        life.io.peer.send(to(echo6))
        assert life.io.peer.recv()[IPv6].src == "::1"


@pytest.mark.parametrize("channels", [False, True])
def test_everything_is_renewed(server: TurnServerProcess, echo: Echo, channels: bool) -> None:
    """And what is renewed goes on to work; two automata have timers of their own."""
    with living(server, Hasty, channels=channels) as life, living(server) as other:
        life.io.peer.send(to(echo))
        until(lambda: life.history.count("REFRESHING") > 2 and life.history.count("PERMITTING") > 2)
        life.io.peer.send(to(echo, b"again"))
        assert [life.io.peer.recv()[Raw].load for _ in range(2)] == [b"hello", b"again"]
        assert len(life.numbers) == channels
        assert other.history == BORN


def test_a_stale_nonce(server: TurnServerProcess) -> None:
    """RFC 8489 §9.2.5: a 438 is answered with its nonce, and the life goes on."""
    with living(server, Hasty) as life:
        assert life.credential.nonce is not None
        life.credential.nonce = life.credential.nonce[:-4] + b"0000"
        until(lambda: ["REFRESHING", "REFRESHING", "ALLOCATED"] in [life.history[at : at + 3] for at in range(50)])
    assert life.history[-2:] == GONE


def test_peers_that_are_refused(server: TurnServerProcess, echo: Echo) -> None:
    """It lives on, and other packets are relayed."""
    with living(server) as life:
        life.io.peer.send(IP(dst="10.0.0.1") / UDP(dport=9) / Raw(b"x"))
        life.io.peer.send(IP() / ICMP())
        life.io.peer.send("nonsense")
        life.io.peer.send(to(echo))
        assert life.io.peer.recv()[Raw].load == b"hello"
        assert list(life.refused) == ["10.0.0.1"]
        assert life.refused["10.0.0.1"].startswith("403 Forbidden")


def test_errors_of_peers(server: TurnServerProcess) -> None:
    """RFC 8656 §11.5."""
    closed = refused_address()
    with living(server) as life:
        packet = IP(dst="127.0.0.1") / UDP(sport=7, dport=closed.port) / Raw(b"x")
        # The system reports an error with the next packet at the latest.
        until(lambda: life.io.peer.send(packet) and not life.inbox.empty())
        answer = life.io.peer.recv()
        assert (answer[ICMP].type, answer[ICMP].code) == (3, 3)


def test_wrong_password(server: TurnServerProcess) -> None:
    life = TurnAutomaton(("127.0.0.1", server.port), USERNAME, "wrong")
    with pytest.raises(Automaton.ErrorState, match=r"REFUSED.*401"), life:
        pass
    assert life.history == ["BEGIN", "ALLOCATING", "ALLOCATING", "REFUSED"]
    life.close()


def test_silence() -> None:
    """It asks again, with the same transaction, and gives up."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mute:
        mute.bind(("127.0.0.1", 0))
        life = TurnAutomaton(mute.getsockname(), "u", "p", patience=1.0)
        with pytest.raises(Automaton.ErrorState, match="SILENT"):
            life.run()
        assert life.history == ["BEGIN", "ALLOCATING", "SILENT"]
        assert mute.recv(2000) == mute.recv(2000)
    life.close()


def test_nobody_is_there() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        life = TurnAutomaton(closed.getsockname(), "u", "p", transport="tcp")
        with pytest.raises(OSError, match="refused"):
            life.run()
        life.close()


def test_a_stream_that_ends() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        life = TurnAutomaton(listener.getsockname()[:2], "u", "p", transport="tcp")
        listener.accept()[0].close()
        with pytest.raises(EOFError):
            life.run()
    life.close()


def test_stopped_before_it_has_anything() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mute:
        mute.bind(("127.0.0.1", 0))
        life = TurnAutomaton(mute.getsockname(), "u", "p")
        life.runbg()
        until(lambda: "ALLOCATING" in life.history)
        life.close()
    assert life.history == ["BEGIN", "ALLOCATING", *GONE]


def test_a_request_that_is_replaced(server: TurnServerProcess) -> None:
    """What interception points are for: the server is asked something else, and says what it thinks of it."""
    life = TurnAutomaton(("127.0.0.1", server.port), USERNAME, PASSWORD)
    life.add_interception_points(TurnAutomaton.ALLOCATING)
    with pytest.raises(Automaton.InterceptionPoint) as caught:
        life.run()
    assert caught.value.packet.attribute(StunRequestedTransport).protocol == 17
    with pytest.raises(Automaton.InterceptionPoint) as caught:
        life.accept_packet(wait=True)
    changed = life.credential.request("Allocate", StunRequestedTransport(protocol=99), StunLifetime())
    changed.transaction_id = caught.value.packet.transaction_id
    with pytest.raises(Automaton.ErrorState, match="442"):
        life.accept_packet(changed, wait=True)
    life.close()


def test_answers_of_others(server: TurnServerProcess) -> None:
    """Neither unsigned, nor of another transaction, nor of peers that cannot be."""
    with living(server) as life:
        life._request = StunMessage(method="Refresh")
        identity = life._request.transaction_id
        forged = StunMessage(method="Refresh", msgclass="success", transaction_id=identity)
        assert life._answer(StunMessage(bytes(forged))) is None
        assert life._answer(ChannelData(b"\x40\x07\0\1x")) is None
        assert life._answer(Raw(b"x")) is None
        life._heard(("2001:db8::1", 5), b"x")
        assert life.inbox.empty()


def test_the_graph() -> None:
    """Every state can be reached, and left unless it is an end."""
    graph = TurnAutomaton.build_graph()
    for state in TurnAutomaton.states:
        assert f'"{state}" [' in graph or f'-> "{state}"' in graph
    for edge in (
        '"ALLOCATING" -> "ALLOCATED"',
        '"ALLOCATING" -> "REFUSED"',
        '"PERMITTING" -> "SILENT"',
        '"RELEASING" -> "ENDED"',
    ):
        assert edge in graph


def test_frames_come_one_by_one() -> None:
    """Also those that came with others, which select(2) does not know of."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = WireSocket(Wire(listener.getsockname()[:2], "tcp"))
        far, _ = listener.accept()
        far.sendall(bytes(StunMessage()) + b"\x40\0\0\0" * 3)
        found = []
        while len(found) < 4:
            assert WireSocket.select([near], 60) == [near]
            packet = near.recv()
            if packet is not None:
                found.append(type(packet))
        assert found == [StunMessage, ChannelData, ChannelData, ChannelData]
        assert near.recv() is None
        far.close()
        assert WireSocket.select([near], 60) == [near]
        with pytest.raises(EOFError):
            near.recv()
        near.close()


def test_threads_end(server: TurnServerProcess) -> None:
    """Nothing of a life remains."""
    before = threading.active_count()
    with living(server):
        assert threading.active_count() > before
    until(lambda: threading.active_count() <= before)
