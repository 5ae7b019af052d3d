"""The DTLS listener, with real sockets and OpenSSL's client: sessions, frames, cookies, limits, timers, ends."""

import asyncio
import socket
from collections.abc import AsyncIterator
from ipaddress import ip_network
from pathlib import Path

import pytest
from OpenSSL import SSL

from stun.address import Address
from tests.support.certificates import issue
from tests.support.dtls_world import DtlsPeer, DtlsRig, client_dtls, records_of, refragmented, with_version
from tests.support.limits import limits
from tests.support.stream_world import ANSWER, BINDING, RecordingHop, captured_log, stun
from tests.support.tcp_pair import eventually, has_ipv6
from turnserver.clients import ClientPolicy
from turnserver.core.types import ClientTransport, FiveTuple
from turnserver.descriptors import Descriptors
from turnserver.errors import StartupError
from turnserver.reasons import Reason
from turnserver.transports import dtls
from turnserver.transports.base import ConnectedTransport, TransportCounters
from turnserver.transports.certificates import CertificateSource
from turnserver.transports.dtls import HANDSHAKE_MTU, DtlsTransport
from turnserver.transports.dtls_hello import COOKIE_LIFETIME
from turnserver.transports.limits import ConnectionLimiter

CHANNEL = 0x4001


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[DtlsRig]:
    async with DtlsRig(tmp_path) as made:
        yield made
        assert made.sink.faults == []


def channel_data(payload: bytes, channel: int = CHANNEL) -> bytes:
    return channel.to_bytes(2, "big") + len(payload).to_bytes(2, "big") + payload


def hop_of(rig: DtlsRig, client: FiveTuple) -> RecordingHop:
    path = rig.transport.path(client)
    assert path is not None
    hop = path.channels[CHANNEL] = RecordingHop(rig.clock.now + 600)
    return hop


# The listener


def test_it_is_a_transport(tmp_path: Path) -> None:
    """The seam, checked by the type checker."""
    transport: ConnectedTransport = DtlsRig(tmp_path).transport
    assert (transport.name, transport.kind, transport.local) == ("dtls", ClientTransport.DTLS, False)
    assert (transport.counters, transport.connections) == (TransportCounters(), 0)
    transport.close()


async def test_a_port_in_use_is_a_startup_error(rig: DtlsRig, tmp_path: Path) -> None:
    other = DtlsTransport(
        6, rig.transport.address, tls=rig.certificates, limits=rig.limits, limiter=ConnectionLimiter(limits())
    )
    with pytest.raises(StartupError, match="already in use") as caught:
        other.bind()
    assert "ss -lunp" in caught.value.hint


async def test_a_bad_certificate_is_a_startup_error(rig: DtlsRig, tmp_path: Path) -> None:
    source = CertificateSource([(tmp_path / "missing.crt", tmp_path / "missing.key")])
    transport = DtlsTransport(
        6, Address.parse("127.0.0.1", 0), tls=source, limits=rig.limits, limiter=ConnectionLimiter(limits())
    )
    with pytest.raises(StartupError, match="cannot be read"):
        transport.bind()
    with pytest.raises(RuntimeError, match="not bound"):
        transport.serve(rig.sink)


@pytest.mark.skipif(not has_ipv6(), reason="no IPv6 here")
async def test_ipv6(tmp_path: Path) -> None:
    """Rule 23: an IPv6 listener shows its clients as IPv6."""
    async with DtlsRig(tmp_path, "::1") as rig:
        client, peer = await rig.client(BINDING)
        assert (client.address, client.server) == (peer.address, rig.transport.address)


# Frames


async def test_a_record_is_a_frame(rig: DtlsRig) -> None:
    """RFC 7350 §3: the 5-tuple is that of the session, which has a number; each record is one message, both ways."""
    client, peer = await rig.client(BINDING)
    assert client == FiveTuple(ClientTransport.DTLS, peer.address, rig.transport.address, 5, 1)
    assert rig.transport.send(client, ANSWER)
    assert rig.transport.send(client, ANSWER[:-1])
    assert [await peer.receive(), await peer.receive()] == [ANSWER, ANSWER[:-1]]
    assert (rig.transport.connections, rig.transport.handshakes) == (1, 0)
    assert rig.transport.counters == (1, len(BINDING), 2, 2 * len(ANSWER) - 1, 0)


async def test_several_records_in_a_datagram(rig: DtlsRig) -> None:
    """RFC 6347 §4.1.1: a datagram may have several records."""
    _, peer = await rig.client(BINDING)
    frames = [stun(number=number) for number in range(5)]
    peer.sock.send(b"".join(map(peer.sealed, frames)) + b"\x17\xfe\xfd\0\1")
    await eventually(lambda: len(rig.sink.frames) == 6)
    assert rig.sink.bodies[1:] == frames


async def test_channel_data_goes_to_its_hop_in_runs(rig: DtlsRig) -> None:
    """RFC 8656 §12.5, §12.6: clients need not pad, and what follows the data is padding."""
    client, peer = await rig.client(BINDING)
    hop = hop_of(rig, client)
    payloads = [b"first", b"other", b"longer", b"", b"last"]
    peer.sock.send(b"".join(peer.sealed(channel_data(payload)) for payload in payloads))
    peer.send(channel_data(b"padded") + b"\0\0")
    await eventually(lambda: len(hop.payloads) == 6)
    assert hop.payloads == [*payloads, b"padded"]
    assert hop.runs[0] == 2
    assert rig.transport.counters.packets_in == 7


async def test_other_channel_data_goes_up_or_nowhere(rig: DtlsRig) -> None:
    """RFC 8656 §12: expired and unbound channels are for the core; a length beyond the record is an error."""
    client, peer = await rig.client(BINDING)
    hop = hop_of(rig, client)
    peer.send(channel_data(b"unbound", 0x4002))
    rig.clock.now = hop.expires
    peer.send(channel_data(b"expired"))
    peer.send(channel_data(b"too long")[:-1], b"\x40", b"\x80" * 20, b"\x16" * 20)
    await rig.fence()
    assert rig.sink.bodies[1:] == [channel_data(b"unbound", 0x4002), channel_data(b"expired")]
    assert hop.payloads == []
    assert rig.transport.counters.dropped == 5


async def test_frames_to_a_client_in_a_run(rig: DtlsRig) -> None:
    """Each has a record, and a datagram, of its own; one too long for a record is dropped and counted."""
    client, peer = await rig.client(BINDING)
    path = rig.transport.path(client)
    assert path is not None
    assert path.padded
    frames = [channel_data(bytes([number]) * 100) for number in range(40)]
    assert path.send_run(frames)
    assert [await peer.receive() for _ in frames] == frames
    assert not path.send(bytes(16385))
    assert path.send_run([bytes(16385)] * 2)
    largest = channel_data(bytes(16380))
    assert path.send(largest)
    assert await peer.receive() == largest
    assert rig.transport.counters == (1, 20, 41, 40 * 104 + 16384, 3)


async def test_what_is_not_dtls_is_not_mixed_with_it(rig: DtlsRig) -> None:
    """RFC 7983: plain STUN on this socket goes nowhere, and is a line for the operator; also from a client's port."""
    _, peer = await rig.client(BINDING)
    with captured_log("meshturn.dtls") as log:
        for plain in (BINDING, channel_data(b"plain"), b"\x80" + bytes(30), b"\x15"):
            peer.sock.send(plain)
        await rig.fence()
    assert len(rig.sink.frames) == 1
    assert [(each.levelname, each.getMessage()) for each in log] == [
        ("INFO", "TURN without DTLS on a listener with DTLS")
    ]
    fields = log[0].__dict__["fields"]
    assert (fields["cause"], fields["client"]) == ("not-dtls", str(peer.address))
    assert rig.transport.counters.dropped == 4  # a record that is cut off is none


async def test_media_is_dropped_after_a_pause(rig: DtlsRig) -> None:
    """What has waited while the server did not run: requests are taken, media is not, until the socket is empty."""
    client, peer = await rig.client(BINDING)
    hop = hop_of(rig, client)
    rig.transport.paused(True)
    peer.sock.send(b"".join(map(peer.sealed, [channel_data(b"old"), stun(0x0016), BINDING])))
    await rig.fence()
    peer.send(channel_data(b"new"))
    await eventually(lambda: hop.payloads)
    assert hop.payloads == [b"new"]
    assert rig.sink.bodies == [BINDING, BINDING]


async def test_a_fault_costs_one_frame(rig: DtlsRig) -> None:
    client, peer = await rig.client(BINDING)
    hop = hop_of(rig, client)

    def fail(*_: object) -> bool:
        raise ValueError("a bug")

    rig.sink.on_frame = fail
    hop.send = fail  # type: ignore[method-assign]
    peer.send(BINDING, channel_data(b"lost"))
    await rig.fence()
    rig.sink.on_frame = None
    peer.send(BINDING)
    await eventually(lambda: len(rig.sink.frames) == 3)
    assert sorted(rig.sink.faults) == ["hop.send: ValueError", "transport.read: ValueError"]
    rig.sink.faults.clear()


# The cookie


async def test_nothing_is_kept_before_the_cookie(rig: DtlsRig) -> None:
    """RFC 7350 §4.6, RFC 6347 §4.2.1: HelloVerifyRequests, shorter than what they answer, and no state of any kind."""
    for number in range(2, 200):
        peer = rig.peer(name=f"127.0.0.{number}")
        (hello,) = peer.step()
        peer.sock.send(hello)
        answer = await peer.datagram()
        assert (answer[0], answer[1:3], answer[HEADER]) == (22, b"\xfe\xff", 3)
        assert answer[3:11] == hello[3:11]
        assert len(answer) < len(hello)
        peer.close()
    assert (rig.transport.handshakes, rig.transport.connections, rig.limiter.count) == (0, 0, 0)
    assert rig.transport.counters == TransportCounters()


HEADER = 13


async def test_a_cookie_is_for_one_client_and_a_while(rig: DtlsRig) -> None:
    """RFC 6347 §4.2.1: another address, another offer or a later time brings another HelloVerifyRequest."""
    peer, other = rig.peer(), rig.peer()
    hello = await peer.hello_with_cookie()
    for sender, sent in ((other, hello), (peer, with_version(hello, b"\xfe\xff"))):
        sender.sock.send(sent)
        assert (await sender.datagram())[HEADER] == 3
    rig.clock.now += 2 * COOKIE_LIFETIME
    peer.sock.send(hello)
    assert (await peer.datagram())[HEADER] == 3
    assert (rig.transport.handshakes, rig.limiter.count) == (0, 0)


async def test_a_cookie_outlives_the_change_of_secrets(rig: DtlsRig) -> None:
    """RFC 6347 §4.2.1: the secret changes, and a client that is in between is not turned away."""
    peer = rig.peer()
    hello = await peer.hello_with_cookie()
    rig.clock.now += COOKIE_LIFETIME
    peer.sock.send(hello)
    assert (await peer.datagram())[HEADER] == 2  # a ServerHello
    assert rig.transport.handshakes == 1


async def test_a_hello_in_fragments_is_not_put_together(rig: DtlsRig) -> None:
    """A server without state cannot; OpenSSL's `DTLSv1_listen` does not either."""
    peer = rig.peer()
    (hello,) = peer.step()
    for record in refragmented(hello, 50):
        peer.sock.send(record)
    await rig.fence()
    assert rig.transport.counters.dropped == len(refragmented(hello, 50)) + 1
    assert rig.limiter.count == 0


async def test_a_replayed_hello_is_one_handshake(rig: DtlsRig) -> None:
    """Retransmissions while the handshake is under way, and late ones afterwards, begin no other."""
    peer = rig.peer()
    hello = await peer.hello_with_cookie()
    for _ in range(20):
        peer.sock.send(hello)
    await rig.fence()
    assert (rig.transport.handshakes, rig.limiter.count) == (1, 1)
    await peer.handshake()
    client = await rig.introduce(peer, BINDING)
    peer.sock.send(hello)
    await rig.fence()
    assert rig.transport.handshakes == 0
    assert rig.transport.path(client) is not None


async def test_hellos_that_wait_are_bounded(rig: DtlsRig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Handshakes are made in slices; what is too much meanwhile is dropped, and comes again."""
    monkeypatch.setattr(dtls, "MOST_HELLOS", 3)
    monkeypatch.setattr(dtls, "_TURN", 0.0)
    peers = [rig.peer() for _ in range(5)]
    hellos = [await peer.hello_with_cookie() for peer in peers]
    for peer, hello in zip(peers, hellos, strict=True):
        peer.sock.send(hello)
    await eventually(lambda: rig.transport.handshakes == 3)
    assert rig.transport.counters.dropped == 2


# Handshakes


async def test_a_client_that_begins_again_keeps_its_session_until_it_is_done(rig: DtlsRig) -> None:
    """RFC 6347 §4.2.8: a new ClientHello from the same 5-tuple; what is old ends when the new handshake is complete."""
    client, peer = await rig.client(BINDING)
    old = peer.tls
    peer.restart()
    hello = await peer.hello_with_cookie()
    peer.sock.send(hello)
    await eventually(lambda: rig.transport.handshakes == 1)
    flight = await peer.datagram()
    old.send(stun(number=7))
    peer.sock.send(old.bio_read(1000))
    await eventually(lambda: len(rig.sink.frames) == 2)
    assert rig.sink.frames[1] == (client, stun(number=7))
    assert rig.sink.gone == []
    peer.tls.bio_write(flight)
    await peer.handshake()
    newer = await rig.introduce(peer, BINDING)
    assert newer == client._replace(serial=2)
    assert rig.sink.gone == [client]
    assert (rig.transport.connections, rig.limiter.count) == (1, 1)
    assert rig.transport.path(client) is None
    assert not rig.transport.send(client, ANSWER)


async def test_a_second_attempt_takes_the_place_of_the_first(rig: DtlsRig) -> None:
    peer = rig.peer()
    for _ in range(3):
        peer.restart()
        peer.sock.send(await peer.hello_with_cookie())
        await eventually(lambda: rig.transport.handshakes == 1)
        await peer.datagram()
        assert rig.limiter.count == 1


async def test_a_flight_fits_the_path_and_is_sent_again(tmp_path: Path) -> None:
    """RFC 6347 §4.1.1.1, §4.2.4: fragments that fit every IPv6 path, and the loop's timer for lost ones."""
    pair = issue(tmp_path, "long")
    others = [issue(tmp_path, f"above-{number}").certificate.read_bytes() for number in range(8)]
    pair.certificate.write_bytes(b"".join([pair.certificate.read_bytes(), *others]))
    async with DtlsRig(tmp_path, pairs=(pair,)) as rig:
        peer = rig.peer()
        peer.sock.send(await peer.hello_with_cookie())
        for _ in range(3):
            await peer.datagram()  # lost
        await peer.handshake()
        assert await rig.introduce(peer, BINDING)
        assert len(peer.sizes) > 8
        assert max(peer.sizes) <= HANDSHAKE_MTU


async def test_old_versions_are_refused_with_an_alert(rig: DtlsRig) -> None:
    """RFC 8996: no DTLS 1.0; the client is told so at once (protocol_version, 70)."""
    peer = rig.peer()
    (hello,) = peer.step()
    hello = with_version(hello, b"\xfe\xff")
    peer.sock.send(hello)
    cookie = (await peer.datagram())[-20:]
    at = HEADER + 12 + 2 + 32 + 1
    body = hello[HEADER + 12 : at] + b"\x14" + cookie + hello[at + 1 :]
    length = len(body).to_bytes(3, "big")
    message = b"\x01" + length + b"\0\1\0\0\0" + length + body
    with captured_log("meshturn.dtls") as log:
        peer.sock.send(b"\x16\xfe\xff" + bytes(7) + b"\x01" + len(message).to_bytes(2, "big") + message)
        alert = await peer.datagram()
    assert (alert[0], alert[-2:]) == (21, b"\x02\x46")
    assert log[0].__dict__["fields"]["why"] == "unsupported protocol"
    assert (rig.transport.handshakes, rig.limiter.count) == (0, 0)


async def test_alpn(rig: DtlsRig) -> None:
    """RFC 7443, RFC 7301 §3.2: ``stun.turn`` is chosen, and who offers only others is refused with an alert."""
    peer = await rig.peer(client_dtls((b"h2", b"stun.turn"))).handshake()
    assert peer.tls.get_alpn_proto_negotiated() == b"stun.turn"
    with pytest.raises(SSL.Error, match="no application protocol"):
        await rig.peer(client_dtls((b"stun.nat-discovery",))).handshake()
    assert rig.limiter.count == 1


async def test_a_client_that_does_not_trust_the_certificate(rig: DtlsRig, tmp_path: Path) -> None:
    """Its alert is a line for the operator, as under TLS; nothing of it stays."""
    other = issue(tmp_path, "other")
    with captured_log("meshturn.dtls") as log:
        with pytest.raises(SSL.Error, match="certificate verify failed"):
            await rig.peer(client_dtls(ca=other.certificate)).handshake()
        await eventually(lambda: rig.limiter.count == 0)
    assert (log[0].getMessage(), log[0].__dict__["fields"]["cause"]) == ("TLS alert from a client", "tls-alert")


async def test_certificates_by_name_and_reload(tmp_path: Path) -> None:
    """The source of the TLS listeners: an RSA and an ECDSA one, and a new one after a change, for new handshakes."""
    pairs = (issue(tmp_path, "ec"), issue(tmp_path, "rsa", "rsa"))
    async with DtlsRig(tmp_path, pairs=pairs) as rig:
        found = []
        for ciphers in (b"ECDHE-ECDSA-AES128-GCM-SHA256", b"ECDHE-RSA-AES128-GCM-SHA256"):
            context = client_dtls()
            context.set_cipher_list(ciphers)
            certificate = (await rig.peer(context).handshake()).tls.get_peer_certificate(as_cryptography=True)
            assert certificate is not None
            found.append(certificate.serial_number)
        assert found == [pair.serial for pair in pairs]
        newer = issue(tmp_path, "newer")
        pairs[0].replace_by(newer)
        assert rig.certificates.check()
        certificate = (await rig.peer().handshake()).tls.get_peer_certificate(as_cryptography=True)
        assert certificate is not None
        assert certificate.serial_number == newer.serial


async def test_the_name_that_a_client_asks_for_chooses(rig: DtlsRig, monkeypatch: pytest.MonkeyPatch) -> None:
    """RFC 6066 §3: the host in the ClientHello, and the listener's address for who names none."""
    asked: list[tuple[str | None, str]] = []
    shown = rig.certificates.shown

    def choose(name: str | None = None, address: str = "") -> tuple[tuple[bytes, bytes], ...]:
        asked.append((name, address))
        return shown(name, address)

    monkeypatch.setattr(rig.certificates, "shown", choose)
    for host in ("a.meet.example.org", None):
        await rig.peer(host=host).handshake()
    assert asked == [("a.meet.example.org", "127.0.0.1"), (None, "127.0.0.1")]


async def test_the_limit_per_client(tmp_path: Path) -> None:
    """Rule 3: handshakes count among the connections of an address, before and after they are complete."""
    async with DtlsRig(tmp_path, connections_per_address=2) as rig:
        half = rig.peer()
        half.sock.send(await half.hello_with_cookie())
        await rig.peer().handshake()
        with captured_log("meshturn.dtls") as log:
            third = rig.peer()
            third.sock.send(await third.hello_with_cookie())
            await eventually(lambda: rig.transport.counters.dropped == 1)
        assert log[0].__dict__["fields"]["limit"] == "limits.connections_per_address"
        await rig.peer(name="127.0.0.9").handshake()
        assert rig.limiter.count == 3


async def test_the_limit_in_total(tmp_path: Path) -> None:
    """Rule 3: an idle session, or a handshake under way, makes room; one in use does not. None has a descriptor."""
    descriptors = Descriptors(100)
    async with DtlsRig(tmp_path, limiter=ConnectionLimiter(limits(connections=2), descriptors)) as rig:
        client, _ = await rig.client(BINDING)
        rig.transport.keep(client, True)
        half = rig.peer()
        half.sock.send(await half.hello_with_cookie())
        await eventually(lambda: rig.transport.handshakes == 1)
        other, _ = await rig.client(BINDING)
        assert (rig.transport.handshakes, rig.transport.connections, rig.limiter.evicted) == (0, 2, 1)
        rig.transport.keep(other, True)
        late = rig.peer()
        with captured_log("meshturn.dtls") as log:
            late.sock.send(await late.hello_with_cookie())
            await eventually(lambda: log)
        assert log[0].getMessage() == "too many connections"
        assert descriptors.used == 0


# The ends


async def test_a_client_says_goodbye(rig: DtlsRig) -> None:
    """RFC 5246 §7.2.1: close_notify is answered; the allocation ends with the session."""
    client, peer = await rig.client(BINDING)
    peer.bye()
    with pytest.raises(SSL.ZeroReturnError):
        await peer.receive()
    await eventually(lambda: rig.sink.gone)
    assert rig.sink.gone == [client]
    assert (rig.transport.connections, rig.limiter.count) == (0, 0)


@pytest.mark.parametrize("how", ["close_client", "idle", "evicted", "close"])
async def test_the_server_says_goodbye(rig: DtlsRig, how: str) -> None:
    client, peer = await rig.client(BINDING)
    match how:
        case "close_client":
            rig.transport.close_client(client)
        case "idle":
            rig.clock.now += rig.limits.idle_timeout
            rig.transport.sweep()
        case "evicted":
            slot = rig.limiter._idle.first()
            assert slot is not None
            slot.evict()
        case "close":
            rig.transport.close()
            rig.transport.close()
    with pytest.raises(SSL.ZeroReturnError):
        await peer.receive()
    await asyncio.sleep(0)
    assert rig.sink.gone == ([] if how == "close" else [client])
    assert (rig.transport.path(client), rig.limiter.count) == (None, 0)
    rig.transport.close_client(client)
    rig.transport.keep(client, True)


async def test_deadlines(rig: DtlsRig) -> None:
    """For a handshake, for the first message, and between messages without an allocation."""
    half = rig.peer()
    half.sock.send(await half.hello_with_cookie())
    await eventually(lambda: rig.transport.handshakes == 1)
    rig.clock.now += rig.limits.handshake_timeout
    rig.transport.sweep()
    assert (rig.transport.handshakes, rig.limiter.count) == (0, 0)
    silent = await rig.peer().handshake()
    await eventually(lambda: rig.transport.connections == 1)
    rig.clock.now += rig.limits.first_message_timeout
    rig.transport.sweep()
    with pytest.raises(SSL.ZeroReturnError):
        await silent.receive()
    assert rig.sink.gone == []  # the engine never knew it
    client, peer = await rig.client(BINDING)
    rig.transport.keep(client, True)
    rig.clock.now += 1e6
    rig.transport.sweep()
    assert rig.transport.path(client) is not None
    rig.transport.keep(client, False)
    rig.clock.now += rig.limits.idle_timeout - 1
    peer.send(BINDING)
    await eventually(lambda: len(rig.sink.frames) == 2)
    rig.clock.now += rig.limits.idle_timeout - 1
    rig.transport.sweep()
    assert rig.transport.path(client) is not None


async def test_forgeries_do_no_harm(rig: DtlsRig) -> None:
    """RFC 6347 §4.1.2.7: records that are forged, replayed, of another epoch or no records are dropped silently."""
    client, peer = await rig.client(BINDING)
    record = peer.sealed(stun(number=1))
    forged = bytearray(record)
    forged[-1] ^= 1
    alert = b"\x15\xfe\xfd" + bytes(8) + b"\0\2\2\0"
    for bad in (bytes(forged), alert, b"\x14\xfe\xfd" + bytes(8) + b"\0\1\1", record[:20], bytes((22,)) * 60):
        peer.sock.send(bad)
    for _ in range(3):
        peer.sock.send(record)
    await rig.fence()
    assert rig.sink.bodies == [BINDING, stun(number=1)]
    assert rig.transport.path(client) is not None


async def test_a_client_cannot_renegotiate(rig: DtlsRig) -> None:
    """RFC 9325 §3.5: the wish is answered with an alert, and the session goes on or ends, but is not negotiated."""
    client, peer = await rig.client(BINDING)
    peer.tls.renegotiate()
    for record in peer.step():
        peer.sock.send(record)
    answer = await peer.datagram()
    assert [record[0] for record in records_of(answer)] == [21]
    assert (rig.transport.handshakes, rig.sink.faults) == (0, [])
    peer.close()
    assert client


async def test_strays_of_unknown_clients_are_dropped(rig: DtlsRig) -> None:
    """Records of a session that is over, or never was, bring no answer."""
    client, peer = await rig.client(BINDING)
    rig.transport.close_client(client)
    with pytest.raises(SSL.ZeroReturnError):
        await peer.receive()
    peer.sock.send(b"\x17\xfe\xfd\0\1" + bytes(6) + b"\0\x20" + bytes(32))
    await rig.fence()
    assert rig.transport.counters.dropped == 2
    with pytest.raises(BlockingIOError):
        peer.sock.recv(1)


async def test_tos_is_carried_if_it_is_to_be(tmp_path: Path) -> None:
    """RFC 8656 §14: a record is a packet, so DSCP and ECN can be copied."""
    async with DtlsRig(tmp_path, listener={"tos": "copy"}) as rig:
        client, peer = await rig.client(BINDING)
        seen: list[int] = []
        hop = hop_of(rig, client)
        hop.send = lambda data, tos=0: not seen.append(tos)  # type: ignore[method-assign,misc,assignment,func-returns-value]
        peer.sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, 0xB8)
        peer.send(channel_data(b"marked"))
        await eventually(lambda: seen)
        assert seen == [0xB8]


async def test_limits_can_be_replaced(rig: DtlsRig) -> None:
    rig.transport.use(limits(first_message_timeout=3))
    peer: DtlsPeer = await rig.peer().handshake()
    await eventually(lambda: rig.transport.connections == 1)
    rig.clock.now += 3
    rig.transport.sweep()
    with pytest.raises(SSL.ZeroReturnError):
        await peer.receive()


async def test_a_client_that_is_refused_has_no_handshake(tmp_path: Path) -> None:
    """The client ACL: counted with its reason; others are served."""
    async with DtlsRig(tmp_path) as rig:
        rig.limiter.clients = ClientPolicy(deny=(ip_network("127.0.0.9"),))
        refused = rig.peer(name="127.0.0.9")
        refused.sock.send(await refused.hello_with_cookie())
        await eventually(lambda: rig.transport.counters.dropped == 1)
        assert rig.transport.refused[Reason.CLIENT_DENIED] == 1
        await rig.peer().handshake()
        assert rig.limiter.count == 1
