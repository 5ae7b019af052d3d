"""Relay truth and verdicts against a real server with real ICE agents (aioice): what the tables say is what happened.

The server runs in this process, so that its events and its allocations can be listened to as the signaling service
does; everything else is real: sockets, TLS, checks, channels, refusals. Time is turned by hand where it must pass.
"""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aioice
import pytest
from aioice.ice import TransportPolicy
from aioice.stun import TransactionFailed
from aioice.turn import create_turn_endpoint

from auth.ephemeral import SharedSecret, mint
from stun.address import Address
from tests.support.certificates import issue
from tests.support.peer import UdpPeer
from turnserver.core.events import Event
from turnserver.core.types import ClientTransport, Counters, Now
from turnserver.server import Server
from turnserver.signaling.protocol.candidates import candidate_types, relay_addresses
from turnserver.signaling.truth.relays import PairPath, RelayTable
from turnserver.signaling.truth.verdict import IceFailure, Side, Verdict, judge

SECRET = "0123456789abcdef0123456789abcdef"
A, B = "1a2b3c4d5e.aaaaaaaaaa", "1a2b3c4d5e.bbbbbbbbbb"
TIMEOUT = 90
"""Seconds until something that has not come about counts as failed."""
MESSAGES = 200
SIZE = 1000
CARRIED = MESSAGES * SIZE
KINDS = {"udp": ClientTransport.UDP, "tcp": ClientTransport.TCP, "tls": ClientTransport.TLS}


class Relay:
    """A server with a relay table that observes it."""

    def __init__(self, **options: Any) -> None:
        self.table = RelayTable(":")
        self.later = 0.0
        defaults: dict[str, Any] = {
            "realm": "example.org",
            "listeners": [{"transport": kind, "address": "127.0.0.1", "port": 0} for kind in ("udp", "tcp")],
            "relay": {"addresses": ["127.0.0.1"]},
            "auth": {"shared_secrets": [SECRET]},
            "peers": {"allow": ["127.0.0.0/8"]},
            "log": {"level": "error"},
        }
        self.server = Server(defaults | options, observers=[self])

    @property
    def now(self) -> Now:
        return Now(time.monotonic() + self.later, time.time() + self.later)

    def on_event(self, event: Event, counters: Counters | None) -> None:
        self.table.event(event, counters, self.now)

    def look(self) -> PairPath:
        """A snapshot of both ends, as the service takes one every few seconds."""
        self.table.snapshot(self.server.snapshot().allocations, self.now)
        return self.table.pair(A, B)

    def port(self, kind: str) -> int:
        return next(address.port for listening, address in self.server.snapshot().listening if listening is KINDS[kind])

    def credentials(self, user: str, lifetime: int = 600) -> tuple[str, str]:
        return mint(SharedSecret(SECRET.encode()), user, int(time.time()) + lifetime)

    async def endpoint(self, user: str, kind: str = "udp", **changes: Any) -> Any:
        """An allocation of aioice's own TURN client."""
        username, password = self.credentials(user, changes.pop("lifetime", 600))
        transport, _ = await create_turn_endpoint(
            asyncio.DatagramProtocol,
            server_addr=("127.0.0.1", self.port(kind)),
            username=username,
            password=changes.pop("password", password),
            transport="udp" if kind == "udp" else "tcp",
        )
        return transport

    def side(self, user: str, local: set[str], *errors: IceFailure, state: str = "failed", **more: Any) -> Side:
        """An end as the hub would put it together, with the facts of the real relay."""
        facts = self.table.facts(user)
        return Side(frozenset(local), states=("checking", state), errors=errors, facts=facts, **more)

    def verdict(self, a: Side, b: Side) -> Verdict:
        return judge(a, b, self.look())


@asynccontextmanager
async def serving(**options: Any) -> AsyncIterator[Relay]:
    relay = Relay(**options)
    async with relay.server, asyncio.timeout(TIMEOUT):
        yield relay


class Agent:
    """One end: an ICE agent with its own allocation, whose candidates go through the server's hands."""

    def __init__(self, server: Relay, user: str, kind: str, *, controlling: bool, relay_only: bool = True) -> None:
        self.server = server
        self.user = user
        username, password = server.credentials(user)
        self.ice = aioice.Connection(
            ice_controlling=controlling,
            turn_server=("127.0.0.1", server.port(kind)),
            turn_username=username,
            turn_password=password,
            turn_ssl=kind == "tls",
            turn_transport="udp" if kind == "udp" else "tcp",
            transport_policy=TransportPolicy.RELAY if relay_only else TransportPolicy.ALL,
            use_ipv6=False,
        )

    async def offer(self, other: "Agent") -> None:
        """Gather, and hand the candidates over by way of the server, which reads them."""
        await self.ice.gather_candidates()
        other.ice.remote_username = self.ice.local_username
        other.ice.remote_password = self.ice.local_password
        for candidate in self.ice.local_candidates:
            line = f"candidate:{candidate.to_sdp()}"
            self.server.table.candidates(self.user, other.user, relay_addresses(line))
            await other.ice.add_remote_candidate(candidate)
        await other.ice.add_remote_candidate(None)

    @property
    def types(self) -> set[str]:
        lines = "\n".join(f"a=candidate:{candidate.to_sdp()}" for candidate in self.ice.local_candidates)
        return set(candidate_types(lines))


@asynccontextmanager
async def calling(server: Relay, *kinds: str, relay_only: bool = True) -> AsyncIterator[tuple[Agent, Agent]]:
    one = Agent(server, A, kinds[0], controlling=True, relay_only=relay_only)
    other = Agent(server, B, kinds[-1], controlling=False, relay_only=relay_only)
    try:
        await one.offer(other)
        await other.offer(one)
        await asyncio.gather(one.ice.connect(), other.ice.connect())
        yield one, other
    finally:
        await asyncio.gather(one.ice.close(), other.ice.close())


async def talk(sender: Agent, receiver: Agent, messages: int = MESSAGES) -> None:
    for number in range(messages):
        await sender.ice.send(number.to_bytes(4, "big") + bytes(SIZE - 4))
        await receiver.ice.recv()


def nearly(carried: int, sent: int) -> bool:
    """All of it, and no more besides than a few checks: a byte counted twice would show."""
    return sent <= carried <= sent + 20_000


@pytest.fixture
def trusting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Agents that take the server's own certificate: who it is does not matter here."""
    original = ssl.create_default_context

    def context(*args: Any, **kwargs: Any) -> ssl.SSLContext:
        made = original(*args, **kwargs)
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
        return made

    monkeypatch.setattr(ssl, "create_default_context", context)


async def test_a_call_from_relay_to_relay() -> None:
    """Both ends' relays carry, every byte is counted once, and after the call the table holds the totals."""
    async with serving() as server:
        async with calling(server, "udp") as (one, other):
            assert server.look().path == "unknown", "connected, but nothing said yet"
            await talk(one, other)
            await talk(other, one, MESSAGES // 2)
            path = server.look()
            assert (path.path, path.proto, path.by) == ("relay", "udp", "both")
            assert nearly(path.bytes_ab, CARRIED)
            assert nearly(path.bytes_ba, CARRIED // 2)
            assert {str(address) for address in path.relayed} == {
                f"{candidate.host}:{candidate.port}" for end in (one, other) for candidate in end.ice.local_candidates
            }
            assert server.verdict(server.side(A, one.types), server.side(B, other.types, state="connected"))[0] == (
                "media_flows"
            )
        await until(lambda: server.table.facts(A).live == server.table.facts(B).live == 0)
        path = server.look()
        assert path.path == "unknown"
        assert nearly(path.bytes_ab, CARRIED)
        assert server.table.facts(A).end_reason == "deleted"


async def until(condition: Any) -> None:
    """Let the loop run until something is so; `serving` sets the limit."""
    while not condition():
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("kinds", [("tcp", "tcp"), ("tcp", "udp"), ("tls", "udp"), ("tls", "tcp"), ("udp", "tls")])
@pytest.mark.usefixtures("trusting")
async def test_how_each_end_reaches_its_relay(kinds: tuple[str, str], tmp_path: Path) -> None:
    """Of two relays the one that is further from plain UDP is what limits the path, and is named."""
    listeners = [{"transport": kind, "address": "127.0.0.1", "port": 0} for kind in KINDS]
    tls = {"certificates": [issue(tmp_path).config]}
    async with serving(listeners=listeners, tls=tls) as server, calling(server, *kinds) as (one, other):
        await talk(one, other)
        path = server.look()
        assert (path.path, path.by) == ("relay", "both")
        assert path.proto == max(kinds, key=list(KINDS).index)
        assert server.table.facts(A).protos == (kinds[0],)
        assert server.table.facts(B).protos == (kinds[1],)
        verdict = server.verdict(server.side(A, one.types), server.side(B, other.types))
        assert verdict.code == "udp_blocked"


async def test_a_direct_call_beside_idle_relays(monkeypatch: pytest.MonkeyPatch) -> None:
    """RFC 8445: both ends have relays and check them, and talk without. The checks are not taken for the call."""
    monkeypatch.setattr("aioice.ice.get_host_addresses", lambda use_ipv4, use_ipv6: ["127.0.0.1"])
    async with serving() as server, calling(server, "udp", relay_only=False) as (one, other):
        assert one.types == other.types == {"host", "relay"}
        await talk(one, other)
        path = server.look()
        assert (path.path, path.by) == ("unknown", None)
        server.table.reported(A, B, "direct", server.now)
        path = server.look()
        assert path.path == "direct"
        assert path.bytes_ab < 20_000


async def test_one_relay_and_a_peer_without() -> None:
    """The far end is no client of ours: its bytes are seen through the one relay."""
    async with serving() as server:
        transport = await server.endpoint(A, "tcp")
        relayed = Address.parse(*transport.get_extra_info("sockname"))
        server.table.candidates(A, B, [relayed])
        with UdpPeer() as peer:
            for _ in range(MESSAGES):
                transport.sendto(bytes(SIZE), (peer.address.host, peer.address.port))
            await until(lambda: server.look().bytes_ab > 0)
            assert server.look().path == "unknown", "nothing has come back"
            peer.send(bytes(SIZE), relayed)
            await until(lambda: server.look().bytes_ab >= CARRIED and server.look().bytes_ba > 0)
            transport.sendto(bytes(SIZE * 20), (peer.address.host, peer.address.port))
            await until(lambda: server.look().path == "relay")
            assert server.look()[:3] == ("relay", "tcp", "a")
        transport.close()


async def test_kicked_in_the_middle_of_a_call() -> None:
    """Revocation ends the relay at once; the pair keeps its bytes, and the verdict says what happened."""
    async with serving() as server, calling(server, "udp") as (one, other):
        await talk(one, other)
        server.look()
        assert server.server.revoke(A) == 1
        path = server.look()
        assert nearly(path.bytes_ab, CARRIED)
        assert server.table.facts(A).end_reason == "revoked"
        server.later = 60.0
        assert server.look().path == "unknown"
        verdict = server.verdict(server.side(A, one.types), server.side(B, other.types))
        assert verdict.code == "relay_ended"
        assert "removed" in verdict.text


async def test_an_allocation_that_replaces_another() -> None:
    """As an ICE restart does: the new relay carries, and the totals are of both."""
    async with serving() as server, calling(server, "udp") as (one, other):
        await talk(one, other)
        first = server.look()
        async with calling(server, "tcp") as (again, other_again):
            await talk(again, other_again)
            second = server.look()
            assert second.proto == "tcp"
            assert not set(first.relayed) & set(second.relayed)
            assert nearly(second.bytes_ab, 2 * CARRIED)


# Verdicts on allocations that really fail


async def a_relay(server: Relay, user: str = B) -> Any:
    return await server.endpoint(user)


async def test_a_wrong_password() -> None:
    """RFC 8489 §9.2.4: 401 twice; the second one names a user, and the first one says nothing."""
    async with serving() as server:
        kept = await a_relay(server)
        with pytest.raises(TransactionFailed, match="401"):
            await server.endpoint(A, password="wrong")
        facts = server.table.facts(A)
        assert [(fact.code, fact.proven) for fact in facts.refusals] == [(401, False)]
        verdict = server.verdict(server.side(A, {"host", "srflx"}), server.side(B, {"host", "relay"}))
        assert verdict.code == "turn_401"
        assert "did not accept your access" in verdict.text
        assert server.table.facts(B).refusals == (), "B's own start had a 401, too: a healthy one"
        kept.close()


async def test_an_expired_credential() -> None:
    """Rule 24: it is the right password, so the server knows for certain whose it was."""
    async with serving() as server:
        kept = await a_relay(server)
        with pytest.raises(TransactionFailed, match="401"):
            await server.endpoint(A, lifetime=-1)
        assert [(fact.code, fact.proven) for fact in server.table.facts(A).refusals] == [(401, True)]
        verdict = server.verdict(server.side(A, {"host", "srflx"}), server.side(B, {"host", "relay"}))
        assert (verdict.code, "has run out" in verdict.text) == ("turn_401", True)
        verdict = server.verdict(server.side(B, {"host", "relay"}), server.side(A, {"host", "srflx"}))
        assert (verdict.code, "ask them to reload" in verdict.text) == ("turn_401", True)
        kept.close()


async def test_too_many_allocations() -> None:
    """RFC 8656 §7.2 step 10: 486. The user's other relays, of other pairs, do not hide it."""
    async with serving(limits={"allocations_per_user": 1}) as server:
        kept = [await a_relay(server), await a_relay(server, A)]
        with pytest.raises(TransactionFailed, match="486"):
            await server.endpoint(A)
        verdict = server.verdict(server.side(A, {"host", "srflx"}), server.side(B, {"host", "relay"}))
        assert (verdict.code, "You have too many" in verdict.text) == ("turn_quota", True)
        for transport in kept:
            transport.close()


async def test_a_full_server() -> None:
    """RFC 8656 §7.2: 508."""
    async with serving(limits={"allocations": 1}) as server:
        kept = await a_relay(server)
        with pytest.raises(TransactionFailed, match="508"):
            await server.endpoint(A)
        verdict = server.verdict(server.side(A, {"host", "srflx"}), server.side(B, {"host", "relay"}))
        assert verdict.code == "turn_full"
        kept.close()


async def test_relays_that_may_not_reach_each_other() -> None:
    """Rule 16: a peer ACL that denies the relays' own network denies the hairpin with it."""
    async with serving(peers={"allow": ["127.0.0.0/8"], "deny": ["127.0.0.1/32"]}) as server:
        one, other = await server.endpoint(A), await server.endpoint(B)
        one.sendto(b"check", other.get_extra_info("sockname"))
        await until(lambda: server.table.facts(A).denied)
        verdict = server.verdict(server.side(A, {"host", "relay"}), server.side(B, {"host", "relay"}))
        assert (verdict.code, "may not reach each other" in verdict.text) == ("peer_denied", True)
        one.close()
        other.close()


async def test_never_heard_of() -> None:
    """Nothing of A's ever came: what its browser says of its network is all there is, and enough."""
    async with serving() as server:
        kept = await a_relay(server)
        urls = ("turn:203.0.113.1:3478?transport=udp", "turn:203.0.113.1:3478?transport=tcp", "turns:203.0.113.1:443")
        failures = [IceFailure(701, url) for url in urls]
        assert not server.table.facts(A).heard
        verdict = server.verdict(server.side(A, {"host"}, *failures), server.side(B, {"host", "relay"}))
        assert (verdict.code, "over UDP, TCP or TLS" in verdict.text) == ("turn_unreachable", True)
        kept.close()


async def test_udp_blocked_at_both_ends() -> None:
    """Both reach their relays over TCP alone."""
    async with serving() as server:
        kept = [await server.endpoint(user, "tcp") for user in (A, B)]
        blocked = IceFailure(701, "turn:203.0.113.1:3478?transport=udp")
        verdict = server.verdict(server.side(A, {"host", "relay"}, blocked), server.side(B, {"host", "relay"}, blocked))
        assert (verdict.code, "Both of your networks block UDP" in verdict.text) == ("udp_blocked", True)
        for transport in kept:
            transport.close()


async def test_a_connection_to_the_relay_that_broke() -> None:
    """RFC 8656 §3.1: with a client's TCP connection its allocation ends, and nobody says goodbye."""
    async with serving() as server:
        kept = await a_relay(server)
        transport = await server.endpoint(A, "tcp")
        transport._TurnTransport__inner_protocol.transport.abort()
        await until(lambda: server.table.facts(A).ended == 1)
        assert server.table.facts(A).end_reason == "client-gone"
        verdict = server.verdict(server.side(A, {"host", "relay"}), server.side(B, {"host", "relay"}))
        assert (verdict.code, "Your relay has ended" in verdict.text) == ("relay_ended", True)
        kept.close()
