"""Allocations on the real server: authentication, renewal, what is refused, and answers that nobody has signed."""

import socket
import threading
import time
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

import pytest

from scapy_turn import Credential, StunErrorCode, StunLifetime, StunMessage, StunNonce, StunRealm
from scapy_turn.allocation import Allocation, NoAnswer, Refused
from scapy_turn.wire import Wire
from tests.scapy_turn.conftest import Echo
from tests.support.server import PASSWORD, USERNAME, TurnServerProcess


def until(condition: Callable[[], bool]) -> None:
    """Wait for something that another thread does."""
    give_up = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.01)


def wire_of(server: TurnServerProcess, transport: str = "udp") -> Wire:
    return Wire(("127.0.0.1", server.ports[transport]), transport)


@pytest.mark.parametrize("sha256", [False, True])
@pytest.mark.parametrize("channel", [False, True])
def test_data_both_ways(server: TurnServerProcess, echo: Echo, sha256: bool, channel: bool) -> None:
    heard: SimpleQueue[Any] = SimpleQueue()
    credential = Credential(USERNAME, PASSWORD, prefer_sha256=sha256)
    allocation = Allocation(wire_of(server), credential, lambda peer, data: heard.put((peer, data)))
    assert allocation.mapped == allocation.wire.local
    assert credential.sha256 is sha256
    for number in range(3):
        allocation.send(echo.address, b"%d" % number, channel=channel)
        assert heard.get(timeout=60) == (echo.address, b"%d" % number)
    assert set(echo.sources) == {allocation.relayed}
    assert len(allocation.channels) == channel
    allocation.close()
    allocation.close()


def test_everything_is_renewed(server: TurnServerProcess, echo: Echo) -> None:
    """Allocation, permissions and channels, when they are due, and with a nonce that the server no longer takes."""
    allocation = Allocation(wire_of(server), Credential(USERNAME, PASSWORD), lambda peer, data: None)
    allocation.permit("127.0.0.2")
    allocation.bind(echo.address)
    sent: list[StunMessage] = []
    send = allocation.wire.send

    def spy(packet: Any) -> int:
        sent.append(StunMessage(bytes(packet)))
        return send(packet)

    allocation.wire.send = spy  # type: ignore[method-assign]
    assert len(allocation._due) == 3
    allocation._due = dict.fromkeys(allocation._due, 0.0)
    allocation._bell.ring()
    until(lambda: {packet.method for packet in sent} >= {4, 8, 9})
    until(lambda: all(when > time.monotonic() + 100 for when in allocation._due.values()))
    allocation.close()


def test_refusals(server: TurnServerProcess) -> None:
    """A wrong password, and a peer that is not allowed; the server's words come with the error."""
    with pytest.raises(Refused, match="401") as caught:
        Allocation(wire_of(server), Credential(USERNAME, "wrong"), lambda peer, data: None)
    assert caught.value.code == 401
    allocation = Allocation(wire_of(server, "tcp"), Credential(USERNAME, PASSWORD), lambda peer, data: None)
    with pytest.raises(Refused, match="403 Forbidden"):
        allocation.permit("10.0.0.1")
    with pytest.raises(Refused, match="443"):
        allocation.permit("::1")
    allocation.close()


class Impostor:
    """A server that answers everything with what it is told to, and signs nothing."""

    def __init__(self, *answers: Callable[[StunMessage], StunMessage]) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self._answers = answers
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        for answer in self._answers:
            data, source = self.socket.recvfrom(65_535)
            self.socket.sendto(bytes(answer(StunMessage(data))), source)


def challenge(request: StunMessage) -> StunMessage:
    parts = [StunErrorCode(code=401), StunRealm(realm=b"r"), StunNonce(nonce=b"n")]
    return StunMessage(method="Allocate", msgclass="error", transaction_id=request.transaction_id, attributes=parts)


def unsigned(request: StunMessage) -> StunMessage:
    parts = [StunLifetime()]
    return StunMessage(method="Allocate", msgclass="success", transaction_id=request.transaction_id, attributes=parts)


def test_unsigned_answers_do_not_count() -> None:
    """RFC 8489 §9.2.5: a success response that the server has not signed is as none."""
    impostor = Impostor(challenge, unsigned)
    wire = Wire(impostor.socket.getsockname())
    with pytest.raises(NoAnswer, match="Allocate"):
        Allocation(wire, Credential("u", "p"), lambda peer, data: None, patience=0.3)
    impostor.socket.close()


def test_a_mirror_is_no_server() -> None:
    """What comes back as it was sent is signed with the right key, and is a request nevertheless."""
    impostor = Impostor(challenge, lambda request: request)
    with pytest.raises(NoAnswer, match=r"^no answer to Allocate$"):
        Allocation(Wire(impostor.socket.getsockname()), Credential("u", "p"), lambda peer, data: None, patience=0.3)
    impostor.socket.close()


def test_an_answer_without_a_relayed_address_is_no_allocation() -> None:
    impostor = Impostor(unsigned)
    with pytest.raises(NoAnswer, match="no relayed address"):
        Allocation(Wire(impostor.socket.getsockname()), Credential("u", "p"), lambda peer, data: None)
    impostor.socket.close()


def test_a_server_that_goes_away(server: TurnServerProcess) -> None:
    """A closed stream ends what waits for it, at once."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        wire = Wire(listener.getsockname()[:2], "tcp")
        far, _ = listener.accept()
        far.close()
        with pytest.raises(NoAnswer, match=r"closed the connection|reset"):
            Allocation(wire, Credential("u", "p"), lambda peer, data: None, patience=60)
