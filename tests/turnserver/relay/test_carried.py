"""The sums of all relays, by direction and by cause: exact, and never smaller than they were."""

import pytest

from stun.address import Address
from tests.support.datapath_world import HandClock, MemoryClients, RecordingSink, client
from tests.support.peer import UdpPeer
from tests.support.tcp_pair import eventually
from turnserver.core.types import Counters, RelayId, Route
from turnserver.faults import Faults
from turnserver.losses import Drops
from turnserver.relay.carried import NOTHING_CARRIED, Carried, carried
from turnserver.relay.counting import CountingDatapath
from turnserver.relay.sockets import AsyncioDatapath

CHANNEL = 0x4001
ONE, TWO = RelayId(1), RelayId(2)


def test_nothing() -> None:
    assert carried([], NOTHING_CARRIED) == Carried(Counters(), Drops())


async def test_what_is_closed_stays_in_the_sums() -> None:
    """Both directions, and a stranger's datagram, which has no permission."""
    clock, clients = HandClock(), MemoryClients()
    inner = AsyncioDatapath(clock=clock)
    datapath = CountingDatapath(inner, Faults())
    datapath.attach(RecordingSink(), clients)
    try:
        with UdpPeer() as peer, UdpPeer() as stranger:
            relayed = []
            for relay in (ONE, TWO):
                with UdpPeer() as probe:
                    relayed.append(probe.address)
                datapath.open_relay(relay, relayed[-1])
                datapath.add_route(Route(client(40000 + relay), CHANNEL, relay, peer.address, clock.now + 600))
            for relay, size in ((ONE, 10), (TWO, 20)):
                path = clients.path(client(40000 + relay))
                assert path is not None
                assert path.channels[CHANNEL].send(bytes(size))
                peer.send(bytes(3 * size), relayed[relay - 1])
                await path.next()
                stranger.send(b"no", relayed[relay - 1])
            await eventually(lambda: datapath.carried().drops.unpermitted == 2)
            expected = Carried(Counters(2, 30, 2, 90, 2), Drops(unpermitted=2))
            assert datapath.carried() == expected
            assert datapath.totals == expected.counters, "the sum of each relay's own counters"
            datapath.close_relay(ONE)
            assert datapath.carried() == expected
            datapath.close_relay(TWO)
            assert datapath.carried() == expected
            assert datapath.totals == expected.counters
    finally:
        datapath.close()
    assert datapath.carried() == expected


async def test_a_peer_of_another_family_is_unsent() -> None:
    datapath = AsyncioDatapath()
    datapath.attach(RecordingSink(), MemoryClients())
    try:
        with UdpPeer() as probe:
            address = probe.address
        datapath.open_relay(ONE, address)
        datapath.send_to_peer(ONE, Address.parse("::1", 9), b"x", False)
        assert datapath.carried() == Carried(Counters(dropped=1), Drops(unsent=1))
    finally:
        datapath.close()


class Plain:
    """A datapath that does not know its sums."""

    name = "plain"

    def open_relay(self, relay: RelayId, bind: Address) -> bool:
        return True

    def close_relay(self, relay: RelayId) -> None: ...

    def counters(self, relay: RelayId) -> Counters:
        return Counters(1, 2, 3, 4, 5)

    def close(self) -> None: ...


def test_of_another_datapath_each_relay_is_asked() -> None:
    datapath = CountingDatapath(Plain(), Faults())  # type: ignore[arg-type]
    datapath.open_relay(ONE, Address.parse("192.0.2.1", 50000))
    datapath.open_relay(TWO, Address.parse("192.0.2.1", 50001))
    assert datapath.carried() == Carried(Counters(2, 4, 6, 8, 10), Drops())
    assert datapath.carried(Counters(1)) == Carried(Counters(1), Drops())


class Broken(Plain):
    """One that raises from its second answer on."""

    answers = 0

    def carried(self) -> Carried:
        self.answers += 1
        if self.answers > 1:
            raise ValueError("broken")
        return Carried(Counters(7), Drops())


def test_one_that_raises_counts_on_from_where_it_was() -> None:
    """A counter that fell to zero would look like a restart, and what follows like traffic."""
    faults = Faults()
    datapath = CountingDatapath(Broken(), faults)  # type: ignore[arg-type]
    assert [datapath.carried().counters.packets_to_peers for _ in range(3)] == [7, 7, 7]
    assert faults.counts == {"datapath.carried": 2}


@pytest.mark.parametrize("relays", [300])
async def test_with_very_many_relays_nobody_asks_the_system(relays: int, monkeypatch: pytest.MonkeyPatch) -> None:
    datapath = AsyncioDatapath()
    datapath.attach(RecordingSink(), MemoryClients())
    asked: list[object] = []
    try:
        for number in range(relays):
            with UdpPeer() as probe:
                address = probe.address
            datapath.open_relay(RelayId(number), address)
        monkeypatch.setattr("turnserver.net._kernel_drops", lambda sock: asked.append(sock) or 0)
        assert datapath.carried() == NOTHING_CARRIED
        assert asked == []
    finally:
        datapath.close()
