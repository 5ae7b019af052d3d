"""The handlers of message types. A handler is registered where it is defined, with the decorator `handles`.

A type that is relayed unchanged (`turnserver.signaling.protocol.base.Relayed`) needs no handler.
"""

from collections.abc import Callable
from typing import Any, Final, NamedTuple, TypeAlias, TypeVar

from turnserver.core.types import Now
from turnserver.signaling.protocol.base import ClientMessage, ServerMessage
from turnserver.signaling.rooms.session import Session
from turnserver.signaling.rooms.state import HubState

__all__ = ["HANDLERS", "Handler", "Heard", "handles"]


class Heard(NamedTuple):
    """The time at which a frame was received, and its size in characters."""

    now: Now
    size: int


Handler: TypeAlias = Callable[[HubState, Session, Any, Heard], ServerMessage | None]
"""Carries out the request of a session's client, and returns the answer. Raises `Denial`.

Returns None if the message has no answer of its own, or if the handler has already sent the answer.
"""

HANDLERS: Final[dict[type[ClientMessage], Handler]] = {}

_H = TypeVar("_H", bound=Handler)


def handles(kind: type[ClientMessage]) -> Callable[[_H], _H]:
    """Register a function as the handler of a type. Raises ValueError if the type has one already."""

    def enter(handler: _H) -> _H:
        if kind in HANDLERS:
            raise ValueError(f"there is a handler of {kind.__name__} already")
        HANDLERS[kind] = handler
        return handler

    return enter
