"""Who may go on with a session, and what its token says."""

from turnserver.signaling.rooms.session import Connection, Session
from turnserver.signaling.rooms.settings import Grant, HubBounds

__all__: list[str] = []


def session(grant: Grant | None = None) -> Session:
    bounds = HubBounds()
    connection = Connection(1, "c", "2001:db8::1", "h", bounds=bounds, mono=0.0)
    return Session("s", "aaaaaaaaaa", grant or Grant(), connection, bounds=bounds, client="")


def test_no_key_is_no_key() -> None:
    fresh = session()
    assert not fresh.accepts("")
    fresh.renew("one")
    assert fresh.accepts("one")
    assert not fresh.accepts("")
    assert not fresh.accepts("öne\ud800")


def test_the_key_presented_stays_good_until_the_client_has_spoken() -> None:
    fresh = session()
    fresh.renew("one")
    fresh.renew("two", "one")
    assert (fresh.accepts("one"), fresh.accepts("two"), fresh.confirmed) == (True, True, False)
    fresh.renew("three", "two")
    assert (fresh.accepts("one"), fresh.accepts("two"), fresh.accepts("three")) == (False, True, True)
    fresh.confirm()
    assert (fresh.accepts("two"), fresh.accepts("three"), fresh.confirmed) == (False, True, True)


def test_limits_go_by_the_site() -> None:
    assert session().address_key == "2001:db8::/64"


def test_what_a_token_allows() -> None:
    limited = session(Grant(role="host", caps=frozenset({"screen", "message"})))
    assert (limited.may("screen"), limited.may("publish")) == (True, False)
    assert (limited.identity.role, limited.identity.caps) == ("host", ("message", "screen"))
