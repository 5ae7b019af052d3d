# SPDX-License-Identifier: GPL-2.0-or-later
"""Which server is it? By what it does, as well as by what it says of itself."""

from dataclasses import asdict, dataclass

from scapy_turn.attribute import StunAttribute
from scapy_turn.datagrams import Peer
from scapy_turn.message import StunMessage
from scapy_turn.registry import ATTRIBUTES
from scapy_turn.stun_attributes import (
    StunErrorCode,
    StunFingerprint,
    StunNonce,
    StunPasswordAlgorithms,
    StunSoftware,
)
from scapy_turn.turn_attributes import StunRequestedTransport
from scapy_turn.wire import Wire

__all__ = ["KNOWN", "Behaviour", "Guess", "behaviour", "guess"]

PATIENCE = 1.5
"""Seconds for an answer; silence is an answer, too."""


@dataclass(frozen=True)
class Behaviour:
    """Answers to a few requests, as text that can be compared."""

    software: str
    binding: str
    binding_with_fingerprint: str
    challenge: str
    reason: str
    nonce: str
    unknown_attribute: str
    unknown_method: str
    classic: str
    algorithms: bool


KNOWN: dict[str, dict[str, str | bool]] = {
    "meshturn": {
        "reason": "Unauthenticated",
        "nonce": "cookie",
        "algorithms": True,
        "unknown_method": "silence",
    },
    # 4.6, as Debian 12 has it.
    "coturn": {
        "reason": "Unauthorized",
        "nonce": "hex",
        "algorithms": False,
        "unknown_attribute": "error 420",
        "unknown_method": "error 401",
    },
}
"""What tells servers from each other: the values of `Behaviour` that have to be seen."""


@dataclass(frozen=True)
class Guess:
    """A server, how many of its marks were seen, and of how many."""

    name: str
    seen: int
    of: int


def behaviour(server: Peer, transport: str = "udp") -> Behaviour:
    """Ask a server six things that need no credential."""
    unknown = StunMessage(attributes=[StunAttribute(type=0x7EEE, value=b"abcd")])
    plain = _ask(server, transport, StunMessage())
    sealed = _ask(server, transport, StunMessage(attributes=[StunFingerprint()]))
    refused = _ask(server, transport, StunMessage(method="Allocate", attributes=[StunRequestedTransport()]))
    software = next((one.attribute(StunSoftware) for one in (plain, refused) if one is not None), None)
    code = None if refused is None else refused.attribute(StunErrorCode)
    nonce = None if refused is None else refused.attribute(StunNonce)
    return Behaviour(
        software="" if software is None else ascii(bytes(software.software).decode("utf-8", "replace"))[1:-1],
        binding=_shape(plain),
        binding_with_fingerprint=_shape(sealed),
        challenge=_shape(refused),
        reason="" if code is None else ascii(bytes(code.reason).decode("utf-8", "replace"))[1:-1],
        nonce="" if nonce is None else _style(bytes(nonce.nonce)),
        unknown_attribute=_shape(_ask(server, transport, unknown)).partition(":")[0],
        unknown_method=_shape(_ask(server, transport, StunMessage(method=0x0FE))).partition(":")[0],
        classic="" if transport != "udp" else _shape(_ask(server, transport, StunMessage(cookie=0x0A0B0C0D))),
        algorithms=refused is not None and refused.attribute(StunPasswordAlgorithms) is not None,
    )


def guess(seen: Behaviour) -> list[Guess]:
    """Servers of `KNOWN`, the one with most of its marks first. All marks are a match; none is nothing."""
    values = asdict(seen)
    found = [
        Guess(name, sum(values[mark] == value for mark, value in marks.items()), len(marks))
        for name, marks in KNOWN.items()
    ]
    return sorted(found, key=lambda one: one.seen / one.of, reverse=True)


def _ask(server: Peer, transport: str, message: StunMessage) -> StunMessage | None:
    try:
        with Wire(server, transport, timeout=PATIENCE) as wire:
            answers = wire.exchange(message, PATIENCE)
    except (OSError, EOFError):
        return None
    return answers[0] if answers and isinstance(answers[0], StunMessage) else None


def _shape(answer: StunMessage | None) -> str:
    """The class or the code, and which attributes there are in which order."""
    if answer is None:
        return "silence"
    names = [ATTRIBUTES.get(part.type, f"0x{part.type:04x}") for part in answer.attributes if hasattr(part, "type")]
    return f"{'success' if answer.error is None else f'error {answer.error}'}: {' '.join(names)}".rstrip(": ")


def _style(nonce: bytes) -> str:
    """What a nonce is written in."""
    if nonce.startswith(b"obMatJos2"):
        return "cookie"
    if all(character in b"0123456789abcdef" for character in nonce):
        return "hex"
    return "text" if nonce.isascii() else "bytes"
