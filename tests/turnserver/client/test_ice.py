"""Which TURN server aiortc is given, and what is taken of candidates and descriptions."""

import ssl
from typing import Literal

import pytest
from aiortc import RTCPeerConnection
from aiortc.rtcconfiguration import RTCBundlePolicy, RTCIceTransportPolicy

from turnserver.client.ice import (
    IceChoice,
    bundle_tag,
    candidates_of,
    chosen_pair,
    ice_transport,
    ice_ufrag,
    read_candidate,
)
from turnserver.signaling.protocol.fields import Ice, IceServer

URLS = [
    "stun:h:3478",
    "turn:[::1]:3478?transport=udp",
    "turns:h:443?transport=tcp",
    "turn:h:3478?transport=tcp",
    "turn:h:3478?transport=udp",
    "turn:h:3479",
    "turns:h?transport=udp",
    "turn:h:3478?transport=sctp",
]


def ice(*urls: str, policy: Literal["all", "relay"] = "all") -> Ice:
    return Ice(servers=(IceServer(urls=urls, username="u", credential="c"),), exp=1, policy=policy)


@pytest.mark.parametrize(
    ("via", "url", "transport"),
    [
        (None, "turn:h:3478?transport=udp", "udp"),
        ("udp", "turn:h:3478?transport=udp", "udp"),
        ("tcp", "turn:h:3478?transport=tcp", "tcp"),
        ("tls", "turns:h:443?transport=tcp", "tls"),
    ],
)
def test_the_choice(via: str | None, url: str, transport: str) -> None:
    """aiortc takes one TURN server and no IPv6 literal; UDP first, unless another way is asked for."""
    choice = IceChoice.of(ice(*URLS), via=via)  # type: ignore[arg-type]  literals from a table
    assert (choice.url, choice.transport, choice.username, choice.credential) == (url, transport, "u", "c")
    assert not choice.relay_only
    configuration = choice.configuration()
    assert configuration.iceServers is not None
    assert [server.urls for server in configuration.iceServers] == [url]
    assert configuration.bundlePolicy is RTCBundlePolicy.MAX_BUNDLE


def test_no_choice() -> None:
    """Nothing that can be used: no TURN server, and above all not aiortc's default STUN server of somebody else's."""
    for offered in (None, ice("turn:[::1]"), ice("x" * 5000), Ice(servers=(), exp=1)):
        choice = IceChoice.of(offered)
        assert choice.url == ""
        assert choice.configuration().iceServers == []
    assert IceChoice.of(ice("turn:h"), via="tls").url == ""


@pytest.mark.parametrize(("policy", "asked"), [("relay", False), ("all", True)])
def test_relay_only(policy: Literal["all", "relay"], asked: bool) -> None:
    """The server's policy, or ours."""
    choice = IceChoice.of(ice("turn:h", policy=policy), relay_only=asked)
    assert choice.configuration().iceTransportPolicy is RTCIceTransportPolicy.RELAY


def test_nothing_secret_is_shown() -> None:
    """Credentials stay out of logs."""
    assert "secret" not in repr(IceChoice("turn:h", "u", "secret"))


async def test_the_certificate_check() -> None:
    """``turns:`` servers are checked as the caller says."""
    context = ssl.create_default_context()
    choice = IceChoice.of(ice("turns:h"), tls=context)
    connection = RTCPeerConnection(choice.configuration())
    choice.prepare(connection)
    connection.addTransceiver("audio")
    choice.prepare(connection)
    transport = ice_transport(connection)
    assert transport is not None
    assert vars(transport._connection)["turn_ssl"] is context
    assert chosen_pair(connection) is None
    await connection.close()


async def test_one_transport() -> None:
    """Everything is bundled from the beginning: one relayed address per pair."""
    connection = RTCPeerConnection(IceChoice().configuration())
    assert ice_transport(connection) is None
    connection.createDataChannel("mesh", negotiated=True, id=0)
    first = ice_transport(connection)
    connection.addTransceiver("audio")
    connection.addTransceiver("video")
    assert first is not None
    assert ice_transport(connection) is first
    await connection.close()


SDP = """v=0\r
a=group:BUNDLE 5 6\r
m=audio 9 UDP/TLS/RTP/SAVPF 111\r
a=ice-ufrag:abcd\r
a=candidate:1 1 udp 2130706431 192.0.2.1 5000 typ host\r
m=video 9 UDP/TLS/RTP/SAVPF 96\r
a=ice-ufrag:efgh\r
"""


def test_descriptions() -> None:
    """The first section's user fragment, the bundle's tag, the candidates."""
    assert (ice_ufrag(SDP), bundle_tag(SDP)) == ("abcd", "5")
    assert list(candidates_of(SDP)) == ["candidate:1 1 udp 2130706431 192.0.2.1 5000 typ host"]
    assert (ice_ufrag(""), bundle_tag("x"), list(candidates_of("m=audio"))) == ("", "", [])
    assert len(list(candidates_of("a=candidate:x\r\n" * 1000))) == 64


def test_candidates() -> None:
    """What browsers trickle."""
    line = "candidate:842163049 1 udp 1677729535 198.51.100.7 61665 typ srflx raddr 0.0.0.0 rport 9 generation 0"
    candidate = read_candidate(line)
    assert candidate is not None
    assert (candidate.ip, candidate.port, candidate.type) == ("198.51.100.7", 61665, "srflx")


@pytest.mark.parametrize(
    "line",
    [
        "",
        "candidate:",
        "candidate:1 1 udp x 192.0.2.1 5 typ host",
        "candidate:1 2 udp 1 192.0.2.1 5 typ host",
        "candidate:1 1 udp 1 192.0.2.1 0 typ host",
        "candidate:1 1 udp 1 192.0.2.1 70000 typ host",
        "candidate:1 1 udp 1 192.0.2.1 5 typ host rport x",
        "candidate:1 1 udp 1 " + "x" * 1000 + " 5 typ host",
    ],
)
def test_candidates_that_are_none(line: str) -> None:
    """None, and never an exception."""
    assert read_candidate(line) is None
