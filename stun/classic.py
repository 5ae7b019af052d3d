"""Binding as RFC 3489 has it, for clients from before the magic cookie (RFC 8489 §12, RFC 5389 §12.2).

A message of RFC 3489 has a transaction id of 16 bytes; the first four stand where the cookie is today. Nothing in it is
XORed, padded, or protected by a fingerprint.
"""

from typing import Final

from stun.constants import HEADER_LENGTH, MAGIC_COOKIE, MAX_LENGTH, MessageClass, Method
from stun.message import Message, RawAttribute

__all__ = ["decode_binding", "in_classic_form"]

_TYPE: Final = Method.BINDING.to_bytes(2, "big")
_COOKIE: Final = MAGIC_COOKIE.to_bytes(4, "big")
_COOKIE_PLACE: Final = slice(4, 8)


def decode_binding(data: bytes) -> Message | None:
    """A Binding request of RFC 3489 (§11.1, §11.2); None for anything else.

    The message's ``transaction_id`` are the last twelve bytes of the sixteen, and ``raw`` has all of them.
    """
    size = len(data)
    if not HEADER_LENGTH <= size <= MAX_LENGTH or data[:2] != _TYPE or data[_COOKIE_PLACE] == _COOKIE:
        return None
    if int.from_bytes(data[2:4], "big") != size - HEADER_LENGTH:
        return None
    found = []
    at = HEADER_LENGTH
    while at < size:
        if at + 4 > size:
            return None
        end = at + 4 + int.from_bytes(data[at + 2 : at + 4], "big")
        if end > size:
            return None
        found.append(RawAttribute(int.from_bytes(data[at : at + 2], "big"), data[at + 4 : end], b""))
        at = end
    attributes = tuple(found)
    return Message(Method.BINDING, MessageClass.REQUEST, data[8:HEADER_LENGTH], attributes, attributes, data)


def in_classic_form(answer: bytes, request: Message) -> bytes:
    """An answer's bytes with the transaction id of a request of RFC 3489; the attributes have to be of that RFC."""
    return answer[:4] + request.raw[_COOKIE_PLACE] + answer[8:]
