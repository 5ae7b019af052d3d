"""A client of a server under test that relays a little, as alice."""

from stun.address import Address
from tests.support.peer import UdpPeer
from tests.support.turn_client import ChannelMessage, TurnClient

__all__ = ["relay_something"]


def relay_something(server: Address) -> None:
    """An allocation, a packet each way, and its end."""
    with UdpPeer() as peer, TurnClient.udp(server.host, server.port, "alice", "wonderland") as client:
        client.allocate()
        client.channel_bind(0x4000, peer.address)
        client.send_channel(0x4000, b"there")
        data, relayed = peer.receive()
        peer.send(data[::-1], relayed)
        assert client.receive() == ChannelMessage(0x4000, b"ereht")
        client.refresh(0)
