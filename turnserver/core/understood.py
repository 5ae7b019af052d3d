"""Which comprehension-required attributes a request may have (RFC 8489 §6.3.1; docs/conformance.md, rule 7)."""

from typing import Final

from stun import attributes
from stun.constants import Method
from stun.message import Message

__all__ = ["CHANGE_FLAGS", "CHANGE_IP", "CHANGE_PORT", "UNDERSTOOD", "not_understood"]

UNDERSTOOD: Final = frozenset(
    spec.number
    for spec in (
        attributes.MAPPED_ADDRESS,
        attributes.USERNAME,
        attributes.MESSAGE_INTEGRITY,
        attributes.ERROR_CODE,
        attributes.UNKNOWN_ATTRIBUTES,
        attributes.CHANNEL_NUMBER,
        attributes.LIFETIME,
        attributes.XOR_PEER_ADDRESS,
        attributes.DATA,
        attributes.REALM,
        attributes.NONCE,
        attributes.XOR_RELAYED_ADDRESS,
        attributes.REQUESTED_ADDRESS_FAMILY,
        attributes.EVEN_PORT,
        attributes.REQUESTED_TRANSPORT,
        attributes.DONT_FRAGMENT,
        attributes.MESSAGE_INTEGRITY_SHA256,
        attributes.PASSWORD_ALGORITHM,
        attributes.USERHASH,
        attributes.XOR_MAPPED_ADDRESS,
        attributes.RESERVATION_TOKEN,
        attributes.CONNECTION_ID,
    )
)
"""Those that this server acts on; any other in a request gets 420.

CHANGE-REQUEST and its like are known to the codec but not here: ignoring one would give a NAT test a wrong result.
"""

_DISCOVERY: Final = frozenset(
    spec.number for spec in (attributes.CHANGE_REQUEST, attributes.PADDING, attributes.RESPONSE_PORT)
)
"""Those of RFC 5780 §7, understood in a Binding request where behavior discovery is offered."""

CHANGE_IP: Final = 4
CHANGE_PORT: Final = 2
CHANGE_FLAGS: Final = CHANGE_IP | CHANGE_PORT
"""RFC 5780 §7.2: the two flags of CHANGE-REQUEST; the other bits have no meaning."""


def not_understood(message: Message, *, discovers: bool = False) -> tuple[int, ...]:
    """The types for UNKNOWN-ATTRIBUTES, each once; none for most messages.

    A CHANGE-REQUEST without flags asks for nothing, so it counts as absent; clients of RFC 3489 send it. ``discovers``:
    whether behavior discovery is offered where the message came in. Raises `MalformedMessage` for an unreadable
    CHANGE-REQUEST.
    """
    found = message.unknown_required(UNDERSTOOD)
    if not found or _DISCOVERY.isdisjoint(found):
        return found
    known = _DISCOVERY if discovers and message.method == Method.BINDING else frozenset[int]()
    flags = message.first(attributes.CHANGE_REQUEST)
    if flags is not None and not flags & CHANGE_FLAGS:
        known |= {attributes.CHANGE_REQUEST.number}
    return tuple(number for number in found if number not in known)
