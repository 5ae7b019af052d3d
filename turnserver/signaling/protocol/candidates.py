"""The types and addresses of ICE candidates (RFC 8839 §5.1), to match them with allocations.

The text is untrusted. Nothing here raises: other text than candidates is ignored, and the amount read is bounded.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

from stun.address import Address

__all__ = ["MAX_CANDIDATES", "MAX_TEXT", "TYPES", "candidate_types", "relay_addresses"]

TYPES: Final = frozenset({"host", "srflx", "prflx", "relay"})
"""The candidate types of RFC 8839 §5.1; others are ignored."""

MAX_TEXT: Final = 65_536
"""Maximum number of characters that are read of one text: no frame of the protocol carries more."""

MAX_CANDIDATES: Final = 128
"""Maximum number of candidates that are read of one text. A browser in a call has up to a few dozen."""

_MAX_LINE: Final = 512
_PREFIX: Final = "candidate:"
_MIN_FIELDS: Final = 8
"""foundation, component, transport, priority, address, port, "typ", type; extensions may follow."""


class _CandidateLine(NamedTuple):
    type: str
    host: str
    port: str


def relay_addresses(text: str) -> tuple[Address, ...]:
    """The distinct addresses of the relay candidates in a candidate line or in an SDP, in the order of the text.

    Names (mDNS) and addresses with a zone are ignored: a TURN server does not give such relayed transport addresses.
    """
    found: dict[Address, None] = {}
    for candidate in _candidates(text):
        if candidate.type == "relay":
            address = _address(candidate)
            if address is not None:
                found[address] = None
    return tuple(found)


def candidate_types(text: str) -> frozenset[str]:
    """The types of the candidates in a candidate line or in an SDP."""
    return frozenset(candidate.type for candidate in _candidates(text))


def _candidates(text: str) -> Iterator[_CandidateLine]:
    """Candidate attributes in either form: a line of SDP, or `RTCIceCandidate.candidate`."""
    left = MAX_CANDIDATES
    for full in text[:MAX_TEXT].split("\n"):
        line = full.rstrip("\r").removeprefix("a=")
        if len(line) > _MAX_LINE or not line.startswith(_PREFIX):
            continue
        if left == 0:
            return
        left -= 1
        fields = line[len(_PREFIX) :].split(" ")
        if len(fields) >= _MIN_FIELDS and fields[6] == "typ" and fields[7] in TYPES:
            yield _CandidateLine(fields[7], fields[4], fields[5])


def _address(candidate: _CandidateLine) -> Address | None:
    port = candidate.port
    if not (port.isascii() and port.isdigit() and len(port) <= 5) or "%" in candidate.host:
        return None
    try:
        address = Address.parse(candidate.host, int(port)).canonical()
    except ValueError:
        return None
    return address if address.port else None
