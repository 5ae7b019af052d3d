"""The steps of a probe against a server in memory: what they say, and what they send."""

from collections.abc import Callable
from typing import Any

import pytest

from cli.probe import reaching, steps
from cli.probe.reaching import Places, compare
from cli.probe.report import Report
from cli.probe.runner import run_probe
from stun.address import Address
from stun.attributes import (
    DATA,
    LIFETIME,
    PASSWORD_ALGORITHM,
    REQUESTED_ADDRESS_FAMILY,
    USERHASH,
    USERNAME,
    XOR_PEER_ADDRESS,
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
    monkeypatch.setattr(reaching, "_PATIENCE", 0.01)


async def _probe(server: Any, login: Login | None = LOGIN, uri: StunUri = TURN, **more: Any) -> Report:
    report = await run_probe(uri, login, 0.2, opener=server.open, outside=server.open_outside, **more)
    assert all(link.closed for link in server.links)
    assert server.outside is None or server.outside.closed
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
        "addresses",
        "permission",
        "send",
        "channel-bind",
        "channel",
        "outside",
        "release",
    ]
    assert report.relayed == ["203.0.113.9:50000", "203.0.113.9:50001"]
    assert report.lifetime == 600
    assert [link.relayed for link in server.links] == [None, None]
    found = report.as_json()
    assert set(found["round_trip_ms"]) == set(_names(report)) - {"addresses"}
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


# From outside


async def outside(server: Any, **more: Any) -> tuple[Report, str]:
    """A probe, and what it says of the way from outside."""
    report = await _probe(server, **more)
    (step,) = [step for step in report.steps if step.name == "outside"]
    return report, f"{step.sentence} {step.hint}"


async def test_data_from_outside_comes_through_and_is_answered(fake_turn: Callable[..., Any]) -> None:
    """RFC 8656 §10: with a permission for the address that the server sees this machine as."""
    server = fake_turn()
    report, said = await outside(server)
    assert report.ok
    assert "3 of 3" in said
    asked = [item.first(XOR_PEER_ADDRESS) for item in server.requests if item.method == Method.CREATE_PERMISSION]
    assert [peer.host for peer in asked if peer is not None][2:] == ["198.51.100.7"]


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"shut": "drop"}, ["None of 3", "203.0.113.9:50000", "ports 50000 and 50001", "firewall"]),
        ({"shut": "reject"}, ["None of 3", "(ICMP)"]),
        ({"shut": "replies"}, ["none comes back"]),
        ({"denied": 403, "shut": "drop"}, ["(403)", "203.0.113.9:50000", "firewall"]),
        ({"denied": 403, "shut": "reject"}, ["(403)", "(ICMP)"]),
        ({"denied": 403, "icmp": False}, ["(403)", "does not answer"]),
        ({"denied": 508}, ["no relay port left"]),
        ({"no_route": True}, ["cannot send to the relayed address", "Network is unreachable"]),
    ],
)
async def test_what_does_not_come_through_is_said(
    fake_turn: Callable[..., Any], how: dict[str, Any], words: list[str]
) -> None:
    """The kind: checks that stay inside the server cannot see NAT and firewalls. The echoes work in all of these."""
    server = fake_turn(**how)
    report, said = await outside(server)
    assert not report.ok
    assert [step.name for step in report.steps if not step.ok] == ["outside"]
    assert all(word in said for word in words), said
    assert [link.relayed for link in server.links] == [None, None]


async def test_a_machine_that_may_be_no_peer_tries_the_port_of_a_relay_that_is_gone(
    fake_turn: Callable[..., Any],
) -> None:
    """Servers refuse private peers by default; that the port is said to be closed shows that the way is open."""
    report, said = await outside(fake_turn(denied=403))
    assert report.ok, report.steps
    assert "is closed now" in said
    assert _names(report)[-2:] == ["release", "outside"]


async def test_over_tcp_this_network_may_be_the_reason(fake_turn: Callable[..., Any]) -> None:
    _, said = await outside(fake_turn(shut="drop"), uri=StunUri.parse("turn:192.0.2.1?transport=tcp"))
    assert "lets no UDP out" in said


async def test_a_wrong_public_address_is_the_first_suspect(fake_turn: Callable[..., Any]) -> None:
    """Where the relayed address is the server's, it is not suspected. A wrong host may say that its port is closed."""
    for shut in ("drop", "reject"):
        _, wrong = await outside(fake_turn(shut=shut))
        assert "It is a wrong public address (203.0.113.9" in wrong
        _, right = await outside(fake_turn(shut=shut, relay="192.0.2.1"))
        assert "wrong public address" not in right


async def test_the_relay_of_this_machine_is_said_to_be_so(fake_turn: Callable[..., Any]) -> None:
    """What a firewall does to others cannot be seen from the host itself; nor need the server let it be a peer."""
    for how in ({}, {"denied": 403}, {"shut": "drop"}):
        report, said = await outside(fake_turn(own="203.0.113.9", **how))
        assert report.local
        assert report.ok is (how != {"shut": "drop"})
        assert report.ok is ("Run the probe elsewhere" in said)


@pytest.mark.parametrize(
    ("server", "reflexive", "relayed", "ok", "words"),
    [
        ("192.0.2.1", "198.51.100.7", "192.0.2.1", None, ""),
        ("192.0.2.1", "198.51.100.7", "2001:db8::9", None, ""),
        ("192.0.2.1", "198.51.100.7", "10.0.0.5", False, "10.0.0.5 is private"),
        ("192.0.2.1", "198.51.100.7", "127.0.0.1", False, "a loopback address"),
        ("10.0.0.5", "10.0.0.9", "127.0.0.1", False, "a loopback address"),
        ("2a00::1", "2a00::7", "fd00::1", False, "fd00::1 is private"),
        ("192.0.2.1", "198.51.100.7", "203.0.113.9", True, "not the one at which"),
        ("10.0.0.5", "10.0.0.9", "10.0.0.6", True, "not the one at which"),
        ("10.0.0.5", "203.0.113.9", "203.0.113.9", True, "behind the same NAT"),
        ("127.0.0.1", "127.0.0.1", "10.0.0.6", True, "not the one at which"),
    ],
)
def test_the_addresses_are_compared(server: str, reflexive: str, relayed: str, ok: bool | None, words: str) -> None:
    """Relayed, server and reflexive: what cannot work fails, what may be right is said."""
    found = compare(Places(*(Address.parse(host, 9) for host in (server, reflexive)), (Address.parse(relayed, 50000),)))
    assert (None if found is None else found.ok) is ok
    assert found is None or words in found.sentence


async def test_a_private_relayed_address_fails_the_probe(fake_turn: Callable[..., Any]) -> None:
    """Even where this machine happens to reach it: others do not."""
    report = await _probe(fake_turn(relay="10.0.0.5"))
    assert [step.name for step in report.steps if not step.ok] == ["addresses"]
