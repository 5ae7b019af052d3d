"""One association on memory: records, handshake, bounds, ends."""

from pathlib import Path
from typing import Any

import pytest
from OpenSSL import SSL

from tests.support.certificates import issue
from turnserver.dtls import (
    HEADER_SIZE,
    MAX_MESSAGE,
    DtlsClosed,
    DtlsFailed,
    DtlsSession,
    is_client_hello,
    records,
    secured,
)
from turnserver.transports.dtls_context import DtlsContexts
from turnserver.transports.dtls_hello import read_hello, verify_request


def server_context(directory: Path) -> SSL.Context:
    pair = issue(directory)
    return DtlsContexts().of(((pair.certificate.read_bytes(), pair.key.read_bytes()),))


def client_session(*, cafile: Path | None = None) -> DtlsSession:
    context = secured(SSL.Context(SSL.DTLS_CLIENT_METHOD))
    if cafile is not None:
        context.load_verify_locations(str(cafile))
        context.set_verify(SSL.VERIFY_PEER)
    session = DtlsSession.connect(context, "localhost", 1200)
    session.begin()
    return session


def with_cookie(client: DtlsSession) -> bytes:
    (datagram,) = client.flight()
    hello = read_hello(datagram)
    assert hello is not None
    client.feed(verify_request(hello, b"c" * 20))
    (datagram,) = client.flight()
    return datagram


def half(context: SSL.Context, client: DtlsSession, mtu: int = 1200) -> DtlsSession:
    server = DtlsSession.accept(context, with_cookie(client), mtu)
    server.begin()
    return server


def carry(source: DtlsSession, target: DtlsSession) -> list[int]:
    sizes = []
    for datagram in source.flight():
        sizes.append(len(datagram))
        for record in records(datagram):
            target.feed(record)
    return sizes


def pair(context: SSL.Context) -> tuple[DtlsSession, DtlsSession]:
    client = client_session()
    server = half(context, client)
    shake(client, server)
    return client, server


def shake(client: DtlsSession, server: DtlsSession) -> None:
    for _ in range(3):
        carry(server, client)
        carry(client, server)
    assert client.established
    assert server.established


def test_messages_both_ways(tmp_path: Path) -> None:
    """RFC 7350 §3: one record, one message, up to 16,384 bytes; nothing waits for a timer once it is established."""
    client, server = pair(server_context(tmp_path))
    for message in (b"", b"x", bytes(MAX_MESSAGE)):
        for one, other in ((client, server), (server, client)):
            record = one.seal(memoryview(message))
            if record is None:
                assert message == b""  # OpenSSL has no empty records
                continue
            assert len(record) - len(message) < 64
            assert list(records(record)) == [record]
            assert other.feed(record) == message
            assert other.feed(record) is None  # a replay
    assert client.seal(bytes(MAX_MESSAGE + 1)) is None
    assert (client.timeout(), server.timeout(), server.flight()) == (None, None, [])
    server.retransmit()


@pytest.mark.parametrize("mtu", [300, 1232])
def test_flights_fit(tmp_path: Path, mtu: int) -> None:
    """RFC 6347 §4.1.1: a flight in as few datagrams as there may be, none longer than the path."""
    client = client_session()
    server = half(server_context(tmp_path), client, mtu)
    sizes = carry(server, client)
    assert max(sizes) <= mtu
    assert len(sizes) == (1 if mtu == 1232 else 3)
    assert client.flight()


def test_retransmissions_become_smaller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """RFC 6347 §4.1.1.1: after two of them in vain, a flight comes in datagrams that every host takes."""
    client = client_session()
    server = half(server_context(tmp_path), client, 1232)
    assert [len(datagram) > 548 for datagram in server.flight()] == [True]
    timeout = server.timeout()
    assert timeout is not None
    assert 0 < timeout <= 1
    server.retransmit()
    assert server.flight() == []  # it is not time yet
    mtus: list[int] = []
    monkeypatch.setattr(SSL.Connection, "DTLSv1_handle_timeout", lambda _: True)
    monkeypatch.setattr(SSL.Connection, "set_ciphertext_mtu", lambda _, mtu: mtus.append(mtu))
    for _ in range(5):
        server.retransmit()
    assert mtus == [548]


def test_what_a_handshake_can_pile_up_is_bounded(tmp_path: Path) -> None:
    """OpenSSL would take 100 KB for a fragment, and 16 KB for each of a hundred records of the next epoch."""
    client = client_session()
    server = half(server_context(tmp_path), client)
    taken: list[int] = []

    class Spy:
        def __getattr__(self, name: str) -> Any:
            return getattr(connection, name)

        def bio_write(self, data: bytes) -> int:
            taken.append(len(data))
            return connection.bio_write(data)

    connection: Any = server.connection
    spy: Any = Spy()
    server._connection = spy
    fragment = b"\x0b" + (50_000).to_bytes(3, "big") + b"\0\2" + bytes(3) + (10).to_bytes(3, "big") + bytes(10)
    short = b"\x10" + (30).to_bytes(3, "big") + b"\0\2" + bytes(3) + (30).to_bytes(3, "big") + bytes(30)
    for bad in (fragment, fragment[:9], short + fragment, short[:-1]):
        server.feed(b"\x16\xfe\xfd" + bytes(7) + b"\x09" + len(bad).to_bytes(2, "big") + bad)
    assert taken == []
    for number in range(100):
        server.feed(b"\x17\xfe\xfd\0\1" + number.to_bytes(6, "big") + b"\0\x20" + bytes(32))
    assert len(taken) == 16


def test_noise_does_not_keep_a_handshake_from_its_end(tmp_path: Path) -> None:
    """RFC 6347 §4.1.2.7: what does not belong to it is dropped silently."""
    client = client_session()
    server = half(server_context(tmp_path), client)
    for number in range(15):
        server.feed(b"\x17\xfe\xfd\0\1" + number.to_bytes(6, "big") + b"\0\x20" + bytes(32))
        server.feed(b"\x14\xfe\xfd" + bytes(7) + bytes((50 + number,)) + b"\0\1\1")
    shake(client, server)


def test_goodbyes(tmp_path: Path) -> None:
    """RFC 5246 §7.2.1: close_notify from either side; before the handshake is complete there is nothing to say."""
    context = server_context(tmp_path)
    for closing, other in (pair(context), reversed(pair(context))):
        (datagram,) = closing.close()
        with pytest.raises(DtlsClosed):
            other.feed(datagram)
        assert closing.seal(b"late") is None
        assert len(other.close()) == 1
    assert half(context, client_session()).close() == []


def test_alerts_are_told_from_own_failures(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    client = client_session(cafile=issue(tmp_path / "other").certificate)
    server = half(server_context(tmp_path), client)
    with pytest.raises(DtlsFailed, match="certificate verify failed") as caught:
        carry(server, client)
    assert not caught.value.alert
    with pytest.raises(DtlsFailed, match=r"unknown ca|bad certificate") as caught:
        carry(client, server)
    assert caught.value.alert


def test_what_is_no_hello_makes_no_session(tmp_path: Path) -> None:
    context = server_context(tmp_path)
    for record in (b"\x17\xfe\xfd" + bytes(30), bytes(40), b"\x16\xfe\xfd" + bytes(8) + b"\0\x0c\x01" + bytes(11)):
        with pytest.raises(DtlsFailed):
            DtlsSession.accept(context, record, 1200).begin()


def test_records() -> None:
    """RFC 6347 §4.1: in a row; what is cut off is left out, with all that follows."""
    one, two = (b"\x17\xfe\xfd" + bytes(8) + bytes((0, size)) + bytes(size) for size in (5, 0))
    assert list(records(one + two + one)) == [one, two, one]
    assert list(records(memoryview(one + two[:-1]))) == [one]
    assert list(records(one[:-1] + two)) == [(one[:-1] + two)[: len(one)]]
    assert list(records(b"")) == list(records(bytes(HEADER_SIZE - 1))) == []
    assert is_client_hello(b"\x16\xfe\xfd" + bytes(8) + b"\0\1\1")
    assert not is_client_hello(b"\x16\xfe\xfd" + bytes(10))
    assert not is_client_hello(b"\x16\xfe\xfd\0\1" + bytes(6) + b"\0\1\1")
