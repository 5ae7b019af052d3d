"""The schema of ``listeners``: the sockets that clients connect or send to."""

from collections.abc import Callable, Mapping
from ipaddress import ip_address
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from stun.constants import TransportProtocol
from turnserver.config.context import refuse
from turnserver.config.section import Section
from turnserver.config.values import (
    MAX_ITEMS,
    AddressOption,
    Named,
    NetworkOption,
    Sized,
    TlsOption,
    Varies,
    choice,
    integer,
)
from turnserver.core.types import ClientTransport
from turnserver.transports.registry import TRANSPORTS, ListenerKind

__all__ = ["Listener", "ProxyUse", "all_addresses", "collide", "no_duplicates"]

ProxyUse = Literal["optional", "required"]


def _kinds(fits: Callable[[ListenerKind], bool]) -> str:
    """The names of the kinds of listener for which ``fits`` is true: ``tcp, tls and shared``."""
    *most, last = [name for name in TRANSPORTS.offered if fits(TRANSPORTS[name])] or ["none"]
    return f"{', '.join(most)} and {last}" if most else last


class Listener(Section):
    """One socket that clients connect or send to."""

    transport: Annotated[str, Named(TRANSPORTS)] = Field(
        default="udp",
        description="The transport between client and server (RFC 8656 §3.1). "
        + "; ".join(f"`{name}`: {TRANSPORTS[name].about}" for name in TRANSPORTS.offered)
        + ". Clients in networks that allow only HTTPS need a `shared` listener on port 443.",
    )
    tls: Annotated[TlsOption, Varies("by transport")] = Field(
        default_factory=lambda: False,
        description="Whether clients use TLS. `tls` and `shared` listeners have `true` by default, and need "
        "`tls.certificates`; `dtls` listeners have nothing else. `tcp` listeners have `false`, and `udp` ones nothing "
        "else. `false` for a `shared` "
        "listener is for one behind a proxy that terminates TLS (`proxies`). `auto`, for `tcp`, `tls` and `shared`, "
        "serves both on one port: the first byte of a connection tells TLS from plain. Some clients need it (libnice "
        "speaks plain TURN to the port of a `turns:` URL). Clients are given the URLs of both.",
    )
    address: AddressOption = Field(
        description="The address to listen on. `0.0.0.0` and `::` stand for every address of the host in that family: "
        "each gets its own socket, so that answers are sent from the address that the client used. Addresses that the "
        "host gets later are served, too; one that cannot be bound is a warning, and is tried again.",
    )
    port: Annotated[int, integer(0, 65535), Varies("by transport")] = Field(
        default_factory=lambda: TRANSPORTS["udp"].port,  # not a default of the schema: it depends
        description="The port. The default is 3478 for `udp` and `tcp` and 5349 for `tls` and `dtls`, the ones "
        "registered for STUN and TURN; 443 for `shared` (HTTPS), or 80 without TLS. UDP and TCP ports are independent: "
        "3478 can be used for both. 0 takes any free port, which is useful in tests only.",
    )
    proxies: Annotated[Annotated[tuple[NetworkOption, ...], Sized(MAX_ITEMS)] | None, Varies("the global one")] = Field(
        default=None,
        description="Networks of the proxies in front of this `tcp`, `tls` or `shared` listener, in place of the "
        "global `proxies`; `[]` for none. Clients reach such a listener by a port of the proxy's, so its own port is "
        "in no URL that participants of rooms are given (`signaling.urls`).",
    )
    proxy_protocol: Annotated[Annotated[ProxyUse, choice(ProxyUse)] | None, Varies("the global one")] = Field(
        default=None,
        description="Whether connections of its proxies must begin with a PROXY header, in place of the global option.",
    )

    @model_validator(mode="before")
    @classmethod
    def _defaults_by_transport(cls, data: Any) -> Any:
        if not isinstance(data, Mapping):
            return data
        given = {key: value for key, value in data.items() if value is not None}
        transport = given.get("transport")
        kind = TRANSPORTS[transport if isinstance(transport, str) and transport in TRANSPORTS else "udp"]
        tls = kind.tls is not False
        port = kind.default_port(tls=given.get("tls", tls) is not False)
        return {"tls": tls, "port": port, **given}

    @property
    def kind(self) -> ListenerKind:
        """The registry's entry for ``transport``."""
        return TRANSPORTS[self.transport]

    @property
    def client_transports(self) -> tuple[ClientTransport, ...]:
        """The transports that TURN clients use here; for a shared listener, TLS or TCP."""
        return self.kind.transports(self.tls)

    @model_validator(mode="after")
    def _tls_fits(self) -> Self:
        if self.tls == "auto":
            if not self.kind.auto:
                refuse(
                    f"auto for transport {self.transport}", f"auto for {_kinds(lambda kind: bool(kind.auto))}", ("tls",)
                )
        elif self.kind.tls not in {None, self.tls}:
            always, never = _kinds(lambda kind: kind.tls is True), _kinds(lambda kind: kind.tls is False)
            allowed = f"true for {always}, false for {never}, either for {_kinds(lambda kind: kind.tls is None)}"
            refuse(f"{str(self.tls).lower()} for transport {self.transport}", allowed, ("tls",))
        return self

    @model_validator(mode="after")
    def _proxies_fit(self) -> Self:
        if self.kind.stream:
            return self
        for option in ("proxies", "proxy_protocol"):
            if getattr(self, option):
                allowed = f"{option} for {_kinds(lambda kind: kind.stream)}: proxies tell the client over TCP only"
                refuse(f"{option} of a {self.transport} listener", allowed, (option,))
        return self


def collide(one: Listener, other: Listener) -> bool:
    """Whether two listeners need the same port of an address; a wildcard takes that of every address."""
    if not one.port or one.port != other.port or one.kind.port_space is not other.kind.port_space:
        return False
    if one.kind.local or other.kind.local:
        return False
    if one.address == other.address:
        return True
    overlap = one.address.version == other.address.version and (
        one.address.is_unspecified or other.address.is_unspecified
    )
    # If they differ in the address only, the wildcard needs no socket for the other's address: it has one.
    return overlap and _but_address(one) != _but_address(other)


def _but_address(listener: Listener) -> tuple[object, ...]:
    return listener.transport, listener.tls, listener.proxies, listener.proxy_protocol


def no_duplicates(listeners: tuple[Listener, ...]) -> tuple[Listener, ...]:
    """The listeners themselves; refused if two of them need the same port of an address."""
    for index, listener in enumerate(listeners):
        for before, other in enumerate(listeners[:index]):
            if collide(listener, other):
                refuse(
                    f"{_protocol(listener)} on {listener.address} port {listener.port} again "
                    f"({other.transport} on {other.address} in listeners[{before}])",
                    f"each address and port once for UDP and once for TCP ({_kinds(_over_tcp)} are all TCP)",
                    (index,),
                )
    return listeners


def _protocol(listener: Listener) -> str:
    return listener.kind.port_space.name


def _over_tcp(kind: ListenerKind) -> bool:
    return kind.port_space is TransportProtocol.TCP


def all_addresses() -> tuple[Listener, ...]:
    """The default: UDP on every address of the host."""
    return tuple(Listener(address=ip_address(wildcard)) for wildcard in ("0.0.0.0", "::"))
