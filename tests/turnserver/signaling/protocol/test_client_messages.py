"""What clients say, as it is relayed."""

from turnserver.signaling.protocol.client_messages import Desc
from turnserver.signaling.protocol.fields import Description
from turnserver.signaling.protocol.server_messages import PeerDesc

__all__: list[str] = []

ANN, BOB = "aaaaaaaaaa", "bbbbbbbbbb"
OFFER = Description(type="offer", sdp="v=0")


def test_a_description_is_relayed_as_it_is() -> None:
    said = Desc(n=3, id="r1", ack=7, to=BOB, pc="p", rpc="q", desc=OFFER, restart=True)
    assert said.relayed(ANN, BOB) == PeerDesc(from_=ANN, pc="p", rpc="q", desc=OFFER, restart=True)


def test_a_restart_that_is_none_is_left_out() -> None:
    said = Desc(n=3, to=BOB, pc="p", desc=OFFER, restart=False)
    assert said.relayed(ANN, BOB) == PeerDesc(from_=ANN, pc="p", desc=OFFER)
