"""Binding (RFC 8489 §3, §12): what address do I come from? No state, no authentication."""

from stun.attributes import XOR_MAPPED_ADDRESS
from turnserver.core.request import Request
from turnserver.core.responses import begin_success, finish
from turnserver.core.state import CoreState

__all__ = ["handle"]


def handle(state: CoreState, request: Request) -> None:
    """Answer with the server-reflexive address, as plain IPv4 where it is one (rule 23)."""
    builder = begin_success(request).add(XOR_MAPPED_ADDRESS, request.client.address.canonical())
    state.answer(request, finish(builder, request, state.settings.software))
