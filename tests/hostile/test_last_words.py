"""Participants that say goodbye and close without reading: their last message counts, whatever fails first."""

import json
import struct
from pathlib import Path
from typing import Any

import pytest

from tests.support.certificates import client_context, issue
from tests.support.stream_world import TlsPeer
from tests.support.tcp_pair import Peer, eventually, received
from turnserver import polling
from turnserver.server import Server
from turnserver.signaling.rooms.facts import PeerLeft, PeerLost

PAIRS = 5
UPGRADE = (
    b"GET /v1/ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
    b"Sec-WebSocket-Protocol: signal.v1.json\r\n\r\n"
)


def frame(**message: Any) -> bytes:
    """A text frame whose mask is zero (RFC 6455 §5.2)."""
    data = json.dumps(message).encode()
    size = bytes((0x80 | len(data),)) if len(data) < 126 else b"\xfe" + struct.pack("!H", len(data))
    return b"\x81" + size + bytes(4) + data


class Party:
    """A WebSocket whose bytes are sent at once, and which reads only what it is told to."""

    def __init__(self, peer: Peer, tls: TlsPeer | None) -> None:
        self.peer = peer
        self.tls = tls

    @classmethod
    async def enter(cls, server: Server, room: str, name: str, *, encrypted: bool) -> "Party":
        peer = await Peer.to(server.snapshot().listeners[0].address)
        tls = await TlsPeer(peer, client_context()).handshake() if encrypted else None
        party = cls(peer, tls)
        party.send(UPGRADE)
        await party.until(b"welcome")
        party.send(frame(t="hello", id="h", v=1))
        party.send(frame(t="join", id="j", room=room, name=name, media={"a": 1, "v": 1, "s": 0}))
        await party.until(b'"joined"')
        return party

    def send(self, data: bytes) -> None:
        """Send now, in this turn of the loop."""
        self.peer.sock.send(data if self.tls is None else self.tls.records(data))

    async def until(self, word: bytes) -> None:
        heard = b""
        while word not in heard:
            piece = await (self.peer if self.tls is None else self.tls).read(1)
            assert piece, heard
            heard += piece


@pytest.mark.parametrize("encrypted", [False, True])
async def test_a_bye_counts_although_its_client_closes_with_unread_frames(
    tmp_path: Path, encrypted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The close resets the connection, and a write of ours finds that out before the `bye` is read: no ghosts."""
    monkeypatch.setattr(polling, "_TURN", -1.0)  # as under load: tasks that write get their turn between two reads
    listener = {"transport": "shared", "tls": encrypted, "address": "127.0.0.1", "port": 0}
    config = {
        "listeners": [listener],
        "tls": {"certificates": [issue(tmp_path).config]},
        "auth": {"shared_secrets": ["a shared secret of 32 characters"]},
        "signaling": {"open": True, "sockets_per_address": 1000},
        "limits": {"connections_per_address": 1000},
    }
    ends: list[PeerLeft | PeerLost] = []

    class Watch:
        def on_event(self, event: object, counters: object) -> None:
            if isinstance(event, PeerLeft | PeerLost):
                ends.append(event)

    async with Server(config, observers=[Watch()]) as server:
        others = [await Party.enter(server, "others", "", encrypted=encrypted) for _ in range(3)]
        for number in range(PAIRS):
            ann = await Party.enter(server, f"room{number}", "Ann", encrypted=encrypted)
            bob = await Party.enter(server, f"room{number}", "Bob", encrypted=encrypted)
            for n in range(1, 4):
                ann.send(frame(t="msg", n=n, data="never read" * 20))
            await received(bob.peer.sock.fileno(), 600)
            ann.send(frame(t="msg", n=4, data="this write fails"))
            for other in others:
                other.send(frame(t="ping", ts=1))
            bob.send(frame(t="bye"))
            bob.peer.close()
            known = number + 1
            await eventually(lambda known=known: len(ends) == known)  # type: ignore[misc]
            assert isinstance(ends[-1], PeerLeft), f"a ghost after {number} who left"
            assert ends[-1].reason == "left"
            ann.peer.reset()
            await eventually(lambda known=known: len(ends) > known)  # type: ignore[misc]
            ends[:] = [end for end in ends if isinstance(end, PeerLeft)]
