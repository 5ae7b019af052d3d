"""The options of a file by name, and a record of which of them have been spoken of."""

from collections.abc import Iterable
from typing import Any

from cli.importing.outcome import Given, Plan

__all__ = ["Options"]


class Options:
    """The options of a file; ``plan`` is what becomes of them."""

    def __init__(self, given: Iterable[Given], plan: Plan) -> None:
        self.plan = plan
        self._by_name: dict[str, list[Given]] = {}
        for each in given:
            self._by_name.setdefault(each.name, []).append(each)

    def names(self) -> list[str]:
        """The names, in the order of the file."""
        return list(self._by_name)

    def all(self, name: str) -> list[Given]:
        """Every occurrence of an option that may be repeated."""
        return list(self._by_name.get(name, ()))

    def last(self, name: str) -> Given | None:
        """The occurrence that counts of an option that has one value; the others are noted."""
        found = self._by_name.get(name)
        if not found:
            return None
        for each in found[:-1]:
            if each in self._by_name[name]:
                self.plan.same(each, f"line {found[-1].line} has another value, which counts")
        self._by_name[name] = found[-1:]
        return found[-1]

    def switch(self, given: Given, path: tuple[str, ...], value: Any, otherwise: str, *, on: bool) -> None:
        """Take a switch that is on; one that is off is the default, which ``otherwise`` describes."""
        if not on:
            self.plan.same(given, otherwise)
        elif any(entry.path == path for entry in self.plan.entries):
            self.plan.same(given, "another line says the same")
        else:
            self.plan.take(path, value, given)

    def finish(self) -> None:
        """See to it that every option is in one of the lists, or among the problems."""
        plan = self.plan
        said = {(note.line, note.option) for notes in (plan.taken, plan.already, plan.cannot) for note in notes}
        said |= {(problem.line, problem.key) for problem in plan.problems}
        for name, found in self._by_name.items():
            for given in found:
                if (given.line, name) not in said:
                    plan.same(given, "it changes nothing with the other options of this file")
