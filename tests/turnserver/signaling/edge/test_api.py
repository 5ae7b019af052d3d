"""The HTTP API: who may ask for what, what is answered, and what is not."""

import base64
import hashlib
import hmac
import json
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientResponse, web
from aiohttp.test_utils import TestClient, TestServer

from auth.ephemeral import SharedSecret
from stun.address import Address
from turnserver.config import load_mapping
from turnserver.core.types import ClientTransport, Now
from turnserver.signaling.edge.api import Api, ApiOptions
from turnserver.signaling.edge.gate import WRONG_KEY_WINDOW, WRONG_KEYS
from turnserver.signaling.edge.ice import IceServers, UrlsByHost
from turnserver.signaling.edge.key_file import KeyFile, StoredKey, WatchedKeys, new_key
from turnserver.signaling.edge.requests import MAX_BODY
from turnserver.signaling.edge.scopes import Scope
from turnserver.signaling.edge.tokens import LEEWAY, TokenKeys
from turnserver.signaling.protocol.errors import Denial, SignalCode
from turnserver.signaling.protocol.fields import Media
from turnserver.signaling.protocol.schema import json_schema
from turnserver.signaling.rooms.settings import Grant
from turnserver.signaling.rooms.views import PeerView, RoomView
from turnserver.signaling.truth.relays import NoRelays, RelayView

NOW = Now(1000.0, 1_700_000_000.0)
API_KEY = "api key 0123456789 with a space"
ADMIN_KEY = "admin-key-0123456789"
SECRET = b"0123456789abcdef"
KEYS = TokenKeys([b"0123456789abcdef0123456789abcdef"])
LISTENING = [
    (ClientTransport.UDP, Address.parse("127.0.0.1", 3478)),
    (ClientTransport.TLS, Address.parse("127.0.0.1", 5349)),
]
ICE = IceServers(SharedSecret(SECRET), ":", 600, "all", UrlsByHost(LISTENING))
OPTIONS = ApiOptions(KEYS, ICE, {"website": API_KEY}, {"support": ADMIN_KEY})
PEER = PeerView("abcdefghij", "hash.abcdefghij", "Ann", "member", NOW.wall, True, Media(a=1), {})


class Rooms:
    """A hub with one room, and a service around it."""

    def __init__(self) -> None:
        self.hub = self
        self.relays: RelayView = NoRelays()
        self.found = {"demo": RoomView("demo", NOW.wall, False, False, 4, "mesh", (PEER,), 0)}
        self.done: list[tuple[str, ...]] = []
        self.drains = True
        self.records = True

    def work(self) -> None:
        self.done.append(("work",))

    def media_of(self, room_id: str) -> dict[str, object] | None:
        return {"epoch": 7} if room_id == "demo" else None

    def drain(self) -> dict[str, object]:
        self.done.append(("drain",))
        if not self.drains:
            raise RuntimeError("this server cannot be drained from here")
        return {"draining": True, "allocations": 3, "rooms": 1, "until": 1_700_003_600}

    def rooms(self) -> list[RoomView]:
        return list(self.found.values())

    def room(self, room_id: str) -> RoomView | None:
        return self.found.get(room_id)

    def is_banned(self, grant: Grant, address: str, now: Now) -> bool:
        return grant.subject == "mallory" and address == "127.0.0.1"

    def close_room(self, room_id: str, now: Now) -> bool:
        self.done.append(("close", room_id))
        return self.found.pop(room_id, None) is not None

    def record(self, room_id: str, on: bool, now: Now) -> bool:
        self.done.append(("record", room_id, str(on)))
        if not self.records:
            raise Denial(SignalCode.FORBIDDEN, "this server does not record")
        return room_id in self.found

    def kick(self, room_id: str, peer_id: str, reason: str, now: Now) -> bool:
        self.done.append(("kick", room_id, peer_id, reason))
        return room_id in self.found and peer_id == PEER.id


class View:
    """What an operator is shown: three values that can be told apart."""

    def status(self) -> dict[str, Any]:
        return {"version": "1"}

    def history(self) -> dict[str, Any]:
        return {"interval": 10}

    def config(self) -> dict[str, Any]:
        return {"realm": "example.org"}


class World:
    """The API on a port of loopback, with a clock that stands still."""

    def __init__(self, client: TestClient[Any, Any], rooms: Rooms, api: Api) -> None:
        self.client = client
        self.rooms = rooms
        self.api = api
        self.now = NOW

    async def ask(self, path: str, key: str | None = None, method: str = "GET", **more: Any) -> ClientResponse:
        headers = dict(more.pop("headers", {}))
        if key is not None:
            headers["Authorization"] = f"Bearer {key}"
        return await self.client.request(method, path, headers=headers, **more)

    async def refused(self, *args: Any, **more: Any) -> tuple[int, str]:
        answer = await self.ask(*args, **more)
        said = await answer.json()
        assert set(said) == {"error"}
        assert set(said["error"]) == {"code", "msg"}
        assert answer.headers["Cache-Control"] == "no-store"
        return answer.status, said["error"]["code"]


@pytest.fixture
async def world() -> AsyncIterator[World]:
    app = web.Application()
    rooms = Rooms()
    holder: list[World] = []
    api = Api(rooms, OPTIONS, lambda: holder[0].now, View())
    api.mount(app)
    async with TestClient(TestServer(app)) as client:
        holder.append(World(client, rooms, api))
        yield holder[0]


def token(**changes: Any) -> str:
    given: dict[str, Any] = {"room": "demo", "role": "member", "ttl": 3600, "wall": NOW.wall, "token_id": "id-1"}
    return KEYS.mint(**{**given, **changes})


# Who asks


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/turn"),
        ("POST", "/v1/tokens"),
        ("GET", "/v1/rooms"),
        ("GET", "/v1/rooms/demo"),
        ("DELETE", "/v1/rooms/demo"),
        ("DELETE", "/v1/rooms/demo/peers/abcdefghij"),
    ],
)
async def test_nothing_without_a_key(world: World, method: str, path: str) -> None:
    """RFC 6750 §3: a challenge, and not a word about what is there."""
    assert await world.refused(path, method=method) == (401, "unauthorized")
    assert await world.refused(path, "wrong", method) == (401, "bad_key")
    assert await world.refused(path, headers={"Authorization": f"Basic {API_KEY}"}, method=method) == (
        401,
        "unauthorized",
    )
    assert (await world.ask(path, method=method)).headers["WWW-Authenticate"] == "Bearer"
    assert world.rooms.done == []


async def test_a_key_in_the_url_is_no_key(world: World) -> None:
    """URLs are logged, by proxies too; draft-uberti's ``key`` parameter is not taken."""
    assert await world.refused(f"/v1/turn?service=turn&key={ADMIN_KEY}") == (401, "unauthorized")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/rooms"),
        ("GET", "/v1/rooms/demo"),
        ("GET", "/v1/rooms/other"),
        ("DELETE", "/v1/rooms/demo"),
        ("DELETE", "/v1/rooms/demo/peers/abcdefghij"),
    ],
)
async def test_rooms_are_for_admin_keys(world: World, method: str, path: str) -> None:
    assert await world.refused(path, API_KEY, method) == (403, "forbidden")
    assert await world.refused(path, token(role="host"), method) == (401, "bad_key")
    assert world.rooms.done == []


async def test_guessing_ends(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """10 wrong keys in 30 minutes, as of sockets; a right one is never refused because of others' wrong ones."""
    caplog.set_level(logging.DEBUG, "meshturn")
    for _ in range(WRONG_KEYS):
        assert await world.refused("/v1/rooms", "guess-guess-guess") == (401, "bad_key")
    answer = await world.ask("/v1/rooms", "guess-guess-guess")
    assert answer.status == 429
    assert int(answer.headers["Retry-After"]) == WRONG_KEY_WINDOW + 1
    assert await world.refused("/v1/turn", token()[:-4] + "AAAA") == (429, "rate_limited")
    assert (await world.ask("/v1/rooms", ADMIN_KEY)).status == 200
    assert (await world.ask("/v1/turn", token())).status == 200
    assert [record.getMessage() for record in caplog.records].count("wrong API key") == WRONG_KEYS
    assert "rate_limited" in {vars(record)["fields"].get("cause") for record in caplog.records}
    world.now = Now(NOW.mono + WRONG_KEY_WINDOW, NOW.wall)
    assert await world.refused("/v1/rooms", "another-wrong-guess") == (401, "bad_key")
    assert "guess-guess-guess" not in caplog.text


async def test_forgetting_the_key_is_no_guess(world: World) -> None:
    for _ in range(WRONG_KEYS + 1):
        assert (await world.ask("/v1/rooms")).status == 401
    assert (await world.ask("/v1/rooms", ADMIN_KEY)).status == 200


async def test_an_expired_token_is_no_guess_but_a_forged_one_is(world: World) -> None:
    old = token(wall=NOW.wall - 86400)
    for _ in range(WRONG_KEYS + 1):
        assert await world.refused("/v1/turn", old) == (401, "token_expired")
    forged = token()[:-4] + "AAAA"
    for _ in range(WRONG_KEYS):
        assert await world.refused("/v1/turn", forged) == (401, "bad_token")
    assert await world.refused("/v1/turn", forged) == (429, "rate_limited")


@pytest.mark.parametrize("value", ["Bearer", "Bearer ", "bearer  ", "", "Bearer\t", "x" * 8000])
async def test_strange_authorizations(world: World, value: str) -> None:
    status, _ = await world.refused("/v1/rooms", headers={"Authorization": value})
    assert status == 401


async def test_keys_that_are_not_ascii(world: World) -> None:
    assert await world.refused("/v1/rooms", "schl\u00fcssel") == (401, "bad_key")
    world.api.options = ApiOptions(admin_keys={"support": "der schl\u00fcssel zum haus"})
    assert (await world.ask("/v1/rooms", "der schl\u00fcssel zum haus")).status == 200


async def test_keys_can_be_replaced(world: World) -> None:
    """As they are when the configuration is read again."""
    world.api.options = ApiOptions(admin_keys={"support": "another admin key"})
    assert (await world.ask("/v1/rooms", ADMIN_KEY)).status == 401
    assert (await world.ask("/v1/rooms", "another admin key")).status == 200


# TURN credentials


async def test_a_credential_in_the_shape_of_draft_uberti(world: World) -> None:
    answer = await world.ask("/v1/turn?service=turn&username=ann&ttl=300", API_KEY)
    made = await answer.json()
    username = "1700000300:ann"
    password = base64.b64encode(hmac.new(SECRET, username.encode(), hashlib.sha1).digest()).decode()
    assert answer.status == 200
    assert answer.headers["Cache-Control"] == "no-store"
    assert made == {
        "username": username,
        "password": password,
        "ttl": 300,
        "uris": ["turn:127.0.0.1:3478?transport=udp", "turns:127.0.0.1:5349?transport=tcp"],
    }


async def test_what_goes_without_saying(world: World) -> None:
    made = await (await world.ask("/v1/turn", API_KEY)).json()
    assert (made["username"], made["ttl"]) == ("1700000600", 600)
    made = await (await world.ask("/v1/turn?ttl=999999999", ADMIN_KEY)).json()
    assert made["ttl"] == 86400


@pytest.mark.parametrize(
    "query",
    ["ttl=0", "ttl=-1", "ttl=1.5", "ttl=", "ttl=9999999999", "service=stun", "username=a%0Ab", "username=" + "x" * 600],
)
async def test_what_no_credential_can_be_made_of(world: World, query: str) -> None:
    assert await world.refused(f"/v1/turn?{query}", API_KEY) == (400, "bad_request")


async def test_the_host_is_how_the_client_came(world: World) -> None:
    world.api.options = ApiOptions(
        KEYS,
        IceServers(
            SharedSecret(SECRET), ":", 600, "all", UrlsByHost([(ClientTransport.UDP, Address.parse("0.0.0.0", 3478))])
        ),
        {"website": API_KEY},
    )
    for host, uri in (
        ("turn.example.org", "turn:turn.example.org:3478?transport=udp"),
        ("turn.example.org:8443", "turn:turn.example.org:3478?transport=udp"),
        ("[2001:db8::7]:443", "turn:[2001:db8::7]:3478?transport=udp"),
    ):
        made = await (await world.ask("/v1/turn", API_KEY, headers={"Host": host})).json()
        assert made["uris"] == [uri]


async def test_a_credential_is_a_line_as_a_token_is(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Who got one for whom, by key or by room token, and for how long; never the credential."""
    caplog.set_level(logging.INFO, "meshturn")
    made = await (await world.ask("/v1/turn?username=ann&ttl=60", API_KEY)).json()
    await world.ask("/v1/turn", token())
    by_key, by_token = [vars(record)["fields"] for record in caplog.records]
    assert by_key == {"client": "127.0.0.1", "key": "website", "user": "ann", "ttl": 60}
    assert (by_token["room"], by_token["ttl"]) == ("demo", 600)
    assert [record.getMessage() for record in caplog.records] == ["TURN credential issued"] * 2
    assert made["password"] not in str([vars(record) for record in caplog.records])


async def test_a_refused_request_is_a_line_with_its_code(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """The kind: a refusal that only the client sees. What scanners cause is not at info."""
    caplog.set_level(logging.INFO, "meshturn")
    await world.refused("/v1/rooms", API_KEY)
    await world.refused("/v1/rooms")
    await world.refused("/v1/rooms/none", ADMIN_KEY)
    (record,) = caplog.records
    assert record.getMessage() == "API request refused"
    fields = vars(record)["fields"]
    assert (fields["path"], fields["status"], fields["cause"]) == ("/v1/rooms", "403", "forbidden")


async def test_a_room_token_is_enough_for_a_credential(world: World) -> None:
    """The user is the token's, whatever is asked for: a member cannot pass for another, nor outlive its token."""
    made = await (await world.ask("/v1/turn?username=hash.abcdefghij&ttl=86400", token())).json()
    expiry, _, user = made["username"].partition(":")
    room = hashlib.sha256(b"demo").hexdigest()[:10]
    assert int(expiry) == NOW.wall + 600
    assert user.startswith(f"{room}.token-")
    made = await (await world.ask("/v1/turn", token(ttl=100))).json()
    assert made["ttl"] == 100 + LEEWAY
    made = await (await world.ask("/v1/turn", token(room="*"))).json()
    assert ":any.token-" in made["username"]


async def test_a_token_for_once_is_for_entering(world: World) -> None:
    assert await world.refused("/v1/turn", token(once=True)) == (403, "forbidden")


async def test_who_is_banned_gets_no_credential(world: World) -> None:
    assert await world.refused("/v1/turn", token(subject="mallory")) == (403, "banned")


async def test_a_server_without_a_shared_secret(world: World) -> None:
    world.api.options = ApiOptions(TokenKeys(), IceServers(None, ":", 600, "all", UrlsByHost([])), {"website": API_KEY})
    assert await world.refused("/v1/turn", API_KEY) == (503, "no_turn")
    assert await world.refused("/v1/tokens", API_KEY, "POST", json={"room": "demo"}) == (503, "no_key")
    world.api.options = ApiOptions(api_keys={"website": API_KEY})
    assert await world.refused("/v1/turn", API_KEY) == (503, "no_turn")
    assert await world.refused("/v1/tokens", API_KEY, "POST", json={"room": "demo"}) == (503, "no_key")
    assert await world.refused("/v1/turn", token()) == (401, "bad_key")


# Room tokens


async def test_a_room_token(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "meshturn")
    asked = {
        "room": "demo",
        "role": "host",
        "ttl": 60,
        "name": "Ann",
        "sub": "ann",
        "caps": ["message"],
        "max": 3,
        "once": True,
    }
    answer = await world.ask("/v1/tokens", API_KEY, "POST", json=asked)
    made = await answer.json()
    assert answer.status == 201
    grant = KEYS.admit(made["token"], NOW.wall)
    assert grant._replace(token_id=None) == grant._make(
        ("demo", "host", "ann", "Ann", frozenset({"message"}), 3, None, True, NOW.wall + 60 + LEEWAY, False, 0)
    )
    assert made == {
        "token": made["token"],
        "room": "demo",
        "role": "host",
        "expires_at": NOW.wall + 60,
        "path": f"/call/demo#token={made['token']}",
    }
    assert made["token"] not in caplog.text
    fields = vars(caplog.records[-1])["fields"]
    assert (fields["key"], fields["room"]) == ("website", "demo")


async def test_a_room_token_for_a_number_of_sessions(world: World) -> None:
    """It opens so many, so it is no token for TURN credentials without end."""
    answer = await world.ask("/v1/tokens", API_KEY, "POST", json={"room": "demo", "uses": 3, "shared": True})
    token = (await answer.json())["token"]
    assert KEYS.admit(token, NOW.wall).uses == 3
    answer = await world.ask("/v1/turn", token)
    assert (answer.status, (await answer.json())["error"]["code"]) == (403, "forbidden")
    answer = await world.ask("/v1/tokens", API_KEY, "POST", json={"room": "demo", "uses": 101})
    assert answer.status == 400


async def test_a_room_token_for_several_people(world: World) -> None:
    """Its id names none of them, so a ban must not go by it; for one entry there is only one."""
    answer = await world.ask("/v1/tokens", API_KEY, "POST", json={"room": "demo", "shared": True})
    assert KEYS.admit((await answer.json())["token"], NOW.wall).shared
    answer = await world.ask("/v1/tokens", API_KEY, "POST", json={"room": "demo", "shared": True, "once": True})
    assert answer.status == 400


async def test_tokens_differ(world: World) -> None:
    one, two = [
        (await (await world.ask("/v1/tokens", ADMIN_KEY, "POST", json={"room": "demo"})).json())["token"]
        for _ in range(2)
    ]
    assert KEYS.admit(one, NOW.wall).token_id != KEYS.admit(two, NOW.wall).token_id
    assert KEYS.admit(one, NOW.wall).role == "member"
    assert KEYS.admit(one, NOW.wall).expires == NOW.wall + 3600 + LEEWAY


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"[]", b"null", b"7", b"\xff", b"{}", b'{"room": 7}', b'{"room": "a b"}', b'{"room": ""}',
        b'{"room": "demo", "rol": "host"}', b'{"room": "demo", "role": "admin"}', b'{"room": "demo", "ttl": 0}',
        b'{"room": "demo", "ttl": "60"}', b'{"room": "demo", "ttl": 999999999}', b'{"room": "demo", "ttl": NaN}',
        b'{"room": "demo", "max": 101}', b'{"room": "demo", "caps": ["fly"]}', b'{"room": "demo", "once": 1}',
        b'{"room": "demo", "shared": 1}',
        b'{"room": "demo", "name": ""}', b"[" * 16000,
    ],
)  # fmt: skip
async def test_what_no_token_can_be_made_of(world: World, body: bytes) -> None:
    assert await world.refused("/v1/tokens", API_KEY, "POST", data=body) == (400, "bad_request")


async def test_a_body_has_an_end(world: World) -> None:
    assert await world.refused("/v1/tokens", API_KEY, "POST", data=b" " * (MAX_BODY + 1)) == (413, "too_large")

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(MAX_BODY // 1024 + 1):
            yield b" " * 1024

    assert await world.refused("/v1/tokens", API_KEY, "POST", data=chunks()) == (413, "too_large")


async def test_who_may_not_ask_is_not_read(world: World) -> None:
    assert await world.refused("/v1/tokens", token(role="host"), "POST", json={"room": "demo"}) == (401, "bad_key")


# Rooms


async def test_rooms(world: World) -> None:
    found = await (await world.ask("/v1/rooms", ADMIN_KEY)).json()
    assert [room["id"] for room in found["rooms"]] == ["demo"]
    found = await (await world.ask("/v1/rooms/demo", ADMIN_KEY)).json()
    assert (found["id"], [peer["name"] for peer in found["peers"]], found["pairs"]) == ("demo", ["Ann"], [])
    assert found["media"] == {"epoch": 7}
    assert await world.refused("/v1/rooms/other", ADMIN_KEY) == (404, "not_found")


async def test_a_room_is_closed(world: World) -> None:
    answer = await world.ask("/v1/rooms/demo", ADMIN_KEY, "DELETE")
    assert (answer.status, await answer.read()) == (204, b"")
    assert world.rooms.done == [("close", "demo"), ("work",)]
    assert await world.refused("/v1/rooms/demo", ADMIN_KEY, method="DELETE") == (404, "not_found")


async def test_a_room_is_recorded(world: World) -> None:
    path = "/v1/rooms/demo/recording"
    assert await world.refused(path, API_KEY, "POST") == (403, "forbidden")
    assert await world.refused(path, ADMIN_KEY) == (405, "method_not_allowed")
    answer = await world.ask(path, ADMIN_KEY, "POST")
    assert (answer.status, await answer.json()) == (202, {"room": "demo"})
    answer = await world.ask(path, ADMIN_KEY, "DELETE")
    assert (answer.status, await answer.read()) == (204, b"")
    assert world.rooms.done == [("record", "demo", "True"), ("work",), ("record", "demo", "False"), ("work",)]
    assert await world.refused("/v1/rooms/nowhere/recording", ADMIN_KEY, "POST") == (404, "not_found")
    world.rooms.records = False
    assert await world.refused(path, ADMIN_KEY, "POST") == (409, "no_recording")


async def test_a_participant_is_removed(world: World) -> None:
    path = "/v1/rooms/demo/peers/abcdefghij"
    assert (await world.ask(f"{path}?reason=be%20kind", ADMIN_KEY, "DELETE")).status == 204
    assert world.rooms.done == [("kick", "demo", "abcdefghij", "be kind"), ("work",)]
    assert await world.refused("/v1/rooms/demo/peers/nobody", ADMIN_KEY, "DELETE") == (404, "not_found")
    for reason in ("x" * 201, "a%0Ab", "%1b"):
        assert await world.refused(f"{path}?reason={reason}", ADMIN_KEY, "DELETE") == (400, "bad_request")


@pytest.mark.parametrize("room", ["%2e%2e%2fv1", "%00", "a%2fb", "%F0%9F%98%80", "x" * 1000, "%ff"])
async def test_strange_names_name_no_room(world: World, room: str) -> None:
    assert await world.refused(f"/v1/rooms/{room}", ADMIN_KEY) == (404, "not_found")


async def test_draining_is_for_admin_keys(world: World) -> None:
    """The answer says what is left, and when it ends at the latest."""
    assert await world.refused("/v1/drain", method="POST") == (401, "unauthorized")
    assert await world.refused("/v1/drain", API_KEY, method="POST") == (403, "forbidden")
    assert await world.refused("/v1/drain", ADMIN_KEY) == (405, "method_not_allowed")
    assert world.rooms.done == []
    answer = await world.ask("/v1/drain", ADMIN_KEY, method="POST")
    said = {"draining": True, "allocations": 3, "rooms": 1, "until": 1_700_003_600}
    assert (answer.status, await answer.json()) == (202, said)
    world.rooms.drains = False
    assert await world.refused("/v1/drain", ADMIN_KEY, method="POST") == (503, "no_drain")


async def test_the_schema_is_for_everybody(world: World) -> None:
    answer = await world.ask("/v1/schema.json")
    assert answer.content_type == "application/schema+json"
    assert json.loads(await answer.text()) == json.loads(json.dumps(json_schema()))


@pytest.mark.parametrize(("method", "path"), [("POST", "/v1/turn"), ("GET", "/v1/tokens"), ("PUT", "/v1/rooms/demo")])
async def test_other_methods(world: World, method: str, path: str) -> None:
    answer = await world.ask(path, ADMIN_KEY, method)
    assert answer.status == 405
    assert method not in answer.headers["Allow"]
    assert (await answer.json())["error"]["code"] == "method_not_allowed"


# Pages elsewhere (Fetch §3.2)


async def test_pages_of_other_origins_are_not_let_near(world: World) -> None:
    origin = {"Origin": "https://app.example.org"}
    for method in ("GET", "OPTIONS"):
        answer = await world.ask("/v1/turn", API_KEY, method, headers=origin)
        assert not [name for name in answer.headers if name.startswith("Access-Control-")]


async def test_pages_of_configured_origins_are(world: World) -> None:
    world.api.options = ApiOptions(KEYS, ICE, {"website": API_KEY}, origins=("https://app.example.org",))
    origin = {"Origin": "https://app.example.org"}
    answer = await world.ask("/v1/turn", method="OPTIONS", headers={**origin, "Access-Control-Request-Method": "GET"})
    assert answer.status == 204
    assert answer.headers["Access-Control-Allow-Origin"] == "https://app.example.org"
    assert "Authorization" in answer.headers["Access-Control-Allow-Headers"]
    assert "GET" in answer.headers["Access-Control-Allow-Methods"]
    for key, status in ((API_KEY, 200), ("wrong", 401)):
        answer = await world.ask("/v1/turn", key, headers=origin)
        assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (status, "https://app.example.org")
        assert answer.headers["Vary"] == "Origin"
    answer = await world.ask("/v1/turn", API_KEY, headers={"Origin": "https://evil.example"})
    assert "Access-Control-Allow-Origin" not in answer.headers
    assert answer.headers["Vary"] == "Origin"


async def test_every_origin(world: World) -> None:
    """Never with cookies, for there are none: the key is all that counts."""
    world.api.options = ApiOptions(KEYS, ICE, {"website": API_KEY}, origins=("*",))
    answer = await world.ask("/v1/turn", API_KEY, headers={"Origin": "https://anywhere.example"})
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert "Access-Control-Allow-Credentials" not in answer.headers


def test_repr_shows_no_key() -> None:
    assert API_KEY not in repr(OPTIONS)
    assert ADMIN_KEY not in repr(OPTIONS)


def test_keys_of_the_configuration() -> None:
    """Each under its name."""
    keys = {"api_keys": {"app": "a" * 20}, "admin_keys": {"ops": "b" * 20}, "origins": ["https://app.example.org"]}
    options = ApiOptions.from_config(load_mapping({"signaling": keys}).config.signaling, KEYS, ICE)
    assert (options.api_keys, options.admin_keys) == ({"app": "a" * 20}, {"ops": "b" * 20})
    assert (options.tokens, options.ice) == (KEYS, ICE)
    assert list(options.origins) == ["https://app.example.org"]
    assert "a" * 20 not in repr(options)


# Scopes


ALLOWED = {
    ("GET", "/v1/turn"): {"turn", "admin"},
    ("POST", "/v1/tokens"): {"tokens", "admin"},
    ("POST", "/v1/drain"): {"admin"},
    ("GET", "/v1/status"): {"admin:read", "admin"},
    ("GET", "/v1/history"): {"admin:read", "admin"},
    ("GET", "/v1/config"): {"admin:read", "admin"},
    ("POST", "/v1/probe"): {"probe", "admin"},
    ("GET", "/v1/rooms"): {"rooms", "admin:read", "admin"},
    ("GET", "/v1/rooms/{room}"): {"rooms", "admin:read", "admin"},
    ("DELETE", "/v1/rooms/{room}"): {"rooms", "admin"},
    ("POST", "/v1/rooms/{room}/recording"): {"rooms", "admin"},
    ("DELETE", "/v1/rooms/{room}/recording"): {"rooms", "admin"},
    ("DELETE", "/v1/rooms/{room}/peers/{peer}"): {"rooms", "admin"},
}
"""What each request needs, as docs/api.md says it. What is not here is for everybody."""

PUBLIC = {("GET", "/v1/schema.json"), ("GET", "/v1/openapi.json")}


def stored(path: Path, *scopes: Scope, ttl: int | None = None) -> str:
    """A key in the file: its secret."""
    key, secret = new_key("k", frozenset(scopes), lambda size: hashlib.sha256(repr(scopes).encode()).digest()[:size], 0)
    expires = None if ttl is None else int(NOW.wall) + ttl
    KeyFile(path).change(lambda present: [*present, key._replace(expires=expires)])
    return secret


def requests_of(world: World) -> set[tuple[str, str]]:
    """Every method and path of the application itself."""
    app = world.client.app
    assert app is not None
    return {
        (route.method, route.resource.canonical)
        for route in app.router.routes()
        if route.resource is not None and route.method not in {"OPTIONS", "*"}
    }


async def test_every_request_needs_its_scope_and_says_so(world: World, tmp_path: Path) -> None:
    """Each with a key of each single scope; ``admin`` is enough for all. The error names what is missing."""
    path = tmp_path / "keys"
    secrets = {scope: stored(path, scope) for scope in Scope}
    world.api.options = ApiOptions(KEYS, ICE, stored=WatchedKeys(path))
    assert requests_of(world) == {*ALLOWED, *PUBLIC}
    for (method, pattern), enough in ALLOWED.items():
        where = pattern.replace("{room}", "nowhere").replace("{peer}", "nobody")
        for scope, secret in secrets.items():
            answer = await world.ask(where, secret, method)
            assert (answer.status == 403) is (str(scope) not in enough), (method, pattern, scope)
            if answer.status == 403:
                said = (await answer.json())["error"]
                assert said["code"] == "forbidden"
                assert all(name in said["msg"] for name in enough - {"admin"})
                assert f"has the scope {scope}" in said["msg"]
                assert 'error="insufficient_scope"' in answer.headers["WWW-Authenticate"]


async def test_nothing_but_the_descriptions_is_for_everybody(world: World) -> None:
    """The kind: a request that somebody adds and forgets to protect."""
    for method, pattern in requests_of(world):
        where = pattern.replace("{room}", "demo").replace("{peer}", "abcdefghij")
        for headers in ({}, {"Authorization": "Basic YWRtaW46YWRtaW4="}, {"Cookie": f"key={ADMIN_KEY}"}):
            answer = await world.ask(
                f"{where}?key={ADMIN_KEY}&access_token={ADMIN_KEY}", method=method, headers=headers
            )
            assert answer.status == (200 if (method, pattern) in PUBLIC else 401), (method, pattern)
    assert world.rooms.done == []


async def test_a_key_of_the_file_is_good_until_it_is_revoked(world: World, tmp_path: Path) -> None:
    """From the next request on, without a reload; several keys of one name are good at once."""
    path = tmp_path / "keys"
    world.api.options = ApiOptions(KEYS, ICE, stored=WatchedKeys(path))
    assert await world.refused("/v1/rooms", "mtk_nothing") == (401, "bad_key")
    one, two = stored(path, Scope.ROOMS), stored(path, Scope.ADMIN_READ)
    for secret in (one, two):
        assert (await world.ask("/v1/rooms", secret)).status == 200

    def without_the_first(present: tuple[StoredKey, ...]) -> list[StoredKey]:
        return [key for key in present if key.scopes != {Scope.ROOMS}]

    KeyFile(path).change(without_the_first)
    assert await world.refused("/v1/rooms", one) == (401, "bad_key")
    assert (await world.ask("/v1/rooms", two)).status == 200


async def test_a_key_that_has_expired(world: World, tmp_path: Path) -> None:
    """It says so, and is no guess."""
    path = tmp_path / "keys"
    secret = stored(path, Scope.ADMIN, ttl=60)
    world.api.options = ApiOptions(KEYS, ICE, stored=WatchedKeys(path))
    assert (await world.ask("/v1/rooms", secret)).status == 200
    world.now = Now(NOW.mono, NOW.wall + 60)
    for _ in range(WRONG_KEYS + 1):
        assert await world.refused("/v1/rooms", secret) == (401, "key_expired")


def test_the_file_of_the_configuration(tmp_path: Path) -> None:
    """The same object stays over a reload, so that it does not begin anew; another path is another file."""
    path = tmp_path / "keys"

    def made(file: Path | None, before: ApiOptions | None = None) -> ApiOptions:
        config = load_mapping({"signaling": {"keys_file": None if file is None else str(file)}}).config
        return ApiOptions.from_config(config.signaling, KEYS, ICE, before)

    first = made(path)
    assert first.stored is not None
    assert made(path, first).stored is first.stored
    other = made(tmp_path / "others", first).stored
    assert other is not None
    assert other.path == tmp_path / "others"
    assert made(None, first).stored is None
