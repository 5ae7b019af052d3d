"""What is put in a lane leaves as it was meant: encrypted where it leaves from, in its order, and only once."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stun.address import Address
from turnserver.batch import SLOT_SIZE, Batch, socket_name
from turnserver.media import srtp
from turnserver.media.lane import LARGEST, Lane
from turnserver.media.srtp import PROFILES, SrtpKeys, SrtpPlace, SrtpReceiver, SrtpSender

HERE = [Address.parse("192.0.2.1", 1000), Address.parse("192.0.2.2", 65535), Address.parse("203.0.113.3", 1)]


def plain(place: SrtpPlace, size: int) -> int:
    return size


def refused(place: SrtpPlace, size: int) -> int:
    return -1


def filled(lane: Lane, count: int) -> None:
    """Put in datagrams of a byte each, which say their number."""
    for number in range(count):
        assert lane.put(bytearray([number % 256]), 1, socket_name(HERE[number % 3]), plain)


def taken(lane: Lane) -> list[tuple[bytes, Address]]:
    return [datagram for batch in lane.drain() for datagram in batch]


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, LARGEST - 12)), max_size=200))
def test_what_leaves_decrypts_to_what_was_meant(packets: list[tuple[int, int]]) -> None:
    """Whatever sizes go to whomever, from memory that is used again for each."""
    keys = SrtpKeys(PROFILES[0], os.urandom(28), os.urandom(28))
    senders = [SrtpSender(keys) for _ in HERE]
    receivers = {address: SrtpReceiver(keys._replace(receiving=keys.sending)) for address in HERE}
    lane = Lane(4)
    memory = bytearray(b"\x80\x60" + bytes(10 + LARGEST))
    meant = []
    for number, (who, size) in enumerate(packets):
        packet = memory[: 12 + size]
        packet[2:4] = number.to_bytes(2, "big")
        packet[12:] = bytes([number % 251]) * size
        meant.append((bytes(packet), HERE[who]))
        assert lane.put(packet, len(packet), socket_name(HERE[who]), senders[who].protect_in)
        packet[:] = bytes(len(packet))
    assert lane.waiting == len(packets)
    found = []
    for data, address in taken(lane):
        plaintext = bytearray(data)
        size = receivers[address].unprotect(plaintext, len(data))
        found.append((bytes(plaintext[: max(size, 0)]), address))
    assert found == meant
    assert lane.waiting == 0


@pytest.mark.parametrize("count", [0, 1, 63, 64, 65, 1000])
def test_they_leave_once_in_their_order(count: int) -> None:
    lane = Lane(4)
    for _ in range(3):
        filled(lane, count)
        assert taken(lane) == [(bytes([number % 256]), HERE[number % 3]) for number in range(count)]
        assert taken(lane) == []


def test_nothing_is_written_over_before_it_was_sent() -> None:
    """Two batches are there at once. None has the memory of another, and each is empty only after all were sent."""
    lane = Lane(4)
    filled(lane, 65)
    batches: list[Batch] = []
    for batch in lane.drain():
        assert lane.waiting == 65
        batches.append(batch)
        assert [data for data, _ in batch] == [bytes([number]) for number in ((64,) if batches[1:] else range(64))]
    assert lane.waiting == 0
    first, second = batches
    assert first.memory is not second.memory
    filled(lane, 1)
    assert list(lane.drain()) == [first], "the same memory again"


def test_a_sender_that_fails_leaves_nothing_behind() -> None:
    lane = Lane(4)
    filled(lane, 100)
    sending = lane.drain()
    next(sending)
    with pytest.raises(RuntimeError):
        sending.throw(RuntimeError("a socket"))
    assert lane.waiting == 0
    assert taken(lane) == []


def test_what_is_refused_takes_no_slot() -> None:
    lane = Lane(4)
    name = socket_name(HERE[0])
    assert not lane.put(bytearray(20), 20, name, refused)
    assert not lane.put(bytearray(LARGEST + 1), LARGEST + 1, name, plain)
    assert lane.waiting == 0
    assert lane.put(bytearray(LARGEST), LARGEST, name, lambda place, size: size + srtp.TRAILER)
    ((data, address),) = taken(lane)
    assert (len(data), address) == (SLOT_SIZE, HERE[0])


def test_a_size_that_is_wrong_does_not_reach_the_next_slot() -> None:
    lane = Lane(4)
    with pytest.raises(BufferError):
        lane.put(bytearray(100), 99, socket_name(HERE[0]), plain)
    filled(lane, 2)
    assert [data for data, _ in taken(lane)] == [b"\0", b"\1"]


def test_memory_is_bounded_once_a_burst_is_over() -> None:
    lane = Lane(4)
    filled(lane, 2000)
    assert len(lane._batches) == 32
    taken(lane)
    assert len(lane._batches) == 4


def test_the_copying_cipher_has_places_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(srtp, "_native", None)
    test_what_leaves_decrypts_to_what_was_meant.hypothesis.inner_test([(0, 5), (1, 1200), (0, 0)])
