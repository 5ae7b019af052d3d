"""The link between a client and its server over DTLS (RFC 7350): a UDP socket and one association.

It needs pyOpenSSL, an extra of this package, so that `turnserver.turnclient.links` imports it when it is first used.
The server's certificate is checked against the roots of an ``ssl.SSLContext``, as for TLS, and against the host of the
URI (RFC 9525). Nothing but the handshake is sent to a server that fails the check.
"""

import asyncio
import ipaddress
import ssl
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple, cast

from cryptography import x509
from OpenSSL import SSL, crypto

from stun.address import Address
from stun.client.errors import ServerUnreachable
from stun.uri import StunUri
from turnserver.dtls import DtlsClosed, DtlsFailed, DtlsSession, records, secured
from turnserver.turnclient.links import LinkBroken, LinkReceiver, unreachable

__all__ = ["CLIENT_MTU", "WRONG_NAME", "Distrust", "DtlsLink", "Shown", "open_association", "open_dtls"]

CLIENT_MTU: Final = 1232
"""Bytes of the largest datagram of a handshake; what every IPv6 path carries (RFC 8200 §5)."""

WRONG_NAME: Final = 62
"""OpenSSL's number for a certificate that is for another host (``X509_V_ERR_HOSTNAME_MISMATCH``)."""

_WORDS: Final[Mapping[int, str]] = MappingProxyType(
    {
        9: "certificate is not yet valid",
        10: "certificate has expired",
        18: "self-signed certificate",
        19: "self-signed certificate in certificate chain",
        20: "unable to get local issuer certificate",
        21: "unable to verify the first certificate",
        23: "certificate revoked",
    }
)
"""OpenSSL's words for its numbers (x509_vfy.h), which pyOpenSSL does not give."""

_CIPHERS: Final = b"ECDHE+AESGCM:ECDHE+CHACHA20"


class Distrust(NamedTuple):
    """Why a certificate is not trusted: OpenSSL's number of the error, and its words."""

    code: int
    words: str


class Shown(NamedTuple):
    """What a handshake showed: version, cipher and its bits, the server's certificate, and why not to trust it."""

    version: str
    cipher: str
    bits: int
    certificate: x509.Certificate | None
    distrust: Distrust | None


class DtlsLink(asyncio.DatagramProtocol):
    """A connected UDP socket with an association; see `turnserver.turnclient.links.Link`.

    ``established`` is done when the handshake is, and has its failure, a `ServerUnreachable`.
    """

    reliable = False

    def __init__(self, session: DtlsSession) -> None:
        self.session = session
        self._loop = asyncio.get_running_loop()
        self.established: asyncio.Future[None] = self._loop.create_future()
        self._receiver: LinkReceiver | None = None
        self._transport: asyncio.DatagramTransport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._answered = False
        self._trouble: ServerUnreachable | None = None

    @property
    def source(self) -> Address:
        """The address and the port of this machine that the server is sent from."""
        host, port = cast(asyncio.DatagramTransport, self._transport).get_extra_info("sockname")[:2]
        return Address.parse(str(host).partition("%")[0], port)

    @property
    def buffered(self) -> int:
        """Bytes that the system has not taken yet."""
        return 0 if self._transport is None else cast(asyncio.WriteTransport, self._transport).get_write_buffer_size()

    def start(self, receiver: LinkReceiver) -> None:
        """Begin to deliver, and report if the association has ended meanwhile."""
        self._receiver = receiver
        if self._trouble is not None:
            self._loop.call_soon(receiver.link_ended, self._trouble)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio once the socket is there."""
        self._transport = cast(asyncio.DatagramTransport, transport)
        self._step(self.session.begin)

    def datagram_received(self, data: bytes, addr: object) -> None:
        """Called by asyncio for each datagram from the server."""
        for record in records(data):
            if self._transport is None or self._trouble is not None:
                return
            message = self._step(lambda record=record: self.session.feed(record))  # type: ignore[misc]
            if message is not None:
                self._answered = True
                if self._receiver is not None:
                    self._receiver.frame_received(message)

    def error_received(self, exc: Exception) -> None:
        """Called by asyncio for an ICMP error, or when a datagram could not be sent."""
        if not self.established.done():
            self._over(unreachable(exc))
        elif self._receiver is not None:
            self._receiver.link_troubled(unreachable(exc))

    def send(self, frame: bytes) -> None:
        """Send one frame in a record and a datagram of its own."""
        if self._transport is None or self._trouble is not None:
            return
        record = self.session.seal(frame)
        if record is not None:
            self._transport.sendto(record)

    async def close(self) -> None:
        """End the association, and close the socket."""
        self._receiver = None
        transport, self._transport = self._transport, None
        self._stop_timer()
        if transport is not None:
            for datagram in self.session.close():
                transport.sendto(datagram)
            transport.close()

    def _step(self, step: Callable[[], bytes | None]) -> bytes | None:
        """One step of the association; what it has to send is sent, also if it fails."""
        message = None
        try:
            message = step()
        except DtlsClosed:
            self._over(LinkBroken("The server closed the DTLS session.", nonsense=b"", answered=self._answered))
        except DtlsFailed as error:
            who = "The server refuses the DTLS session" if error.alert else "The DTLS session failed"
            self._over(LinkBroken(f"{who}: {error}.", nonsense=b"", answered=self._answered))
        if message is None:
            self._flush()
        return message

    def _flush(self) -> None:
        transport = self._transport
        if transport is None:
            return
        for datagram in self.session.flight():
            transport.sendto(datagram)
        self._stop_timer()
        if self._trouble is not None:
            return
        seconds = self.session.timeout()
        if seconds is not None:
            self._timer = self._loop.call_later(seconds, self._step, self.session.retransmit)
        if self.session.established and not self.established.done():
            self.established.set_result(None)

    def _over(self, error: ServerUnreachable) -> None:
        if self._trouble is not None:
            return
        self._trouble = error
        if not self.established.done():
            self.established.set_exception(error)
        elif self._receiver is not None:
            self._receiver.link_ended(error)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


async def open_dtls(uri: StunUri, address: Address, tls: ssl.SSLContext | None = None) -> DtlsLink:
    """A link over DTLS. Raises `ServerUnreachable`, also for a certificate that is not trusted.

    ``tls`` has the roots to trust, and says whether certificates and names are checked; None trusts the system's
    roots. Of a context that has roots of its own, only those count. The caller bounds the time.
    """
    link, shown = await open_association(uri.host, address, tls)
    if shown.distrust is not None:
        await link.close()
        raise ServerUnreachable(f"The server's certificate cannot be trusted: {shown.distrust.words}.")
    return link


async def open_association(host: str, address: Address, tls: ssl.SSLContext | None = None) -> tuple[DtlsLink, Shown]:
    """The link after its handshake, and what that has shown: the caller decides about a certificate without trust.

    Raises `ServerUnreachable`.
    """
    errors: list[Distrust] = []
    context = _context(tls, errors)
    try:
        session = DtlsSession.connect(context, None if _ip(host) is not None else host, CLIENT_MTU)
    except UnicodeEncodeError as error:
        raise ServerUnreachable("The host of the URI cannot be sent in DTLS (SNI).") from error
    loop = asyncio.get_running_loop()
    try:
        _, link = await loop.create_datagram_endpoint(
            lambda: DtlsLink(session), remote_addr=(address.host, address.port)
        )
    except OSError as error:
        raise unreachable(error) from error
    try:
        await link.established
    except BaseException:
        await link.close()
        raise
    connection = session.connection
    certificate = connection.get_peer_certificate(as_cryptography=True)
    if not errors and (tls is None or tls.check_hostname) and (certificate is None or not _is_for(certificate, host)):
        errors.append(Distrust(WRONG_NAME, "hostname mismatch"))
    version, cipher = connection.get_protocol_version_name(), connection.get_cipher_name() or "unknown"
    return link, Shown(version, cipher, connection.get_cipher_bits() or 0, certificate, next(iter(errors), None))


def _context(tls: ssl.SSLContext | None, errors: list[Distrust]) -> SSL.Context:
    """A context with the roots of ``tls``; what is wrong with a chain is added to ``errors``."""
    context = secured(SSL.Context(SSL.DTLS_CLIENT_METHOD))
    context.set_cipher_list(_CIPHERS)
    if tls is not None and tls.verify_mode == ssl.CERT_NONE:
        return context
    roots = [] if tls is None else tls.get_ca_certs(binary_form=True)
    store = context.get_cert_store()
    if roots and store is not None:
        for root in roots:
            store.add_cert(crypto.load_certificate(crypto.FILETYPE_ASN1, root))
    else:
        context.set_default_verify_paths()

    def note(_: SSL.Connection, __: Any, code: int, ___: int, ok: int) -> bool:
        if not ok:
            errors.append(Distrust(code, _WORDS.get(code, f"error {code} of OpenSSL")))
        return True

    context.set_verify(SSL.VERIFY_PEER, note)
    return context


def _ip(host: str) -> str | None:
    """An address in its usual form; None for a name."""
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return None


def _is_for(certificate: x509.Certificate, host: str) -> bool:
    """RFC 9525 §6: the names among the alternative names only; a wildcard stands for one whole label."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, x509.DuplicateExtension, x509.UnsupportedGeneralNameType, ValueError):
        return False
    address = _ip(host)
    if address is not None:
        return any(str(found) == address for found in names.get_values_for_type(x509.IPAddress))
    wanted = host.removesuffix(".").lower()
    _, dot, above = wanted.partition(".")
    accepted = {wanted, f"*.{above}"} if dot else {wanted}
    return any(found.lower() in accepted for found in names.get_values_for_type(x509.DNSName))
