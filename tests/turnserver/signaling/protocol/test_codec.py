"""From text to messages and back: what is accepted is valid under the schema, and nothing but `Denial` is raised."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.support.signal_schema import is_valid, validate_client, validate_server
from turnserver.signaling.protocol import codec
from turnserver.signaling.protocol.base import CLIENT, SERVER, Counted
from turnserver.signaling.protocol.client_messages import Cand, Desc, Hello, Msg
from turnserver.signaling.protocol.codec import encode, parse, parse_server
from turnserver.signaling.protocol.errors import Denial, SignalCode
from turnserver.signaling.protocol.fields import MAX_FRAME, Candidate, Description, Ice, IceServer, Identity
from turnserver.signaling.protocol.server_messages import Error, HelloOk, IceUpdate, PeerMsg

__all__: list[str] = []

ANN = "aaaaaaaaaa"

SOUND: dict[str, dict[str, Any]] = {
    "hello": {"id": "1", "v": 1, "feat": ["x"], "token": "t", "client": {"name": "a", "ver": "1"}},
    "ping": {"ts": 1.5, "ack": 3},
    "bye": {"keep": 5000},
    "peek": {"room": "blue"},
    "join": {"room": "blue", "name": "Ann", "meta": {"a": [1, None]}, "media": {"a": 1, "v": 0, "s": 0}},
    "leave": {"id": "1"},
    "update": {"n": 1, "media": {"a": 1}},
    "desc": {"n": 1, "to": ANN, "pc": "p", "rpc": "q", "desc": {"type": "offer", "sdp": "v=0"}, "restart": True},
    "cand": {"n": 1, "to": ANN, "pc": "p", "list": [{"candidate": "c", "sdpMid": None, "sdpMLineIndex": 0}, None]},
    "reset": {"n": 1, "to": ANN, "pc": "p", "why": "failed"},
    "ice_get": {"why": "check"},
    "invite": {"id": "1", "ttl": 600, "uses": 3},
    "restart": {"n": 1, "to": ANN, "why": "online"},
    "stat": {"to": ANN, "path": "relay", "proto": "tls", "rtt": 10, "rx": 0.5, "loss": 0},
    "diag": {"to": ANN, "states": ["failed"], "cands": {"local": ["host"]}, "errors": [{"code": 701, "url": "turn:x"}]},
    "mod": {"n": 1, "op": "cap", "value": 4},
    "msg": {"n": 1, "data": {"any": ["thing", 1, 1.5, None, True]}},
    "mode_ready": {"epoch": 2},
    "choose": {"last": 9, "others": 180, "tiles": [{"id": ANN, "what": "screen", "h": 720, "pin": True}]},
}


def refusal_of(text: str) -> Denial:
    with pytest.raises(Denial) as caught:
        parse(text)
    return caught.value


def frame(t: str, **changes: Any) -> str:
    return json.dumps({"t": t, **SOUND[t], **changes})


def test_there_is_an_example_of_every_type() -> None:
    assert set(SOUND) == set(CLIENT)


@pytest.mark.parametrize("t", sorted(SOUND))
def test_sound_frames_are_read_written_and_valid(t: str) -> None:
    message = parse(frame(t))
    assert type(message) is CLIENT[t]
    validate_client(json.loads(frame(t)))
    again = encode(message)
    validate_client(json.loads(again))
    assert parse(again) == message


def test_the_counted_types_are_those_of_the_specification() -> None:
    """Signaling §1: `n` on desc, cand, reset, restart, update, mod, msg."""
    counted = {t for t in CLIENT if issubclass(CLIENT[t], Counted)}
    assert counted == {"desc", "cand", "reset", "restart", "update", "mod", "msg"}


def test_unknown_fields_are_ignored() -> None:
    assert parse('{"t":"ping","ts":1,"colour":"blue","from":"someone"}') == parse('{"t":"ping","ts":1}')


def test_a_forged_from_goes_nowhere() -> None:
    assert "from" not in encode(parse(frame("desc", **{"from": "b" * 10})))


@pytest.mark.parametrize(
    ("text", "code", "path"),
    [
        ("", SignalCode.BAD_JSON, None),
        ("{", SignalCode.BAD_JSON, None),
        ('{"t":"ping","ts":NaN', SignalCode.BAD_JSON, None),
        ("[" * 300 + "]" * 300, SignalCode.BAD_JSON, None),
        ('{"t":"ping","id":"\\ud800"}', SignalCode.BAD_JSON, None),
        ('{"t":"ping","id":"\ud800"}', SignalCode.BAD_JSON, None),
        ("[]", SignalCode.BAD_MESSAGE, ""),
        ("3", SignalCode.BAD_MESSAGE, ""),
        ("null", SignalCode.BAD_MESSAGE, ""),
        ("{}", SignalCode.BAD_MESSAGE, "t"),
        ('{"t":1}', SignalCode.BAD_MESSAGE, "t"),
        ('{"t":["ping"]}', SignalCode.BAD_MESSAGE, "t"),
        ('{"t":"welcome"}', SignalCode.UNKNOWN_TYPE, "t"),
        ('{"t":"PING"}', SignalCode.UNKNOWN_TYPE, "t"),
        (frame("ping", ts="1"), SignalCode.BAD_MESSAGE, "ts.int"),
        (frame("ping", ack=-1), SignalCode.BAD_MESSAGE, "ack"),
        (frame("ping", ack=1.5), SignalCode.BAD_MESSAGE, "ack"),
        (frame("ping", id=""), SignalCode.BAD_MESSAGE, "id"),
        (frame("ping", id="x" * 33), SignalCode.BAD_MESSAGE, "id"),
        (frame("hello", token="x" * 8193), SignalCode.BAD_MESSAGE, "token"),
        (frame("hello", feat=["x"] * 33), SignalCode.BAD_MESSAGE, "feat"),
        (frame("join", room="no/slash"), SignalCode.BAD_MESSAGE, "room"),
        (frame("join", room=".hidden"), SignalCode.BAD_MESSAGE, "room"),
        (frame("join", room="x" * 65), SignalCode.BAD_MESSAGE, "room"),
        (frame("join", name="a\nb"), SignalCode.BAD_MESSAGE, "name"),
        (frame("join", name="x" * 65), SignalCode.BAD_MESSAGE, "name"),
        (frame("join", media={"a": True}), SignalCode.BAD_MESSAGE, "media.a"),
        (frame("join", media={"a": 2}), SignalCode.BAD_MESSAGE, "media.a"),
        (frame("join", meta={"x": "y" * 2048}), SignalCode.BAD_MESSAGE, "meta"),
        (frame("join", meta=[]), SignalCode.BAD_MESSAGE, "meta"),
        (frame("msg", data="x" * 4096), SignalCode.BAD_MESSAGE, "data"),
        (frame("msg", data=2**60), SignalCode.BAD_MESSAGE, "data"),
        ('{"t":"msg","n":1,"data":1e999}', SignalCode.BAD_MESSAGE, "data"),
        ('{"t":"msg","n":1,"data":' + "[" * 17 + "]" * 17 + "}", SignalCode.BAD_MESSAGE, "data"),
        ('{"t":"msg","n":1}', SignalCode.BAD_MESSAGE, "data"),
        (frame("msg", n=0), SignalCode.BAD_MESSAGE, "n"),
        (frame("msg", n=2**53), SignalCode.BAD_MESSAGE, "n"),
        (frame("msg", n=True), SignalCode.BAD_MESSAGE, "n"),
        (frame("desc", desc={"type": "offer", "sdp": "x" * (56 * 1024 + 1)}), SignalCode.BAD_MESSAGE, "desc.sdp"),
        (frame("desc", desc={"type": "bid", "sdp": ""}), SignalCode.BAD_MESSAGE, "desc.type"),
        (frame("cand", list=[None] * 65), SignalCode.BAD_MESSAGE, "list"),
        (frame("cand", list=[{}]), SignalCode.BAD_MESSAGE, "list.0.candidate"),
        (frame("mod", op="crown"), SignalCode.BAD_MESSAGE, "op"),
        (frame("stat", rtt=1e16), SignalCode.BAD_MESSAGE, "rtt.int"),
    ],
)
def test_what_is_wrong_is_refused_with_its_place(text: str, code: SignalCode, path: str | None) -> None:
    refusal = refusal_of(text)
    assert refusal.code is code
    found = refusal.detail.get("path")
    assert found == path or (path is not None and found is not None and found.startswith(path.removesuffix(".int")))


def test_a_frame_has_64_kib_and_not_a_byte_more() -> None:
    """Bytes of UTF-8, not characters; whatever is in it, valid or not."""
    assert refusal_of("x" * (MAX_FRAME + 1)).code is SignalCode.TOO_LARGE
    assert refusal_of("ü" * (MAX_FRAME // 2 + 1)).code is SignalCode.TOO_LARGE
    assert refusal_of("x" * MAX_FRAME).code is SignalCode.BAD_JSON


def test_a_description_of_56_kib_fits() -> None:
    message = parse(frame("desc", desc={"type": "offer", "sdp": "x" * (56 * 1024)}))
    assert isinstance(message, Desc)
    assert len(message.desc.sdp) == 56 * 1024


def test_a_refusal_says_which_request_and_which_number_it_was() -> None:
    refusal = refusal_of('{"t":"msg","id":"q7","n":12}')
    assert (refusal.re, refusal.n) == ("q7", 12)
    refusal = refusal_of('{"t":"wave","id":7,"n":"12"}')
    assert (refusal.re, refusal.n) == (None, None)


def test_nones_are_left_out_and_nulls_of_others_are_kept() -> None:
    """Optional fields that are not there are not written; what an application wrote as null stays null."""
    assert "rpc" not in encode(Desc(n=1, to=ANN, pc="p", desc=Description(type="answer")))
    assert json.loads(encode(PeerMsg(from_=ANN, data=None))) == {"t": "msg", "from": ANN, "data": None}
    assert json.loads(encode(PeerMsg(from_=ANN, data={"a": None, "b": [None]})))["data"] == {"a": None, "b": [None]}
    assert json.loads(encode(Cand(n=1, to=ANN, pc="p", list=(None, Candidate(candidate="")))))["list"] == [
        None,
        {"candidate": ""},
    ]


def test_nothing_secret_is_in_a_repr() -> None:
    ice = Ice(servers=(IceServer(urls=("turn:x",), username="u", credential="hunter2"),), exp=1)
    assert "hunter2" not in repr(IceUpdate(ice=ice, why="refresh"))
    assert "hunter2" not in repr(parse(frame("hello", token="hunter2")))
    resume = {"sid": "s", "key": "hunter2", "seq": 0}
    assert "hunter2" not in repr(parse(frame("hello", resume=resume)))


def test_server_frames_are_read_as_well() -> None:
    message = Error(re="1", code=SignalCode.ROOM_FULL, msg="full")
    assert parse_server(encode(message)) == message
    assert set(SERVER) >= {"welcome", "hello_ok", "joined", "sync", "error", "goodbye"}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@given(st.text(max_size=200))
@example('{"t":"ping"')
@example("\x00")
def test_any_text_is_read_or_refused(text: str) -> None:
    """Fuzz: `parse` never raises anything but `Denial`."""
    try:
        parse(text)
    except Denial:
        return


@given(st.sampled_from(sorted(SOUND)), st.data())
def test_what_parse_accepts_is_valid(t: str, data: st.DataObject) -> None:
    """Sound frames with anything put in the place of anything: accepted means valid, and refused means `Denial`."""
    found = json.loads(frame(t))
    for _ in range(data.draw(st.integers(0, 3))):
        key = data.draw(st.sampled_from(sorted(found) or ["t"]))
        change = data.draw(st.sampled_from(["replace", "remove", "add", "inside"]))
        if change == "remove":
            found.pop(key, None)
        elif change == "add":
            found[data.draw(st.text(max_size=8))] = data.draw(json_values)
        elif change == "inside" and isinstance(found.get(key), dict) and found[key]:
            found[key][data.draw(st.sampled_from(sorted(found[key])))] = data.draw(json_values)
        else:
            found[key] = data.draw(json_values)
    try:
        message = parse(json.dumps(found))
    except Denial:
        return
    validate_client(found)
    assert is_valid("client", found)
    again = json.loads(encode(message))
    validate_client(again)
    assert replace(message) == parse(json.dumps(again))


def test_the_hello_ok_of_somebody_in_no_room_has_no_room() -> None:
    text = encode(
        HelloOk(v=1, sid="s", key="k", cid="c", resumed=False, n=0, you=Identity(id=ANN, role="member", caps=()))
    )
    assert "room" not in json.loads(text)
    validate_server(json.loads(text))


def test_messages_are_values() -> None:
    assert Msg(n=1, data=[1]) == Msg(n=1, data=[1])
    assert Hello(v=1) != Hello(v=2)


def test_messages_are_prepared_for() -> None:
    """Nothing is left to build when the first frame comes; doing it twice costs nothing."""
    codec._WRITERS.clear()
    codec.prepare()
    before = dict(codec._WRITERS)
    assert set(before) == {*CLIENT.classes, *SERVER.classes}
    codec.prepare()
    assert before == codec._WRITERS
