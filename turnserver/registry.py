"""Names for what can be plugged in: the one kind of table that transports, datapaths, credential sources and observers
are entered in.

An entry is a function that makes the thing. The module of the thing is imported inside that function, so that only what
is used is loaded, and by an ordinary import statement, so that tools and the build see it.
"""

from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from turnserver.errors import UnknownNameError

__all__ = ["Registry"]

T = TypeVar("T")


class Registry(Generic[T]):
    """Entries by name, in the order in which they were added; ``kind`` says in errors what they are entries of."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._entries: dict[str, T] = {}

    def __contains__(self, name: object) -> bool:
        """Whether there is an entry of that name."""
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        """The names."""
        return iter(tuple(self._entries))

    def __getitem__(self, name: str) -> T:
        """The entry of that name. Raises `turnserver.errors.UnknownNameError`, which lists the names there are."""
        try:
            return self._entries[name]
        except KeyError:
            known = ", ".join(self._entries) or "none"
            raise UnknownNameError(f"there is no {self.kind} {name!r}; known are {known}") from None

    @property
    def names(self) -> tuple[str, ...]:
        """Every name, in the order in which they were added."""
        return tuple(self._entries)

    def add(self, name: str, entry: T) -> Callable[[], None]:
        """Enter something under a name; gives a function that takes it out again.

        Raises ValueError for a name that is taken: two things of one name would be told apart by the order of imports.
        """
        if name in self._entries:
            raise ValueError(f"there is a {self.kind} {name!r} already")
        self._entries[name] = entry

        def remove() -> None:
            if self._entries.get(name) is entry:
                del self._entries[name]

        return remove
