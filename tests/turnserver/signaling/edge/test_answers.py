"""The types of answers; the real answers are held to them in ``tests/interop/test_openapi.py``."""

import pytest
from pydantic import ValidationError

from stun.address import Address
from turnserver.media.stats import ForwardingView, LayerView, MediaPeerView, MediaRoomView, TrackView, room_as_json
from turnserver.signaling.edge import answers
from turnserver.signaling.edge.answers import ErrorAnswer, RoomAnswer, RoomMedia
from turnserver.signaling.edge.roomview import room_json
from turnserver.signaling.protocol.client_messages import Stat
from turnserver.signaling.protocol.fields import Media
from turnserver.signaling.rooms.views import PeerView, RoomView
from turnserver.signaling.truth.relays import NoRelays, PairPath


def test_what_is_not_described_is_refused_here_and_not_forbidden_to_programs() -> None:
    with pytest.raises(ValidationError):
        ErrorAnswer.model_validate({"error": {"code": "a", "msg": "b"}, "more": 1})
    for name in answers.__all__:
        assert "additionalProperties" not in getattr(answers, name).model_json_schema(), name


class Relayed(NoRelays):
    """Every pair is relayed."""

    def pair(self, a: str, b: str) -> PairPath:
        return PairPath("relay", "tls", "a", 1, 2, (Address.parse("192.0.2.1", 50000),))


@pytest.mark.parametrize("relays", [NoRelays(), Relayed()])
def test_rooms_are_what_they_are_said_to_be(relays: NoRelays) -> None:
    stat = Stat(to="klmnopqrst", path="direct", proto="udp", rtt=41, loss=0.5)
    ann = PeerView("abcdefghij", "h.abcdefghij", "Ann", "host", 1.0, True, Media(a=1), {"klmnopqrst": stat})
    bob = PeerView("klmnopqrst", "h.klmnopqrst", "Bob", "member", 2.0, False, Media(), {}, {"abcdefghij": ["host"]})
    room = room_json(RoomView("demo", 1.0, True, True, 4, "mesh", (ann, bob), 2, 3.0), relays)
    found = RoomAnswer.model_validate(room, strict=True)
    assert found.model_dump() == room


def test_what_the_sfu_says_is_what_it_is_said_to_be() -> None:
    layer = LayerView("h", 1000.4, 360, 10, 1, 2, 3)
    forwarded = ForwardingView("klmnopqrst", "v", None, 0, 1, 2, 3)
    peer = MediaPeerView("abcdefghij", True, True, 1e6, 5e5, (TrackView("v", "vp8", False, (layer,)),), (forwarded,))
    media = room_as_json(MediaRoomView("demo", 7, None, 1, 2, (peer,)))
    assert RoomMedia.model_validate(media, strict=True).model_dump() == media
