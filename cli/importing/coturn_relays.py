"""coturn's relays: addresses, ports, the address behind NAT; and the servers that clients are sent to."""

from typing import Final

from cli.importing.coturn_file import number
from cli.importing.networks import address, endpoint
from cli.importing.options import Options
from cli.importing.outcome import Given
from turnserver.core.types import IpAddress

__all__ = ["relays"]

_NAME: Final = "a name is not resolved: write the address itself"
_FIRST, _LAST = 49152, 65535


def relays(options: Options) -> None:
    """``relay.addresses``, ``relay.external``, ``relay.ports`` and ``alternate_servers``."""
    own = _addresses(options)
    _external(options, own)
    _ports(options)
    _alternates(options)


def _addresses(options: Options) -> list[IpAddress]:
    plan = options.plan
    sources: list[Given] = []
    found: list[IpAddress] = []
    for given in options.all("relay-ip"):
        host = address(given.value)
        if host is None:
            plan.refuse(given, _NAME)
        elif host in found:
            plan.same(given, "another line says the same")
        else:
            found.append(host)
            sources.append(given)
    if found:
        plan.take(("relay", "addresses"), [str(host) for host in found], *sources)
    return found


def _external(options: Options, own: list[IpAddress]) -> None:
    """One public address, or pairs of public and own ones."""
    plan = options.plan
    single: tuple[Given, IpAddress] | None = None
    pairs: dict[str, str] = {}
    sources: list[Given] = []
    for given in options.all("external-ip"):
        public, slash, private = given.value.partition("/")
        shown, bound = address(public), address(private) if slash else None
        if shown is None or (slash and bound is None):
            name = "a name is not resolved: write the address, or relay.external: auto with relay.stun_server"
            plan.refuse(given, name)
        elif bound is None:
            if single is not None:
                plan.refuse(given, "a second public address needs the own address that it belongs to: PUBLIC/OWN")
            else:
                single = given, shown
        elif own and bound not in own:
            plan.refuse(given, f"nothing is relayed from {bound}: relay-ip does not name it")
        elif shown.version != bound.version or str(bound) in pairs or str(shown) in pairs.values():
            plan.refuse(given, "relay.external has one public address of the same family for each own one")
        else:
            pairs[str(bound)] = str(shown)
            sources.append(given)
    if pairs:
        plan.take(("relay", "external"), pairs, *sources)
        if single is not None:
            plan.refuse(single[0], "there are pairs PUBLIC/OWN, which count; add one for this address")
    elif single is not None:
        plan.take(("relay", "external"), str(single[1]), single[0])


def _ports(options: Options) -> None:
    plan = options.plan
    least, most = options.last("min-port"), options.last("max-port")
    if least is None and most is None:
        return
    first = _FIRST if least is None else number(least, plan)
    last = _LAST if most is None else number(most, plan)
    plan.take(("relay", "ports"), f"{first}-{last}", *(given for given in (least, most) if given is not None))


def _alternates(options: Options) -> None:
    """The first server of each family; coturn takes turns among many."""
    plan = options.plan
    found: dict[int, str] = {}
    sources: list[Given] = []
    for given in options.all("alternate-server"):
        place = endpoint(given.value, 3478)
        if place is None:
            plan.refuse(given, _NAME)
        elif place[0].version in found:
            plan.refuse(given, "alternate_servers has one server for each family; give clients the URLs of all")
        else:
            host = f"[{place[0]}]" if place[0].version == 6 else str(place[0])
            found[place[0].version] = f"{host}:{place[1]}"
            sources.append(given)
    if found:
        plan.take(("alternate_servers",), list(found.values()), *sources)
