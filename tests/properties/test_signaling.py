"""Whatever sockets and clients do: messages arrive once and in order, within the room, or the client is told."""

from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from tests.support.examples import scaled
from tests.support.signal_hub import World, kept
from tests.support.signal_party import Party, settle

__all__ = ["Calls"]

ROOMS = ("blue", "green")
QUEUE = 6_000
REPLAY = 12

picks = st.integers(0, 3)
budgets = st.one_of(st.none(), st.integers(0, 12))


class Caller(Party):
    """A client that remembers what it heard from whom, and checks every frame on the way in."""

    def __init__(self, world: World, name: str) -> None:
        super().__init__(world, name)
        self.heard: dict[tuple[str, str, str, bool], list[int]] = {}
        """Counters heard: by sender, its visit, our visit, and whether it was said to us alone."""
        self.visit = 0
        """Grows whenever it comes into a room, or anything was lost in between."""
        self.sent = [0, 0]
        """What was said to all, and to one."""

    def _on_msg(self, frame: dict[str, Any]) -> None:
        data = frame["data"]
        assert data["room"] == self.room, f"{self.name} is in {self.room} and hears {data}"
        assert data["id"] == frame["from"]
        assert frame.get("to") in (None, self.id)
        whole = (frame["from"], data["visit"], f"{self.sessions}.{self.visit}", "to" in frame)
        heard = self.heard.setdefault(whole, [])
        if heard:
            missing = data["count"] - heard[-1] - 1
            assert missing >= 0 if "to" in frame else missing == 0, f"{self.name} hears {data} after {heard}"
        heard.append(data["count"])

    def _on_joined(self, frame: dict[str, Any]) -> None:
        if frame["t"] == "joined":
            self.visit += 1
        super()._on_joined(frame)

    def _on_sync(self, frame: dict[str, Any]) -> None:
        super()._on_sync(frame)
        if frame["lost"]:
            self.visit += 1

    def speak(self, to: str | None) -> None:
        private = to is not None
        self.sent[private] += 1
        visit = f"{self.sessions}.{self.visit}"
        data = {"room": self.room, "id": self.id, "visit": visit, "count": self.sent[private]}
        self.say("msg", data=data, **({"to": to} if to else {}))


class Calls(RuleBasedStateMachine):
    """Four clients, two rooms, sockets that are lost at any frame, clients that do not read."""

    @initialize(rooms=st.tuples(*[st.sampled_from([*ROOMS, "blue", None])] * 4))
    def begin(self, rooms: tuple[str | None, ...]) -> None:
        settings = {"replay_messages": REPLAY, "queue_bytes": QUEUE, "room_size": 3, "rate": 1e6, "burst": 10**6}
        self.world = World(joins_per_minute=10**6, sessions_per_socket=10**3, **settings)
        self.callers = [Caller(self.world, name) for name in ("ann", "bob", "cem", "dan")]
        settle(list(self.callers))
        for caller, room in zip(self.callers, rooms, strict=True):
            if room is not None:
                caller.ask("join", room=room, name=caller.name)
        settle(list(self.callers))

    @rule(pick=picks, inwards=budgets, outwards=budgets, notices=st.booleans())
    def doom(self, pick: int, inwards: int | None, outwards: int | None, notices: bool) -> None:
        """The socket will be lost after so many frames."""
        caller = self.callers[pick]
        caller.in_budget, caller.out_budget, caller.notices = inwards, outwards, notices

    @rule(pick=picks)
    def drop(self, pick: int) -> None:
        self.callers[pick].drop()

    @rule(pick=picks)
    def notice(self, pick: int) -> None:
        """The server hears of sockets that were lost before."""
        self.callers[pick].notice()

    @rule(pick=picks)
    def stall(self, pick: int) -> None:
        """It stops reading."""
        self.callers[pick].stalled = self.callers[pick].is_open

    @rule(pick=picks)
    def come_back(self, pick: int) -> None:
        if not self.callers[pick].is_open:
            self.callers[pick].connect()

    @rule(pick=picks)
    def pump(self, pick: int) -> None:
        self.callers[pick].pump()

    @rule(pick=picks, room=st.sampled_from(ROOMS))
    def join(self, pick: int, room: str) -> None:
        caller = self.callers[pick]
        if caller.room is None and not caller.asked:
            caller.ask("join", room=room, name=caller.name)

    @rule(pick=picks)
    def leave(self, pick: int) -> None:
        """And wait for the answer: a client is in the room until it has it."""
        caller = self.callers[pick]
        if caller.room is not None and not caller.asked:
            name = caller.ask("leave")
            settle(list(self.callers))
            if caller.answers.get(name, {}).get("t") == "ok":
                caller.left()

    @rule(pick=picks, whom=st.one_of(st.none(), picks))
    def speak(self, pick: int, whom: int | None) -> None:
        caller = self.callers[pick]
        if caller.room is not None and not caller.asked and len(caller.unsent) < 40:
            to = None if whom is None else self.callers[whom].id
            caller.speak(to if to != caller.id else None)

    @rule(order=st.lists(picks, min_size=2, max_size=10), cut=picks, after=st.integers(0, 10))
    def speak_across_a_cut(self, order: list[int], cut: int, after: int) -> None:
        """Much is said while somebody's socket is lost, with frames on their way in both directions."""
        self.doom(cut, after, None, True)
        for pick in order:
            self.speak(pick, None)
        self.callers[cut].drop()
        self.callers[cut].connect()
        for caller in self.callers:
            caller.pump()

    @rule(cut=picks, speaker=picks, count=st.integers(8, 30), back=st.booleans())
    def miss_much(self, cut: int, speaker: int, count: int, back: bool) -> None:
        """More is said than is kept."""
        self.callers[cut].drop()
        for _ in range(count):
            self.speak(speaker, None)
        if back:
            self.callers[cut].connect()
            self.callers[cut].pump()

    @rule(pick=picks, name=st.text("abc", max_size=5))
    def change(self, pick: int, name: str) -> None:
        caller = self.callers[pick]
        if caller.room is not None and not caller.asked:
            caller.say("update", name=name)

    @rule(seconds=st.sampled_from([1.0, 5.0, 30.0, 61.0]))
    def wait(self, seconds: float) -> None:
        """Sessions without a socket may end; clients that have one acknowledge, as they do with every ping."""
        self.world.pass_time(seconds)
        for caller in self.callers:
            caller.pump()
            if caller.greeted:
                caller.emit({"t": "ping"})

    @rule(texts=st.lists(st.one_of(st.none(), picks), min_size=1, max_size=8))
    def talk_in_peace(self, texts: list[int | None]) -> None:
        """All come back; then everything that is said arrives at everybody in the room, and nowhere else."""
        for caller in self.callers:
            caller.notice()
            caller.notices, caller.in_budget, caller.out_budget = True, None, None
        settle(list(self.callers))
        marks = {caller.name: caller.sent[0] for caller in self.callers}
        for number, whom in enumerate(texts):
            speaker = self.callers[number % len(self.callers)]
            if speaker.room is not None:
                to = None if whom is None else self.callers[whom].id
                speaker.speak(to if to in speaker.peers else None)
        settle(list(self.callers))
        for a in self.callers:
            said = list(range(marks[a.name] + 1, a.sent[0] + 1))
            for b in self.callers:
                if a is not b:
                    found = [counts for whole, counts in b.heard.items() if whole[0] == a.id and not whole[3]]
                    heard = [count for counts in found for count in counts if count > marks[a.name]]
                    assert heard == (said if a.room is not None and a.room == b.room else [])
        self.views_agree()

    def views_agree(self) -> None:
        """After all is said, every client sees what the server has."""
        for caller in self.callers:
            room = self.world.hub.room(caller.room) if caller.room is not None else None
            assert (room is None) == (caller.room is None)
            there = {} if room is None else {peer.id: peer for peer in room.peers if peer.id != caller.id}
            assert set(caller.peers) == set(there)
            for other in self.callers:
                if other.id in caller.peers:
                    assert "gap" not in caller.peers[other.id]

    @invariant()
    def queues_are_bounded(self) -> None:
        """Whoever does not read or come back costs so much and no more."""
        if not hasattr(self, "world"):
            return
        state = self.world.hub._state
        for session in state.sessions.values():
            assert kept(session.outbox)[1] <= 3 * QUEUE + 4_096
            assert session.outbox.acked <= session.outbox.seq

    @invariant()
    def tables_agree(self) -> None:
        """Rooms have members, members have sessions, sessions their room; nothing is left of what is gone."""
        if not hasattr(self, "world"):
            return
        state = self.world.hub._state
        for room in state.rooms.values():
            assert room.members, "an empty room vanishes"
            assert len(room.members) <= room.max
            for peer_id, member in room.members.items():
                assert state.peers[peer_id] is member.session
                assert member.session.room == room.id
            for a, b in room.lines:
                assert {a, b} <= set(room.members)
        for session in state.sessions.values():
            assert session.farewell is not None or state.peers[session.peer_id] is session
            assert session.room is None or session.peer_id in state.rooms[session.room].members
            assert (session.connection is None) == (("gap", session.sid) in state.deadlines)
        assert sum(state.sockets.values()) == sum(not each.vouched for each in state.connections.values())
        assert sum(state.held.values()) == len(state.peers)


def test_a_join_repeated_after_a_resume_has_one_answer() -> None:
    """Even if so many frames follow the first answer on the new socket that it is not kept any more."""
    calls = Calls()
    calls.begin(rooms=("blue",) * 4)
    calls.leave(pick=0)
    calls.stall(pick=0)
    calls.join(pick=0, room="blue")
    calls.miss_much(back=False, count=10, cut=1, speaker=1)
    calls.miss_much(back=True, count=8, cut=1, speaker=0)
    calls.drop(pick=2)
    calls.miss_much(back=True, count=8, cut=0, speaker=0)
    calls.tables_agree()
    calls.teardown()


def test_calls() -> None:
    """Signaling §1: counted both ways, resumable at any frame; queues with bounds; rooms that hold together."""
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        Calls,
        settings=settings(
            max_examples=scaled(80), stateful_step_count=50, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
