"""The steps of a probe against a server in memory: what they say, and what they send."""

from collections.abc import Callable
from typing import Any

import pytest

from cli.probe import steps
from cli.probe.report import Report
from cli.probe.runner import run_probe
from stun.attributes import (
    DATA,
    LIFETIME,
    PASSWORD_ALGORITHM,
    REQUESTED_ADDRESS_FAMILY,
    USERHASH,
    USERNAME,
    AttributeType,
)
from stun.client.authentication import Login
from stun.constants import AddressFamily, MessageClass, Method
from stun.uri import StunUri

TURN = StunUri.parse("turn:192.0.2.1")
LOGIN = Login("user", "secret")


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Echoes that never come are given up at once."""
    monkeypatch.setattr(steps, "_ECHO_PATIENCE", 0.01)


async def _probe(server: Any, login: Login | None = LOGIN, uri: StunUri = TURN, **more: Any) -> Report:
    report = await run_probe(uri, login, 0.2, opener=server.open, **more)
    assert all(link.closed for link in server.links)
    return report


def _names(report: Report) -> list[str]:
    return [step.name for step in report.steps]


async def test_binding_alone(fake_turn: Callable[..., Any]) -> None:
    """RFC 8489 §3: without credentials, Binding, and nothing that would need them."""
    server = fake_turn()
    report = await _probe(server, login=None)
    assert report.ok
    assert (report.server, report.software) == ("192.0.2.1:3478", "fake 1")
    assert report.reflexive == "198.51.100.7:1000"
    assert [request.method for request in server.requests] == [Method.BINDING]


async def test_a_whole_relay(fake_turn: Callable[..., Any]) -> None:
    """RFC 8656 §7–§12: two allocations, permissions, both ways of sending, and nothing left behind."""
    server = fake_turn()
    report = await _probe(server)
    assert report.ok, report.steps
    assert _names(report) == [
        "binding",
        "allocate",
        "allocate-second",
        "permission",
        "send",
        "channel-bind",
        "channel",
        "release",
    ]
    assert report.relayed == ["203.0.113.9:50000", "203.0.113.9:50001"]
    assert report.lifetime == 600
    assert [link.relayed for link in server.links] == [None, None]
    found = report.as_json()
    assert set(found["round_trip_ms"]) == set(_names(report))
    assert [(step["sent"], step["returned"]) for step in found["steps"] if "sent" in step] == [(5, 5), (5, 5)]


@pytest.mark.parametrize(
    ("offer", "chosen"), [("sha256", "SHA-256 key"), ("md5", "MD5 key"), ("unknown first", "SHA-256 key")]
)
async def test_the_first_known_algorithm_of_the_offer_is_used(
    fake_turn: Callable[..., Any], algorithms: dict[str, Any], offer: str, chosen: str
) -> None:
    """RFC 8489 §9.2.5: the first algorithm supported on the list, and MESSAGE-INTEGRITY-SHA256 only."""
    report = await _probe(fake_turn(offered=algorithms[offer]))
    assert report.ok, report.steps
    assert report.integrity == f"MESSAGE-INTEGRITY-SHA256 ({chosen})"


async def test_a_server_of_rfc_5389_gets_md5(fake_turn: Callable[..., Any]) -> None:
    """RFC 8489 §9.2.5: without PASSWORD-ALGORITHMS, MESSAGE-INTEGRITY with an MD5 key and no PASSWORD-ALGORITHM."""
    server = fake_turn()
    report = await _probe(server)
    assert report.integrity == "MESSAGE-INTEGRITY (HMAC-SHA1, MD5 key)"
    assert not any(request.has(PASSWORD_ALGORITHM) for request in server.requests)


async def test_user_names_are_hidden_when_the_nonce_says_so(fake_turn: Callable[..., Any]) -> None:
    """RFC 8489 §9.2.5: with the username anonymity bit, USERHASH instead of USERNAME."""
    server = fake_turn(anonymous=True)
    report = await _probe(server)
    assert report.ok, report.steps
    assert any(request.has(USERHASH) for request in server.requests)
    assert not any(request.has(USERNAME) for request in server.requests)


async def test_a_stale_nonce_is_answered_once(fake_turn: Callable[..., Any]) -> None:
    """RFC 8489 §9.2.5: 438 is answered with the new nonce."""
    report = await _probe(fake_turn(stale=1))
    assert report.ok, report.steps


async def test_a_nonce_that_is_always_stale_is_reported(fake_turn: Callable[..., Any]) -> None:
    """RFC 8489 §9.2.5: two 438 in a row are an error and not a loop."""
    server = fake_turn(stale=99)
    report = await _probe(server)
    assert (report.steps[-1].name, report.steps[-1].code) == ("allocate", 438)
    assert sum(request.method == Method.ALLOCATE for request in server.requests) == 3


async def test_a_wrong_password(fake_turn: Callable[..., Any]) -> None:
    """RFC 8489 §9.2.5: a second 401 is final, and says what to check."""
    server = fake_turn()
    report = await _probe(server, Login("user", "wrong"))
    assert not report.ok
    step = report.steps[-1]
    assert (step.name, step.code) == ("allocate", 401)
    assert "does not accept the user name and password" in step.sentence
    assert sum(request.method == Method.ALLOCATE for request in server.requests) == 2


@pytest.mark.parametrize(
    ("method", "code", "step", "words"),
    [
        (Method.BINDING, 500, "binding", "The server failed"),
        (Method.ALLOCATE, 300, "allocate", "sends clients to another server"),
        (Method.ALLOCATE, 403, "allocate", "The server forbids the request"),
        (Method.ALLOCATE, 437, "allocate", "not in the state"),
        (Method.ALLOCATE, 440, "allocate", "no relay address of that family"),
        (Method.ALLOCATE, 442, "allocate", "does not relay UDP"),
        (Method.ALLOCATE, 486, "allocate", "as many allocations as the server allows"),
        (Method.ALLOCATE, 508, "allocate", "no relay port left"),
        (Method.ALLOCATE, 599, "allocate", "The server refused"),
        (Method.CREATE_PERMISSION, 403, "permission", "forbids relaying to its own relayed address"),
        (Method.CREATE_PERMISSION, 443, "permission", "not of the family"),
        (Method.CHANNEL_BIND, 403, "channel-bind", "forbids relaying to its own relayed address"),
        (Method.CHANNEL_BIND, 400, "channel-bind", "malformed"),
        (Method.REFRESH, 441, "release", "belongs to another user"),
    ],
)
async def test_each_error_is_a_sentence_and_a_hint(
    fake_turn: Callable[..., Any], method: Method, code: int, step: str, words: str
) -> None:
    """RFC 8656 §19: what the server answered, in words, with its code and what to do."""
    report = await _probe(fake_turn(errors={method: (code, "its \x1b[31mwords")}))
    assert not report.ok
    failed = [item for item in report.steps if not item.ok]
    assert [(item.name, item.code) for item in failed] == [(step, code)]
    assert words in failed[0].sentence
    assert f"({code} its \\x1b[31mwords)." in failed[0].sentence
    assert failed[0].hint


async def test_failed_echoes_do_not_hide_each_other(fake_turn: Callable[..., Any]) -> None:
    """RFC 8656 §11, §12: Send and channels are tried each for itself; the allocations are given back all the same."""
    server = fake_turn(silent={Method.SEND})
    report = await _probe(server)
    assert [(step.name, step.ok) for step in report.steps[-3:]] == [
        ("send", False),
        ("channel-bind", True),
        ("channel", True),
    ]
    assert "None of 5" in report.steps[-3].sentence
    assert [link.relayed for link in server.links] == [None, None]


async def test_silence(fake_turn: Callable[..., Any]) -> None:
    """RFC 8489 §6.2.1: no answer within the patience says that nothing is there, or a firewall is."""
    report = await _probe(fake_turn(silent={Method.BINDING}))
    assert _names(report) == ["binding"]
    assert report.steps[0].sentence == "No answer to 1 request in 0.2 s."
    assert "firewall" in report.steps[0].hint


async def test_answers_with_no_integrity_do_not_count(fake_turn: Callable[..., Any]) -> None:
    """RFC 8489 §9.2.5: a success whose integrity is missing is discarded, and the report says so."""
    report = await _probe(fake_turn(sign=False))
    assert report.steps[-1].name == "allocate"
    assert "integrity of an answer was missing or wrong" in report.steps[-1].sentence


@pytest.mark.parametrize(("sign", "code", "said"), [(True, 403, False), (False, 403, True), (False, 400, False)])
async def test_errors_that_nobody_signed(fake_turn: Callable[..., Any], sign: bool, code: int, said: bool) -> None:
    """RFC 8489 §9.2.5: an error after authentication that carries no integrity is shown, and said to be unsigned."""
    report = await _probe(fake_turn(sign=sign, errors={Method.ALLOCATE: (code, "no")}))
    assert report.steps[-1].code == code
    assert ("no MESSAGE-INTEGRITY" in report.steps[-1].hint) is said


async def test_an_allocation_without_its_address(fake_turn: Callable[..., Any]) -> None:
    """RFC 8656 §7.3: success without XOR-RELAYED-ADDRESS is the server's mistake, not a crash of ours."""
    server = fake_turn()
    server._succeed = lambda link, request, builder: (
        builder.add(LIFETIME, 600)
        if request.method == Method.ALLOCATE
        else type(server)._succeed(server, link, request, builder)
    )
    report = await _probe(server)
    assert "lacks the relayed address" in report.steps[-1].sentence


async def test_the_software_is_shown_harmless(fake_turn: Callable[..., Any]) -> None:
    """Rule 24: what a server calls itself is hostile text."""
    report = await _probe(fake_turn(software="\x1b]0;owned\x07[red]"), login=None)
    assert report.software == "\\x1b]0;owned\\x07[red]"


async def test_attributes_that_must_be_understood(fake_turn: Callable[..., Any]) -> None:
    """RFC 8489 §6.3.3: a success with an unknown comprehension-required attribute is a failure."""

    required = AttributeType(0x7FF0, "UNKNOWN", "none", DATA.decode, DATA.encode)
    report = await _probe(fake_turn(tamper=lambda builder: builder.add(required, b"x")), login=None)
    assert "0x7ff0" in report.steps[-1].sentence


@pytest.mark.parametrize("family", [AddressFamily.IPV4, AddressFamily.IPV6])
async def test_the_family_asked_for(fake_turn: Callable[..., Any], family: AddressFamily) -> None:
    """RFC 8656 §7.1: REQUESTED-ADDRESS-FAMILY only when it was asked for."""
    server = fake_turn()
    await _probe(server, family=family)
    asked = [item for item in server.requests if item.method == Method.ALLOCATE]
    assert {item.first(REQUESTED_ADDRESS_FAMILY) for item in asked} == {int(family)}
    plain = fake_turn()
    await _probe(plain)
    assert not any(item.has(REQUESTED_ADDRESS_FAMILY) for item in plain.requests)


async def test_every_request_is_one(fake_turn: Callable[..., Any]) -> None:
    """RFC 8489 §6.1: each request has a transaction id of its own."""
    server = fake_turn()
    await _probe(server)
    assert all(item.message_class is MessageClass.REQUEST for item in server.requests)
    assert len({item.transaction_id for item in server.requests}) == len(server.requests)
