"""Sessions from hello to their end: who may have one, who may go on with one, and what a lost socket means."""

from turnserver.core.types import Now
from turnserver.signaling.protocol.errors import ErrorCode, Refusal
from turnserver.signaling.protocol.messages import Hello, HelloOk, PeerBack, PeerGap
from turnserver.signaling.rooms.facts import LeaveReason, PeerLost, PeerReturned, SessionEnded, SessionOpened
from turnserver.signaling.rooms.outbox import Kind, Outbox
from turnserver.signaling.rooms.presence import depart, restate, snapshot, stop_waiting
from turnserver.signaling.rooms.session import Connection, Session
from turnserver.signaling.rooms.settings import Grant
from turnserver.signaling.rooms.state import State, error, millis

__all__ = ["VERSIONS", "detach", "dismiss", "end_session", "forget", "hello"]

VERSIONS = (1,)


def hello(state: State, connection: Connection, message: Hello, now: Now) -> None:
    """`hello`: a new session, or an old one on a new socket. Raises `Refusal`."""
    if message.v not in VERSIONS:
        raise Refusal(ErrorCode.UNSUPPORTED_VERSION, "we do not speak that", detail={"v": VERSIONS}, fatal=True)
    if message.resume is not None:
        _resume(state, connection, message, now)
    else:
        _begin(state, connection, message, now)


def detach(state: State, session: Session, now: Now) -> None:
    """The session's socket is lost: wait for its client, and tell the others."""
    if session.connection is not None:
        session.connection.session = None
    session.connection = None
    session.outbox.detach()
    session.gap_until = now.wall + state.settings.resume
    state.timers.set(("gap", session.sid), now.mono + state.settings.resume)
    found = state.member_of(session)
    if found is not None:
        room, member = found
        gap = PeerGap(id=member.id, until=millis(session.gap_until))
        state.broadcast(room, gap, Kind.PRESENCE, key=("link", member.id), but=member.id)
        state.fact(PeerLost(room.id, member.id))


def end_session(state: State, session: Session, reason: LeaveReason, now: Now, *, revoke: bool = False) -> None:
    """The session is over, and out of its room; with ``revoke``, its relays end at once."""
    stop_waiting(state, session)
    if session.room is not None:
        depart(state, session, reason, now, revoke=revoke)
    for user_id, expires in session.lobby.items():
        if revoke:
            state.revoke(user_id, session.peer_id, expires)
        else:
            state.revoke_later(user_id, session.peer_id, expires, now)
    if session.connection is not None:
        session.connection.session = None
        session.connection = None
    state.remove_session(session)
    state.timers.remove(("gap", session.sid))
    state.fact(SessionEnded(session.peer_id, reason))


def dismiss(state: State, session: Session, code: ErrorCode, msg: str, now: Now) -> None:
    """Send a client away for good. Should it not hear of it now, it will when it tries to resume."""
    connection = session.connection
    end_session(state, session, "kicked", now, revoke=True)
    if connection is not None:
        state.part(connection, code, msg)
    session.ended = code
    session.ended_msg = msg
    session.outbox = Outbox(0, 0)
    state.sessions[session.sid] = session
    state.timers.set(("gap", session.sid), now.mono + state.settings.resume)


def forget(state: State, sid: str, now: Now) -> None:
    """The time to come back is over."""
    session = state.sessions[sid]
    if session.ended is not None:
        del state.sessions[sid]
    else:
        end_session(state, session, "timeout", now)


def _resume(state: State, connection: Connection, message: Hello, now: Now) -> None:
    resume = message.resume
    assert resume is not None
    session = state.sessions.get(resume.sid)
    if session is None or not session.accepts(resume.key):
        if session is not None:
            _failed(state, connection, now)
        raise Refusal(ErrorCode.SESSION_GONE, "there is no such session (any more): begin a new one")
    if session.ended is not None:
        raise Refusal(session.ended, session.ended_msg, fatal=True)
    old = session.connection
    if old is not None:
        old.session = None
        session.outbox.detach()
        state.part(old, ErrorCode.REPLACED, "another socket goes on with this session")
    state.move_session(session, connection)
    _attach(state, session, connection, message, now)
    found = state.member_of(session)
    if found is not None and old is None:
        room, member = found
        state.broadcast(room, PeerBack(id=member.id), Kind.PRESENCE, key=("link", member.id), but=member.id)


def _attach(state: State, session: Session, connection: Connection, message: Hello, now: Now) -> None:
    """Give the session this socket, and tell its client all that it has missed."""
    resume = message.resume
    session.connection = connection
    connection.session = session
    state.timers.remove(("gap", session.sid))
    state.timers.remove(("hello", str(connection.cid)))
    key = state.name(32)
    session.renew(key, resume.key if resume is not None else "")
    state.direct(
        connection,
        HelloOk(
            re=message.id,
            v=message.v,
            sid=session.sid,
            key=key,
            cid=connection.name,
            resumed=resume is not None,
            n=session.n,
            you=session.identity,
            room=session.room,
        ),
    )
    shortfall = session.outbox.attach(resume.seq if resume is not None else 0)
    found = state.member_of(session)
    if found is not None:
        found[1].paths = ()
        state.fact(PeerReturned(found[0].id, session.peer_id, shortfall is None))
    if shortfall is None:
        return
    state.direct(connection, error(ErrorCode.RESUME_LOST, "you have missed more than is kept"))
    if shortfall.lost:
        session.unanswered = session.n
    sync = snapshot(state, session, shortfall.at, shortfall.lost, now)
    if sync is not None:
        state.direct(connection, sync)
        restate(state, session)


def _begin(state: State, connection: Connection, message: Hello, now: Now) -> None:
    grant = _admit(state, connection, message.token, now)
    if len(state.sessions) >= state.settings.sessions:
        raise Refusal(ErrorCode.SERVER_FULL, "the server has as many clients as it may have", retry=10_000, fatal=True)
    most = state.settings.sockets_per_address * state.settings.sessions_per_socket
    if state.held[connection.address_key] >= most:
        raise Refusal(ErrorCode.RATE_LIMITED, "too many sessions of your address", retry=10_000, fatal=True)
    if grant.once:
        _use_up(state, connection, grant, now)
    client = f"{message.client.name} {message.client.ver}".strip() if message.client is not None else ""
    session = Session(state.name(16), state.peer_id(), grant, connection, settings=state.settings, client=client)
    state.add_session(session)
    state.fact(SessionOpened(session.peer_id, session.address, grant.subject, client))
    _attach(state, session, connection, message, now)


def _admit(state: State, connection: Connection, token: str | None, now: Now) -> Grant:
    """What the client may do. Raises `Refusal`, always fatal."""
    key = connection.address_key
    wait = state.failures.wait(key, now.mono)
    if wait:
        retry = millis(wait) + 1
        raise Refusal(ErrorCode.RATE_LIMITED, "too many bad tokens from your address", retry=retry, fatal=True)
    if state.admit is None or not token:
        if state.settings.open:
            return Grant()
        raise Refusal(ErrorCode.AUTH_REQUIRED, "a room token is needed", fatal=True)
    try:
        return state.admit(token, now.wall)
    except Refusal as refusal:
        if refusal.code is ErrorCode.BAD_TOKEN:
            _failed(state, connection, now)
        refusal.fatal = True
        raise


def _use_up(state: State, connection: Connection, grant: Grant, now: Now) -> None:
    """Remember a token that opens one session only, for as long as it is valid. Raises `Refusal`."""
    if not grant.token_id:
        raise Refusal(ErrorCode.BAD_TOKEN, "a token for one use needs an id", fatal=True)
    if state.used_tokens.has(grant.token_id, now.wall):
        _take_back(state, connection, grant.token_id, now)
        return
    if state.used_tokens.is_full(now.wall):
        raise Refusal(ErrorCode.SERVER_FULL, "too many tokens for one use", retry=60_000, fatal=True)
    state.used_tokens.add(grant.token_id, now.wall, grant.expires)


def _take_back(state: State, connection: Connection, token_id: str, now: Now) -> None:
    """A used token is good once more if the answer to its hello seems to be lost. Raises `Refusal` otherwise."""
    for session in state.sessions.values():
        if session.grant.token_id == token_id and not session.confirmed:
            end_session(state, session, "replaced", now)
            return
    _failed(state, connection, now)
    raise Refusal(ErrorCode.BAD_TOKEN, "this token has been used", fatal=True)


def _failed(state: State, connection: Connection, now: Now) -> None:
    state.failures.failed(connection.address_key, now.mono)
