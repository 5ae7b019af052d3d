"""TLS in a probe: which certificates to trust, the facts of a handshake, and the meaning of its failures.

By default a server is trusted as a browser would: its certificate has to be in date, lead to a root of this machine's
store, and be for the host of the URI (RFC 8489 §6.2.3, RFC 9525).
"""

import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from turnserver.certificates import CertificateFacts, UnreadableCertificate
from turnserver.text import one_line

__all__ = [
    "ALPN_TURN",
    "TlsFacts",
    "TlsTrouble",
    "Trust",
    "alpn_was_refused",
    "distrust",
    "distrusted",
    "handshake_trouble",
]

ALPN_TURN = "stun.turn"
"""What a TURN client offers by ALPN (RFC 7443)."""

_VOUCH = "Use a certificate of a public authority, or trust this one with --ca-file FILE; --insecure skips the check."

_SOME_NAMES = 5
"""Names of a certificate that a sentence repeats."""


class TlsTrouble(NamedTuple):
    """What is wrong with a server's TLS, as a sentence and a hint."""

    sentence: str
    hint: str


@dataclass(frozen=True, slots=True)
class TlsFacts:
    """What a handshake showed. ``trouble`` is empty when the server is trusted; ``alpn`` is what was agreed upon."""

    version: str
    cipher: str
    bits: int
    alpn: str | None
    certificate: CertificateFacts | None
    trouble: str = ""

    @classmethod
    def of(cls, connection: ssl.SSLObject | ssl.SSLSocket, trouble: str = "") -> "TlsFacts":
        """The facts of a connection whose handshake is complete."""
        cipher, _, bits = connection.cipher() or ("unknown", "", 0)
        data = connection.getpeercert(binary_form=True)
        try:
            certificate = None if data is None else CertificateFacts.from_der(data)
        except UnreadableCertificate:
            certificate = None
        alpn = connection.selected_alpn_protocol()
        return cls(connection.version() or "unknown", cipher, bits or 0, alpn, certificate, trouble)

    @property
    def trusted(self) -> bool:
        """True when the certificate passed every check."""
        return not self.trouble

    @property
    def summary(self) -> str:
        """Version, cipher and protocol, for people."""
        alpn = f", ALPN {one_line(self.alpn, 40)}" if self.alpn else ""
        return f"{self.version}, {self.cipher} ({self.bits} bits){alpn}"

    def as_json(self) -> dict[str, Any]:
        """The facts for programs."""
        return {
            "version": self.version,
            "cipher": self.cipher,
            "bits": self.bits,
            "alpn": self.alpn,
            "trusted": self.trusted,
            "trouble": self.trouble or None,
            "certificate": None if self.certificate is None else self.certificate.as_json(),
        }


@dataclass(frozen=True, slots=True)
class Trust:
    """What a probe trusts: the roots in ``ca_file`` (None: the system's); any certificate, if ``insecure``."""

    ca_file: Path | None = None
    insecure: bool = False

    def context(self, *, verify: bool = True, alpn: str | None = None) -> ssl.SSLContext:
        """The context for a handshake. Raises OSError when ``ca_file`` cannot be used."""
        context = ssl.create_default_context(cafile=None if self.ca_file is None else str(self.ca_file))
        if not verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if alpn is not None:
            context.set_alpn_protocols([alpn])
        return context


_UNKNOWN_ISSUER = TlsTrouble(
    "This machine does not know who issued the server's certificate.",
    "The server has to send the intermediate certificates too (fullchain.pem). If the authority is your own, give its "
    "root with --ca-file FILE; --insecure skips the check.",
)

# The numbers are OpenSSL's X509_V_ERR_... (x509_vfy.h), which Python passes on without their names.
_DISTRUST: Mapping[int, TlsTrouble] = MappingProxyType(
    {
        9: TlsTrouble(
            "The server's certificate is not valid yet.", "Check the clocks of the server and of this machine."
        ),
        10: TlsTrouble(
            "The server's certificate has expired.", "Renew it, and check why it was not renewed automatically."
        ),
        18: TlsTrouble(
            "The server's certificate is self-signed: no authority that this machine trusts has signed it.", _VOUCH
        ),
        19: TlsTrouble("The server's certificate leads to a root that this machine does not trust.", _VOUCH),
        20: _UNKNOWN_ISSUER,
        21: _UNKNOWN_ISSUER,
        23: TlsTrouble("The server's certificate has been revoked.", "Replace it with a new one."),
    }
)
_WRONG_NAME = (62, 64)


def distrust(error: ssl.SSLCertVerificationError, host: str, certificate: CertificateFacts | None) -> TlsTrouble:
    """Why a server is not trusted; ``host`` is the host of the URI, ``certificate`` the one that the server sent."""
    return distrusted(error.verify_code, error.verify_message or str(error.reason or "unknown"), host, certificate)


def distrusted(code: int, words: str, host: str, certificate: CertificateFacts | None) -> TlsTrouble:
    """The same by OpenSSL's number of the error, and its words."""
    if code in _WRONG_NAME:
        names = certificate.names if certificate is not None else ()
        listed = ", ".join(one_line(name, 80) for name in names[:_SOME_NAMES]) + (
            " and more" if len(names) > _SOME_NAMES else ""
        )
        return TlsTrouble(
            f"The server's certificate is not for {one_line(host, 80)}.",
            f"Use a name or address that it is for ({listed or 'it has none'}), or a certificate for this one.",
        )
    reason = one_line(words, 80)
    return _DISTRUST.get(code, TlsTrouble(f"The server's certificate cannot be trusted: {reason}.", _VOUCH))


_NOT_TLS = TlsTrouble(
    "What listens there does not speak TLS.", "Write turn: or stun: instead of turns: or stuns:, or use the TLS port."
)
_TOO_OLD = TlsTrouble(
    "The server offers no version of TLS that is still safe.",
    "Enable TLS 1.2 or 1.3 on it; browsers accept nothing older.",
)
_NOTHING_IN_COMMON = TlsTrouble(
    "The server refuses the TLS handshake.",
    "It may have no certificate, require a client certificate, or allow only obsolete ciphers. Its log may say which.",
)
_BROKEN_OFF = TlsTrouble(
    "The server closed the connection during the TLS handshake.",
    "It may not speak TLS on this port (try turn: or stun: with ?transport=tcp), have no certificate, or refuse this "
    "machine's address.",
)
_REASONS: tuple[tuple[str, TlsTrouble], ...] = (
    ("WRONG_VERSION_NUMBER", _NOT_TLS),
    ("RECORD_LAYER_FAILURE", _NOT_TLS),
    ("PACKET_LENGTH_TOO_LONG", _NOT_TLS),
    ("HTTP_REQUEST", _NOT_TLS),
    ("UNSUPPORTED_PROTOCOL", _TOO_OLD),
    ("PROTOCOL_VERSION", _TOO_OLD),
    ("UNEXPECTED_EOF", _BROKEN_OFF),
    ("ALERT", _NOTHING_IN_COMMON),
)


def handshake_trouble(error: OSError) -> TlsTrouble:
    """Why a handshake failed, other than for a lack of trust."""
    if not isinstance(error, ssl.SSLError):
        return _BROKEN_OFF
    reason = _reason(error)
    for part, trouble in _REASONS:
        if part in reason:
            return trouble
    words = one_line(reason.replace("_", " ").lower() or "no reason given", 80)
    return TlsTrouble(f"The TLS handshake failed: {words}.", "The server's log may say more.")


def alpn_was_refused(error: OSError) -> bool:
    """True when the server supports none of the protocols that were offered by ALPN (RFC 7301 §3.2)."""
    return isinstance(error, ssl.SSLError) and "NO_APPLICATION_PROTOCOL" in _reason(error)


def _reason(error: ssl.SSLError) -> str:
    """OpenSSL's name of the error, or one derived from the message if Python has no name for it."""
    if getattr(error, "reason", None):
        return str(error.reason)
    message = re.sub(r"^\[.*?\] | \(_ssl\.c:\d+\)$", "", str(error.args[-1]) if error.args else "")
    return message.upper().replace(" ", "_")
