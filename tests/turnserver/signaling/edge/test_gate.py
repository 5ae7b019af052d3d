"""Who a request comes from; `test_api.py` asks over HTTP."""

import logging

import pytest
from aiohttp.test_utils import make_mocked_request

from turnserver.core.types import Now
from turnserver.lines import Lines
from turnserver.signaling.edge.api_keys import KeyRing
from turnserver.signaling.edge.gate import WRONG_KEY_WINDOW, WRONG_KEYS, Caller, Gate
from turnserver.signaling.edge.refusals import ApiCode
from turnserver.signaling.edge.requests import ApiError
from turnserver.signaling.edge.scopes import ADMIN_SCOPES, API_SCOPES, Scope
from turnserver.signaling.edge.tokens import TokenKeys

NOW = Now(1000.0, 1_700_000_000.0)
TOKENS = TokenKeys([b"0123456789abcdef0123456789abcdef"])
RING = KeyRing({"website": "website key 0123456789"}, {"support": "support key 0123456789"})


def gate() -> Gate:
    return Gate(RING, Lines(logging.getLogger("meshturn.test")))


def asked(gate: Gate, key: str | None, *enough: Scope, tokens: TokenKeys | None = None, now: Now = NOW) -> Caller:
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    return gate.admit(make_mocked_request("GET", "/", headers=headers), now, enough, tokens)


def refused(*args: object, **more: object) -> ApiError:
    with pytest.raises(ApiError) as caught:
        asked(*args, **more)  # type: ignore[arg-type]
    return caught.value


def test_the_holder_of_a_key() -> None:
    assert asked(gate(), "website key 0123456789", Scope.TURN) == Caller("website", API_SCOPES)
    assert asked(gate(), "support key 0123456789", Scope.TURN) == Caller("support", ADMIN_SCOPES)


def test_what_a_key_does_not_allow() -> None:
    error = refused(gate(), "website key 0123456789", Scope.ROOMS, Scope.ADMIN_READ)
    assert error.code is ApiCode.FORBIDDEN
    assert (
        str(error) == "this needs a key with the scope rooms or admin:read; the one given has the scopes turn, tokens"
    )
    assert error.headers["WWW-Authenticate"] == 'Bearer error="insufficient_scope", scope="rooms admin:read"'
    assert str(refused(gate(), "website key 0123456789")).startswith("this needs a key with the scope admin;")


def test_a_room_token_only_where_it_counts() -> None:
    token = TOKENS.mint("demo", "host", 60, NOW.wall, token_id="1")
    assert refused(gate(), token, Scope.TURN).code is ApiCode.BAD_KEY
    caller = asked(gate(), token, Scope.TURN, tokens=TOKENS)
    assert caller.grant is not None
    assert (caller.name, caller.scopes, caller.grant.room) == ("", frozenset(), "demo")


def test_wrong_keys_are_counted_and_right_ones_always_good() -> None:
    here = gate()
    for _ in range(WRONG_KEYS):
        assert refused(here, "wrong", Scope.TURN).code is ApiCode.BAD_KEY
    assert refused(here, "wrong", Scope.TURN).code is ApiCode.RATE_LIMITED
    assert asked(here, "website key 0123456789", Scope.TURN).name == "website"
    assert refused(here, "website key 0123456789", Scope.ROOMS).code is ApiCode.FORBIDDEN
    later = Now(NOW.mono + WRONG_KEY_WINDOW, NOW.wall)
    assert refused(here, "wrong", Scope.TURN, now=later).code is ApiCode.BAD_KEY


def test_no_key_is_no_guess() -> None:
    here = gate()
    for _ in range(WRONG_KEYS + 1):
        assert refused(here, None, Scope.TURN).code is ApiCode.UNAUTHORIZED
