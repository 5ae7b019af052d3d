"""How requests of the credential hook are signed: Standard Webhooks (https://www.standardwebhooks.com), version 1.

A request carries an id, the time, and ``v1,`` with the base64 of HMAC-SHA256 over ``<id>.<time>.<body>``. Receivers
find libraries for it in most languages; by hand it is a line. Retries of a request have its id.
"""

import binascii
import hmac
from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import Final

__all__ = ["PREFIX", "signature_headers", "signing_key"]

PREFIX: Final = "whsec_"
"""What the text of a secret begins with when its bytes follow in base64."""


def signing_key(secret: str) -> bytes:
    """The key of a secret: what follows ``whsec_`` in base64, or any other text in UTF-8.

    Raises ValueError for ``whsec_`` with nothing behind it, or with something that is not base64.
    """
    if not secret.startswith(PREFIX):
        return secret.encode()
    try:
        key = b64decode(secret.removeprefix(PREFIX), validate=True)
    except binascii.Error:
        raise ValueError("a secret that begins with whsec_ goes on in base64") from None
    if not key:
        raise ValueError("there is nothing behind whsec_")
    return key


def signature_headers(key: bytes, request_id: str, timestamp: int, body: bytes) -> Mapping[str, str]:
    """The headers that prove who sent ``body``, when (Unix time, seconds), and which request it is."""
    signed = f"{request_id}.{timestamp}.".encode() + body
    signature = b64encode(hmac.digest(key, signed, "sha256")).decode("ascii")
    return {"webhook-id": request_id, "webhook-timestamp": str(timestamp), "webhook-signature": f"v1,{signature}"}
