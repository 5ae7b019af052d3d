"""The server in a thread of its own: what a client needs is ready, and what happens can be seen."""

import asyncio
import json
import socket
from collections.abc import Mapping
from threading import Barrier, Thread
from typing import Any

import pytest

from meshturn.background import BackgroundServer
from stun.address import Address
from stun.uri import StunUri
from tests.support.peer import UdpPeer
from tests.support.turn_client import TurnClient, TurnRefused
from turnserver.core.events import AllocationEnded, AllocationOpened, EndReason, Event
from turnserver.core.types import Counters
from turnserver.errors import ConfigError, StartupError
from turnserver.server import Server
from turnserver.snapshot import Snapshot

CHANNEL = 0x4000


def client(server: BackgroundServer, uri: str | None = None, login: tuple[str, str] | None = None) -> TurnClient:
    """A client from what the server says of itself, and nothing else."""
    where = StunUri.parse(uri or server.uri)
    opened = TurnClient.udp if where.transport == "udp" else TurnClient.tcp
    return opened(where.host, where.port, *(login or (server.username, server.password)))


@pytest.mark.parametrize("index", [0, 1], ids=["udp", "tcp"])
def test_it_relays_to_a_peer_on_loopback(index: int) -> None:
    with BackgroundServer() as server, UdpPeer() as peer, client(server, server.uris[index]) as turn:
        turn.allocate()
        turn.channel_bind(CHANNEL, peer.address)
        turn.send_channel(CHANNEL, b"there")
        assert peer.echo() == b"there"
        assert turn.receive().data == b"there"


def test_the_uris_name_two_transports_of_one_address() -> None:
    with BackgroundServer() as server:
        uris = [StunUri.parse(uri) for uri in server.uris]
        assert [(uri.scheme, uri.transport, uri.host) for uri in uris] == [
            ("turn", "udp", "127.0.0.1"),
            ("turn", "tcp", "127.0.0.1"),
        ]
        assert server.uri == server.uris[0]
        assert server.address == Address.parse("127.0.0.1", uris[0].port)
        assert server.stun_uri == f"stun:{server.address}"
        with TurnClient.udp("127.0.0.1", server.address.port) as stranger:
            assert stranger.binding().host == "127.0.0.1"


@pytest.mark.parametrize("name", ["address", "uri", "uris", "stun_uri", "ice_servers"])
def test_before_the_start_there_are_no_ports_to_name(name: str) -> None:
    with pytest.raises(RuntimeError, match="has not been started"):
        getattr(BackgroundServer(), name)


def test_ice_servers_are_what_a_browser_takes() -> None:
    with BackgroundServer() as server:
        (entry,) = json.loads(json.dumps(server.ice_servers))
        assert entry == {"urls": server.uris, "username": server.username, "credential": server.password}


def test_servers_have_secrets_of_their_own() -> None:
    one, other = BackgroundServer(), BackgroundServer()
    assert one.password != other.password
    assert one.shared_secret != other.shared_secret


def test_credentials_that_expire() -> None:
    with BackgroundServer() as server:
        with client(server, login=server.credential("alice")) as turn:
            turn.allocate()
            (allocation,) = server.snapshot().allocations
            assert allocation.user_id == "alice"
        with client(server, login=server.credential("alice", -60)) as late, pytest.raises(TurnRefused) as caught:
            late.allocate()
        assert caught.value.code == 401


def test_a_wrong_password_is_refused() -> None:
    with BackgroundServer() as server, client(server, login=(server.username, "wrong")) as turn:
        with pytest.raises(TurnRefused) as caught:
            turn.allocate()
        assert caught.value.code == 401


def test_what_happens_can_be_seen() -> None:
    with BackgroundServer() as server, UdpPeer() as peer:
        assert server.snapshot().allocations == ()
        assert server.events() == []
        with client(server) as turn:
            granted = turn.allocate()
            turn.channel_bind(CHANNEL, peer.address)
            turn.send_channel(CHANNEL, b"seven")
            assert peer.echo() == b"seven"
            assert turn.receive().data == b"seven"
            (allocation,) = server.snapshot().allocations
            assert allocation.relayed == granted.relayed
            assert allocation.counters == Counters(1, 5, 1, 5)
            turn.refresh(0)
        assert server.snapshot().allocations == ()
        opened, ended = [(event, counters) for event, counters in server.events() if isinstance(event, Mine)]
        assert isinstance(opened[0], AllocationOpened)
        assert isinstance(ended[0], AllocationEnded)
        assert ended[1] == Counters(1, 5, 1, 5)


Mine = AllocationOpened | AllocationEnded


def test_a_revoked_user_has_no_allocation() -> None:
    with BackgroundServer() as server, client(server, login=server.credential("alice")) as turn:
        turn.allocate()
        assert server.revoke("alice") == 1
        assert server.revoke("alice") == 0
        assert server.snapshot().allocations == ()
        event = server.events()[-1].event
        assert isinstance(event, AllocationEnded)
        assert event.reason is EndReason.REVOKED


@pytest.mark.parametrize(
    ("config", "listening", "users"),
    [
        ({"limits": {"allocations_per_user": 1}}, ["udp", "tcp"], {"tester"}),
        ({"listeners": [{"transport": "tcp", "address": "127.0.0.1", "port": 0}]}, ["tcp"], {"tester"}),
        ({"auth": {"users": {"bob": "builder"}}}, ["udp", "tcp"], {"tester", "bob"}),
    ],
    ids=["limits", "listeners", "users"],
)
def test_a_configuration_is_laid_over(config: Mapping[str, Any], listening: list[str], users: set[str]) -> None:
    """Sections are merged; lists and values replace what is there."""
    with BackgroundServer(config) as server:
        assert [kind.label for kind, _ in server.snapshot().listening] == listening
        in_force = server.call(lambda inner: inner.config)
        assert set(in_force.auth.users) == users
        assert len(in_force.auth.shared_secrets) == 1
        assert [str(network) for network in in_force.peers.allow] == ["127.0.0.0/8", "::1/128"]


def test_limits_hold() -> None:
    with BackgroundServer({"limits": {"allocations_per_user": 1}}) as server, client(server) as one:
        one.allocate()
        with client(server) as other, pytest.raises(TurnRefused) as caught:
            other.allocate()
        assert caught.value.code == 486


def test_every_problem_of_a_configuration_is_told_where_it_was_given() -> None:
    with pytest.raises(ConfigError) as caught, BackgroundServer({"realm": 7, "limits": {"allocation": 1}}):
        pytest.fail("it has started")
    assert {problem.key for problem in caught.value.problems} == {"realm", "limits.allocation"}


def test_a_port_that_is_taken() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        listener = {"transport": "udp", "address": "127.0.0.1", "port": taken.getsockname()[1]}
        server = BackgroundServer({"listeners": [listener]})
        with pytest.raises(StartupError):
            server.start()
    server.stop()


def test_it_is_started_once_and_stopped_for_good() -> None:
    server = BackgroundServer()
    server.stop()
    with pytest.raises(RuntimeError):
        server.snapshot()
    with server:
        address = server.address
        with pytest.raises(RuntimeError):
            server.start()
        assert server.snapshot().running
    server.stop()
    with pytest.raises(RuntimeError):
        server.snapshot()
    with pytest.raises(RuntimeError):
        server.start()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", address.port))


def test_several_at_once_keep_apart() -> None:
    with BackgroundServer() as one, BackgroundServer() as other:
        assert one.address != other.address
        with client(one) as turn:
            turn.allocate()
            assert len(one.snapshot().allocations) == 1
            assert other.snapshot().allocations == ()


def test_an_observer_may_ask_the_server_that_tells_it() -> None:
    """It is called in the server's own thread, which cannot wait for itself."""
    seen: list[Snapshot] = []

    class Looking:
        def on_event(self, event: object, counters: Counters | None) -> None:
            seen.append(server.snapshot())

    with BackgroundServer() as server, client(server) as turn:
        server.call(lambda inner: inner.observe(Looking()))
        turn.allocate()
        assert len(server.snapshot().allocations) == 1
        assert [len(snapshot.allocations) for snapshot in seen] == [0, 1]


def test_what_is_called_may_raise() -> None:
    def broken(server: Server) -> Event:
        raise LookupError("nothing there")

    with BackgroundServer() as server:
        with pytest.raises(LookupError, match="nothing there"):
            server.call(broken)
        assert server.snapshot().running


async def test_it_does_not_need_the_loop_of_a_test() -> None:
    """Starting and stopping block for milliseconds; in between the two loops have nothing to do with each other."""
    with BackgroundServer() as server:
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            asyncio.DatagramProtocol, remote_addr=("127.0.0.1", server.address.port)
        )
        transport.close()
        assert server.snapshot().running


def test_a_call_that_meets_the_stop_has_an_answer() -> None:
    """Each of the threads that ask all the time hears soon that the server is not running."""
    server = BackgroundServer()
    server.start()
    heard: list[str] = []
    asked = Barrier(5)

    def ask() -> None:
        server.snapshot()
        asked.wait()
        try:
            while True:
                server.snapshot()
        except RuntimeError as error:
            heard.append(str(error))

    threads = [Thread(target=ask, daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()
    asked.wait()
    server.stop()
    for thread in threads:
        thread.join(30)
    assert heard == ["the server is not running"] * 4


def test_it_can_be_stopped_in_its_own_thread() -> None:
    """By an observer, for example, which must not wait for itself."""
    server = BackgroundServer()
    server.start()
    server.call(lambda _: server.stop())
    server.stop()
    with pytest.raises(RuntimeError, match="not running"):
        server.snapshot()
