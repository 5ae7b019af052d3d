"""Which comprehension-required attributes are answered with 420, and which count as absent."""

import pytest

from stun import attributes as a
from stun.constants import MessageClass, Method
from stun.message import Message, MessageBuilder
from tests.support.core_world import PEER, World
from turnserver.core.understood import UNDERSTOOD, not_understood


def message(method: int, *change: int, padding: bool = False) -> Message:
    builder = MessageBuilder(method, MessageClass.REQUEST, bytes(12))
    for flags in change:
        builder.add(a.CHANGE_REQUEST, flags)
    if padding:
        builder.add(a.PADDING, b"1234")
    return Message.decode(builder.build())


@pytest.mark.parametrize("method", [Method.BINDING, Method.ALLOCATE, Method.REFRESH, 0xABC])
@pytest.mark.parametrize("discovers", [False, True])
def test_a_change_request_without_flags_is_absent(method: int, discovers: bool) -> None:
    """Rule 7: whatever the method, and whatever the bits without a meaning say."""
    for flags in (0, 1, 0xFFFFFFF9):
        assert list(not_understood(message(method, flags), discovers=discovers)) == []


@pytest.mark.parametrize("flags", [2, 4, 6, 7])
def test_a_change_request_with_flags_is_not(flags: int) -> None:
    """RFC 5780 §6: 420 without an alternate address, and in requests other than Binding."""
    number = a.CHANGE_REQUEST.number
    assert list(not_understood(message(Method.BINDING, flags))) == [number]
    assert list(not_understood(message(Method.ALLOCATE, flags), discovers=True)) == [number]
    assert list(not_understood(message(Method.BINDING, flags, padding=True), discovers=True)) == []


def test_others_are_named_all_the_same() -> None:
    """RFC 8489 §6.3.1: an absent one does not hide the others."""
    assert list(not_understood(message(Method.BINDING, 0, padding=True))) == [a.PADDING.number]


def test_nothing_of_discovery_is_understood_by_default() -> None:
    """RFC 5780 §6: 420 where there is no alternate address."""
    assert not {a.CHANGE_REQUEST.number, a.PADDING.number, a.RESPONSE_PORT.number} & UNDERSTOOD


def test_a_send_indication_with_an_absent_one_is_carried_out() -> None:
    """Rule 7: absent everywhere, so in indications, too."""
    world = World()
    client = world.client()
    client.allocate()
    client.permit(PEER)
    client.indicate((a.XOR_PEER_ADDRESS, PEER), (a.DATA, b"x"), (a.CHANGE_REQUEST, 0))
    assert [sent.data for sent in world.to_peers] == [b"x"]
    client.indicate((a.XOR_PEER_ADDRESS, PEER), (a.DATA, b"y"), (a.CHANGE_REQUEST, 6))
    assert [sent.data for sent in world.to_peers] == [b"x"]
