"""Certificates of the running server: replaced under load, refused when bad, two kinds side by side, ALPN."""

import ssl
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.support.certificates import CertificatePair, client_context, issue, serial_of
from tests.support.process import wait_for_log, wait_until
from tests.support.server import PASSWORD, USERNAME, TurnServerProcess, stream_listeners
from tests.support.stream_wire import open_tls
from tests.support.turn_client import TurnClient

BINDING_REQUEST = bytes.fromhex("000100002112a442") + bytes(12)
HANDSHAKES = 200
AT_ONCE = 4
"""Threads that shake hands side by side."""
RELOAD_INTERVAL = 1


def start(
    start_server: Callable[..., TurnServerProcess], *pairs: CertificatePair, reload_interval: int = RELOAD_INTERVAL
) -> TurnServerProcess:
    """A server with these certificates."""
    entries = [pair.config for pair in pairs]
    tls = {"certificates": entries, "reload_interval": reload_interval}
    return start_server(listeners=stream_listeners(), tls=tls)


def shown(server: TurnServerProcess, transport: str = "tls", context: ssl.SSLContext | None = None) -> int:
    """Shake hands, have a Binding request answered, and give the serial number of the server's certificate."""
    with open_tls("127.0.0.1", server.ports[transport], context) as sock:
        sock.sendall(BINDING_REQUEST)
        assert sock.recv(100)[:2] == b"\x01\x01"
        return serial_of(sock)


def shake_hands_while(server: TurnServerProcess, act: Callable[[], None]) -> list[int]:
    """At least ``HANDSHAKES`` handshakes, none of which may fail, while ``act`` runs in between; the serials seen.

    They go on until ``act`` is done.
    """
    done = threading.Event()

    def shake_hands(share: int) -> list[int]:
        seen = []
        while len(seen) < share or not done.is_set():
            seen.append(shown(server, "tls" if len(seen) % 2 else "shared"))
        return seen

    with ThreadPoolExecutor(AT_ONCE) as pool:
        running = [pool.submit(shake_hands, HANDSHAKES // AT_ONCE) for _ in range(AT_ONCE)]
        try:
            act()
        finally:
            done.set()
        return [serial for each in running for serial in each.result()]


def test_a_new_pair_is_used_while_handshakes_go_on(
    start_server: Callable[..., TurnServerProcess], tmp_path: Path
) -> None:
    """The pair is replaced under load: no handshake fails, the new certificate is seen, old connections live on."""
    pair, newer = issue(tmp_path, "server"), issue(tmp_path, "newer")
    server = start(start_server, pair)
    with TurnClient.tls("127.0.0.1", server.ports["tls"], USERNAME, PASSWORD) as client:
        client.allocate()

        def replace() -> None:
            pair.replace_by(newer)
            wait_until(lambda: shown(server) == newer.serial, "the new certificate")

        seen = shake_hands_while(server, replace)
        assert len(seen) >= HANDSHAKES
        assert set(seen) <= {pair.serial, newer.serial}
        assert shown(server, "shared") == newer.serial
        assert client.refresh() > 0
    wait_for_log(server, "certificate replaced", str(pair.certificate))


def test_a_mismatched_pair_is_refused_while_handshakes_go_on(
    start_server: Callable[..., TurnServerProcess], tmp_path: Path
) -> None:
    """A certificate without its key is refused with a line in the log that says so; when the key comes, both serve."""
    pair, newer = issue(tmp_path, "server"), issue(tmp_path, "newer")
    server = start(start_server, pair)

    def replace_half() -> None:
        newer.certificate.rename(pair.certificate)
        wait_for_log(server, "meshturn.tls", "certificate refused", str(pair.certificate), "the key does not belong")

    assert set(shake_hands_while(server, replace_half)) == {pair.serial}
    newer.key.rename(pair.key)
    wait_until(lambda: shown(server) == newer.serial, "the new certificate")


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (
            lambda pair: pair.certificate.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
            "",
        ),
        (lambda pair: pair.certificate.write_bytes(pair.certificate.read_bytes()[:300]), ""),
        (lambda pair: pair.key.write_bytes(b""), "key"),
        (lambda pair: pair.certificate.unlink(), "cannot be read"),
    ],
    ids=["no-certificate", "half-a-certificate", "empty-key", "missing"],
)
def test_files_that_cannot_be_used_are_refused(
    damage: Callable[[CertificatePair], object],
    reason: str,
    start_server: Callable[..., TurnServerProcess],
    tmp_path: Path,
) -> None:
    """The old certificate stays in use, the log says why, and a good pair later is taken."""
    pair = issue(tmp_path, "server")
    server = start(start_server, pair)
    damage(pair)
    assert reason in wait_for_log(server, "error", "meshturn.tls", "certificate refused", str(pair.certificate))
    assert shown(server) == pair.serial
    newer = issue(tmp_path, "server")
    wait_until(lambda: shown(server) == newer.serial, "the new certificate")


def test_an_expired_certificate_is_refused(start_server: Callable[..., TurnServerProcess], tmp_path: Path) -> None:
    """What has expired is not taken in the place of what has not."""
    pair = issue(tmp_path, "server")
    server = start(start_server, pair)
    pair.replace_by(issue(tmp_path, "old", ends=datetime.now(UTC) - timedelta(hours=1)))
    wait_for_log(server, "certificate refused", "expired")
    assert shown(server) == pair.serial


def test_ecdsa_and_rsa_side_by_side(start_server: Callable[..., TurnServerProcess], tmp_path: Path) -> None:
    """Each client gets the kind of certificate that it can verify, the ECDSA one if it can have both."""
    ecdsa, rsa = issue(tmp_path, "ecdsa"), issue(tmp_path, "rsa", "rsa")
    server = start(start_server, rsa, ecdsa)
    old = client_context(rsa, version=ssl.TLSVersion.TLSv1_2)
    old.set_ciphers("ECDHE-RSA-AES128-GCM-SHA256")
    assert shown(server, context=old) == rsa.serial
    modern = client_context(ecdsa, version=ssl.TLSVersion.TLSv1_2)
    modern.set_ciphers("ECDHE-ECDSA-AES128-GCM-SHA256")
    assert shown(server, context=modern) == ecdsa.serial
    assert shown(server, context=client_context(ecdsa)) == ecdsa.serial


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["tls-1.2", "tls-1.3"])
def test_alpn(version: ssl.TLSVersion, start_server: Callable[..., TurnServerProcess], tmp_path: Path) -> None:
    """RFC 7443: ``stun.turn`` is spoken here and ``stun.nat-discovery`` is not; without ALPN all is well too."""
    pair = issue(tmp_path)
    server = start(start_server, pair)
    chosen = {
        ("tls", ("stun.turn",)): "stun.turn",
        ("tls", ("stun.nat-discovery", "stun.turn")): "stun.turn",
        ("tls", ()): None,
        ("shared", ("stun.turn",)): "stun.turn",
        ("shared", ("h2", "http/1.1")): "http/1.1",
        ("shared", ()): None,
    }
    for (transport, offered), expected in chosen.items():
        context = client_context(pair, version=version, alpn=offered)
        with open_tls("127.0.0.1", server.ports[transport], context) as sock:
            assert sock.selected_alpn_protocol() == expected
            sock.sendall(BINDING_REQUEST)
            assert sock.recv(100)[:2] == b"\x01\x01"
    for transport in ("tls", "shared"):
        with pytest.raises(ssl.SSLError, match=r"(?i)no.application.protocol"):
            open_tls(
                "127.0.0.1",
                server.ports[transport],
                client_context(pair, version=version, alpn=("stun.nat-discovery",)),
            )
