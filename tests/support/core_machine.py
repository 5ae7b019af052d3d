"""What hypothesis may do to the core: one rule for each step of the `Bench`, and what to choose from."""

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from stun import attributes as a
from stun.address import Address
from stun.attributes import AttributeType, IcmpValue
from stun.constants import MessageClass, Method, PasswordAlgorithm
from stun.message import MessageBuilder
from tests.support.core_bench import Actor, Bench, Style
from tests.support.core_oracle import PEERS, POLICIES, Setup
from tests.support.core_world import Attribute
from turnserver.core.types import RelayId

__all__ = ["CoreMachine"]

_SHA256 = a.AlgorithmValue(PasswordAlgorithm.SHA256)
_MD5 = a.AlgorithmValue(PasswordAlgorithm.MD5)
_SOUND = (
    Style(),
    Style(fingerprint=True),
    Style(by_hash=True),
    Style(integrity=("sha256",)),
    Style(integrity=("sha256",), algorithms=True, chosen=PasswordAlgorithm.SHA256, fingerprint=True),
    Style(integrity=("sha1", "sha256"), algorithms=True),
    Style(algorithms=True, chosen=PasswordAlgorithm.SHA256),
)
_FLAWED = (
    Style(integrity=()),
    Style(integrity=(), fingerprint=True),
    Style(omit=a.USERNAME),
    Style(omit=a.REALM),
    Style(omit=a.NONCE),
    Style(omit=a.PASSWORD_ALGORITHM, algorithms=True),
    Style(omit=a.PASSWORD_ALGORITHMS, algorithms=True),
    Style(algorithms=True, offered=(_MD5,)),
    Style(algorithms=True, offered=(_MD5, _SHA256)),
    Style(nonce=b"obMatJos2gAAAnot a nonce of ours"),
    Style(nonce=b"from another server"),
    *[Style(nonce=b"")] * 8,
    Style(account=5),
    Style(account=6),
)
_STYLES = st.sampled_from([*_SOUND * 16, *_FLAWED, *[Style(account=number) for number in range(5)]])

_WHO = st.integers(0, 63)
"""Which client; see `CoreMachine.holder`."""
_PEERS = st.sampled_from([*PEERS[:4] * 8, *PEERS[6:10] * 4, *PEERS])
_KNOWN = st.one_of(st.integers(0, 15), st.integers(0, 15), _PEERS)
"""A peer: by number, one that has a permission; or any."""
_CHANNELS = st.sampled_from([0x4000, 0x4001, 0x4002, 0x4FFF] * 5 + [0, 0x3FFF, 0x5000, 0xFFFF])
_LIFETIMES = st.sampled_from([None] * 12 + [0, 1, 599, 600, 601, 1200, 3599, 3600, 3601, 2**32 - 1])
_PAYLOADS = st.sampled_from([b"", b"x", b"four", b"eleven byte", bytes(1200)])
_SECONDS = st.sampled_from([0.5, 1.0, 4.0, 5.0, 10.0, 29.0, 30.0, 39.0, 40.0, 100.0, 299.0, 300.0, 301.0, 600.0])
_LATE = st.sampled_from([0.0] * 12 + [30.0, 299.0, 300.0, 301.0, 600.0, 1e4])
"""Seconds that pass, with no timer firing, before something happens."""
_INDEX = st.integers(0, 63)


def _raw(number: int) -> AttributeType[bytes]:
    """An attribute of which the value is whatever one likes."""
    return AttributeType(number, "raw", "", lambda value, _: value, lambda value, _: value)


_ODD: tuple[Attribute, ...] = (
    (_raw(0x7777), b"unknown"),
    (_raw(0x0003), bytes(4)),
    (_raw(0x9999), b"optional"),
    (_raw(a.LIFETIME.number), b"abc"),
    (_raw(a.XOR_PEER_ADDRESS.number), b"\0\x03\0\0\0\0\0\0"),
    (_raw(a.CHANNEL_NUMBER.number), b"\x40"),
    (_raw(a.EVEN_PORT.number), b""),
    (_raw(a.REQUESTED_TRANSPORT.number), b"\x11"),
    (_raw(a.REQUESTED_ADDRESS_FAMILY.number), b"\x01"),
    (_raw(a.RESERVATION_TOKEN.number), b"short"),
    (_raw(a.USERNAME.number), b"\xff"),
    (_raw(a.USERNAME.number), bytes(600)),
    (a.LIFETIME, 1200),
    (a.DONT_FRAGMENT, True),
    (a.SOFTWARE, "a client"),
)
_EXTRA = st.sampled_from([None] * (8 * len(_ODD)) + list(_ODD))


def _option(spec: AttributeType[Any], value: Any) -> list[Attribute]:
    return [] if value is None else [(spec, value)]


class CoreMachine(RuleBasedStateMachine):
    """Several clients, two peers' worth of the internet, a shell and a clock against one core."""

    strict = False
    mapped = False

    bench: Bench

    @initialize(
        dual=st.sampled_from([True, True, False]),
        tight=st.sampled_from([False, False, True]),
        shell=st.sampled_from([0, 0, 0, 1, 2]),
        ready=st.lists(st.sampled_from([(actor, pair) for actor in range(4) for pair in (True, False)]), max_size=4),
    )
    def begin(self, dual: bool, tight: bool, shell: int, ready: list[tuple[int, bool]]) -> None:
        """Open up; the shell opens relays at once, or when told to, or is stingy towards strangers.

        Some clients have got somewhere by the time that the rules begin: nearly everything needs an allocation.
        """
        self.bench = Bench(Setup(self.strict, self.mapped, dual, tight, automatic=shell != 1, thrifty=shell == 2))
        for number, pair in ready:
            actor, families = self.bench.actors[number], (PEERS[0], PEERS[6]) if dual and pair else (PEERS[0],)
            both: list[Attribute] = [(a.ADDITIONAL_ADDRESS_FAMILY, 2)] if pair else []
            self.ask(actor, Method.ALLOCATE, [(a.REQUESTED_TRANSPORT, 17), *both])
            for relay in list(self.bench.world.waiting):
                self.bench.settle(relay, opens=True)
            for peer in families:
                self.ask(actor, Method.CREATE_PERMISSION, [(a.XOR_PEER_ADDRESS, peer)])
            self.ask(actor, Method.CHANNEL_BIND, [(a.CHANNEL_NUMBER, 0x4000), (a.XOR_PEER_ADDRESS, families[-1])])

    def holder(self, number: int) -> Actor:
        """Usually a client with an allocation, if there is one."""
        holders = [actor for actor in self.bench.actors if actor.path in self.bench.oracle.allocations]
        return holders[number % len(holders)] if holders and number > 7 else self.bench.actors[number % 5]

    def other(self, number: int) -> Actor:
        """Usually a client without an allocation."""
        others = [actor for actor in self.bench.actors if actor.path not in self.bench.oracle.allocations]
        return others[number % len(others)] if others and number > 7 else self.bench.actors[number % 5]

    def peer(self, actor: Actor, which: int | Address) -> Address:
        """The peer that is meant."""
        if isinstance(which, Address):
            return which
        told = self.bench.oracle.allocations.get(actor.path)
        known = [] if told is None else [peer for peer, _ in told.channels.values()]
        known += [] if told is None else [Address(ip, 5000 + which % 2) for ip in told.permissions]
        return known[which % len(known)] if known else PEERS[which % len(PEERS)]

    def channel(self, actor: Actor, number: int) -> int:
        """Even numbers stand for one of the client's own channels, if it has any."""
        told = self.bench.oracle.allocations.get(actor.path)
        numbers = [] if told is None else sorted(told.channels)
        return numbers[number // 2 % len(numbers)] if numbers and number % 2 == 0 else 0x3FFE + number % 5

    def relay(self, number: int) -> tuple[RelayId, Actor]:
        """A relay, and the client whose it is if it is anybody's."""
        relays = sorted(self.bench.world.bound)
        relay = relays[number % len(relays)]
        owner = self.bench.world.core.state.by_relay.get(relay)
        owners = [actor for actor in self.bench.actors if owner is not None and actor.path == owner[0].client]
        return relay, owners[0] if owners else self.bench.actors[0]

    def ask(
        self,
        actor: Actor,
        method: int,
        attributes: list[Attribute],
        extra: Attribute | None = None,
        style: Style = _SOUND[0],
    ) -> None:
        """A request."""
        attributes = attributes if extra is None else [extra, *attributes]
        self.bench.frame(actor, self.bench.build(actor, method, attributes, style))

    # Clients

    @rule(
        who=_WHO,
        transport=st.sampled_from([17] * 12 + [6, None]),
        lifetime=_LIFETIMES,
        even=st.sampled_from([None] * 5 + [False, True, True]),
        family=st.sampled_from([None] * 8 + [1, 2, 2, 0, 3]),
        additional=st.sampled_from([None] * 6 + [2, 2, 2, 1]),
        token=st.sampled_from([None] * 6 + ["known", "known", "made up"]),
        extra=_EXTRA,
        style=_STYLES,
    )
    def allocate(
        self,
        who: int,
        transport: int | None,
        lifetime: int | None,
        even: bool | None,
        family: int | None,
        additional: int | None,
        token: str | None,
        extra: Attribute | None,
        style: Style,
    ) -> None:
        """Allocate with any of its options."""
        actor, known = self.other(who), next(iter(self.bench.oracle.reservations), None)
        holders = {held.user_id for held in self.bench.oracle.reservations.values()}
        if token == "known" and who % 8:
            actor = next((actor for actor in self.bench.actors if actor.account.user_id in holders), actor)
        if token == "known" and known is not None:
            even = family = additional = None
        attributes = [
            *_option(a.REQUESTED_TRANSPORT, transport),
            *_option(a.LIFETIME, lifetime),
            *_option(a.EVEN_PORT, even),
            *_option(a.REQUESTED_ADDRESS_FAMILY, family),
            *_option(a.ADDITIONAL_ADDRESS_FAMILY, additional),
            *_option(a.RESERVATION_TOKEN, known if token == "known" else b"made up!" if token else None),
        ]
        self.ask(actor, Method.ALLOCATE, attributes, extra, style)

    @rule(who=_WHO, lifetime=_LIFETIMES, family=st.sampled_from([None] * 5 + [1, 2, 3]), extra=_EXTRA, style=_STYLES)
    def refresh(
        self, who: int, lifetime: int | None, family: int | None, extra: Attribute | None, style: Style
    ) -> None:
        """Refresh, or delete, all or half."""
        actor = self.holder(who)
        attributes = [*_option(a.LIFETIME, lifetime), *_option(a.REQUESTED_ADDRESS_FAMILY, family)]
        self.ask(actor, Method.REFRESH, attributes, extra, style)

    @rule(who=_WHO, peers=st.lists(_KNOWN, max_size=3), extra=_EXTRA, style=_STYLES)
    def create_permission(self, who: int, peers: list[Any], extra: Attribute | None, style: Style) -> None:
        """CreatePermission, perhaps for nobody."""
        actor = self.holder(who)
        wanted = [(a.XOR_PEER_ADDRESS, self.peer(actor, peer)) for peer in peers]
        self.ask(actor, Method.CREATE_PERMISSION, wanted, extra, style)

    @rule(who=_WHO, number=_CHANNELS, peer=_KNOWN, extra=_EXTRA, style=_STYLES)
    def channel_bind(self, who: int, number: int, peer: Any, extra: Attribute | None, style: Style) -> None:
        """ChannelBind, new or in conflict."""
        actor = self.holder(who)
        wanted = [(a.CHANNEL_NUMBER, number), (a.XOR_PEER_ADDRESS, self.peer(actor, peer))]
        self.ask(actor, Method.CHANNEL_BIND, wanted, extra, style)

    @rule(who=_WHO, index=_INDEX, style=_STYLES)
    def channel_bind_again(self, who: int, index: int, style: Style) -> None:
        """ChannelBind that refreshes."""
        actor = self.holder(who)
        told = self.bench.oracle.allocations.get(actor.path)
        if told is not None and told.channels:
            number = sorted(told.channels)[index % len(told.channels)]
            wanted = [(a.CHANNEL_NUMBER, number), (a.XOR_PEER_ADDRESS, told.channels[number][0])]
            self.ask(actor, Method.CHANNEL_BIND, wanted, None, style)

    @rule(who=_WHO, method=st.sampled_from([Method.BINDING, Method.BINDING, 0x0A, 0xFFF]), extra=_EXTRA)
    def binding(self, who: int, method: int, extra: Attribute | None) -> None:
        """Binding, or a method that nobody has heard of here."""
        self.ask(self.holder(who), method, [], extra, Style(integrity=()))

    @rule(who=_WHO, peer=_KNOWN, data=_PAYLOADS, extra=_EXTRA, late=_LATE)
    def send(self, who: int, peer: Any, data: bytes, extra: Attribute | None, late: float) -> None:
        """A Send indication, sometimes the first thing to happen after a long time."""
        actor = self.holder(who)
        builder = MessageBuilder(Method.SEND, MessageClass.INDICATION, self.bench.transaction_id())
        wanted: list[Attribute] = [(a.XOR_PEER_ADDRESS, self.peer(actor, peer)), (a.DATA, data)]
        for spec, value in [*([] if extra is None else [extra]), *wanted]:
            builder.add(spec, value)
        self.bench.jump(late)
        self.bench.frame(actor, builder.build(), late=True)

    @rule(who=_WHO, number=st.integers(0, 40), data=_PAYLOADS, cut=st.sampled_from([0] * 8 + [1, -3]), late=_LATE)
    def channel_data(self, who: int, number: int, data: bytes, cut: int, late: float) -> None:
        """ChannelData: whole, cut short, or with padding."""
        actor = self.holder(who)
        frame = self.channel(actor, number).to_bytes(2, "big") + len(data).to_bytes(2, "big") + data
        self.bench.jump(late)
        self.bench.frame(actor, frame[: len(frame) - cut] if cut > 0 else frame + bytes(-cut), late=True)

    @rule(who=_WHO, index=_INDEX)
    def retransmit(self, who: int, index: int) -> None:
        """The same bytes again."""
        actor = self.holder(who)
        if actor.sent:
            self.bench.frame(actor, actor.sent[index % len(actor.sent)])

    @rule(who=_WHO, index=_INDEX, at=st.integers(0, 400), bits=st.integers(1, 255), length=st.integers(-4, 4))
    def mutate(self, who: int, index: int, at: int, bits: int, length: int) -> None:
        """Almost the same bytes again."""
        actor = self.holder(who)
        frame = bytearray(actor.sent[index % len(actor.sent)] if actor.sent else b"")
        if frame:
            frame[at % len(frame)] ^= bits
        self.bench.frame(actor, bytes(frame[:length] if length < 0 else frame + bytes(length // 4 * 4)))

    @rule(who=_WHO, frame=st.binary(max_size=60))
    def noise(self, who: int, frame: bytes) -> None:
        """Any bytes."""
        self.bench.frame(self.holder(who), frame)

    # Peers

    @rule(index=_INDEX, peer=_KNOWN, data=_PAYLOADS, late=_LATE)
    @precondition(lambda self: self.bench.world.bound)
    def peer_datagram(self, index: int, peer: Any, data: bytes, late: float) -> None:
        """A datagram at one of the relays."""
        relay, owner = self.relay(index)
        self.bench.jump(late)
        self.bench.peer_datagram(relay, self.bench.oracle.to_wire(self.peer(owner, peer)), data)

    @rule(index=_INDEX, peer=_KNOWN, kind=st.sampled_from([3, 11, 1, 2, 0, 8]), data=st.integers(0, 2**32 - 1))
    @precondition(lambda self: self.bench.world.bound)
    def peer_icmp(self, index: int, peer: Any, kind: int, data: int) -> None:
        """An ICMP error at one of the relays."""
        relay, owner = self.relay(index)
        self.bench.peer_icmp(relay, self.bench.oracle.to_wire(self.peer(owner, peer)), IcmpValue(kind, 1, data))

    # Time

    @rule(seconds=_SECONDS)
    def advance(self, seconds: float) -> None:
        """Some time passes."""
        self.bench.advance(seconds)

    @rule(before=st.sampled_from([0.0, 0.0, 0.001]))
    def next_deadline(self, before: float) -> None:
        """Exactly up to when something is due, or just before."""
        deadline = self.bench.world.core.deadline()
        if deadline is not None:
            self.bench.advance(max(0.0, deadline - before - self.bench.world.now.mono))

    # The shell and the operator

    @rule(index=_INDEX, opens=st.sampled_from([True, True, False]))
    @precondition(lambda self: self.bench.world.waiting)
    def settle(self, index: int, opens: bool) -> None:
        """One relay that was asked for is open, or cannot be."""
        waiting = self.bench.world.waiting
        self.bench.settle(waiting[index % len(waiting)], opens=opens)

    @rule(index=_INDEX, known=st.sampled_from([True, True, False]))
    @precondition(lambda self: self.bench.world.lookups)
    def find(self, index: int, known: bool) -> None:
        """The credential store answers."""
        lookups = self.bench.world.lookups
        self.bench.find(lookups[index % len(lookups)], known=known)

    @rule(who=_WHO)
    def gone(self, who: int) -> None:
        """A client goes away."""
        if who < 32:
            self.bench.gone(self.holder(who))

    @rule(user_id=st.sampled_from(["alice", "bob", "carol", "slow", "nobody", "mallory", "trent"]))
    def revoke(self, user_id: str) -> None:
        """An operator has had enough of somebody."""
        self.bench.revoke(user_id)

    @rule(name=st.sampled_from(sorted(POLICIES)))
    def replace_policy(self, name: str) -> None:
        """An operator loads another peer ACL."""
        self.bench.replace_policy(name)

    @invariant()
    def holds(self) -> None:
        """Everything that must hold between two steps."""
        self.bench.check()

    def teardown(self) -> None:
        """Nothing may be left in the end."""
        if hasattr(self, "bench"):
            self.bench.finish()
