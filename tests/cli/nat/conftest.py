"""A server with RFC 5780 on loopback, in the loop of the test."""

import pytest

from stun.address import Address
from tests.support.nat_world import SimServer
from tests.support.server import free_port


@pytest.fixture
def server() -> SimServer:
    """At two addresses of loopback; `tests.support.nat_server.serving` makes it answer."""
    port = free_port(2)
    return SimServer(Address.parse("127.0.0.1", port), Address.parse("127.0.0.2", port + 1))
