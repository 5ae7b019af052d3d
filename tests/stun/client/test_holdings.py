"""What a client holds at its server, and until when (RFC 8656 §7–§12)."""

import pytest

from stun.address import Address
from stun.client.errors import NoAllocation, NoAnswer
from stun.client.events import AllocationGrant, AllocationLost, ChannelLost, PermissionLost
from stun.client.holdings import HeldChannel, Holding, Holdings

PEER, OTHER = Address.parse("192.0.2.1", 5000), Address.parse("192.0.2.2", 5000)
SAME_HOST = Address.parse("192.0.2.1", 5001)
GRANTED = AllocationGrant((Address.parse("203.0.113.1", 50000),), None, 600)


def opened(lifetime: int = 600, *, renewing: bool = True) -> Holdings:
    holdings = Holdings(renewing=renewing)
    holdings.opened(GRANTED._replace(lifetime=lifetime), 0.0)
    return holdings


def bound(holdings: Holdings, peer: Address = PEER, number: int | None = None, at: float = 0.0) -> HeldChannel:
    channel = holdings.reserve(peer, number, at)
    holdings.bound(channel, at)
    return channel


@pytest.mark.parametrize(("lifetime", "renew"), [(600, 540), (3600, 3540), (120, 60), (60, 30), (1, 0.5)])
def test_renewal_is_a_minute_before_the_end(lifetime: int, renew: float) -> None:
    """RFC 8656 §8: in time for a whole transaction with its retransmissions; of a short life, at half of it."""
    holding = Holding.lasting(1000.0, lifetime)
    assert (holding.until, holding.renew) == (1000.0 + lifetime, 1000.0 + renew)
    assert holding.is_due(1000.0 + renew)
    assert not holding.is_due(1000.0 + renew - 0.1)
    holding.pending = True
    assert not holding.is_due(1000.0 + lifetime)


def test_without_an_allocation_nothing_is_due() -> None:
    holdings = Holdings(renewing=True)
    assert holdings.deadline() is None
    assert holdings.lapse(1e9) == []


def test_the_next_moment() -> None:
    """Renewals count where things are renewed, ends in any case."""
    assert opened().deadline() == 540.0
    holdings = opened(renewing=False)
    assert holdings.deadline() == 600.0
    holdings.permitted(PEER.ip, 0.0)
    assert holdings.deadline() == 300.0
    holdings.closed()
    assert holdings.deadline() is None


def test_what_has_ended_is_told_once() -> None:
    """RFC 8656 §9, §12: permissions after 300 seconds, channels after 600, everything with the allocation."""
    holdings = opened(3600)
    bound(holdings)
    assert holdings.lapse(299.9) == []
    assert holdings.lapse(300.0) == [PermissionLost(PEER.ip, None)]
    assert holdings.channel_to(PEER, 300.0) == 0x4000
    assert holdings.lapse(600.0) == [ChannelLost(0x4000, PEER, None)]
    assert holdings.channel_to(PEER, 600.0) is None
    assert holdings.lapse(3600.0) == [AllocationLost(None)]
    assert holdings.allocation is None
    assert holdings.lapse(3601.0) == []


def test_the_end_says_why_it_was_not_renewed() -> None:
    holdings = opened()
    trouble = holdings.trouble = NoAnswer(7, 39.5)
    (lost,) = holdings.lapse(600.0)
    assert isinstance(lost, AllocationLost)
    assert lost.error is trouble


def test_a_binding_permits_its_peer() -> None:
    """RFC 8656 §12.2."""
    holdings = opened()
    bound(holdings, at=100.0)
    assert holdings.is_permitted(PEER.ip, 399.0)
    assert not holdings.is_permitted(PEER.ip, 400.0)
    assert not holdings.is_permitted(OTHER.ip, 100.0)


def test_permissions_due_soon_go_along() -> None:
    """RFC 8656 §10: one request for those that are due and those that will be in half a minute."""
    holdings = opened(3600)
    for at, peer in ((0.0, PEER), (20.0, OTHER), (200.0, Address.parse("192.0.2.3", 1))):
        holdings.permitted(peer.ip, at)
    assert holdings.due_permissions(239.9) == []
    assert holdings.due_permissions(240.0) == [PEER.ip, OTHER.ip]


def test_numbers_are_given_out_in_order() -> None:
    """RFC 8656 §12: 0x4000 to 0x4FFF, one for each peer, the same for the same peer."""
    holdings = opened()
    assert [bound(holdings, peer).number for peer in (PEER, OTHER, PEER)] == [0x4000, 0x4001, 0x4000]
    assert bound(holdings, SAME_HOST, 0x4FFF).number == 0x4FFF


@pytest.mark.parametrize("number", [0x3FFF, 0x5000, 0x7FFF])
def test_numbers_out_of_range(number: int) -> None:
    with pytest.raises(ValueError, match="no channel number"):
        opened().reserve(PEER, number, 0.0)


def test_a_number_is_one_peers_and_a_peer_has_one_number() -> None:
    """RFC 8656 §12: the server would answer 400."""
    holdings = opened()
    bound(holdings)
    with pytest.raises(ValueError, match=r"belongs to 192\.0\.2\.1:5000"):
        holdings.reserve(OTHER, 0x4000, 0.0)
    with pytest.raises(ValueError, match="has the channel 0x4000 already"):
        holdings.reserve(PEER, 0x4001, 0.0)


def test_a_number_rests_before_it_goes_to_another_peer() -> None:
    """RFC 8656 §12: not until five minutes after the binding has ended; the same peer gets it back sooner."""
    holdings = opened(3600)
    bound(holdings)
    holdings.lapse(600.0)
    assert holdings.reserve(PEER, None, 700.0).number == 0x4000
    holdings = opened(3600)
    bound(holdings)
    holdings.lapse(600.0)
    with pytest.raises(ValueError, match="belongs to"):
        holdings.reserve(OTHER, 0x4000, 899.9)
    assert holdings.reserve(OTHER, 0x4000, 900.0).number == 0x4000
    assert holdings.reserve(PEER, None, 900.0).number == 0x4001


def test_all_numbers_can_be_taken() -> None:
    holdings = opened(3600)
    peers = [Address.parse(f"198.51.{number >> 8}.{number & 255}", 1) for number in range(4096)]
    assert [holdings.reserve(peer, None, 0.0).number for peer in peers] == list(range(0x4000, 0x5000))
    with pytest.raises(NoAllocation, match="4096 channel numbers"):
        holdings.reserve(PEER, None, 0.0)
    for channel in holdings.channels.values():
        holdings.bound(channel, 0.0)
    holdings.lapse(600.0)
    assert holdings.reserve(PEER, None, 900.0).number == 0x4000


def test_a_binding_that_was_refused_frees_its_number() -> None:
    holdings = opened()
    channel = holdings.reserve(PEER, None, 0.0)
    assert holdings.unbound(channel, 0.0, None, known=True) == []
    assert holdings.reserve(OTHER, 0x4000, 0.0).number == 0x4000


def test_a_binding_that_nobody_answered_keeps_its_number() -> None:
    """The server may have bound it: for as long as that could be, the number is not another peer's."""
    holdings = opened(3600)
    channel = holdings.reserve(PEER, None, 0.0)
    assert holdings.unbound(channel, 40.0, None, known=False) == []
    with pytest.raises(ValueError, match="belongs to"):
        holdings.reserve(OTHER, 0x4000, 900.0)
    assert holdings.reserve(PEER, None, 900.0).number == 0x4000
    assert holdings.reserve(OTHER, None, 900.0).number == 0x4001


def test_a_binding_that_is_taken_away_is_told() -> None:
    holdings = opened()
    channel = bound(holdings)
    assert holdings.unbound(channel, 10.0, None, known=True) == [ChannelLost(0x4000, PEER, None)]
    assert holdings.unbound(HeldChannel(until=0, renew=0, number=0x4000, peer=PEER), 10.0, None, known=True) == []


def test_data_may_come_before_the_answer() -> None:
    """RFC 8656 §12: the server relays from the moment of binding, and its answer may be overtaken or lost."""
    holdings = opened()
    channel = holdings.reserve(PEER, None, 0.0)
    assert holdings.peer_of(0x4000, 0.0) is None
    channel.pending = True
    assert holdings.peer_of(0x4000, 0.0) == PEER
    assert holdings.channel_to(PEER, 0.0) is None, "to send over it, it has to be known"


def test_a_peer_that_is_forgotten_runs_out() -> None:
    """There is no request that ends a permission or a channel; another channel to the same host keeps the former."""
    holdings = opened(3600)
    bound(holdings)
    bound(holdings, SAME_HOST)
    holdings.forget(PEER, 10.0)
    assert holdings.channel_to(PEER, 10.0) is None
    assert holdings.is_permitted(PEER.ip, 10.0)
    holdings.forget(SAME_HOST, 10.0)
    assert not holdings.is_permitted(PEER.ip, 10.0)
    assert list(holdings.due_channels(1e6)) == []
    assert holdings.lapse(700.0) == []


def test_another_allocation_begins_with_nothing() -> None:
    holdings = opened()
    bound(holdings)
    generation = holdings.generation
    holdings.opened(GRANTED, 50.0)
    assert (holdings.permissions, holdings.channels) == ({}, {})
    assert holdings.generation > generation
    assert holdings.lost(None) == [AllocationLost(None)]
    assert holdings.lost(None) == []


def test_a_refresh_moves_the_end() -> None:
    holdings = opened()
    holdings.refreshed(1200, 500.0)
    assert holdings.allocation is not None
    assert holdings.allocation.lifetime == 1200
    assert holdings.lapse(1699.0) == []
    assert holdings.lapse(1700.0) == [AllocationLost(None)]
