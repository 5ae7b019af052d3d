"""The answering machine: what it answers, and that other people's clients understand it."""

import re
import subprocess
from collections.abc import Iterator

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.packet import Packet, Raw

from scapy_turn import (
    StunAttribute,
    StunChangeRequest,
    StunErrorCode,
    StunFingerprint,
    StunMappedAddress,
    StunMessage,
    StunMessageIntegritySha256,
    StunOtherAddress,
    StunResponseAddress,
    StunResponseOrigin,
    StunResponsePort,
    StunServer,
    StunSoftware,
    StunUnknownAttributes,
    StunUsername,
    StunXorMappedAddress,
    sign,
    verify,
)
from scapy_turn.wire import Wire
from tests.support.server import free_port
from tests.support.tools import require_tool

CLIENT, SERVER, OTHER = ("192.0.2.9", 40000), ("192.0.2.1", 3478), ("192.0.2.2", 3479)


def ask(message: Packet, machine: StunServer | None = None) -> Packet | None:
    """What a machine makes of a packet, without sockets."""
    packet = IP(src=CLIENT[0], dst=SERVER[0]) / UDP(sport=CLIENT[1], dport=SERVER[1]) / message
    machine = machine or StunServer(address=SERVER, verbose=False)
    packet = IP(bytes(packet))
    return machine.make_reply(packet) if machine.is_request(packet) else None


def answer(message: Packet, machine: StunServer | None = None) -> StunMessage:
    """The response that a client would get; it has to be one to this request."""
    reply = ask(message, machine)
    assert reply is not None
    assert (reply[IP].dst, reply[UDP].dport) == CLIENT
    found = IP(bytes(reply))[StunMessage]
    assert found.answers(message)
    return found


def test_binding() -> None:
    """RFC 8489 §7.3.1; FINGERPRINT for those who have sent one, and the name can be left out."""
    found = answer(StunMessage())
    assert [type(part) for part in found.attributes] == [StunXorMappedAddress, StunSoftware]
    assert (found.attributes[0].address, found.attributes[0].port) == CLIENT
    assert verify(answer(StunMessage(attributes=[StunFingerprint()]))).fingerprint
    assert len(answer(StunMessage(), StunServer(address=SERVER, software="")).attributes) == 1
    packet = IPv6(src="2001:db8::9") / UDP(sport=1, dport=3478) / StunMessage()
    reply = StunServer(verbose=False).make_reply(packet)
    assert IPv6(bytes(reply))[StunXorMappedAddress].address == "2001:db8::9"


def test_rfc_3489() -> None:
    """MAPPED-ADDRESS and the same sixteen bytes; and it is never told to answer somebody else."""
    found = answer(StunMessage(cookie=7))
    assert (found.attribute(StunMappedAddress).address, found.attribute(StunXorMappedAddress)) == (CLIENT[0], None)
    assert len(found.attribute(StunSoftware).software) % 4 == 0
    assert bytes(found.attribute(StunSoftware).software).strip() == b"scapy-turn"
    refused = answer(StunMessage(cookie=7, attributes=[StunResponseAddress(address="192.0.2.66", port=7)]))
    assert refused.error == 420


@pytest.mark.parametrize(
    "message",
    [
        StunMessage(msgclass="indication"),
        StunMessage(msgclass="success"),
        StunMessage(msgclass="error"),
        StunMessage(method="Allocate"),
        StunMessage(attributes=[StunFingerprint(crc=1)]),
        Raw(b"\xff" * 20),
    ],
    ids=["indication", "success", "error", "allocate", "fingerprint", "garbage"],
)
def test_what_gets_no_answer(message: Packet) -> None:
    """RFC 8489 §6.3: two such machines do not talk to each other for ever."""
    assert ask(message) is None


def test_unknown_attributes() -> None:
    """RFC 8489 §6.3.1."""
    found = answer(
        StunMessage(attributes=[StunAttribute(type=0x7777), StunAttribute(type=0x8777), StunAttribute(type=2)])
    )
    assert found.error == 420
    assert found.attribute(StunUnknownAttributes).types == [0x7777, 2]
    assert answer(StunMessage(attributes=[StunChangeRequest(change_ip=1)])).error == 420
    assert answer(StunMessage(attributes=[StunChangeRequest()])).error is None


def test_short_term_credentials() -> None:
    """RFC 8489 §9.1.3: 400 without integrity, 401 with a wrong one, and a signed answer of the same kind."""
    machine = StunServer(address=SERVER, key=b"key", username="alice", verbose=False)
    named = StunMessage(attributes=[StunUsername(username="alice")])
    assert answer(named, machine).error == 400
    assert answer(sign(named, b"other"), machine).error == 401
    assert answer(sign(StunMessage(attributes=[StunUsername(username="bob")]), b"key"), machine).error == 401
    assert answer(sign(StunMessage(), b"key"), machine).error == 401
    for sha256 in (False, True):
        found = answer(sign(named, b"key", sha256=sha256), machine)
        assert found.error is None
        assert verify(found, b"key").ok
        assert (found.attribute(StunMessageIntegritySha256) is not None) is sha256
    unknown = StunMessage(attributes=[StunUsername(username="alice"), StunAttribute(type=0x7777)])
    assert verify(answer(sign(unknown, b"key"), machine), b"key").ok


@pytest.mark.parametrize("ip", [0, 1])
@pytest.mark.parametrize("port", [0, 1])
def test_nat_discovery(ip: int, port: int) -> None:
    """RFC 5780 §6.1: whence the answer comes, and where else it could come from."""
    machine = StunServer(address=SERVER, other=OTHER, verbose=False)
    reply = ask(StunMessage(attributes=[StunChangeRequest(change_ip=ip, change_port=port)]), machine)
    assert reply is not None
    expected = ((SERVER, OTHER)[ip][0], (SERVER, OTHER)[port][1])
    assert (reply[IP].src, reply[UDP].sport) == expected
    origin, other = reply[StunMessage].attribute(StunResponseOrigin), reply[StunMessage].attribute(StunOtherAddress)
    assert (origin.address, origin.port) == expected
    assert (other.address, other.port) == OTHER


def test_response_port() -> None:
    """RFC 5780 §7.5: to another port of the same address; only where NAT discovery is on."""
    message = StunMessage(attributes=[StunResponsePort(port=777)])
    reply = ask(message, StunServer(address=SERVER, other=OTHER, verbose=False))
    assert reply is not None
    assert (reply[IP].dst, reply[UDP].dport) == (CLIENT[0], 777)
    assert reply[StunXorMappedAddress].port == CLIENT[1]
    assert answer(message).error == 420


@pytest.fixture
def machine() -> Iterator[StunServer]:
    """On two addresses and two ports of this host."""
    port = free_port(2)
    with StunServer(address=("127.0.0.1", port), other=("127.0.0.2", port + 1), verbose=False) as running:
        yield running


def test_sockets(machine: StunServer, ipv6: None) -> None:
    """From four sockets, and over IPv6; afterwards the ports are free again."""
    for address in (machine.address, machine.other, ("127.0.0.2", machine.address[1])):
        with Wire(address) as wire:
            (found,) = wire.exchange(StunMessage(), 60)
            assert (
                found.attribute(StunXorMappedAddress).address,
                found.attribute(StunXorMappedAddress).port,
            ) == wire.local
    with StunServer(address=("::1", 0), verbose=False) as other, Wire(other.address) as wire:
        (found,) = wire.exchange(StunMessage(), 60)
        assert found.attribute(StunXorMappedAddress).address == "::1"
    machine.close()
    machine.close()
    with StunServer(address=machine.address, verbose=False) as again:
        assert again.address == machine.address


def test_a_port_that_is_taken(machine: StunServer) -> None:
    """Nothing is left open."""
    with pytest.raises(OSError, match="in use"):
        StunServer(address=("127.0.0.3", 0), other=machine.address, verbose=False).bg()


class Liar(StunServer):
    """A server that says something else."""

    def attributes(self, request: StunMessage, *where: object) -> list[Packet]:
        return [StunErrorCode(code=500), StunXorMappedAddress(address="192.0.2.77", port=7)]


def test_other_answers() -> None:
    """For tests of clients: a class that overrides one method."""
    machine = Liar(address=SERVER, verbose=False)
    assert answer(StunMessage(), machine).attribute(StunXorMappedAddress).address == "192.0.2.77"


def output(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return done.stdout + done.stderr


def test_turnutils_stunclient(processes: None, machine: StunServer) -> None:
    """coturn's client of RFC 5389 and 5780."""
    port = str(machine.address[1])
    said = output(require_tool("turnutils_stunclient"), "-p", port, "-f", "127.0.0.1")
    assert re.search(r"UDP reflexive addr: 127\.0\.0\.1:[1-9]", said)
    assert f"Other addr: : 127.0.0.2:{machine.other[1]}" in said.replace("\t", " ")


def test_turnutils_natdiscovery(processes: None, machine: StunServer) -> None:
    """It gets verdicts: no NAT, and no filter."""
    port = str(machine.address[1])
    said = output(require_tool("turnutils_natdiscovery"), "-m", "-f", "-p", port, "-L", "127.0.0.1", "127.0.0.1")
    assert "No NAT! (Endpoint Independent Mapping)" in said
    assert "NAT with Endpoint Independent Filtering!" in said


def test_debians_stun(processes: None, machine: StunServer) -> None:
    """A client of RFC 3489."""
    said = output(require_tool("stun"), f"127.0.0.1:{machine.address[1]}")
    assert "Primary: Open" in said
    assert "problem parsing" not in said
