"""Snapshots with their lists and without: the same numbers, and what only metrics show."""

from ipaddress import ip_address

import pytest

from stun.address import Address
from stun.constants import TransportProtocol
from tests.support.certificates import issue
from turnserver.core.events import AnswerWithheld
from turnserver.core.types import ClientTransport, FiveTuple, PortsView
from turnserver.reasons import Reason
from turnserver.server import Server
from turnserver.snapshot import Figures

CLIENT = FiveTuple(ClientTransport.UDP, Address.parse("192.0.2.10", 40000), Address.parse("192.0.2.1", 3478), 0)


async def test_without_lists_everything_else_is_the_same(tmp_path_factory: pytest.TempPathFactory) -> None:
    pair = issue(tmp_path_factory.mktemp("certificate"))
    config = {
        "listeners": [
            {"address": "127.0.0.1", "port": 0},
            {"transport": "shared", "address": "127.0.0.1", "port": 0},
        ],
        "relay": {"ports": "50000-50099", "addresses": ["127.0.0.1"]},
        "auth": {"users": {"alice": "secret"}},
        "tls": {"certificates": [pair.config]},
    }
    async with Server(config) as server:
        whole, short = server.snapshot(), server.snapshot(details=False)
        assert short.limits == whole.limits
        assert (short.listeners, short.datapaths, short.relays) == (whole.listeners, whole.datapaths, whole.relays)
        assert short.figures.ports == whole.figures.ports
        here = ip_address("127.0.0.1").packed
        assert set(short.figures.ports) == {
            PortsView(here, TransportProtocol.UDP, 0, 100),
            PortsView(here, TransportProtocol.TCP, 0, 100),
        }
        (certificate,) = short.figures.certificates
        assert certificate.file == str(pair.certificate)
        assert certificate.not_before < (short.started_at or 0) < certificate.not_after
    assert server.snapshot().figures.ports == ()


async def test_what_has_happened_outlives_the_stop() -> None:
    """It is counted from the making of the server on, and read to its end."""
    server = Server({"listeners": [{"address": "127.0.0.1", "port": 0}]})
    assert server.snapshot(details=False).figures == Figures(
        happened=server.snapshot().figures.happened,
        loop_lag=server.snapshot().figures.loop_lag,
        log=server.snapshot().figures.log,
    )
    async with server:
        server._observers.tell(AnswerWithheld(CLIENT))
        assert server.snapshot().figures.happened.withheld == {Reason.REFLECTION_BUDGET: 1}
    assert server.snapshot().figures.happened.withheld == {Reason.REFLECTION_BUDGET: 1}
    assert not server.snapshot().running
