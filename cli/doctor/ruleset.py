"""What nftables would do with a packet: the rules of ``nft -j list ruleset``, followed as the kernel does.

Only what is certain is said. A match that cannot be judged from here (an address, a rate, a match of iptables) may
be true or not, so that a verdict after it is one of several that are possible.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from cli.doctor.matching import FirstPacket, holds

__all__ = ["ChainName", "Judgement", "PacketVerdict", "Ruleset"]

ChainName = tuple[str, str, str]
"""Family, table and name."""

_HOOKS: Final = ("prerouting", "input")
_DEPTH: Final = 16
"""How deep chains may jump; the kernel allows no more."""
_STEPS: Final = 50_000
"""Rules that are looked at for one packet."""
_FAMILIES: Final = {4: ("ip", "inet"), 6: ("ip6", "inet")}
_VERDICTS: Final = frozenset({"accept", "drop", "reject", "jump", "goto", "return", "continue", "queue"})
_HARMLESS: Final = frozenset({"counter", "log", "mangle", "notrack", "ct helper"})
"""Statements that neither decide about a packet nor keep the rest of a rule from it."""


class PacketVerdict(StrEnum):
    """What becomes of a packet."""

    ACCEPT = "accept"
    DROP = "drop"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict, and the chain that has dropped the packet for certain."""

    verdict: PacketVerdict
    chain: ChainName | None = None


_ACCEPT, _DROP, _CONTINUE = "accept", "drop", "continue"
_ANYTHING: Final = frozenset({_ACCEPT, _DROP, _CONTINUE})


@dataclass(slots=True)
class Ruleset:
    """The tables of a host: chains with their properties, their rules, and named sets."""

    chains: dict[ChainName, dict[str, Any]] = field(default_factory=dict)
    rules: dict[ChainName, list[list[Any]]] = field(default_factory=dict)
    sets: dict[ChainName, list[Any]] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: bytes) -> "Ruleset":
        """Read what nft has written. Raises ValueError for anything else."""
        found = cls()
        document = json.loads(text)
        entries = document.get("nftables") if isinstance(document, dict) else None
        if not isinstance(entries, list):
            raise ValueError("not a ruleset")
        for entry in entries:
            for kind, value in entry.items() if isinstance(entry, dict) else ():
                if isinstance(value, dict):
                    found._enter(kind, value)
        return found

    def _enter(self, kind: str, value: Mapping[str, Any]) -> None:
        family, table = str(value.get("family")), str(value.get("table"))
        if kind == "chain":
            self.chains[family, table, str(value.get("name"))] = dict(value)
        elif kind == "rule" and isinstance(value.get("expr"), list):
            self.rules.setdefault((family, table, str(value.get("chain"))), []).append(value["expr"])
        elif kind == "set":
            elements = value.get("elem")
            self.sets[family, table, str(value.get("name"))] = elements if isinstance(elements, list) else []

    @property
    def tables(self) -> frozenset[str]:
        """The names of the tables."""
        return frozenset(table for _, table, _ in self.chains)

    @property
    def ports(self) -> frozenset[int]:
        """Every number of the rules that may be a port: where verdicts may change."""
        return frozenset(_numbers([*self.rules.values(), *self.sets.values()]))

    def judge(self, packet: FirstPacket) -> Judgement:
        """What becomes of a packet: every base chain on its way has to let it through."""
        base = [
            (about["prio"] if isinstance(about.get("prio"), int) else 0, chain)
            for chain, about in self.chains.items()
            if about.get("hook") in _HOOKS and chain[0] in _FAMILIES[packet.version] and about.get("type") == "filter"
        ]
        certain = True
        for _, chain in sorted(base):
            found = _Walk(self, packet, chain[:2]).through(chain[2])
            policy = _DROP if self.chains[chain].get("policy") == "drop" else _ACCEPT
            outcomes = (found - {_CONTINUE}) | ({policy} if _CONTINUE in found else set())
            if outcomes == {_DROP}:
                return Judgement(PacketVerdict.DROP, chain)
            certain = certain and outcomes == {_ACCEPT}
        return Judgement(PacketVerdict.ACCEPT if certain else PacketVerdict.UNKNOWN)


class _Walk:
    """The way of one packet through the chains of a table."""

    def __init__(self, ruleset: Ruleset, packet: FirstPacket, table: tuple[str, str]) -> None:
        self._ruleset = ruleset
        self._packet = packet
        self._table = table
        self._steps = 0

    def through(self, chain: str, depth: int = 0) -> frozenset[str]:
        """What a chain may do with the packet; ``continue``: nothing, and the chain before it goes on."""
        possible: set[str] = set()
        for rule in self._ruleset.rules.get((*self._table, chain), ()):
            self._steps += 1
            if depth > _DEPTH or self._steps > _STEPS:
                return _ANYTHING
            outcomes, ends = self._rule(rule, depth)
            possible |= outcomes - {_CONTINUE}
            if _CONTINUE not in outcomes:
                return frozenset(possible)
            if ends:
                break
        return frozenset(possible | {_CONTINUE})

    def _rule(self, rule: list[Any], depth: int) -> tuple[frozenset[str], bool]:
        """What one rule may do, and whether it certainly ends its chain (return, goto)."""
        doubt = False
        for expression in rule:
            if not isinstance(expression, dict) or len(expression) != 1:
                return _ANYTHING, False
            ((kind, value),) = expression.items()
            if kind == "vmap":
                mapped = self._mapped(value)
                if mapped is None:
                    return _ANYTHING, False
                kind, value = mapped
            if kind in _VERDICTS:
                outcomes = self._verdict(kind, value, depth)
                return (outcomes | {_CONTINUE}, False) if doubt else (outcomes, kind in {"goto", "return"})
            if kind == "match":
                found = holds(value, self._packet, self._set)
                if found is False:
                    break
                doubt = doubt or found is None
            elif kind not in _HARMLESS:
                doubt = True
        return frozenset({_CONTINUE}), False

    def _verdict(self, kind: str, value: Any, depth: int) -> frozenset[str]:
        if kind in {"jump", "goto"}:
            return self.through(str(value.get("target")) if isinstance(value, dict) else "", depth + 1)
        if kind in {"return", "continue"}:
            return frozenset({_CONTINUE})
        if kind == "queue":
            return frozenset({_ACCEPT, _DROP})
        return frozenset({_ACCEPT if kind == "accept" else _DROP})

    def _mapped(self, value: Any) -> tuple[str, Any] | None:
        """The verdict that a verdict map has for the packet; None if that is not known."""
        data = value.get("data") if isinstance(value, dict) else None
        elements = data.get("set") if isinstance(data, dict) else None
        if not isinstance(elements, list):
            return None
        for element in elements:
            if not (isinstance(element, list) and len(element) == 2 and isinstance(element[1], dict) and element[1]):
                return None
            found = holds({"op": "==", "left": value.get("key"), "right": element[0]}, self._packet, self._set)
            if found is None:
                return None
            if found:
                return next(iter(element[1].items()))
        return "continue", None

    def _set(self, name: str) -> list[Any] | None:
        return self._ruleset.sets.get((*self._table, name))


def _numbers(value: Any) -> Iterator[int]:
    if isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _numbers(each)
    elif isinstance(value, int) and 0 < value <= 65535:
        yield value
