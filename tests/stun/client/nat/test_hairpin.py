"""Whether a NAT hairpins (RFC 5780 §3.4)."""

import pytest

from stun.client.nat.findings import Dependence, Trial
from stun.client.nat.hairpin import hairpinning_test
from tests.support.nat_world import PRIMARY, NatWorld, SimNat


@pytest.mark.parametrize("one_way", [True, False])
@pytest.mark.parametrize("hairpins", [True, False])
def test_hairpinning(hairpins: bool, one_way: bool) -> None:
    """The request itself comes back, or it does not."""
    nat = SimNat(filtering=Dependence.ENDPOINT_INDEPENDENT, hairpins=hairpins)
    found = NatWorld(nat).run(hairpinning_test((3, 4), PRIMARY, one_way=one_way))
    assert found.possible == ((Trial.YES,) if hairpins else (Trial.NO,))


def test_a_strict_filter_is_opened_from_both_sides() -> None:
    """Requests go both ways, as those of ICE do; one way alone, this NAT would keep them out."""
    nat = SimNat(filtering=Dependence.ADDRESS_AND_PORT_DEPENDENT, hairpins=True)
    assert NatWorld(nat).run(hairpinning_test((3, 4), PRIMARY, one_way=False)).possible == (Trial.YES,)
    assert NatWorld(nat).run(hairpinning_test((5, 6), PRIMARY, one_way=True)).possible == (Trial.NO,)


def test_a_server_that_has_gone_silent() -> None:
    """Then there is no verdict."""
    found = NatWorld(SimNat(blocked=True)).run(hairpinning_test((3, 4), PRIMARY, one_way=False))
    assert (found.possible, found.why) == ((), "the server did not answer two more sockets")
