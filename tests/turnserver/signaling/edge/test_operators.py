"""The routes for operators: the key that asks is told what it may do, and the rest is the view's."""

from tests.turnserver.signaling.edge.test_api import ADMIN_KEY, World
from tests.turnserver.signaling.edge.test_api import world as world  # noqa: PLC0414  a fixture
from turnserver.signaling.edge.operators import operator_routes
from turnserver.signaling.edge.scopes import Scope


async def test_each_shows_its_part_of_the_view(world: World) -> None:
    """And none of it stays in a cache."""
    for path, expected in (
        ("/v1/status", {"key": {"name": "support", "scopes": ["admin"]}, "version": "1"}),
        ("/v1/history", {"interval": 10}),
        ("/v1/config", {"config": {"realm": "example.org"}}),
    ):
        answer = await world.ask(path, ADMIN_KEY)
        assert (answer.status, answer.headers["Cache-Control"]) == (200, "no-store")
        assert await answer.json() == expected


def test_they_only_read(world: World) -> None:
    """A key that may change nothing is enough for each."""
    view = world.api._view
    assert view is not None
    for methods in operator_routes(view).values():
        assert {method: route.about.enough for method, route in methods.items()} == {"GET": (Scope.ADMIN_READ,)}
