"""The tables: names that nobody has, goodbyes that are said once, TURN users that end once."""

from tests.support.signal_hub import World
from turnserver.signaling.protocol.errors import ErrorCode
from turnserver.signaling.rooms.facts import Close, Wake
from turnserver.signaling.rooms.state import error, millis, reconnect_of

__all__: list[str] = []


def test_names_have_the_length_and_the_letters_that_were_asked_for() -> None:
    """Peer ids are ten of a–z and 2–7; keys have 160 bits."""
    state = World().hub._state
    for length in (8, 10, 16, 32):
        name = state.name(length)
        assert len(name) == length
        assert set(name) <= set("abcdefghijklmnopqrstuvwxyz234567")


def test_no_two_sessions_have_one_peer_id() -> None:
    world = World()
    ann = world.enter("ann")[0]
    state = world.hub._state
    state.peers["a" * 10] = state.sessions[ann.session["sid"]]
    drawn = [bytes(7), bytes(7), b"\xff" * 7]
    state.entropy = lambda size: drawn.pop(0)
    assert state.peer_id() == "7" * 10
    assert drawn == []


def test_goodbye_is_said_once() -> None:
    world = World()
    state = world.hub._state
    world.hub.opened(1, "192.0.2.1", "h", world.now)
    connection = state.connections[1]
    state.part(connection, ErrorCode.INTERNAL, "x" * 1000)
    state.part(connection, ErrorCode.KICKED, "again")
    commands = state.take_commands()
    assert commands == [Wake(1), Close(1, 4500, "internal")]
    assert len(connection.direct) == 2


def test_what_a_client_does_after_a_goodbye() -> None:
    never = {"kicked", "banned", "replaced", "room_closed", "forbidden", "bad_token", "unsupported_version"}
    assert {code for code in never if reconnect_of(ErrorCode(code)) == "never"} == never
    resume = {"slow_consumer", "draining", "internal", "rate_limited"}
    assert {code for code in resume if reconnect_of(ErrorCode(code)) == "resume"} == resume


def test_a_user_is_revoked_once() -> None:
    world = World()
    state = world.hub._state
    state.revoke_later("u.p", "p", 50.0, world.now)
    state.revoke("u.p", "p", 50.0)
    world.pass_time(10.0)
    world.work()
    assert world.revoked() == ["u.p"]
    assert world.relays.forgotten == ["u.p"]


def test_milliseconds_and_errors() -> None:
    assert millis(1.5) == 1500
    assert len(error(ErrorCode.INTERNAL, "x" * 500).msg) == 256
