"""The server: what is configured is bound, what cannot be leaves nothing open, and stopping closes everything."""

import asyncio
import logging
import os
import resource
import signal
import socket
import ssl
import time
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from auth.source import StaticUsers
from stun.address import Address
from stun.attributes import XOR_MAPPED_ADDRESS
from stun.constants import MessageClass, Method
from stun.message import Message, MessageBuilder
from tests.support.certificates import client_context, issue
from tests.support.peer import UdpPeer
from tests.support.relaying import relay_something
from tests.support.signal_wire import Participant
from tests.support.tcp_pair import eventually
from tests.support.turn_client import TurnClient, TurnRefused
from turnserver.config import Config
from turnserver.core.events import AllocationEnded, AllocationMoved, AllocationOpened, EndReason
from turnserver.core.server import TurnCore
from turnserver.core.types import ClientTransport, Counters
from turnserver.errors import ConfigError, StartupError
from turnserver.observers.recorder import Recorder
from turnserver.server import Reload, Server
from turnserver.signaling.rooms.facts import RoomOpened
from turnserver.snapshot import Snapshot, Usage
from turnserver.turnclient.client import TurnClient as AsyncTurnClient


def config(**options: Any) -> Config:
    options.setdefault("listeners", [{"address": "127.0.0.1", "port": 0}])
    options.setdefault("log", {"level": "error"})
    return Config.model_validate(options)


def binding() -> bytes:
    return MessageBuilder(Method.BINDING, MessageClass.REQUEST, os.urandom(12)).build()


def core_of(server: Server) -> TurnCore:
    assert server._parts is not None
    assert server._parts.core is not None
    return server._parts.core


async def ask(server: Server, request: bytes) -> tuple[Message, socket.socket]:
    """One datagram to the first listener and its answer; gives the socket that asked, too."""
    loop = asyncio.get_running_loop()
    _, address = server.snapshot().listening[0]
    client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    client.setblocking(False)
    client.bind(("127.0.0.1", 0))
    await loop.sock_sendto(client, request, (address.host, address.port))
    data = await asyncio.wait_for(loop.sock_recv(client, 2048), 10)
    return Message.decode(data), client


async def test_it_serves_what_it_listens_on() -> None:
    server = Server(config())
    await server.start()
    try:
        assert [kind for kind, _ in server.snapshot().listening] == [ClientTransport.UDP]
        answer, client = await ask(server, binding())
        mapped = answer.first(XOR_MAPPED_ADDRESS)
        assert mapped is not None
        assert (mapped.host, mapped.port) == client.getsockname()
        client.close()
    finally:
        await server.stop()


async def test_stopping_frees_the_port_and_may_be_repeated() -> None:
    server = Server(config())
    await server.start()
    _, address = server.snapshot().listening[0]
    await server.stop()
    await server.stop()
    again = Server(config(listeners=[{"address": address.host, "port": address.port}]))
    await again.start()
    await again.stop()
    with pytest.raises(RuntimeError):
        await server.start()
    with pytest.raises(RuntimeError):
        await server.reload({})
    with pytest.raises(RuntimeError):
        server.revoke("alice")


async def test_a_failed_start_leaves_nothing_open() -> None:
    """The second listener's port is taken: the first one's is free again afterwards."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as first, socket.socket() as _:
        first.bind(("127.0.0.1", 0))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as second:
            second.bind(("127.0.0.1", 0))
            taken, free = first.getsockname()[1], second.getsockname()[1]
        listeners = [{"address": "127.0.0.1", "port": free}, {"address": "127.0.0.1", "port": taken}]
        with pytest.raises(StartupError) as caught:
            await Server(config(listeners=listeners)).start()
        assert str(taken) in str(caught.value)
        assert caught.value.hint
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as again:
            again.bind(("127.0.0.1", free))


async def test_own_listeners_are_known_as_bound() -> None:
    """Rule 16: with port 0 the policy learns the real port, so nobody can relay to the server's own listener."""
    server = Server(config(peers={"allow": ["127.0.0.0/8"]}))
    await server.start()
    try:
        _, address = server.snapshot().listening[0]
        assert core_of(server).state.policy.refusal(address.ip, address.port) == "own listener"
    finally:
        await server.stop()


async def binding_over(address: tuple[str, int], context: ssl.SSLContext | None = None) -> Message:
    """A Binding request over a new connection, and its answer."""
    name = None if context is None else "localhost"
    reader, writer = await asyncio.wait_for(asyncio.open_connection(*address, ssl=context, server_hostname=name), 10)
    request = binding()
    writer.write(request)
    head = await asyncio.wait_for(reader.readexactly(20), 10)
    answer = Message.decode(head + await reader.readexactly(head[2] << 8 | head[3]))
    assert answer.transaction_id == request[8:20]
    mapped = answer.first(XOR_MAPPED_ADDRESS)
    assert mapped is not None
    assert (mapped.host, mapped.port) == writer.get_extra_info("sockname")[:2]
    writer.close()
    return answer


async def get(port: int, path: str, context: ssl.SSLContext | None) -> tuple[int, str]:
    """An HTTP request: the status and the body of what is answered."""
    scheme = "http" if context is None else "https"
    url = f"{scheme}://localhost:{port}{path}"
    async with asyncio.timeout(90), aiohttp.ClientSession() as session, session.get(url, ssl=context or True) as answer:
        return answer.status, await answer.text()


async def test_every_way_in(tmp_path: Path) -> None:
    """UDP, TCP, TLS, and shared ports with and without TLS, in one server; what is mounted is served on the latter."""
    pair = issue(tmp_path)
    ways = [{"transport": transport} for transport in ("udp", "tcp", "tls", "shared")]
    ways.append({"transport": "shared", "tls": False})
    listeners = [way | {"address": "127.0.0.1", "port": 0} for way in ways]
    server = Server(config(listeners=listeners, tls={"certificates": [pair.config]}))
    assert server.http is not None
    cleaned: list[web.Application] = []

    async def clean(app: web.Application) -> None:
        cleaned.append(app)

    async def hello(request: web.Request) -> web.Response:
        return web.Response(text=f"hello {request.scheme}")

    server.http.app.router.add_get("/hello", hello)
    server.http.app.on_cleanup.append(clean)
    await server.start()
    try:
        kinds = [kind for kind, _ in server.snapshot().listening]
        assert [kind.name for kind in kinds] == ["UDP", "TCP", "TLS", "TLS", "TCP"]
        context = client_context(pair)
        for kind, address in server.snapshot().listening[1:]:
            where = address.host, address.port
            await binding_over(where, context if kind is ClientTransport.TLS else None)
        tls, plain = server.snapshot().listening[3][1].port, server.snapshot().listening[4][1].port
        assert await get(tls, "/hello", context) == (200, "hello https")
        assert (await get(plain, "/healthz", None))[0] == 200
    finally:
        await server.stop()
    assert cleaned == [server.http.app]
    assert server.snapshot().listening == ()
    await server.stop()


async def test_without_a_shared_port_there_is_no_http() -> None:
    server = Server(config())
    assert server.http is None
    await server.start()
    await server.stop()


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


async def test_a_certificate_that_cannot_be_used(tmp_path: Path) -> None:
    """Nothing can be served without it: one sentence and a hint, and nothing stays open."""
    pair, other = issue(tmp_path), issue(tmp_path, "other")
    listeners = [{"transport": kind, "address": "127.0.0.1", "port": 0} for kind in ("tls", "shared")]
    mixed = {"certificate": str(pair.certificate), "key": str(other.key)}
    before = open_files()
    with pytest.raises(StartupError) as caught:
        await Server(config(listeners=listeners, tls={"certificates": [mixed]})).start()
    assert str(pair.certificate) in str(caught.value)
    assert caught.value.hint
    assert open_files() == before


async def test_a_tcp_port_that_is_taken() -> None:
    before = open_files()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        listeners = [{"transport": way, "address": "127.0.0.1", "port": port} for way in ("udp", "tcp")]
        with pytest.raises(StartupError) as caught:
            await Server(config(listeners=listeners)).start()
    assert f"TCP 127.0.0.1:{port}" in str(caught.value)
    assert caught.value.hint
    assert open_files() == before


async def test_stopping_frees_stream_ports(tmp_path: Path) -> None:
    """Connections that stand are closed, and the port can be had again at once."""
    pair = issue(tmp_path)
    listeners = [{"transport": "shared", "address": "127.0.0.1", "port": 0}]
    server = Server(config(listeners=listeners, tls={"certificates": [pair.config]}))
    await server.start()
    _, address = server.snapshot().listening[0]
    reader, writer = await asyncio.wait_for(
        asyncio.open_connection(address.host, address.port, ssl=client_context(pair), server_hostname="localhost"), 10
    )
    await server.stop()
    assert await asyncio.wait_for(reader.read(), 10) == b""
    writer.close()
    await server.stop()
    again = Server(config(listeners=[{"transport": "tcp", "address": address.host, "port": address.port}]))
    await again.start()
    await again.stop()


ROOMS: dict[str, Any] = {
    "listeners": [
        {"address": "127.0.0.1", "port": 0},
        {"transport": "shared", "tls": False, "address": "127.0.0.1", "port": 0},
    ],
    "auth": {"shared_secrets": ["the first secret of this test"]},
    "signaling": {"open": True, "admin_keys": {"ops": "an admin key of this test"}},
}


def url_of(server: Server) -> str:
    return f"http://127.0.0.1:{server.snapshot().listening[1][1].port}"


async def test_rooms_on_a_shared_port() -> None:
    """Signaling, its API, the page and TURN in one process: a participant's credential opens an allocation's door."""
    server = Server(config(**ROOMS))
    assert server.config.serves_rooms
    await server.start()
    try:
        url = url_of(server)
        async with Participant(f"{url}/v1/ws") as client, aiohttp.ClientSession() as http:
            joined = await client.join("x")
            udp, tcp = (f"127.0.0.1:{address.port}" for _, address in server.snapshot().listening)
            assert set(joined["ice"]["servers"][0]["urls"]) == {
                f"turn:{udp}?transport=udp",
                f"stun:{udp}",
                f"turn:{tcp}?transport=tcp",
            }
            async with http.get(f"{url}/healthz") as answer:
                assert await answer.json() == {"status": "ok"}, "strangers are not told that there is a call"
            async with http.get(f"{url}/v1/rooms") as answer:
                assert answer.status == 401
            key = {"Authorization": "Bearer an admin key of this test"}
            async with http.get(f"{url}/v1/rooms/x", headers=key) as answer:
                assert [peer["id"] for peer in (await answer.json())["peers"]] == [client.id]
            async with http.get(f"{url}/call/x") as answer:
                assert answer.status == 200
            async with http.get(f"{url}/v1/schema.json") as answer:
                assert answer.status == 200
    finally:
        await server.stop()


async def test_a_reload_brings_new_credentials_to_who_is_in_a_call() -> None:
    """A replaced secret would leave everybody with credentials that open nothing: fresh ones are pushed at once."""
    server = Server(config(**ROOMS))
    await server.start()
    try:
        async with Participant(f"{url_of(server)}/v1/ws") as client:
            before = (await client.join("x"))["ice"]["servers"][0]["credential"]
            second = config(**{**ROOMS, "auth": {"shared_secrets": ["the second secret of this test"]}})
            assert await server.reload(second) == Reload(taken=("auth.shared_secrets",))
            pushed = await client.until("ice")
            assert pushed["why"] == "rotate"
            assert pushed["ice"]["servers"][0]["credential"] != before
            assert await server.reload(second) == Reload()
            assert (await client.request(t="ping"))["t"] == "pong"
            assert not [frame for frame in client.kept if frame["t"] == "ice"]
    finally:
        await server.stop()


async def test_a_reload_with_keys_that_cannot_be_used(tmp_path: Path) -> None:
    """Nothing changes, the rest of that configuration neither."""
    path = tmp_path / "key.pem"
    path.write_text("nothing")
    bad = config(
        **{**ROOMS, "signaling": {"open": True, "public_keys": [str(path)]}, "peers": {"deny": ["8.8.8.8/32"]}}
    )
    async with Server(config(**ROOMS)) as server:
        before = core_of(server).state.policy
        with pytest.raises(StartupError, match=r"key\.pem"):
            await server.reload(bad)
        assert core_of(server).state.policy == before
        assert server.config.peers.deny == ()


async def test_a_reload_says_what_it_took_and_what_waits() -> None:
    """Whatever waits keeps its old value, and is named again until there has been a restart."""
    listeners = [{"address": "127.0.0.1", "port": 0}]
    wanted = {"listeners": listeners, "peers": {"deny": ["8.8.8.8/32"]}, "realm": "b", "relay": {"tos": "clear"}}
    async with Server({"listeners": listeners, "realm": "a"}) as server:
        assert await server.reload({"listeners": listeners, "realm": "a"}) == Reload()
        found = await server.reload(wanted)
        assert found == Reload(taken=("peers.deny",), waiting=("realm", "relay.tos"))
        assert core_of(server).state.policy.refusal(socket.inet_aton("8.8.8.8")) == "deny 8.8.8.8/32"
        assert (server.config.realm, server.config.relay.tos) == ("a", "copy")
        assert await server.reload(wanted) == Reload(waiting=("realm", "relay.tos"))
        with pytest.raises(ConfigError):
            await server.reload({"realm": ""})
        assert await server.reload(server.config) == Reload()


def test_a_mapping_is_validated_like_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every error at once; nothing is taken from the environment."""
    monkeypatch.setenv("MESHTURN_REALM", "from-the-environment")
    monkeypatch.setenv("SECRET", "a secret of the environment")
    options = {"realm": 7, "listners": [], "relay": {"ports": "1-2"}, "auth": {"shared_secrets": [{"env": "SECRET"}]}}
    with pytest.raises(ConfigError) as caught:
        Server(options)
    assert {problem.key for problem in caught.value.problems} == {
        "realm",
        "listners",
        "relay.ports",
        "auth.shared_secrets[0]",
    }
    assert Server({}).config == Server().config == Config()


async def test_a_snapshot_is_there_at_any_time() -> None:
    """Before the start, while it serves, from within an observer, and after the stop."""
    seen: list[Snapshot] = []

    class Looking:
        def on_event(self, event: object, counters: Counters | None) -> None:
            seen.append(server.snapshot())

    options = {
        "listeners": [{"address": "127.0.0.1", "port": 0}, {"address": "127.0.0.1", "port": 0, "transport": "tcp"}],
        "auth": {"users": {"alice": "wonderland"}},
        "peers": {"allow": ["127.0.0.0/8"]},
        "limits": {"allocations": 7},
    }
    server = Server(options, observers=[Looking()])
    before = server.snapshot()
    assert (before.running, before.started_at, before.listeners) == (False, None, ())
    assert before.limits.allocations == Usage(0, 7)
    async with server:
        udp, tcp = server.snapshot().listeners
        assert [(each.kind, each.transport.label) for each in (udp, tcp)] == [("udp", "udp"), ("tcp", "tcp")]
        await asyncio.to_thread(relay_something, udp.address)
        now = server.snapshot()
        assert now.running
        assert now.started_at is not None
        assert now.uptime >= 0
        assert now.listeners[0].counters.packets_in >= 4
        assert [(path.name, path.protocol.name) for path in now.datapaths] == [("asyncio", "UDP"), ("tcp", "TCP")]
        assert now.datapaths[0].relays == 0
        assert now.datapaths[0].counters[:4] == (1, 5, 1, 5)
        assert now.allocations == ()
    kinds = [[allocation.username for allocation in each.allocations] for each in seen]
    assert [] in kinds
    assert ["alice"] in kinds
    assert Usage(1, 7) in [each.limits.allocations for each in seen]
    assert {"alice": 1} in [each.limits.users for each in seen]
    assert (seen[-1].limits.users, seen[-1].limits.allocations_per_user) == ({}, 64)
    after = server.snapshot()
    assert (after.running, after.listeners, after.allocations) == (False, (), ())


async def test_observers_hear_of_relays_and_rooms() -> None:
    """Until they are removed; those given at the beginning and those that came later alike."""
    first, second = Recorder(), Recorder()
    options = {**ROOMS, "auth": {"users": {"alice": "wonderland"}}, "peers": {"allow": ["127.0.0.0/8"]}}
    async with Server(options, observers=[first]) as server:
        remove = server.observe(second)
        await asyncio.to_thread(relay_something, server.snapshot().listening[0][1])
        async with Participant(f"{url_of(server)}/v1/ws") as client:
            await client.join("x")
        remove()
        async with Participant(f"{url_of(server)}/v1/ws") as client:
            await client.join("y")
    kinds = [type(recorded.event) for recorded in second.events]
    assert kinds.index(AllocationOpened) < kinds.index(AllocationEnded) < kinds.index(RoomOpened)
    (carried,) = [recorded.counters for recorded in second.events if isinstance(recorded.event, AllocationEnded)]
    assert carried is not None
    assert carried[:4] == (1, 5, 1, 5)
    assert [recorded.event.room for recorded in second.events if isinstance(recorded.event, RoomOpened)] == ["x"]
    assert [recorded.event.room for recorded in first.events if isinstance(recorded.event, RoomOpened)] == ["x", "y"]


async def test_draining_waits_for_relays_and_rooms() -> None:
    """Nothing new; what stands goes on, is told, and is waited for. The server still runs when it is over."""
    options = {**ROOMS, "auth": {"users": {"alice": "wonderland"}}, "peers": {"allow": ["127.0.0.0/8"]}}
    async with Server(options) as server:
        assert not server.draining
        ((_, turn), *_) = server.snapshot().listening
        held = TurnClient.udp(turn.host, turn.port, "alice", "wonderland")
        await asyncio.to_thread(held.allocate)
        async with Participant(f"{url_of(server)}/v1/ws") as ann, Participant(f"{url_of(server)}/v1/ws") as bob:
            await ann.join("x")
            drained = asyncio.create_task(server.drain())
            told = await ann.until("draining")
            assert told["until"] / 1000 == pytest.approx(time.time() + 3600, abs=600)
            assert server.draining
            assert server.snapshot().draining
            async with aiohttp.ClientSession() as http, http.get(f"{url_of(server)}/readyz") as answer:
                assert (answer.status, (await answer.json())["status"]) == (503, "draining")
            other = TurnClient.udp(turn.host, turn.port, "alice", "wonderland")
            with pytest.raises(TurnRefused) as caught:
                await asyncio.to_thread(other.allocate)
            assert caught.value.code == 508
            other.close()
            await asyncio.to_thread(held.refresh, 600)
            assert (await bob.join("x"))["t"] == "joined"
            await ann.send(t="bye")
            await asyncio.to_thread(held.refresh, 0)
            held.close()
            assert not drained.done()
            await server.reload({**options, "peers": {"deny": ["8.8.8.8/32"]}})
            server.begin_drain(0.0)
            await bob.send(t="bye")
            assert await asyncio.wait_for(drained, 90) is True
        assert server.snapshot().running


async def test_a_drain_has_its_time() -> None:
    options = {**ROOMS, "auth": {"users": {"alice": "wonderland"}}}
    heard = Recorder()
    async with Server(options, observers=[heard]) as server:
        ((_, turn), *_) = server.snapshot().listening
        with TurnClient.udp(turn.host, turn.port, "alice", "wonderland") as held:
            await asyncio.to_thread(held.allocate)
            assert await asyncio.wait_for(server.drain(0.0), 90) is False
            assert len(server.snapshot().allocations) == 1
    with pytest.raises(RuntimeError):
        await server.drain()
    reasons = [each.event.reason for each in heard.events if isinstance(each.event, AllocationEnded)]
    assert reasons == [EndReason.SHUTDOWN]


async def test_stopping_tells_of_every_allocation() -> None:
    """With what it has carried: usage that is accounted for by these events is not lost at a restart."""
    heard = Recorder()
    options = {
        "listeners": [{"address": "127.0.0.1", "port": 0}, {"transport": "tcp", "address": "127.0.0.1", "port": 0}],
        "auth": {"users": {"alice": "wonderland"}},
        "peers": {"allow": ["127.0.0.0/8"]},
    }
    async with Server(options, observers=[heard]) as server:
        (_, udp), (_, tcp) = server.snapshot().listening

        def hold() -> list[TurnClient]:
            held = [TurnClient.udp(udp.host, udp.port, "alice", "wonderland") for _ in range(40)]
            held.append(TurnClient.tcp(tcp.host, tcp.port, "alice", "wonderland"))
            with UdpPeer() as peer:
                for client in held:
                    client.allocate()
                    client.channel_bind(0x4000, peer.address)
                    client.send_channel(0x4000, b"there")
                    peer.receive()
            return held

        clients = await asyncio.to_thread(hold)
        assert len(server.snapshot().allocations) == 41
    ended = [each for each in heard.events if isinstance(each.event, AllocationEnded)]
    assert len({each.event.client for each in ended if isinstance(each.event, AllocationEnded)}) == 41
    assert {each.event.reason for each in ended if isinstance(each.event, AllocationEnded)} == {EndReason.SHUTDOWN}
    assert {each.counters[:2] for each in ended if each.counters is not None} == {(1, 5)}
    for client in clients:
        client.close()


async def test_observers_that_the_configuration_names() -> None:
    """The log unless it says otherwise; one that keeps what it was told is to be had by its name."""
    assert list(Server().observers) == ["log"]
    options = {**ROOMS, "observers": ["recorder"]}
    async with Server(options) as server:
        recorder = server.observers["recorder"]
        assert isinstance(recorder, Recorder)
        async with Participant(f"{url_of(server)}/v1/ws") as client:
            await client.join("x")
        await server.reload({**options, "observers": ["recorder", "log"]})
        assert server.observers["recorder"] is recorder
    assert RoomOpened("x") in [recorded.event for recorded in recorder.events]
    with pytest.raises(ConfigError):
        Server({"observers": ["log", "log"]})


async def test_other_limits_of_connections_hold_from_a_reload_on() -> None:
    """For who comes then; who is there stays."""
    options = {
        "listeners": [{"transport": "tcp", "address": "127.0.0.1", "port": 0}],
        "auth": {"users": {"alice": "secret"}},
    }
    async with Server(options) as server:
        _, address = server.snapshot().listening[0]
        where = address.host, address.port
        first = await asyncio.to_thread(TurnClient.tcp, *where, "alice", "secret")
        await asyncio.to_thread(first.allocate)
        await binding_over(where)
        async with asyncio.timeout(90):
            while server.snapshot().limits.connections.used != 1:  # the end of the other has not been seen yet
                await asyncio.sleep(0)
        limits = {"connections": 1, "idle_timeout": 7}
        assert (await server.reload({**options, "limits": limits})).taken == (
            "limits.connections",
            "limits.idle_timeout",
        )
        reader, second = await asyncio.open_connection(*where)
        assert await asyncio.wait_for(reader.read(), 10) == b""
        async with asyncio.timeout(90):
            while server.snapshot().limits.connections != Usage(1, 1):
                await asyncio.sleep(0)
        first.close()
        second.close()


async def test_the_client_acl_over_udp_and_tcp_and_at_a_reload() -> None:
    """`clients` is in force from the start and after a reload; who is refused gets no answer and no connection."""
    listeners = [{"address": "127.0.0.1", "port": 0}, {"address": "127.0.0.1", "port": 0, "transport": "tcp"}]
    options: dict[str, Any] = {"listeners": listeners, "auth": {"users": {"alice": "wonderland"}}}
    async with Server(options | {"clients": {"deny": ["127.0.0.0/8"]}}) as server:
        udp, tcp = (where for _, where in server.snapshot().listening)
        loop = asyncio.get_running_loop()
        with TurnClient.udp(udp.host, udp.port, "alice", "wonderland") as client:
            refused = loop.run_in_executor(None, client.allocate)
            assert server._parts is not None
            engine = server._parts.engine
            assert engine is not None
            await eventually(lambda: engine.denied > 0)
            reader, writer = await asyncio.open_connection(tcp.host, tcp.port)
            assert await reader.read() == b""
            writer.close()
            assert await server.reload(options) == Reload(taken=("clients.deny",))
            assert (await refused).relayed[0].host == "127.0.0.1", "a retransmission gets through"
            reader, writer = await asyncio.open_connection(tcp.host, tcp.port)
            writer.write(binding())
            assert await reader.readexactly(20)
            writer.close()


async def test_what_a_reload_changes_for_the_next_allocation() -> None:
    """The external address, the limits and the alternate servers are in force at once; what exists goes on."""
    listeners = [{"address": "127.0.0.1", "port": 0}]
    options: dict[str, Any] = {"listeners": listeners, "auth": {"users": {"alice": "wonderland"}}}
    async with Server(options) as server:
        where = server.snapshot().listening[0][1]

        def client() -> TurnClient:
            return TurnClient.udp(where.host, where.port, "alice", "wonderland")

        with client() as first, client() as second, client() as third, client() as fourth:
            assert (await asyncio.to_thread(first.allocate)).relayed[0].host == "127.0.0.1"
            changed = {**options, "relay": {"external": {"127.0.0.1": "9.9.9.9"}}}
            assert await server.reload(changed) == Reload(taken=("relay.external",))
            assert server.snapshot().relays[0].external == Address.parse("9.9.9.9", 0).ip
            assert (await asyncio.to_thread(second.allocate)).relayed[0].host == "9.9.9.9"
            changed["limits"] = {"allocations_per_user": 2}
            assert await server.reload(changed) == Reload(taken=("limits.allocations_per_user",))
            with pytest.raises(TurnRefused) as refused:
                await asyncio.to_thread(third.allocate)
            assert refused.value.code == 486
            changed |= {"limits": {}, "alternate_servers": ["9.9.9.10:3478"]}
            taken = (await server.reload(changed)).taken
            assert taken == ("alternate_servers", "limits.allocations_per_user")
            with pytest.raises(TurnRefused) as refused:
                await asyncio.to_thread(fourth.allocate)
            assert refused.value.code == 300
            assert await asyncio.to_thread(first.refresh) > 0
            assert await asyncio.to_thread(second.refresh) > 0


async def test_rooms_are_in_the_snapshot() -> None:
    async with Server(ROOMS) as server, Participant(f"{url_of(server)}/v1/ws") as client:
        await client.join("x")
        now = server.snapshot()
        assert [(room.id, [peer.id for peer in room.peers]) for room in now.rooms] == [("x", [client.id])]
        assert now.limits.rooms.used == now.limits.connections.used == 1
        assert now.listeners[1].kind == "shared"


async def test_another_source_of_credentials() -> None:
    """Asked instead of what the configuration says."""
    options = {**ROOMS, "auth": {"users": {"bob": "builder"}}, "peers": {"allow": ["127.0.0.0/8"]}}
    async with Server(options, credentials=StaticUsers({"alice": "wonderland"})) as server:
        await asyncio.to_thread(relay_something, server.snapshot().listening[0][1])
        await server.reload({**options, "peers": {"allow": ["127.0.0.1/32"]}})
        await asyncio.to_thread(relay_something, server.snapshot().listening[0][1])


async def test_no_warning_of_missing_users_with_another_source(caplog: pytest.LogCaptureFixture) -> None:
    """Neither at the start nor at a reload; without a source of its own, the program is warned at both."""

    def warnings() -> list[str]:
        found = [record.getMessage() for record in caplog.records if "nobody can relay" in record.getMessage()]
        caplog.clear()
        return found

    options = {"listeners": [{"address": "127.0.0.1", "port": 0}]}
    async with Server(options, credentials=StaticUsers({"alice": "wonderland"})) as server:
        await server.reload({**options, "peers": {"allow": ["127.0.0.1/32"]}})
    assert warnings() == []
    async with Server(options) as server:
        assert len(warnings()) == 1
        await server.reload({**options, "peers": {"allow": ["127.0.0.1/32"]}})
    assert len(warnings()) == 1


async def test_a_user_is_revoked() -> None:
    """What there is ends at once, and what was issued before is worth nothing."""
    options = {**ROOMS, "auth": {"users": {"alice": "wonderland"}}, "peers": {"allow": ["127.0.0.0/8"]}}
    async with Server(options) as server:
        address = server.snapshot().listening[0][1]
        with TurnClient.udp(address.host, address.port, "alice", "wonderland") as client:
            await asyncio.to_thread(client.allocate)
            assert server.revoke("alice", until=time.time() + 3600) == 1
            assert server.snapshot().allocations == ()
        with pytest.raises(TurnRefused, match="401"):
            await asyncio.to_thread(relay_something, address)


async def test_a_full_table_of_revocations_is_seen_and_said(caplog: pytest.LogCaptureFixture) -> None:
    """The table is made for the lifetime of the rooms' credentials; an operator learns when that is not enough."""
    async with Server(config(auth={"users": {"alice": "secret"}}, signaling={"credential_lifetime": 3600})) as server:
        assert server.snapshot().limits.revocations == Usage(0, 360_000)
        await server.reload(config(auth={"users": {"alice": "secret"}}, signaling={"credential_lifetime": 4000}))
        assert server.snapshot().limits.revocations == Usage(0, 400_000)
        server._revoked._limit = 2
        for user in range(20):
            server.revoke(str(user), time.time() + 60)
        assert server.snapshot().limits.revocations == Usage(2, 2)
    lines = [record for record in caplog.records if "revocation forgotten" in record.getMessage()]
    assert len(lines) == 1, "once a minute"
    assert (lines[0].levelname, lines[0].fields["of"]) == ("WARNING", "somebody who was sent away")  # type: ignore[attr-defined]


async def test_nothing_of_the_process_is_touched() -> None:
    """No limit is raised, no signal is handled, no log is configured: those are the program's."""
    limit, handlers = resource.getrlimit(resource.RLIMIT_NOFILE), logging.getLogger("meshturn").handlers[:]
    signals = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)]
    async with Server(config(limits={"allocations": 1_000_000})):
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == limit
        assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)] == signals
        assert logging.getLogger("meshturn").handlers == handlers


async def test_a_start_that_failed_may_be_tried_again() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        rooms = {**ROOMS, "listeners": [*ROOMS["listeners"], {"address": "127.0.0.1", "port": taken.getsockname()[1]}]}
        server = Server(rooms)
        with pytest.raises(StartupError):
            await server.start()
        assert not server.snapshot().running
    async with server:
        assert len(server.snapshot().listeners) == 3
        assert (await get(server.snapshot().listening[1][1].port, "/healthz", None))[0] == 200


async def test_stopping_while_it_stops_waits_for_the_end() -> None:
    server = Server(config(**ROOMS))
    await server.stop()
    async with server:
        await asyncio.gather(server.stop(), server.stop())
        assert not server.snapshot().running


async def test_closing_tells_who_is_there_and_those_who_would_come() -> None:
    """A goodbye with a time to come back at, 503 for load balancers meanwhile, and then the end."""
    server = Server(config(**ROOMS))
    await server.start()
    url = url_of(server)
    async with Participant(f"{url}/v1/ws") as client, aiohttp.ClientSession() as http:
        await client.join("x")
        async with http.get(f"{url}/readyz") as answer:
            assert answer.status == 200
        closing = asyncio.create_task(server.stop())
        goodbye = await client.until("goodbye")
        assert (goodbye["code"], goodbye["reconnect"]) == ("draining", "resume")
        assert (await client.closed()).code == 4503
        await closing
        with pytest.raises(aiohttp.ClientError):
            await http.get(f"{url}/readyz")


async def test_a_server_that_comes_back_takes_everybody_in_again() -> None:
    """Sessions are gone with the process: a client is told so, and starts afresh with the same token or none."""
    first = Server(config(**ROOMS))
    await first.start()
    port = first.snapshot().listening[1][1].port
    async with Participant(f"{url_of(first)}/v1/ws") as client:
        await client.join("x")
        session = client.session
        await first.stop()
    listeners = [ROOMS["listeners"][0], {**ROOMS["listeners"][1], "port": port}]
    second = Server(config(**{**ROOMS, "listeners": listeners}))
    await second.start()
    try:
        async with Participant(f"{url_of(second)}/v1/ws") as client:
            await client.until("welcome")
            resume = {"sid": session["sid"], "key": session["key"], "seq": 0}
            assert (await client.request(t="hello", v=1, resume=resume))["code"] == "session_gone"
            assert (await client.request(t="hello", v=1))["t"] == "hello_ok"
            assert (await client.request(t="join", room="x", name="n"))["t"] == "joined"
    finally:
        await second.stop()


async def test_no_rooms_unless_wanted() -> None:
    """Without them a shared port is what it was: health, and a page that says what this is."""
    server = Server(config(**{**ROOMS, "signaling": {"enabled": False}}))
    assert not server.config.serves_rooms
    await server.start()
    try:
        port = server.snapshot().listening[1][1].port
        assert (await get(port, "/call/x", None))[0] == 404
        assert (await get(port, "/healthz", None)) == (200, '{"status": "ok"}')
        assert "nothing here for people" in (await get(port, "/", None))[1]
    finally:
        await server.stop()


async def test_a_move_is_counted_told_and_leaves_no_path() -> None:
    """RFC 8016, switched on by a reload: observers hear of it, the snapshot counts it, and media take the new way."""
    options = {
        "listeners": [{"address": "127.0.0.1", "port": 0}],
        "log": {"level": "error"},
        "auth": {"users": {"alice": "wonderland"}},
        "peers": {"allow": ["127.0.0.0/8"]},
    }
    server, recorder = Server(Config.model_validate(options)), Recorder()
    server.observe(recorder)
    await server.start()
    try:
        _, address = server.snapshot().listening[0]
        reload = await server.reload(options | {"relay": {"mobility": True}})
        assert reload == Reload(("relay.mobility",))
        with UdpPeer() as peer:
            client = AsyncTurnClient(f"turn:{address.host}:{address.port}", "alice", "wonderland")
            async with client:
                await client.allocate(mobile=True)
                await client.bind_channel(peer.address)
                assert server.snapshot().moved_allocations == 0
                await client.move()
                client.send(peer.address, b"from there")
                data, relayed = await asyncio.to_thread(peer.receive)
                assert data == b"from there"
                peer.send(b"to there", relayed)
                assert (await client.receive()).data == b"to there"
                assert server.snapshot().moved_allocations == 1
                (view,) = server.snapshot().allocations
                (moved,) = [event for event, _ in recorder.events if isinstance(event, AllocationMoved)]
                assert (moved.client, moved.relays) == (view.client, view.relays)
                assert moved.former != moved.client
                assert server._parts is not None
                assert server._parts.engine is not None
                (transport,) = server._parts.engine._transports.values()
                assert len(transport._paths) == 1  # type: ignore[attr-defined]
    finally:
        await server.stop()
