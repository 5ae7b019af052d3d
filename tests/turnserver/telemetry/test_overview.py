"""The numbers of the admin page: each from its place in the snapshot, and JSON."""

import json
from dataclasses import replace

from stun.address import Address
from stun.constants import TransportProtocol
from turnserver.core.types import ClientTransport, Counters, PortsView
from turnserver.descriptors import UNLIMITED
from turnserver.reasons import Reason
from turnserver.signaling.edge.operator_answers import ServerStatusAnswer
from turnserver.signaling.rooms.views import RoomsView
from turnserver.snapshot import (
    CertificateView,
    DatapathView,
    Figures,
    LimitsView,
    ListenerView,
    LogView,
    Snapshot,
    Usage,
)
from turnserver.telemetry.overview import overview, relayed
from turnserver.telemetry.tally import TallyView

NONE = Usage(0, 0)
EMPTY = Snapshot(False, None, 0.0, LimitsView(NONE, NONE, NONE, NONE))
BUSY = Snapshot(
    True,
    1_700_000_000.0,
    60.0,
    LimitsView(Usage(3, UNLIMITED), NONE, Usage(5, 100), Usage(1, 10), descriptors=Usage(7, 1000)),
    listeners=(ListenerView("shared", ClientTransport.TLS, Address.parse("192.0.2.1", 443), 2),),
    datapaths=(
        DatapathView("asyncio", TransportProtocol.UDP, 1, Counters(1, 2, 3, 4, 5)),
        DatapathView("tcp", TransportProtocol.TCP, 1, Counters(10, 20, 30, 40, 50)),
    ),
    faults={"core": 1, "engine": 2},
    figures=Figures(
        ports=(PortsView(Address.parse("2001:db8::1", 0).ip, TransportProtocol.UDP, 2, 100),),
        certificates=(CertificateView("/etc/\udcff.pem", 1.0, 2.0),),
        rooms=RoomsView(connected=2, away=1, waiting=4, paths={"relay": 1}),
        happened=TallyView(
            denied={ClientTransport.UDP: 2, ClientTransport.TLS: 1},
            refusals={(401, Reason.NO_CREDENTIALS): 9, (486, Reason.STALE_NONCE): 10},
        ),
        log=LogView(1, 2),
    ),
)


def test_the_sum_of_all_datapaths() -> None:
    """Streams to peers count as well; without a datapath there is nothing."""
    assert relayed(BUSY) == Counters(11, 22, 33, 44, 55)
    assert relayed(EMPTY) == Counters()


def test_numbers_come_from_their_places() -> None:
    """Also a limit that there is not, and a path that is no UTF-8; the most frequent refusal comes first."""
    found = overview(BUSY, 1_700_000_060.0)
    assert found["limits"]["allocations"] == {"used": 3, "allowed": None}
    assert found["limits"]["connections"] == {"used": 5, "allowed": 100}
    assert found["participants"] == {"connected": 2, "away": 1, "waiting": 4}
    assert found["pairs"] == {"direct": 0, "relay": 1, "unknown": 0}
    assert found["ports"] == [{"address": "2001:db8::1", "protocol": "udp", "used": 2, "allowed": 100}]
    assert (found["refused"], found["faults"]) == (3, 3)
    assert [each["code"] for each in found["refusals"]] == [486, 401]
    assert found["certificates"] == [{"file": "/etc/\\udcff.pem", "not_before": 1.0, "not_after": 2.0}]


def test_they_are_what_the_api_says_of_them() -> None:
    """With nothing as with something, after a way through JSON."""
    for snapshot in (EMPTY, BUSY, replace(BUSY, draining=True)):
        found = json.loads(json.dumps(overview(snapshot, 1.0)))
        key = {"name": "ops", "scopes": ["admin"]}
        assert ServerStatusAnswer.model_validate({"key": key, **found}).draining is snapshot.draining
