"""The probe's link over DTLS, on loopback."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cli.probe.datagrams import open_datagrams
from cli.probe.security import Trust
from cli.probe.trouble import LinkError
from stun.uri import StunUri
from tests.support.certificates import issue
from tests.support.dtls_world import DtlsRig
from tests.support.peer import UdpPeer, refused_address

URI = StunUri.parse("turns:localhost?transport=udp")
PATIENCE = 90.0


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[DtlsRig]:
    async with DtlsRig(tmp_path) as made:
        yield made


async def test_a_trusted_server(rig: DtlsRig) -> None:
    """RFC 7350: one step, and the certificate."""
    opened = await open_datagrams(URI, rig.transport.address, Trust(rig.pairs[0].certificate), PATIENCE)
    await opened.link.close()
    (step,) = opened.steps
    assert (step.name, step.ok) == ("dtls", True)
    assert step.sentence.startswith("The handshake is done: DTLSv1.2, ECDHE-")
    assert step.sentence.endswith("The certificate is trusted.")
    assert opened.tls is not None
    assert (opened.tls.trusted, opened.tls.version) == (True, "DTLSv1.2")
    assert opened.tls.certificate is not None
    assert "localhost" in opened.tls.certificate.names


async def test_one_without_trust(rig: DtlsRig, tmp_path: Path) -> None:
    """It fails, and the certificate is shown; with --insecure the probe goes on, and says so."""
    with pytest.raises(LinkError, match="self-signed") as caught:
        await open_datagrams(URI, rig.transport.address, Trust(), PATIENCE)
    assert caught.value.step == "dtls"
    assert caught.value.tls is not None
    assert not caught.value.tls.trusted
    opened = await open_datagrams(URI, rig.transport.address, Trust(insecure=True), PATIENCE)
    await opened.link.close()
    assert "Not trusted: The server's certificate is self-signed" in opened.steps[0].sentence
    other = StunUri.parse("turns:example.org?transport=udp")
    with pytest.raises(LinkError, match=r"not for example\.org") as caught:
        await open_datagrams(other, rig.transport.address, Trust(rig.pairs[0].certificate), PATIENCE)
    assert "localhost" in caught.value.hint


async def test_a_certificate_that_expires_soon(tmp_path: Path) -> None:
    from datetime import UTC, datetime, timedelta

    pair = issue(tmp_path, ends=datetime.now(UTC) + timedelta(days=2))
    async with DtlsRig(tmp_path, pairs=(pair,)) as rig:
        opened = await open_datagrams(URI, rig.transport.address, Trust(pair.certificate), PATIENCE)
        await opened.link.close()
        assert "should have been renewed" in opened.steps[0].hint


async def test_nobody_there_and_nobody_who_answers() -> None:
    with pytest.raises(LinkError, match="Nothing listens there"):
        await open_datagrams(URI, refused_address(), Trust(), PATIENCE)
    with UdpPeer() as silent:
        with pytest.raises(LinkError, match=r"did not complete in 0\.05 s") as caught:
            await open_datagrams(URI, silent.address, Trust(), 0.05)
        assert "UDP is let through" in caught.value.hint


async def test_a_server_that_refuses(rig: DtlsRig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its alert is the sentence."""
    monkeypatch.setattr("turnserver.turnclient.dtls._CIPHERS", b"AES128-SHA")
    with pytest.raises(LinkError, match="The server refuses the DTLS session: handshake failure") as caught:
        await open_datagrams(URI, rig.transport.address, Trust(), PATIENCE)
    assert "obsolete ciphers" in caught.value.hint
