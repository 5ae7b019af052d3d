"""The probe's TCP and TLS links, on loopback, against servers of a few lines."""

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import Any

import pytest

from cli.probe.link import Opened
from cli.probe.securing import open_stream
from cli.probe.security import Trust
from cli.probe.trouble import LinkError, broken
from stun import channeldata
from stun.address import Address
from stun.client.errors import ServerUnreachable
from stun.constants import MessageClass, Method
from stun.message import MessageBuilder
from stun.uri import StunUri
from tests.support.handler_server import Handler, echo, serving

Certify = Callable[..., Any]

TCP = StunUri.parse("turn:127.0.0.1?transport=tcp")
TLS = StunUri.parse("turns:127.0.0.1")
REQUEST = MessageBuilder(Method.BINDING, MessageClass.REQUEST, bytes(12)).build()
PATIENCE = 90.0


def server_context(certified: Any) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certified.certificate, certified.key)
    return context


def saying(data: bytes) -> Handler:
    """A server that waits for a request, says ``data`` and closes."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(len(REQUEST))
        writer.write(data)

    return handler


class Ear:
    """Hears a link, as the probe does: frames in order, and what ends it in the probe's words."""

    def __init__(self, opened: Opened) -> None:
        self._tls = opened.tls
        self._heard: asyncio.Queue[bytes | ServerUnreachable] = asyncio.Queue()
        opened.link.start(self)

    def frame_received(self, frame: bytes) -> None:
        self._heard.put_nowait(frame)

    def link_troubled(self, error: ServerUnreachable) -> None:
        self._heard.put_nowait(error)

    def link_ended(self, error: ServerUnreachable) -> None:
        self._heard.put_nowait(error)

    async def receive(self) -> bytes:
        async with asyncio.timeout(PATIENCE):
            heard = await self._heard.get()
        if isinstance(heard, ServerUnreachable):
            raise broken(heard, self._tls) from heard
        return heard


async def test_frames_go_there_and_back_whole() -> None:
    """RFC 8656 §12.5: a stream is cut into messages wherever it was chopped up, and padding is not part of them."""
    sent = [REQUEST, channeldata.encode_padded(0x4001, b"abcde"), REQUEST]

    async def one_byte_at_a_time(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for byte in await reader.readexactly(sum(map(len, sent))):
            writer.write(bytes([byte]))
            await writer.drain()

    async with serving(one_byte_at_a_time) as address:
        opened = await open_stream(TCP, address, Trust(), PATIENCE)
        ear = Ear(opened)
        for frame in sent:
            opened.link.send(frame)
        assert [await ear.receive() for _ in sent] == [REQUEST, channeldata.encode(0x4001, b"abcde"), REQUEST]
        assert ([step.name for step in opened.steps], opened.tls, opened.link.reliable) == (["connect"], None, True)
        with pytest.raises(LinkError, match="The server closed the connection") as caught:
            await ear.receive()
        assert "log" in caught.value.hint
        await opened.link.close()


@pytest.mark.parametrize(
    ("said", "sentence", "hint"),
    [
        (b"", "closed the connection", "may not be a TURN server"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "neither STUN nor ChannelData", "a web server"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "neither STUN nor ChannelData", "an SSH server"),
        (b"\x15\x03\x03\x00\x02\x02\x28", "neither STUN nor ChannelData", "a TLS server"),
        (b"220 mail.example.org ESMTP\r\n", "neither STUN nor ChannelData", "a mail or file server"),
        (b"\xff\xff\xff\xff", "neither STUN nor ChannelData", "no TURN server"),
    ],
)
async def test_what_else_may_listen_there(said: bytes, sentence: str, hint: str) -> None:
    """RFC 8656 §12.5: what is no frame ends the probe at once, and the likely reason is named."""
    async with serving(saying(said)) as address:
        opened = await open_stream(TCP, address, Trust(), PATIENCE)
        ear = Ear(opened)
        opened.link.send(REQUEST)
        with pytest.raises(LinkError, match=sentence) as caught:
            await ear.receive()
        assert hint in caught.value.hint
        await opened.link.close()


async def test_nonsense_after_an_answer() -> None:
    """RFC 8656 §12.5: a stream that has gone out of step cannot be read on."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in (REQUEST, b"\xff" * 4):
            await reader.readexactly(len(REQUEST))
            writer.write(answer)

    async with serving(handler) as address:
        opened = await open_stream(TCP, address, Trust(), PATIENCE)
        ear = Ear(opened)
        opened.link.send(REQUEST)
        assert await ear.receive() == REQUEST
        opened.link.send(REQUEST)
        with pytest.raises(LinkError, match="neither STUN nor ChannelData") as caught:
            await ear.receive()
        assert "RFC 8656" in caught.value.hint
        await opened.link.close()


async def test_a_closed_port_says_so() -> None:
    """Rule 26: the same sentence as over UDP, and the step that failed."""
    async with serving(echo) as address:
        pass
    for uri in (TCP, TLS):
        with pytest.raises(LinkError, match="Nothing listens there") as caught:
            await open_stream(uri, address, Trust(), PATIENCE)
        assert (caught.value.step, caught.value.opened) == ("connect", ())


async def test_a_connection_that_does_not_come(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rule 26: packets that are dropped on the way are a sentence after the time that was given."""

    async def never(*arguments: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(asyncio.get_running_loop(), "sock_connect", never)
    with pytest.raises(LinkError, match=r"No TCP connection in 0\.01 s") as caught:
        await open_stream(TCP, Address.parse("127.0.0.1", 9), Trust(), 0.01)
    assert "firewall" in caught.value.hint


async def test_a_trusted_server(certify: Certify) -> None:
    """RFC 8489 §6.2.3: the chain leads to a trusted root and the certificate is for the host; facts are shown."""
    root = certify(label="root")
    middle = certify(by=root, label="intermediate")
    server = certify("127.0.0.1", by=middle, chain=(middle,))
    context = server_context(server)
    context.set_alpn_protocols(["http/1.1", "stun.turn"])
    async with serving(echo, context) as address:
        opened = await open_stream(TLS, address, Trust(root.certificate), PATIENCE)
        ear = Ear(opened)
        opened.link.send(REQUEST)
        assert await ear.receive() == REQUEST
        await opened.link.close()
    facts = opened.tls
    assert facts is not None
    assert facts.certificate is not None
    assert (facts.trusted, facts.alpn, facts.version) == (True, "stun.turn", "TLSv1.3")
    assert facts.certificate.names == ("127.0.0.1",)
    assert facts.certificate.issuer == "CN=intermediate 1"
    assert [(step.name, step.ok, step.hint) for step in opened.steps] == [("connect", True, ""), ("tls", True, "")]
    assert "trusted" in opened.steps[1].sentence


async def test_a_certificate_that_ends_soon_is_mentioned(certify: Certify) -> None:
    """Rule 26: it works today and will not in a few days."""
    server = certify("127.0.0.1", days=3.5)
    async with serving(echo, server_context(server)) as address:
        opened = await open_stream(TLS, address, Trust(server.certificate), PATIENCE)
        await opened.link.close()
    assert "expires in 3 days" in opened.steps[1].hint


@pytest.mark.parametrize(
    ("case", "sentence", "hint"),
    [
        ("self-signed", "self-signed", "--ca-file"),
        ("expired", "has expired", "Renew"),
        ("early", "not valid yet", "clocks"),
        ("name", "is not for 127.0.0.1", "(turn.example.org, 192.0.2.1)"),
        ("chain", "does not know who issued", "fullchain"),
    ],
)
async def test_a_server_that_cannot_be_trusted(certify: Certify, case: str, sentence: str, hint: str) -> None:
    """RFC 8489 §6.2.3: nothing but a handshake reaches it; its certificate is shown all the same."""
    root = certify(label="root", age=100, days=100)
    middle = certify(by=root, label="intermediate")
    server = {
        "self-signed": lambda: certify("127.0.0.1"),
        "expired": lambda: certify("127.0.0.1", by=root, age=10, days=-1),
        "early": lambda: certify("127.0.0.1", by=root, age=-1, days=10),
        "name": lambda: certify("turn.example.org", "192.0.2.1", by=root),
        "chain": lambda: certify("127.0.0.1", by=middle),
    }[case]()
    received: asyncio.Queue[bytes] = asyncio.Queue()

    async def recording(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.put_nowait(await reader.read())

    async with serving(recording, server_context(server)) as address:
        with pytest.raises(LinkError, match=sentence) as caught:
            await open_stream(TLS, address, Trust(root.certificate), PATIENCE)
        async with asyncio.timeout(PATIENCE):
            assert await received.get() == b""
    error = caught.value
    assert hint in error.hint
    assert (error.step, [step.name for step in error.opened]) == ("tls", ["connect"])
    assert error.tls is not None
    assert error.tls.certificate is not None
    assert (error.tls.trusted, error.tls.trouble) == (False, str(error))
    assert error.tls.certificate.subject == server.parsed.subject.rfc4514_string()


async def test_going_on_without_trust(certify: Certify) -> None:
    """RFC 8489 §6.2.3: --insecure talks to anybody, and says that it is not trusted."""
    async with serving(echo, server_context(certify("turn.example.org"))) as address:
        opened = await open_stream(TLS, address, Trust(insecure=True), PATIENCE)
        ear = Ear(opened)
        opened.link.send(REQUEST)
        assert await ear.receive() == REQUEST
        await opened.link.close()
    assert opened.tls is not None
    assert not opened.tls.trusted
    assert opened.steps[1].ok
    assert "Not trusted: " in opened.steps[1].sentence
    assert "browsers would not" in opened.steps[1].hint


async def test_insecure_with_a_server_that_can_be_trusted(certify: Certify) -> None:
    """RFC 8489 §6.2.3: --insecure does not call a good certificate a bad one."""
    server = certify("127.0.0.1")
    async with serving(echo, server_context(server)) as address:
        opened = await open_stream(TLS, address, Trust(server.certificate, insecure=True), PATIENCE)
        await opened.link.close()
    assert opened.tls is not None
    assert opened.tls.trusted


async def test_a_server_that_does_not_speak_tls() -> None:
    """RFC 8446 §4.1: an answer that is no handshake, and none at all."""

    async def web(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async def gone(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        writer.transport.abort()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    cases: list[tuple[Handler, float, str]] = [
        (web, PATIENCE, "does not speak TLS"),
        (gone, PATIENCE, "closed the connection during the TLS handshake"),
        (silent, 0.3, r"did not complete in 0\.3 s"),
    ]
    for handler, patience, words in cases:
        async with serving(handler) as address:
            with pytest.raises(LinkError, match=words) as caught:
                await open_stream(TLS, address, Trust(), patience)
        assert (caught.value.step, [step.name for step in caught.value.opened]) == ("tls", ["connect"])


async def test_a_server_that_refuses_alpn(certify: Certify) -> None:
    """RFC 7301 §3.2, RFC 7443: what clients without ALPN can use is not called broken."""
    server = certify("127.0.0.1")
    hellos = []

    async def picky(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        hellos.append(writer)
        if len(hellos) == 1:
            assert b"stun.turn" in await reader.read(4096)
            writer.write(bytes.fromhex("15030300020278"))  # fatal, no_application_protocol
            return
        await writer.start_tls(server_context(server))
        await echo(reader, writer)

    async with serving(picky) as address:
        opened = await open_stream(TLS, address, Trust(server.certificate), PATIENCE)
        await opened.link.close()
    assert len(hellos) == 2
    assert "refuses ALPN stun.turn" in opened.steps[1].sentence
    assert opened.tls is not None
    assert (opened.tls.alpn, opened.tls.trusted) == (None, True)


async def test_a_stun_client_offers_no_turn(certify: Certify) -> None:
    """RFC 7443: stun.turn is for TURN; a stuns: client offers nothing."""
    server = certify("127.0.0.1")
    context = server_context(server)
    context.set_alpn_protocols(["stun.turn"])
    async with serving(echo, context) as address:
        opened = await open_stream(StunUri.parse("stuns:127.0.0.1"), address, Trust(server.certificate), PATIENCE)
        await opened.link.close()
    assert opened.tls is not None
    assert opened.tls.alpn is None


async def test_a_refusal_after_the_handshake(certify: Certify) -> None:
    """RFC 8446 §4.4.2: in TLS 1.3 a server that wants a client's certificate says so when the client is done."""
    server = certify("127.0.0.1")
    context = server_context(server)
    context.verify_mode = ssl.CERT_REQUIRED
    context.minimum_version = ssl.TLSVersion.TLSv1_3

    def refuse(listening: socket.socket) -> None:
        connection, _ = listening.accept()
        with connection, pytest.raises(ssl.SSLError):
            context.wrap_socket(connection, server_side=True)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        refusing = asyncio.create_task(asyncio.to_thread(refuse, listening))
        address = Address.parse(*listening.getsockname())
        opened = await open_stream(TLS, address, Trust(server.certificate), PATIENCE)
        ear = Ear(opened)
        with pytest.raises(LinkError, match="refuses the TLS handshake") as caught:
            await ear.receive()
        assert caught.value.step == "tls"
        await opened.link.close()
        await refusing


async def test_a_host_that_tls_cannot_ask_for(certify: Certify) -> None:
    """RFC 6066 §3: a name that cannot be sent is one sentence."""
    uri = StunUri("turns", "a..example", 5349, "tcp")
    async with serving(echo, server_context(certify("a.example"))) as address:
        with pytest.raises(LinkError, match="cannot be sent in TLS"):
            await open_stream(uri, address, Trust(), PATIENCE)
