"""What is said of the way from outside; `test_steps` has the whole probe, and ``tests/net`` real firewalls."""

from cli.probe.reaching import Places, Reach
from stun.address import Address
from turnserver.relay_advice import is_private

SERVER, SEEN = Address.parse("192.0.2.1", 3478), Address.parse("198.51.100.7", 9)


class Elsewhere:
    """A socket that is nowhere but at an address."""

    refused = 0

    def __init__(self, host: str) -> None:
        self.source = Address.parse(host, 4000)

    def send(self, data: bytes) -> None:
        raise AssertionError("nothing is sent")

    async def incoming(self, seconds: float) -> bytes | None:
        return None

    async def close(self) -> None:
        pass


def test_who_the_peer_is() -> None:
    """Behind a NAT, the server lets in the public side; in the other family only this machine's own is known."""
    places = Places(SERVER, SEEN)
    assert places.peer(Address.parse("10.0.0.9", 4000)) == SEEN
    assert places.peer(Address.parse("2001:db8::9", 4000)) == Address.parse("2001:db8::9", 4000)


def test_ports_in_words() -> None:
    relayed = tuple(Address.parse("203.0.113.9", port) for port in (50001, 50000))
    assert Places(SERVER, SEEN, relayed).ports == "ports 50000 and 50001"
    assert Places(SERVER, SEEN, relayed[:1]).ports == "port 50001"


def test_a_relay_on_this_machine() -> None:
    for source, relayed, local in (
        ("10.0.0.9", "10.0.0.9", True),
        ("127.0.0.1", "127.0.0.2", True),
        ("10.0.0.9", "10.0.0.8", False),
    ):
        assert Reach(Elsewhere(source), Address.parse(relayed, 50000)).local is local


def test_private_addresses() -> None:
    hosts = {
        "10.0.0.1": True,
        "100.64.0.1": True,
        "fd00::1": True,
        "127.0.0.1": False,
        "203.0.113.1": False,
        "::1": False,
    }
    assert {host: is_private(Address.parse(host, 0).ip) for host in hosts} == hosts
