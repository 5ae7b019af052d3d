"""Signatures of the credential hook's requests: Standard Webhooks (https://www.standardwebhooks.com), version 1.

A request carries an id, the time, and ``v1,`` with the base64 of HMAC-SHA256 over ``<id>.<time>.<body>``. There are
libraries to verify it in most languages. A retry of a request has the same id.
"""

import binascii
import hmac
from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import Final

__all__ = ["PREFIX", "signature_headers", "signing_key"]

PREFIX: Final = "whsec_"
"""The prefix of a secret whose bytes are given in base64."""


def signing_key(secret: str) -> bytes:
    """The key of a secret: the base64 after ``whsec_``, or any other text in UTF-8.

    Raises ValueError for ``whsec_`` without valid base64 after it.
    """
    if not secret.startswith(PREFIX):
        return secret.encode()
    try:
        key = b64decode(secret.removeprefix(PREFIX), validate=True)
    except binascii.Error:
        raise ValueError("after whsec_, a secret must be base64") from None
    if not key:
        raise ValueError("the secret is empty after whsec_")
    return key


def signature_headers(key: bytes, request_id: str, timestamp: int, body: bytes) -> Mapping[str, str]:
    """The headers that authenticate ``body``, its time (Unix time, seconds) and the id of the request."""
    signed = f"{request_id}.{timestamp}.".encode() + body
    signature = b64encode(hmac.digest(key, signed, "sha256")).decode("ascii")
    return {"webhook-id": request_id, "webhook-timestamp": str(timestamp), "webhook-signature": f"v1,{signature}"}
