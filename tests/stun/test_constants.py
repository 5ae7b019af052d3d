"""The numbers that everybody must agree on."""

import pytest

from stun.constants import MAGIC_COOKIE, ErrorCode, Method


def test_every_error_code_has_a_reason() -> None:
    """RFC 8489 §14.8, RFC 8656 §19, RFC 6062 §6.3."""
    assert all(code.reason and len(code.reason) < 128 for code in ErrorCode)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (401, "Unauthenticated"),
        (403, "Forbidden"),
        (420, "Unknown Attribute"),
        (437, "Allocation Mismatch"),
        (438, "Stale Nonce"),
        (440, "Address Family not Supported"),
        (441, "Wrong Credentials"),
        (442, "Unsupported Transport Protocol"),
        (443, "Peer Address Family Mismatch"),
        (446, "Connection Already Exists"),
        (447, "Connection Timeout or Failure"),
        (486, "Allocation Quota Reached"),
        (508, "Insufficient Capacity"),
    ],
)
def test_reasons(code: int, reason: str) -> None:
    assert ErrorCode(code).reason == reason


def test_methods() -> None:
    """RFC 8489 §18.2, RFC 8656 §17, RFC 6062 §6.1."""
    assert {method.name: int(method) for method in Method} == {
        "BINDING": 1,
        "ALLOCATE": 3,
        "REFRESH": 4,
        "SEND": 6,
        "DATA": 7,
        "CREATE_PERMISSION": 8,
        "CHANNEL_BIND": 9,
        "CONNECT": 10,
        "CONNECTION_BIND": 11,
        "CONNECTION_ATTEMPT": 12,
    }
    assert MAGIC_COOKIE == 0x2112A442
