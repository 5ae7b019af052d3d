"""Two WebRTC peers, made with aiortc, that reach each other only through our relay.

Needs ``pip install 'meshturn[call]'``, which installs aiortc.
"""

import asyncio

from aiortc import RTCConfiguration, RTCDataChannel, RTCIceServer, RTCIceTransportPolicy, RTCPeerConnection

from meshturn import BackgroundServer


def peer(turn: BackgroundServer) -> RTCPeerConnection:
    """A peer connection that offers relayed candidates only."""
    servers = [RTCIceServer(**entry) for entry in turn.ice_servers]
    return RTCPeerConnection(RTCConfiguration(iceServers=servers, iceTransportPolicy=RTCIceTransportPolicy.RELAY))


async def talk(turn: BackgroundServer) -> str:
    """Connect two peers, send a message from one to the other, and return the reply."""
    caller, callee = peer(turn), peer(turn)
    heard: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    @callee.on("datachannel")
    def opened(channel: RTCDataChannel) -> None:
        channel.on("message", lambda message: channel.send(message.upper()))

    channel = caller.createDataChannel("talk")
    channel.on("open", lambda: channel.send("hello through the relay"))
    channel.on("message", heard.set_result)

    await caller.setLocalDescription(await caller.createOffer())
    await callee.setRemoteDescription(caller.localDescription)
    await callee.setLocalDescription(await callee.createAnswer())
    await caller.setRemoteDescription(callee.localDescription)
    try:
        return await asyncio.wait_for(heard, 60)
    finally:
        for allocation in turn.snapshot().allocations:
            print(f"{allocation.relayed[0]} has relayed {allocation.counters.bytes_to_peers} bytes to peers")
        await asyncio.gather(caller.close(), callee.close())


if __name__ == "__main__":
    with BackgroundServer() as turn:  # in its own thread; any TURN server will do
        print(asyncio.run(talk(turn)))
