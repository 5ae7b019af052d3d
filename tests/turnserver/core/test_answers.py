"""Refusals become bytes and facts in one place."""

from auth.types import Credential
from stun import attributes as a
from stun.constants import MessageClass, Method
from stun.message import Message, MessageBuilder
from tests.support.core_world import World, code_of, names_of
from tests.support.limits import limits
from turnserver.core.answers import refuse
from turnserver.core.commands import SendToClient
from turnserver.core.errors import Refusal
from turnserver.core.events import AnswerWithheld, LoginFailed, RequestRefused
from turnserver.core.request import Integrity, Request
from turnserver.reasons import Reason


def a_request(world: World) -> Request:
    message = Message.decode(MessageBuilder(Method.REFRESH, MessageClass.REQUEST, b"t" * 12).build())
    request = Request(world.client().path, message, 20, world.now)
    request.credential = Credential("alice", "example.org", "alice", {})
    request.key, request.integrity, request.username = b"k" * 16, Integrity.SHA1, "alice"
    return request


def test_a_refusal_is_one_answer_and_one_event() -> None:
    """Rule 25: an error with the integrity of the request, and the fact for the log."""
    world = World()
    request = a_request(world)
    refuse(world.core.state, request, Refusal(Reason.PEER_DENIED, "10.0.0.1"))
    world.run()
    (command,) = world.take()
    assert isinstance(command, SendToClient)
    assert names_of(Message.decode(command.frame)) == ["ERROR-CODE", "SOFTWARE", "MESSAGE-INTEGRITY"]
    reason = "Forbidden (peer-denied): 10.0.0.1"
    assert Message.decode(command.frame).first(a.ERROR_CODE) == (403, reason)
    assert world.take_events() == [
        RequestRefused(
            request.client, Method.REFRESH, 403, Reason.PEER_DENIED, reason, "alice", "alice", detail="10.0.0.1"
        )
    ]


def test_a_challenge_starts_over() -> None:
    """Rule 1, RFC 8489 §9.2.4: no integrity, even if the request had the right one; a new nonce each time."""
    world = World()
    nonces = set()
    for _ in range(2):
        refuse(world.core.state, a_request(world), Refusal(Reason.STALE_NONCE, challenge=True))
        world.run()
        (command,) = world.take()
        assert isinstance(command, SendToClient)
        answer = Message.decode(command.frame)
        assert (code_of(answer), answer.has(a.MESSAGE_INTEGRITY)) == (438, False)
        nonces.add(answer.first(a.NONCE))
    assert len(nonces) == 2


def test_what_is_withheld_was_not_refused() -> None:
    """Rule 4: one event or the other."""
    world = World(limits=limits(reflection_burst=0, reflection_rate=0))
    request = a_request(world)
    refuse(world.core.state, request, Refusal(Reason.NO_CREDENTIALS, challenge=True))
    world.run()
    assert (world.take(), world.take_events()) == ([], [AnswerWithheld(request.client)])


def test_only_a_proven_user_is_named_as_one() -> None:
    """Anybody can write a username into a request; the user id of the fact says that the password was right."""
    world = World(limits=limits(allocations_per_user=0))
    client = world.client()
    client.allocate()
    assert world.take_events() == [
        RequestRefused(client.path, Method.ALLOCATE, 401, Reason.NO_CREDENTIALS, "Unauthenticated", "", ""),
        RequestRefused(
            client.path,
            Method.ALLOCATE,
            486,
            Reason.USER_QUOTA,
            "Allocation Quota Reached (user-quota): limits.allocations_per_user",
            "alice",
            "alice",
            "alice",
            "limits.allocations_per_user",
        ),
    ]
    client.password = "wrong"
    client.allocate()
    assert world.take_events() == [
        LoginFailed(client.path, "alice", Reason.WRONG_PASSWORD, "wrong password", "alice"),
        RequestRefused(
            client.path, Method.ALLOCATE, 401, Reason.WRONG_PASSWORD, "Unauthenticated", "alice", "", "alice"
        ),
    ]


def test_an_expired_credential_is_a_proven_one() -> None:
    """Rule 24: the 401 for an expired password that was right is told from that for a wrong one."""
    world = World()
    request = a_request(world)
    refuse(world.core.state, request, Refusal(Reason.EXPIRED, challenge=True))
    world.run()
    (event,) = world.take_events()
    assert isinstance(event, RequestRefused)
    assert (event.code, event.reason, event.user_id) == (401, "Unauthenticated (expired)", "alice")
