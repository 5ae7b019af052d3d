"""The listener: accepting, limits, timers, what the engine asks of it, and giving connections away."""

import asyncio
import errno
import socket
from collections.abc import AsyncIterator, Callable
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from stun.address import Address
from tests.support.certificates import client_context, issue
from tests.support.limits import limits
from tests.support.stream_world import (
    ANSWER,
    BINDING,
    Gateway,
    RecordingSink,
    StreamRig,
    captured_log,
    channel_data,
    stun,
)
from tests.support.tcp_pair import eventually, has_ipv6
from turnserver.clients import ClientPolicy
from turnserver.core.types import ClientTransport, FiveTuple
from turnserver.errors import StartupError
from turnserver.reasons import Reason
from turnserver.transports.base import ConnectedTransport
from turnserver.transports.certificates import CertificateSource
from turnserver.transports.connection import StreamConnection
from turnserver.transports.limits import ConnectionLimiter
from turnserver.transports.stream import StreamTransport


def listener(index: int, address: Address, **options: Any) -> StreamTransport:
    return StreamTransport(index, address, limits=limits(), limiter=ConnectionLimiter(limits()), **options)


@pytest.fixture
async def rig() -> AsyncIterator[StreamRig]:
    async with StreamRig() as rig:
        yield rig


def test_it_is_a_transport() -> None:
    """The seam, checked by the type checker."""
    transport: ConnectedTransport = listener(0, Address.parse("127.0.0.1", 0), kind=ClientTransport.TCP)
    assert transport.counters == (0, 0, 0, 0, 0)
    transport.close()


async def test_a_port_in_use_is_a_startup_error(rig: StreamRig) -> None:
    other = listener(1, rig.transport.address, kind=ClientTransport.TCP)
    with pytest.raises(StartupError, match="already in use") as caught:
        other.bind()
    assert "ss -ltnp" in caught.value.hint


async def test_a_bad_certificate_is_a_startup_error(tmp_path: Path) -> None:
    source = CertificateSource([(tmp_path / "missing.crt", tmp_path / "missing.key")])
    transport = listener(0, Address.parse("127.0.0.1", 0), kind=ClientTransport.TLS, tls=source)
    with pytest.raises(StartupError, match="cannot be read"):
        transport.bind()


@pytest.mark.skipif(not has_ipv6(), reason="no IPv6 here")
async def test_ipv6() -> None:
    """Rule 23: an IPv6 listener shows its clients as IPv6."""
    async with StreamRig(host="::1") as rig:
        _, client = await rig.client()
        assert client.address.host == "::1"
        assert client.server == rig.transport.address


# What the engine asks


async def test_frames_go_to_their_clients(rig: StreamRig) -> None:
    one, first = await rig.client()
    other, second = await rig.client()
    assert rig.transport.send(first, ANSWER)
    assert rig.transport.send(second, stun(0x0113))
    assert await one.read(20) == ANSWER
    assert await other.read(20) == stun(0x0113)
    path = rig.transport.path(first)
    assert path is not None
    assert path.padded
    rig.transport.release(first)
    assert rig.transport.path(first) is path


async def test_nobody_is_not_a_client(rig: StreamRig) -> None:
    _, client = await rig.client()
    stranger = client._replace(serial=client.serial + 1)
    assert rig.transport.path(stranger) is None
    assert not rig.transport.send(stranger, ANSWER)
    assert rig.transport.detach(stranger) is None
    rig.transport.keep(stranger, True)
    rig.transport.close_client(stranger)
    assert rig.transport.connections == 1


async def test_a_client_is_gone_once_however_its_connection_ends(rig: StreamRig) -> None:
    """RFC 8656 §3.1: an allocation ends with its connection, so the core has to hear of it."""
    ends, clients = [], []
    for _ in range(4):
        peer, client = await rig.client()
        ends.append(peer)
        clients.append(client)
    ends[0].finish()
    ends[1].reset()
    rig.transport.close_client(clients[2])
    rig.transport.close_client(clients[2])
    assert rig.sink.gone.count(clients[2]) == 0  # not before whoever asked for it has finished
    await eventually(lambda: len(rig.sink.gone) == 3)
    rig.pass_time(61)
    await eventually(lambda: len(rig.sink.gone) == 4)
    assert sorted(rig.sink.gone) == sorted(clients)
    assert rig.transport.connections == 0


async def test_closing_a_client_sends_what_waits_for_it(rig: StreamRig) -> None:
    peer, client = await rig.client()
    rig.transport.send(client, ANSWER)
    rig.transport.close_client(client)
    assert await peer.read(100) == ANSWER


async def test_closing_the_listener_closes_everything_and_tells_nobody(rig: StreamRig) -> None:
    """The engine that would be told has gone."""
    peer, client = await rig.client()
    opening = await rig.connect()
    await eventually(lambda: rig.transport.openings == 1)
    rig.transport.send(client, ANSWER)
    rig.transport.close()
    rig.transport.close()
    assert await peer.read(100) == ANSWER
    assert await opening.ended()
    assert rig.sink.gone == []
    with pytest.raises(OSError, match="refused"):
        socket.create_connection((rig.transport.address.host, rig.transport.address.port))


# Idle


async def test_a_client_without_an_allocation_may_not_be_idle(rig: StreamRig) -> None:
    """`limits.idle_timeout`: sixty seconds since the last whole frame."""
    peer, client = await rig.client()
    rig.pass_time(59)
    await rig.introduce(peer)
    rig.pass_time(59)
    assert rig.transport.connections == 1
    rig.pass_time(2)
    assert await peer.ended()
    await eventually(lambda: rig.sink.gone == [client])


async def test_a_client_with_an_allocation_may(rig: StreamRig) -> None:
    """Until the allocation ends; then it has another sixty seconds."""
    peer, client = await rig.client()
    rig.transport.keep(client, True)
    rig.pass_time(10_000)
    await rig.introduce(peer)
    rig.pass_time(10_000)
    rig.transport.keep(client, False)
    rig.pass_time(59)
    assert rig.transport.connections == 1
    rig.pass_time(2)
    await eventually(lambda: rig.sink.gone == [client])


async def test_a_frame_that_claims_64_kib_and_stalls_is_not_waited_for(rig: StreamRig) -> None:
    """Bytes are no frames: they do not keep a connection, and what they hold is bounded by what was sent."""
    peer, client = await rig.client()
    rig.pass_time(1)
    await peer.send(channel_data(0x4000, bytes(65535))[:1000])
    for _ in range(58):
        rig.pass_time(1)
        await peer.send(b"x")
    assert rig.transport.connections == 1
    rig.pass_time(2)
    await eventually(lambda: rig.sink.gone == [client])


async def test_one_timer_looks_at_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """No timer per connection; and it goes on until the listener is closed."""
    loop = asyncio.get_running_loop()
    timers: list[object] = []
    call_later = loop.call_later

    def counted(delay: float, callback: object, *args: object) -> asyncio.TimerHandle:
        timers.append(callback)
        return call_later(3600, lambda: None)

    async with StreamRig() as rig:
        with monkeypatch.context() as patch:
            patch.setattr(loop, "call_later", counted)
            rig.transport.close()
            other = listener(0, Address.parse("127.0.0.1", 0), kind=ClientTransport.TCP, clock=rig.clock)
            other.bind()
            other.serve(rig.sink)
            assert len(timers) == 1
            tick = timers[0]
            tick()  # type: ignore[operator]
            assert timers == [tick, tick]
            other.close()


async def test_the_deadlines_are_kept_after_a_fault(rig: StreamRig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A check that raises is reported, and the next one comes all the same."""
    transport, loop = rig.transport, asyncio.get_running_loop()
    timers: list[Callable[[], None]] = []
    await rig.client()
    rig.clock.now += limits().idle_timeout + 1
    assert transport._timer is not None
    transport._timer.cancel()
    with monkeypatch.context() as patch:
        patch.setattr(loop, "call_later", lambda delay, callback: timers.append(callback))
        patch.setattr(transport, "sweep", lambda: 1 // 0)
        transport._tick()
        assert rig.sink.faults == ["transport.sweep: ZeroDivisionError"]
    assert transport.connections == 1
    (tick,) = timers
    tick()
    await eventually(lambda: transport.connections == 0)


# How many


async def test_so_many_from_one_address(rig: StreamRig) -> None:
    """Rule 3: an address that has its fill is turned away, and others are not."""
    async with StreamRig(connections_per_address=2) as rig:
        peers = [await rig.connect() for _ in range(3)]
        assert await peers[2].ended()
        other = await rig.connect(Address.parse("127.0.0.2", 0))
        await rig.introduce(other)
        peers[0].close()
        await eventually(lambda: rig.transport.openings == 1)
        assert await rig.introduce(await rig.connect())
        assert rig.transport.counters.dropped == 1


async def test_so_many_in_all() -> None:
    """Rule 3: and no more than that, over all listeners that share the count."""
    limiter = ConnectionLimiter(limits(connections=3, connections_per_address=100))
    async with StreamRig(limiter=limiter) as one, StreamRig(limiter=limiter, http=Gateway()) as other:
        for rig in (one, other, one):
            rig.transport.keep(await rig.introduce(await rig.connect()), True)
        late = await other.connect()
        assert await late.ended()
        assert limiter.count == 3
    assert limiter.count == 0


async def test_when_all_are_taken_an_idle_one_makes_room() -> None:
    """Over all listeners, whatever it sends short of an allocation; the engine is told of its end."""
    limiter = ConnectionLimiter(limits(connections=4, connections_per_address=100))
    with captured_log("meshturn.streams") as log:
        async with StreamRig(limiter=limiter) as one, StreamRig(limiter=limiter, http=Gateway()) as other:
            kept, client = await one.client()
            one.transport.keep(client, True)
            idle, stranger = await other.client()
            opening = await one.connect()
            _, former = await other.client()
            other.transport.keep(former, True)
            await eventually(lambda: limiter.count == 4)
            await other.introduce(idle)
            assert await other.introduce(await other.connect())
            assert await idle.ended()
            await eventually(lambda: other.sink.gone == [stranger])
            assert await one.introduce(await one.connect())
            assert await opening.ended()
            other.transport.keep(former, False)
            for _ in range(2):
                assert await one.introduce(await one.connect())
            assert one.transport.path(client) is not None
            assert await one.introduce(kept) == client
        assert [record.getMessage() for record in log] == ["idle connection closed to make room"] * 2
        assert limiter.evicted == 4


async def test_data_connections_make_no_room() -> None:
    """RFC 6062 §5.4: a client's stream with a new owner is in use until it ends."""
    limiter = ConnectionLimiter(limits(connections=1, connections_per_address=10))
    async with StreamRig(limiter=limiter) as rig:
        _, client = await rig.client()
        data = rig.transport.detach(client)
        assert data is not None
        assert await (await rig.connect()).ended()
        assert not data.closed
        data.close()
        assert await rig.client()


async def test_a_client_beyond_its_limit_takes_no_place() -> None:
    """It is refused before anybody makes room."""
    async with StreamRig(connections=3, connections_per_address=2) as rig:
        elsewhere = await rig.connect(Address.parse("127.0.0.2", 0))
        await rig.introduce(elsewhere)
        for _ in range(2):
            await rig.client()
        for _ in range(3):
            assert await (await rig.connect()).ended()
        assert await rig.introduce(elsewhere)


async def test_connections_that_were_given_away_count_until_they_end() -> None:
    """HTTP and RFC 6062 data connections take a descriptor like any other."""
    limiter, gateway = ConnectionLimiter(limits(connections=10, connections_per_address=10)), Gateway()
    async with StreamRig(limiter=limiter, http=gateway) as rig:
        web = await rig.connect()
        await web.send(b"GET / HTTP/1.1\r\n\r\n")
        _, client = await rig.client()
        data = rig.transport.detach(client)
        await eventually(lambda: gateway.accepted)
        assert data is not None
        assert limiter.count == 2
        data.close()
        gateway.accepted[0][0].close()
        assert limiter.count == 0
    assert rig.sink.gone == []


async def test_a_flood_is_logged_once_a_minute() -> None:
    """Who turns up a thousand times must not write a thousand lines."""
    with captured_log("meshturn.streams") as log:
        async with StreamRig(connections=0) as rig:
            for _ in range(5):
                assert await (await rig.connect()).ended()
            assert len(log) == 1
            rig.pass_time(61)
            assert await (await rig.connect()).ended()
            assert [record.getMessage() for record in log] == ["too many connections"] * 2
            name = f"{rig.transport.name} {rig.transport.address}"
            assert {record.__dict__["fields"]["listener"] for record in log} == {name}, "as in every other line"
            assert rig.transport.counters.dropped == 6


async def test_without_descriptors_the_backlog_waits_and_nothing_spins(
    rig: StreamRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """EMFILE: the listener stays readable, so it is let alone until the next look at the clock."""
    calls: list[int] = []
    accept = socket.socket.accept

    def exhausted(self: socket.socket) -> object:
        calls.append(1)
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(socket.socket, "accept", exhausted)
    with captured_log("meshturn.streams") as log:
        peer = await rig.connect()
        await eventually(lambda: calls)
        for _ in range(20):
            await asyncio.sleep(0)
        assert len(calls) == 1
        rig.pass_time(1)
        await eventually(lambda: len(calls) == 2)
        monkeypatch.setattr(socket.socket, "accept", accept)
        rig.pass_time(1)
        assert await rig.introduce(peer)
        assert [record.getMessage() for record in log] == ["cannot accept connections"]


async def test_a_connection_that_fails_while_it_is_accepted_concerns_nobody(
    rig: StreamRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """accept(2): ECONNABORTED is the one connection's, and the next one may be well."""
    accept = socket.socket.accept
    failures = [errno.ECONNABORTED, errno.EPROTO]

    def fail_twice(self: socket.socket) -> object:
        if failures:
            raise OSError(failures.pop(), "")
        return accept(self)

    monkeypatch.setattr(socket.socket, "accept", fail_twice)
    assert await rig.client()


async def test_a_connection_that_has_gone_before_it_is_welcomed(
    rig: StreamRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """getpeername(2): ENOTCONN after a reset; nothing is leaked."""

    def gone(self: socket.socket) -> object:
        raise OSError(errno.ENOTCONN, "")

    with monkeypatch.context() as patch:
        patch.setattr(socket.socket, "getpeername", gone)
        assert await (await rig.connect()).ended()
    assert await rig.client()
    assert rig.transport.connections + rig.transport.openings == 1


async def test_many_idle_connections() -> None:
    """They cost their memory and nothing else; one more is served, and all go when their time has come."""
    async with StreamRig(connections_per_address=2000) as rig:
        peers = [await rig.connect() for _ in range(300)]
        await eventually(lambda: rig.transport.openings == 300)
        for peer in peers:
            await peer.send(BINDING)
        await eventually(lambda: rig.transport.connections == 300)
        assert await rig.client()
        rig.pass_time(61)
        assert rig.transport.connections == 0
        await eventually(lambda: len(rig.sink.gone) == 301)


# Giving connections away


async def test_a_detached_stream_has_everything(rig: StreamRig) -> None:
    """RFC 6062 §5.4: after the success answer the connection is data, what came behind the request included."""
    streams = []

    def splice(client: FiveTuple, frame: bytes) -> None:
        rig.transport.send(client, ANSWER)
        stream = rig.transport.detach(client)
        assert stream is not None
        streams.append(stream)
        stream.push(b"from the peer")

    rig.sink.on_frame = splice
    peer = await rig.connect()
    await peer.send(BINDING + b"\x80 raw data")
    await eventually(lambda: streams)
    (stream,) = streams
    assert await peer.read(33) == ANSWER + b"from the peer"
    received = b""

    def read() -> None:
        nonlocal received
        received += stream.recv(4) or b""

    stream.on_readable = read
    stream.want_read(True)
    await eventually(lambda: received == b"\x80 raw data")
    await peer.send(b" and more")
    await eventually(lambda: received == b"\x80 raw data and more")
    assert rig.transport.connections == 0
    stream.close()
    await asyncio.sleep(0)
    assert rig.sink.gone == []


async def test_part_of_a_frame_is_detached_too(rig: StreamRig) -> None:
    peer, client = await rig.client()
    connection = rig.transport.path(client)
    assert connection is not None
    await peer.send(channel_data(0x4000, bytes(100))[:50])
    await eventually(lambda: len(connection._partial) == 50)
    stream = rig.transport.detach(client)
    assert stream is not None
    assert stream.recv(100) == channel_data(0x4000, bytes(100))[:50]
    assert not connection.send(ANSWER)
    stream.close()


async def test_a_stream_cannot_be_detached_when_it_breaks(rig: StreamRig) -> None:
    """Then it is an end like any other."""
    peer, client = await rig.client()
    rig.transport.send(client, ANSWER)
    peer.reset()
    sock = rig.transport.path(client)
    assert sock is not None
    for _ in range(3):
        sock.flush()
        sock.send(ANSWER)
    assert rig.transport.detach(client) is None
    await eventually(lambda: rig.sink.gone == [client])


@pytest.mark.parametrize("method", ["take_queue", "part", "unread"])
async def test_a_stream_that_nobody_was_given_is_not_left_open(
    method: str, rig: StreamRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fault while it is given away: the engine closes the client then, and the connection ends either way."""
    peer, client = await rig.client()
    monkeypatch.setattr(StreamConnection, method, lambda connection: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        rig.transport.detach(client)
    monkeypatch.undo()
    rig.transport.close_client(client)
    assert await peer.ended()
    assert (rig.transport.connections, rig.transport._limiter.count) == (0, 0)


# Memory


@pytest.mark.parametrize("secured", [False, True], ids=["tcp", "tls"])
async def test_a_client_that_never_reads_costs_so_much_and_no_more(secured: bool, tmp_path: Path) -> None:
    """Rule 22: a hundred megabytes for it, and what is held stays what the options say; others are not held up."""
    pair = issue(tmp_path)
    tls = CertificateSource([(pair.certificate, pair.key)]) if secured else None
    async with StreamRig(tls=tls, send_queue=100_000) as rig:
        deaf = await rig.connect_tls(client_context()) if secured else await rig.connect()
        connection = rig.transport.path(await rig.introduce(deaf))
        good, client = (await rig.connect_tls(), None) if secured else await rig.client()
        client = client or await rig.introduce(good)
        assert connection is not None
        run = [channel_data(0x4000, bytes(1200))] * 50
        for turn in range(100_000_000 // (50 * 1204)):
            if not connection.send_run(run):
                connection.send(run[0])
            assert connection.queued <= 100_000
            if turn % 100 == 0:
                rig.transport.send(client, ANSWER)
                assert await good.read(20) == ANSWER
        assert connection.queued > 90_000
        assert rig.transport.counters.dropped > 0


async def test_who_connects_before_it_serves_waits() -> None:
    """The address is known once it is bound, and connections wait in the system's queue."""
    transport, sink = listener(0, Address.parse("127.0.0.1", 0), kind=ClientTransport.TCP), RecordingSink()
    with pytest.raises(RuntimeError):
        transport.serve(sink)
    transport.bind()
    with socket.create_connection((transport.address.host, transport.address.port), 10) as client:
        client.sendall(BINDING)
        transport.serve(sink)
        await eventually(lambda: sink.frames)
        transport.close()


async def test_one_that_is_bound_and_never_serves_gives_its_port_back() -> None:
    transport = listener(0, Address.parse("127.0.0.1", 0), kind=ClientTransport.TCP)
    transport.bind()
    transport.close()
    again = listener(0, transport.address, kind=ClientTransport.TCP)
    again.bind()
    again.close()


async def test_other_limits_hold_for_connections_that_come_later() -> None:
    async with StreamRig(idle_timeout=60) as rig:
        early, _ = await rig.client()
        rig.transport.use(limits(idle_timeout=5))
        late, _ = await rig.client()
        rig.clock.now += 6.0
        rig.transport.sweep()
        assert await late.ended()
        assert rig.transport.connections == 1
        rig.clock.now += 60.0
        rig.transport.sweep()
        assert await early.ended()


async def test_a_client_that_is_refused_is_turned_away() -> None:
    """The client ACL: closed at once, counted with its reason, with a line at debug only; others are served."""
    async with StreamRig() as rig:
        rig.limiter.clients = ClientPolicy(deny=(ip_network("127.0.0.9"),))
        peer = await rig.connect(Address.parse("127.0.0.9", 0))
        assert await peer.ended()
        assert rig.transport.refusals.counts == {Reason.CLIENT_DENIED: 1}
        assert rig.transport.counters.dropped == 1
        await rig.introduce(await rig.connect())
