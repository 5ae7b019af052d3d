"""Which server it is: by behaviour, over UDP and streams, and not fooled by a name."""

from dataclasses import replace

import pytest

from scapy_turn import fingerprint
from scapy_turn.fingerprint import KNOWN, behaviour, guess
from tests.support.server import TurnServerProcess, free_port


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server is on this machine: what is not answered at once is not answered."""
    monkeypatch.setattr(fingerprint, "PATIENCE", 0.3)


def test_this_server(server: TurnServerProcess) -> None:
    """All its marks are seen, over each transport; SOFTWARE is not one, since operators change it."""
    for transport in ("udp", "tcp"):
        seen = behaviour(("127.0.0.1", server.ports[transport]), transport)
        best = guess(seen)[0]
        assert (best.name, best.seen) == ("meshturn", best.of)
        assert seen.binding.startswith("success: XOR-MAPPED-ADDRESS")
        assert guess(replace(seen, software="Coturn"))[0].name == "meshturn"


def test_nothing_is_there() -> None:
    seen = behaviour(("127.0.0.1", free_port()), "tcp")
    assert (seen.binding, seen.challenge, seen.software, seen.nonce) == ("silence", "silence", "", "")
    assert all(one.seen < one.of / 2 for one in guess(seen)), "no server is named where there is none"
    assert {one.name for one in guess(seen)} == set(KNOWN)
