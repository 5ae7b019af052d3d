"""Whatever clients, peers, shell and clock do, no TCP connection (RFC 6062) is lost, doubled or left over."""

from ipaddress import ip_network
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from stun import attributes as a
from stun.address import Address
from stun.constants import ErrorCode, Method
from stun.message import Message
from tests.support.core_world import code_of
from tests.support.examples import scaled
from tests.support.limits import limits
from tests.support.tcp_world import TcpClient, TcpWorld
from turnserver.core.policy import PeerPolicy
from turnserver.core.tcp_connections import ConnectionState
from turnserver.core.types import ClientTransport, RelayId

__all__ = ["Connections"]

PEERS = [Address.parse("8.8.8.8", port) for port in (1, 2)] + [Address.parse("9.9.9.9", 3), Address.parse("2a00::8", 4)]
ALL = PeerPolicy.build()
SOME = PeerPolicy.build(deny=[ip_network("9.0.0.0/8")], listeners=[PEERS[0]])

picks = st.integers(0, 63)


class Connections(RuleBasedStateMachine):
    """Control and data connections of two users, and peers that come, refuse and go."""

    def __init__(self) -> None:
        super().__init__()
        self.world: TcpWorld
        self.controls: list[TcpClient] = []
        self.data: dict[int, TcpClient] = {}
        self.asked: dict[bytes, tuple[TcpClient, Address]] = {}
        self.told: set[int] = set()

    @initialize(limit=st.integers(1, 3))
    def begin(self, limit: int) -> None:
        self.world = TcpWorld(limits=limits(tcp_connections_per_allocation=limit), policy=ALL)

    def control(self, pick: int) -> TcpClient | None:
        return self.controls[pick % len(self.controls)] if self.controls else None

    def some(self, pick: int, state: ConnectionState) -> int | None:
        found = [number for number, held in self.world.connections.items() if held is state]
        return found[pick % len(found)] if found else None

    def listen(self) -> None:
        """Every answer is to something asked, once; every Connect is answered at some time."""
        for client in self.controls:
            for message in client.heard():
                if message.method == Method.CONNECTION_ATTEMPT:
                    number = message.first(a.CONNECTION_ID)
                    assert number is not None
                    assert number not in self.told
                    self.told.add(number)
                elif message.method == Method.CONNECT:
                    self.answered(message)

    def answered(self, message: Message) -> None:
        assert self.asked.pop(message.transaction_id, None) is not None, "an answer to nothing"
        if code_of(message) == 0:
            number = message.first(a.CONNECTION_ID)
            assert number in self.world.connections

    @rule(bob=st.booleans(), dual=st.booleans(), stream=st.sampled_from([ClientTransport.TCP, ClientTransport.TLS]))
    def allocate(self, bob: bool, dual: bool, stream: ClientTransport) -> None:
        if len(self.controls) == 4:
            return
        who: dict[str, Any] = {"user": "bob", "password": "hunter2"} if bob else {}
        client = self.world.control(transport=stream, **who)
        assert code_of(client.allocate_tcp(*([(a.ADDITIONAL_ADDRESS_FAMILY, 2)] if dual else []))) == 0
        self.controls.append(client)

    @rule(pick=picks, peer=st.sampled_from(PEERS), again=st.booleans())
    def connect(self, pick: int, peer: Address, again: bool) -> None:
        client = self.control(pick)
        if client is None:
            return
        mine = [transaction for transaction, asked in self.asked.items() if asked == (client, peer)]
        transaction = mine[0] if again and mine else client.transaction_id()
        self.asked[transaction] = client, peer
        for answer in client.connect(peer, transaction):
            self.answered(answer)

    @rule(pick=picks, takes=st.booleans())
    def peer_decides(self, pick: int, takes: bool) -> None:
        number = self.some(pick, ConnectionState.CONNECTING)
        if number is not None:
            (self.world.peer_takes if takes else self.world.peer_refuses)(number)

    @rule(pick=picks, peer=st.sampled_from(PEERS))
    def permit(self, pick: int, peer: Address) -> None:
        client = self.control(pick)
        if client is not None:
            assert code_of(client.permit(peer)) in (0, 403, 443)

    @rule(pick=picks, peer=st.sampled_from(PEERS))
    def peer_connects(self, pick: int, peer: Address) -> None:
        relays = list(self.world.bound)
        if not relays:
            return
        relay: RelayId = relays[pick % len(relays)]
        if len(self.world.bound[relay].ip) != len(peer.ip):
            return
        allocation, _ = self.world.core.state.by_relay[relay]
        permitted = peer.ip in allocation.permissions
        number = self.world.peer_connects(relay, peer)
        assert number is None or permitted

    @rule(pick=picks, bob=st.booleans(), state=st.sampled_from(list(ConnectionState)))
    def claim(self, pick: int, bob: bool, state: ConnectionState) -> None:
        number = self.some(pick, state)
        if number is None:
            return
        owner = self.world.core.state.tcp.by_id[number].allocation.credential.username
        who: dict[str, Any] = {"user": "bob", "password": "hunter2"} if bob else {}
        data = self.world.control(**who)
        code = code_of(data.request(Method.CONNECTION_BIND, (a.CONNECTION_ID, number)))
        expected = 0 if owner == data.user else ErrorCode.WRONG_CREDENTIALS
        assert code == (expected if state is ConnectionState.WAITING else ErrorCode.BAD_REQUEST)
        if code == 0:
            self.data[number] = data

    @rule(pick=picks)
    def peer_leaves(self, pick: int) -> None:
        number = self.some(pick, ConnectionState.BOUND)
        if number is not None:
            self.world.peer_leaves(number)

    @rule(pick=picks)
    def data_hangs_up(self, pick: int) -> None:
        """Also one whose connection has long gone: it is nobody's then."""
        if self.data:
            self.world.hang_up(list(self.data.values())[pick % len(self.data)].path)

    @rule(pick=picks, how=st.sampled_from(["hang up", "delete", "half", "revoke"]))
    def end(self, pick: int, how: str) -> None:
        client = self.control(pick)
        if client is None:
            return
        if how == "hang up":
            self.asked = {transaction: asked for transaction, asked in self.asked.items() if asked[0] is not client}
            self.world.hang_up(client.path)
        elif how == "revoke":
            self.world.core.revoke(client.user, self.world.now)
            self.world.run()
        else:
            family = [(a.REQUESTED_ADDRESS_FAMILY, 2)] if how == "half" else []
            frame = client.build(Method.REFRESH, [(a.LIFETIME, 0), *family])
            for answer in map(Message.decode, self.world.feed(client.path, frame)):
                if answer.method == Method.CONNECT:
                    self.answered(answer)

    @rule(policy=st.sampled_from([ALL, SOME]))
    def replace_policy(self, policy: PeerPolicy) -> None:
        self.world.core.replace_policy(policy, self.world.now)
        self.world.run()

    @rule(seconds=st.sampled_from([0.5, 15.0, 29.5, 301.0, 700.0]))
    def advance(self, seconds: float) -> None:
        self.world.advance(seconds)

    @invariant()
    def books_agree(self) -> None:
        if not hasattr(self, "world"):
            return
        self.listen()
        self.world.check()
        state = self.world.core.state
        self.controls = [client for client in self.controls if client.path in state.allocations]
        connecting = {
            held.request.message.transaction_id for held in state.tcp.by_id.values() if held.request is not None
        }
        assert connecting == self.asked.keys(), "a Connect that nobody will answer"
        for held in state.tcp.by_id.values():
            assert state.policy.refusal(held.peer.ip, held.peer.port) is None

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        world = self.world
        world.advance(5000)
        assert (world.connections, world.bound, world.core.state.allocations) == ({}, {}, {})
        assert [ports.used for ports in world.core.state.ports.values()] == [0] * 4
        assert world.core.deadline() is None


def test_no_connection_is_ever_lost_or_left_over() -> None:
    """RFC 6062 §5, rules 16 and 25."""
    profile = settings(
        deadline=None,
        derandomize=True,
        max_examples=scaled(60),
        stateful_step_count=40,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(Connections, settings=profile)
