"""The lite agent: checks and their answers, nomination, proof of paths, consent, restarts."""

from collections.abc import Callable
from itertools import count

import pytest
from aioice import stun as theirs

from stun.address import Address
from stun.attributes import ERROR_CODE, UNKNOWN_ATTRIBUTES, USERNAME, XOR_MAPPED_ADDRESS
from stun.constants import MessageClass, Method
from stun.integrity import verify
from stun.message import Message, MessageBuilder
from turnserver.media.ice import (
    CONSENT_LIFETIME,
    ICE_CONTROLLED,
    ICE_CONTROLLING,
    MOST_PATHS,
    PRIORITY,
    USE_CANDIDATE,
    IceAgent,
    IceCredentials,
    make_credentials,
    named_ufrag,
)

OURS = IceCredentials("ours", "o" * 24)
BROWSER = IceCredentials("browser", "b" * 24)
HOME = Address.parse("192.0.2.1", 1111)
MOBILE = Address.parse("198.51.100.2", 2222)


def entropy() -> Callable[[int], bytes]:
    numbers = count(1)
    return lambda size: next(numbers).to_bytes(size, "big")


def agent(remote: IceCredentials | None = BROWSER) -> IceAgent:
    return IceAgent(OURS, remote, entropy=entropy(), outgoing=[])


def check(
    *,
    name: str | None = "ours:browser",
    pwd: str = OURS.pwd,
    nominate: bool = False,
    edit: Callable[[MessageBuilder], object] = lambda _: None,
    without: tuple[str, ...] = (),
) -> bytes:
    builder = MessageBuilder(Method.BINDING, MessageClass.REQUEST, b"t" * 12)
    if name is not None:
        builder.add(USERNAME, name)
    if "priority" not in without:
        builder.add(PRIORITY, 7)
    builder.add(ICE_CONTROLLING, 9)
    if nominate:
        builder.add(USE_CANDIDATE, b"")
    edit(builder)
    if "integrity" not in without:
        builder.integrity(pwd.encode())
    return builder.fingerprint().build()


def sent(ice: IceAgent) -> list[tuple[Message, Address]]:
    taken = [(Message.decode(bytes(data)), to) for data, to in ice._outgoing]
    ice._outgoing.clear()
    return taken


def answer(ice: IceAgent, source: Address, *, pwd: str = BROWSER.pwd) -> None:
    """What a browser does with the Binding request on a path."""
    challenge = ice.paths[source].challenge
    builder = MessageBuilder(Method.BINDING, MessageClass.SUCCESS, challenge).add(XOR_MAPPED_ADDRESS, HOME)
    ice.receive(builder.integrity(pwd.encode()).fingerprint().build(), source, 0.0)


def test_a_check_is_answered_and_a_proof_asked_for() -> None:
    """RFC 8445 §7.3: the mapped address, and integrity with our password; the challenge has that of the browser."""
    ice = agent()
    ice.receive(check(), HOME, 1.0)
    (response, to), (challenge, also) = sent(ice)
    assert (response.message_class, to) == (MessageClass.SUCCESS, HOME)
    assert response.transaction_id == b"t" * 12
    assert response.first(XOR_MAPPED_ADDRESS) == HOME
    assert verify(response, OURS.pwd.encode())
    assert (challenge.message_class, also) == (MessageClass.REQUEST, HOME)
    assert challenge.first(USERNAME) == "browser:ours"
    assert challenge.first(PRIORITY) is not None
    assert challenge.first(ICE_CONTROLLED) is not None
    assert verify(challenge, BROWSER.pwd.encode())
    assert ice.selected is None
    assert ice.consent_until is None


def test_nobody_is_asked_before_the_description_is_here() -> None:
    ice = agent(None)
    ice.receive(check(nominate=True), HOME, 1.0)
    assert [message.message_class for message, _ in sent(ice)] == [MessageClass.SUCCESS]
    assert ice.selected is ice.paths[HOME]


def test_the_first_nomination_counts_at_once_and_later_ones_when_they_are_proven() -> None:
    """Nobody has our media sent to an address from which nothing answers."""
    ice = agent()
    ice.receive(check(nominate=True), HOME, 1.0)
    assert ice.selected is ice.paths[HOME]
    ice.receive(check(nominate=True), MOBILE, 2.0)
    assert ice.selected is ice.paths[HOME]
    answer(ice, MOBILE, pwd="x" * 24)
    assert ice.selected is ice.paths[HOME]
    answer(ice, MOBILE)
    assert ice.selected is ice.paths[MOBILE]
    assert ice.consent_until == 2.0 + CONSENT_LIFETIME
    ice.receive(check(nominate=True), HOME, 3.0)
    answer(ice, HOME)
    assert ice.selected is ice.paths[HOME]
    sent(ice)
    ice.receive(check(), HOME, 4.0)
    assert len(sent(ice)) == 1, "what is proven is not asked again"


def test_three_times_what_came_is_the_most_until_then() -> None:
    ice = agent()
    for _ in range(20):
        ice.receive(check(), HOME, 1.0)
    path = ice.paths[HOME]
    assert path.sent <= 3 * path.received
    assert not path.allows(3 * path.received)
    ice.prove(path)
    assert path.allows(1 << 30)


@pytest.mark.parametrize(
    ("request_", "code", "key"),
    [
        (check(name=None), 400, None),
        (check(without=("integrity",)), 400, None),
        (check(name="others:browser"), 401, None),
        (check(name="ours"), 401, None),
        (check(pwd="w" * 24), 401, None),
        (check(without=("priority",)), 400, OURS.pwd),
        (check(edit=lambda builder: builder.add(ICE_CONTROLLED, 3)), 487, OURS.pwd),
        (check(edit=lambda builder: builder.extend(bytes.fromhex("7ffe0000"))), 420, OURS.pwd),
        (check(edit=lambda builder: builder.extend(bytes.fromhex("8029000101000000"))), 400, None),
    ],
)
def test_refusals(request_: bytes, code: int, key: str | None) -> None:
    """RFC 8489 §6.3.1 and §9.1.3, RFC 8445 §7.3.1.1; none makes a path."""
    ice = agent()
    ice.receive(request_, HOME, 1.0)
    ((refusal, to),) = sent(ice)
    error = refusal.first(ERROR_CODE)
    assert error is not None
    assert (error.code, to) == (code, HOME)
    assert verify(refusal, (key or "").encode()) == (key is not None)
    assert (refusal.first(UNKNOWN_ATTRIBUTES) == (0x7FFE,)) == (code == 420)
    assert len(refusal.raw) <= 3 * len(request_)
    assert not ice.paths


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00\x01" + bytes(18),
        MessageBuilder(Method.ALLOCATE, MessageClass.REQUEST, b"t" * 12).build(),
        MessageBuilder(Method.BINDING, MessageClass.INDICATION, b"t" * 12).build(),
        MessageBuilder(Method.BINDING, MessageClass.SUCCESS, b"t" * 12).build(),
    ],
)
def test_what_is_dropped(data: bytes) -> None:
    ice = agent()
    ice.receive(data, HOME, 1.0)
    assert sent(ice) == []
    assert not ice.paths


def test_paths_are_bounded_and_the_selected_one_stays() -> None:
    ice = agent()
    ice.receive(check(nominate=True), HOME, 0.0)
    for port in range(1, 3 * MOST_PATHS):
        ice.receive(check(), Address(MOBILE.ip, port), float(port))
    assert len(ice.paths) == MOST_PATHS
    assert HOME in ice.paths
    assert Address(MOBILE.ip, 3 * MOST_PATHS - 1) in ice.paths


def test_a_restart() -> None:
    """RFC 8445 §9: old checks are answered, and nominate nothing, until the new credentials have nominated."""
    ice = agent()
    ice.receive(check(nominate=True), HOME, 1.0)
    answer(ice, HOME)
    renewed, browser = IceCredentials("anew", "n" * 24), IceCredentials("other", "a" * 24)
    ice.restart(renewed, browser)
    assert ice.ufrags == ("anew", "ours")
    ice.receive(check(nominate=True), MOBILE, 2.0)
    answer(ice, MOBILE, pwd=browser.pwd)
    assert ice.selected is ice.paths[HOME]
    ice.receive(check(name="anew:other", pwd=renewed.pwd, nominate=True), MOBILE, 3.0)
    assert ice.selected is ice.paths[MOBILE]
    assert ice.ufrags == ("anew",)
    sent(ice)
    ice.receive(check(), HOME, 4.0)
    ((refusal, _),) = sent(ice)
    assert refusal.message_class is MessageClass.ERROR


def test_aioice_writes_and_reads_the_same() -> None:
    """Its checks are taken, and our answers are genuine to it."""
    request = theirs.Message(theirs.Method.BINDING, theirs.Class.REQUEST)
    request.attributes.update({"USERNAME": "ours:browser", "PRIORITY": 5, "ICE-CONTROLLING": 6, "USE-CANDIDATE": None})
    request.add_message_integrity(OURS.pwd.encode())
    ice = agent()
    ice.receive(bytes(request), HOME, 1.0)
    assert ice.selected is not None
    (response, _), (challenge, _) = ice._outgoing
    parsed = theirs.parse_message(bytes(response))
    parsed.check_message_integrity(OURS.pwd.encode())
    assert parsed.attributes["XOR-MAPPED-ADDRESS"] == ("192.0.2.1", 1111)
    parsed = theirs.parse_message(bytes(challenge))
    parsed.check_message_integrity(BROWSER.pwd.encode())
    assert {"USERNAME", "PRIORITY", "ICE-CONTROLLED"} <= set(parsed.attributes)


def test_for_whom_a_check_is() -> None:
    """Found without decoding; whatever does not lead there is nobody's."""
    data = check()
    assert named_ufrag(data, len(data)) == b"ours"
    assert named_ufrag(memoryview(data + b"rest"), len(data)) == b"ours"
    late = MessageBuilder(Method.BINDING, MessageClass.REQUEST, b"t" * 12).add(PRIORITY, 1).add(USERNAME, "x:y").build()
    assert named_ufrag(late, len(late)) == b"x"
    for other in (check(name=None), check(name="ours"), data[:24], b"", bytes(40), b"\x01" + data[1:]):
        assert named_ufrag(other, len(other)) is None
    lying = bytearray(data)
    lying[22:24] = b"\xff\xff"
    assert named_ufrag(lying, len(lying)) == b"ours"


def test_credentials_are_long_and_not_shown() -> None:
    made = make_credentials(entropy())
    assert len(made.ufrag) == 8
    assert len(made.pwd) == 24
    assert made.pwd not in repr(made)


def test_a_check_full_of_nothing_is_not_read_to_its_end() -> None:
    """A name behind hundreds of empty attributes is none: each of them would cost as much as a genuine check."""
    empty = bytes.fromhex("80ff0000")
    name = b"\0\x06\0\x08them:our"
    for number, found in ((7, b"them"), (300, None)):
        body = empty * number + name
        data = b"\0\x01" + len(body).to_bytes(2) + bytes(16) + body
        assert named_ufrag(data, len(data)) == found
