"""The certificates of a listener with DTLS, for OpenSSL through pyOpenSSL: the same files as those of TLS."""

from collections.abc import Sequence
from typing import Final

from OpenSSL import SSL

from turnserver.dtls import secured
from turnserver.transports.certificates import CIPHERS, as_file
from turnserver.transports.opening import ALPN_TURN

__all__ = ["DtlsContexts"]

_MOST: Final = 64
"""Contexts kept: one for each choice of certificates. When there are more, old ones have been replaced."""


class DtlsContexts:
    """The contexts for handshakes, made when they are first needed; ``ciphers`` is a cipher list of OpenSSL."""

    def __init__(self, ciphers: str = CIPHERS) -> None:
        self._ciphers = ciphers.encode()
        self._made: dict[tuple[tuple[bytes, bytes], ...], SSL.Context] = {}

    def of(self, certificates: tuple[tuple[bytes, bytes], ...]) -> SSL.Context:
        """The context with these certificates: chain and key of each, in PEM (`CertificateSource.shown`)."""
        context = self._made.get(certificates)
        if context is None:
            if len(self._made) >= _MOST:
                self._made.clear()
            context = self._made[certificates] = _context(certificates, self._ciphers)
        return context


def _context(certificates: Sequence[tuple[bytes, bytes]], ciphers: bytes) -> SSL.Context:
    context = secured(SSL.Context(SSL.DTLS_SERVER_METHOD))
    context.set_cipher_list(ciphers)
    context.set_alpn_select_callback(_choose)
    # The cookie has been verified before OpenSSL sees the ClientHello, which it accepts only with these callbacks.
    context.set_cookie_generate_callback(lambda _: b"")
    context.set_cookie_verify_callback(lambda _, cookie: True)
    for chain, key in certificates:
        with as_file(chain) as chain_file, as_file(key) as key_file:
            context.use_certificate_chain_file(chain_file)
            context.use_privatekey_file(key_file)
    return context


def _choose(_: SSL.Connection, offered: Sequence[bytes]) -> bytes | SSL._NoOverlappingProtocols:
    """RFC 7443. A client that offers only others has been refused before."""
    return ALPN_TURN.encode() if ALPN_TURN.encode() in offered else SSL.NO_OVERLAPPING_PROTOCOLS
