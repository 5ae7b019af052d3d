"""What another server sees. `tests/net/test_doctor.py` has one that looks through NATs and firewalls."""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from cli.doctor.checks import outside as checked
from cli.doctor.checks.outside import Responder, outside
from cli.doctor.elsewhere import NotAsked
from cli.doctor.findings import Severity
from cli.doctor.host import Host
from stun.address import Address
from turnserver import probing
from turnserver.probing import probe_back
from turnserver.signaling.edge.answers import ProbeAnswer
from turnserver.signaling.edge.probes import ProbePort

OWN = "192.0.2.1"
OPTIONS: dict[str, Any] = {
    "listeners": [{"transport": each, "address": OWN, "port": 3478} for each in ("udp", "tcp")],
    "signaling": {"urls": ["turn:turn.example.org:3478"]},
}


class Other:
    """A server that answers as a test says: the outcome of each port, others are answered."""

    def __init__(self, client: str = OWN, offset: float = 0.0, **outcomes: str) -> None:
        self.client, self.offset, self.outcomes = client, offset, outcomes
        self.asked: list[Any] = []

    async def probe(self, own: Address, ports: Sequence[tuple[str, int]], name: str) -> ProbeAnswer:
        self.asked.append((own.host, list(ports), name))
        found = [
            {"protocol": protocol, "port": port, "outcome": self.outcomes.get(f"{protocol}{port}", "answered")}
            for protocol, port in ports
        ]
        return ProbeAnswer.model_validate({"client": self.client, "time": time.time() + self.offset, "ports": found})


@pytest.fixture
def examined(make: Callable[..., Host], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Two relay ports stand open in place of real ones."""

    async def answering(stack: object, host: Host, ip: bytes) -> list[int]:
        return [49152, 65535]

    monkeypatch.setattr(checked, "_answering", answering)

    async def call(other: Any, **options: Any) -> list[tuple[Severity, str]]:
        found = await outside(make({**OPTIONS, **options}, elsewhere=other))
        return [(each.grade, each.what) for each in found]

    return call


async def test_all_is_reached(examined: Callable[..., Any]) -> None:
    """Every port of a listener, and both ends of the relays; the name is for the certificate."""
    other = Other()
    assert await examined(other) == [
        (Severity.OK, f"{OWN} is seen from elsewhere as {OWN}."),
        (Severity.OK, "Reached from elsewhere: udp 3478, tcp 3478, udp 49152, udp 65535."),
    ]
    ports = [("udp", 3478), ("tcp", 3478), ("udp", 49152), ("udp", 65535)]
    assert other.asked == [(OWN, ports, "turn.example.org")]


async def test_ports_that_are_shut(make: Callable[..., Host], examined: Callable[..., Any]) -> None:
    """Each with its own reason; a certificate that is not trusted is no closed port."""
    found = await examined(Other(udp3478="silent", tcp3478="untrusted", udp65535="refused"))
    assert [grade for grade, _ in found] == [Severity.OK, *[Severity.WRONG] * 3, Severity.OK]
    assert "udp 192.0.2.1 port 3478 is not reached" in found[1][1]
    assert "certificate is not trusted" in found[2][1]
    assert found[4][1] == "Reached from elsewhere: udp 49152."


async def test_another_address(examined: Callable[..., Any]) -> None:
    """Clients are told one that is not the server's; with ``auto`` the server finds out by itself."""
    found = await examined(Other("203.0.113.9"))
    assert found[0] == (Severity.WRONG, f"{OWN} is seen from elsewhere as 203.0.113.9, and clients are told {OWN}.")
    relay = {"external": "auto", "stun_server": "stun:203.0.113.7"}
    assert (await examined(Other("203.0.113.9"), relay=relay))[0][0] is Severity.OK


@pytest.mark.parametrize("offset", [-100.0, 100.0])
async def test_clocks_that_differ(examined: Callable[..., Any], offset: float) -> None:
    """Either of the two may be wrong."""
    found = await examined(Other(offset=offset))
    assert found[-1][0] is Severity.WARNING
    assert "s apart" in found[-1][1]


async def test_nobody_to_ask(make: Callable[..., Host]) -> None:
    """Not checked, and how to; the same if the other server refuses, or nobody is reached directly."""

    class Refusing:
        async def probe(self, own: Address, ports: object, name: str) -> ProbeAnswer:
            raise NotAsked("it refuses.")

    (found,) = await outside(make(OPTIONS))
    assert (found.grade, "--from" in found.mend[0]) == (Severity.NOT_CHECKED, True)
    (found,) = await outside(make({"listeners": [{"transport": "udp", "address": "127.0.0.1"}]}, elsewhere=Other()))
    assert found.grade is Severity.NOT_CHECKED
    (found,) = await outside(make(OPTIONS, elsewhere=Refusing()))
    assert (found.grade, found.what) == (Severity.NOT_CHECKED, "it refuses.")


async def test_in_place_of_a_relay(monkeypatch: pytest.MonkeyPatch) -> None:
    """It answers Binding requests as a prober sends them, and drops anything else."""
    monkeypatch.setattr(probing, "has_address", lambda ip: False)
    monkeypatch.setattr(probing, "PATIENCE", 20.0)
    transport, responder = await asyncio.get_running_loop().create_datagram_endpoint(
        Responder, local_addr=("127.0.0.1", 0)
    )
    try:
        number = transport.get_extra_info("sockname")[1]
        responder.datagram_received(b"nothing", ("127.0.0.1", 9))
        (found,) = await probe_back("127.0.0.1", [ProbePort(protocol="udp", port=number)], "")
    finally:
        transport.close()
    assert found.outcome == "answered"
