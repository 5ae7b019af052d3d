"""The kind of value of ``tls.ciphers``: a cipher list of OpenSSL."""

import re
import ssl
from typing import Annotated, Final

from pydantic import ValidationInfo

from turnserver.config.context import refuse, warn
from turnserver.config.values import Rule, kind_of

__all__ = ["CiphersOption"]

_LIST: Final = re.compile(r"[A-Za-z0-9_+\-!@=:, ]{1,1000}", re.ASCII)
_SOUND: Final = ("-GCM-", "-CHACHA20-", "-CCM")
"""Parts of the names of ciphers with authenticated encryption (AEAD)."""


def _read(value: object, rule: Rule[str], info: ValidationInfo) -> str:
    """Ask OpenSSL for what the list means, and judge that."""
    if value == "":
        return ""
    if not isinstance(value, str) or not _LIST.fullmatch(value):
        refuse(kind_of(value), rule.allowed)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.set_ciphers(value)
    except ssl.SSLError:
        refuse("a list without a cipher that OpenSSL has", rule.allowed)
    # Those of TLS 1.3 are always there, and no list names them.
    chosen = [cipher["name"] for cipher in context.get_ciphers() if not cipher["name"].startswith("TLS_")]
    open_ones = [cipher["name"] for cipher in context.get_ciphers() if not cipher["strength_bits"]]
    anonymous = [name for name in chosen if name.startswith(("ADH-", "AECDH-"))]
    if open_ones or anonymous:
        refuse(f"a list with {(open_ones + anonymous)[0]}", "ciphers that encrypt, and prove who the server is")
    weak = [
        name
        for name in chosen
        if not name.startswith(("ECDHE-", "DHE-")) or not any(part in f"{name}-" for part in _SOUND)
    ]
    if weak:
        warn(
            info,
            f"tls.ciphers allows {weak[0]}, which has no forward secrecy or no authenticated encryption (RFC 9325 §4); "
            "leave the option out unless old clients need it.",
        )
    return value


CiphersOption = Annotated[
    str,
    Rule(
        "cipher list",
        "a cipher list of OpenSSL for TLS 1.2 (see man openssl-ciphers), such as ECDHE+AESGCM:ECDHE+CHACHA20",
        {"type": "string", "maxLength": 1000},
        _read,
    ),
]
"""A cipher list for TLS 1.2; empty for the server's own."""
