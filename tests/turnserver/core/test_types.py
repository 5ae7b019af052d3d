"""The shared words."""

import pytest

from stun.constants import TransportProtocol
from turnserver.core.types import ClientTransport


@pytest.mark.parametrize("transport", list(ClientTransport))
def test_what_follows_from_a_transport(transport: ClientTransport) -> None:
    """RFC 8656 §3.1, §12.5, RFC 6062 §4.1: TCP and TLS have a connection, padding and TCP relays; DTLS has two."""
    stream = transport in (ClientTransport.TCP, ClientTransport.TLS)
    assert transport.connected is (stream or transport is ClientTransport.DTLS)
    assert transport.proven is transport.connected
    assert transport.stream is stream
    assert transport.padded is transport.connected
    assert transport.tcp_relays is stream
    assert transport.port_space is (TransportProtocol.TCP if stream else TransportProtocol.UDP)


def test_uris() -> None:
    """RFC 7065 §3.1, RFC 7350 §4.6.2: turns: where there is TLS or DTLS."""
    uris = [("turn", "udp"), ("turn", "tcp"), ("turns", "tcp"), ("turns", "udp")]
    assert [transport.uri for transport in ClientTransport] == uris


def test_names() -> None:
    """What logs and messages call them; each is one object, and two transports never are the same key."""
    assert [transport.label for transport in ClientTransport] == ["udp", "tcp", "tls", "dtls"]
    assert len({*ClientTransport}) == 4
