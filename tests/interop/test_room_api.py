"""Admission and the HTTP API of a real server: who gets in, and what those who were sent out can still do."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import aiohttp
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from stun.address import Address
from tests.support.server import SHARED_SECRET, TurnServerProcess, free_port
from tests.support.signal_wire import Participant, signaling_listeners
from tests.support.turn_client import TurnClient, TurnRefused
from turnserver.signaling.edge.tokens import TokenKeys, derived_key

API_KEY = "website-key-0123456789"
ADMIN_KEY = "support-key-0123456789"
KEYS = TokenKeys([derived_key(SHARED_SECRET.encode())])
ISSUER = ec.generate_private_key(ec.SECP256R1())
PATIENCE = 90


class Server:
    """A running server, and somebody who asks it by HTTP."""

    def __init__(self, process: TurnServerProcess, http: aiohttp.ClientSession) -> None:
        self.process = process
        self.http = http
        self.port = process.port
        self.url = f"http://127.0.0.1:{self.port}"
        self.ws = f"ws://127.0.0.1:{self.port}/v1/ws"

    async def ask(self, method: str, path: str, key: str = ADMIN_KEY, **more: Any) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {key}"}
        async with self.http.request(method, self.url + path, headers=headers, **more) as answer:
            return answer.status, await answer.json() if answer.content_length else None

    async def relay(self, username: str, password: str) -> tuple[TurnClient, Address]:
        """Allocate, off this thread: the client and its relayed address. Raises `TurnRefused`."""

        def allocate() -> tuple[TurnClient, Address]:
            client = TurnClient.udp("127.0.0.1", self.port, username, password)
            try:
                return client, client.allocate().address
            except BaseException:
                client.close()
                raise

        return await asyncio.to_thread(allocate)

    async def until(self, path: str, fits: Any) -> Any:
        """Ask until the answer fits: what the relays carry is looked at every few seconds."""
        async with asyncio.timeout(PATIENCE):
            while not fits(found := (await self.ask("GET", path))[1]):
                await asyncio.sleep(0.1)
        return found


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TurnServerProcess]:
    directory = tmp_path_factory.mktemp("server")
    public = ISSUER.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    (directory / "issuer.pem").write_bytes(public)
    config = {
        "listeners": signaling_listeners(free_port()),
        "relay": {"addresses": ["127.0.0.1"]},
        "auth": {"shared_secrets": [SHARED_SECRET]},
        "peers": {"allow": ["127.0.0.0/8"]},
        "log": {"level": "debug"},
        "signaling": {
            "api_keys": {"website": API_KEY},
            "admin_keys": {"support": ADMIN_KEY},
            "public_keys": ["issuer.pem"],
        },
    }
    with TurnServerProcess(config, directory) as running:
        yield running
    for secret in (SHARED_SECRET, API_KEY, ADMIN_KEY):
        assert secret not in running.log


@pytest.fixture
async def server(process: TurnServerProcess) -> AsyncIterator[Server]:
    async with aiohttp.ClientSession() as http:
        yield Server(process, http)


@pytest.fixture
def room(request: pytest.FixtureRequest) -> str:
    """A room of the test's own: they share one server."""
    return str(request.node.name)[:60]


def is_closed(relayed: Address) -> bool:
    """Whether nobody has that UDP port: the kernel says so at once, and says nothing of one that is open."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((relayed.host, relayed.port))
        probe.setblocking(False)
        try:
            probe.send(b"?")
            probe.recv(1)
        except ConnectionRefusedError:
            return True
        except BlockingIOError:
            return False
    raise AssertionError("an answer from a relayed address")


def minted(room: str, role: str = "member", **more: Any) -> str:
    return KEYS.mint(room, role, 600, time.time(), token_id=more.pop("token_id", room), **more)


async def test_nobody_joins_without_a_token(server: Server) -> None:
    async with Participant(server.ws) as stranger:
        assert (await stranger.hello())["code"] == "auth_required"
        assert (await stranger.closed()).code == 4401


async def test_a_token_of_the_api_opens_its_room_and_no_other(server: Server, room: str) -> None:
    status, made = await server.ask("POST", "/v1/tokens", API_KEY, json={"room": room, "role": "host", "name": "Ann"})
    assert status == 201
    async with Participant(server.ws) as ann:
        assert (await ann.hello(made["token"]))["you"]["role"] == "host"
        assert (await ann.join("other"))["code"] == "forbidden"
        joined = await ann.join(room, "Mallory")
        assert joined["t"] == "joined"
        assert joined["you"]["name"] == "Ann", "the token's name counts"


async def test_somebody_else_s_token_is_as_good(server: Server, room: str) -> None:
    import jwt

    claims = {"room": room, "aud": "meshturn", "exp": time.time() + 60, "sub": "ann@example.org"}
    async with Participant(server.ws) as ann:
        assert (await ann.hello(jwt.encode(claims, ISSUER, "ES256")))["t"] == "hello_ok"
    async with Participant(server.ws) as late:
        assert (await late.hello(jwt.encode({**claims, "exp": 1}, ISSUER, "ES256")))["code"] == "token_expired"
    async with Participant(server.ws) as forger:
        other = ec.generate_private_key(ec.SECP256R1())
        assert (await forger.hello(jwt.encode(claims, other, "ES256")))["code"] == "bad_token"


async def test_a_token_for_once_is_for_once(server: Server, room: str) -> None:
    token = minted(room, once=True)
    async with Participant(server.ws) as first, Participant(server.ws) as second:
        assert (await first.hello(token))["t"] == "hello_ok"
        assert (await first.request(t="ping"))["t"] == "pong", "it has had its answer"
        assert (await second.hello(token))["code"] == "bad_token"


async def test_a_credential_of_the_api_allocates(server: Server) -> None:
    _, made = await server.ask("GET", "/v1/turn?username=ann", API_KEY)
    assert made["uris"] == [
        f"turn:127.0.0.1:{server.port}?transport=udp",
        f"turn:127.0.0.1:{server.port}?transport=tcp",
    ]
    (await server.relay(made["username"], made["password"]))[0].close()
    with pytest.raises(TurnRefused, match="401"):
        await server.relay(made["username"], "wrong")


async def test_the_server_shows_who_relays(server: Server, room: str) -> None:
    async with Participant(server.ws) as ann:
        await ann.hello(minted(room))
        (ice,) = (await ann.join(room, "Ann"))["ice"]["servers"]
        client, _ = await server.relay(ice["username"], ice["credential"])
        found = await server.until("/v1/rooms/" + room, lambda room: room["peers"][0]["turn"]["allocations"])
        (peer,) = found["peers"]
        assert (peer["id"], peer["name"], peer["turn"]["protos"]) == (ann.id, "Ann", ["udp"])
        assert ice["username"].partition(":")[2] == peer["turn"]["user"]
        client.close()
        rooms = {each["id"]: each["count"] for each in (await server.ask("GET", "/v1/rooms"))[1]["rooms"]}
        assert rooms[room] == 1


async def test_who_is_kicked_loses_the_relay_and_gets_no_other(server: Server, room: str) -> None:
    """The allocation ends at once, and the credential that made it makes no second one."""
    async with Participant(server.ws) as ann:
        await ann.hello(minted(room))
        (ice,) = (await ann.join(room, "Ann"))["ice"]["servers"]
        client, relayed = await server.relay(ice["username"], ice["credential"])
        assert not await asyncio.to_thread(is_closed, relayed)
        status, _ = await server.ask("DELETE", f"/v1/rooms/{room}/peers/{ann.id}?reason=noise")
        assert status == 204
        goodbye = await ann.until("goodbye")
        assert (goodbye["code"], goodbye["msg"], goodbye["reconnect"]) == ("kicked", "noise", "never")
        assert (await ann.closed()).code == 4410
        assert await asyncio.to_thread(is_closed, relayed)
        client.close()
        with pytest.raises(TurnRefused, match="401"):
            await server.relay(ice["username"], ice["credential"])
    assert await server.ask("DELETE", f"/v1/rooms/{room}/peers/{ann.id}") == (
        404,
        {"error": {"code": "not_found", "msg": "there is no such room or participant"}},
    )


async def test_who_comes_back_relays_again(server: Server, room: str) -> None:
    """Another session with the same token, and the same session into the same room."""
    async with Participant(server.ws) as ann:
        await ann.hello(minted(room))
        await ann.join(room)
        await server.ask("DELETE", f"/v1/rooms/{room}/peers/{ann.id}")
    async with Participant(server.ws) as again:
        await again.hello(minted(room))
        (ice,) = (await again.join(room))["ice"]["servers"]
        (await server.relay(ice["username"], ice["credential"]))[0].close()


async def test_who_is_banned_gets_nothing_more_for_the_token(server: Server, room: str) -> None:
    token = minted(room, token_id="mallory's")
    async with Participant(server.ws) as host, Participant(server.ws) as mallory:
        await host.hello(minted(room, "host", token_id="host's"))
        await host.join(room)
        await mallory.hello(token)
        await mallory.join(room)
        assert (await server.ask("GET", "/v1/turn", token))[0] == 200
        await host.request(t="mod", op="ban", to=mallory.id)
        assert (await mallory.until("goodbye"))["code"] == "banned"
        status, said = await server.ask("GET", "/v1/turn", token)
        assert (status, said["error"]["code"]) == (403, "banned")


async def test_a_closed_room_is_empty(server: Server, room: str) -> None:
    async with Participant(server.ws) as ann, Participant(server.ws) as bob:
        for participant in (ann, bob):
            await participant.hello(minted(room))
            await participant.join(room)
        assert (await server.ask("DELETE", "/v1/rooms/" + room))[0] == 204
        for participant in (ann, bob):
            assert (await participant.until("goodbye"))["code"] == "room_closed"
    assert room not in [each["id"] for each in (await server.ask("GET", "/v1/rooms"))[1]["rooms"]]


async def test_the_schema_is_served(server: Server) -> None:
    async with server.http.get(server.url + "/v1/schema.json") as answer:
        assert "hello" in (await answer.text()).lower()
        assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")
