"""Message types: what follows from a class, and the tables that they are in."""

from typing import Any, Literal

import pytest

from turnserver.signaling.protocol.base import (
    CLIENT,
    SERVER,
    ClientMessage,
    Delivery,
    News,
    NumberedReply,
    Rate,
    Relayed,
    message,
    number_of,
    request_of,
)
from turnserver.signaling.protocol.client_messages import Cand, Desc, Msg, Ping, Reset
from turnserver.signaling.protocol.codec import parse
from turnserver.signaling.protocol.errors import Denial, SignalCode
from turnserver.signaling.protocol.fields import Media
from turnserver.signaling.protocol.server_messages import (
    Joined,
    Ok,
    Paths,
    PeerCand,
    PeerGap,
    PeerMsg,
    PeerReset,
    PeerUpdate,
    Pong,
    RoomUpdate,
    Welcome,
)

__all__: list[str] = []

ANN, BOB = "aaaaaaaaaa", "bbbbbbbbbb"


def test_the_tables_name_every_class_by_its_type() -> None:
    assert (CLIENT["desc"], SERVER["desc"].__name__) == (Desc, "PeerDesc")
    assert {kind.__name__ for kind in CLIENT.classes} & {kind.__name__ for kind in SERVER.classes} == set()


def test_a_type_is_entered_once_in_each_direction() -> None:
    with pytest.raises(ValueError, match="ping"):

        @message
        class _AnotherPing(ClientMessage):
            """A type that is taken."""

            t: Literal["ping"] = "ping"

    assert CLIENT["ping"] is Ping


def test_what_is_entered_is_read_and_what_is_taken_out_is_not() -> None:
    with pytest.raises(Denial):
        parse('{"t":"wave"}')

    class Wave(ClientMessage):
        t: Literal["wave"] = "wave"

    made: Any = message(Wave)
    try:
        assert parse('{"t":"wave","id":"1"}') == made(id="1")
    finally:
        CLIENT.remove(made)
    with pytest.raises(Denial) as caught:
        parse('{"t":"wave"}')
    assert caught.value.code is SignalCode.UNKNOWN_TYPE


def test_how_messages_count_against_the_rate() -> None:
    """docs/signaling.md, Limits: descriptions are never refused for the rate; what is relayed counts by its size."""
    rates = {t: CLIENT[t].rate for t in CLIENT}
    assert {t for t, rate in rates.items() if rate is Rate.DEBT} == {"desc"}
    assert {t for t, rate in rates.items() if rate is Rate.BYTES} == {"cand", "msg"}


@pytest.mark.parametrize(
    ("said", "heard"),
    [
        (Msg(n=1, data=[1]), PeerMsg(from_=ANN, to=BOB, data=[1])),
        (Cand(n=1, to=BOB, pc="p", list=(None,)), PeerCand(from_=ANN, pc="p", list=(None,))),
        (Reset(n=1, to=BOB, pc="p", why="failed"), PeerReset(from_=ANN, pc="p", why="failed")),
    ],
    ids=lambda each: each.t,
)
def test_what_is_relayed_has_another_direction_and_the_same_fields(said: Relayed, heard: Any) -> None:
    assert said.relayed(ANN, BOB) == heard


def test_what_is_for_all_is_for_nobody_in_particular() -> None:
    assert Msg(n=1, to=BOB, data=1).relayed(ANN, None) == PeerMsg(from_=ANN, data=1)


def test_every_relayed_type_is_delivered_as_such() -> None:
    for kind in CLIENT.classes:
        if issubclass(kind, Relayed):
            assert kind.becomes.delivery is Delivery.RELAYED


def test_what_has_a_number_can_carry_it() -> None:
    """A frame is numbered by its delivery; then its class has the field."""
    for kind in SERVER.classes:
        if kind.delivery is not Delivery.SOCKET:
            assert issubclass(kind, News | NumberedReply)
        assert (kind.delivery is Delivery.PRESENCE) <= bool(kind.replaces)


def test_of_presence_the_last_about_somebody_replaces_the_ones_before() -> None:
    gap, look = PeerGap(id=ANN, until=1), PeerUpdate(id=ANN, name="", meta={}, media=Media(), role="member")
    assert [gap.queue_key, look.queue_key] == [("link", ANN), ("update", ANN)]
    assert RoomUpdate(locked=True, max=4).queue_key == ("room", "")
    assert Paths(list=()).queue_key == ("paths", "")
    assert Ok(re="1").queue_key is None


def test_numbers_and_requests_of_what_has_none() -> None:
    assert (number_of(Ok(re="1", seq=7)), request_of(Ok(re="1", seq=7))) == (7, "1")
    assert (number_of(Ok(re="1")), number_of(Pong(now=1)), request_of(PeerGap(id=ANN, until=1))) == (0, 0, None)
    assert Joined.delivery is Delivery.NEWS
    assert Welcome.delivery is Delivery.SOCKET
