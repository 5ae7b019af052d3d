"""Whether a description would send audio or video: for tokens that may not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnserver.signaling.protocol.sdp import sends_media

__all__: list[str] = []


@pytest.mark.parametrize(
    ("sdp", "sends"),
    [
        ("", False),
        ("v=0\r\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=sendrecv\r\n", False),
        ("v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\n", True),
        ("v=0\nm=video 9 RTP/AVP 96\na=recvonly\n", False),
        ("v=0\r\nm=video 9 RTP/AVP 96\r\na=inactive\r\n", False),
        ("v=0\r\nm=video 9 RTP/AVP 96\r\na=sendonly\r\n", True),
        ("v=0\r\nm=video 0 RTP/AVP 96\r\na=sendrecv\r\n", False),
        ("v=0\r\nm=video 00 RTP/AVP 96\r\n", False),
        ("v=0\r\nm=video 9/2 RTP/AVP 96\r\n", True),
        ("v=0\r\na=recvonly\r\nm=audio 9 RTP/AVP 0\r\n", False),
        ("v=0\r\na=recvonly\r\nm=audio 9 RTP/AVP 0\r\na=sendrecv\r\n", True),
        ("m=audio 9 RTP/AVP 0\r\na=recvonly\r\nm=application 9 x y\r\na=sendrecv\r\n", False),
        ("m=audio 9 RTP/AVP 0\r\na=recvonly\r\nm=video 9 RTP/AVP 96\r\na=sendrecv\r\n", True),
        ("m=\r\nm=audio\r\n", False),
    ],
)
def test_directions(sdp: str, sends: bool) -> None:
    """RFC 8866 §6.7: sendrecv unless said otherwise, for all at session level; port 0 is refused (RFC 8829 §5.2.2)."""
    assert sends_media(sdp) is sends


@given(st.text(alphabet="m=audio videosendrecvonlyinactive a=09/\r\n", max_size=200))
def test_any_text_is_answered(sdp: str) -> None:
    assert sends_media(sdp) in (True, False)
