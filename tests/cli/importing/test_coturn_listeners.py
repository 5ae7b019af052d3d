"""coturn's listeners and certificates."""

import pytest

from cli.importing.coturn import import_coturn
from cli.importing.outcome import Plan, tree

PAIR = "cert=/etc/ssl/chain.pem\npkey=/etc/ssl/key.pem\n"


def found(text: str) -> list[str]:
    plan = import_coturn(f"listening-ip=192.0.2.1\n{text}")
    assert plan.problems == []
    return [
        " ".join(str(value) for key, value in item.items() if key != "address")
        for item in tree(plan.entries, lambda secret: secret.text)["listeners"]
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ["udp 3478", "tcp 3478"]),
        ("no-udp", ["tcp 3478"]),
        ("no-tcp\nlistening-port=3479", ["udp 3479"]),
        (PAIR, ["udp 3478", "tcp 3478 auto", "tls 5349 auto", "dtls 5349"]),
        (PAIR + "no-tcp\nno-dtls\ntls-listening-port=443", ["udp 3478", "tls 443"]),
        (PAIR + "no-tls\nno-udp", ["tcp 3478", "dtls 5349"]),
        (PAIR + "tls-listening-port=3478", ["udp 3478", "tcp 3478 auto"]),
        (PAIR + "tls-listening-port=3478\nno-udp\nno-tcp", ["tls 3478", "dtls 3478"]),
        ("aux-server=192.0.2.9:33", ["udp 3478", "tcp 3478", "udp 33", "tcp 33"]),
    ],
)
def test_ports_and_transports(text: str, expected: list[str]) -> None:
    """TLS and plain on one port where coturn tells them apart; DTLS on a port of its own."""
    assert found(text) == expected


def test_addresses() -> None:
    """Each address has its listeners; a name is not resolved, and without any address it is every one."""
    plan = import_coturn("listening-ip=192.0.2.1\nlistening-ip=2001:db8::1\nlistening-ip=turn.example.org\nno-tcp")
    listeners = tree(plan.entries, str)["listeners"]
    assert [item["address"] for item in listeners] == ["192.0.2.1", "2001:db8::1"]
    assert 3 in {note.line for note in plan.cannot}
    everywhere = tree(import_coturn("no-tcp").entries, str)["listeners"]
    assert [item["address"] for item in everywhere] == ["0.0.0.0", "::"]


def lines(plan: Plan) -> dict[str, list[int]]:
    """The lines in each list."""
    return {name: [note.line for note in getattr(plan, name) if note.line] for name in ("taken", "already", "cannot")}


def test_certificates() -> None:
    """Both files or none; relative paths are a question; coturn's default ciphers are ours."""
    assert lines(import_coturn("cert=a.pem\ncipher-list=HIGH")) == {"taken": [], "already": [2], "cannot": [1]}
    assert lines(import_coturn("cert=a.pem\npkey=/b.pem")) == {"taken": [1, 2], "already": [], "cannot": [1]}
    assert lines(import_coturn(PAIR + "cipher-list=DEFAULT"))["already"] == [3]
    ciphers = tree(import_coturn(PAIR + 'cipher-list="ECDHE+AESGCM"').entries, str)["tls"]["ciphers"]
    assert ciphers == "ECDHE+AESGCM"
    assert 3 in lines(import_coturn(PAIR + "cipher-list=NO-SUCH-CIPHER"))["cannot"]


def test_switches_of_tls_without_tls() -> None:
    """Without a certificate coturn has none either."""
    assert lines(import_coturn("no-tls\nno-dtls\ntls-listening-port=443"))["already"] == [3, 1, 2]
