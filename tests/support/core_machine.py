"""What may be done to the core: weighted steps, chosen by anything that is a `random.Random`.

`Walk` knows the steps. A seeded generator makes it a long walk that is the same in every run; `CoreMachine` lets
hypothesis choose instead, which walks less far but comes back with the shortest way to a failure.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import blake2b
from random import Random
from typing import Any, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from auth.types import Unavailable
from stun import attributes as a
from stun.address import Address
from stun.attributes import AttributeType, IcmpValue
from stun.constants import MessageClass, Method, PasswordAlgorithm
from stun.message import MessageBuilder
from tests.support.core_bench import Actor, Bench, Style
from tests.support.core_cast import ACCOUNTS, PEERS, POLICIES, Setup
from tests.support.core_oracle import Told
from tests.support.core_world import Attribute
from turnserver.core.types import RelayId

__all__ = ["CoreMachine", "Walk", "some_setup"]

T = TypeVar("T")

_SHA256 = a.AlgorithmValue(PasswordAlgorithm.SHA256)
_MD5 = a.AlgorithmValue(PasswordAlgorithm.MD5)
_SOUND = (
    Style(),
    Style(fingerprint=True),
    Style(integrity=("sha256",)),
    Style(integrity=("sha256",), algorithms=True, chosen=PasswordAlgorithm.SHA256, fingerprint=True),
    Style(integrity=("sha1", "sha256"), algorithms=True),
    Style(algorithms=True, chosen=PasswordAlgorithm.SHA256),
)
_FLAWED = (
    Style(by_hash=True),
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
    *[Style(nonce=b"")] * 6,
    *[Style(account=number) for number in (0, 1, 2, 3, 4, 5, 6)],
)
_OF_STREAMS = (Method.CONNECT.to_bytes(2, "big"), Method.CONNECTION_BIND.to_bytes(2, "big"))
"""The first bytes of requests for TCP relays, of which the oracle knows nothing."""
_CHANNELS = (0x4000, 0x4001, 0x4002, 0x4FFF)
_BAD_CHANNELS = (0, 0x3FFF, 0x5000, 0xFFFF)
_LIFETIMES = (0, 1, 599, 600, 601, 1200, 3599, 3600, 3601, 2**32 - 1)
_PAYLOADS = (b"", b"x", b"four", b"eleven byte", bytes(1200))
_SECONDS = (0.5, 1.0, 4.0, 5.0, 10.0, 29.0, 30.0, 39.0, 40.0, 41.0, 100.0, 299.0, 300.0, 301.0)
_AGES = (30.0, 299.0, 300.0, 301.0, 600.0, 1e4)


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


def some_setup(random: Random, *, strict: bool, mapped: bool) -> Setup:
    """A configuration; the shell opens relays at once, or when told to, or is stingy towards strangers."""
    return Setup(
        strict,
        mapped,
        dual=random.random() < 0.7,
        tight=random.random() < 0.3,
        automatic=random.random() < 0.6,
        thrifty=random.random() < 0.3,
        swallow=random.random() < 0.3,
        mobility=random.random() < 0.5,
    )


class Walk:
    """One bench, and a step at a time on it. ``history`` says in words what has been done."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.oracle = bench.oracle
        self.history: list[str] = []
        self.random = Random()

    def step(self, random: Random, kind: str | None = None) -> None:
        """Do something, and see that all that must hold does."""
        self.random = random
        kind = kind or random.choices(list(STEPS), [weight for _, weight in STEPS.values()])[0]
        with self._told():
            STEPS[kind][0](self)
            self.bench.check()

    def begin(self, random: Random) -> None:
        """Get some clients somewhere first: nearly everything needs an allocation."""
        for kind in random.choices(("allocate", "settle", "find", "permit", "bind"), (3, 4, 1, 1, 3), k=16):
            self.step(random, kind)

    def finish(self) -> None:
        """Let a day pass; nothing may be left in the end."""
        with self._told():
            self.bench.finish()

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Have a failure say how it came to it."""
        try:
            yield
        except Exception as error:
            error.add_note("\n".join([str(self.bench.setup), *self.history[-40:]]))
            raise

    def note(self, text: str) -> None:
        """Write a line of history."""
        self.history.append(f"{self.bench.world.now.mono - 1000.0:10.3f} {text}")

    # Choosing

    def one_in(self, number: int) -> bool:
        """True once in so many times."""
        return self.random.randrange(number) == number - 1

    def maybe(self, number: int, choices: Sequence[T]) -> T | None:
        """One of the choices, once in so many times."""
        return self.random.choice(choices) if self.one_in(number) else None

    def actor(self, *, holds: bool) -> Actor:
        """Usually a client with an allocation, or without one, if there is one."""
        fitting = [actor for actor in self.bench.actors if (self.told(actor) is not None) == holds]
        quick = [actor for actor in fitting if not actor.account.slow] if self.one_in(2) else fitting
        return self.random.choice(self.bench.actors if not quick or self.one_in(10) else quick)

    def told(self, actor: Actor) -> Told | None:
        """What the client knows of its allocation."""
        return self.oracle.told_of(actor.path)

    def peer(self, actor: Actor, *, known: bool) -> Address:
        """A peer; one with a permission or a channel if that is wanted."""
        told = self.told(actor)
        if known and told is not None and (told.channels or told.permissions) and not self.one_in(5):
            bound = [peer for peer, _ in told.channels.values()]
            return self.random.choice(
                bound + [Address(ip, self.random.choice((5000, 50_001))) for ip in told.permissions]
            )
        good = [peer for peer in PEERS if not self.oracle.forbidden(peer, with_port=True)]
        fitting = [peer for peer in good if told is None or len(peer.ip) in told.relays]
        return self.random.choice(PEERS if self.one_in(5) or not fitting else fitting)

    def relay(self) -> tuple[RelayId, Actor] | None:
        """A relay, and the client whose it is; anybody if it is nobody's."""
        relays = sorted(self.bench.world.bound)
        if not relays:
            return None
        relay = self.random.choice(relays)
        owner = self.bench.world.core.state.by_relay.get(relay)
        owners = [actor for actor in self.bench.actors if owner is not None and actor.path == owner[0].client]
        return relay, owners[0] if owners else self.bench.actors[0]

    def late(self) -> None:
        """Sometimes what comes next is the first thing to happen after a long time."""
        age = self.maybe(25, _AGES)
        if age is not None:
            self.note(f"{age} seconds without a timer")
            self.bench.jump(age)

    # Requests

    def ask(self, actor: Actor, method: Method | int, wanted: list[Attribute]) -> None:
        """A request, with a flaw now and then."""
        extra = self.maybe(15, _ODD)
        style = self.random.choice(_FLAWED if self.one_in(10) else _SOUND)
        attributes = [*([] if extra is None else [extra]), *wanted]
        said = ", ".join(f"{spec}={value}" for spec, value in attributes)
        self.note(f"{actor.path.address} asks for method {method}: {said}; {style}")
        self.bench.frame(actor, self.bench.build(actor, method, attributes, style))

    def allocate(self) -> None:
        """Allocate with any of its options."""
        actor, token = self.actor(holds=False), None
        if self.oracle.reservations and self.one_in(2):
            token, held = self.random.choice(list(self.oracle.reservations.items()))
            mates = [other for other in self.bench.actors if other.account.user_id == held.user_id]
            actor = self.random.choice(mates) if not self.one_in(5) else actor
        plain = token is not None and not self.one_in(5)
        even = None if plain else self.maybe(3, (False, True, True))
        options: list[tuple[AttributeType[Any], Any]] = [
            (a.REQUESTED_TRANSPORT, self.random.choice((132, None)) if self.one_in(20) else 17),
            (a.LIFETIME, self.maybe(3, _LIFETIMES)),
            (a.EVEN_PORT, even),
            (a.REQUESTED_ADDRESS_FAMILY, None if plain else self.maybe(8, (1, 2, 2, 0, 3))),
            (a.ADDITIONAL_ADDRESS_FAMILY, None if plain or even else self.maybe(2, (2,) * 9 + (1,))),
            (a.RESERVATION_TOKEN, token if token is not None else self.maybe(30, (b"made up!",))),
            (a.MOBILITY_TICKET, self._ask_for_ticket()),
        ]
        self.ask(actor, Method.ALLOCATE, [(spec, value) for spec, value in options if value is not None])

    def refresh(self) -> None:
        """Refresh, or delete, all or half."""
        actor = self.actor(holds=True)
        told = self.told(actor)
        often = 2 if told is not None and len(told.relays) == 2 else 6
        options = [
            (a.LIFETIME, self.maybe(2, _LIFETIMES)),
            (a.REQUESTED_ADDRESS_FAMILY, self.maybe(often, (1, 1, 2, 2, 3))),
        ]
        self.ask(actor, Method.REFRESH, [(spec, value) for spec, value in options if value is not None])

    def _ask_for_ticket(self) -> bytes | None:
        """Nothing, where it would be refused, but for now and then."""
        if not self.bench.setup.mobility:
            return self.maybe(40, (b"", b"x"))
        return b"not empty" if self.one_in(20) else self.maybe(2, (b"",))

    def move(self) -> None:
        """Refresh with a ticket: mostly the last one of a client, from another place of the same client."""
        tickets = list(self.oracle.tickets.items())
        ticket = self.random.randbytes(32)
        actor = self.actor(holds=self.one_in(4))
        if tickets and not self.one_in(15):
            live = [(value, each) for value, each in tickets if self.oracle.home_of(each.told) is not None]
            last = [(value, each) for value, each in live if each.number == each.told.issued]
            pool = last if last and not self.one_in(4) else live or tickets
            ticket, issued = self.random.choice(pool)
            own = [other for other in self.bench.actors if other.account is issued.told.account]
            free = [other for other in own if self.told(other) is None]
            actor = self.random.choice(free if free and not self.one_in(4) else own) if not self.one_in(6) else actor
        options = [
            (a.MOBILITY_TICKET, ticket),
            (a.LIFETIME, self.maybe(4, _LIFETIMES)),
            (a.REQUESTED_ADDRESS_FAMILY, self.maybe(8, (1, 2, 3))),
        ]
        self.ask(actor, Method.REFRESH, [(spec, value) for spec, value in options if value is not None])

    def permit(self) -> None:
        """CreatePermission, now and then for nobody."""
        actor = self.actor(holds=True)
        peers = [self.peer(actor, known=self.one_in(3)) for _ in range(self.random.choice((0, 1, 1, 1, 1, 2, 3)))]
        self.ask(actor, Method.CREATE_PERMISSION, [(a.XOR_PEER_ADDRESS, peer) for peer in peers])

    def bind(self) -> None:
        """ChannelBind, new, again, or in conflict."""
        actor = self.actor(holds=True)
        told = self.told(actor)
        if told is not None and told.channels and self.one_in(2):
            number, (peer, _) = self.random.choice(list(told.channels.items()))
        else:
            number = self.random.choice(_BAD_CHANNELS if self.one_in(15) else _CHANNELS)
            peer = self.peer(actor, known=self.one_in(3))
        self.ask(actor, Method.CHANNEL_BIND, [(a.CHANNEL_NUMBER, number), (a.XOR_PEER_ADDRESS, peer)])

    def binding(self) -> None:
        """Binding, or a method that nobody has heard of here."""
        method = self.random.choice((Method.BINDING, Method.BINDING, 0x0D, 0xFFF))
        actor, extra = self.actor(holds=True), self.maybe(4, _ODD)
        self.note(f"{actor.path.address} asks for method {method}, unsigned: {extra}")
        self.bench.frame(actor, self.bench.build(actor, method, [extra] if extra else [], Style(integrity=())))

    # Everything else that clients send

    def send(self) -> None:
        """A Send indication, with or without what it needs."""
        self.late()
        actor, extra = self.actor(holds=True), self.maybe(10, _ODD)
        peer, data = self.peer(actor, known=True), self.random.choice(_PAYLOADS)
        wanted: list[Attribute] = [*([extra] if extra else []), (a.XOR_PEER_ADDRESS, peer), (a.DATA, data)]
        if self.one_in(20):
            wanted.pop()
        builder = MessageBuilder(Method.SEND, MessageClass.INDICATION, self.bench.transaction_id())
        for spec, value in wanted:
            builder.add(spec, value)
        self.note(f"{actor.path.address} sends {len(data)} bytes to {peer}, {extra}")
        self.bench.frame(actor, builder.build(), late=True)

    def channel_data(self) -> None:
        """ChannelData: whole, cut short, or with padding."""
        self.late()
        actor = self.actor(holds=True)
        told = self.told(actor)
        number = self.random.choice((*_CHANNELS, *_BAD_CHANNELS[1:]))
        if told is not None and told.channels and not self.one_in(5):
            number = self.random.choice(list(told.channels))
        data = self.random.choice(_PAYLOADS)
        frame = number.to_bytes(2, "big") + len(data).to_bytes(2, "big") + data
        match self.maybe(5, (1, 2)):
            case 1:
                frame = frame[:-1]
            case 2:
                frame += bytes(3)
        self.note(f"{actor.path.address} sends {frame[:4].hex()} and {len(frame) - 4} bytes")
        self.bench.frame(actor, frame, late=True)

    def again(self) -> None:
        """The same bytes again, or almost."""
        everything = [(actor, frame) for actor in self.bench.actors for frame in actor.sent]
        if not everything:
            return
        kept, owed = self.oracle.kept, self.bench.owed
        remembered = [
            (actor, frame)
            for actor, frame in everything
            if (actor.path, frame[8:20]) in owed or (actor.path, blake2b(frame, digest_size=16).digest()) in kept
        ]
        actor, sent = self.random.choice(remembered if remembered and self.one_in(2) else everything)
        frame = bytearray(sent)
        if self.one_in(2) and frame:
            frame[self.random.randrange(len(frame))] ^= self.random.randrange(1, 256)
            frame = frame[: self.random.choice((len(frame), -1, -4))]
        if frame[:2] in _OF_STREAMS:
            return
        self.note(f"{actor.path.address} sends again {frame.hex()}")
        self.bench.frame(actor, bytes(frame))

    def noise(self) -> None:
        """Any bytes."""
        actor, frame = self.random.choice(self.bench.actors), self.random.randbytes(self.random.randrange(60))
        self.note(f"{actor.path.address} sends noise {frame.hex()}")
        self.bench.frame(actor, frame)

    def leave(self) -> None:
        """A client goes away."""
        actor = self.actor(holds=self.one_in(2))
        waiting = [actor for actor in self.bench.actors if any(key[0] == actor.path for key in self.bench.owed)]
        actor = self.random.choice(waiting) if waiting and self.one_in(2) else actor
        self.note(f"{actor.path.address} is gone")
        self.bench.gone(actor)

    # Peers

    def peer_sends(self) -> None:
        """A datagram at one of the relays."""
        found = self.relay()
        if found is not None:
            relay, owner = found
            self.late()
            wire = self.oracle.to_wire(self.peer(owner, known=True))
            self.note(f"{wire} sends to relay {relay}")
            self.bench.peer_datagram(relay, wire, self.random.choice(_PAYLOADS))

    def peer_errs(self) -> None:
        """An ICMP error at one of the relays."""
        found = self.relay()
        if found is not None:
            relay, owner = found
            self.late()
            wire = self.oracle.to_wire(self.peer(owner, known=True))
            value = IcmpValue(self.random.choice((3, 11, 1, 2, 0, 8)), 1, self.random.randrange(2**32))
            self.note(f"{wire} sends {value} to relay {relay}")
            self.bench.peer_icmp(relay, wire, value)

    # Time, shell and operator

    def advance(self) -> None:
        """Some time passes, seldom very much."""
        seconds = 1e5 if self.one_in(60) else self.random.choice(_SECONDS[:8] if self.one_in(2) else _SECONDS)
        self.note(f"{seconds} seconds")
        self.bench.advance(seconds)

    def next_deadline(self) -> None:
        """Exactly up to when something is due, or just before."""
        deadline = self.bench.world.core.deadline()
        if deadline is not None:
            seconds = max(0.0, deadline - self.bench.world.now.mono - self.random.choice((0.0, 0.0, 0.001)))
            self.note(f"{seconds} seconds, to a deadline")
            self.bench.advance(seconds)

    def set_clock(self) -> None:
        """Somebody sets the wall clock, which deadlines do not go by."""
        now, seconds = self.bench.world.now, self.random.choice((-3600.0, -61.0, -1.0, 1.0, 61.0, 3600.0))
        self.note(f"the clock is set by {seconds} seconds")
        self.bench.world.now = now._replace(wall=now.wall + seconds)

    def settle(self) -> None:
        """One relay that was asked for is open, or cannot be."""
        if self.bench.world.waiting:
            relay, opens = self.random.choice(self.bench.world.waiting), not self.one_in(4)
            self.note(f"relay {relay} opens: {opens}")
            self.bench.settle(relay, opens=opens)

    def lose(self) -> None:
        """One relay that was open breaks."""
        opened = sorted(self.bench.world.bound.keys() - set(self.bench.world.waiting))
        if opened:
            relay = self.random.choice(opened)
            self.note(f"relay {relay} breaks")
            self.bench.lose(relay)

    def find(self) -> None:
        """The credential source answers."""
        if self.bench.world.lookups:
            lookup = self.random.choice(self.bench.world.lookups)
            found = self.random.choice((*[(ACCOUNTS[2].credential,)] * 4, (), Unavailable("the database is down")))
            self.note(f"look-up {lookup.ticket} finds {found}")
            self.bench.find(lookup, found)

    def revoke(self) -> None:
        """An operator has had enough of somebody."""
        user_id = self.random.choice(("alice", "bob", "carol", "slow", "nobody"))
        for_good = self.one_in(3)
        self.note(f"{user_id} is revoked, for good: {for_good}")
        self.bench.revoke(user_id, for_good=for_good)

    def replace_policy(self) -> None:
        """An operator loads another peer ACL."""
        name = self.random.choice(sorted(POLICIES))
        self.note(f"policy {name}")
        self.bench.replace_policy(name)


STEPS: dict[str, tuple[Callable[[Walk], None], int]] = {
    "allocate": (Walk.allocate, 24),
    "refresh": (Walk.refresh, 12),
    "move": (Walk.move, 12),
    "permit": (Walk.permit, 16),
    "bind": (Walk.bind, 18),
    "binding": (Walk.binding, 3),
    "send": (Walk.send, 16),
    "channel data": (Walk.channel_data, 20),
    "again": (Walk.again, 12),
    "noise": (Walk.noise, 2),
    "leave": (Walk.leave, 2),
    "peer sends": (Walk.peer_sends, 18),
    "peer errs": (Walk.peer_errs, 4),
    "advance": (Walk.advance, 6),
    "next deadline": (Walk.next_deadline, 6),
    "set clock": (Walk.set_clock, 1),
    "settle": (Walk.settle, 16),
    "lose": (Walk.lose, 2),
    "find": (Walk.find, 14),
    "revoke": (Walk.revoke, 1),
    "replace policy": (Walk.replace_policy, 2),
}
"""Every step and its weight."""


class CoreMachine(RuleBasedStateMachine):
    """The walk as hypothesis goes it."""

    strict = False
    mapped = False

    walk: Walk

    @initialize(random=st.randoms(use_true_random=True))
    def begin(self, random: Random) -> None:
        """Open up."""
        self.walk = Walk(Bench(some_setup(random, strict=self.strict, mapped=self.mapped)))
        self.walk.begin(random)

    @rule(random=st.randoms(), kind=st.sampled_from(sorted(STEPS)))
    def step(self, random: Random, kind: str) -> None:
        """One step of the kind chosen."""
        self.walk.step(random, kind)

    def teardown(self) -> None:
        """Nothing may be left in the end."""
        if hasattr(self, "walk"):
            self.walk.finish()
