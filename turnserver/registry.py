"""Tables of plug-ins by name: transports, datapaths, credential sources and observers.

An entry is a function that makes the plug-in. That function imports the plug-in's module, so that only what is used is
loaded, with an ordinary import statement, so that tools and the build see it.
"""

from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from turnserver.errors import UnknownNameError

__all__ = ["Registry"]

T = TypeVar("T")


class Registry(Generic[T]):
    """Entries by name, in the order in which they were added; ``kind`` says in errors what the entries are."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._entries: dict[str, T] = {}
        self._embedded: set[str] = set()

    def __contains__(self, name: object) -> bool:
        """Whether there is an entry of that name."""
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        """The names."""
        return iter(tuple(self._entries))

    def __getitem__(self, name: str) -> T:
        """The entry of that name. Raises `turnserver.errors.UnknownNameError`, which lists the known names."""
        try:
            return self._entries[name]
        except KeyError:
            known = ", ".join(self._entries) or "none"
            raise UnknownNameError(f"there is no {self.kind} {name!r}; known are {known}") from None

    @property
    def names(self) -> tuple[str, ...]:
        """Every name, in the order in which they were added."""
        return tuple(self._entries)

    @property
    def offered(self) -> tuple[str, ...]:
        """The names that are of use in a configuration file: all but those added as ``embedded``."""
        return tuple(name for name in self._entries if name not in self._embedded)

    def add(self, name: str, entry: T, *, embedded: bool = False) -> Callable[[], None]:
        """Add an entry under a name; returns a function that removes it.

        An ``embedded`` entry is of use only to programs that embed a server, tests for example. It works like any
        other, but messages and pages for operators do not offer it.

        Raises ValueError for a name that is taken: otherwise the order of imports would decide between two entries.
        """
        if name in self._entries:
            raise ValueError(f"there is a {self.kind} {name!r} already")
        self._entries[name] = entry
        self._embedded.discard(name)
        if embedded:
            self._embedded.add(name)

        def remove() -> None:
            if self._entries.get(name) is entry:
                del self._entries[name]

        return remove
