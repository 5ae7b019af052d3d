"""The functions that open a link, by the kind of URI. Another transport needs a link and an entry here."""

import ssl
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from stun.address import Address
from stun.uri import StunUri
from turnserver.turnclient.links import Link, Opener, open_tcp, open_tls, open_udp

__all__ = ["OPENERS", "open_dtls"]


async def open_dtls(uri: StunUri, address: Address, tls: ssl.SSLContext | None = None) -> Link:
    """A link over DTLS (RFC 7350); see `turnserver.turnclient.dtls.open_dtls`. Raises `ServerUnreachable`."""
    from turnserver.turnclient import dtls  # noqa: PLC0415  few need OpenSSL

    return await dtls.open_dtls(uri, address, tls)


OPENERS: Final[Mapping[str, Opener]] = MappingProxyType(
    {"udp": open_udp, "tcp": open_tcp, "tls": open_tls, "dtls": open_dtls}
)
"""The functions that open a link, by `stun.uri.StunUri.protocol`."""
