"""``POST /v1/probe``: send STUN requests back to the address that a request comes from, for `meshturn doctor --from`.

A server cannot see itself as others do: what a firewall or a NAT in front of it does shows only from elsewhere. Whoever
asks names ports, and never an address. So a key with the scope ``probe`` is of no use against anybody else, and what is
sent is a few requests of twenty bytes.
"""

import logging
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Annotated, Final, Literal

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from meshturn.root import MeshturnError
from turnserver.core.types import Now
from turnserver.signaling.edge.answers import ProbeAnswer, ProbedPort
from turnserver.signaling.edge.gate import Caller
from turnserver.signaling.edge.ice import valid_host
from turnserver.signaling.edge.openapi import ApiAnswer, ApiOperation
from turnserver.signaling.edge.origins import reached_by
from turnserver.signaling.edge.refusals import ApiCode
from turnserver.signaling.edge.requests import ApiError, as_json, read_body
from turnserver.signaling.edge.scopes import Scope
from turnserver.throttle import Bucket

__all__ = ["MAX_PORTS", "PROBE", "NotProbed", "ProbeBack", "ProbePort", "ProbeRequest", "Probes"]

MAX_PORTS: Final = 16
"""Ports of one request: more than a server has listeners, and too few to scan a host."""

_AT_ONCE: Final = 4
"""Requests under way."""

_RATE: Final = 0.5
_BURST: Final = 8.0
"""Requests in a second, and at once, whoever asks."""

_logger = logging.getLogger("meshturn.signaling")


class NotProbed(MeshturnError):
    """The address is not probed; the message is a sentence without its end."""


class ProbePort(BaseModel):
    """A port, and what is to be spoken there."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True, frozen=True)

    protocol: Annotated[Literal["udp", "tcp", "tls"], Field(description="TLS is over TCP.")]
    port: Annotated[int, Field(ge=1, le=65535)]


class ProbeRequest(BaseModel):
    """The ports to be tried, at the address that the request comes from."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)

    ports: Annotated[list[ProbePort], Field(min_length=1, max_length=MAX_PORTS)]
    name: Annotated[
        str | None,
        Field(description="The host that the certificate has to be for; without it, any certificate will do."),
    ] = None


ProbeBack = Callable[[str, Sequence[ProbePort], str], Awaitable[list[ProbedPort]]]
"""Sends a Binding request to each of the ports at an address; the last argument is the name for TLS, or empty.

Raises `NotProbed`.
"""


class Probes:
    """The handler. Without ``probe`` nothing is probed."""

    def __init__(self, probe: ProbeBack | None, clock: Callable[[], Now]) -> None:
        self._probe = probe
        self._clock = clock
        self._bucket: Bucket | None = None
        self._under_way = 0

    async def handle(self, request: web.Request, caller: Caller) -> web.Response:
        """``POST /v1/probe``: each port with what came of it, and the address and time as this server sees them."""
        asked = await read_body(request, ProbeRequest)
        name = "" if asked.name is None else valid_host(asked.name)
        if name is None:
            raise ApiError(ApiCode.BAD_REQUEST, "name: it is no host name")
        client = reached_by(request).client
        address = _probed(client)
        if self._probe is None:
            raise ApiError(ApiCode.NO_PROBE, "this server probes nobody")
        wait = 1.0 if self._under_way >= _AT_ONCE else self._take(self._clock().mono)
        if wait > 0:
            raise ApiError(ApiCode.TOO_MANY_PROBES, "too many probes", {"Retry-After": str(int(wait) + 1)})
        fields = {"key": caller.name, "client": str(address), "ports": len(asked.ports)}
        _logger.info("probe requested", extra={"fields": fields})
        self._under_way += 1
        try:
            found = await self._probe(str(address), list(dict.fromkeys(asked.ports)), name)
        except NotProbed as error:
            raise ApiError(ApiCode.NO_PROBE, str(error)) from None
        finally:
            self._under_way -= 1
        answer = ProbeAnswer(client=str(address), time=self._clock().wall, ports=found)
        return as_json(answer.model_dump())

    def _take(self, mono: float) -> float:
        if self._bucket is None:
            self._bucket = Bucket(_RATE, _BURST, mono)
        return self._bucket.take(mono)


def _probed(client: str) -> IPv4Address | IPv6Address:
    """The address of a client, if it is one that packets are sent to. Raises `ApiError`."""
    try:
        found = ip_address(client)
    except ValueError:
        raise ApiError(ApiCode.NO_PROBE, "the address of the client is not known") from None
    address = (found.ipv4_mapped if isinstance(found, IPv6Address) else None) or found
    for kind, holds in (
        (
            "a loopback address: the request comes from this host, or from a proxy on it that is not in proxies",
            address.is_loopback,
        ),
        ("a link-local address", address.is_link_local),
        ("a multicast address", address.is_multicast),
        ("no address of a host", address.is_unspecified),
    ):
        if holds:
            raise ApiError(ApiCode.NO_PROBE, f"{address} is {kind}")
    return address


PROBE: Final = ApiOperation(
    "probeBack",
    "Send STUN Binding requests to ports of the address that this request comes from, and to no other.",
    "server",
    (ApiAnswer(200, "What came of each port.", ProbeAnswer),),
    (Scope.PROBE,),
    refusals=(ApiCode.BAD_REQUEST, ApiCode.TOO_LARGE, ApiCode.NO_PROBE, ApiCode.TOO_MANY_PROBES),
    body=ProbeRequest,
)
