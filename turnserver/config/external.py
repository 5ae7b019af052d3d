"""The option ``relay.external``: the public addresses in front of a server, and the STUN server that knows them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from types import MappingProxyType
from typing import Annotated, Any, Final, cast

from pydantic import GetCoreSchemaHandler, ValidationInfo
from pydantic_core import CoreSchema, core_schema

from stun.uri import InvalidUri, StunUri
from turnserver.config.context import refuse
from turnserver.config.values import Rule, Sized, UnicastAddress, describe
from turnserver.core.types import IpAddress

__all__ = ["External", "ExternalOption", "StunServerOption"]

_ASKED: Final = "auto"

_MOST: Final = 64
"""More than any host has addresses."""


class External(Mapping[IpAddress, IpAddress]):
    """The host's own addresses → the public ones that the network in front of it maps to them.

    As a mapping it is what is known from the configuration: the pairs. It is empty if the pairs depend on the host:
    with ``public``, the one public address of a server, whatever its own one is, and with ``asked``, when a STUN server
    knows. `turnserver.external` makes the pairs of these.
    """

    __slots__ = ("_pairs", "asked", "public")

    def __init__(
        self,
        pairs: Mapping[IpAddress, IpAddress] = MappingProxyType({}),
        *,
        public: IpAddress | None = None,
        asked: bool = False,
    ) -> None:
        self._pairs = dict(pairs)
        self.public = public
        self.asked = asked

    def __getitem__(self, own: IpAddress) -> IpAddress:
        """The public address for one of the pairs."""
        return self._pairs[own]

    def __iter__(self) -> Iterator[IpAddress]:
        """The host's own addresses of the pairs."""
        return iter(self._pairs)

    def __len__(self) -> int:
        """The number of pairs."""
        return len(self._pairs)

    def __eq__(self, other: object) -> bool:
        """Whether both say the same."""
        if not isinstance(other, External):
            return NotImplemented
        return (self._pairs, self.public, self.asked) == (other._pairs, other.public, other.asked)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        """As it is written in the configuration."""
        return f"External({self.as_written()!r})"

    @property
    def depends(self) -> bool:
        """Whether the pairs depend on the host, or on what a STUN server says."""
        return self.asked or self.public is not None

    @property
    def addresses(self) -> list[IpAddress]:
        """The public addresses, as far as the configuration says them."""
        return [self.public] if self.public is not None else list(self._pairs.values())

    def of(self, own: IpAddress) -> IpAddress:
        """The public address for one of the host's, as far as the configuration says it; the same without one."""
        if self.public is not None and self.public.version == own.version and not own.is_loopback:
            return self.public
        return self._pairs.get(own, own)

    def as_written(self) -> Any:
        """The value of the option, as YAML has it."""
        if self.asked:
            return _ASKED
        return str(self.public) if self.public is not None else {str(own): str(it) for own, it in self._pairs.items()}


@dataclass(frozen=True, eq=False)
class _ExternalRule(Rule[External]):
    """A mapping is validated as one, so that each of its errors is found and has its key; anything else is a word."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        pairs = handler.generate_schema(Annotated[Mapping[UnicastAddress, UnicastAddress], Sized(_MOST, mapping=True)])
        return core_schema.with_info_wrap_validator_function(
            self._read,
            pairs,
            serialization=core_schema.plain_serializer_function_ser_schema(self.dump),
        )

    def _read(self, value: object, inner: Any, info: ValidationInfo) -> External:
        if isinstance(value, External):
            return value
        if isinstance(value, Mapping):
            return External(cast(Mapping[IpAddress, IpAddress], inner(value)))
        return self.read(value, self, info)


def _read_word(value: object, rule: Rule[External], _info: ValidationInfo) -> External:
    if value == _ASKED:
        return External(asked=True)
    try:
        address = ip_address(value) if isinstance(value, str | IpAddress) else rule.refuse(value)
    except ValueError:
        return rule.refuse(value)
    if isinstance(address, External):
        return address
    if address.is_unspecified or address.is_multicast or getattr(address, "scope_id", None):
        return rule.refuse(value)
    return External(public=address)


ExternalOption = Annotated[
    External,
    _ExternalRule(
        f"address, {_ASKED}, or mapping: address → address",
        f"a public address, {_ASKED}, or a mapping of the host's own addresses to public ones",
        {"anyOf": [{"type": "string"}, {"type": "object", "additionalProperties": {"type": "string"}}]},
        _read_word,
        External.as_written,
    ),
]
"""The public addresses in front of a server."""


def _read_stun_server(value: object, rule: Rule[str], _info: ValidationInfo) -> str:
    if value == "":
        return ""
    if not isinstance(value, str):
        return rule.refuse(value)
    text = value if value.partition(":")[0].lower() in {"stun", "stuns", "turn", "turns"} else f"stun:{value}"
    try:
        uri = StunUri.parse(text)
    except InvalidUri as error:
        refuse(f"{describe(value)}: {error}", rule.allowed)
    return str(uri) if uri.scheme == "stun" else rule.refuse(value)


StunServerOption = Annotated[
    str,
    Rule(
        "STUN server",
        "stun:HOST or stun:HOST:PORT (a STUN server over UDP)",
        {"type": "string"},
        _read_stun_server,
    ),
]
"""The URI of a STUN server, empty for none."""
