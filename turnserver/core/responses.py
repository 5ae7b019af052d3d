"""Success and error answers and their integrity (RFC 8489 §6.3, §9.2.4; docs/conformance.md, rules 1 and 4)."""

from collections.abc import Hashable
from functools import lru_cache
from typing import Any, Final

from stun.attributes import (
    ALTERNATE_SERVER,
    ERROR_CODE,
    FINGERPRINT,
    NONCE,
    PASSWORD_ALGORITHMS,
    REALM,
    SOFTWARE,
    UNKNOWN_ATTRIBUTES,
    AlgorithmValue,
    AttributeType,
    ErrorValue,
)
from stun.classic import in_classic_form
from stun.constants import HEADER_LENGTH, TRANSACTION_ID_LENGTH, MessageClass, PasswordAlgorithm
from stun.message import MessageBuilder
from turnserver.core.errors import Refusal
from turnserver.core.request import Integrity, Request

__all__ = ["OFFERED_ALGORITHMS", "begin_success", "error", "finish"]

OFFERED_ALGORITHMS = (
    AlgorithmValue(PasswordAlgorithm.SHA256, b""),
    AlgorithmValue(PasswordAlgorithm.MD5, b""),
)
"""PASSWORD-ALGORITHMS as sent with every challenge, the preferred first (RFC 8489 §14.11)."""

_NO_TRANSACTION: Final = bytes(TRANSACTION_ID_LENGTH)


def begin_success(request: Request) -> MessageBuilder:
    """A success response without attributes yet; add them, then `finish` it."""
    message = request.message
    return MessageBuilder(message.method, MessageClass.SUCCESS, message.transaction_id)


def finish(builder: MessageBuilder, request: Request, software: str) -> bytes:
    """Close an answer: SOFTWARE, the integrity that the request had, FINGERPRINT if the request had one.

    Unauthenticated clients whose address may be forged get no SOFTWARE: it would only amplify a reflected answer.
    An answer of RFC 3489 has none of them.
    """
    if request.classic:
        return in_classic_form(builder.build(), request.message)
    if software and (request.credential is not None or request.client.transport.proven):
        builder.extend(_encoded(SOFTWARE, software))
    if request.credential is not None:
        if request.integrity is Integrity.SHA256:
            builder.integrity_sha256(request.key)
        elif request.integrity is Integrity.SHA1:
            builder.integrity(request.key)
    if request.message.has(FINGERPRINT):
        builder.fingerprint()
    return builder.build()


def error(request: Request, refusal: Refusal, reason: str, realm: str, nonce: bytes) -> MessageBuilder:
    """An error response (RFC 8489 §6.3.4); a challenge carries REALM, NONCE and PASSWORD-ALGORITHMS (§9.2.4)."""
    message = request.message
    builder = MessageBuilder(message.method, MessageClass.ERROR, message.transaction_id)
    if request.classic:
        return _classic_error(builder, refusal, reason)
    value = ErrorValue(int(refusal.code), reason)
    if reason == refusal.code.reason:
        builder.extend(_encoded(ERROR_CODE, value))
    else:  # with what it is about, of which there are too many kinds to keep
        builder.add(ERROR_CODE, value)
    if refusal.unknown:
        builder.add(UNKNOWN_ATTRIBUTES, refusal.unknown)
    if refusal.alternate is not None:
        builder.add(ALTERNATE_SERVER, refusal.alternate)
    if refusal.challenge:
        builder.extend(_encoded(REALM, realm)).add(NONCE, nonce)
        builder.extend(_encoded(PASSWORD_ALGORITHMS, OFFERED_ALGORITHMS))
    return builder


def _classic_error(builder: MessageBuilder, refusal: Refusal, reason: str) -> MessageBuilder:
    """The same of RFC 3489, where every value fills four bytes (§11.2.9, §11.2.10): an odd type is said twice."""
    builder.add(ERROR_CODE, ErrorValue(int(refusal.code), reason + " " * (-len(reason) % 4)))
    if refusal.unknown:
        builder.add(UNKNOWN_ATTRIBUTES, refusal.unknown + refusal.unknown[-1:] * (len(refusal.unknown) % 2))
    return builder


@lru_cache(maxsize=256)
def _encoded(spec: AttributeType[Any], value: Hashable) -> bytes:
    """An attribute on the wire; for values that are the same in many answers, and not XORed with a transaction id."""
    return MessageBuilder(0, MessageClass.REQUEST, _NO_TRANSACTION).add(spec, value).build()[HEADER_LENGTH:]
