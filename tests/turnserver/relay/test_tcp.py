"""TCP relays on real loopback sockets, IPv4 and IPv6."""

import asyncio
import errno
import logging
import os
import socket
from typing import Any

import pytest

from stun.address import Address
from tests.support.server import free_port
from tests.support.tcp_pair import HOSTS, Peer, Server, eventually, has_ipv6, stream_pair
from turnserver.core.types import Counters, RelayId
from turnserver.errors import DatapathError
from turnserver.net import from_sockaddr
from turnserver.relay import tcp
from turnserver.relay.tcp import TcpRelays
from turnserver.streams import ByteStream

RELAY = RelayId(1)


@pytest.fixture(params=HOSTS)
def host(request: pytest.FixtureRequest) -> str:
    if ":" in request.param and not has_ipv6():
        pytest.skip("no IPv6 here")
    return str(request.param)


class Rig:
    """TCP relays, what they tell, and one relay that is open. Peers are welcome unless ``closed_to`` names them."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        self.relays = TcpRelays()
        self.relays.attach(self)
        self.told: list[tuple[str, int]] = []
        self.accepted: list[tuple[RelayId, Address]] = []
        self.welcome = True
        self.serial = 100
        self.relays.open_relay(RELAY, Address.parse(host, 0))
        self.address = self.relays._listeners[RELAY].address
        self.server = Server(host)

    def peer_connected(self, connection: int) -> None:
        self.told.append(("connected", connection))

    def peer_failed(self, connection: int) -> None:
        self.told.append(("failed", connection))

    def peer_gone(self, connection: int) -> None:
        self.told.append(("gone", connection))

    def peer_accepted(self, relay: RelayId, peer: Address) -> int | None:
        self.accepted.append((relay, peer))
        if not self.welcome:
            return None
        self.serial += 1
        return self.serial

    async def connected(self, connection: int) -> Peer:
        """Connect to a peer of its own; gives the peer's end."""
        server = Server(self.address.host)
        self.relays.connect(connection, RELAY, server.address)
        peer = await server.accept()
        server.close()
        await eventually(lambda: ("connected", connection) in self.told)
        return peer

    async def spliced(self, connection: int, host: str = "127.0.0.1") -> Peer:
        """Splice a connection with a client; gives the client's end."""
        near, client = await stream_pair(host)
        self.relays.splice(connection, ByteStream(near))
        return client

    def close(self) -> None:
        self.relays.close()
        self.server.close()


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


async def test_connecting_to_a_peer(host: str) -> None:
    """RFC 6062 §5.2: from the relayed transport address; then data both ways, then the end, told once."""
    rig = Rig(host)
    peer = await rig.connected(7)
    assert peer.remote == rig.address
    client = await rig.spliced(7, host)
    await client.send(b"ping")
    assert await peer.read(4) == b"ping"
    await peer.send(b"pong!")
    assert await client.read(5) == b"pong!"
    assert rig.relays.counters(RELAY) == Counters(bytes_to_peers=4, bytes_to_client=5)
    client.finish()
    assert await peer.ended()
    peer.close()
    assert await client.ended()
    await eventually(lambda: ("gone", 7) in rig.told)
    assert rig.told == [("connected", 7), ("gone", 7)]
    assert rig.relays.counters(RELAY) == Counters(bytes_to_peers=4, bytes_to_client=5)
    client.close()
    rig.close()


async def test_a_peer_that_connects(host: str) -> None:
    """RFC 6062 §5.3: with its address as on the wire; what it sends is kept until somebody comes for it."""
    rig = Rig(host)
    peer = await Peer.to(rig.address)
    await peer.send(b"hello")
    await eventually(lambda: rig.accepted)
    assert rig.accepted == [(RELAY, peer.address)]
    client = await rig.spliced(101, host)
    assert await client.read(5) == b"hello"
    client.close()
    peer.close()
    rig.close()


async def test_a_peer_that_is_not_welcome(host: str) -> None:
    """RFC 6062 §5.3: accepted, and closed immediately."""
    rig = Rig(host)
    rig.welcome = False
    before = open_files()
    peer = await Peer.to(rig.address)
    assert await peer.ended()
    peer.close()
    assert open_files() == before
    rig.close()


async def test_a_peer_that_is_not_there(host: str) -> None:
    """RFC 6062 §5.2: refused: it is told, at once or a moment later, and nothing is left of it."""
    rig = Rig(host)
    nobody = Server(host)
    nobody.close()
    before = open_files()
    rig.relays.connect(7, RELAY, nobody.address)
    await eventually(lambda: rig.told)
    assert rig.told == [("failed", 7)]
    assert open_files() == before
    assert rig.relays._links == {}
    rig.close()


async def test_what_cannot_even_be_tried() -> None:
    """An address that no connection can go to, or a relay that is not there, fails at once and leaves nothing open."""
    rig = Rig()
    before = open_files()
    for relay, peer in ((RELAY, Address.parse("255.255.255.255", 9)), (RelayId(9), rig.server.address)):
        with pytest.raises(DatapathError):
            rig.relays.connect(7, relay, peer)
    assert open_files() == before
    assert (rig.told, rig.relays._links) == ([], {})
    rig.close()


async def test_a_connection_reset_before_it_was_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the system's word and ours it may have gone again: it failed, like any other."""
    rig = Rig()

    def reset(sock: socket.socket) -> ByteStream:
        raise OSError(errno.ENOTCONN, "not connected")

    before = open_files()
    monkeypatch.setattr(tcp, "ByteStream", reset)
    rig.relays.connect(7, RELAY, rig.server.address)
    await eventually(lambda: rig.told)
    peer = await rig.server.accept()
    peer.close()
    assert rig.told == [("failed", 7)]
    welcome = await Peer.to(rig.address)
    assert await welcome.ended()
    welcome.close()
    assert rig.accepted == []
    assert open_files() == before
    rig.close()


async def test_many_peers_from_one_port(host: str) -> None:
    """RFC 6062 §5.2, §5.3: every connection of a relay has its address, those it made and those it took, at once."""
    rig = Rig(host)
    out = [await rig.connected(number) for number in range(5)]
    incoming = [await Peer.to(rig.address) for _ in range(5)]
    await eventually(lambda: len(rig.accepted) == 5)
    assert {peer.remote for peer in out + incoming} == {rig.address}
    for number, peer in zip([0, 1, 2, 3, 4, 101, 102, 103, 104, 105], out + incoming, strict=True):
        client = await rig.spliced(number, host)
        await peer.send(b"%d" % number)
        assert await client.read(len(b"%d" % number)) == b"%d" % number
        client.close()
        peer.close()
    rig.close()


async def test_relay_to_relay(host: str) -> None:
    """Rule 16: two relays of one server reach each other like any peers."""
    rig = Rig(host)
    other = RelayId(2)
    rig.relays.open_relay(other, Address.parse(host, 0))
    rig.relays.connect(7, RELAY, rig.relays._listeners[other].address)
    await eventually(lambda: rig.told and rig.accepted)
    assert rig.accepted == [(other, rig.address)]
    first, second = await rig.spliced(7, host), await rig.spliced(101, host)
    await first.send(b"through two relays")
    assert await second.read(18) == b"through two relays"
    first.close()
    second.close()
    rig.close()


async def test_a_port_in_use_is_an_error(host: str) -> None:
    """Rule 13: somebody else's, another relay's, the same relay again: never a silent half-share."""
    rig = Rig(host)
    peer = await rig.connected(7)
    before = open_files()
    for relay, bind in (
        (RelayId(2), rig.server.address),
        (RelayId(3), rig.address),
        (RELAY, Address.parse(host, 0)),
        (RelayId(4), Address.parse("203.0.113.1", 0)),
    ):
        with pytest.raises(DatapathError):
            rig.relays.open_relay(relay, bind)
    assert open_files() == before
    assert list(rig.relays._listeners) == [RELAY]
    peer.close()
    rig.close()


async def test_udp_has_the_port_to_itself(host: str) -> None:
    """RFC 6062 §5.1: UDP and TCP ports are different things."""
    rig = Rig(host)
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        datagrams.bind((host, free_port()))  # one that no connection has by chance
        rig.relays.open_relay(RelayId(2), from_sockaddr(datagrams.getsockname()))
    rig.close()


async def test_closing_a_relay_closes_all_that_is_its(host: str) -> None:
    """RFC 6062 §5.5: connections in every state, and the port is free at once; nothing is told."""
    rig = Rig(host)
    before = open_files()
    peers = [await rig.connected(number) for number in (1, 2)]
    client = await rig.spliced(1, host)
    incoming = await Peer.to(rig.address)
    await eventually(lambda: rig.accepted)
    rig.relays.close_relay(RELAY)
    rig.relays.close_relay(RELAY)
    for end in (*peers, client, incoming):
        assert await end.ended()
        end.close()
    assert ("gone", 1) not in rig.told
    assert open_files() == before - 1
    assert rig.relays._links == {}
    assert rig.relays.counters(RELAY) == Counters()
    rig.relays.open_relay(RELAY, rig.address)
    rig.close()


async def test_closing_a_connection_in_any_state(host: str) -> None:
    """`close_peer`: while connecting, waiting, and spliced; unknown and repeated is nothing; nothing is told."""
    rig = Rig(host)
    before = open_files()
    rig.relays.connect(1, RELAY, rig.server.address)
    rig.relays.close_peer(1)
    second, third = await rig.connected(2), await rig.connected(3)
    client = await rig.spliced(3, host)
    await client.send(b"x")
    assert await third.read(1) == b"x"
    for number in (2, 3, 3, 99):
        rig.relays.close_peer(number)
    assert await second.ended()
    assert await third.ended()
    assert await client.ended()
    for end in (second, third, client):
        end.close()
    assert [what for what, _ in rig.told] == ["connected", "connected"]
    assert rig.relays.counters(RELAY) == Counters(bytes_to_peers=1)
    assert rig.relays._listeners[RELAY].connections == set()
    assert open_files() == before
    rig.close()


async def test_splicing_with_nothing() -> None:
    """The client's stream is not left open when the peer's has gone, is connecting, or is taken."""
    rig = Rig()
    peer = await rig.connected(1)
    client = await rig.spliced(1)
    for number in (1, 99):
        near, other = await stream_pair()
        with pytest.raises(DatapathError):
            rig.relays.splice(number, ByteStream(near))
        assert await other.ended()
        other.close()
    client.close()
    peer.close()
    rig.close()


async def test_closed_between_the_splice_and_its_start() -> None:
    """A splice begins in the next turn of the loop; what was closed meanwhile stays closed."""
    rig = Rig()
    peer = await rig.connected(1)
    near, client = await stream_pair()
    rig.relays.splice(1, ByteStream(near))
    rig.relays.close_peer(1)
    assert await client.ended()
    assert await peer.ended()
    assert rig.told == [("connected", 1)]
    client.close()
    peer.close()
    rig.close()


async def test_a_peer_waits_in_the_kernel() -> None:
    """RFC 6062 §5.2: what nobody has come for is buffered within bounds, and the peer's window closes."""
    rig = Rig()
    peer = await Peer.to(rig.address)
    await eventually(lambda: rig.accepted)
    sent = 0
    for _ in range(100):
        sent += peer.stuff()
        await asyncio.sleep(0.001)
    assert peer.stuff() == 0
    client = await rig.spliced(101)
    assert len(await client.read(sent)) == sent
    client.close()
    peer.close()
    rig.close()


async def test_no_room_for_another_socket(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Rule 25: out of descriptors the relay pauses instead of spinning, says so once, and goes on."""
    monkeypatch.setattr(tcp, "ACCEPT_PAUSE", 0.01)
    rig = Rig()
    listener = rig.relays._listeners[RELAY]
    accept, tried = listener.sock.accept, 0

    class Full:
        """The socket, while the system has no room."""

        def __getattr__(self, name: str) -> Any:
            return getattr(real, name)

        def accept(self) -> Any:
            nonlocal tried
            tried += 1
            if tried == 1:
                raise OSError(errno.EMFILE, "too many open files")
            if tried == 2:
                raise ConnectionAbortedError(errno.ECONNABORTED, "gone again")
            return accept()

    real = listener.sock
    listener.sock = Full()  # type: ignore[assignment]
    with caplog.at_level(logging.WARNING, "meshturn.relay"):
        peer = await Peer.to(rig.address)
        await eventually(lambda: rig.accepted)
    assert len(caplog.records) == 1
    assert caplog.records[0].fields["relay"] == str(rig.address)  # type: ignore[attr-defined]
    peer.close()
    rig.close()


async def test_closing_a_relay_that_pauses() -> None:
    rig = Rig()
    listener = rig.relays._listeners[RELAY]
    rig.relays._pause(RELAY, listener, OSError(errno.EMFILE, "too many open files"))
    resuming = listener.resuming
    assert resuming is not None
    rig.close()
    assert resuming.cancelled()


async def test_closing_a_relay_from_within_an_accept() -> None:
    """The answer to one peer may end the allocation; the others that wait there are not accepted any more."""
    rig = Rig()
    where = rig.address.host, rig.address.port
    peers = [Peer(socket.create_connection(where)) for _ in range(3)]  # the loop has not looked yet
    accepted: list[Address] = []

    def accept(relay: RelayId, peer: Address) -> None:
        accepted.append(peer)
        rig.relays.close_relay(relay)

    rig.peer_accepted = accept  # type: ignore[method-assign]
    for peer in peers:
        assert await peer.ended()
        peer.close()
    assert len(accepted) == 1
    rig.close()


async def test_abandoned_connections_are_swept_up() -> None:
    """RFC 6062 §5.5: half closed and silent from one look to the next: closed, and told. Others stay."""
    rig = Rig()
    ends = [await rig.connected(number) for number in (1, 2)]
    clients = [await rig.spliced(number) for number in (1, 2)]
    assert rig.relays._sweeper is not None
    clients[0].finish()
    assert await ends[0].ended()
    rig.relays._sweep()
    assert ("gone", 1) not in rig.told
    rig.relays._sweep()
    assert rig.told[-1] == ("gone", 1)
    assert list(rig.relays._links) == [2]
    rig.relays.close_peer(2)
    rig.relays._sweep()
    assert rig.relays._sweeper is None, "nothing to look at"
    for end in (*ends, *clients):
        end.close()
    rig.close()


async def test_unknown_relays_and_closing_twice() -> None:
    rig = Rig()
    rig.relays.close_relay(RelayId(9))
    assert rig.relays.counters(RelayId(9)) == Counters()
    rig.close()
    rig.close()
    assert rig.relays._sweeper is None
