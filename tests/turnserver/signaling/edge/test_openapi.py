"""The OpenAPI document: valid, complete, and made from what the routes say."""

import json
from typing import Any

import pytest
from aiohttp import web
from openapi_spec_validator import OpenAPIV31SpecValidator

from tests.turnserver.signaling.edge.test_api import OPTIONS, Rooms, View
from turnserver.signaling.edge.api import Api
from turnserver.signaling.edge.openapi import ApiAnswer, ApiOperation, ApiRoute, api_document
from turnserver.signaling.edge.refusals import ApiCode
from turnserver.signaling.edge.scopes import Scope


@pytest.fixture
def document() -> dict[str, Any]:
    """As it is served: through JSON."""
    found: dict[str, Any] = json.loads(json.dumps(Api(Rooms(), OPTIONS, view=View()).document))
    return found


def test_it_is_valid(document: dict[str, Any]) -> None:
    assert document["openapi"] == "3.1.0"
    OpenAPIV31SpecValidator(document).validate()


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    found: set[str] = set()

    def visit(node: object) -> None:
        if isinstance(node, dict):
            found.update([node["$ref"]] if isinstance(node.get("$ref"), str) else [])
            for value in node.values():
                visit(value)
        elif isinstance(node, list):
            for value in node:
                visit(value)

    visit(document)
    names = {reference.removeprefix("#/components/schemas/") for reference in found}
    assert names == set(document["components"]["schemas"]), "and nothing is described that is nowhere used"


def test_it_has_every_route(document: dict[str, Any]) -> None:
    """A route that somebody adds to the API is in it; the rest is what else a shared listener serves."""
    app = web.Application()
    api = Api(Rooms(), OPTIONS, view=View())
    api.mount(app)
    mounted = {
        (route.resource.canonical, route.method.lower())
        for route in app.router.routes()
        if route.resource is not None and route.method not in {"OPTIONS", "*"}
    }
    described = {(path, method) for path, methods in document["paths"].items() for method in methods}
    assert described - mounted == {("/v1/ws", "get"), ("/healthz", "get"), ("/readyz", "get")}
    assert mounted <= described


def test_operations_have_names_of_their_own(document: dict[str, Any]) -> None:
    names = [each["operationId"] for methods in document["paths"].values() for each in methods.values()]
    assert len(set(names)) == len(names)


def test_scopes_are_said(document: dict[str, Any]) -> None:
    """Any one of several; ``admin`` always. What needs no key says so."""
    assert document["paths"]["/v1/rooms"]["get"]["security"] == [
        {"key": ["rooms"]},
        {"key": ["admin:read"]},
        {"key": ["admin"]},
    ]
    assert document["paths"]["/v1/turn"]["get"]["security"][-1] == {"roomToken": []}
    assert document["paths"]["/v1/drain"]["post"]["security"] == [{"key": ["admin"]}]
    assert document["paths"]["/v1/schema.json"]["get"]["security"] == []
    text = document["components"]["securitySchemes"]["key"]["description"]
    assert all(f"`{scope}`" in text for scope in Scope)


def test_refusals_are_those_of_the_operation(document: dict[str, Any]) -> None:
    responses = document["paths"]["/v1/rooms/{room}/recording"]["post"]["responses"]
    assert list(responses) == ["202", "401", "403", "404", "409", "429"]
    assert "`no_recording`" in responses["409"]["description"]
    assert "`key_expired`" in responses["401"]["description"]
    assert list(document["paths"]["/v1/schema.json"]["get"]["responses"]) == ["200"]


def test_parameters(document: dict[str, Any]) -> None:
    found = document["paths"]["/v1/rooms/{room}/peers/{peer}"]["delete"]["parameters"]
    assert [(each["name"], each["in"]) for each in found] == [("room", "path"), ("peer", "path"), ("reason", "query")]
    assert "parameters" not in document["paths"]["/v1/rooms"]["get"]


def test_a_parameter_that_nobody_has_described_is_an_error() -> None:
    """The kind: a path with braces of which programs would not know what belongs there."""

    async def handle(request: web.Request, caller: object) -> web.Response:
        raise AssertionError

    about = ApiOperation("x", "X.", "x", (ApiAnswer(204, "Done."),), None, refusals=(ApiCode.NOT_FOUND,))
    with pytest.raises(KeyError):
        api_document({"/v1/x/{secret}": {"GET": ApiRoute(handle, about)}})


def test_it_names_no_version_of_the_program(document: dict[str, Any]) -> None:
    assert document["info"]["version"] == "1"
