"""Every message of a client is handled by one function, or relayed as it is."""

import pytest

from turnserver.signaling.protocol.base import CLIENT, Relayed
from turnserver.signaling.protocol.client_messages import Bye, Msg, Peek
from turnserver.signaling.rooms.handlers import HANDLERS, handles
from turnserver.signaling.rooms.hub import Hub

__all__: list[str] = []


def test_no_message_is_left_without_somebody_to_handle_it() -> None:
    """`bye` is handled by the hub itself, for it is heard on sockets without a session, too."""
    assert Hub, "whoever has the hub has all handlers"
    unhandled = {kind for kind in CLIENT.classes if kind not in HANDLERS and not issubclass(kind, Relayed)}
    assert unhandled == {Bye}
    assert Msg not in HANDLERS, "what is relayed as it is needs none"


def test_a_type_has_one_handler() -> None:
    with pytest.raises(ValueError, match="Peek"):
        handles(Peek)(lambda state, session, message, heard: None)
