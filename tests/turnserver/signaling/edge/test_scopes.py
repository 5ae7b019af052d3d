"""Scopes of API keys."""

import pytest

from turnserver.signaling.edge.scopes import ADMIN_SCOPES, API_SCOPES, Scope, allows, spelled


@pytest.mark.parametrize("enough", list(Scope))
def test_each_scope_is_enough_for_itself_and_no_other_is_but_admin(enough: Scope) -> None:
    assert {scope for scope in Scope if allows({scope}, {enough})} == {enough, Scope.ADMIN}


def test_any_one_of_several_is_enough() -> None:
    assert allows({Scope.TURN, Scope.ROOMS}, (Scope.ROOMS, Scope.ADMIN_READ))
    assert not allows({Scope.TURN, Scope.TOKENS}, (Scope.ROOMS, Scope.ADMIN_READ))


def test_what_no_scope_is_named_for_is_for_admin() -> None:
    assert [scope for scope in Scope if allows({scope}, ())] == [Scope.ADMIN]
    assert not allows((), ())


def test_seeing_is_not_changing() -> None:
    assert not allows({Scope.ADMIN_READ}, {Scope.ROOMS})


def test_words() -> None:
    """They are in files and on command lines: none changes."""
    assert [str(scope) for scope in Scope] == ["turn", "tokens", "rooms", "probe", "admin:read", "admin"]
    assert Scope("admin:read") is Scope.ADMIN_READ
    assert all(scope.meaning for scope in Scope)
    assert spelled(API_SCOPES) == "turn, tokens"
    assert spelled(ADMIN_SCOPES, " ") == "admin"
