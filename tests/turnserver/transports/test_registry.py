"""What each word under ``listeners[].transport`` means."""

import pytest

from stun.constants import TransportProtocol
from turnserver.core.types import ClientTransport
from turnserver.transports.registry import TRANSPORTS


@pytest.mark.parametrize(
    ("name", "tls", "plain", "secure", "ports"),
    [
        ("udp", False, ClientTransport.UDP, None, (3478, 3478)),
        ("tcp", False, ClientTransport.TCP, None, (3478, 3478)),
        ("tls", True, None, ClientTransport.TLS, (5349, 5349)),
        ("shared", None, ClientTransport.TCP, ClientTransport.TLS, (80, 443)),
        ("dtls", True, None, ClientTransport.DTLS, (5349, 5349)),
        ("memory", False, ClientTransport.UDP, None, (3478, 3478)),
    ],
)
def test_what_ships(
    name: str,
    tls: bool | None,
    plain: ClientTransport | None,
    secure: ClientTransport | None,
    ports: tuple[int, int],
) -> None:
    """What each is to clients, with TLS and without, and its registered ports."""
    kind = TRANSPORTS[name]
    assert kind.tls is tls
    assert (kind.default_port(tls=False), kind.default_port(tls=True)) == ports
    for wanted, found in ((False, plain), (True, secure)):
        if found is None:
            with pytest.raises(ValueError, match="is not available"):
                kind.transport(wanted)
        else:
            assert kind.transport(wanted) is found


def test_who_can_leave_tls_to_clients() -> None:
    """``tls: auto``: where connections have a first byte that tells."""
    both = (ClientTransport.TLS, ClientTransport.TCP)
    assert {name for name in TRANSPORTS if TRANSPORTS[name].auto} == {"tcp", "tls", "shared"}
    for name in ("tcp", "tls", "shared"):
        assert TRANSPORTS[name].transports("auto") == both
    assert [TRANSPORTS[name].default_port("auto") for name in ("tcp", "tls", "shared")] == [3478, 5349, 443]
    assert TRANSPORTS["tcp"].transports(False) == (ClientTransport.TCP,)
    with pytest.raises(ValueError, match="cannot tell TLS from plain"):
        TRANSPORTS["udp"].transports("auto")


def test_what_follows_from_it() -> None:
    spaces = {name: TRANSPORTS[name].port_space for name in TRANSPORTS}
    over_tcp = {name for name, space in spaces.items() if space is TransportProtocol.TCP}
    assert over_tcp == {"tcp", "tls", "shared"} == {name for name in TRANSPORTS if TRANSPORTS[name].stream}
    assert [name for name in TRANSPORTS if TRANSPORTS[name].http] == ["shared"]
    assert [name for name in TRANSPORTS if TRANSPORTS[name].local] == ["memory"]
