"""Which function handles which type of message. A handler is entered where it stands, with the decorator `handles`.

A type that is passed on as it is (`turnserver.signaling.protocol.base.Relayed`) needs no handler.
"""

from collections.abc import Callable
from typing import Any, Final, NamedTuple, TypeAlias, TypeVar

from turnserver.core.types import Now
from turnserver.signaling.protocol.base import ClientMessage, ServerMessage
from turnserver.signaling.rooms.session import Session
from turnserver.signaling.rooms.state import HubState

__all__ = ["HANDLERS", "Handler", "Heard", "handles"]


class Heard(NamedTuple):
    """When a frame came in, and its size in characters."""

    now: Now
    size: int


Handler: TypeAlias = Callable[[HubState, Session, Any, Heard], ServerMessage | None]
"""Does what a session's client asks for, and gives the answer. Raises `Denial`.

None where the message has no answer of its own, or where the handler has sent it.
"""

HANDLERS: Final[dict[type[ClientMessage], Handler]] = {}

_H = TypeVar("_H", bound=Handler)


def handles(kind: type[ClientMessage]) -> Callable[[_H], _H]:
    """Enter a function as the handler of a type. Raises ValueError if there is one already."""

    def enter(handler: _H) -> _H:
        if kind in HANDLERS:
            raise ValueError(f"there is a handler of {kind.__name__} already")
        HANDLERS[kind] = handler
        return handler

    return enter
