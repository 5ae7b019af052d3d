"""Which URI is opened how."""

from turnserver.turnclient.openers import OPENERS


def test_there_is_a_link_for_each_protocol() -> None:
    """RFC 7065 §3.1, RFC 7350 §4.6.2."""
    assert set(OPENERS) == {"udp", "tcp", "tls", "dtls"}
