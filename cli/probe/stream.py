"""A probe's frames over TCP, plain or with TLS (RFC 8656 §3.1)."""

import asyncio
import socket
import ssl
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import NamedTuple

from cli.probe.link import Link, LinkError, unreachable
from cli.probe.report import Step
from cli.probe.security import ALPN_TURN, TlsFacts, TlsTrouble, Trust, alpn_was_refused, distrust, handshake_trouble
from stun.address import Address
from stun.errors import MalformedMessage
from stun.framing import StreamFramer
from stun.uri import StunUri

__all__ = ["StreamLink", "open_stream"]

_CHUNK = 65536

_CLOSING = 1.0
"""Seconds to wait for a connection to close; TLS says goodbye, and the server may not answer."""

_GREETINGS = (
    (b"HTTP/", "a web server"),
    (b"SSH-", "an SSH server"),
    (b"\x15\x03", "a TLS server: write turns: or stuns:"),
    (b"220", "a mail or file server"),
)
"""How other services begin, and what to say of them."""


_LOOKS_LIKE_CHANNEL_DATA = b"HTTP/"
"""A header that could be one of ChannelData; but nobody sends that before the first answer."""


class StreamLink:
    """A connection to the server: cuts what comes into frames, and keeps none but those of one read."""

    reliable = True

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        opened: Sequence[Step] = (),
        tls: TlsFacts | None = None,
    ) -> None:
        self.opened: Sequence[Step] = opened
        self.tls = tls
        self._reader = reader
        self._writer = writer
        self._framer = StreamFramer()
        self._frames: deque[bytes] = deque()
        self._answered = False

    def send(self, frame: bytes) -> None:
        """Send one whole frame; ChannelData comes padded."""
        self._writer.write(frame)

    async def receive(self) -> bytes:
        """The next whole frame. Raises `LinkError` when the connection has ended, or says what is no frame."""
        while not self._frames:
            try:
                data = await self._reader.read(_CHUNK)
            except OSError as error:
                raise self._ended(error) from error
            if not data:
                raise self._ended(None)
            if not self._answered and data.startswith(_LOOKS_LIKE_CHANNEL_DATA):
                raise self._nonsense(data)
            try:
                self._frames.extend(self._framer.feed(data))
            except MalformedMessage as error:
                raise self._nonsense(data) from error
            self._answered = True
        return self._frames.popleft()

    async def close(self) -> None:
        """Close the connection; one that does not close by itself is dropped."""
        self._writer.close()
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(_CLOSING):
                await self._writer.wait_closed()
        self._writer.transport.abort()

    def _ended(self, error: OSError | None) -> LinkError:
        if isinstance(error, ssl.SSLError):
            trouble = handshake_trouble(error)  # In TLS 1.3 a refusal may come after our half of the handshake.
            return LinkError(*trouble, step="tls", tls=self.tls)
        hint = "Its log may say why." if self._answered else "It may not be a TURN server, or refuse this machine."
        return LinkError("The server closed the connection.", hint)

    def _nonsense(self, data: bytes) -> LinkError:
        sentence = "What the server sends is neither STUN nor ChannelData."
        if self._answered:
            return LinkError(sentence, "The server does not follow RFC 8656 §12.5 on streams.")
        found = next((words for start, words in _GREETINGS if data.startswith(start)), "no TURN server")
        return LinkError(sentence, f"It seems to be {found}. Check the port.")


class _Secured(NamedTuple):
    """A connection with TLS, how long its handshake took in seconds, and what it showed."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    seconds: float
    facts: TlsFacts

    async def drop(self) -> None:
        await StreamLink(self.reader, self.writer).close()


async def open_stream(uri: StunUri, address: Address, trust: Trust, patience: float) -> Link:
    """Connect to the server of ``uri`` at ``address``; each of the steps may take ``patience`` seconds.

    Raises `LinkError`, which says how far it came.
    """
    clock = asyncio.get_running_loop().time
    started = clock()
    sock = await _connect(address, patience)
    step = Step("connect", True, "A TCP connection is open.", seconds=clock() - started)
    if not uri.secure:
        reader, writer = await asyncio.open_connection(sock=sock)
        return StreamLink(reader, writer, [step])
    return await _Securing(uri, address, trust, patience, step).link(sock)


async def _connect(address: Address, patience: float) -> socket.socket:
    family = socket.AF_INET if len(address.ip) == 4 else socket.AF_INET6
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        async with asyncio.timeout(patience):
            await asyncio.get_running_loop().sock_connect(sock, (address.host, address.port))
    except TimeoutError:
        sock.close()
        raise LinkError(
            f"There is no TCP connection after {patience:g} s.",
            "Nothing answers there, or a firewall drops the packets; check the address, the port, and that TCP is let "
            "through.",
        ) from None
    except OSError as error:
        sock.close()
        raise unreachable(error) from error
    except BaseException:
        sock.close()
        raise
    return sock


class _Securing:
    """The way to a connection with TLS; more than one connection may be needed to find out what is wrong."""

    def __init__(self, uri: StunUri, address: Address, trust: Trust, patience: float, connected: Step) -> None:
        self._host = uri.host
        self._address = address
        self._trust = trust
        self._patience = patience
        self._connected = connected
        self._alpn: str | None = ALPN_TURN if uri.is_turn else None
        self._notes: list[str] = []

    async def link(self, sock: socket.socket) -> Link:
        """A link over ``sock``, or over another connection in its place. Raises `LinkError`."""
        try:
            try:
                secured = await self._attempt(sock)
            except ssl.SSLError as error:
                if self._alpn is None or not alpn_was_refused(error):
                    raise
                self._notes.append(f"It refuses ALPN {self._alpn}, so it was left out.")
                self._alpn = None
                secured = await self._attempt()
        except ssl.SSLCertVerificationError as error:
            secured = await self._without_trust(error)
        except OSError as error:
            raise self._failed(handshake_trouble(error)) from error
        step = Step("tls", True, self._sentence(secured.facts), self._hint(secured.facts), seconds=secured.seconds)
        return StreamLink(secured.reader, secured.writer, [self._connected, step], secured.facts)

    async def _without_trust(self, error: ssl.SSLCertVerificationError) -> _Secured:
        """Look at a certificate that is not trusted, and go on with the connection only if that was asked for.

        Nothing but the handshake goes over a connection that is not trusted, unless with --insecure.
        """
        try:
            secured = await self._attempt(verify=False)
        except (OSError, LinkError):
            raise self._failed(distrust(error, self._host, None)) from error
        trouble = distrust(error, self._host, secured.facts.certificate)
        facts = replace(secured.facts, trouble=trouble.sentence)
        if not self._trust.insecure:
            await secured.drop()
            raise self._failed(trouble, facts) from error
        return secured._replace(facts=facts)

    async def _attempt(self, sock: socket.socket | None = None, *, verify: bool = True) -> _Secured:
        """One handshake. Raises OSError as asyncio and OpenSSL do, `LinkError` when it takes too long."""
        clock = asyncio.get_running_loop().time
        context = self._trust.context(verify=verify, alpn=self._alpn)
        if sock is None:
            sock = await _connect(self._address, self._patience)
        started = clock()
        try:
            async with asyncio.timeout(self._patience):
                reader, writer = await asyncio.open_connection(sock=sock, ssl=context, server_hostname=self._host)
        except TimeoutError:
            sentence = f"The TLS handshake did not end in {self._patience:g} s."
            raise self._failed(TlsTrouble(sentence, "It may not speak TLS on this port.")) from None
        except ssl.SSLError:
            raise  # Some of them are ValueErrors too.
        except ValueError as error:
            sentence = "The host of the URI cannot be asked for by TLS."
            raise self._failed(TlsTrouble(sentence, "Write the name in its ASCII form, or the address.")) from error
        return _Secured(reader, writer, clock() - started, TlsFacts.of(writer.get_extra_info("ssl_object")))

    def _failed(self, trouble: TlsTrouble, facts: TlsFacts | None = None) -> LinkError:
        return LinkError(*trouble, step="tls", opened=[self._connected], tls=facts)

    def _sentence(self, facts: TlsFacts) -> str:
        trust = "The certificate is trusted." if facts.trusted else f"Not trusted: {facts.trouble}"
        return " ".join([f"The handshake is done: {facts.summary}.", trust, *self._notes])

    def _hint(self, facts: TlsFacts) -> str:
        if not facts.trusted:
            return "With --insecure the probe goes on all the same; browsers would not."
        expiry = facts.certificate.expiry(datetime.now(UTC)) if facts.certificate is not None else ""
        return f"The certificate {expiry}; it should have been renewed by now." if expiry else ""
