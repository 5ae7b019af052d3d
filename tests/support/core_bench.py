"""A test bench for the core: everything that clients, peers, shell and clock can do, one step at a time.

`Bench` carries out a step on a `World`, asks the `Oracle` what must come of it, and compares. Who chooses the steps is
somebody else's business; see `tests.support.core_machine`.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from auth.keys import user_hash
from auth.nonce import NonceStatus
from auth.types import LateAnswer, Unavailable
from stun import attributes as a
from stun import channeldata
from stun.address import Address
from stun.attributes import AttributeType, IcmpValue
from stun.constants import ErrorCode, MessageClass, Method, PasswordAlgorithm
from stun.demux import is_stun
from stun.errors import MalformedMessage
from stun.integrity import verify, verify_sha256
from stun.message import Message, MessageBuilder
from tests.support.core_cast import ACCOUNTS, BOUND, FAR_FUTURE, POLICIES, Account, MixedSource, Setup
from tests.support.core_oracle import METHODS, OFFERED, SUCCESS, Key, Oracle, Verdict, unknown_in
from tests.support.core_tables import check_empty, check_shell, check_tables, check_told, relay_of
from tests.support.core_world import REALM, RELAY, RELAY6, SERVER, Attribute, World
from turnserver.core import commands as c
from turnserver.core.events import AnswerWithheld
from turnserver.core.policy import PeerPolicy
from turnserver.core.retransmissions import transaction_key
from turnserver.core.settings import RelayAddress
from turnserver.core.types import ClientTransport, FiveTuple, RelayId

__all__ = ["Actor", "Bench", "Style"]

_CHALLENGES = frozenset({ErrorCode.UNAUTHENTICATED, ErrorCode.STALE_NONCE})


_ELSEWHERE = (
    (0, FiveTuple(ClientTransport.TCP, Address.parse("198.18.0.1", 40_011), SERVER, 1, 3)),
    (0, FiveTuple(ClientTransport.UDP, Address.parse("2001:db8:9::1", 40_012), SERVER, 3)),
    (1, FiveTuple(ClientTransport.UDP, Address.parse("192.0.2.20", 40_001), SERVER, 0)),
    (2, FiveTuple(ClientTransport.UDP, Address.parse("198.18.0.3", 40_014), SERVER, 0)),
    (1, FiveTuple(ClientTransport.DTLS, Address.parse("198.18.0.4", 40_015), SERVER, 4, 4)),
)
"""Where some accounts are, too; by the numbers of accounts."""


@dataclass(eq=False)
class Actor:
    """One client address; what it has learnt and sent."""

    path: FiveTuple
    account: Account
    nonce: bytes = b""
    sent: list[bytes] = field(default_factory=list)


@dataclass(frozen=True)
class Style:
    """How a request proves itself; ``account`` by its number in `ACCOUNTS`, None for the actor's own."""

    integrity: tuple[str, ...] = ("sha1",)
    algorithms: bool = False
    chosen: int = PasswordAlgorithm.MD5
    offered: tuple[a.AlgorithmValue, ...] = OFFERED
    omit: AttributeType[Any] | None = None
    nonce: bytes | None = None
    """None for one that is good; empty for the last one that the client was sent, however old."""
    by_hash: bool = False
    fingerprint: bool = False
    account: int | None = None


@dataclass(eq=False)
class _Owed:
    """A request that has not been answered yet."""

    request: Message
    verdict: Verdict
    until: float | None = None
    """When its look-up is given up; None without one."""
    opens: bool = False
    """True for an Allocate that waits for relays."""
    gives_up: float = math.inf
    """When it waits for them no longer."""


class Bench:
    """A world, its oracle, and every step there is."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        ipv4 = RelayAddress(BOUND if setup.mapped else RELAY, RELAY)
        relays = (ipv4, RelayAddress(RELAY6, RELAY6)) if setup.dual else (ipv4,)
        limits = setup.limits
        if setup.thrifty:
            limits = limits.model_copy(update={"reflection_burst": 60, "reflection_rate": 1, "pending_lookups": 1})
        self._relays = relays
        self.world = World(
            source=MixedSource(),
            relays=relays,
            ports=setup.ports,
            limits=limits,
            policy=self._policy("default"),
            settings={
                "strict_permissions": setup.strict,
                "refusal": "swallow" if setup.swallow else "error",
                "mobility": setup.mobility,
                "classic": False,  # the oracle knows nothing of RFC 3489
            },
            automatic=setup.automatic,
        )
        self.oracle = Oracle(setup, self.world.nonces)
        self.owed: dict[Key, list[_Owed]] = {}
        self.failures = False
        self._serial = 0
        paths = (
            FiveTuple(ClientTransport.UDP, Address.parse("192.0.2.10", 40_000), SERVER, 0),
            FiveTuple(ClientTransport.TCP, Address.parse("192.0.2.20", 40_001), SERVER, 1, 1),
            FiveTuple(ClientTransport.TLS, Address.parse("2001:db8:7::3", 40_002), SERVER, 2, 2),
            FiveTuple(ClientTransport.UDP, Address.parse("::ffff:192.0.2.44", 40_003), SERVER, 3),
            FiveTuple(ClientTransport.UDP, Address.parse("192.0.2.10", 40_004), SERVER, 0),
        )
        self.actors = [Actor(path, account) for path, account in zip(paths, ACCOUNTS, strict=False)]
        if setup.mobility:
            self.actors += [Actor(path, ACCOUNTS[number]) for number, path in _ELSEWHERE]
        for actor in self.actors:
            self._good_nonce(actor)

    def _policy(self, name: str) -> PeerPolicy:
        ips = {ip for relay in self._relays for ip in (relay.bound, relay.external)}
        return PeerPolicy.build(listeners=[SERVER], relays=ips, **POLICIES[name])

    # Making requests

    def transaction_id(self) -> bytes:
        """One that nobody has used."""
        self._serial += 1
        return self._serial.to_bytes(12, "big")

    def _good_nonce(self, actor: Actor) -> bytes:
        """One that the server would accept now, as from a 401 that the client has just had."""
        scope, wall = actor.path.address.pack(), self.world.now.wall
        if self.world.nonces.check(actor.nonce, scope, wall) is not NonceStatus.VALID:
            actor.nonce = self.world.nonces.issue(scope, wall, b"\0")
        return actor.nonce

    def build(self, actor: Actor, method: int, attributes: Sequence[Attribute], style: Style) -> bytes:
        """A request in the style wanted."""
        builder = MessageBuilder(method, MessageClass.REQUEST, self.transaction_id())
        for spec, value in attributes:
            builder.add(spec, value)
        account = actor.account if style.account is None else ACCOUNTS[style.account]
        if style.integrity:
            name: Attribute = (a.USERNAME, account.username)
            if style.by_hash:
                name = (a.USERHASH, user_hash(account.username, REALM))
            nonce = self._good_nonce(actor) if style.nonce is None else style.nonce or actor.nonce
            proof: list[Attribute] = [name, (a.REALM, REALM), (a.NONCE, nonce)]
            if style.algorithms:
                proof.append((a.PASSWORD_ALGORITHMS, style.offered))
                proof.append((a.PASSWORD_ALGORITHM, a.AlgorithmValue(style.chosen)))
            for spec, value in proof:
                if spec is not style.omit:
                    builder.add(spec, value)
            key = account.keys[style.chosen if style.algorithms else PasswordAlgorithm.MD5]
            if "sha1" in style.integrity:
                builder.integrity(key)
            if "sha256" in style.integrity:
                builder.integrity_sha256(key)
        return builder.fingerprint().build() if style.fingerprint else builder.build()

    # Steps

    def frame(self, actor: Actor, frame: bytes, *, late: bool = False) -> None:
        """A frame from a client; whatever it is, the oracle knows what must come of it.

        ``late`` leaves it to the core to notice what is overdue; for frames that are like no other before.
        """
        client = actor.path
        self._turn(expire=not late)
        actor.sent = [*actor.sent[-7:], frame]
        data, fresh = self._expected_data(client, frame), None
        request = _request(frame)
        kept = self.oracle.kept.get(transaction_key(client, request)) if request is not None else None
        if request is not None and kept is None:
            fresh = self._owe(client, request)
        self.world.core.client_frame(client, frame, self.world.now)
        if kept is not None:
            answers = self._drain(data)
            assert answers.pop(client) == [kept[0]], "a retransmission gets the same answer"
            assert not answers
        else:
            self._settle(self._drain(data), fresh)

    def peer_datagram(self, relay: RelayId, wire: Address, data: bytes) -> None:
        """A datagram from a peer, permitted or not."""
        self._turn(expire=False)
        expected = self._expected_delivery(relay, wire, data)
        self.world.core.peer_datagram(relay, wire, data, self.world.now)
        answers = self._drain([])
        self._delivered(answers, expected)
        self._settle(answers)

    def peer_icmp(self, relay: RelayId, wire: Address, value: IcmpValue) -> None:
        """An ICMP error from or about a peer."""
        self._turn(expire=False)
        peer, owner = self.oracle.to_client(wire), self._owner(relay)
        relayed = value.type in ({3, 11} if len(wire.ip) == 4 else {1, 2, 3})
        known = owner is not None and peer.ip in self.oracle.allocations[owner].permissions
        self.world.core.peer_icmp(relay, wire, value, self.world.now)
        answers = self._drain([])
        self._delivered(answers, (owner, peer, value) if owner is not None and known and relayed else None)
        self._settle(answers)

    def advance(self, seconds: float) -> None:
        """The clock goes on and every timer fires on the way.

        It stops where an Allocate may be answered, because what that grants begins then.
        """
        end = self.world.now.mono + seconds
        moments = {entry.gives_up for owed in self.owed.values() for entry in owed if entry.opens}
        for moment in sorted(moment for moment in moments if self.world.now.mono < moment < end):
            self.world.advance(moment - self.world.now.mono)
            self._turn()
        self.world.advance(end - self.world.now.mono)
        self._turn()

    def jump(self, seconds: float) -> None:
        """The clock goes on and no timer fires: the next input finds everything overdue."""
        self.world._turn_to(self.world.now.mono + seconds)

    def gone(self, actor: Actor) -> None:
        """A stream's connection ends; the client comes back on a new one."""
        self._turn()
        self.oracle.gone(actor.path)
        self.owed = {key: owed for key, owed in self.owed.items() if key[0] != actor.path}
        self.world.core.client_gone(actor.path, self.world.now)
        self._settle(self._drain([]))
        if actor.path.transport.connected:
            actor.path = actor.path._replace(serial=actor.path.serial + 10)

    def settle(self, relay: RelayId, *, opens: bool) -> None:
        """The shell has bound a relay that it was asked for, or could not."""
        self._turn()
        self.world.waiting.remove(relay)
        if opens or relay not in self.world.bound:
            self.world.core.relay_opened(relay, self.world.now)
        else:
            self.failures = True
            del self.world.bound[relay]
            self.world.core.relay_failed(relay, self.world.now)
        self._settle(self._drain([]))

    def lose(self, relay: RelayId) -> None:
        """A relay that the shell had open is not open any more."""
        self._turn()
        owner, bound = self._owner(relay), self.world.bound[relay]
        closed = len(self.world.closed_clients)
        moving = None if owner is None else self.oracle.allocations[owner].moving
        if owner is None:
            self.failures = True  # if an Allocate waits for it, that has to try another port
            held = {token: self.oracle.to_wire(entry.relayed) for token, entry in self.oracle.reservations.items()}
            self.oracle.reservations = {t: e for t, e in self.oracle.reservations.items() if held[t] != bound}
        else:
            told = self.oracle.allocations[owner]
            told.drop_family(len(bound.ip))
            if not told.relays:
                del self.oracle.allocations[owner]
            self.oracle.end_ways()
        ends = owner is not None and owner not in self.oracle.allocations
        self.world.core.relay_failed(relay, self.world.now)
        self._settle(self._drain([]))
        ended = [end for end in (owner, moving) if end is not None] if ends else []
        streams = [end for end in ended if end.transport.connected]
        assert self.world.closed_clients[closed:] == streams
        for actor in self.actors:
            if actor.path in streams:
                self.gone(actor)

    def find(self, lookup: c.FindCredential, found: LateAnswer) -> None:
        """The source has answered at last, perhaps too late."""
        self._turn()
        self.world.lookups.remove(lookup)
        request = self.world.core._lookups._parked.get(lookup.ticket)
        assert request is None or lookup.ticket not in self.world.cancelled
        if request is not None:
            waiting = self.owed[request.client, request.message.transaction_id]
            owed = next(entry for entry in waiting if entry.request.raw == request.message.raw)
            if isinstance(found, Unavailable):
                owed.verdict = Verdict(frozenset({ErrorCode.SERVER_ERROR}))
            else:
                owed.verdict = self.oracle.judge(request.client, owed.request, self.world.now, found)
            owed.until = None
            self._opens(request.client, owed)
        self.world.core.credential_found(lookup.ticket, found, self.world.now)
        self._settle(self._drain([]))

    def revoke(self, user_id: str, *, for_good: bool) -> None:
        """An operator cuts a user off."""
        self._turn()
        ended = self.oracle.revoked(user_id, for_good=for_good)
        streams = {path for path in ended if path.transport.connected}
        for entry in [entry for owed in self.owed.values() for entry in owed]:
            if entry.opens and entry.verdict.account is not None and entry.verdict.account.user_id == user_id:
                entry.verdict, entry.opens = Verdict(frozenset({ErrorCode.UNAUTHENTICATED})), False
        before = len(self.world.closed_clients)
        self.world.core.revoke(user_id, self.world.now, FAR_FUTURE if for_good else None)
        self._settle(self._drain([]))
        assert set(self.world.closed_clients[before:]) == streams
        for actor in self.actors:
            if actor.path in streams:
                self.gone(actor)

    def replace_policy(self, name: str) -> None:
        """Another peer ACL is loaded."""
        self._turn()
        self.oracle.replaced(name)
        self.world.core.replace_policy(self._policy(name), self.world.now)
        self._settle(self._drain([]))

    # Expectations

    def _turn(self, *, expire: bool = True) -> None:
        """Bring the oracle to the present, and the core too unless the input itself is to do it."""
        now = self.world.now
        for owed in self.owed.values():
            for entry in owed:
                if entry.until is not None and entry.until <= now.mono:
                    entry.verdict = Verdict(frozenset({ErrorCode.SERVER_ERROR}))
        self.oracle.turn_to(now)
        if expire:
            self.world.core.expire(now)
            self._settle(self._drain([]))

    def _owe(self, client: FiveTuple, request: Message) -> _Owed | None:
        """Enter a request that must be answered; None if it is one that is waited for already."""
        verdict = self.oracle.judge(client, request, self.world.now)
        key = client, request.transaction_id
        waiting = self.owed.get(key, [])
        if verdict.lookup and any(entry.until is not None and entry.request.raw == request.raw for entry in waiting):
            return None
        opening = self.oracle.opening.get(client)
        if verdict.account is not None and request.method == Method.ALLOCATE and opening is not None:
            if opening[0] == request.raw and verdict.codes == {ErrorCode.ALLOCATION_MISMATCH}:
                return None
        owed = _Owed(request, verdict)
        if verdict.lookup:
            limits = self.world.core.state.settings.limits
            owed.until = self.world.now.mono + self.world.core.state.bounds.lookup_timeout
            if self.world.core.totals().pending_lookups >= limits.pending_lookups:
                owed.verdict, owed.until = Verdict(frozenset({ErrorCode.SERVER_ERROR})), None
        self.owed.setdefault(key, []).append(owed)
        self._opens(client, owed)
        return owed

    def _opens(self, client: FiveTuple, owed: _Owed) -> None:
        """An Allocate that is all right is opening until its answer comes."""
        account = owed.verdict.account
        if owed.request.method == Method.ALLOCATE and account is not None and SUCCESS in owed.verdict.codes:
            owed.opens = True
            owed.gives_up = self.world.now.mono + self.world.core.state.bounds.opening_timeout
            self.oracle.opening[client] = owed.request.raw, account
            if self.setup.tight or not self.setup.automatic:
                owed.verdict = replace(owed.verdict, codes=frozenset({SUCCESS, ErrorCode.INSUFFICIENT_CAPACITY}))

    def _expected_data(self, client: FiveTuple, frame: bytes) -> list[c.SendToPeer]:
        """What a frame from a client has sent to peers: one datagram with a live permission, or nothing."""
        told = self.oracle.told_of(client)
        if told is None:
            return []
        try:
            if not is_stun(frame):
                number, payload = channeldata.decode(frame)
                self.oracle.data_on(client)
                if number in told.dead:
                    return []
                peer, data, dont_fragment = told.channels.get(number, (None, 0.0))[0], bytes(payload), False
            else:
                message = Message.decode(frame)
                if (message.message_class, message.method) != (MessageClass.INDICATION, Method.SEND):
                    return []
                if unknown_in(message):
                    return []
                self.oracle.data_on(client)
                peer, sent = message.first(a.XOR_PEER_ADDRESS), message.first(a.DATA)
                if sent is None:
                    return []
                data, dont_fragment = sent, message.has(a.DONT_FRAGMENT)
        except MalformedMessage:
            return []
        if peer is None or not self.oracle.may_send(told, peer):
            return []
        relay = relay_of(self.world, self.oracle, told, len(peer.ip))
        return [c.SendToPeer(relay, self.oracle.to_wire(peer), data, dont_fragment)]

    def _owner(self, relay: RelayId) -> FiveTuple | None:
        """Whose relay it is, going by the address that the client was told."""
        bound = self.world.bound.get(relay)
        for client, told in self.oracle.allocations.items():
            if bound in [self.oracle.to_wire(address) for address, _ in told.relays.values()]:
                return client
        return None

    def _expected_delivery(
        self, relay: RelayId, wire: Address, data: bytes
    ) -> tuple[FiveTuple, Address, bytes | IcmpValue] | None:
        owner = self._owner(relay)
        if owner is None:
            return None
        peer, told = self.oracle.to_client(wire), self.oracle.allocations[owner]
        return (owner, peer, data) if self.oracle.may_send(told, peer) else None

    # Comparing

    def _drain(self, to_peers: Sequence[c.SendToPeer]) -> dict[FiveTuple, list[bytes]]:
        """Let the shell do what it was told, compare what went to peers, and give what went to clients."""
        self.world.run()
        sent, self.world.to_peers = self.world.to_peers, []
        assert sent == list(to_peers), "relayed to a peer"
        answers, self.world.to_clients = self.world.to_clients, {}
        return answers

    def _delivered(
        self,
        answers: dict[FiveTuple, list[bytes]],
        expected: tuple[FiveTuple, Address, bytes | IcmpValue] | None,
    ) -> None:
        """The last frame to the owner is the peer's; anything else must be an answer."""
        if expected is None:
            return
        client, peer, value = expected
        frame = answers[client].pop()
        if not answers[client]:
            del answers[client]
        channels = self.oracle.allocations[client].channels
        number = next((number for number, (bound, _) in channels.items() if bound == peer), None)
        if number is not None and isinstance(value, bytes):
            pack = channeldata.encode_padded if client.transport.padded else channeldata.encode
            assert frame == pack(number, value)
            return
        message = Message.decode(frame)
        assert (message.message_class, message.method) == (MessageClass.INDICATION, Method.DATA)
        assert message.first(a.XOR_PEER_ADDRESS) == peer
        carried: AttributeType[Any] = a.DATA if isinstance(value, bytes) else a.ICMP
        assert message.first(carried) == value
        assert len(message.attributes) == 2

    def _settle(self, answers: Mapping[FiveTuple, list[bytes]], fresh: _Owed | None = None) -> None:
        """Match every answer with a request; then every request is answered, withheld, or waiting for something."""
        for client, frames in answers.items():
            for frame in frames:
                answer = Message.decode(frame)
                owed = self.owed.get((client, answer.transaction_id))
                assert owed, f"an answer to nobody's request: {answer}"
                self._check_answer(client, _answered(owed, answer), answer)
        self._take_withheld(fresh)
        for key, owed in list(self.owed.items()):
            if not owed:
                del self.owed[key]
            # A request and its altered copy, which says more or less than it, may both wait for a look-up.
            assert len({entry.request.raw for entry in owed}) == len(owed)
            for entry in owed:
                assert self._waits(key, entry), f"no answer to {entry.request}: {entry.verdict}"

    def _take_withheld(self, fresh: _Owed | None) -> None:
        events, self.world.events = self.world.events, []
        for client in [event.client for event in events if isinstance(event, AnswerWithheld)]:
            assert client.transport is ClientTransport.UDP
            assert self.setup.thrifty, "the budget is ample"
            entries = [(key, entry) for key, owed in self.owed.items() for entry in owed if key[0] == client]
            entries = [(key, entry) for key, entry in entries if self.oracle.stranger(client, entry.verdict)]
            entries = [(key, entry) for key, entry in entries if not self._waits(key, entry)]
            assert entries, "withheld from nobody, or from someone who has proven its address"
            key, entry = next((pair for pair in entries if pair[1] is fresh), entries[0])
            self.owed[key].remove(entry)

    def _waits(self, key: Key, entry: _Owed) -> bool:
        """True if the core holds the request for good reason: an open look-up, or relays that are being opened."""
        if entry.until is not None and entry.until > self.world.now.mono:
            parked = transaction_key(key[0], entry.request) in self.world.core._lookups._waiting
            return parked and bool(self.world.lookups)
        return entry.opens and bool(self.world.waiting) and entry.gives_up > self.world.now.mono

    def _check_answer(self, client: FiveTuple, owed: _Owed, answer: Message) -> None:
        request, verdict, now = owed.request, owed.verdict, self.world.now
        assert answer.method == request.method
        assert answer.message_class in {MessageClass.SUCCESS, MessageClass.ERROR}
        assert answer.has(a.FINGERPRINT) == request.has(a.FINGERPRINT)
        error = answer.first(a.ERROR_CODE)
        code = SUCCESS if error is None else error.code
        assert (error is None) == (answer.message_class == MessageClass.SUCCESS)
        assert code in verdict.codes, f"{request} got {code}, not one of {sorted(verdict.codes)}"
        self._check_integrity(client, verdict, code, answer)
        if code in _CHALLENGES:
            self._check_challenge(client, answer)
        if code == ErrorCode.UNKNOWN_ATTRIBUTE:
            assert answer.first(a.UNKNOWN_ATTRIBUTES) == unknown_in(request)
        if code == SUCCESS and verdict.account is not None:
            self.oracle.succeed(client, request, answer, verdict.account, now)
        elif code == SUCCESS:
            assert request.method == Method.BINDING
            assert answer.first(a.XOR_MAPPED_ADDRESS) == client.address.canonical()
        elif owed.opens:
            late = owed.gives_up <= now.mono
            assert self.setup.tight or self.failures or late, "relays could not be opened, says the core"
            del self.oracle.opening[client]
        if self.oracle.is_kept(request, answer):
            self.oracle.keep(request, transaction_key(client, request), answer.encode(), now)

    def _check_integrity(self, client: FiveTuple, verdict: Verdict, code: int, answer: Message) -> None:
        """Rule 1: the kind that the request had, unless the answer is a challenge or the request was not genuine."""
        kinds = [kind for kind in (a.MESSAGE_INTEGRITY, a.MESSAGE_INTEGRITY_SHA256) if answer.has(kind)]
        if verdict.key is None or code in _CHALLENGES:
            assert kinds == []
            assert answer.has(a.SOFTWARE) == client.transport.proven, "rule 4: strangers are not told"
        else:
            assert kinds == [verdict.kind]
            check = verify_sha256 if verdict.kind is a.MESSAGE_INTEGRITY_SHA256 else verify
            assert check(answer, verdict.key)

    def _check_challenge(self, client: FiveTuple, answer: Message) -> None:
        """RFC 8489 §9.2.4: REALM, a nonce that works, and the algorithms; the client learns the nonce."""
        nonce = answer.first(a.NONCE)
        assert nonce is not None
        assert answer.first(a.REALM) == REALM
        assert answer.first(a.PASSWORD_ALGORITHMS) == OFFERED
        assert self.world.nonces.check(nonce, client.address.pack(), self.world.now.wall) is NonceStatus.VALID
        for actor in self.actors:
            if actor.path == client:
                actor.nonce = nonce

    def check(self) -> None:
        """Everything that must hold between two steps."""
        check_tables(self.world)
        check_told(self.world, self.oracle)
        check_shell(self.world, self.oracle)
        kept = {key: frame for key, (frame, _) in self.oracle.kept.items()}
        assert self.world.core.state.retransmissions._answers == kept

    def finish(self) -> None:
        """Let everything that is still under way end, and let a day pass: nothing may be left."""
        for relay in list(self.world.waiting):
            self.settle(relay, opens=True)
        self._turn()
        self.check()
        self.advance(86_400.0)
        assert self.owed == {}, "requests that were never answered"
        check_empty(self.world)


def _request(frame: bytes) -> Message | None:
    """The request in a frame that must be answered; None if it is anything else."""
    if not is_stun(frame):
        return None
    try:
        message = Message.decode(frame)
    except MalformedMessage:
        return None
    return message if message.message_class == MessageClass.REQUEST and message.method in METHODS else None


def _answered(owed: list[_Owed], answer: Message) -> _Owed:
    """The request that an answer is for: of those with its transaction id the last one that may have such an answer."""
    error = answer.first(a.ERROR_CODE)
    code = SUCCESS if error is None else error.code
    fitting = [entry for entry in owed if code in entry.verdict.codes and entry.request.method == answer.method]
    found = fitting[-1] if fitting else owed[-1]
    owed.remove(found)
    return found
