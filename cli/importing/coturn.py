"""From the options of coturn's ``turnserver.conf`` to a plan. What an option means is what coturn 4.6 does with it."""

from collections.abc import Sequence
from typing import Any, Final

from cli.importing.coturn_file import boolean, number, read_coturn
from cli.importing.coturn_listeners import listeners
from cli.importing.coturn_relays import relays
from cli.importing.coturn_users import users
from cli.importing.options import Options
from cli.importing.outcome import Given, Plan
from cli.importing.peer_acl import coturn_peers
from cli.importing.verdicts import ALREADY, CANNOT, KNOWN

__all__ = ["import_coturn"]

_PROMETHEUS_PORT: Final = 9641
_SHORTEST, _LONGEST_NONCE = 60, 3600
_MAX_LIFETIME: Final = 86_400
_DEFAULT_LIFETIME: Final = 600
_FIXED: Final = {"channel-lifetime": 600, "permission-lifetime": 300, "max-bps": 0, "bps-capacity": 0}
_FIXED_TEXT: Final = {
    "channel-lifetime": "RFC 8656 §12 sets 600 seconds",
    "permission-lifetime": "RFC 8656 §9 sets 300 seconds",
    "max-bps": "there is no limit of bandwidth: use tc, or the limits of the host",
    "bps-capacity": "there is no limit of bandwidth: use tc, or the limits of the host",
}


def import_coturn(text: str) -> Plan:
    """Translate a file. The plan has been settled, unless it has problems, which are errors of the file."""
    plan = Plan()
    options = Options(read_coturn(text, plan), plan)
    _static(options)
    for step in (listeners, relays, users, coturn_peers, _limits, _rest):
        step(options)
    options.finish()
    if not plan.problems:
        plan.settle()
    return plan


def _static(options: Options) -> None:
    """Options whose meaning here does not depend on anything; and those that coturn does not know."""
    for name in options.names():
        if name in ALREADY or name in CANNOT or name not in KNOWN:
            for given in options.all(name):
                if name in ALREADY:
                    options.plan.same(given, ALREADY[name])
                elif name in CANNOT:
                    options.plan.refuse(given, CANNOT[name])
                else:
                    options.plan.refuse(given, _unknown(name))


def _unknown(name: str) -> str:
    if name.startswith("-"):
        return "coturn ignores the line: names have no dashes before them in its file"
    return "coturn 4.6 ignores the line: it has no such option"


def _limits(options: Options) -> None:
    """Quotas and lifetimes."""
    plan = options.plan
    for name, path in (("user-quota", "allocations_per_user"), ("total-quota", "allocations")):
        given = options.last(name)
        if given is None:
            default = {"user-quota": "64 allocations a user", "total-quota": "12,000 allocations"}[name]
            advice = f"coturn has no quota by default, meshturn {default}: limits.{path} sets it, or unlimited"
            plan.refuse(Given(0, name), advice)
        else:
            plan.take(("limits", path), number(given, plan) or "unlimited", given)
    _lifetime(options)
    _nonce(options)
    for name, only in _FIXED.items():
        given = options.last(name)
        if given is None:
            continue
        if number(given, plan, only) == only:
            plan.same(given, _FIXED_TEXT[name] if only else "there is no limit of bandwidth")
        else:
            plan.refuse(given, _FIXED_TEXT[name])


def _lifetime(options: Options) -> None:
    given = options.last("max-allocate-lifetime")
    if given is None:
        return
    seconds = number(given, options.plan, 3600)
    inside = min(max(seconds, _SHORTEST), _MAX_LIFETIME)
    options.plan.take(("limits", "max_lifetime"), inside, given)
    if inside < _DEFAULT_LIFETIME:
        options.plan.take(("limits", "default_lifetime"), inside)
    if inside != seconds:
        options.plan.refuse(given, f"{seconds} seconds is outside of what limits.max_lifetime can be; it is {inside}")


def _nonce(options: Options) -> None:
    given = options.last("stale-nonce")
    if given is None:
        return
    seconds = number(given, options.plan, 600)
    inside = min(max(seconds or _LONGEST_NONCE, _SHORTEST), _LONGEST_NONCE)
    options.plan.take(("auth", "nonce_lifetime"), inside, given)
    if inside != seconds:
        meant = f"{seconds} seconds" if seconds else "a nonce that does not expire"
        options.plan.refuse(given, f"{meant} is not possible; auth.nonce_lifetime is {inside}. Clients notice nothing")


def _rest(options: Options) -> None:
    """Options that stand for themselves."""
    plan = options.plan
    switches: Sequence[tuple[str, tuple[str, ...], Any, str]] = (
        ("no-tcp-relay", ("relay", "tcp"), False, "TCP relays are offered (relay.tcp)"),
        ("mobility", ("relay", "mobility"), True, "relay.mobility is off"),
        ("no-stun-backward-compatibility", ("stun", "classic"), False, "clients of RFC 3489 are answered"),
        ("no-software-attribute", ("software",), "", "SOFTWARE is sent, without a version"),
        ("prod", ("software",), "", "SOFTWARE is sent, without a version"),
        ("Verbose", ("log", "level"), "debug", "log.level is info"),
    )
    for name, path, value, otherwise in switches:
        given = options.last(name)
        if given is not None:
            options.switch(given, path, value, otherwise, on=boolean(given, plan))
    family = options.last("allocation-default-address-family")
    if family is not None:
        if family.value in {"ipv4", "ipv6"}:
            plan.take(("relay", "default_family"), family.value, family)
        else:
            advice = "the family of the client's address is no choice; relay.default_family is auto, ipv4 or ipv6"
            plan.refuse(family, advice)
    _prometheus(options)


def _prometheus(options: Options) -> None:
    plan = options.plan
    flag, port = options.last("prometheus"), options.last("prometheus-port")
    chosen = number(port, plan) if port is not None else _PROMETHEUS_PORT
    if flag is None:
        if port is not None:
            plan.refuse(port, f"coturn ignores it without prometheus; metrics: {{port: {chosen}}} would have it")
        return
    plan.take(("metrics", "port"), chosen, *(given for given in (flag, port) if given is not None))
    advice = "coturn's is open on every address, metrics.address is 127.0.0.1; the names of the metrics are others"
    plan.refuse(flag, advice)
