"""The tables: names that nobody has, and what goes out."""

from tests.support.signal_hub import World
from turnserver.signaling.protocol.errors import SignalCode
from turnserver.signaling.rooms.state import error, millis

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


def test_milliseconds_and_errors() -> None:
    assert millis(1.5) == 1500
    assert len(error(SignalCode.INTERNAL, "x" * 500).msg) == 256
