"""Sockets, sessions and seats: every event in every state does what the tables say, or is a fault and does nothing."""

import json
from collections.abc import Callable
from enum import StrEnum
from typing import Any

import pytest

from tests.support.signal_hub import World
from turnserver.signaling.protocol.client_messages import Join
from turnserver.signaling.protocol.errors import SignalCode
from turnserver.signaling.protocol.fields import Media
from turnserver.signaling.rooms import lifecycle
from turnserver.signaling.rooms.facts import Close, Wake
from turnserver.signaling.rooms.lifecycle import (
    SEAT,
    SESSION,
    SOCKET,
    LifecycleFault,
    SeatState,
    SessionState,
    SocketState,
    seat_state,
    session_state,
    socket_state,
)
from turnserver.signaling.rooms.room import Room
from turnserver.signaling.rooms.session import Connection, Session
from turnserver.signaling.rooms.settings import Grant
from turnserver.signaling.rooms.state import Due, HubState, Timer

__all__: list[str] = []


class Stage:
    """A hub's tables, with one socket, one session and one room, in whatever state is asked for."""

    def __init__(self) -> None:
        self.world = World()
        self.state: HubState = self.world.hub._state
        self.now = self.world.now
        self.connection = self.socket(1)
        self.spare = self.socket(2)
        self.session = self.somebody("s", self.connection)
        self.room: Room | None = None

    def socket(self, cid: int) -> Connection:
        return Connection(cid, f"c{cid}", "192.0.2.1", "h", bounds=self.state.bounds, mono=self.now.mono)

    def somebody(self, sid: str, connection: Connection) -> Session:
        return Session(sid, sid * 10, Grant(), connection, bounds=self.state.bounds, client="")

    def doors(self) -> Room:
        """A room with a host in it."""
        if self.room is None:
            connection = self.socket(9)
            lifecycle.open_socket(self.state, connection, self.now)
            host = self.somebody("h", connection)
            host.grant = Grant(role="host")
            lifecycle.begin_session(self.state, host, connection)
            self.room = lifecycle.open_room(self.state, "blue", 4, self.now)
            self.sit(host)
        return self.room

    def sit(self, session: Session) -> None:
        assert self.room is not None
        join = Join(room="blue")
        lifecycle.take_seat(self.state, self.room, session, join, name="x", media=Media(), now=self.now)

    # The states

    def to_socket(self, wanted: SocketState) -> None:
        if wanted is not SocketState.ABSENT:
            lifecycle.open_socket(self.state, self.connection, self.now)
        if wanted is SocketState.SERVING:
            lifecycle.begin_session(self.state, self.session, self.connection)
        elif wanted is SocketState.CLOSING:
            lifecycle.close_socket(self.state, self.connection, SignalCode.INTERNAL, "x")

    def to_session(self, wanted: SessionState) -> None:
        lifecycle.open_socket(self.state, self.connection, self.now)
        lifecycle.open_socket(self.state, self.spare, self.now)
        if wanted is SessionState.ABSENT:
            return
        lifecycle.begin_session(self.state, self.session, self.connection)
        if wanted is not SessionState.ATTACHED:
            lifecycle.detach(self.state, self.session, self.now)
        if wanted is SessionState.DISMISSED:
            lifecycle.dismiss(self.state, self.session, SignalCode.KICKED, "x", self.now)

    def to_seat(self, wanted: SeatState) -> None:
        self.doors()
        self.to_session(SessionState.ATTACHED)
        if wanted is SeatState.DOOR:
            lifecycle.wait_at_door(self.state, self.doors(), self.session, Join(room="blue"))
        elif wanted is SeatState.ROOM:
            self.sit(self.session)

    def tables(self) -> tuple[Any, ...]:
        """All there is, to see that nothing has changed."""
        state = self.state
        rooms = {room.id: (tuple(room.members), tuple(room.waiting)) for room in state.rooms.values()}
        places = [(each.connection, each.room, each.waits_for, each.farewell) for each in state.sessions.values()]
        sockets = [(each.session, each.closing, len(each.direct)) for each in state.connections.values()]
        due = [state.deadlines.get(Timer(kind, name)) for kind in Due for name in ("1", "2", "s", "blue")]
        return rooms, places, sockets, due, dict(state.held), dict(state.sockets), len(state._commands)


def socket_events(stage: Stage) -> dict[str, Callable[[], object]]:
    state, now, connection = stage.state, stage.now, stage.connection
    return {
        "open_socket": lambda: lifecycle.open_socket(state, connection, now),
        "attach": lambda: lifecycle.begin_session(state, stage.somebody("t", connection), connection),
        "detach": lambda: lifecycle.detach(state, stage.session, now),
        "close_socket": lambda: lifecycle.close_socket(state, connection, SignalCode.INTERNAL, "x"),
        "end_socket": lambda: lifecycle.end_socket(state, connection),
        "socket_lost": lambda: lifecycle.socket_lost(state, connection, now),
    }


def session_events(stage: Stage) -> dict[str, Callable[[], object]]:
    state, now, session = stage.state, stage.now, stage.session
    return {
        "begin_session": lambda: lifecycle.begin_session(state, session, stage.connection),
        "attach": lambda: lifecycle.attach(state, session, stage.spare),
        "detach": lambda: lifecycle.detach(state, session, now),
        "end_session": lambda: lifecycle.end_session(state, session, "left", now),
        "dismiss": lambda: lifecycle.dismiss(state, session, SignalCode.KICKED, "x", now),
        "gap_over": lambda: lifecycle.gap_over(state, session, now),
    }


def seat_events(stage: Stage) -> dict[str, Callable[[], object]]:
    state, now, session = stage.state, stage.now, stage.session
    return {
        "wait_at_door": lambda: lifecycle.wait_at_door(state, stage.doors(), session, Join(room="blue")),
        "take_seat": lambda: stage.sit(session),
        "leave_door": lambda: lifecycle.leave_door(state, session),
        "vacate": lambda: lifecycle.vacate(state, session, "left", now),
    }


def cases(table: Any, events: Callable[[Stage], dict[str, Any]]) -> list[Any]:
    names = sorted(events(Stage()))
    assert {event for row in table.values() for event in row} == set(names)
    return [pytest.param(state, event, id=f"{state}-{event}") for state in table for event in names]


def check(stage: Stage, found: Callable[[], StrEnum], wanted: StrEnum | None, event: Callable[[], object]) -> None:
    """``wanted`` is the state after the event; None if the event is a fault."""
    if wanted is not None:
        event()
        assert found() is wanted
        return
    before, state = stage.tables(), found()
    with pytest.raises(LifecycleFault):
        event()
    assert (stage.tables(), found()) == (before, state)


@pytest.mark.parametrize("table", [SOCKET, SESSION, SEAT], ids=["socket", "session", "seat"])
def test_the_tables_leave_no_state_out(table: Any) -> None:
    assert set(table) == set(type(next(iter(table))))
    assert all(after in table for row in table.values() for after in row.values())


@pytest.mark.parametrize(("before", "event"), cases(SOCKET, socket_events))
def test_sockets(before: SocketState, event: str) -> None:
    stage = Stage()
    stage.to_socket(before)
    assert socket_state(stage.state, stage.connection) is before
    check(
        stage,
        lambda: socket_state(stage.state, stage.connection),
        SOCKET[before].get(event),
        socket_events(stage)[event],
    )


@pytest.mark.parametrize(("before", "event"), cases(SESSION, session_events))
def test_sessions(before: SessionState, event: str) -> None:
    stage = Stage()
    stage.to_session(before)
    assert session_state(stage.state, stage.session) is before
    check(
        stage,
        lambda: session_state(stage.state, stage.session),
        SESSION[before].get(event),
        session_events(stage)[event],
    )


@pytest.mark.parametrize(("before", "event"), cases(SEAT, seat_events))
def test_seats(before: SeatState, event: str) -> None:
    stage = Stage()
    stage.to_seat(before)
    assert seat_state(stage.session) is before
    check(stage, lambda: seat_state(stage.session), SEAT[before].get(event), seat_events(stage)[event])


def test_a_session_goes_to_no_socket_that_has_one_or_is_about_to_close() -> None:
    stage = Stage()
    stage.to_session(SessionState.WAITING)
    lifecycle.close_socket(stage.state, stage.spare, SignalCode.INTERNAL, "x")
    before = stage.tables()
    with pytest.raises(LifecycleFault):
        lifecycle.attach(stage.state, stage.session, stage.spare)
    assert stage.tables() == before


@pytest.mark.parametrize("event", ["detach", "end_session", "dismiss", "attach"])
def test_a_socket_that_its_session_leaves_is_open_or_closed_and_has_no_session(event: str) -> None:
    """What the table of sockets calls ``detach``, in all its forms."""
    stage = Stage()
    stage.to_session(SessionState.ATTACHED)
    session_events(stage)[event]()
    wanted = {"detach": SocketState.OPEN, "end_session": SocketState.OPEN}.get(event, SocketState.CLOSING)
    assert socket_state(stage.state, stage.connection) is wanted
    assert stage.connection.session is None


@pytest.mark.parametrize("wanted", list(SessionState))
def test_a_session_has_a_socket_or_a_deadline(wanted: SessionState) -> None:
    stage = Stage()
    stage.to_session(wanted)
    waits = wanted in (SessionState.WAITING, SessionState.DISMISSED)
    assert (Timer(Due.GAP, stage.session.sid) in stage.state.deadlines) == waits


@pytest.mark.parametrize("wanted", list(SocketState))
def test_an_open_socket_has_a_session_or_a_deadline(wanted: SocketState) -> None:
    stage = Stage()
    stage.to_socket(wanted)
    assert (Timer(Due.HELLO, "1") in stage.state.deadlines) == (wanted is SocketState.OPEN)


@pytest.mark.parametrize("wanted", list(SeatState))
def test_the_end_of_a_session_is_the_end_of_its_seat(wanted: SeatState) -> None:
    stage = Stage()
    stage.to_seat(wanted)
    lifecycle.end_session(stage.state, stage.session, "left", stage.now)
    assert seat_state(stage.session) is SeatState.NOWHERE
    assert (list(stage.doors().members), list(stage.doors().waiting)) == (["h" * 10], [])


def test_the_last_one_out_ends_the_room_and_whoever_waits_is_told() -> None:
    stage = Stage()
    stage.to_seat(SeatState.DOOR)
    stage.session.outbox.attach(0)
    host = stage.state.sessions["h"]
    lifecycle.vacate(stage.state, host, "left", stage.now)
    assert stage.state.rooms == {}
    assert seat_state(stage.session) is SeatState.NOWHERE
    assert json.loads(stage.session.outbox.take() or "{}")["code"] == "no_such_room"
    assert session_state(stage.state, stage.session) is SessionState.ATTACHED, "its session goes on"


def test_goodbye_is_said_once() -> None:
    world = World()
    state = world.hub._state
    world.hub.opened(1, "192.0.2.1", "h", world.now)
    connection = state.connections[1]
    lifecycle.close_socket(state, connection, SignalCode.INTERNAL, "x" * 1000)
    lifecycle.close_socket(state, connection, SignalCode.KICKED, "again")
    commands = state.take_commands()
    assert commands == [Wake(1), Close(1, 4500, "internal")]
    assert len(connection.direct) == 2


def test_a_user_is_revoked_once() -> None:
    world = World()
    state = world.hub._state
    lifecycle.revoke_later(state, "u.p", "p", 50.0, world.now)
    lifecycle.revoke_user(state, "u.p", "p", 50.0, kicked=False)
    world.pass_time(10.0)
    world.work()
    assert world.revoked() == ["u.p"]
    assert world.relays.forgotten == ["u.p"]
