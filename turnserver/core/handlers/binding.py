"""Binding (RFC 8489 §3, §12): tells the client its server-reflexive address. No state, no authentication."""

from stun.attributes import XOR_MAPPED_ADDRESS
from turnserver.core.request import Request
from turnserver.core.responses import begin_success, finish
from turnserver.core.state import CoreState

__all__ = ["handle"]


def handle(state: CoreState, request: Request) -> None:
    """Answer with the server-reflexive address, IPv4-mapped IPv6 as plain IPv4 (docs/conformance.md, rule 23)."""
    builder = begin_success(request).add(XOR_MAPPED_ADDRESS, request.client.address.canonical())
    state.answer(request, finish(builder, request, state.settings.software))
