"""A client that takes its allocation along (RFC 8016), in virtual time against the real core."""

from typing import Any

import pytest

from stun import attributes as a
from stun.client.core import ClientCore
from stun.client.errors import ErrorResponse, NoAllocation, NoAnswer, ServerUnreachable
from stun.client.events import AllocationLost, PeerData
from stun.client.requests import ClientRequest
from stun.constants import AddressFamily, Method, TransportProtocol
from tests.support.client_world import ClientWorld, Party
from tests.support.core_world import PEER, PEER6, World
from tests.support.tcp_world import TcpWorld
from turnserver.core.types import ClientTransport

AWAY = "203.0.113.77"
STREAM, TLS = ClientTransport.TCP, ClientTransport.TLS
SETTINGS = {"mobility": True}


def at_home(server: World | None = None, *, mobile: bool = True, **options: Any) -> Party:
    """A client with an allocation and a channel to a peer."""
    party = ClientWorld(server or World(settings=SETTINGS)).client(**options)
    allocate = party.core.allocate(party.now, mobile=mobile)
    party.world.run()
    assert allocate.result().mobile is mobile
    bind = party.core.bind_channel(PEER, party.now)
    party.world.run()
    bind.result()
    party.events.clear()
    return party


def begin(home: Party, host: str = AWAY, **options: Any) -> tuple[Party, ClientRequest[int]]:
    """The client at its new 5-tuple, with a move under way."""
    away = home.world.client(host=host, **options)
    return away, away.core.move(home.core, away.now)


def moved(home: Party, host: str = AWAY, **options: Any) -> Party:
    away, request = begin(home, host, **options)
    home.world.run()
    assert request.result() == 600
    return away


def heard(party: Party) -> list[bytes]:
    return [event.data for event in party.told(PeerData)]


def sent_by(party: Party, data: bytes) -> list[bytes]:
    """What comes to peers when the client sends."""
    party.world.server.to_peers.clear()
    party.core.send(PEER, data, party.now)
    party.world.run()
    return [each.data for each in party.world.server.to_peers]


@pytest.mark.parametrize("before", [ClientTransport.UDP, STREAM])
@pytest.mark.parametrize("after", [ClientTransport.UDP, TLS])
def test_everything_comes_along(before: ClientTransport, after: ClientTransport) -> None:
    """RFC 8016 §3: relayed address, channels and permissions; the former 5-tuple has none of it any more."""
    home = at_home(transport=before)
    before_it = home.core.allocation
    away = moved(home, transport=after)
    assert before_it is not None
    assert away.core.allocation == before_it._replace(mapped=None)
    assert home.core.allocation is None
    assert home.told(AllocationLost) == away.told(AllocationLost) == []
    assert sent_by(away, b"from away") == [b"from away"]
    away.world.peer_sends(away, PEER, b"to away")
    assert heard(away) == [b"to away"]
    with pytest.raises(NoAllocation):
        home.core.send(PEER, b"x", home.now)


def test_the_former_5_tuple_serves_until_then() -> None:
    """RFC 8016 §3.2.2: nothing is lost while the Refresh is under way, and requests go on."""
    home = at_home()
    home.world.blocked = True
    away, request = begin(home)
    home.world.run()
    home.world.blocked = False
    assert not request.done
    assert sent_by(home, b"still here") == [b"still here"]
    home.world.peer_sends(home, PEER, b"still there")
    assert heard(home) == [b"still there"]
    refresh = home.core.refresh(home.now)
    home.world.run()
    assert refresh.result() == 600
    home.world.advance(1.0)  # the Refresh with the ticket is sent again
    assert request.result() == 600
    assert away.core.allocation is not None


def test_who_has_nothing_to_send_is_heard_of_all_the_same() -> None:
    """RFC 8016 §3.2.2: the server needs data on the new 5-tuple; what is sent for that comes to no peer."""
    home = at_home()
    away = moved(home)
    assert home.world.server.to_peers == []
    away.world.peer_sends(away, PEER, b"to away")
    assert heard(away) == [b"to away"]
    sends = [frame for frame in away.sent if frame[:2] == b"\x00\x16"]
    away.world.advance(10.0)
    assert [frame for frame in away.sent if frame[:2] == b"\x00\x16"] == sends, "no more, once peers are heard"


def test_a_confirmation_that_is_lost_is_sent_again() -> None:
    """Over UDP the first of them may not arrive."""
    home = at_home()
    state = home.world.server.core.state
    away, request = begin(home)
    post = home.world._post

    def lossy(arrive: Any) -> None:
        if not request.done:
            post(arrive)

    home.world._post = lossy  # type: ignore[method-assign]
    home.world.run()
    assert request.done
    assert state.moves.total == 0, "nothing has come since"
    home.world._post = post  # type: ignore[method-assign]
    home.world.advance(0.5)
    assert state.moves.total == 1
    home.world.advance(100.0)
    assert len([frame for frame in away.sent if frame[:2] == b"\x00\x16"]) == 4


def test_it_is_renewed_from_there() -> None:
    """Allocation, permissions and channels live on for hours, by the new 5-tuple alone."""
    home = at_home()
    away = moved(home)
    sent = len(home.sent)
    away.world.advance(7200.0)
    assert len(home.sent) == sent
    assert away.told(AllocationLost) == []
    assert sent_by(away, b"x") == [b"x"]
    assert away.requests(Method.CHANNEL_BIND)


def test_a_renewal_under_way_is_done_again() -> None:
    """Its answer would come to the former 5-tuple, which does not count any more."""
    home = at_home()
    home.world.blocked = True
    home.world.advance(545.0)  # renewals are under way, and get no answer
    home.world.blocked = False
    home.world.server.advance(0.0)
    away = moved(home)
    away.world.advance(120.0)
    assert sent_by(away, b"x") == [b"x"]


def test_it_moves_with_the_latest_ticket() -> None:
    """RFC 8016 §3.2.3: each Refresh, also a renewal, brings a new one; the first one would be too old."""
    home = at_home()
    home.world.advance(3000.0)
    away = moved(home)
    for number in range(5):
        away.world.advance(900.0)
        away = moved(away, f"203.0.113.{80 + number}")
    assert sent_by(away, b"x") == [b"x"]


def test_without_a_ticket_nothing_moves() -> None:
    """It has to be asked for with the Allocate; so says the error."""
    home = at_home(mobile=False)
    away = home.world.client(host=AWAY)
    with pytest.raises(NoAllocation, match="mobile=True"):
        away.core.move(home.core, away.now)
    assert home.core.allocation is not None


def test_a_server_that_forbids_it() -> None:
    """RFC 8016 §3.1.4: 405; the client may ask again without."""
    party = ClientWorld(World()).client()
    request = party.core.allocate(party.now, mobile=True)
    party.world.run()
    with pytest.raises(ErrorResponse, match="405"):
        request.result()
    request = party.core.allocate(party.now)
    party.world.run()
    assert not request.result().mobile


def test_a_move_that_is_refused_changes_nothing() -> None:
    """RFC 8016 §3.2.2: 400 where the server sees the same 5-tuple; the present one goes on."""
    home = at_home()
    away = home.world.client(host=AWAY)
    away.path = home.path
    home.world.parties.remove(home)  # answers to this 5-tuple are the other one's
    request = away.core.move(home.core, away.now)
    home.world.run()
    with pytest.raises(ErrorResponse, match="400"):
        request.result()
    assert away.core.allocation is None
    home.world.parties = [home]
    assert sent_by(home, b"x") == [b"x"]


def test_a_move_without_an_answer_changes_nothing() -> None:
    home = at_home()
    home.world.blocked = True
    away, request = begin(home, patience=5.0)
    home.world.advance(6.0)
    home.world.blocked = False
    with pytest.raises(NoAnswer):
        request.result()
    assert sent_by(home, b"x") == [b"x"]
    assert away.core.allocation is None


def test_an_allocation_that_has_ended_meanwhile_is_lost() -> None:
    """437 to the Refresh with the ticket says so to the former 5-tuple."""
    home = at_home()
    home.world.server.core.revoke("alice", home.world.server.now)
    home.world.server.run()
    _, request = begin(home)
    home.world.run()
    with pytest.raises(ErrorResponse, match="437"):
        request.result()
    assert len(home.told(AllocationLost)) == 1


def test_a_connection_that_ends_after_it_takes_nothing_along() -> None:
    home = at_home(transport=STREAM)
    away = moved(home)
    home.core.lost(ServerUnreachable("The server closed the connection."), home.now)
    home.world.run()
    assert home.told(AllocationLost) == []
    assert sent_by(away, b"x") == [b"x"]


def test_a_dual_allocation_moves_whole() -> None:
    party = ClientWorld(World(settings=SETTINGS)).client()
    party.core.allocate(party.now, additional_family=AddressFamily.IPV6, mobile=True)
    party.world.run()
    for peer in (PEER, PEER6):
        party.core.create_permission([peer], party.now)
    party.world.run()
    away = moved(party)
    assert away.core.allocation is not None
    assert len(away.core.allocation.relayed) == 2
    away.core.send(PEER6, b"six", away.now)
    away.world.run()
    assert [each.data for each in away.world.server.to_peers] == [b"six"]


def test_a_tcp_relay_moves_without_confirmation() -> None:
    """RFC 6062: no Send indications there; the end of the old connection tells the server."""
    party = ClientWorld(TcpWorld(settings=SETTINGS)).client(transport=STREAM)
    party.core.allocate(party.now, protocol=TransportProtocol.TCP, mobile=True)
    party.world.run()
    away = moved(party, transport=TLS)
    away.world.advance(10.0)
    assert not [frame for frame in away.sent if frame[:2] == b"\x00\x16"]
    assert away.core.allocation is not None


def test_the_ticket_is_not_shown() -> None:
    """What is printed of an allocation has no secrets in it."""
    home = at_home()
    assert home.core._holdings.ticket
    assert "ticket" not in repr(home.core.allocation)
    assert isinstance(home.core, ClientCore)
    assert any(request.has(a.MOBILITY_TICKET) for request in home.requests(Method.ALLOCATE))
