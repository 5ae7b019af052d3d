"""A connection until its protocol is known: PROXY header, then TLS, then the first bytes of STUN or HTTP.

Every step has a deadline, which the transport enforces, and a bound on the bytes that it holds. A connection is closed
at the first byte that fits no protocol.
"""

import contextlib
from collections.abc import Callable
from typing import Final, Protocol

from stun.address import Address
from stun.demux import TLS_HANDSHAKE
from turnserver.core.types import ClientTransport
from turnserver.proxies import Arrival, Networks
from turnserver.reasons import Reason
from turnserver.streams import ByteStream
from turnserver.transports.base import HttpGateway
from turnserver.transports.certificates import CertificateSource
from turnserver.transports.client_hello import NO_APPLICATION_PROTOCOL, NotTls, read_client_hello
from turnserver.transports.crossed import Came, Crossings
from turnserver.transports.limits import ConnectionSlot
from turnserver.transports.proxy_protocol import NoHeader, ProxyError, begins_header, read_header
from turnserver.transports.sniff import Speech, sniff
from turnserver.transports.turned_away import TurnedAway, handshake_failure

__all__ = ["ALPN_HTTP", "ALPN_TURN", "Opening", "OpeningHost"]

ALPN_TURN: Final = "stun.turn"
"""RFC 7443: what a TURN client offers by ALPN."""
ALPN_HTTP: Final = "http/1.1"
"""RFC 7301 §6."""

_READ_SIZE: Final = 16 * 1024
_LINGER: Final = 2.0
"""Seconds for a client to read the reason before its connection is closed."""

_HTTP_REFUSAL: Final = (
    "HTTP/1.1 400 Bad Request\r\n"
    "Content-Type: text/plain; charset=utf-8\r\n"
    "Content-Length: {}\r\n"
    "Connection: close\r\n"
    "\r\n"
    "{}"
)
_NOT_HTTP: Final = "This port speaks STUN and TURN (RFC 8656), not HTTP.\n"
_NOT_HTTP_BUT_TLS: Final = "This port speaks STUN and TURN (RFC 8656) over TLS, not HTTP.\n"
_NOT_PLAIN: Final = "This port speaks TLS. Use https:// or turns: instead.\n"


class OpeningHost(Protocol):
    """What a new connection needs from its transport."""

    name: str
    kinds: tuple[ClientTransport, ...]
    address: Address
    crossings: Crossings
    refusals: TurnedAway
    tls: CertificateSource | None
    http: HttpGateway | None
    protocols: tuple[str, ...]
    proxies: Networks
    header_required: bool
    now: Callable[[], float]

    def opened(self, opening: "Opening", first: bytes) -> None:
        """The connection speaks STUN; ``first`` are the bytes already read from it."""

    def forget(self, opening: "Opening") -> None:
        """The connection is not an opening any more."""

    def first_message_deadline(self) -> float:
        """The deadline for the first whole frame of a client that may send now."""

    def count_dropped(self) -> None:
        """Count a dropped connection."""

    def turned_away(self, client: Address) -> None:
        """Count a connection refused by the client ACL or the limit per client, and log it at a limited rate."""


class Opening:
    """One new connection. ``deadline`` is in monotonic seconds; the transport closes the connection after it."""

    __slots__ = ("_arrival", "_buffer", "_slot", "_step", "_transport", "deadline", "stream")

    def __init__(
        self, transport: OpeningHost, stream: ByteStream, slot: ConnectionSlot, deadline: float, *, proxied: bool
    ) -> None:
        claim = self._claim if proxied else None
        self._arrival = Arrival(stream.peer, proxied=proxied, proxies=transport.proxies, claim=claim)
        self.deadline = deadline
        self.stream = stream
        self._transport = transport
        self._slot = slot
        self._buffer = b""
        self._step: Callable[[Opening], None] = Opening._read_proxy if proxied else Opening._first_step
        stream.on_readable = self.read
        stream.want_read(True)

    @property
    def client(self) -> Address:
        """The client's address: from the PROXY header, once it has been read and if it has one."""
        return self._arrival.client

    def read(self) -> None:
        """Read what has arrived; the stream's ``on_readable``."""
        try:
            data = self.stream.recv(_READ_SIZE)
        except OSError as error:
            self._close(Reason.CONNECTION_BROKEN, str(error))
            return
        if data:
            self._buffer += data
            self._step(self)
        elif data is not None and self._buffer:
            self._close(Reason.CONNECTION_BROKEN, "ended")
        elif data is not None:
            self.stream.close()  # probably a health check

    def too_slow(self) -> None:
        """The deadline has passed."""
        if self.stream.on_readable == self._linger:
            self.stream.close()  # it has been told why
        else:
            self._close(Reason.TOO_SLOW)

    # The steps

    def _first_step(self) -> None:
        if self._transport.tls is None:
            self._step = Opening._sniff
        elif ClientTransport.TCP in self._transport.kinds:
            self._step = Opening._choose
        else:
            self._step = Opening._read_hello
        self._step(self)

    def _read_proxy(self) -> None:
        """From here on, the address in the header is the client's. A proxy that sends none speaks for itself."""
        try:
            header = read_header(self._buffer)
        except NoHeader:
            if self._transport.header_required:
                self._close(Reason.PROXY_HEADER_MISSING)
            else:
                self._first_step()
            return
        except ProxyError as error:
            self._close(Reason.PROXY_HEADER_MALFORMED, str(error))
            return
        if header is None:
            return
        self._buffer = self._buffer[header.size :]
        if header.client is not None:
            told = self._arrival._replace(client=header.client, secure=header.secure, port=header.port)
            self._arrival = told._replace(claim=None)
            if not self._claim(self.client):
                self.stream.close()
                return
        self._first_step()

    def _claim(self, client: Address) -> bool:
        """Count a proxy's connection for its client; False, and said, if that has too many, or may have none."""
        if self._slot.claim(client.ip):
            return True
        self._transport.turned_away(client)
        return False

    def _choose(self) -> None:
        """TLS or not: no other protocol here begins with the first byte of a TLS handshake."""
        if not self._buffer:
            return
        if self._buffer[0] == TLS_HANDSHAKE:
            self._step = Opening._read_hello
        else:
            self.deadline = self._transport.first_message_deadline()
            self._step = Opening._sniff
        self._step(self)

    def _read_hello(self) -> None:
        tls = self._transport.tls
        if tls is None or not self._buffer:
            return
        try:
            hello = read_client_hello(self._buffer)
        except NotTls as error:
            speech = sniff(self._buffer)
            if speech is Speech.HTTP and self._transport.http is None:
                self._say_goodbye(_http_refusal(_NOT_HTTP_BUT_TLS), Came.HTTP)
            elif speech is Speech.HTTP:
                self._say_goodbye(_http_refusal(_NOT_PLAIN), Came.PLAIN_HTTP)
            elif speech is not None:
                self._close(Came.TURN) if speech is Speech.STUN else self._refuse_stranger(Reason.NOT_TLS, str(error))
            return
        if hello is None:
            return
        if not tls.ready:
            self._close(Reason.NO_CERTIFICATE)
            return
        ours = self._transport.protocols
        if hello.protocols is not None and not any(name.encode() in hello.protocols for name in ours):
            self._say_goodbye(NO_APPLICATION_PROTOCOL, Reason.TLS_NO_PROTOCOL)
            return
        self.stream.unread(self._buffer)
        self._buffer = b""
        self.stream.start_tls(tls.context(ours, hello.server_name, self._transport.address.host))
        self.stream.on_readable = self._handshake
        self._handshake()

    def _handshake(self) -> None:
        try:
            done = self.stream.handshake()
        except OSError as error:
            self._close(*handshake_failure(error))
            return
        if done:
            self.deadline = self._transport.first_message_deadline()
            self._step = Opening._sniff
            self.stream.on_readable = self.read

    def _sniff(self) -> None:
        speech = sniff(self._buffer)
        if speech is Speech.STUN:
            self._transport.opened(self, self._buffer)
        elif speech is Speech.HTTP:
            http = self._transport.http
            if http is None:
                self._say_goodbye(_http_refusal(_NOT_HTTP), Came.HTTP)
                return
            self._transport.forget(self)
            secure = self.stream.tls is not None or self._arrival.secure
            http.accept(self.stream, self._buffer, self._arrival._replace(secure=secure))
        elif speech is Speech.TLS and self.stream.tls is None:
            self._close(Came.TLS)
        elif speech is not None:
            self._refuse_stranger(Reason.NOT_TURN, f"speaks {speech.value}")

    def _refuse_stranger(self, cause: Reason, why: str) -> None:
        """The first bytes belong to no protocol of this port, but perhaps to a proxy that is not configured."""
        if self.stream.tls is None and not self._arrival.proxied and begins_header(self._buffer):
            self._close(Reason.PROXY_HEADER_UNEXPECTED)
        else:
            self._close(cause, why)

    # The ends

    def _say_goodbye(self, message: bytes, cause: Came | Reason) -> None:
        """Send the reason, and close when the client has read it: closing at once could reset the connection first."""
        try:
            self.stream.push(message)
            self.stream.shutdown_write()
        except OSError:
            self._close(cause)
            return
        self._log(cause)
        self._buffer = b""
        self.deadline = min(self.deadline, self._transport.now() + _LINGER)
        self.stream.on_readable = self._linger

    def _linger(self) -> None:
        """Discard what the client still sends, until it stops or the deadline passes."""
        with contextlib.suppress(OSError):
            if self.stream.recv(_READ_SIZE) != b"":
                return
        self.stream.close()

    def _close(self, cause: Came | Reason, why: str = "") -> None:
        self._log(cause, why)
        self.stream.close()

    def _log(self, cause: Came | Reason, why: str = "") -> None:
        here = self._transport
        here.count_dropped()
        if isinstance(cause, Came):
            here.crossings.say(cause, here.name, here.address, self.client, proxied=self._arrival.proxied)
        else:
            here.refusals.say(cause, why, self.client, f"{here.name} {here.address}")


def _http_refusal(text: str) -> bytes:
    return _HTTP_REFUSAL.format(len(text), text).encode()
