"""Signatures of Standard Webhooks."""

import re
from pathlib import Path

import pytest

from tests.support.hook_server import signed_by
from turnserver.credentials.signature import signature_headers, signing_key


def test_as_the_reference_library_signs() -> None:
    """The values are those of the package ``standardwebhooks`` 1.0 for the example of the specification."""
    key = signing_key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    headers = signature_headers(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


@pytest.mark.parametrize(
    ("secret", "key"), [("any text", b"any text"), ("caf\u00e9", b"caf\xc3\xa9"), ("whsec_YWJj", b"abc")]
)
def test_the_key_of_a_secret(secret: str, key: bytes) -> None:
    assert signing_key(secret) == key
    headers = signature_headers(key, "msg_1", 1_700_000_000, b"{}")
    assert signed_by(secret, headers, b"{}")


def test_each_part_is_signed() -> None:
    """Neither the body, nor the time, nor the id can be another one; and not by another key."""
    headers = dict(signature_headers(b"key", "msg_1", 1_700_000_000, b"{}"))
    assert signed_by("key", headers, b"{}")
    assert not signed_by("key", headers, b"{ }")
    assert not signed_by("another", headers, b"{}")
    assert not signed_by("key", {**headers, "webhook-id": "msg_2"}, b"{}")
    assert not signed_by("key", {**headers, "webhook-timestamp": "1700000001"}, b"{}")


@pytest.mark.parametrize("secret", ["whsec_", "whsec_abc", "whsec_?", "whsec_YW Jj"])
def test_unusable_secrets(secret: str) -> None:
    with pytest.raises(ValueError, match="whsec_"):
        signing_key(secret)


def test_the_example_in_the_documentation_is_right() -> None:
    """Whoever writes the other side can try it with what is printed there."""
    page = (Path(__file__).resolve().parents[3] / "docs" / "credential-hook.md").read_text(encoding="utf-8")
    headers = dict(re.findall(r"^(webhook-[a-z]+): (.*)$", page, re.MULTILINE))
    (body,) = re.findall(r"^\{.*\}$", page, re.MULTILINE)
    (secret,) = re.findall(r"With the secret `(.*?)`", page)
    assert signed_by(secret, headers, body.encode())
    made = signature_headers(
        signing_key(secret), headers["webhook-id"], int(headers["webhook-timestamp"]), body.encode()
    )
    assert made == headers
