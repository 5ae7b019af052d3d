"""Hello: admission to a new session, resuming an old one, and sending what the client has missed."""

from turnserver.core.types import Now
from turnserver.signaling.protocol.client_messages import Hello
from turnserver.signaling.protocol.errors import Denial, SignalCode
from turnserver.signaling.protocol.server_messages import Draining, HelloOk, PeerBack
from turnserver.signaling.rooms.facts import PeerReturned, SessionOpened
from turnserver.signaling.rooms.handlers import Heard, handles
from turnserver.signaling.rooms.lifecycle import attach, begin_session, end_session
from turnserver.signaling.rooms.mediation import tell_layers
from turnserver.signaling.rooms.presence import restate, snapshot
from turnserver.signaling.rooms.session import Connection, Session
from turnserver.signaling.rooms.settings import Grant
from turnserver.signaling.rooms.state import HubState, error, millis

__all__ = ["VERSIONS", "hello", "hello_again", "tell_of_end"]

VERSIONS = (1,)


def hello(state: HubState, connection: Connection, message: Hello, now: Now) -> None:
    """`hello`: opens a session, or resumes one on a new socket. Raises `Denial`."""
    if message.v not in VERSIONS:
        raise Denial(SignalCode.UNSUPPORTED_VERSION, "unsupported protocol version", detail={"v": VERSIONS}, fatal=True)
    if message.resume is not None:
        _resume(state, connection, message, now)
    else:
        _begin(state, connection, message, now)


@handles(Hello)
def hello_again(state: HubState, session: Session, message: Hello, heard: Heard) -> None:
    """`hello` on a socket that already has a session. Raises `Denial`."""
    raise Denial(SignalCode.BAD_MESSAGE, "hello was already sent on this socket", path="t")


def _resume(state: HubState, connection: Connection, message: Hello, now: Now) -> None:
    resume = message.resume
    assert resume is not None
    session = state.sessions.get(resume.sid)
    if session is None or not session.accepts(resume.key):
        if session is not None:
            _failed(state, connection, now)
        raise Denial(SignalCode.SESSION_GONE, "the session does not exist or has ended: open a new one")
    if session.farewell is not None:
        raise Denial(*session.farewell, fatal=True)
    taken_over = attach(state, session, connection)
    _greet(state, session, connection, message, now)
    found = state.member_of(session)
    if found is not None and not taken_over:
        room, member = found
        state.broadcast(room, PeerBack(id=member.id), but=member.id)


def _greet(state: HubState, session: Session, connection: Connection, message: Hello, now: Now) -> None:
    """Describe the session to its client on the new socket, and send everything that the client has missed."""
    resume = message.resume
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
        tell_layers(state, found[1])
        state.fact(PeerReturned(found[0].id, session.peer_id, shortfall is None))
    if shortfall is None:
        return
    state.direct(connection, error(SignalCode.RESUME_LOST, "more frames were missed than the server keeps"))
    if shortfall.lost:
        session.unanswered = session.n
    sync = snapshot(state, session, shortfall.at, shortfall.lost, now)
    if sync is not None:
        state.direct(connection, sync)
        restate(state, session)
    tell_of_end(state, session)


def tell_of_end(state: HubState, session: Session) -> None:
    """`draining`, if the server is about to stop."""
    if state.closes_at is not None:
        state.send(session, Draining(until=millis(state.closes_at)))


def _begin(state: HubState, connection: Connection, message: Hello, now: Now) -> None:
    grant = _admit(state, connection, message.token, now)
    if len(state.sessions) >= state.bounds.sessions:
        raise Denial(SignalCode.SERVER_FULL, "the server has reached its limit of clients", retry=10_000, fatal=True)
    vouched = state.admit is not None and bool(message.token)
    each = state.bounds.vouched_sessions_per_socket if vouched else state.bounds.sessions_per_socket
    if state.held[connection.address_key, vouched] >= state.options.sockets_per_address * each:
        raise Denial(SignalCode.RATE_LIMITED, "too many sessions from your address", retry=10_000, fatal=True)
    if grant.once or grant.uses:
        _use_up(state, connection, grant, now)
    client = f"{message.client.name} {message.client.ver}".strip() if message.client is not None else ""
    session = Session(
        state.name(16), state.peer_id(), grant, connection, bounds=state.bounds, client=client, vouched=vouched
    )
    begin_session(state, session, connection)
    state.fact(SessionOpened(session.peer_id, session.address, grant.subject, client))
    _greet(state, session, connection, message, now)
    tell_of_end(state, session)


def _admit(state: HubState, connection: Connection, token: str | None, now: Now) -> Grant:
    """What the client is allowed to do. Raises `Denial`, which is always fatal.

    The token is looked at first: a right one is never refused because of wrong ones of others behind the same address.
    """
    if state.admit is None or not token:
        if state.options.open:
            return Grant()
        raise Denial(SignalCode.AUTH_REQUIRED, "a room token is needed", fatal=True)
    try:
        return state.admit(token, now.wall)
    except Denial as refusal:
        refusal.fatal = True
        if refusal.code is not SignalCode.BAD_TOKEN:
            raise
        wait = state.failures.wait(connection.address_key, now.mono)
        if not wait:
            _failed(state, connection, now)
            raise
        retry = millis(wait) + 1
        text = "too many invalid tokens from your address"
        raise Denial(SignalCode.RATE_LIMITED, text, retry=retry, fatal=True) from None


def _use_up(state: HubState, connection: Connection, grant: Grant, now: Now) -> None:
    """Count a use of a token that has a number of them, for as long as it is valid. Raises `Denial`."""
    if not grant.token_id:
        raise Denial(SignalCode.BAD_TOKEN, "a token with a number of uses needs an id (jti)", fatal=True)
    keys = ((grant.token_id, number) for number in range(1 if grant.once else grant.uses))
    key = next((each for each in keys if not state.used_tokens.has(each, now.wall)), None)
    if key is None:
        _take_back(state, connection, grant, now)
        return
    if state.used_tokens.is_full(now.wall):
        raise Denial(SignalCode.SERVER_FULL, "too many tokens with a number of uses", retry=60_000, fatal=True)
    state.used_tokens.add(key, now.wall, grant.expires)


def _take_back(state: HubState, connection: Connection, grant: Grant, now: Now) -> None:
    """Accept a token of one use again if the answer to its hello was probably lost. Raises `Denial` otherwise.

    Of a token that several people have, the session that would be replaced is probably that of somebody else.
    """
    if grant.once or grant.uses == 1:
        for session in state.sessions.values():
            if session.grant.token_id == grant.token_id and not session.confirmed:
                end_session(state, session, "replaced", now)
                return
    _failed(state, connection, now)
    raise Denial(SignalCode.BAD_TOKEN, "this token has already been used", path="uses", fatal=True)


def _failed(state: HubState, connection: Connection, now: Now) -> None:
    state.failures.failed(connection.address_key, now.mono)
