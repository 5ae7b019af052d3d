"""Data connections of a TCP relay (RFC 6062 §4.3): a new connection to the server that becomes a peer's stream."""

import asyncio
import secrets
import ssl
from typing import NamedTuple

from stun.address import Address
from stun.attributes import CONNECTION_ID
from stun.client.answers import read_nothing
from stun.client.authentication import AuthSession, Login
from stun.client.errors import ServerUnreachable
from stun.client.requests import ClientRequest, RequestOptions, Requests
from stun.constants import HEADER_LENGTH, Method
from stun.demux import is_stun
from stun.errors import MalformedMessage
from stun.message import Message
from turnserver.turnclient.links import connect_stream, unreachable

__all__ = ["AcceptedPeer", "PeerStream", "PeerStreams"]

_LONGEST_ANSWER = 4096
"""Maximum size in bytes of an answer to ConnectionBind; a challenge has a tenth of it."""


class PeerStream(NamedTuple):
    """A connection with a peer, through the server."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter


class AcceptedPeer(NamedTuple):
    """A connection that a peer has initiated."""

    peer: Address
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter


class PeerStreams:
    """Makes peer data connections, each over a separate connection to the server of a control connection.

    ``host`` is the name that a certificate must have; ``patience`` bounds connecting, in seconds.
    """

    def __init__(
        self,
        host: str,
        server: Address,
        tls: ssl.SSLContext | None,
        *,
        login: Login | None,
        patience: float,
        options: RequestOptions | None = None,
    ) -> None:
        self._options = options
        self._host = host
        self._server = server
        self._tls = tls
        self._login = login
        self._patience = patience

    async def bind(self, connection: int, session: AuthSession | None) -> PeerStream:
        """Open another connection to the server, and bind it to the peer's (ConnectionBind).

        ``session`` is that of the control connection. Raises `stun.client.errors.ClientError`: an `ErrorResponse` with
        400 if the peer connection has ended meanwhile.
        """
        reader, writer = await self._connect()
        try:
            await self._bind(reader, writer, connection, session)
        except BaseException:
            writer.transport.abort()
            raise
        return PeerStream(reader, writer)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        try:
            async with asyncio.timeout(self._patience):
                sock = await connect_stream(self._server)
                try:
                    host = None if self._tls is None else self._host
                    return await asyncio.open_connection(sock=sock, ssl=self._tls, server_hostname=host)
                except BaseException:
                    sock.close()
                    raise
        except TimeoutError:
            raise ServerUnreachable(f"No second connection to {self._server} within {self._patience:g} s.") from None
        except ServerUnreachable:
            raise
        except OSError as error:
            raise unreachable(error) from error

    async def _bind(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, connection: int, session: AuthSession | None
    ) -> None:
        clock = asyncio.get_running_loop().time
        requests = Requests(
            secrets.token_bytes, login=self._login, session=session, reliable=True, options=self._options
        )
        request: ClientRequest[None] = requests.begin(
            Method.CONNECTION_BIND, [(CONNECTION_ID, connection)], clock(), read=read_nothing
        )
        while not request.done:
            for frame in requests.frames():
                writer.write(frame)
            try:
                async with asyncio.timeout_at(requests.deadline()):
                    message = await _message(reader)
            except TimeoutError:
                requests.expire(clock())
            except (OSError, EOFError) as error:
                raise ServerUnreachable("The server closed the data connection.") from error
            except MalformedMessage as error:
                raise ServerUnreachable(
                    "What the server sends on the data connection is not a STUN message."
                ) from error
            else:
                requests.receive(message, clock())
        request.result()


async def _message(reader: asyncio.StreamReader) -> Message:
    """Read exactly one message: the bytes after the success response are the peer's data."""
    header = await reader.readexactly(HEADER_LENGTH)
    length = int.from_bytes(header[2:4], "big")
    if not is_stun(header) or length > _LONGEST_ANSWER:
        raise MalformedMessage("not an answer")
    return Message.decode(header + await reader.readexactly(length))
