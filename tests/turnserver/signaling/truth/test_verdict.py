"""The decision table, row by row: first what goes wrong in practice, then contradictions, then hostile input."""

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stun.address import Address
from turnserver.signaling.truth.relays import UNKNOWN_PATH, PairPath
from turnserver.signaling.truth.sentences import TEXTS, VerdictCode
from turnserver.signaling.truth.userfacts import NO_FACTS, RefusalFact, UserFacts
from turnserver.signaling.truth.verdict import MAX_ERRORS, IceFailure, Side, judge

HOST, SRFLX, RELAY = frozenset({"host"}), frozenset({"host", "srflx"}), frozenset({"host", "srflx", "relay"})
UDP, TCP, TLS = "turn:t.example:3478?transport=udp", "turn:t.example:3478?transport=tcp", "turns:t.example:443"
OPENED = 1_700_000_000.0
SERVER_IP = Address.parse("203.0.113.1", 0)


def live(*protos: str, **more: object) -> UserFacts:
    facts = UserFacts(heard=True, live=1, opened=1, protos=protos or ("udp",), opened_at=OPENED)
    return facts._replace(relayed=(Address.parse("203.0.113.1", 50000),))._replace(**more)


def refused(
    code: int, *, proven: bool = True, at: float = OPENED + 1, facts: UserFacts = NO_FACTS, reason: str = ""
) -> UserFacts:
    fact = RefusalFact(code, reason, "udp", 1, at, proven)
    return facts._replace(heard=True, refusals=(*facts.refusals, fact))


def side(local: frozenset[str] = RELAY, *states: str, facts: UserFacts | None = None, **more: object) -> Side:
    known = facts if facts is not None else live() if "relay" in local else NO_FACTS
    return Side(local, states=states or ("checking", "failed"), facts=known, **more)


def errors(code: int, *urls: str) -> tuple[IceFailure, ...]:
    return tuple(IceFailure(code, url) for url in urls)


GOOD = side()
BLOCKED = side(HOST, errors=errors(701, UDP, TCP, TLS))
ENDED = UserFacts(heard=True, opened=2, ended=2, protos=("udp",), opened_at=OPENED, end_reason="client-gone")
CARRIES = PairPath("relay", "udp", "a", 10_000, 9_000)

ROWS: dict[str, tuple[Side, Side, str, str]] = {
    # name: a, who asks; b; code; a part of the text
    "connected after all": (side(RELAY, "connected"), side(SRFLX, "checking", "completed"), "media_flows", "stands"),
    "the other's socket is away": (GOOD, replace(GOOD, connected=False), "peer_gap", "The other person's connection"),
    "the asker's socket is away": (replace(GOOD, connected=False), GOOD, "peer_gap", "Your own connection"),
    "both sockets are away": (*(replace(GOOD, connected=False),) * 2, "peer_gap", "Both of you"),
    "a browser without WebRTC": (side(frozenset()), GOOD, "no_candidates", "Your browser"),
    "the other's browser without WebRTC": (GOOD, side(frozenset()), "no_candidates", "The other person's browser"),
    "both browsers without WebRTC": (side(frozenset()), side(frozenset()), "no_candidates", "Neither browser"),
    "relays may not reach each other": (
        side(facts=live(denied=(SERVER_IP,))),
        GOOD,
        "peer_denied",
        "may not reach each other",
    ),
    "nor the other way round": (GOOD, side(facts=live(denied=(SERVER_IP,))), "peer_denied", "may not reach each other"),
    "nor at its very port": (
        side(facts=live(denied=(Address.parse("203.0.113.1", 50000),))),
        GOOD,
        "peer_denied",
        "may not reach each other",
    ),
    "wrong password": (side(SRFLX, facts=refused(401, proven=False)), GOOD, "turn_401", "did not accept your access"),
    "the client alone knows of a 401": (side(SRFLX, errors=errors(401, UDP)), GOOD, "turn_401", "your access"),
    "the other's wrong password": (
        GOOD,
        side(SRFLX, facts=refused(401, proven=False)),
        "turn_401",
        "the other person's access",
    ),
    "both refused": (*(side(SRFLX, facts=refused(401, proven=False)),) * 2, "turn_401", "neither of you"),
    "expired credentials": (side(SRFLX, facts=refused(401)), GOOD, "turn_401", "Your access to the relay server has"),
    "the other's have expired": (GOOD, side(SRFLX, facts=refused(401)), "turn_401", "The other person's access to"),
    "both have expired": (*(side(SRFLX, facts=refused(401)),) * 2, "turn_401", "The access of both of you"),
    "expired after a relay that worked": (side(SRFLX, facts=refused(401, facts=ENDED)), GOOD, "turn_401", "run out"),
    "one's own wrong network for the relay": (side(SRFLX, errors=errors(403, UDP)), GOOD, "turn_401", "your access"),
    "quota": (side(SRFLX, facts=refused(486)), GOOD, "turn_quota", "You have too many"),
    "quota, though another pair's relays live": (
        side(SRFLX, facts=refused(486, facts=live())),
        GOOD,
        "turn_quota",
        "You have too many",
    ),
    "the other's quota": (GOOD, side(SRFLX, errors=errors(486, UDP)), "turn_quota", "The other person has too many"),
    "both quotas": (*(side(SRFLX, facts=refused(486)),) * 2, "turn_quota", "Both of you have too many"),
    "the server is full": (side(SRFLX, facts=refused(508)), GOOD, "turn_full", "no room"),
    "the server fails": (GOOD, side(SRFLX, errors=errors(500, TLS)), "turn_full", "no room"),
    "relay ended": (side(facts=ENDED), GOOD, "relay_ended", "Your relay has ended"),
    "the other's relay ended": (GOOD, side(facts=ENDED), "relay_ended", "The other person's relay has ended"),
    "both relays ended": (side(facts=ENDED), side(facts=ENDED), "relay_ended", "at both ends"),
    "revoked": (side(facts=ENDED._replace(end_reason="revoked")), GOOD, "relay_ended", "The server has ended your"),
    "TURN unreachable": (BLOCKED, GOOD, "turn_unreachable", "through to the relay server over UDP, TCP or TLS:"),
    "TURN unreachable for the other": (GOOD, BLOCKED, "turn_unreachable", "The other person's network"),
    "TURN unreachable for both": (BLOCKED, BLOCKED, "turn_unreachable", "Neither of you can reach"),
    "unreachable, and the server offers UDP only": (
        side(HOST, errors=errors(701, UDP)),
        GOOD,
        "turn_unreachable",
        "over UDP:",
    ),
    "unreachable without a URL (Firefox)": (
        side(HOST, errors=(IceFailure(701),)),
        GOOD,
        "turn_unreachable",
        "in any way that was tried",
    ),
    "nothing gathered, and an error says why": (
        side(frozenset(), errors=errors(701, UDP, TLS)),
        GOOD,
        "turn_unreachable",
        "over UDP or TLS:",
    ),
    "still trying": (side(RELAY, "new", "checking"), side(RELAY, "checking"), "still_trying", "still looking"),
    "the other's page is silent": (GOOD, Side(reported=False), "still_trying", "has not answered"),
    "no TURN, two NATs": (side(SRFLX), side(SRFLX), "both_symmetric_no_turn", "no relay server"),
    "no TURN, and one without a public address": (side(SRFLX), side(HOST), "no_relay_candidate", "Neither of you"),
    "only STUN failed": (
        side(HOST, errors=errors(701, "stun:t.example")),
        side(HOST),
        "no_relay_candidate",
        "Neither of you",
    ),
    "only the other has a relay": (side(SRFLX), GOOD, "one_relay", "Only the other person has a relay"),
    "only the asker has a relay": (GOOD, side(SRFLX), "one_relay", "Only you have a relay"),
    "the relay may not reach the other's address": (
        side(facts=live(denied=(Address.parse("10.0.0.2", 0),))),
        side(SRFLX, facts=UserFacts(heard=True, opened=1, live=1, clients=(Address.parse("10.0.0.2", 0).ip,))),
        "peer_denied",
        "that the other person comes from",
    ),
    "the relay may not reach the asker's address": (
        side(SRFLX, facts=UserFacts(heard=True, opened=1, live=1, clients=(Address.parse("10.0.0.2", 0).ip,))),
        side(facts=live(denied=(Address.parse("10.0.0.2", 7),))),
        "peer_denied",
        "that you come from",
    ),
    "UDP blocked at both": (side(facts=live("tls")), side(facts=live("tcp", "tls")), "udp_blocked", "Both of your"),
    "UDP blocked at the asker's": (side(facts=live("tls")), GOOD, "udp_blocked", "Your network blocks UDP"),
    "UDP blocked at the other's": (GOOD, side(facts=live("tcp")), "udp_blocked", "The other person's network blocks"),
    "both have relays and nothing gets through": (GOOD, GOOD, "unknown", "nothing gets through"),
    "interrupted": (side(RELAY, "connected", "disconnected"), side(RELAY, "connected"), "unknown", "reconnect"),
    # Contradictions
    "a browser asks for a private peer, as browsers do": (
        side(facts=live(denied=(Address.parse("10.0.0.2", 0),))),
        GOOD,
        "unknown",
        "nothing gets through",
    ),
    "a client tried the server's own listener": (
        side(facts=live(denied=(Address.parse("203.0.113.1", 3478),))),
        GOOD,
        "unknown",
        "nothing gets through",
    ),
    "an old refusal before a relay that lives": (
        side(facts=refused(401, at=OPENED - 5, facts=live())),
        GOOD,
        "unknown",
        "nothing gets through",
    ),
    "an old refusal before a relay that ended": (
        side(facts=refused(486, at=OPENED - 5, facts=ENDED)),
        GOOD,
        "relay_ended",
        "Your relay has ended",
    ),
    "the last of several refusals": (
        side(SRFLX, facts=refused(486, at=OPENED + 9, facts=refused(401, at=OPENED + 3))),
        GOOD,
        "turn_quota",
        "too many",
    ),
    "a client claims a relay that this server never gave": (
        side(RELAY, facts=refused(486)),
        GOOD,
        "turn_quota",
        "too many",
    ),
    "a client has a relay of another server": (side(RELAY, facts=NO_FACTS), GOOD, "unknown", "nothing gets through"),
    "a client hides its relay, the other end saw it": (
        side(SRFLX),
        replace(GOOD, remote=RELAY),
        "unknown",
        "nothing gets through",
    ),
    "one transport failed and another works": (
        replace(GOOD, errors=errors(701, UDP, TCP)),
        GOOD,
        "unknown",
        "nothing gets through",
    ),
    "somebody else's requests under the other's name, whose client knows better": (
        GOOD,
        side(HOST, errors=errors(701, UDP, TLS), facts=refused(401, proven=False)),
        "turn_unreachable",
        "over UDP or TLS:",
    ),
    "they agree that it was a 401": (
        side(HOST, errors=errors(401, UDP), facts=refused(401, proven=False)),
        GOOD,
        "turn_401",
        "did not accept your access",
    ),
    "an end that did not report, with a relay": (GOOD, Side(facts=live(), reported=False), "unknown", "nothing gets"),
    "an end that did not report, refused": (
        GOOD,
        Side(facts=refused(486), reported=False),
        "turn_quota",
        "The other person has too many",
    ),
    "an end that did not report, seen by the other": (
        replace(side(SRFLX), remote=SRFLX),
        Side(reported=False),
        "both_symmetric_no_turn",
        "no relay server",
    ),
    "one says connected, the other failed": (side(RELAY, "connected"), GOOD, "unknown", "nothing gets through"),
    "a cause at one end counts before a cause at the other that is harder to mend": (
        BLOCKED,
        side(SRFLX, facts=refused(401)),
        "turn_401",
        "The other person's access",
    ),
}


@pytest.mark.parametrize("name", ROWS)
def test_the_table(name: str) -> None:
    a, b, code, part = ROWS[name]
    verdict = judge(a, b)
    assert (verdict.code, part in verdict.text) == (code, True), verdict


def test_every_code_and_every_sentence_has_a_row_but_those_of_the_path() -> None:
    """The table is complete: nothing can be said that no row makes it say, apart from the rows below."""
    said = {judge(a, b, path) for a, b, path in ((*row[:2], UNKNOWN_PATH) for row in ROWS.values())}
    assert {verdict.code for verdict in said} == set(VerdictCode)
    heads = {verdict.text.split("over UDP")[0].split("in any way")[0] for verdict in said}
    unsaid = {
        (code.value, key)
        for code, texts in TEXTS.items()
        for key, text in texts.items()
        if text.split("{tried}")[0] not in heads
    }
    assert unsaid == {("media_flows", "relayed"), ("relay_ended", "revoked, they"), ("relay_ended", "revoked, both")}


def test_who_was_revoked() -> None:
    revoked = side(facts=ENDED._replace(end_reason="revoked"))
    assert judge(GOOD, revoked).text.startswith("The server has ended the other person's relay")
    assert judge(revoked, revoked).text.startswith("The server has ended the relays of both")


@pytest.mark.parametrize(
    ("a", "b", "path", "code"),
    [
        (GOOD, GOOD, CARRIES, "unknown"),
        (GOOD, side(RELAY, "connected"), CARRIES, "media_flows"),
        (side(RELAY, "disconnected"), GOOD, CARRIES, "media_flows"),
        (GOOD, Side(facts=live(), reported=False), CARRIES, "media_flows"),
        (BLOCKED, Side(facts=live(), reported=False), CARRIES, "media_flows"),
        (side(RELAY, "disconnected"), GOOD, CARRIES._replace(bytes_ba=0), "unknown"),
        (side(RELAY, "disconnected"), GOOD, CARRIES._replace(path="unknown"), "unknown"),
        (side(RELAY, "disconnected"), GOOD, PairPath("direct"), "unknown"),
    ],
)
def test_a_relay_that_carries_both_ways(a: Side, b: Side, path: PairPath, code: str) -> None:
    """The server sees bytes: that outweighs what one end says, but not that both have given up."""
    assert judge(a, b, path).code == code


def test_states_as_clients_write_them() -> None:
    assert judge(side(RELAY, "new", " Connected "), side(RELAY, "COMPLETED")).code == "media_flows"
    assert judge(side(RELAY, "failed", "ice:connected"), side(RELAY, "connected", "stable", "")).code == "media_flows"
    assert judge(side(RELAY, "connected", "lost"), side(RELAY, "reconnecting"), CARRIES).code == "media_flows"
    assert judge(side(RELAY, "connected", "lost"), side(RELAY, "failed"), CARRIES).code == "unknown"
    assert judge(side(RELAY, "disconnected"), side(RELAY, "connected")).code == "unknown"


def test_only_so_many_errors_are_looked_at() -> None:
    """Hostile input: a client reports more than any browser has."""
    flood = errors(701, *["stun:x"] * MAX_ERRORS)
    assert judge(side(HOST, errors=flood + errors(401, UDP)), GOOD).code == "one_relay"


codes = st.sampled_from([0, -1, 300, 401, 403, 437, 438, 441, 486, 500, 508, 701, 10**9])
texts = st.text(max_size=20) | st.sampled_from(
    [UDP, TCP, TLS, "turn:", "TURNS:{tried}{0}", "stun:", "connected", "failed"]
)
refusal_facts = st.builds(
    RefusalFact, codes, texts, st.sampled_from(["udp", "tcp", "tls"]), st.just(1), st.floats(0, 2), st.booleans()
)
facts_of_any_kind = st.builds(
    UserFacts,
    heard=st.booleans(),
    live=st.integers(0, 3),
    opened=st.integers(0, 3),
    protos=st.lists(st.sampled_from(["udp", "tcp", "tls"]), max_size=3).map(tuple),
    relayed=st.just((Address.parse("203.0.113.1", 1),)) | st.just(()),
    clients=st.just((b"\n\0\0\1",)) | st.just(()),
    denied=st.just((Address.parse("203.0.113.1", 0), Address.parse("10.0.0.1", 0))) | st.just(()),
    refusals=st.lists(refusal_facts, max_size=3).map(tuple),
    opened_at=st.none() | st.floats(0, 2),
    end_reason=texts,
)
sides = st.builds(
    Side,
    local=st.frozensets(texts | st.sampled_from(["host", "srflx", "relay"]), max_size=4),
    remote=st.frozensets(texts | st.sampled_from(["host", "srflx", "relay"]), max_size=4),
    states=st.lists(texts, max_size=3).map(tuple),
    errors=st.lists(st.builds(IceFailure, codes, texts), max_size=4).map(tuple),
    facts=facts_of_any_kind,
    connected=st.booleans(),
    reported=st.booleans(),
)
however_slow = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@however_slow
@given(sides, sides, st.sampled_from([UNKNOWN_PATH, CARRIES, PairPath("direct")]))
def test_whatever_is_said_there_is_a_verdict(a: Side, b: Side, path: PairPath) -> None:
    """Hostile input: no combination raises, and the text is one of ours: nothing that a client wrote is in it."""
    verdict = judge(a, b, path)
    assert verdict.code in VerdictCode
    ours = [text for texts in TEXTS.values() for text in texts.values()]
    assert any(
        verdict.text.startswith(head) and verdict.text.endswith(tail) and len(verdict.text) < 300
        for head, _, tail in (text.partition("{tried}") for text in ours)
    )


@however_slow
@given(sides, sides)
def test_both_ends_are_told_the_same(a: Side, b: Side) -> None:
    """The code does not depend on who asks, unless one has said nothing yet or is in the middle of trying."""
    one, other = judge(a, b).code, judge(b, a).code
    if "still_trying" not in {one, other}:
        assert one == other
