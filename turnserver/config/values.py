"""The kinds of values of options: how each is read, its name, and what it allows.

A kind is a :class:`Rule`, attached to a field with ``Annotated``. The same object makes the validator, the error
message, the JSON Schema and the reference page, so these always agree.
"""

import contextlib
import os
import re
import stat
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, TypeVar, get_args

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationInfo
from pydantic_core import CoreSchema, core_schema

from auth.errors import InvalidString
from auth.keys import opaque_string
from stun.address import Address
from turnserver.config.context import Context, refuse, warn
from turnserver.core.types import IpAddress, IpNetwork, PortRange
from turnserver.durations import PATTERN, read_duration, spell_duration
from turnserver.registry import Registry

__all__ = [
    "LIVE",
    "MAX_ITEMS",
    "AddressOption",
    "Boolean",
    "CertificatePath",
    "FilePath",
    "Live",
    "Named",
    "NetworkOption",
    "PortRangeOption",
    "PrivateFilePath",
    "RealmText",
    "Rule",
    "SeparatorText",
    "ServerEndpoint",
    "Sized",
    "SoftwareText",
    "TlsOption",
    "UnicastAddress",
    "UserName",
    "Varies",
    "choice",
    "describe",
    "duration",
    "integer",
    "kind_of",
    "rule_in",
]

T = TypeVar("T")

MAX_ITEMS = 10_000
"""The longest list or mapping; networks are searched one by one, so thousands are already too many."""


_LONGEST_SHOWN = 60
_PORTS = re.compile(r"([0-9]{1,5})\s*-\s*([0-9]{1,5})", re.ASCII)
_ENDPOINT = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]{2,45})\]|(?P<v4>[0-9.]{7,15})):(?P<port>[0-9]{1,5})", re.ASCII)
_MAX_ATTRIBUTE_CHARACTERS = 127
_MAX_ATTRIBUTE_BYTES = 763
_MAX_USERNAME_BYTES = 508


def describe(value: object) -> str:
    """Return what was found, in a few words: short texts and numbers themselves, everything else by kind."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        shown = repr(value) if len(value) <= _LONGEST_SHOWN else ""
        # Escapes make ten characters of one.
        return shown if 0 < len(shown) <= 2 * _LONGEST_SHOWN else f"a text of {len(value)} characters"
    if isinstance(value, int | float | IpAddress | IpNetwork):
        text = str(value) if not isinstance(value, int) or abs(value) < 10**_LONGEST_SHOWN else "a huge number"
        return text if len(text) <= _LONGEST_SHOWN else "a huge number"
    return kind_of(value)


def kind_of(value: object) -> str:
    """Return the kind of a value without the value itself, which may be a secret."""
    if value is None:
        return "nothing"
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    if isinstance(value, bool | int | float):
        return "a number or a boolean"
    return "a text" if isinstance(value, str) else f"a value of type {type(value).__name__}"


@dataclass(frozen=True, eq=False)
class Rule(Generic[T]):
    """One kind of value.

    ``read`` makes the value or calls :func:`~turnserver.config.context.refuse`; ``name`` says the kind in the
    reference page, ``allowed`` in an error; ``schema`` is JSON Schema; ``dump`` turns the value back into what YAML
    can hold.
    """

    name: str
    allowed: str
    schema: dict[str, Any]
    read: Callable[[object, "Rule[T]", ValidationInfo], T]
    dump: Callable[[T], Any] = str

    def refuse(self, value: object) -> T:
        """Refuse a value, saying what it is and what is allowed."""
        refuse(describe(value), self.allowed)

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Validate with ``read`` alone; serialize with ``dump``."""
        return core_schema.with_info_plain_validator_function(
            lambda value, info: self.read(value, self, info),
            serialization=core_schema.plain_serializer_function_ser_schema(self.dump),
        )

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Return a copy of the JSON Schema."""
        return dict(self.schema)


@dataclass(frozen=True)
class Sized:
    """A list (``mapping=False``) or a mapping with bounds on its size, checked before any item is validated.

    Keys of a mapping that are spelled differently and mean the same are refused, because one would replace the other.
    """

    most: int
    least: int = 0
    mapping: bool = False

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Put the checks around what validates the items."""
        return core_schema.no_info_wrap_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Add the bounds to the JSON Schema."""
        suffix = "Properties" if self.mapping else "Items"
        bounds = {f"max{suffix}": self.most} | ({f"min{suffix}": self.least} if self.least else {})
        return {**handler(schema), **bounds}

    def _check(self, value: object, validate_items: Callable[[object], Any]) -> object:
        if not isinstance(value, Mapping if self.mapping else list | tuple):
            refuse(kind_of(value), "a mapping" if self.mapping else "a list")
        if not self.least <= len(value) <= self.most:
            refuse(f"{len(value)} items", f"{self.least} to {self.most} items")
        items = validate_items(value)
        if len(items) != len(value):
            refuse("the same key twice, spelled differently", "each key once")
        return items


@dataclass(frozen=True)
class Varies:
    """Marks an option whose default depends on others; the reference page shows ``how`` instead of a default."""

    how: str


@dataclass(frozen=True)
class Live:
    """Marks an option whose change a running server applies (SIGHUP, `turnserver.server.Server.reload`).

    Changes of other options wait for a restart.
    """


LIVE = Live()


def _identity(value: T) -> T:
    return value


def integer(least: int, most: int, unit: str = "") -> Rule[int]:
    """Return the rule for a whole number from ``least`` to ``most``, of a unit."""
    suffix = f" {unit}" if unit else ""

    def read(value: object, rule: Rule[int], _info: ValidationInfo) -> int:
        if isinstance(value, int) and not isinstance(value, bool) and least <= value <= most:
            return int(value)
        return rule.refuse(value)

    return Rule(
        name=f"integer, {least:,} to {most:,}{suffix}",
        allowed=f"a whole number from {least} to {most}{suffix}",
        schema={"type": "integer", "minimum": least, "maximum": most},
        read=read,
        dump=_identity,
    )


def duration(least: int, most: int) -> Rule[int]:
    """Return the rule for a time in whole seconds, written as a number or like ``10m``, ``1h30m``, ``1d``."""

    def read(value: object, rule: Rule[int], _info: ValidationInfo) -> int:
        seconds = value
        if isinstance(value, str):
            with contextlib.suppress(ValueError):
                seconds = read_duration(value)
        if isinstance(seconds, int) and not isinstance(seconds, bool) and least <= seconds <= most:
            return int(seconds)
        return rule.refuse(value)

    span = f"{spell_duration(least)} to {spell_duration(most)}"
    return Rule(
        name=f"duration, {span}",
        allowed=f"a time from {span}: seconds, or a number with s, m, h, d or w (600, 10m, 1h30m)",
        schema={
            "anyOf": [
                {"type": "integer", "minimum": least, "maximum": most},
                {"type": "string", "pattern": f"^({PATTERN})$"},
            ],
        },
        read=read,
        dump=_identity,
    )


def choice(literal: object) -> Rule[str]:
    """Return the rule for one of several words, those of a ``Literal``."""
    return _words(get_args(literal))


@dataclass(frozen=True, eq=False)
class Named:
    """One of the names in a registry. The registry is read at each validation, so later entries can be configured, too.

    ``besides`` are further words that are allowed. Messages, the schema and the reference page list only the names
    that the registry offers.
    """

    registry: Registry[Any]
    besides: tuple[str, ...] = ()

    @property
    def rule(self) -> Rule[str]:
        """The rule as it is now."""
        return _words((*self.besides, *self.registry.offered), also=self.registry)

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Validate with the rule as it is then."""

        def read(value: object, info: ValidationInfo) -> str:
            rule = self.rule
            return rule.read(value, rule, info)

        return core_schema.with_info_plain_validator_function(
            read, serialization=core_schema.plain_serializer_function_ser_schema(str)
        )

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Return the JSON Schema of the rule as it is now."""
        return dict(self.rule.schema)


def rule_in(metadata: Iterable[object]) -> Rule[Any] | None:
    """Return the rule among the annotations of an option, if it has one."""
    for item in metadata:
        if isinstance(item, Rule | Named):
            return item if isinstance(item, Rule) else item.rule
    return None


def _words(values: tuple[str, ...], also: Container[str] = ()) -> Rule[str]:
    """Return the rule for one of several words; those in ``also`` are accepted, but not listed."""

    def read(value: object, rule: Rule[str], _info: ValidationInfo) -> str:
        return value if isinstance(value, str) and (value in values or value in also) else rule.refuse(value)

    return Rule(
        name=" or ".join(f"`{value}`" for value in values),
        allowed=" or ".join(values),
        schema={"type": "string", "enum": list(values)},
        read=read,
        dump=str,
    )


def _read_boolean(value: object, rule: Rule[bool], _info: ValidationInfo) -> bool:
    return value if isinstance(value, bool) else rule.refuse(value)


Boolean = Annotated[bool, Rule("`true` or `false`", "true or false", {"type": "boolean"}, _read_boolean, _identity)]
"""A switch."""


def _read_tls(value: object, rule: Rule[bool | str], _info: ValidationInfo) -> bool | str:
    return value if isinstance(value, bool) or value == "auto" else rule.refuse(value)


TlsOption = Annotated[
    bool | Literal["auto"],
    Rule("`true`, `false` or `auto`", "true, false or auto", {"enum": [True, False, "auto"]}, _read_tls, _identity),
]
"""Whether clients use TLS; ``auto`` leaves it to them."""


def _fits_attribute(text: str) -> bool:
    try:
        return len(text) <= _MAX_ATTRIBUTE_CHARACTERS and len(text.encode()) <= _MAX_ATTRIBUTE_BYTES
    except UnicodeEncodeError:
        return False


def _prepared(value: object) -> str | None:
    """Return a text after OpaqueString preparation (RFC 8265 §4.2), or None for anything else."""
    try:
        return opaque_string(value) if isinstance(value, str) else None
    except InvalidString:
        return None


def _read_realm(value: object, rule: Rule[str], _info: ValidationInfo) -> str:
    text = _prepared(value)
    if text is None or not _fits_attribute(text) or text != text.strip() or not set('"\\').isdisjoint(text):
        return rule.refuse(value)
    return text


RealmText = Annotated[
    str,
    Rule(
        "text",
        "a text of 1 to 127 characters without quotation marks, backslashes, controls or spaces around it",
        {"type": "string", "minLength": 1, "maxLength": _MAX_ATTRIBUTE_CHARACTERS},
        _read_realm,
    ),
]
"""REALM (RFC 8489 §14.9): an OpaqueString that fits a quoted-string and the attribute."""


def _read_software(value: object, rule: Rule[str], _info: ValidationInfo) -> str:
    if isinstance(value, str) and value.isprintable() and _fits_attribute(value):
        return value
    return rule.refuse(value)


SoftwareText = Annotated[
    str,
    Rule(
        "text",
        "a printable text of at most 127 characters, or an empty one",
        {"type": "string", "maxLength": _MAX_ATTRIBUTE_CHARACTERS},
        _read_software,
    ),
]
"""SOFTWARE (RFC 8489 §14.14)."""


def _read_separator(value: object, rule: Rule[str], _info: ValidationInfo) -> str:
    text = _prepared(value)
    if text is None or len(text) > 8 or any(character.isdigit() for character in text):
        return rule.refuse(value)
    return text


SeparatorText = Annotated[
    str,
    Rule(
        "text",
        "a text of 1 to 8 characters without digits",
        {"type": "string", "minLength": 1, "maxLength": 8, "pattern": "^[^0-9]+$"},
        _read_separator,
    ),
]
"""The text between the expiry and the user of a time-limited username."""


def _read_user_name(value: object, rule: Rule[str], _info: ValidationInfo) -> str:
    text = _prepared(value)
    if text is None or len(text.encode()) > _MAX_USERNAME_BYTES:
        return rule.refuse(value)
    return text


UserName = Annotated[
    str,
    Rule(
        "user name",
        f"a user name of 1 to {_MAX_USERNAME_BYTES} bytes without control or invisible characters (RFC 8265)",
        {"type": "string", "minLength": 1, "maxLength": _MAX_USERNAME_BYTES},
        _read_user_name,
    ),
]
"""USERNAME (RFC 8489 §14.3), kept in its prepared form."""


def _read_any_address(value: object) -> IpAddress | None:
    if isinstance(value, IpAddress):
        return value
    if not isinstance(value, str) or len(value) > _LONGEST_SHOWN or "%" in value:
        return None
    try:
        return ip_address(value)
    except ValueError:
        return None


def _read_address(value: object, rule: Rule[IpAddress], _info: ValidationInfo) -> IpAddress:
    address = _read_any_address(value)
    if address is None or address.is_multicast or address == IPv4Address("255.255.255.255"):
        return rule.refuse(value)
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        refuse(describe(value), f"the IPv4 address itself: {address.ipv4_mapped}")
    return address


def _read_unicast(value: object, rule: Rule[IpAddress], info: ValidationInfo) -> IpAddress:
    address = _read_address(value, rule, info)
    return rule.refuse(value) if address.is_unspecified else address


_ADDRESS_SCHEMA: dict[str, Any] = {"anyOf": [{"type": "string", "format": kind} for kind in ("ipv4", "ipv6")]}

AddressOption = Annotated[
    IpAddress,
    Rule(
        "address",
        'an IPv4 or IPv6 address of this host, or "0.0.0.0" or "::" (in quotes) for all of them',
        _ADDRESS_SCHEMA,
        _read_address,
    ),
]
"""An address to listen on."""

UnicastAddress = Annotated[
    IpAddress,
    Rule(
        "address",
        "one IPv4 or IPv6 address (no name, no wildcard, no multicast)",
        _ADDRESS_SCHEMA,
        _read_unicast,
    ),
]
"""The address of one interface."""


def _read_network(value: object, rule: Rule[IpNetwork], _info: ValidationInfo) -> IpNetwork:
    if isinstance(value, IpNetwork):
        return value
    if not isinstance(value, str) or len(value) > 2 * _LONGEST_SHOWN or "%" in value:
        return rule.refuse(value)
    try:
        return ip_network(value)
    except ValueError:
        pass
    try:
        meant = ip_network(value, strict=False)
    except ValueError:
        return rule.refuse(value)
    return refuse(describe(value), f"the network {meant}, or the address {value.split('/')[0]} by itself")


NetworkOption = Annotated[
    IpNetwork,
    Rule(
        "network",
        "an IPv4 or IPv6 network or address (192.168.0.0/16, fd00::/8, 10.0.0.1)",
        {"type": "string"},
        _read_network,
    ),
]
"""A network in CIDR notation, or a single address."""


def _read_ports(value: object, rule: Rule[PortRange], _info: ValidationInfo) -> PortRange:
    match = _PORTS.fullmatch(value) if isinstance(value, str) else None
    ports = PortRange(int(match[1]), int(match[2])) if match else value
    if isinstance(ports, PortRange) and 1024 <= ports.first < ports.last <= 65535:
        return ports
    return rule.refuse(value)


PortRangeOption = Annotated[
    PortRange,
    Rule(
        "range of ports",
        "FIRST-LAST with 1024 ≤ FIRST < LAST ≤ 65535, so at least two ports",
        {"type": "string", "pattern": "^[0-9]{1,5}\\s*-\\s*[0-9]{1,5}$"},
        _read_ports,
    ),
]
"""Relay ports: unprivileged, and at least a pair for EVEN-PORT (RFC 8656 §7.2)."""


def _read_endpoint(value: object, rule: Rule[Address], _info: ValidationInfo) -> Address:
    if isinstance(value, Address):
        return value
    match = _ENDPOINT.fullmatch(value) if isinstance(value, str) else None
    try:
        if match is not None:
            return Address(ip_address(match["v6"] or match["v4"]).packed, _port(match["port"]))
    except ValueError:
        pass
    return rule.refuse(value)


def _port(text: str) -> int:
    if not 1 <= int(text) <= 65535:
        raise ValueError(text)
    return int(text)


ServerEndpoint = Annotated[
    Address,
    Rule(
        "IP address and port",
        "ADDRESS:PORT, an IPv6 address in brackets (192.0.2.1:3478, [2001:db8::1]:3478)",
        {"type": "string", "pattern": "^([0-9.]+|\\[[0-9A-Fa-f:.]+\\]):[0-9]{1,5}$"},
        _read_endpoint,
    ),
]
"""Where another server is."""


def _read_file_path(value: object, rule: Rule[Path], info: ValidationInfo) -> Path:
    return _regular_file(value, rule, info)[0]


def _read_certificate_path(value: object, rule: Rule[Path], info: ValidationInfo) -> Path:
    return _file_that_may_come(value, rule, info)[0]


def _read_private_file_path(value: object, rule: Rule[Path], info: ValidationInfo) -> Path:
    path, mode = _file_that_may_come(value, rule, info)
    if mode & stat.S_IROTH:
        warn(info, f"Everybody on this host can read the private key in {_printable(path)}: use chmod o-r.")
    return path


def _file_that_may_come(value: object, rule: Rule[Path], info: ValidationInfo) -> tuple[Path, int]:
    """Return the path and the mode of a file that a server can start without (mode 0 then); not if it is `strict`."""
    if isinstance(info.context, Context) and info.context.strict:
        return _regular_file(value, rule, info)
    path = _path(value, rule, info)
    try:
        return path, os.stat(path).st_mode
    except OSError:
        return path, 0
    except ValueError:
        refuse(f"{describe(str(value))}: not a path", rule.allowed)


def _path(value: object, rule: Rule[Path], info: ValidationInfo) -> Path:
    if not isinstance(value, str | Path) or not str(value):
        rule.refuse(value)
    directory = info.context.directory if isinstance(info.context, Context) else Path.cwd()
    return directory / str(value)


def _regular_file(value: object, rule: Rule[Path], info: ValidationInfo) -> tuple[Path, int]:
    """Return the path and the mode of a file that can be read; a named pipe is not waited for."""
    path = _path(value, rule, info)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or "not a path"
        refuse(f"{describe(str(value))}: {reason}", rule.allowed)
    mode = os.fstat(descriptor).st_mode
    os.close(descriptor)
    if not stat.S_ISREG(mode):
        refuse(f"{describe(str(value))}: not a regular file", rule.allowed)
    return path, mode


def _printable(path: Path) -> str:
    return str(path) if str(path).isprintable() else ascii(str(path))


_FILE = "the path of a file that the server can read (relative paths start at the configuration file)"

FilePath = Annotated[Path, Rule("path", _FILE, {"type": "string", "minLength": 1}, _read_file_path)]
"""A file that is there and can be read, as an absolute path if the configuration's own is."""

CertificatePath = Annotated[Path, Rule("path", _FILE, {"type": "string", "minLength": 1}, _read_certificate_path)]
"""The same for a file that a server can start without; it has to be there where `Context.strict` is set."""

PrivateFilePath = Annotated[Path, Rule("path", _FILE, {"type": "string", "minLength": 1}, _read_private_file_path)]
"""The same for a file that others should not be able to read; if they can, there is a warning."""
