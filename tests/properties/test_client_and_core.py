"""The TURN client against the real core over a bad wire: loss, repetition, reordering, and hours of renewals.

What must hold, whatever the wire does: every request ends in time; the client never believes that it has what the
server has not; data goes where it should and comes from where it says; a loss is told; and in the end nothing is left.
"""

import os
from contextlib import suppress
from random import Random

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stun.address import Address
from stun.client.errors import ClientError
from stun.client.events import AllocationLost, PeerData, RequestDone
from stun.client.requests import ClientRequest
from tests.support.client_world import ClientWorld, Party, Weather
from tests.support.examples import scaled
from turnserver.core.types import ClientTransport

_THOROUGH = bool(os.environ.get("MESHTURN_THOROUGH"))


def often(examples: int) -> settings:
    """The same examples in every run by default; new ones, and many more, when thorough."""
    count = 20 * examples if _THOROUGH else scaled(examples)
    health = list(HealthCheck)
    return settings(max_examples=count, derandomize=not _THOROUGH, deadline=None, suppress_health_check=health)


PEERS = [Address.parse(f"8.8.8.{number // 2}", 5000 + number % 2) for number in range(2, 10)]
LONGEST = 3 * 39.5 + 1
"""Seconds that a request may take: bare, challenged, stale."""


class Journey:
    """One client on a bad wire, and what it has asked for."""

    def __init__(self, seed: int, loss: float, duplication: float, delay: float, transport: ClientTransport) -> None:
        self.random = Random(seed)
        self.weather = Weather(self.random, loss, duplication, delay)
        self.world = ClientWorld(weather=self.weather)
        self.party: Party = self.world.client(transport=transport)
        self.asked: list[tuple[float, ClientRequest[object]]] = []
        self.said: dict[Address, set[bytes]] = {}
        self.seen = 0
        self.ask(self.party.core.allocate(self.party.now))

    def ask(self, request: ClientRequest[object]) -> None:
        self.asked.append((self.party.now, request))

    def step(self) -> None:
        """Something that a program may do, if it has an allocation."""
        core, now, peer = self.party.core, self.party.now, self.random.choice(PEERS)
        what = self.random.randrange(7)
        if core.allocation is None:
            pass
        elif what == 0:
            self.ask(core.create_permission(self.random.sample(PEERS, 3), now))
        elif what == 1:
            self.ask(core.bind_channel(peer, now))
        elif what == 2:
            core.forget(peer, now)
        elif what == 3:
            self.ask(core.refresh(now))
        elif what == 4 and self.party.relays:
            data = b"from %d" % self.random.randrange(1000)
            self.said.setdefault(peer, set()).add(data)
            self.world.server.peer_sends(self.party.relays[0], peer, data)
        else:
            with suppress(ClientError):
                core.send(peer, str(peer).encode(), now)
        self.pass_time(self.random.choice((0.0, 0.01, 0.3, 5.0, 100.0, 400.0)))

    def pass_time(self, seconds: float) -> None:
        self.world.advance(seconds)
        self.check()

    def check(self) -> None:
        for began, request in self.asked:
            assert request.done or self.party.now - began <= LONGEST, request
        self.asked = [(began, request) for began, request in self.asked if not request.done]
        self.check_beliefs()
        self.check_data()

    def check_beliefs(self) -> None:
        """RFC 8656 §3.2, §9, §12: what the client holds, the server holds."""
        core, now = self.party.core, self.party.now
        allocation = self.world.server.core.state.allocation(self.party.path)
        if core.allocation is None:
            return
        assert allocation is not None
        assert core.allocation.relayed == tuple(relay.advertised for relay in allocation.relays)
        holdings = core._holdings
        for ip in [ip for ip, held in holdings.permissions.items() if held.until > now]:
            assert ip in allocation.permissions
        for channel in [each for each in holdings.channels.values() if each.until > now]:
            assert allocation.channels[channel.number].peer == channel.peer

    def check_data(self) -> None:
        for sent in self.world.server.to_peers:
            assert sent.data == str(sent.peer).encode()
        self.world.server.to_peers.clear()
        for event in self.party.events[self.seen :]:
            if isinstance(event, PeerData):
                assert event.data in self.said[event.peer]
        self.seen = len(self.party.events)

    def arrive(self) -> None:
        """The wire is good again: the client gives back what it has, and nothing is left anywhere."""
        self.weather.loss = self.weather.duplication = 0.0
        self.pass_time(LONGEST)
        if self.party.core.allocation is not None:
            request = self.party.core.refresh(self.party.now, 0)
            self.pass_time(LONGEST)
            assert request.result() == 0
        self.world.advance(4000)
        self.world.server.assert_nothing_left()
        assert self.party.core.deadline() is None
        done = [event.request for event in self.party.events if isinstance(event, RequestDone)]
        assert len(set(done)) == len(done), "an outcome is told once"


@often(60)
@given(
    seed=st.integers(0, 2**32),
    loss=st.sampled_from((0.0, 0.1, 0.4)),
    duplication=st.sampled_from((0.0, 0.3)),
    delay=st.sampled_from((0.0, 0.2, 2.0)),
    steps=st.integers(1, 40),
)
def test_over_a_bad_wire(seed: int, loss: float, duplication: float, delay: float, steps: int) -> None:
    """Over UDP anything may be lost, come twice, or overtake."""
    journey = Journey(seed, loss, duplication, delay, ClientTransport.UDP)
    journey.pass_time(30.0)
    for _ in range(steps):
        journey.step()
    journey.arrive()


@often(15)
@given(seed=st.integers(0, 2**32), steps=st.integers(1, 40))
def test_over_a_stream(seed: int, steps: int) -> None:
    """Over a stream nothing is lost and nothing is sent again."""
    journey = Journey(seed, 0.0, 0.0, 0.0, ClientTransport.TCP)
    journey.pass_time(1.0)
    for _ in range(steps):
        journey.step()
    journey.arrive()


@often(20)
@given(seed=st.integers(0, 2**32), minutes=st.lists(st.integers(1, 30), min_size=1, max_size=4))
def test_outages(seed: int, minutes: list[int]) -> None:
    """Nothing gets through for a while: the client keeps what it can, and tells what it could not."""
    journey = Journey(seed, 0.0, 0.0, 0.05, ClientTransport.UDP)
    journey.pass_time(1.0)
    assert journey.party.core.allocation is not None
    journey.ask(journey.party.core.bind_channel(PEERS[0], journey.party.now))
    journey.pass_time(1.0)
    for length in minutes:
        journey.world.blocked = True
        journey.pass_time(60.0 * length)
        journey.world.blocked = False
        journey.pass_time(400.0)
    told = journey.party.told(AllocationLost)
    assert len(told) == (1 if journey.party.core.allocation is None else 0)
    if max(minutes) > 11:
        assert told
    journey.arrive()
