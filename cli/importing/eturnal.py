"""From eturnal's ``eturnal.yml`` to a plan. What an option means is what eturnal 1.12 does with it."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from cli.importing.networks import address, networks, without
from cli.importing.outcome import FoundSecret, Given, Plan
from cli.importing.peer_acl import Range, take_acl
from turnserver.config.document import Document, parse
from turnserver.core.special_purpose import DEFAULT_DENY
from turnserver.core.types import IpNetwork
from turnserver.errors import Problem

__all__ = ["import_eturnal"]

_ROOT: Final = "eturnal"
_JOURNAL: Final = "the log goes to standard error, and from there where the service manager puts it"
_NUMBER: Final = "a whole number, or unlimited"
_UNLIMITED: Final = ("unlimited", "infinity")
_WORDS: Final = ("recommended", "default")
_MOST_PERMISSIONS: Final = 65536

_LEVELS: Final[Mapping[str, str]] = MappingProxyType(
    {"critical": "error", "error": "error", "warning": "warning", "notice": "info", "info": "info", "debug": "debug"}
)

_ALREADY: Final[Mapping[str, str]] = MappingProxyType(
    {
        "log_dir": _JOURNAL,
        "log_rotate_size": _JOURNAL,
        "log_rotate_count": _JOURNAL,
        "run_dir": "nothing is kept there",
        "tls_dh_file": "keys are exchanged with elliptic curves only",
        "tls_options": "nothing older than TLS 1.2 is offered, and nothing is compressed or renegotiated",
    }
)

_CANNOT: Final[Mapping[str, str]] = MappingProxyType({"hooks": "events are in the log, and in the metrics"})

_MODULES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "mod_log_stun": "Binding requests have no line; the metrics count them",
        "mod_stats_influx": "metrics are for Prometheus (metrics.port)",
        "mod_example": "it does nothing",
    }
)


class _File:
    """A file of eturnal: its options with their lines."""

    def __init__(self, text: str, plan: Plan) -> None:
        self.plan = plan
        document = parse(text)
        plan.problems += document.problems
        root = document.data.get(_ROOT) if isinstance(document.data, dict) else None
        if not document.problems and not isinstance(root, dict):
            allowed = "a mapping with the key eturnal, and a mapping of options in it"
            plan.problems.append(Problem("", document.line_of((_ROOT,)), "a file of another form", allowed))
        self.options: dict[Any, Any] = root if isinstance(root, dict) else {}
        self._document: Document = document
        self._left = [name for name in self.options if isinstance(name, str)]

    @property
    def left(self) -> list[str]:
        """The options that nobody has asked for."""
        return list(self._left)

    def given(self, *path: str | int) -> Given:
        """The place of something below the root."""
        return Given(self._document.line_of((_ROOT, *path)), str(path[0]))

    def has(self, name: str) -> bool:
        """Whether there is an option; it is asked for by this."""
        if name in self._left:
            self._left.remove(name)
        return self.options.get(name) is not None

    def of(self, kind: type, name: str, allowed: str) -> Any:
        """The value of an option, None without one or if it is of another kind, which is an error of the file."""
        if not self.has(name):
            return None
        value = self.options[name]
        if isinstance(value, kind) and (kind is bool or not isinstance(value, bool)):
            return value
        self.plan.wrong(self.given(name), "a value of another kind", allowed)
        return None

    def items(self, name: str, allowed: str) -> list[tuple[Given, Any]]:
        """The items of a list, or a single value, each with its line."""
        if not self.has(name):
            return []
        value = self.options[name]
        if isinstance(value, list):
            return [(self.given(name, index), item) for index, item in enumerate(value)]
        if isinstance(value, dict):
            self.plan.wrong(self.given(name), "a mapping", allowed)
            return []
        return [(self.given(name), value)]


def import_eturnal(text: str) -> Plan:
    """Translate a file. The plan has been settled, unless it has problems, which are errors of the file."""
    plan = Plan()
    file = _File(text, plan)
    if not plan.problems:
        for step in _STEPS:
            step(file)
        for name in file.left:
            given = file.given(name)
            if name in _ALREADY:
                plan.same(given, _ALREADY[name])
            else:
                plan.refuse(given, _CANNOT.get(name, "eturnal 1.12 has no such option"))
    if not plan.problems:
        plan.settle()
    return plan


def _listeners(file: _File) -> None:
    plan = file.plan
    found: list[dict[str, Any]] = []
    items = file.items("listen", "a list of listeners")
    for given, item in items:
        made = _listener(plan, given, item)
        found += [each for each in made if each not in found]
    if not items:
        found = [
            {"transport": transport, "address": host, "port": 3478}
            for host in ("0.0.0.0", "::")
            for transport in ("udp", "tcp")
        ]
    if found:
        plan.take(("listeners",), found, file.given("listen") if items else Given(0, "listen"))
    certificate, key = file.of(str, "tls_crt_file", "a path"), file.of(str, "tls_key_file", "a path")
    if certificate:
        pair = [{"certificate": certificate, "key": key or certificate}]
        names = [name for name in ("tls_crt_file", "tls_key_file") if name in file.options]
        plan.take(("tls", "certificates"), pair, *map(file.given, names))
    elif key:
        plan.refuse(file.given("tls_key_file"), "tls.certificates takes it together with the certificate")
    ciphers = file.of(str, "tls_ciphers", "a text")
    if ciphers and certificate:
        plan.take(("tls", "ciphers"), ciphers, file.given("tls_ciphers"))
    elif ciphers:
        plan.same(file.given("tls_ciphers"), "without a certificate there is no TLS")


def _listener(plan: Plan, given: Given, item: Any) -> list[dict[str, Any]]:
    """The listeners of an item: ``::`` is for both families with eturnal."""
    allowed = "a mapping with ip, port, and transport (udp, tcp, tls or auto)"
    host = address(item["ip"]) if isinstance(item, dict) and isinstance(item.get("ip"), str) else None
    if host is None:
        plan.wrong(given, "no listener", allowed)
        return []
    transport = item.get("transport", "udp")
    port = item.get("port", 5349 if transport == "tls" else 3478)
    if transport not in {"udp", "tcp", "tls", "auto"} or isinstance(port, bool) or not isinstance(port, int):
        plan.wrong(given, "no listener", allowed)
        return []
    if item.get("proxy_protocol"):
        plan.refuse(
            given, "proxy_protocol: set proxies to the addresses of the proxy; PROXY headers of others are refused"
        )
    if item.get("enable_turn") is False:
        plan.refuse(given, "enable_turn: every listener has TURN, for clients with a credential")
    kind = {"transport": "tcp", "tls": "auto"} if transport == "auto" else {"transport": transport}
    hosts = ("0.0.0.0", "::") if str(host) == "::" else (str(host),)
    return [{**kind, "address": each, "port": port} for each in hosts]


def _relays(file: _File) -> None:
    plan = file.plan
    first = file.of(int, "relay_min_port", "a port")
    last = file.of(int, "relay_max_port", "a port")
    if first is not None or last is not None:
        names = [name for name in ("relay_min_port", "relay_max_port") if name in file.options]
        low, high = 49152 if first is None else first, 65535 if last is None else last
        plan.take(("relay", "ports"), f"{low}-{high}", *map(file.given, names))
    taken = False
    for name in ("relay_ipv4_addr", "relay_ipv6_addr"):
        value = file.of(str, name, "an address")
        if value is None:
            continue
        host = address(value)
        if host is None:
            plan.wrong(file.given(name), "no address", "an address")
        elif taken:
            advice = "IPv6 relays have the host's own address; if clients need another, relay.external takes pairs"
            plan.refuse(file.given(name), advice)
        else:
            taken = True
            plan.take(("relay", "external"), str(host), file.given(name))


def _auth(file: _File) -> None:
    plan = file.plan
    realm = file.of(str, "realm", "a text")
    plan.take(("realm",), realm or "eturnal.net", file.given("realm") if realm else Given(0, "realm"))
    secrets: list[FoundSecret] = []
    for given, item in file.items("secret", "a text, or a list of texts"):
        if isinstance(item, str) and item:
            secrets.append(FoundSecret(f"turn-{len(secrets) + 1}.secret" if secrets else "turn.secret", item))
        else:
            plan.wrong(given, "no text", "a text; digits need quotes")
    if secrets:
        plan.take(("auth", "shared_secrets"), list(secrets), file.given("secret"))
    elif not file.options.get("credentials"):
        advice = "eturnal takes it from the variable ETURNAL_SECRET: auth.shared_secrets takes {env: ETURNAL_SECRET}"
        plan.refuse(Given(0, "secret"), advice)
    users = file.of(dict, "credentials", "a mapping of names and passwords") or {}
    for number, (name, password) in enumerate(users.items(), 1):
        given = file.given("credentials", name)
        if isinstance(password, str) and password:
            plan.take(("auth", "users", str(name)), FoundSecret(f"user-{number}.password", password), given)
        else:
            plan.wrong(given, "no text", "a password; digits need quotes")
    strict = file.of(bool, "strict_expiry", "true or false")
    if strict:
        plan.take(("auth", "strict_expiry"), True, file.given("strict_expiry"))
    elif strict is False:
        plan.same(file.given("strict_expiry"), "auth.strict_expiry is false")


def _limits(file: _File) -> None:
    plan = file.plan
    for name, option, default, unlimited in (
        ("max_allocations", "allocations_per_user", 10, "unlimited"),
        ("max_permissions", "permissions_per_allocation", 10, _MOST_PERMISSIONS),
    ):
        value: Any = file.options.get(name) if file.has(name) else default
        given = file.given(name) if name in file.options else Given(0, name)
        if value in _UNLIMITED:
            plan.take(("limits", option), unlimited, given)
        elif isinstance(value, bool) or not isinstance(value, int) or value < 1:
            plan.wrong(given, "no number", _NUMBER)
        elif name in file.options:
            plan.take(("limits", option), value, given)
        else:
            advice = f"eturnal's default is {default}; limits.{option} has a larger one"
            plan.refuse(given, advice)
    if file.has("max_bps"):
        given = file.given("max_bps")
        if file.options["max_bps"] in (*_UNLIMITED, "none"):
            plan.same(given, "there is no limit of bandwidth")
        else:
            plan.refuse(given, "there is no limit of bandwidth: use tc, or the limits of the host")


def _peers(file: _File) -> None:
    """``whitelist`` and ``blacklist`` are the former names, for peers and clients at once."""
    plan = file.plan
    found: dict[bool, list[Range]] = {True: [], False: []}
    for name, allows in (
        ("whitelist_peers", True),
        ("whitelist", True),
        ("blacklist_peers", False),
        ("blacklist", False),
    ):
        for given, item in file.items(name, "a list of networks"):
            these = _networks(item)
            if these is None:
                plan.wrong(given, "no network", "an address, or a network in CIDR notation")
            else:
                found[allows].append(Range(given, these))
    take_acl(plan, found[True], found[False], Given(0, "blacklist_peers"))


def _clients(file: _File) -> None:
    """A white list is an exception from the black list with eturnal, and all that there is here."""
    plan = file.plan
    found: dict[str, list[tuple[Given, list[IpNetwork]]]] = {}
    for name in ("whitelist_clients", "blacklist_clients"):
        found[name] = []
        for given, item in file.items(name, "a list of networks"):
            these = _networks(item)
            if these is None or item in _WORDS:
                plan.wrong(given, "no network", "an address, or a network in CIDR notation")
            else:
                found[name].append((given, these))
    holes = [network for _, these in found["whitelist_clients"] for network in these]
    for given, _ in found["whitelist_clients"]:
        plan.same(given, "it is cut out of clients.deny; all others may come, too")
    denied = [(given, without(these, holes)) for given, these in found["blacklist_clients"]]
    networks_denied = [str(network) for _, these in denied for network in these]
    if networks_denied:
        plan.take(("clients", "deny"), list(dict.fromkeys(networks_denied)), *(given for given, _ in denied))
    else:
        for given, _ in denied:
            plan.same(given, "whitelist_clients has it")


def _networks(item: Any) -> Any:
    if item in _WORDS:
        return list(DEFAULT_DENY)
    return networks(item) if isinstance(item, str) and "-" not in item else None


def _rest(file: _File) -> None:
    plan = file.plan
    software = file.of(str, "software_name", "a text")
    if software:
        plan.take(("software",), software, file.given("software_name"))
    level = file.of(str, "log_level", "one of " + ", ".join(_LEVELS))
    if level in _LEVELS and _LEVELS[level] == "info":
        plan.same(file.given("log_level"), "log.level is info")
    elif level in _LEVELS:
        plan.take(("log", "level"), _LEVELS[level], file.given("log_level"))
    elif level is not None:
        plan.wrong(file.given("log_level"), "no level", "one of " + ", ".join(_LEVELS))
    modules = file.of(dict, "modules", "a mapping of modules") or {}
    for name, settings in modules.items():
        given = file.given("modules", name)._replace(name=str(name))
        if name == "mod_stats_prometheus":
            port = settings.get("port", 8081) if isinstance(settings, dict) else 8081
            plan.take(("metrics", "port"), port, given)
            plan.refuse(given, "metrics.address is 127.0.0.1; the names of the metrics are others")
        else:
            plan.refuse(given, _MODULES.get(str(name), "there is no such module"))


_STEPS: Final[tuple[Callable[[_File], None], ...]] = (_listeners, _relays, _auth, _limits, _peers, _clients, _rest)
