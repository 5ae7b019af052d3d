"""Whether UDP datagrams in fragments pass (RFC 5780 §3.5)."""

import pytest

from stun.attributes import PADDING
from stun.client.nat.findings import Behavior, Trial
from stun.client.nat.fragments import LARGEST_MTU, fragments_test
from stun.message import Message
from tests.support.nat_world import PRIMARY, NatWorld, SimNat, SimServer

PADS = 1500


def found(nat: SimNat, server: SimServer, mtu: int = 1500) -> Behavior:
    return NatWorld(nat, server).run(fragments_test((5, 6), PRIMARY, mtu))


@pytest.mark.parametrize(
    ("out", "back", "pads", "verdict", "why"),
    [
        (True, True, None, Trial.YES, ""),
        (True, True, PADS, Trial.YES, ""),
        (True, True, 4, Trial.YES, "only those that this host sends"),
        (False, True, None, Trial.NO, "this host sends, or those of the answers"),
        (True, False, None, Trial.NO, "this host sends, or those of the answers"),
        (False, True, PADS, Trial.NO, "those that this host sends do not arrive; those of answers do"),
        (True, False, PADS, Trial.NO, "those of the server's answers"),
    ],
)
def test_fragments(out: bool, back: bool, pads: int | None, verdict: Trial, why: str) -> None:
    """Each direction, with servers that pad as much as they got, as much as their MTU, or less."""
    behavior = found(SimNat(fragments_out=out, fragments_in=back), SimServer(pads=pads))
    assert behavior.possible == (verdict,)
    assert why in behavior.why
    assert bool(behavior.why) == bool(why)


@pytest.mark.parametrize(("code", "why"), [(420, "does not know PADDING (420)"), (400, "with the error 400")])
def test_a_server_that_refuses(code: int, why: str) -> None:
    """PADDING is optional for servers."""
    behavior = found(SimNat(), SimServer(refuses={PADDING.number: code}))
    assert (behavior.possible, why in behavior.why) == ((), True)


@pytest.mark.parametrize(("mtu", "size"), [(1500, 1500), (1281, 1284), (1280, 1280)])
def test_the_padding_is_as_long_as_the_mtu(mtu: int, size: int) -> None:
    """RFC 5780 §7.6: rounded up to a multiple of four."""
    world = NatWorld()
    world.run(fragments_test((5, 6), PRIMARY, mtu))
    assert [len(Message.decode(data).first(PADDING) or b"") for _, _, _, data in world.sent] == [size, 16]


def test_an_interface_without_fragments() -> None:
    """Loopback takes 64 KiB in one packet."""
    world = NatWorld()
    behavior = world.run(fragments_test((5, 6), PRIMARY, LARGEST_MTU + 1))
    assert (behavior.possible, bool(behavior.why), world.sent) == ((), True, [])


def test_what_cannot_be_sent_is_no_verdict() -> None:
    """A datagram that the system refuses says nothing about the network."""
    script = fragments_test((5, 6), PRIMARY, 1500)
    world = NatWorld(SimNat(blocked=True))
    original = world._from_host

    def refuse(number: int, to: object, data: bytes) -> None:
        original(number, PRIMARY, data)
        if number == 5:
            world.dialogue.failed(5, PRIMARY, "it cannot be sent: Message too long", world.now)

    world._from_host = refuse  # type: ignore[method-assign,assignment]
    assert world.run(script) == Behavior((), "it cannot be sent: Message too long")
