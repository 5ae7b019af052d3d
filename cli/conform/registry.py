"""The checks: functions that are entered under their name in the table of rules."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from cli.conform.bench import Bench
from cli.conform.table import CheckRow, checks

__all__ = ["Check", "check", "registered"]

_Function = Callable[[Bench], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Check:
    """One check, and what it needs. It raises `cli.conform.findings.Wrong` or `cli.conform.findings.Untestable`."""

    row: CheckRow
    run: _Function
    group: str
    login: bool
    only: str
    modes: bool
    intrusive: bool

    def unfit(self, *, protocol: str, login: bool, intrusive: bool) -> str:
        """Why it cannot be run at all; empty if it can."""
        reliable = protocol not in ("udp", "dtls")
        if self.only == "udp" and protocol != "udp":
            return "It is about UDP."
        if self.only == "stream" and not reliable:
            return "It is about TCP and TLS."
        if self.only == "tls" and protocol != "tls":
            return "It is about TLS."
        if self.login and not login:
            return "It needs credentials (--user)."
        if self.intrusive and not intrusive:
            return "It may disturb other users of the server; --intrusive runs it."
        return ""


_found: dict[str, Check] = {}


def check(
    name: str, *, login: bool = True, only: str = "", modes: bool = False, intrusive: bool = False
) -> Callable[[_Function], _Function]:
    """Enter a function as the check of this name.

    ``login``: it needs credentials. ``only``: ``udp``, ``stream`` or ``tls``. ``modes``: it is run with every kind of
    integrity that the server offers. ``intrusive``: it may disturb others. Raises KeyError for a name that the table
    does not have.
    """

    def enter(function: _Function) -> _Function:
        row = checks()[name]
        if name in _found:
            raise ValueError(f"two functions are the check {name}")
        group = function.__module__.rpartition(".")[2]
        _found[name] = Check(row, function, group, login, only, modes, intrusive)
        return function

    return enter


def registered() -> Mapping[str, Check]:
    """What has been entered so far, by name."""
    return _found
