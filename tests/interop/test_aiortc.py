"""aiortc against the real server: a WebRTC data channel that can only go through the relay."""

import asyncio
import hashlib
import random
import re

from aiortc import (
    RTCConfiguration,
    RTCDataChannel,
    RTCIceServer,
    RTCPeerConnection,
    RTCSessionDescription,
)

from tests.support.server import PASSWORD, USERNAME, TurnServerProcess

TIMEOUT = 120
"""Seconds until a transfer that has not ended counts as failed; a megabyte takes a few."""
SIZE = 1_000_000
CHUNK = 16_384
"""Bytes in one message of the data channel."""


def peer_connection(server: TurnServerProcess) -> RTCPeerConnection:
    """A peer connection that knows the server as its only ICE server."""
    uri = f"turn:127.0.0.1:{server.port}?transport=udp"
    return RTCPeerConnection(RTCConfiguration([RTCIceServer(uri, username=USERNAME, credential=PASSWORD)]))


def only_relayed(description: RTCSessionDescription) -> RTCSessionDescription:
    """The same session description without its host and server-reflexive candidates."""
    kinds = re.findall(r"^a=candidate:.* typ (\w+)", description.sdp, re.MULTILINE)
    assert "relay" in kinds, description.sdp
    sdp = re.sub(r"^a=candidate:.* typ (?!relay)\w+.*\r\n", "", description.sdp, flags=re.MULTILINE)
    return RTCSessionDescription(sdp, description.type)


async def connect(caller: RTCPeerConnection, callee: RTCPeerConnection) -> None:
    """Offer and answer, with nothing but relayed candidates crossing."""
    await caller.setLocalDescription(await caller.createOffer())
    await callee.setRemoteDescription(only_relayed(caller.localDescription))
    await callee.setLocalDescription(await callee.createAnswer())
    await caller.setRemoteDescription(only_relayed(callee.localDescription))


def chosen_pair(connection: RTCPeerConnection) -> tuple[str, str]:
    """The types of the local and the remote candidate that ICE has settled on."""
    assert connection.sctp is not None
    ice = connection.sctp.transport.transport
    # aiortc has no public way to ask for the pair.
    pair = ice._connection._nominated[1]
    return pair.local_candidate.type, pair.remote_candidate.type


def receive_into(channel: RTCDataChannel, received: bytearray, done: "asyncio.Future[None]") -> None:
    """Collect what comes on a channel until it is as much as was sent."""

    @channel.on("message")
    def on_message(message: bytes) -> None:
        received.extend(message)
        if len(received) >= SIZE and not done.done():
            done.set_result(None)


async def test_a_megabyte_crosses_the_relay_intact(turn_server: TurnServerProcess) -> None:
    """RFC 8656 §12: DTLS and SCTP over ChannelData, both ends relayed; what arrives has the hash of what was sent."""
    payload = random.Random(8656).randbytes(SIZE)
    received, done = bytearray(), asyncio.get_running_loop().create_future()
    caller, callee = peer_connection(turn_server), peer_connection(turn_server)
    callee.on("datachannel", lambda channel: receive_into(channel, received, done))
    channel = caller.createDataChannel("file")

    @channel.on("open")
    def on_open() -> None:
        for start in range(0, SIZE, CHUNK):
            channel.send(payload[start : start + CHUNK])

    try:
        async with asyncio.timeout(TIMEOUT):
            await connect(caller, callee)
            await done
        assert len(received) == SIZE
        assert hashlib.sha256(received).digest() == hashlib.sha256(payload).digest()
        assert chosen_pair(caller) == ("relay", "relay")
        assert chosen_pair(callee) == ("relay", "relay")
    finally:
        await asyncio.gather(caller.close(), callee.close())
