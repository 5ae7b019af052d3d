"""Binding of RFC 3489: no cookie, sixteen bytes of transaction id, nothing but what was there in 2003."""

import pytest

from stun import attributes as a
from stun.address import Address
from stun.classic import decode_binding, in_classic_form
from stun.constants import MAGIC_COOKIE, MessageClass, Method
from stun.message import MessageBuilder

ID = bytes(range(16))
COOKIE = MAGIC_COOKIE.to_bytes(4, "big")


def classic(*attributes: bytes, kind: bytes = b"\0\1", transaction: bytes = ID) -> bytes:
    body = b"".join(attributes)
    return kind + len(body).to_bytes(2, "big") + transaction + body


def test_a_request_is_read() -> None:
    """RFC 3489 §11.1, §11.2: the header and the attributes, which are not padded."""
    message = decode_binding(classic(bytes.fromhex("0003000400000006"), bytes.fromhex("002200020102")))
    assert message is not None
    assert (message.method, message.message_class) == (Method.BINDING, MessageClass.REQUEST)
    assert message.transaction_id == ID[4:]
    assert message.first(a.CHANGE_REQUEST) == 6
    assert [(raw.type, raw.value) for raw in message.attributes][1] == (0x22, b"\1\2")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        classic()[:-1],
        classic() + b"\0",
        classic(kind=b"\0\2"),
        classic(kind=b"\1\1"),
        classic(kind=b"\0\3"),
        classic(transaction=COOKIE + bytes(12)),
        classic(b"\0\3\0"),
        classic(b"\0\3\0\5\0\0\0\0"),
        b"\0\1\xff\xff" + ID,
    ],
    ids=["nothing", "short", "long", "SharedSecret", "response", "Allocate", "cookie", "cut", "beyond", "length"],
)
def test_anything_else_is_none(data: bytes) -> None:
    """Only a whole Binding request without a cookie counts: a damaged one of today is not of 2003."""
    assert decode_binding(data) is None


def test_an_answer_has_the_whole_transaction_id() -> None:
    """RFC 5389 §12.2: what stands where the cookie is today is copied."""
    request = decode_binding(classic())
    assert request is not None
    mapped = Address.parse("192.0.2.7", 4000)
    answer = MessageBuilder(Method.BINDING, MessageClass.SUCCESS, request.transaction_id).add(a.MAPPED_ADDRESS, mapped)
    frame = in_classic_form(answer.build(), request)
    assert frame == bytes.fromhex("0101000c") + ID + bytes.fromhex("0001000800010fa0c0000207")


def test_a_message_of_today_is_not_classic() -> None:
    assert decode_binding(MessageBuilder(Method.BINDING, MessageClass.REQUEST, bytes(12)).build()) is None
