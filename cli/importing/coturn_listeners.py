"""coturn's listeners and certificates.

coturn tells TLS from plain on every port, and has UDP, TCP, TLS and DTLS on both of its ports. Here a ``tcp`` or a
``tls`` listener can do so (``tls: auto``), while UDP and DTLS have one port each.
"""

from typing import Any, Final

from cli.importing.coturn_file import boolean, number
from cli.importing.networks import address, endpoint
from cli.importing.options import Options
from cli.importing.outcome import Given

__all__ = ["listeners"]

_PORT: Final = 3478
_TLS_PORT: Final = 5349
_NAME: Final = "a name is not resolved: write the address itself"
_FILES: Final = (
    "its paths are relative to coturn's folder; write the whole path, or put the files beside the configuration"
)


def listeners(options: Options) -> None:
    """``listeners`` and ``tls``."""
    plan = options.plan
    off = {name: _flag(options, name) for name in ("no-udp", "no-tcp", "no-tls", "no-dtls")}
    certified = _certificates(options)
    ports = _port(options, "listening-port", _PORT), _port(options, "tls-listening-port", _TLS_PORT)
    tls, dtls = certified and not off["no-tls"], certified and not off["no-dtls"]
    found: list[dict[str, Any]] = []
    sources = [given for name in _SOURCES for given in options.all(name)]
    for host in _addresses(options):
        if not off["no-udp"]:
            found.append({"transport": "udp", "address": host, "port": ports[0]})
        if not off["no-tcp"]:
            found.append({"transport": "tcp", "address": host, "port": ports[0]} | ({"tls": "auto"} if tls else {}))
        if tls and (ports[0] != ports[1] or off["no-tcp"]):
            both = {} if off["no-tcp"] else {"tls": "auto"}
            found.append({"transport": "tls", "address": host, "port": ports[1]} | both)
        if dtls and (ports[0] != ports[1] or off["no-udp"]):
            found.append({"transport": "dtls", "address": host, "port": ports[1]})
    found += _auxiliary(options, off, tls=tls)
    if not certified:
        for name in ("tls-listening-port", "no-tls", "no-dtls"):
            for given in options.all(name):
                plan.same(given, "without cert and pkey there is no TLS and no DTLS")
        sources = [given for given in sources if given.name not in {"tls-listening-port", "no-tls", "no-dtls"}]
    elif dtls and not off["no-udp"]:
        advice = f"port {ports[0]} is UDP without DTLS, and port {ports[1]} UDP with DTLS only; coturn has both on both"
        plan.refuse(Given(0, "no-dtls"), advice)
    if found:
        plan.take(("listeners",), found, *(given for given in sources if not _said(options, given)))
    else:
        plan.wrong(Given(0, "listeners"), "a file that switches every transport off", "one that clients can use")


_SOURCES: Final = (
    "listening-ip",
    "listening-port",
    "tls-listening-port",
    "aux-server",
    "no-udp",
    "no-tcp",
    "no-tls",
    "no-dtls",
)


def _said(options: Options, given: Given) -> bool:
    """Whether an option has been spoken of."""
    plan = options.plan
    notes = (*plan.already, *plan.cannot, *(Given(each.line, each.key) for each in plan.problems))
    return any((note[0], note[1]) == (given.line, given.name) for note in notes)


def _flag(options: Options, name: str) -> bool:
    given = options.last(name)
    return given is not None and boolean(given, options.plan)


def _port(options: Options, name: str, default: int) -> int:
    given = options.last(name)
    if given is None:
        return default
    found = number(given, options.plan)
    if not 0 < found <= 65535:
        options.plan.wrong(given, "no port", "a port from 1 to 65535")
    return found


def _addresses(options: Options) -> list[str]:
    """What to listen on; without any, every address of the host."""
    found: list[str] = []
    for given in options.all("listening-ip"):
        host = address(given.value)
        if host is None:
            options.plan.refuse(given, _NAME)
        elif str(host) not in found:
            found.append(str(host))
    return found or ["0.0.0.0", "::"]


def _auxiliary(options: Options, off: dict[str, bool], *, tls: bool) -> list[dict[str, Any]]:
    """Further endpoints, with the same transports."""
    found: list[dict[str, Any]] = []
    for given in options.all("aux-server"):
        place = endpoint(given.value, _PORT)
        if place is None:
            options.plan.refuse(given, _NAME)
            continue
        host, port = str(place[0]), place[1]
        if not off["no-udp"]:
            found.append({"transport": "udp", "address": host, "port": port})
        if not off["no-tcp"]:
            found.append({"transport": "tcp", "address": host, "port": port} | ({"tls": "auto"} if tls else {}))
    return found


def _certificates(options: Options) -> bool:
    """``tls``: whether there is a certificate."""
    plan = options.plan
    chain, key = options.last("cert"), options.last("pkey")
    ciphers = options.last("cipher-list")
    if chain is None or key is None or not chain.value or not key.value:
        for given in (chain, key):
            if given is not None:
                plan.refuse(given, "cert and pkey belong together: tls.certificates takes both")
        if ciphers is not None:
            plan.same(ciphers, "without cert and pkey there is no TLS and no DTLS")
        return False
    plan.take(("tls", "certificates"), [{"certificate": chain.value, "key": key.value}], chain, key)
    for given in (chain, key):
        if not given.value.startswith("/"):
            plan.refuse(given, _FILES)
    if ciphers is not None:
        if ciphers.value in {"", "DEFAULT"}:
            plan.same(ciphers, "tls.ciphers has a list of its own, with forward secrecy and AEAD")
        else:
            plan.take(("tls", "ciphers"), ciphers.value, ciphers)
    return True
