"""Batches as the kernel sees them: `tests.turnserver.test_sender` sends them."""

import socket
import struct

import pytest

from stun.address import Address
from turnserver.batch import SLOT_SIZE, Batch, socket_name


@pytest.mark.parametrize("host", ["192.0.2.7", "2001:db8::7"])
def test_a_name_is_a_socket_address(host: str) -> None:
    family = socket.AF_INET if "." in host else socket.AF_INET6
    name = socket_name(Address.parse(host, 0xABCD))
    assert struct.unpack_from("=H", name) == (family,)
    assert name[2:4] == b"\xab\xcd"
    assert socket.inet_pton(family, host) in bytes(name)
    assert len(name) == (16 if family == socket.AF_INET else 28)


@pytest.mark.parametrize("length", [4, 16])
def test_what_is_in_a_batch(length: int) -> None:
    batch = Batch(length, 3)
    datagrams = [
        (bytes([number]) * size, Address(bytes(length - 1) + bytes([number]), 60_000 + number))
        for number, size in enumerate((0, SLOT_SIZE, 7))
    ]
    for data, address in datagrams:
        batch.add(data, socket_name(address))
    assert list(batch) == datagrams
    batch.count = 0
    assert list(batch) == []
    batch.add(b"another", socket_name(datagrams[0][1]))
    assert list(batch) == [(b"another", datagrams[0][1])]


def test_the_memory_stays_where_it_is() -> None:
    """What does not fit is an error: the kernel reads at the addresses that were laid out."""
    batch = Batch(4, 1)
    with pytest.raises(BufferError):
        batch.add(b"x", socket_name(Address(bytes(16), 1)))
    with pytest.raises(BufferError):
        batch.add(bytes(SLOT_SIZE + 1), socket_name(Address(bytes(4), 1)))
    assert list(batch) == []
