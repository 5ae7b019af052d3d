"""How a NAT filters (RFC 5780 §4.4), and servers that do not do what they are asked."""

import pytest

from stun.address import Address
from stun.attributes import CHANGE_REQUEST
from stun.client.nat.filtering import filtering_test
from stun.client.nat.findings import Behavior, Dependence
from tests.support.nat_world import ALTERNATE, PRIMARY, NatWorld, SimNat, SimServer

PORT_ONLY = Address(PRIMARY.ip, ALTERNATE.port)


def found(nat: SimNat, server: SimServer) -> Behavior:
    return NatWorld(nat, server).run(filtering_test((1, 2, 3), PRIMARY, ALTERNATE))


@pytest.mark.parametrize("filtering", list(Dependence))
@pytest.mark.parametrize("mapping", [None, *Dependence])
def test_filtering(mapping: Dependence | None, filtering: Dependence) -> None:
    """Tests II and III, behind every mapping and behind a firewall."""
    assert found(SimNat(mapping, filtering), SimServer()) == Behavior((filtering,))


def test_a_server_that_ignores_change_request_is_not_believed() -> None:
    """Its answer comes from where it was asked, which every NAT lets in: that is no endpoint-independent filtering."""
    verdict = found(SimNat(), SimServer(obeys_change=False))
    assert (verdict.possible, "does not do what CHANGE-REQUEST says" in verdict.why) == ((), True)


@pytest.mark.parametrize(("code", "why"), [(420, "refuses CHANGE-REQUEST (420)"), (500, "with the error 500")])
def test_a_server_that_refuses(code: int, why: str) -> None:
    """RFC 5780 §5: a client has to expect 420."""
    verdict = found(SimNat(), SimServer(refuses={CHANGE_REQUEST.number: code}))
    assert verdict.possible == ()
    assert why in verdict.why


def test_loss_is_made_up_for() -> None:
    """RFC 8489 §6.2.1: the first transmission of each request is lost."""
    seen: set[bytes] = set()

    def loses(source: Address, to: Address, data: bytes) -> bool:
        new = data not in seen
        seen.add(data)
        return new

    nat = SimNat(filtering=Dependence.ADDRESS_DEPENDENT, loses=loses)
    assert found(nat, SimServer()) == Behavior((Dependence.ADDRESS_DEPENDENT,))


@pytest.mark.parametrize(
    ("filtering", "silent", "possible"),
    [
        (Dependence.ENDPOINT_INDEPENDENT, [ALTERNATE], ("endpoint-independent", "address-dependent")),
        (Dependence.ADDRESS_DEPENDENT, [ALTERNATE], ("endpoint-independent", "address-dependent")),
        (Dependence.ENDPOINT_INDEPENDENT, [PORT_ONLY, ALTERNATE], ()),
        (Dependence.ADDRESS_AND_PORT_DEPENDENT, [PORT_ONLY, ALTERNATE], ()),
        (Dependence.ADDRESS_DEPENDENT, [PORT_ONLY], ("address-dependent", "address and port-dependent")),
        (Dependence.ENDPOINT_INDEPENDENT, [PORT_ONLY], ("endpoint-independent",)),
    ],
)
def test_silence_of_an_address_that_never_answers_says_nothing(
    filtering: Dependence, silent: list[Address], possible: tuple[str, ...]
) -> None:
    """Half a server would make every NAT one that filters."""
    behavior = found(SimNat(filtering=filtering), SimServer(silent_at=tuple(silent)))
    assert behavior.possible == possible
    assert behavior.why == (
        ""
        if len(possible) == 1
        else f"the server does not answer at {' and '.join(map(str, silent))} either, so that its silence says nothing"
    )
