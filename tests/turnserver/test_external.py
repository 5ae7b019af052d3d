"""The public addresses in front of a server: one for whatever address it has, or what a STUN server says.

The STUN server is a socket that answers as the test wants; that a real NAT is found is tested in ``tests/net``.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from ipaddress import ip_address
from typing import Any

import pytest

from stun import attributes as a
from stun.address import Address
from stun.constants import MessageClass, TransportProtocol
from stun.message import Message, MessageBuilder
from tests.support.netns import NetworkNamespace
from turnserver import external
from turnserver.config import Config, External, RelayConfig
from turnserver.core.settings import OwnAddresses, RelayAddress
from turnserver.errors import StartupError
from turnserver.external import absent_addresses, resolved
from turnserver.server import Reload, Server
from turnserver.transports.listeners import expanded

LIMIT = 60.0
LOOPBACK = Address.parse("127.0.0.1", 0).ip
LISTENER = {"address": "127.0.0.1", "port": 0}
AUTH = {"users": {"alice": "secret"}}


def packed(*hosts: str) -> list[bytes]:
    return [ip_address(host).packed for host in hosts]


def section(**options: Any) -> RelayConfig:
    return Config.model_validate({"relay": options}).relay


def pairs(relay: RelayConfig) -> dict[str, str]:
    return {str(own): str(public) for own, public in relay.external.items()}


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(LIMIT):
        while not condition():
            await asyncio.sleep(0.01)


class Teller(asyncio.DatagramProtocol):
    """A STUN server that says ``told``; None: nothing at all."""

    def __init__(self, told: str | None) -> None:
        self.told = told
        self.asked = 0
        self.port = 0

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.port = transport.get_extra_info("sockname")[1]

    def datagram_received(self, data: bytes, addr: Any) -> None:
        request = Message.decode(data)
        self.asked += 1
        if self.told is not None:
            answer = MessageBuilder(request.method, MessageClass.SUCCESS, request.transaction_id)
            answer.add(a.XOR_MAPPED_ADDRESS, Address.parse(self.told, 4711))
            self.transport.sendto(answer.build(), addr)

    @property
    def options(self) -> dict[str, Any]:
        return {"external": "auto", "stun_server": f"127.0.0.1:{self.port}"}


@pytest.fixture
async def teller() -> AsyncIterator[Teller]:
    transport, protocol = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: Teller("203.0.113.5"), local_addr=("127.0.0.1", 0)
    )
    yield protocol
    transport.close()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask often, and do not wait long."""
    for name, seconds in (("_PATIENCE", 0.2), ("_INTERVAL", 0.05), ("_RETRY", 0.05)):
        monkeypatch.setattr(external, name, seconds)


@pytest.fixture
def inside() -> Iterator[NetworkNamespace]:
    """The test is inside a namespace of its own, with loopback only."""
    with NetworkNamespace() as namespace, namespace.entered():
        yield namespace


def shown(server: Server) -> list[str]:
    return [Address(relay.external, 0).host for relay in server.snapshot().relays]


# Which address is for which


def test_a_mapping_is_left_alone() -> None:
    relay = section(external={"10.0.0.5": "203.0.113.5"})
    assert resolved(relay, packed("10.0.0.5")) is relay


@pytest.mark.parametrize(
    ("public", "bound", "expected"),
    [
        ("203.0.113.5", ["10.0.0.5"], {"10.0.0.5": "203.0.113.5"}),
        ("203.0.113.5", ["10.0.0.5", "fd00::5"], {"10.0.0.5": "203.0.113.5"}),
        ("2001:db8::5", ["10.0.0.5", "fd00::5"], {"fd00::5": "2001:db8::5"}),
        ("203.0.113.5", ["127.0.0.1"], {"127.0.0.1": "203.0.113.5"}),
        ("203.0.113.5", ["fd00::5"], {}),
    ],
)
def test_one_address_is_for_that_of_its_family(public: str, bound: list[str], expected: dict[str, str]) -> None:
    """Rule 23: whatever our own address is, as in a cloud or a container that gives another one each time."""
    relay = resolved(section(external=public), packed(*bound))
    assert (pairs(relay), relay.addresses) == (expected, ())


def test_two_addresses_do_not_share_a_public_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rule 23: their ports would collide there. It is for the one that the host sends from; Docker's bridge is not."""
    bound = packed("172.17.0.1", "10.0.0.5", "fd00::5")
    for source, kept in (("10.0.0.5", "10.0.0.5"), ("192.0.2.77", "172.17.0.1")):
        monkeypatch.setattr(external, "source_address", lambda towards, source=source: packed(source)[0])
        relay = resolved(section(external="203.0.113.5"), bound)
        assert [str(address) for address in relay.addresses] == [kept, "fd00::5"]
        assert set(OwnAddresses.of(relay, ()).relays) == {
            RelayAddress(packed(kept)[0], packed("203.0.113.5")[0]),
            RelayAddress(packed("fd00::5")[0], packed("fd00::5")[0]),
        }


def test_a_host_that_has_the_public_address_itself() -> None:
    relay = resolved(section(external="203.0.113.5"), packed("10.0.0.5", "203.0.113.5"))
    assert [str(address) for address in relay.addresses] == ["203.0.113.5"]


def test_what_a_stun_server_says_is_for_the_address_that_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several addresses, each with its public one; one that is unknown stays as it is."""
    monkeypatch.setattr(external, "source_address", lambda towards: packed("10.0.0.6")[0])
    bound = packed("10.0.0.5", "10.0.0.6", "10.0.0.7", "192.168.0.1")
    told = dict(zip(bound, packed("203.0.113.5", "203.0.113.6", "203.0.113.6"), strict=False))
    relay = resolved(section(external="auto", stun_server="stun.example.org"), bound, told)
    assert [str(address) for address in relay.addresses] == ["10.0.0.5", "10.0.0.6", "192.168.0.1"]
    assert pairs(relay) == {"10.0.0.5": "203.0.113.5", "10.0.0.6": "203.0.113.6", "10.0.0.7": "203.0.113.6"}


# On this host


def test_addresses_that_the_host_does_not_have() -> None:
    """All of 127/8 is this host's; 203.0.113.0/24 is nobody's (RFC 5737)."""
    own = {ip_address(host): ip_address("198.51.100.1") for host in ("127.0.0.9", "203.0.113.77")}
    assert absent_addresses(External(own)) == ["203.0.113.77"]


async def test_a_mapping_of_somebody_elses_address_is_an_error_at_the_start() -> None:
    """Clients would be told our private address, in silence: the mapping would not be used."""
    options = {"listeners": [LISTENER], "auth": AUTH, "relay": {"external": {"203.0.113.77": "198.51.100.1"}}}
    with pytest.raises(StartupError, match=r"203\.0\.113\.77, not an address of this machine") as caught:
        await Server(options).start()
    assert "relay.external: ADDRESS" in caught.value.hint


async def test_the_same_at_a_reload_changes_nothing() -> None:
    options = {"listeners": [LISTENER], "auth": AUTH, "relay": {"external": {"127.0.0.1": "198.51.100.1"}}}
    async with Server(options) as server:
        with pytest.raises(StartupError):
            await server.reload({**options, "relay": {"external": {"203.0.113.77": "198.51.100.2"}}})
        assert shown(server) == ["198.51.100.1"]
        assert (await server.reload(options)).taken == ()


async def test_one_address_whatever_ours_is() -> None:
    async with Server({"listeners": [LISTENER], "auth": AUTH, "relay": {"external": "203.0.113.5"}}) as server:
        assert shown(server) == ["203.0.113.5"]


@pytest.mark.process
async def test_one_address_for_an_address_that_comes_later(inside: NetworkNamespace) -> None:
    """DHCP, late in the boot: the relays follow, and the public address is for the new one."""
    options = {"listeners": [{"address": "0.0.0.0", "port": 3478}], "auth": AUTH, "relay": {"external": "203.0.113.5"}}
    async with Server(options) as server:
        assert [Address(relay.bound, 0).host for relay in server.snapshot().relays] == ["127.0.0.1"]
        inside.ip("addr add 10.0.0.5/24 dev lo")
        wanted = (RelayAddress(packed("10.0.0.5")[0], packed("203.0.113.5")[0]),)
        await until(lambda: server.snapshot().relays == wanted)
        assert [each.port for each in expanded(server.config.listeners[0])] == [3478, 3478]


@pytest.mark.process
async def test_a_private_address_without_a_public_one_is_a_warning(
    inside: NetworkNamespace, caplog: pytest.LogCaptureFixture
) -> None:
    """At the start, and when the option is taken away; once for the same addresses."""
    inside.ip("addr add 10.0.0.5/24 dev lo")
    base = {"listeners": [{"address": "10.0.0.5", "port": 3478}], "auth": AUTH}

    def warnings() -> list[str]:
        return [text for text in (record.getMessage() for record in caplog.records) if "is private" in text]

    async with Server(base) as server:
        assert [("10.0.0.5" in text, "relay.external" in text) for text in warnings()] == [(True, True)]
        await server.reload({**base, "software": "new"})
        assert len(warnings()) == 1
        await server.reload({**base, "relay": {"external": "203.0.113.5"}})
        assert len(warnings()) == 1
        await server.reload(base)
        assert len(warnings()) == 2


@pytest.mark.process
async def test_only_what_is_behind_a_nat_is_asked_for(
    inside: NetworkNamespace, caplog: pytest.LogCaptureFixture
) -> None:
    """A public IPv6 address beside a private IPv4 one needs no answer of a STUN server that has IPv4 only."""
    inside.ip("addr add 10.0.0.5/24 dev lo")
    inside.ip("addr add 2a00::5/128 dev lo nodad")
    transport, told = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: Teller("203.0.113.5"), local_addr=("127.0.0.1", 0)
    )
    listeners = [{"address": address, "port": 3478} for address in ("10.0.0.5", "2a00::5")]
    try:
        async with Server({"listeners": listeners, "auth": AUTH, "relay": told.options}) as server:
            assert shown(server) == ["203.0.113.5", "2a00::5"]
    finally:
        transport.close()
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


# Asked of a STUN server


async def test_what_the_stun_server_says_is_advertised(teller: Teller, caplog: pytest.LogCaptureFixture) -> None:
    """It is known before the first client is served."""
    caplog.set_level(logging.INFO)
    async with Server({"listeners": [LISTENER], "auth": AUTH, "relay": teller.options}) as server:
        assert shown(server) == ["203.0.113.5"]
        assert teller.asked == 1
    (record,) = [record for record in caplog.records if record.getMessage() == "external address"]
    assert record.__dict__["fields"]["external"] == "203.0.113.5"


@pytest.mark.usefixtures("quick")
async def test_another_public_address_is_noticed(teller: Teller) -> None:
    """Dynamic addresses change; relays that are open keep the address that their clients know (rule 23)."""
    async with Server({"listeners": [LISTENER], "auth": AUTH, "relay": teller.options}) as server:
        assert shown(server) == ["203.0.113.5"]
        teller.told = "203.0.113.6"
        await until(lambda: shown(server) == ["203.0.113.6"])
        teller.told = None  # no answer is no news
        before = teller.asked
        await until(lambda: teller.asked > before + 3)
        assert shown(server) == ["203.0.113.6"]


@pytest.mark.usefixtures("quick")
async def test_the_sfu_follows_another_public_address(teller: Teller) -> None:
    """It names the new one; the peer ACL lets clients of relays reach it by both."""
    signaling = {"enabled": True, "open": True, "mode": "sfu"}
    listener = {"address": "127.0.0.1", "port": 0, "transport": "shared", "tls": False}
    config = {
        "listeners": [LISTENER, listener],
        "auth": AUTH,
        "relay": teller.options,
        "signaling": signaling,
        "media": {"processes": 0},
    }
    async with Server(config) as server:
        parts = server._parts
        assert parts is not None
        assert parts.sfu is not None
        assert parts.core is not None
        parts.sfu.open("r", 1)
        teller.told = "203.0.113.6"
        await until(lambda: shown(server) == ["203.0.113.6"])
        assert [each.host for each in parts.sfu.addresses] == ["203.0.113.6"]
        known = parts.core.state.own.media
        assert [each.public.host for each in known] == ["203.0.113.6", "203.0.113.5"]
        assert all(parts.core.state.own_relays.stands(each.public, TransportProtocol.UDP) for each in known)


@pytest.mark.usefixtures("quick")
async def test_a_stun_server_that_does_not_answer(teller: Teller, caplog: pytest.LogCaptureFixture) -> None:
    """The server starts, says so once, and asks again."""
    teller.told = None
    async with Server({"listeners": [LISTENER], "auth": AUTH, "relay": teller.options}) as server:
        assert shown(server) == ["127.0.0.1"]
        before = teller.asked
        await until(lambda: teller.asked > before + 3)
        (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
        assert record.getMessage() == "external address not known"
        assert "no answer" in str(record.__dict__["fields"]).lower()
        teller.told = "203.0.113.5"
        await until(lambda: shown(server) == ["203.0.113.5"])


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("told", ["0.0.0.0", "224.0.0.1", "169.254.7.7", "2001:db8::1"])
async def test_nonsense_is_not_advertised(told: str, teller: Teller, caplog: pytest.LogCaptureFixture) -> None:
    """The answer is not authenticated; what no peer could send to is no public address."""
    teller.told = told
    async with Server({"listeners": [LISTENER], "auth": AUTH, "relay": teller.options}) as server:
        assert shown(server) == ["127.0.0.1"]
    assert "cannot be the public address" in caplog.text or "external address not known" in caplog.text


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("server_name", ["nowhere.invalid", "[::1]:9", "127.0.0.1:9"])
async def test_a_stun_server_that_is_not_there(server_name: str, caplog: pytest.LogCaptureFixture) -> None:
    """No name, no address of the family, a closed port: each is said, and nothing is stopped by it."""
    options = {"external": "auto", "stun_server": f"stun:{server_name}"}
    async with Server({"listeners": [LISTENER], "auth": AUTH, "relay": options}) as server:
        assert shown(server) == ["127.0.0.1"]
    assert [record.getMessage() for record in caplog.records].count("external address not known") == 1


@pytest.mark.usefixtures("quick")
async def test_the_option_is_live_in_every_form(teller: Teller) -> None:
    """A reload takes each form over from each other one; what is known stays until there is an answer."""
    base = {"listeners": [LISTENER], "auth": AUTH}
    forms: list[tuple[Any, str]] = [
        ({"external": "198.51.100.7"}, "198.51.100.7"),
        (teller.options, "203.0.113.5"),
        ({"external": {"127.0.0.1": "198.51.100.8"}}, "198.51.100.8"),
        (teller.options, "203.0.113.5"),
        ({}, "127.0.0.1"),
        ({"external": "198.51.100.7"}, "198.51.100.7"),
    ]
    async with Server(base) as server:
        for relay, expected in forms:
            assert "relay.external" in (await server.reload({**base, "relay": relay})).taken
            assert shown(server) == [expected]
        teller.told = None
        await server.reload({**base, "relay": teller.options})
        assert shown(server) == ["198.51.100.7"], "kept: the STUN server says nothing"
        teller.told = "203.0.113.9"
        await until(lambda: shown(server) == ["203.0.113.9"])
        before = teller.asked
        assert await server.reload({**base, "relay": {}}) == Reload(taken=("relay.external", "relay.stun_server"))
        assert shown(server) == ["127.0.0.1"]
        assert teller.asked <= before + 1


@pytest.mark.usefixtures("quick")
async def test_a_reload_that_fails_goes_on_asking(teller: Teller, monkeypatch: pytest.MonkeyPatch) -> None:
    base = {"listeners": [LISTENER], "auth": AUTH, "relay": teller.options}
    async with Server(base) as server:
        (transport,) = server.transports

        def fail(*_: object) -> None:
            raise StartupError("no", "")

        with monkeypatch.context() as broken:
            broken.setattr(type(transport), "use", fail)
            with pytest.raises(StartupError):
                await server.reload({**base, "relay": {"external": "198.51.100.7"}})
        assert shown(server) == ["203.0.113.5"]
        teller.told = "203.0.113.6"
        await until(lambda: shown(server) == ["203.0.113.6"])


async def test_a_public_address_of_the_wrong_family_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    """Kind: an option without effect. Only at first, and again when it comes to that by a reload."""
    base: dict[str, Any] = {"listeners": [LISTENER], "auth": AUTH}
    warning = "relay.external is 2001:db8::5, and no relay address is IPv6: no client is told it."

    def warnings() -> int:
        return [record.getMessage() for record in caplog.records].count(warning)

    async with Server({**base, "relay": {"external": "2001:db8::5"}}) as server:
        assert warnings() == 1
        await server.reload({**base, "relay": {"external": "198.51.100.7"}})
        assert warnings() == 1
        await server.reload({**base, "relay": {"external": "2001:db8::5"}})
        assert warnings() == 2
