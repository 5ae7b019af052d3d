"""Binding (RFC 8489 §3, §12): tells the client its server-reflexive address. No state, no authentication.

Where NAT behavior discovery is offered (RFC 5780), it also tells where the answer comes from and of the server's other
address, and answers from there or to another port on request. Clients of RFC 3489 get an answer of theirs.
"""

from typing import Final

from stun.address import Address
from stun.attributes import (
    CHANGE_REQUEST,
    CHANGED_ADDRESS,
    MAPPED_ADDRESS,
    OTHER_ADDRESS,
    PADDING,
    RESPONSE_ORIGIN,
    RESPONSE_PORT,
    SOURCE_ADDRESS,
    XOR_MAPPED_ADDRESS,
)
from turnserver.core.discovery import DiscoveryPlace
from turnserver.core.errors import Refusal
from turnserver.core.request import Request
from turnserver.core.responses import begin_success, finish
from turnserver.core.state import CoreState
from turnserver.reasons import Reason

__all__ = ["handle"]

MAX_PADDING: Final = 64_000
"""Bytes; an answer with so many, with all else that is in it, fits a UDP datagram of either family."""


def handle(state: CoreState, request: Request) -> None:
    """Answer with the server-reflexive address, IPv4-mapped IPv6 as plain IPv4 (docs/conformance.md, rule 23)."""
    place = state.discovery.place(request.client)
    if place is not None:
        _discover(state, request, place)
        return
    reflexive = request.client.address.canonical()
    builder = begin_success(request)
    if request.classic:
        server = request.client.server
        builder.add(MAPPED_ADDRESS, reflexive)
        builder.add(SOURCE_ADDRESS, Address(state.own.public(server.ip), server.port).canonical())
    else:
        builder.add(XOR_MAPPED_ADDRESS, reflexive)
    state.answer(request, finish(builder, request, state.settings.software))


def _discover(state: CoreState, request: Request, place: DiscoveryPlace) -> None:
    """RFC 5780 §6.1. The padding is no longer than the request's, and an answer to another port names its origin."""
    message, client = request.message, request.client
    padding, port = message.first(PADDING), message.first(RESPONSE_PORT)
    if padding is not None and port is not None:
        raise Refusal(Reason.CONTRADICTING_ATTRIBUTES, "PADDING with RESPONSE-PORT")
    if port == 0:
        raise Refusal(Reason.MALFORMED_ATTRIBUTE, "RESPONSE-PORT of 0")
    source = place.source(message.first(CHANGE_REQUEST) or 0)
    reflexive = client.address.canonical()
    builder = begin_success(request)
    if request.classic:
        builder.add(MAPPED_ADDRESS, reflexive).add(SOURCE_ADDRESS, source.public).add(CHANGED_ADDRESS, place.other)
    else:
        builder.add(XOR_MAPPED_ADDRESS, reflexive).add(MAPPED_ADDRESS, reflexive)
        builder.add(RESPONSE_ORIGIN, source.public).add(OTHER_ADDRESS, place.other)
        if padding is not None:
            builder.add(PADDING, bytes(min(len(padding), MAX_PADDING)))
    way = client._replace(server=source.bound, listener=source.listener)
    if port is not None:
        way = way._replace(address=Address(client.address.ip, port))
    state.answer(request, finish(builder, request, state.settings.software), way)
