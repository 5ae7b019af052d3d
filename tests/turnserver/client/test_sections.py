"""Who and what is in the media sections of the SFU's offers."""

from datetime import UTC, datetime

from aiortc import RTCPeerConnection
from hypothesis import given
from hypothesis import strategies as st

from stun.address import Address
from turnserver.client.sections import SfuSection, offered, route
from turnserver.media.dtls import create_identity
from turnserver.media.negotiation import OfferedMedia, offer_to_subscriber
from turnserver.media.sdp import IceCredentials, LocalTransport, RtpStream

ANN, BOB = "annaaaaaaa", "bobbbbbbbb"


def offer(*media: OfferedMedia) -> str:
    identity = create_identity(datetime(2026, 1, 1, tzinfo=UTC))
    transport = LocalTransport(
        IceCredentials("ufrag", "p" * 24), identity.fingerprint, (Address.parse("127.0.0.1", 9),), "actpass", 1, 1
    )
    return offer_to_subscriber(media, transport)


def section(mid: str, encoding: str, ssrc: int, stream: str, *, active: bool = True) -> OfferedMedia:
    rtx = ssrc + 1 if encoding == "vp8" else None
    return OfferedMedia(mid, encoding, RtpStream(ssrc, rtx), stream, f"{stream}.x", ANN, active=active)


def test_what_is_offered() -> None:
    """The id of a stream is the participant's, with ``.screen`` after it for a screen; what has ended is not there."""
    sdp = offer(
        section("0", "opus", 10, ANN),
        section("1", "vp8", 20, ANN),
        section("2", "vp8", 30, f"{BOB}.screen"),
        section("3", "opus", 40, f"{BOB}.screen"),
        section("4", "vp8", 50, BOB, active=False),
    )
    assert offered(sdp) == {
        "0": SfuSection(ANN, "audio", (10,), None),
        "1": SfuSection(ANN, "camera", (20, 21), (20, 21)),
        "2": SfuSection(BOB, "screen", (30, 31), (30, 31)),
        "3": SfuSection(BOB, "screen_audio", (40,), None),
    }


@given(st.text(alphabet="m=audiovdep 019\r\n:a-sci.", max_size=200))
def test_any_text(text: str) -> None:
    """What is no description offers nothing, and nothing is raised over it."""
    assert isinstance(offered("\nm=" + text), dict)


async def test_a_section_that_is_used_again() -> None:
    """Before the connection stands, aiortc has nothing to be told; then the streams of the section's next one."""
    pc = RTCPeerConnection()
    transceiver = pc.addTransceiver("video", "recvonly")
    transceiver._set_mid("0")
    sections = {"0": SfuSection(ANN, "camera", (20, 21), (20, 21)), "7": SfuSection(BOB, "camera", (5,), None)}
    route(pc, sections)
    receiver = transceiver.receiver
    router = receiver.transport._rtp_router
    assert router.ssrc_table == {}
    router.register_receiver(receiver, ssrcs=[1], payload_types=[96])
    route(pc, sections)
    assert router.ssrc_table == {1: receiver, 20: receiver, 21: receiver}
    route(RTCPeerConnection(), sections)
    await pc.close()
