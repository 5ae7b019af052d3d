"""A server with RFC 5780 on loopback, in the loop of the test."""

import pytest

from stun.address import Address
from tests.support.nat_server import two_ports
from tests.support.nat_world import SimServer


@pytest.fixture
def server() -> SimServer:
    """At two addresses of loopback; `tests.support.nat_server.serving` makes it answer."""
    one, two = two_ports()
    return SimServer(Address.parse("127.0.0.1", one), Address.parse("127.0.0.2", two))
