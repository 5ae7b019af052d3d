"""The test vectors of RFC 5769 and RFC 8489 appendix B, byte for byte."""

import pytest

from auth.keys import long_term_key_md5, long_term_key_sha256, user_hash
from stun import attributes as a
from stun.address import Address
from stun.constants import MessageClass, Method, PasswordAlgorithm
from stun.integrity import verify, verify_sha256
from stun.message import Message, MessageBuilder

SHORT_TERM_PASSWORD = b"VOkJxbRl1RmTxUk/WvJxBt"
TRANSACTION = bytes.fromhex("b7e7a701bc34d686fa87dfae")

REQUEST = bytes.fromhex(
    "000100582112a442b7e7a701bc34d686fa87dfae"
    "802200105354554e207465737420636c69656e74"
    "002400046e0001ff"
    "80290008932ff9b151263b36"
    "000600096576746a3a68367659202020"
    "000800149aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a2"
    "80280004e57a3bcf"
)
"""RFC 5769 §2.1: a Binding request of ICE, padded with spaces."""

RESPONSE_IPV4 = bytes.fromhex(
    "0101003c2112a442b7e7a701bc34d686fa87dfae"
    "8022000b7465737420766563746f7220"
    "002000080001a147e112a643"
    "000800142b91f599fd9e90c38c7489f92af9ba53f06be7d7"
    "80280004c07d4c96"
)
"""RFC 5769 §2.2."""

RESPONSE_IPV6 = bytes.fromhex(
    "010100482112a442b7e7a701bc34d686fa87dfae"
    "8022000b7465737420766563746f7220"
    "002000140002a1470113a9faa5d3f179bc25f4b5bed2b9d9"
    "00080014a382954e4be67bf11784c97c8292c275bfe3ed41"
    "80280004c8fb0b4c"
)
"""RFC 5769 §2.3."""

LONG_TERM = bytes.fromhex(
    "000100602112a44278ad3433c6ad72c029da412e"
    "00060012e3839ee38388e383aae38383e382afe382b90000"
    "0015001c662f2f3439396b39353464364f4c33346f4c39465354767936347341"
    "0014000b6578616d706c652e6f726700"
    "00080014f67024656dd64a3e02b8e0712e85c9a28ca89666"
)
"""RFC 5769 §2.4: a request with long-term authentication."""

USERHASH_REQUEST = bytes.fromhex(
    "000100902112a44278ad3433c6ad72c029da412e"
    "001e00204a3cf38fef6992bda952c6780417da0f24819415569e60b205c46e41407f1704"
    "001500296f624d61744a6f7332414141"
    "43662f2f3439396b39353464364f4c33346f4c39465354767936347341000000"
    "0014000b6578616d706c652e6f726700"
    "001d000400020000"
    "001c0020b5c7bf005b6c52a21c51c5e892f81924136296cb927c43149309278cc6518e65"
)
"""RFC 8489 appendix B.1 as corrected by erratum 6268: USERHASH, PASSWORD-ALGORITHM, MESSAGE-INTEGRITY-SHA256."""

USERNAME = "\u30de\u30c8\u30ea\u30c3\u30af\u30b9"
PASSWORD = "TheMatrIX"


@pytest.mark.parametrize("vector", [REQUEST, RESPONSE_IPV4, RESPONSE_IPV6, LONG_TERM, USERHASH_REQUEST])
def test_every_vector_encodes_to_itself(vector: bytes) -> None:
    """RFC 5769 §2: order and padding are kept, even padding with spaces."""
    assert Message.decode(vector).encode() == vector
    assert Message.decode(memoryview(vector)).encode() == vector


def test_sample_request() -> None:
    """RFC 5769 §2.1: every attribute, the integrity, the fingerprint (which decoding has checked)."""
    message = Message.decode(REQUEST)
    assert (message.method, message.message_class) == (Method.BINDING, MessageClass.REQUEST)
    assert message.transaction_id == TRANSACTION
    assert message.first(a.SOFTWARE) == "STUN test client"
    assert message.first(a.USERNAME) == "evtj:h6vY"
    assert message.has(a.FINGERPRINT)
    assert verify(message, SHORT_TERM_PASSWORD)
    assert not verify(message, b"another password")
    assert message.unknown_required(a.REGISTRY) == (0x0024,)


@pytest.mark.parametrize(
    ("vector", "host"),
    [(RESPONSE_IPV4, "192.0.2.1"), (RESPONSE_IPV6, "2001:db8:1234:5678:11:2233:4455:6677")],
)
def test_sample_responses(vector: bytes, host: str) -> None:
    """RFC 5769 §2.2, §2.3: XOR-MAPPED-ADDRESS in both families."""
    message = Message.decode(vector)
    assert (message.method, message.message_class) == (Method.BINDING, MessageClass.SUCCESS)
    assert message.first(a.SOFTWARE) == "test vector"
    assert message.first(a.XOR_MAPPED_ADDRESS) == Address.parse(host, 32853)
    assert verify(message, SHORT_TERM_PASSWORD)


def test_sample_request_with_long_term_authentication() -> None:
    """RFC 5769 §2.4: the key is MD5(username:realm:password); the same message can be built from its parts."""
    message = Message.decode(LONG_TERM)
    assert message.first(a.USERNAME) == USERNAME
    assert message.first(a.NONCE) == b"f//499k954d6OL34oL9FSTvy64sA"
    assert message.first(a.REALM) == "example.org"
    key = long_term_key_md5(USERNAME, "example.org", PASSWORD)
    assert verify(message, key)
    builder = MessageBuilder(Method.BINDING, MessageClass.REQUEST, message.transaction_id)
    builder.add(a.USERNAME, USERNAME).add(a.NONCE, b"f//499k954d6OL34oL9FSTvy64sA").add(a.REALM, "example.org")
    assert builder.integrity(key).build() == LONG_TERM


def test_sample_request_with_userhash() -> None:
    """RFC 8489 B.1: the hash of user and realm, a SHA-256 key, and the same message built from its parts."""
    message = Message.decode(USERHASH_REQUEST)
    assert message.first(a.USERHASH) == user_hash(USERNAME, "example.org")
    assert message.first(a.NONCE) == b"obMatJos2AAACf//499k954d6OL34oL9FSTvy64sA"
    assert message.first(a.PASSWORD_ALGORITHM) == a.AlgorithmValue(PasswordAlgorithm.SHA256)
    key = long_term_key_sha256(USERNAME, "example.org", PASSWORD)
    assert verify_sha256(message, key)
    assert not verify_sha256(message, long_term_key_md5(USERNAME, "example.org", PASSWORD))
    builder = MessageBuilder(Method.BINDING, MessageClass.REQUEST, message.transaction_id)
    for spec in (a.USERHASH, a.NONCE, a.REALM, a.PASSWORD_ALGORITHM):
        value = message.first(spec)
        assert value is not None
        builder.add(spec, value)
    assert builder.integrity_sha256(key).build() == USERHASH_REQUEST
