"""A client's link over DTLS, on loopback, against our own listener; against coturn's in tests/interop."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from stun.address import Address
from stun.client.errors import ServerUnreachable
from stun.uri import StunUri
from tests.support.certificates import client_context, issue
from tests.support.dtls_world import DtlsRig
from tests.support.peer import UdpPeer, refused_address
from tests.support.stream_world import ANSWER, BINDING
from tests.support.tcp_pair import eventually
from turnserver.core.types import FiveTuple
from turnserver.turnclient import links
from turnserver.turnclient.dtls import WRONG_NAME, DtlsLink, open_association, open_dtls
from turnserver.turnclient.links import LinkBroken

URI = StunUri.parse("turns:localhost?transport=udp")
TIMEOUT = 90.0


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[DtlsRig]:
    """A server that sends every frame back."""
    async with DtlsRig(tmp_path) as made:

        def back(client: FiveTuple, frame: bytes) -> None:
            made.transport.send(client, frame)

        made.sink.on_frame = back
        yield made


class Ear:
    """Hears a link."""

    def __init__(self, link: links.Link) -> None:
        self.heard: asyncio.Queue[Any] = asyncio.Queue()
        link.start(self)

    def frame_received(self, frame: bytes) -> None:
        self.heard.put_nowait(frame)

    def link_troubled(self, error: ServerUnreachable) -> None:
        self.heard.put_nowait(("trouble", error))

    def link_ended(self, error: ServerUnreachable) -> None:
        self.heard.put_nowait(("end", error))

    async def next(self) -> Any:
        async with asyncio.timeout(TIMEOUT):
            return await self.heard.get()


async def opened(rig: DtlsRig, **options: Any) -> DtlsLink:
    async with asyncio.timeout(TIMEOUT):
        return await open_dtls(URI, rig.transport.address, **({"tls": client_context(rig.pairs[0])} | options))


async def test_frames_both_ways(rig: DtlsRig) -> None:
    """RFC 7350 §3: one record, one message; the link is not reliable."""
    link = await opened(rig)
    ear = Ear(link)
    assert not link.reliable
    frames = [BINDING, ANSWER[:-1], bytes(1200), bytes(16384)]
    for frame in frames[:1]:
        link.send(frame)
        assert await ear.next() == frame
    client = rig.sink.frames[0][0]
    for frame in frames[1:]:
        assert rig.transport.send(client, frame)
        assert await ear.next() == frame
    link.send(bytes(16385))  # too long for a record: dropped, as a network would
    link.send(BINDING)
    assert await ear.next() == BINDING
    assert link.buffered == 0
    await link.close()
    await eventually(lambda: rig.sink.gone)
    await link.close()
    link.send(BINDING)
    assert rig.transport.connections == 0


async def test_the_server_ends_it(rig: DtlsRig) -> None:
    link = await opened(rig)
    ear = Ear(link)
    link.send(BINDING)
    assert await ear.next() == BINDING
    rig.transport.close_client(rig.sink.frames[0][0])
    what, error = await ear.next()
    assert (what, str(error)) == ("end", "The server closed the DTLS session.")
    assert isinstance(error, LinkBroken)
    assert error.answered
    late = Ear(link)
    assert (await late.next())[0] == "end"
    link.send(BINDING)
    await link.close()


async def test_a_certificate_is_checked(rig: DtlsRig, tmp_path: Path) -> None:
    """RFC 8489 §6.2.3: the roots given, else the system's; nothing is sent to a server that is not trusted."""
    (tmp_path / "other").mkdir()
    other = client_context(issue(tmp_path / "other"))
    for tls in (None, other):
        with pytest.raises(ServerUnreachable, match="cannot be trusted: self-signed certificate"):
            await opened(rig, tls=tls)
    await eventually(lambda: rig.transport.connections == 0)
    assert rig.sink.frames == []


@pytest.mark.parametrize(
    ("host", "fits"), [("localhost", True), ("LocalHost.", True), ("127.0.0.1", True), ("example.org", False)]
)
async def test_the_host_has_to_be_in_the_certificate(rig: DtlsRig, host: str, fits: bool) -> None:
    """RFC 9525 §6: a name or an address of the certificate, unless the context does not ask for it."""
    address, trust = rig.transport.address, client_context(rig.pairs[0])
    link, shown = await open_association(host, address, trust)
    await link.close()
    assert (shown.distrust is None) is fits
    assert shown.distrust is None or shown.distrust.code == WRONG_NAME
    assert (shown.version, shown.bits >= 128) == ("DTLSv1.2", True)
    assert shown.certificate is not None
    assert shown.certificate.serial_number == rig.pairs[0].serial
    trust.check_hostname = False
    link, shown = await open_association(host, address, trust)
    await link.close()
    assert shown.distrust is None


async def test_no_check_at_all(rig: DtlsRig) -> None:
    trust = ssl.create_default_context()
    trust.check_hostname = False
    trust.verify_mode = ssl.CERT_NONE
    link, shown = await open_association("example.org", rig.transport.address, trust)
    await link.close()
    assert shown.distrust is None


async def test_nobody_there() -> None:
    """A closed port is known at once; a host that is no name is, too."""
    with pytest.raises(ServerUnreachable, match="Nothing listens there"):
        await open_dtls(URI, refused_address())
    with pytest.raises(ServerUnreachable, match="SNI"):
        await open_association("b\u00fccher.example", Address.parse("127.0.0.1", 9))
    with pytest.raises(ServerUnreachable, match="cannot be reached"):
        await open_dtls(URI, Address.parse("255.255.255.255", 5349))


async def test_a_server_that_says_no(rig: DtlsRig) -> None:
    """An alert during the handshake is the reason."""
    with UdpPeer() as peer:
        opening = asyncio.ensure_future(open_dtls(URI, peer.address))
        _, source = await asyncio.to_thread(peer.receive)
        peer.send(b"\x15\xfe\xfd" + bytes(8) + b"\0\2\2\x28", source)
        with pytest.raises(LinkBroken, match="The server refuses the DTLS session: handshake failure"):
            async with asyncio.timeout(TIMEOUT):
                await opening


async def test_a_lost_flight_is_sent_again(rig: DtlsRig) -> None:
    """RFC 6347 §4.2.4: after a second; giving up closes the socket."""
    with UdpPeer() as peer:
        opening = asyncio.ensure_future(open_dtls(URI, peer.address))
        first, source = await asyncio.to_thread(peer.receive)
        again, other = await asyncio.to_thread(peer.receive)
        assert (source, first[13:], first[5:11] != again[5:11]) == (other, again[13:], True)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
