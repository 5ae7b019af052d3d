"""An allocation as a client knows it."""

import pytest

from stun.address import Address
from stun.client.events import AllocationGrant
from stun.constants import AddressFamily

V4, V6 = Address.parse("203.0.113.1", 50000), Address.parse("2001:db8::1", 50000)


def test_the_address_of_an_allocation() -> None:
    both = AllocationGrant((V4, V6), None, 600)
    assert both.address == V4
    assert both.of_family(AddressFamily.IPV6) == V6
    with pytest.raises(LookupError, match="IPV6"):
        AllocationGrant((V4,), None, 600).of_family(AddressFamily.IPV6)
