"""The shared words."""

from turnserver.core.types import ClientTransport


def test_which_transports_are_streams() -> None:
    """RFC 8656 §3.1: TCP and TLS are; on them ChannelData is padded and the connection is the 5-tuple."""
    assert [transport for transport in ClientTransport if transport.is_stream] == [
        ClientTransport.TCP,
        ClientTransport.TLS,
    ]
