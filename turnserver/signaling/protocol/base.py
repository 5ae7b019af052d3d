"""The base classes of messages, and the tables in which all message types are registered.

A type is one class with the decorator `message`, in `client_messages` or `server_messages`. Everything else is derived
from the class: parser, encoder and JSON Schema from its fields, its direction from its base class, and its handling
from its class attributes. The attributes of a client's message say how it counts against the rate (`Rate`), which type
answers it, and which message it becomes when it is relayed (`Relayed`). The attributes of a server's message say what
happens to it without a socket or with a full queue (`Delivery`), and which older frames it replaces.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields
from enum import Enum
from functools import reduce
from operator import or_
from typing import Annotated, Any, ClassVar, Final, Generic, TypeVar, dataclass_transform

from pydantic import Field, TypeAdapter

from turnserver.registry import Registry
from turnserver.signaling.protocol.fields import Cap, Counter, PeerId, RequestId, SenderId, SomeId

__all__ = [
    "CLIENT",
    "SERVER",
    "UNNUMBERED",
    "ClientMessage",
    "Counted",
    "Delivery",
    "FromPeer",
    "MessageTypes",
    "News",
    "NumberedReply",
    "Rate",
    "Relayed",
    "Reply",
    "ServerMessage",
    "message",
    "number_of",
    "request_of",
]


UNNUMBERED: Final = 0
"""The value of `n` until the client's session assigns a number."""


class Rate(Enum):
    """How a client's message counts against the client's rate."""

    FRAME = "frame"
    """As one message."""
    BYTES = "bytes"
    """As one message, and its size counts against the session's relaying rate."""
    DEBT = "debt"
    """The same, but never refused: it may exceed both rates, and a client that exceeds them too far is disconnected."""


class Delivery(Enum):
    """How a server's frame is handled without a socket, or with a full queue."""

    SOCKET = "socket"
    """Sent on the current socket only: it has no number, and is lost with the socket."""
    RELAYED = "relayed"
    """From another client: numbered, never dropped or coalesced unless the queue is full."""
    NEWS = "news"
    """News of the room: numbered; a snapshot can replace it."""
    PRESENCE = "presence"
    """Like news, but coalesced: of frames that replace each other, only the last is kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientMessage:
    """A client's message. ``t`` is its type, ``id`` identifies a request, ``ack`` is the highest ``seq`` handled."""

    rate: ClassVar[Rate] = Rate.FRAME
    answer: ClassVar["type[ServerMessage] | None"] = None
    """The type of the answer on success; None for `ok`, which is sent only if there is an ``id``."""

    t: str = ""  # first on the wire
    id: RequestId | None = None
    ack: Annotated[int, Field(ge=0, le=2**53 - 1)] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted(ClientMessage):
    """A message that is handled exactly once: `n` is incremented for every such message of a session."""

    n: Counter


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerMessage:
    """A message of the server. ``t`` is the type."""

    delivery: ClassVar[Delivery] = Delivery.SOCKET
    replaces: ClassVar[str] = ""
    """Queued frames with the same ``replaces`` and ``id`` replace each other; empty: this frame replaces none."""

    t: str = ""

    @property
    def queue_key(self) -> tuple[str, str] | None:
        """Frames with the same key replace each other in the queue; None if this frame replaces none."""
        return (self.replaces, getattr(self, "id", "")) if self.replaces else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply(ServerMessage):
    """An answer: ``re`` is the ``id`` of the request."""

    re: RequestId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberedReply(Reply):
    """An answer that has a number if the request is not repeated after a resume."""

    seq: Counter | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class News(ServerMessage):
    """A notification. It is numbered, so that it is sent again after a resume."""

    delivery = Delivery.NEWS

    seq: Counter | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FromPeer(News):
    """A message from another participant, or from the SFU; the server sets ``from_`` (on the wire: ``from``)."""

    delivery = Delivery.RELAYED

    from_: Annotated[SenderId, Field(alias="from")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Relayed(Counted):
    """A message relayed to one participant, or to all (``to`` is None), as a message of the class ``becomes``.

    Every field that both classes have is copied. ``needs`` is the capability that the token must have.
    """

    becomes: ClassVar[type[FromPeer]]
    needs: ClassVar[Cap | None] = None

    to: SomeId | None = None

    def relayed(self, sender: PeerId, receiver: PeerId | None) -> FromPeer:
        """The message for ``receiver``, or for all if it is None; ``from`` is always ``sender``."""
        ours = {each.name for each in fields(self)}
        common = [each.name for each in fields(self.becomes) if each.name in ours and each.name not in ("t", "to")]
        values = {name: getattr(self, name) for name in common}
        if any(each.name == "to" for each in fields(self.becomes)):
            values["to"] = receiver
        return self.becomes(from_=sender, **values)


_M = TypeVar("_M", bound=ClientMessage | ServerMessage)


class MessageTypes(Registry[type[_M]], Generic[_M]):
    """The message types of one direction: the class of each ``t``."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self._adapter: TypeAdapter[Any] | None = None

    def add(self, name: str, entry: type[_M], *, embedded: bool = False) -> Callable[[], None]:
        """Register a class under its ``t``; returns a function that removes it."""
        remove = super().add(name, entry, embedded=embedded)
        self._adapter = None

        def forget() -> None:
            remove()
            self._adapter = None

        return forget

    def remove(self, kind: type[_M]) -> None:
        """Remove a class: for tests, and for programs that add types of their own."""
        for name in self:
            if self[name] is kind:
                del self._entries[name]
                self._adapter = None

    @property
    def classes(self) -> Iterator[type[_M]]:
        """Every class."""
        return (self[name] for name in self)

    @property
    def adapter(self) -> TypeAdapter[Any]:
        """Pydantic's adapter for all classes: the ``t`` of a frame selects the class."""
        if self._adapter is None:
            union: Any = reduce(or_, self.classes)
            frame: Any = Annotated[union, Field(discriminator="t")]
            self._adapter = TypeAdapter(frame)
        return self._adapter


CLIENT: Final[MessageTypes[ClientMessage]] = MessageTypes("client's message type")
"""The types that clients send."""

SERVER: Final[MessageTypes[ServerMessage]] = MessageTypes("server's message type")
"""The types that the server sends."""


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(field,))
def message(kind: type[_M]) -> type[_M]:
    """Make a class a message type: a frozen dataclass, registered under its ``t`` in the table of its direction.

    ``t`` is annotated with a ``Literal``, which is also its default. Raises ValueError for a ``t`` that is taken.
    """
    made = dataclass(frozen=True, slots=True, kw_only=True)(kind)
    t = str(next(each.default for each in fields(made) if each.name == "t"))
    if issubclass(made, ClientMessage):
        CLIENT.add(t, made)
    else:
        assert issubclass(made, ServerMessage)
        SERVER.add(t, made)
    return made


def number_of(message: ServerMessage) -> int:
    """The ``seq`` of a server's message; 0 if it has none."""
    return getattr(message, "seq", None) or 0


def request_of(message: ServerMessage) -> str | None:
    """The ``re`` of a server's message; None if it is not an answer."""
    found: str | None = getattr(message, "re", None)
    return found
