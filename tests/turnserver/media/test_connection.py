"""Connections by hand: establishment, media both ways, moves, time, ends, and those who mean no good."""

import struct

import pytest

from stun.address import Address
from stun.constants import MessageClass
from tests.support.media_peer import MediaClient, connection, rtp_packet
from turnserver.media.connection import (
    BURST,
    CONNECT_LIMIT,
    INITIAL_PACE,
    LARGEST_RTP,
    MOST_PACED,
    Closed,
    Connected,
    ConnectionEvent,
    Failed,
    PeerConnection,
    Rtcp,
    Rtp,
    Wire,
)
from turnserver.media.dtls import DtlsRole
from turnserver.media.ice import CONSENT_LIFETIME, IceCredentials
from turnserver.media.lane import LARGEST
from turnserver.media.rtcp import Pli
from turnserver.media.rtp import build_packet, extensions, read_header

HOME = Address.parse("192.0.2.1", 1111)
MOBILE = Address.parse("198.51.100.2", 2222)
STRANGER = Address.parse("203.0.113.66", 6666)
PLI = struct.pack("!BBHII", 0x81, 206, 2, 1, 7)
REPORT = struct.pack("!BBHI", 0x80, 201, 1, 1)


def events(server: PeerConnection) -> list[ConnectionEvent]:
    taken = list(server.events)
    server.events.clear()
    return taken


def connected(*, role: DtlsRole = "client") -> tuple[PeerConnection, MediaClient]:
    server = connection()
    client = MediaClient(server, HOME)
    client.meet(role=role)
    client.connect()
    assert events(server) == [Connected("SRTP_AEAD_AES_128_GCM")]
    assert server.state == "connected"
    assert server.selected == HOME
    return server, client


@pytest.mark.parametrize("role", ["client", "server"])
def test_media_both_ways(role: DtlsRole) -> None:
    """In either role of DTLS. What is received is decrypted where it lies."""
    server, client = connected(role=role)
    data = client.protected(rtp_packet(5))
    memory = memoryview(bytearray(data) + b"rest of a slot")
    server.receive(memory, len(data), HOME, 1.0)
    (event,) = events(server)
    assert isinstance(event, Rtp)
    assert event.packet is memory
    assert memory[: event.size] == rtp_packet(5)
    assert (event.header.sequence, event.header.ssrc, event.header.payload_type) == (5, 7, 96)
    assert client.sender is not None
    protected = client.sender.protect_rtcp(REPORT + PLI)
    assert protected is not None
    client.put(protected, 1.0)
    (event,) = events(server)
    assert isinstance(event, Rtcp)
    assert Pli(1, 7) in event.packets
    assert server.send_rtp(rtp_packet(9), len(rtp_packet(9)), audio=True)
    assert server.send_rtp(rtp_packet(10), len(rtp_packet(10)))
    assert server.send_rtcp(REPORT + PLI)
    client.exchange(1.0)
    assert client.rtp == [rtp_packet(9), rtp_packet(10)]
    assert client.rtcp == [REPORT + PLI]
    assert server.dropped == 0


def test_a_sequence_number_is_sent_once() -> None:
    server, client = connected()
    assert server.send_rtp(rtp_packet(9), len(rtp_packet(9)))
    assert not server.send_rtp(rtp_packet(9), len(rtp_packet(9)))
    client.exchange(1.0)
    assert len(client.rtp) == 1
    assert server.dropped == 1


def test_nothing_is_sent_before_there_is_a_connection() -> None:
    server = connection()
    assert not server.send_rtp(rtp_packet(1), 17, audio=True)
    assert not server.send_rtp(rtp_packet(1), 17)
    assert not server.send_rtcp(REPORT)
    assert server.wire.take() == []


def test_checks_that_come_before_the_answer() -> None:
    """A browser begins when it has made its answer, which takes its time to get here. DTLS waits."""
    server = connection()
    client = MediaClient(server, HOME)
    client.put(client.check(nominate=True), 0.0)
    client.exchange(0.0)
    assert [each.message_class for each in client.responses] == [MessageClass.SUCCESS]
    client.meet()
    client.flush(0.0)
    client.connect(1.0)
    assert server.state == "connected"


def test_sound_leaves_before_pictures_and_bursts_are_paced() -> None:
    """A keyframe of 60 packets waits for its turn, in its order; the sound after it does not."""
    server, client = connected()
    size = 1200
    for number in range(60):
        assert server.send_rtp(rtp_packet(number, payload=bytes(size - 12)), size)
    assert server.send_rtp(rtp_packet(1, ssrc=8, payload_type=111), 17, audio=True)
    assert server in server.wire.restless
    assert server.waiting == 60 * size - BURST // size * size
    client.exchange(0.0)
    assert [packet[1] for packet in client.rtp] == [111] + [96] * (BURST // size)
    turns = 0
    while server.waiting:
        deadline = server.deadline
        assert deadline is not None
        server.expire(deadline + 1e-6)
        client.exchange(deadline)
        turns += 1
    assert turns > 5
    assert [int.from_bytes(packet[2:4], "big") for packet in client.rtp[1:]] == list(range(60))
    assert deadline == pytest.approx((60 * size - BURST) * 8 / INITIAL_PACE, rel=0.1)


def test_a_packet_that_is_too_large_is_dropped_and_holds_nobody_up() -> None:
    """At once, and when it has waited."""
    server, client = connected()
    for number, waits in enumerate((False, True)):
        while waits and not server.waiting:
            server.send_rtp(rtp_packet(1, ssrc=9, payload=bytes(1188)), 1200)
        sent = [server.send_rtp(packet, len(packet)) for packet in large_and_small(3 * number)]
        assert sent == [True, False, True]
        server.expire(1.0 + number)
        client.exchange(1.0 + number)
        numbers = [int.from_bytes(packet[2:4], "big") for packet in client.rtp if packet[11] == 7]
        assert numbers[2 * number :] == [3 * number, 3 * number + 2]
    assert max(len(packet) for packet in client.rtp) == LARGEST


def large_and_small(first: int) -> list[bytearray]:
    sizes = (LARGEST, LARGEST + 1, 1200)
    return [rtp_packet(first + at, payload=bytes(size - 12)) for at, size in enumerate(sizes)]


def test_what_waits_and_what_has_left_stays_as_it_was() -> None:
    """The caller's memory is used again at once, for other receivers."""
    server, client = connected()
    memory = rtp_packet(0, payload=bytes(1188))
    wanted = []
    for number in range(30):
        memory[2:4] = number.to_bytes(2, "big")
        memory[12:] = bytes([number]) * 1188
        wanted.append(bytes(memory))
        assert server.send_rtp(memory, len(memory))
    memory[:] = bytes(len(memory))
    assert server.waiting
    while server.waiting:
        deadline = server.deadline
        assert deadline is not None
        server.expire(deadline + 1e-6)
    client.exchange(1.0)
    assert client.rtp == wanted


def test_a_packet_that_would_be_sent_on_in_fragments_is_dropped() -> None:
    server, client = connected()
    for size in (LARGEST_RTP, LARGEST_RTP + 1):
        client.put(client.protected(rtp_packet(size, payload=bytes(size - 12))), 1.0)
    assert [event.size for event in events(server) if isinstance(event, Rtp)] == [LARGEST_RTP]
    assert server.dropped == 1


def test_a_slower_pace_and_what_does_not_fit() -> None:
    server, client = connected()
    server.pace(160_000)
    size = 1_000
    sent = 0
    while server.send_rtp(rtp_packet(sent, payload=bytes(size - 12)), size):
        sent += 1
    assert sent == BURST // size + 20, "what leaves within a second"
    assert server.dropped == 1
    server.pace(136_000)
    assert (server.waiting, server.dropped) == (17 * size, 4), "the oldest are dropped first"
    client.exchange(0.0)
    server.expire(0.5)
    client.exchange(0.5)
    assert len(client.rtp) == 15 + 8, "a burst at once, and 17,000 bytes a second"
    assert int.from_bytes(client.rtp[15][2:4], "big") == 15 + 3
    server.close()
    assert server.waiting == 0


def test_what_waits_is_bounded_at_any_pace() -> None:
    server, _ = connected()
    server.pace(1e9)
    size, sent = 1_000, 0
    while server.send_rtp(rtp_packet(sent, payload=bytes(size - 12)), size):
        sent += 1
    assert MOST_PACED - size < server.waiting <= MOST_PACED


def test_what_nobody_is_to_see_any_more_does_not_leave() -> None:
    server, client = connected()
    size = 1200
    for number in range(60):
        assert server.send_rtp(rtp_packet(number, ssrc=7 + number % 2, payload=bytes(size - 12)), size)
    waiting = server.waiting
    client.exchange(0.0)
    client.rtp.clear()
    server.purge([7, 99])
    assert server.waiting == waiting / 2
    server.expire(10.0)
    server.expire(20.0)
    server.expire(30.0)
    client.exchange(30.0)
    assert {packet[11] for packet in client.rtp} == {8}


def test_what_was_paced_says_when_it_left() -> None:
    """In abs-send-time, and nowhere else; what left at once keeps what was written."""
    server, client = connected()
    server.send_time = 2
    server.pace(12_000)
    at_once = 0
    for number in range(60):
        times = {1: b"\xff\xff\xff", 2: b"abc"}
        packet = build_packet(
            payload_type=96, sequence=number, timestamp=0, ssrc=7, payload=bytes(1000), extensions=times
        )
        if not server.send_rtp(packet, len(packet)):
            break
        at_once += not server.waiting
    server.expire(20.0)
    client.exchange(20.0)
    found = []
    for each in client.rtp:
        header = read_header(each, len(each))
        assert header is not None
        found.append({number: each[at : at + length] for number, at, length in extensions(each, header)})
    stamp = (20 * 262_144).to_bytes(3, "big")
    late = len(found) - at_once
    assert late > 1
    times = [b"abc"] * at_once + [stamp] * late
    assert found == [{1: b"\xff\xff\xff", 2: time} for time in times]


def test_a_phone_leaves_wifi() -> None:
    """The new path is used when it has answered; media that comes from it counts at once."""
    server, client = connected()
    client.source = MOBILE
    client.answers = False
    client.put(client.check(nominate=True), 1.0)
    client.exchange(1.0)
    assert server.selected == HOME
    data = client.protected(rtp_packet(5))
    client.put(data, 1.0)
    assert len(events(server)) == 1
    client.answers = True
    client.put(client.check(nominate=True), 2.0)
    client.exchange(2.0)
    assert server.selected == MOBILE
    assert server.send_rtp(rtp_packet(9), 17)
    client.exchange(2.0)
    assert client.rtp == [rtp_packet(9)]


def test_an_ice_restart() -> None:
    """DTLS and media go on as they are."""
    server, client = connected()
    client.credentials = IceCredentials("anew", "a" * 24)
    server.restart(IceCredentials("second", "s" * 24), client.credentials)
    assert server.ufrags == ("second", "ours")
    assert server.send_rtp(rtp_packet(1), 17)
    client.exchange(1.0)
    client.source = MOBILE
    client.put(client.check(nominate=True), 2.0)
    client.exchange(2.0)
    assert server.selected == MOBILE
    assert server.ufrags == ("second",)
    assert server.send_rtp(rtp_packet(2), 17)
    client.exchange(2.0)
    assert len(client.rtp) == 2
    assert events(server) == []


# Time and ends


def test_a_connection_that_never_comes() -> None:
    server = connection(now=5.0)
    assert server.deadline == 5.0 + CONNECT_LIMIT
    server.expire(5.0 + CONNECT_LIMIT - 0.1)
    assert events(server) == []
    server.expire(5.0 + CONNECT_LIMIT)
    (event,) = events(server)
    assert isinstance(event, Failed)
    assert event.reason == "connect"
    assert server.deadline is None


def test_consent_ends_without_checks() -> None:
    server, client = connected()
    client.put(client.check(), 10.0)
    assert server.deadline == 10.0 + CONSENT_LIFETIME
    server.expire(10.0 + CONSENT_LIFETIME)
    (event,) = events(server)
    assert isinstance(event, Failed)
    assert event.reason == "consent"
    server.wire.take()
    assert not server.send_rtp(rtp_packet(1), 17, audio=True)
    client.put(client.check(), 50.0)
    assert server.wire.take() == []


def test_a_lost_flight_is_sent_again() -> None:
    """OpenSSL's own clock decides; what is due at first is in a second."""
    server = connection()
    client = MediaClient(server, HOME)
    client.meet(role="server")
    client.put(client.check(nominate=True), 0.0)
    client.exchange(0.0)
    deadline = server.deadline
    assert deadline is not None
    assert 0 < deadline <= 1.0


def test_the_other_side_closes() -> None:
    server, client = connected()
    assert client.handshake is not None
    for datagram in client.handshake.close():
        client.put(datagram, 1.0)
    assert events(server) == [Closed()]
    assert server.state == "ended"


def test_this_side_closes() -> None:
    """And says so, once."""
    server, _ = connected()
    server.close()
    server.close()
    ((alert, to),) = server.wire.take()
    assert (alert[0], to) == (21, HOME)
    assert server.deadline is None
    fresh = connection()
    fresh.close()
    assert fresh.wire.take() == []


# Those who mean no good


def test_a_wrong_certificate() -> None:
    server = connection()
    client = MediaClient(server, HOME, whose="somebody else")
    client.meet()
    honest = MediaClient(server, HOME)
    server = client.server = connection()
    server.remote(client.credentials, [honest.identity.fingerprint], "server")
    client.connect()
    (event,) = events(server)
    assert isinstance(event, Failed)
    assert event.reason == "certificate"
    assert not server.send_rtp(rtp_packet(1), 17, audio=True)


def test_wrong_passwords_and_ufrags_make_no_path() -> None:
    server = connection()
    client = MediaClient(server, STRANGER)
    client.put(client.check(nominate=True, pwd="w" * 24), 0.0)
    assert not server.paths
    client.exchange(0.0)
    assert [each.message_class for each in client.responses] == [MessageClass.ERROR]


def test_media_from_another_source_is_dropped() -> None:
    """A genuine packet, too: only paths with a check may send. It can still come the right way."""
    server, client = connected()
    data = client.protected(rtp_packet(5))
    client.put(data, 1.0, source=STRANGER)
    assert events(server) == []
    assert server.dropped == 1
    client.put(data, 1.0)
    assert len(events(server)) == 1


def test_replays_and_noise_are_dropped() -> None:
    server, client = connected()
    data = client.protected(rtp_packet(5))
    for _ in range(3):
        client.put(data, 1.0)
    noise = [
        bytes([first, second]) + bytes(length)
        for first in range(0, 256, 5)
        for second in (0, 200)
        for length in (0, 40)
    ]
    for each in noise:
        client.put(each, 1.0)
    client.put(b"", 1.0)
    assert len(events(server)) == 1
    assert server.dropped >= 2 + len(noise) // 2
    assert server.state == "connected"
    client.exchange(1.0)


def test_no_more_than_three_times_what_came() -> None:
    """To an address that does not answer, whatever is sent from it: checks, handshakes, handshakes again."""
    server = connection()
    client = MediaClient(server, HOME)
    client.meet()
    client.answers = False
    assert client.handshake is not None
    (hello,) = client.handshake.flight()
    came = went = 0
    for round_ in range(40):
        for data in (client.check(nominate=round_ % 3 == 0), hello):
            client.put(data, 0.01 * round_)
            came += len(data)
            went += sum(len(data) for data, _ in server.wire.take())
            assert went <= 3 * came
    assert went > 0
    assert server.state == "new"


def test_the_handshake_proves_only_the_path_it_went_over() -> None:
    """One who answers at home has nothing sent to another address, whose datagrams it forges."""
    server = connection()
    client = MediaClient(server, HOME)
    client.meet()
    client.answers = False
    client.put(client.check(nominate=True), 0.0)
    client.put(client.check(), 0.0, source=MOBILE)
    server.wire.take()
    client.flush(0.0)
    client.exchange(0.0)
    assert client.handshake is not None
    for datagram in client.handshake.flight():
        client.put(datagram, 0.0, source=MOBILE)
    assert not server.paths[MOBILE].proven
    assert server.selected is None
    assert events(server) == []


def test_events_are_bounded() -> None:
    """An owner who does not take them loses the latest, not the memory."""
    server, client = connected()
    for number in range(2000):
        client.put(client.protected(rtp_packet(number)), 1.0)
    assert len(events(server)) == 512


def test_connections_share_a_wire() -> None:
    wire = Wire()
    one, two = connection("one1", wire), connection("two2", wire)
    one.receive(bytearray(b"\x00"), 1, HOME, 7.0)
    assert wire.now == 7.0
    client = MediaClient(two, HOME)
    client.put(client.check(), 8.0)
    assert [to for _, to in wire.take()] == [HOME]
    assert wire.take() == []
