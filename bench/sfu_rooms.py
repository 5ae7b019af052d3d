"""One room at each of the SFUs that are compared: whoever joins it there gets the same connections by each one's words.

A room gives each publisher a connection to send through, and each receiver one connection through which everything of
all publishers comes.
"""

import asyncio
import contextlib
import itertools
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol

import aiohttp

from bench.plan import BenchError
from bench.servers import HOST
from bench.sfu_ends import MediaEnd, Publisher
from turnserver.client import SignalClient, SignalError
from turnserver.media.sdp import MediaDescription, SessionDescription, read_description
from turnserver.signaling.protocol.base import ServerMessage
from turnserver.signaling.protocol.client_messages import Desc, Join
from turnserver.signaling.protocol.fields import Description
from turnserver.signaling.protocol.server_messages import PeerDesc
from turnserver.signaling.rooms.media_port import SFU

__all__ = ["ROOMS", "JanusRoom", "Room", "SignalRoom"]

_ROOM: Final = 7
_ANSWER_SECONDS: Final = 30.0


class Room(Protocol):
    """A room of one server; an asynchronous context manager."""

    async def __aenter__(self) -> "Room": ...

    async def __aexit__(self, *_: object) -> None: ...

    async def publish(self, publisher: Publisher) -> None:
        """Join, and connect what sends."""

    async def receive(self, end: MediaEnd, publishers: int) -> None:
        """Join, and connect what receives from so many publishers."""


def _answered(end: MediaEnd, offer: SessionDescription) -> str:
    """The answer that takes everything."""
    return end.description(
        [
            MediaDescription(
                each.kind,
                each.mid,
                "recvonly" if each.direction in {"sendonly", "sendrecv"} else "inactive",
                each.formats,
                each.extensions,
                rejected=each.rejected,
                head=each.head,
            )
            for each in offer.media
        ]
    )


def _candidate(sdp: str) -> tuple[str, int]:
    """Where the server is reached over UDP and IPv4: its first such candidate."""
    for line in sdp.splitlines():
        if line.startswith("a=candidate:"):
            words = line.split()
            if words[2].lower() == "udp" and ":" not in words[4]:
                return words[4], int(words[5])
    raise BenchError("the server gave no candidate")


async def _within(answer: Awaitable[Any], what: str) -> Any:
    try:
        async with asyncio.timeout(_ANSWER_SECONDS):
            return await answer
    except TimeoutError:
        raise BenchError(f"the server has not answered within {_ANSWER_SECONDS:.0f} s: {what}") from None


class _Seat:
    """One participant of a `SignalRoom`; ``offers`` and ``answers`` are the SFU's descriptions."""

    def __init__(self, url: str) -> None:
        self.client = SignalClient(url)
        self.offers: asyncio.Queue[PeerDesc] = asyncio.Queue()
        self.answers: asyncio.Queue[PeerDesc] = asyncio.Queue()
        self.client.subscribe(self._heard)

    def _heard(self, message: ServerMessage) -> None:
        if isinstance(message, PeerDesc):
            (self.offers if message.desc.type == "offer" else self.answers).put_nowait(message)

    async def join(self, name: str) -> None:
        """Take a seat."""
        try:
            await self.client.open()
            await self.client.request(Join(room="bench", name=name, mode="auto"))
        except SignalError as error:
            raise BenchError(f"joining the room: {error}") from error

    def say(self, pc: str, kind: str, sdp: str) -> None:
        """Send a description to the SFU."""
        self.client.send(Desc(n=0, to=SFU, pc=pc, desc=Description(type=kind, sdp=sdp)))  # type: ignore[arg-type]


class SignalRoom:
    """A room by ``signal.v1``."""

    def __init__(self, port: int) -> None:
        self._url = f"http://{HOST}:{port}"
        self._seats: list[_Seat] = []

    async def __aenter__(self) -> Room:
        return self

    async def __aexit__(self, *_: object) -> None:
        for seat in self._seats:
            await seat.client.bye()

    async def _join(self) -> _Seat:
        seat = _Seat(self._url)
        self._seats.append(seat)
        await seat.join(f"{len(self._seats)}")
        return seat

    async def publish(self, publisher: Publisher) -> None:
        """See `Room`."""
        seat = await self._join()
        end = publisher.connection
        seat.say("publish1", "offer", end.description(publisher.media()))
        answer = await _within(seat.answers.get(), "the offer")
        await end.connect(read_description(answer.desc.sdp), _candidate(answer.desc.sdp))

    async def receive(self, end: MediaEnd, publishers: int) -> None:
        """See `Room`."""
        seat = await self._join()
        connected = False
        while True:
            offer = await _within(seat.offers.get(), "an offer of everybody's media")
            description = read_description(offer.desc.sdp)
            seat.say(offer.pc, "answer", _answered(end, description))
            if not connected:
                await end.connect(description, _candidate(offer.desc.sdp))
                connected = True
            if sum(each.direction == "sendonly" for each in description.media) >= 2 * publishers:
                return


class JanusRoom:
    """A room of Janus' VideoRoom, by its WebSocket."""

    def __init__(self, port: int) -> None:
        self._url = f"ws://{HOST}:{port}"
        self._feeds: list[int] = []
        self._numbers = itertools.count(1)
        self._waiting: dict[str, asyncio.Future[dict[str, Any]]] = {}
        self._http: aiohttp.ClientSession
        self._socket: aiohttp.ClientWebSocketResponse
        self._reader: asyncio.Task[None]
        self._session = 0

    async def __aenter__(self) -> Room:
        self._http = aiohttp.ClientSession()
        self._socket = await self._http.ws_connect(self._url, protocols=("janus-protocol",))
        self._reader = asyncio.create_task(self._read())
        self._session = (await self._ask({"janus": "create"}))["data"]["id"]
        room = {"request": "create", "room": _ROOM, "publishers": 100, "bitrate": 0, "fir_freq": 0}
        more = {"audiocodec": "opus", "videocodec": "vp8", "notify_joining": False, "audiolevel_event": False}
        await self._event(await self._attach(), room | more, kind="success")
        return self

    async def __aexit__(self, *_: object) -> None:
        self._reader.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._reader
        await self._http.close()

    async def publish(self, publisher: Publisher) -> None:
        """See `Room`."""
        handle = await self._attach()
        joined = await self._event(handle, {"request": "join", "ptype": "publisher", "room": _ROOM})
        self._feeds.append(joined["plugindata"]["data"]["id"])
        end = publisher.connection
        offer = {"type": "offer", "sdp": end.description(publisher.media()), "trickle": False}
        answer = (await self._event(handle, {"request": "publish"}, offer))["jsep"]["sdp"]
        await end.connect(read_description(answer), _candidate(answer))

    async def receive(self, end: MediaEnd, publishers: int) -> None:
        """See `Room`."""
        handle = await self._attach()
        streams = [{"feed": feed} for feed in self._feeds[:publishers]]
        joined = await self._event(
            handle, {"request": "join", "ptype": "subscriber", "room": _ROOM, "streams": streams}
        )
        offer = joined["jsep"]["sdp"]
        description = read_description(offer)
        answer = {"type": "answer", "sdp": _answered(end, description), "trickle": False}
        await self._event(handle, {"request": "start"}, answer)
        await end.connect(description, _candidate(offer))

    async def _attach(self) -> int:
        found = await self._ask({"janus": "attach", "session_id": self._session, "plugin": "janus.plugin.videoroom"})
        return int(found["data"]["id"])

    async def _event(
        self, handle: int, body: dict[str, Any], jsep: dict[str, Any] | None = None, *, kind: str = "event"
    ) -> dict[str, Any]:
        """What a request to the plugin has brought about; ``kind`` is that of the answer."""
        message = {"janus": "message", "session_id": self._session, "handle_id": handle, "body": body}
        if jsep is not None:
            message["jsep"] = jsep
        return await self._ask(message, kind)

    async def _ask(self, message: dict[str, Any], kind: str = "success") -> dict[str, Any]:
        transaction = str(next(self._numbers))
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._waiting[transaction] = answer
        await self._socket.send_json(message | {"transaction": transaction})
        found: dict[str, Any] = await _within(answer, str(message.get("body", message))[:60])
        data = found.get("plugindata", {}).get("data", {})
        if found["janus"] == "error" or "error" in data or found["janus"] != kind:
            raise BenchError(f"Janus: {found.get('error') or data}")
        return found

    async def _read(self) -> None:
        async for message in self._socket:
            if message.type is not aiohttp.WSMsgType.TEXT:
                continue
            found = message.json()
            answer = self._waiting.get(found.get("transaction", ""))
            # An ack is no answer: what an asynchronous request has done comes as an event.
            if answer is not None and found["janus"] != "ack" and not answer.done():
                answer.set_result(found)


ROOMS: Final[dict[str, Callable[[int], Room]]] = {"meshturn": SignalRoom, "janus": JanusRoom}
"""By the kind of server; the argument is the port of its signaling."""
