"""Which link a URI gets."""

import socket

import pytest

from cli.probe.opener import Unsupported, check_transport, opener
from cli.probe.security import Trust
from cli.probe.trouble import LinkError
from stun.address import Address
from stun.uri import StunUri
from turnserver.turnclient.links import StreamLink, UdpLink


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("turn:192.0.2.1?transport=sctp", "SCTP"),
        ("turns:192.0.2.1?transport=quic", "QUIC"),
    ],
)
async def test_other_transports(uri: str, words: str) -> None:
    """RFC 7065 §3.1: what the probe cannot speak is one clear sentence, and no link."""
    with pytest.raises(Unsupported, match=f"over {words} is not supported"):
        check_transport(StunUri.parse(uri))
    with pytest.raises(Unsupported, match=words):
        await opener(Trust(), 1)(StunUri.parse(uri), Address.parse("127.0.0.1", 9))


@pytest.mark.parametrize(
    "uri",
    [
        "turn:h",
        "turn:h?transport=tcp",
        "turns:h",
        "turns:h?transport=tcp",
        "turns:h?transport=udp",
        "stun:h",
        "stuns:h",
    ],
)
def test_what_is_supported(uri: str) -> None:
    """RFC 7064 §3.2, RFC 7065 §3.2: every scheme with its default transport."""
    check_transport(StunUri.parse(uri))


async def test_udp_and_tcp() -> None:
    """RFC 8656 §3.1: the link is of the transport that the URI names."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = Address.parse(*server.getsockname())
        for query, kind in (("udp", UdpLink), ("tcp", StreamLink)):
            opened = await opener(Trust(), 10)(StunUri.parse(f"turn:127.0.0.1?transport={query}"), address)
            assert isinstance(opened.link, kind)
            assert opened.link.reliable == (query == "tcp")
            await opened.link.close()


async def test_no_route_is_one_sentence() -> None:
    """Rule 26: what the kernel refuses at once is a sentence too; a broadcast address takes no datagrams."""
    with pytest.raises(LinkError, match="The server cannot be reached: ") as caught:
        await opener(Trust(), 10)(StunUri.parse("turn:255.255.255.255"), Address.parse("255.255.255.255", 3478))
    assert "routes" in caught.value.hint
