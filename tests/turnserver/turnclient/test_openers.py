"""Which URI is opened how."""

import pytest

from stun.client.errors import ServerUnreachable
from turnserver.turnclient import openers
from turnserver.turnclient.client import TurnClient
from turnserver.turnclient.openers import OPENERS


def test_there_is_a_link_for_each_protocol() -> None:
    """RFC 7065 §3.1, RFC 7350 §4.6.2."""
    assert set(OPENERS) == {"udp", "tcp", "tls", "dtls"}


async def test_dtls_without_its_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is an extra; the sentence says how to get it."""
    monkeypatch.setattr(openers, "find_spec", lambda name: None)
    client = TurnClient("turns:127.0.0.1:9?transport=udp", timeout=90.0)
    with pytest.raises(ServerUnreachable, match=r"pip install 'meshturn\[dtls\]'"):
        await client.connect()
