"""Python participants in a room of a real server, whose every frame is held against the published schema."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from tests.support.server import TurnServerProcess
from tests.support.signal_schema import validate_client, validate_server
from turnserver.client.events import MeshEvent
from turnserver.client.media import MediaPlan, TestMedia
from turnserver.client.mesh import MeshClient
from turnserver.client.pair import Pair, PairState
from turnserver.client.session import SignalClient
from turnserver.signaling.protocol.base import ServerMessage

__all__ = ["ADMIN_KEY", "Member", "connected", "flows", "member", "page_url", "room_of_the_api", "watch_frames"]

ADMIN_KEY = "an-admin-key-of-the-test"
"""For `signaling.admin_keys`."""

PATIENCE = 90
"""Seconds until what does not happen counts as failed."""


class Member:
    """One participant, and what it has heard."""

    def __init__(self, signal: SignalClient, mesh: MeshClient) -> None:
        self.signal = signal
        self.mesh = mesh
        self.events: list[MeshEvent] = []
        self.frames: list[ServerMessage] = []
        self.states: list[tuple[str, PairState]] = []
        """Every state of a connection with another participant, with its id: one that passes quickly is here, too."""
        mesh.subscribe(self._heard)
        signal.subscribe(self.frames.append)

    @property
    def id(self) -> str:
        return self.signal.id

    @property
    def pairs(self) -> list[Pair]:
        return list(self.mesh.pairs.values())

    def data(self) -> list[str | bytes]:
        """What came over data channels."""
        return [event.data for event in self.events if event.kind == "data"]

    def _heard(self, event: MeshEvent) -> None:
        self.events.append(event)
        if event.kind == "peer" and (pair := self.mesh.pairs.get(event.peer)) is not None:
            self.states.append((event.peer, pair.state))

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE):
            await self.mesh.wait_for(condition)


@asynccontextmanager
async def member(
    url: str, room: str = "tea", *, name: str = "Ann", plan: Callable[[], MediaPlan] = TestMedia, **options: Any
) -> AsyncIterator[Member]:
    """Somebody who is in the room; ``token`` is for the session, other options are for the mesh."""
    signal = SignalClient(url, token=options.pop("token", None), tls=options.get("tls"))
    made = Member(signal, MeshClient(signal, plan=plan, **options))
    async with signal:
        try:
            async with asyncio.timeout(PATIENCE):
                await made.mesh.join(room, name=name)
            yield made
        finally:
            await made.mesh.close()


def connected(*members: Member, others: int) -> Callable[[], bool]:
    """Whether each of them is connected with so many others, data channels and all."""
    return lambda: all(
        len(one.pairs) == others and all(pair.state is PairState.CONNECTED and pair.channel_open for pair in one.pairs)
        for one in members
    )


def flows(*members: Member) -> Callable[[], bool]:
    """Whether sound and picture have come in from everybody to each of them, well after now."""
    marks = [(pair, pair.received.audio + 25, pair.received.video + 7) for one in members for pair in one.pairs]
    assert marks
    return lambda: all(pair.received.audio > audio and pair.received.video > video for pair, audio, video in marks)


@pytest.fixture
def watch_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every text frame that a client of this process sends or gets fits the schema."""
    send, receive = aiohttp.ClientWebSocketResponse.send_str, aiohttp.ClientWebSocketResponse.receive

    async def checked(socket: aiohttp.ClientWebSocketResponse, data: str, *arguments: Any) -> None:
        validate_client(json.loads(data))
        await send(socket, data, *arguments)

    async def received(socket: aiohttp.ClientWebSocketResponse, *arguments: Any, **named: Any) -> aiohttp.WSMessage:
        message = await receive(socket, *arguments, **named)
        if message.type is aiohttp.WSMsgType.TEXT:
            validate_server(json.loads(message.data))
        return message

    monkeypatch.setattr(aiohttp.ClientWebSocketResponse, "send_str", checked)
    monkeypatch.setattr(aiohttp.ClientWebSocketResponse, "receive", received)


async def room_of_the_api(url: str, room: str) -> dict[str, Any]:
    """What the server's API says of a room; its key is `ADMIN_KEY`."""
    headers = {"Authorization": f"Bearer {ADMIN_KEY}"}
    async with aiohttp.ClientSession(headers=headers) as http, http.get(f"{url}/v1/rooms/{room}") as answer:
        assert answer.status == 200
        found = await answer.json()
    assert isinstance(found, dict)
    return found


def page_url(server: TurnServerProcess) -> str:
    """Where the server's pages are."""
    return f"http://127.0.0.1:{server.ports['plain']}"
