"""What the tests of a NAT are made of: requests from numbered sockets, pauses, and tests that run at the same time.

A test is a generator. It yields a step, and is sent what came of it::

    def connectivity(server: Address) -> Script[bool]:
        (outcome,) = yield Asks((Ask(0, server),))
        return outcome.ok
"""

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from stun.address import Address
from stun.attributes import ErrorValue
from stun.client.requests import Attribute

__all__ = ["Ask", "Asks", "BindingAnswer", "Note", "Outcome", "Pause", "Script", "ScriptStep", "Together"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Ask:
    """A Binding request from a socket to a server.

    ``elsewhere`` is for a request with CHANGE-REQUEST: the answer comes from another address than ``to``. Otherwise
    such an answer is ignored. ``patience`` ends the transaction sooner than others, in seconds.
    """

    socket: int
    to: Address
    attributes: tuple[Attribute, ...] = ()
    elsewhere: bool = False
    patience: float | None = None


class BindingAnswer(NamedTuple):
    """The response to a Binding request: on which socket it arrived, from where, and what it says.

    ``mapped`` is XOR-MAPPED-ADDRESS, or MAPPED-ADDRESS of a server that has nothing else; ``plain`` is MAPPED-ADDRESS.
    ``padding`` is the number of bytes of PADDING.
    """

    socket: int
    source: Address
    mapped: Address | None
    plain: Address | None = None
    origin: Address | None = None
    other: Address | None = None
    padding: int | None = None
    software: str | None = None
    error: ErrorValue | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a request: a response, or the request itself (hairpinning), or nothing.

    ``first`` and ``last`` are the times of the first and the last transmission, ``ended`` that of the outcome. ``why``
    is a reason for having no response, if there is one: a note about something that was ignored, or an error.
    ``ignored`` is true if there were responses that cannot be used.
    """

    ask: Ask
    heard: BindingAnswer | None = None
    returned: bool = False
    first: float = 0.0
    last: float = 0.0
    ended: float = 0.0
    transmissions: int = 0
    why: str = ""
    ignored: bool = False

    @property
    def ok(self) -> bool:
        """True for a success response."""
        return self.heard is not None and self.heard.error is None

    @property
    def mapped(self) -> Address | None:
        """The reflexive address; None without a success response."""
        return self.heard.mapped if self.heard is not None and self.ok else None

    @property
    def error(self) -> int | None:
        """The code of an error response; None without one."""
        return None if self.heard is None or self.heard.error is None else self.heard.error.code


class Asks(NamedTuple):
    """Ask all of these at the same time; the test is sent a tuple of `Outcome`, in the same order.

    With ``one_is_enough`` the first success, or returned request, ends the others.
    """

    asks: tuple[Ask, ...]
    one_is_enough: bool = False


class Pause(NamedTuple):
    """Wait until a time; the test is sent the time that it is then."""

    until: float


class Note(NamedTuple):
    """Say a sentence about the progress of a long test; the test is sent the time."""

    text: str


class Together(NamedTuple):
    """Run tests at the same time; the test is sent a tuple of their results, in the same order."""

    tests: "tuple[Script[Any], ...]"


ScriptStep = Asks | Pause | Note | Together

Script = Generator[ScriptStep, Any, T]
"""A test that comes to a result of type T."""
