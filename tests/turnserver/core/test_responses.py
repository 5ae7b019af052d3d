"""What answers carry, and with which integrity (RFC 8489 §6.3, §9.2.4)."""

import pytest

from auth.types import Credential
from stun import attributes as a
from stun.address import Address
from stun.attributes import ErrorValue
from stun.constants import MessageClass, Method, PasswordAlgorithm
from stun.integrity import verify, verify_sha256
from stun.message import Message, MessageBuilder
from tests.support.core_world import SERVER, names_of
from turnserver.core.errors import Refusal
from turnserver.core.request import Integrity, Request
from turnserver.core.responses import OFFERED_ALGORITHMS, begin_success, error, finish
from turnserver.core.types import ClientTransport, FiveTuple, Now
from turnserver.reasons import Reason

KEY = b"k" * 16


def a_request(
    *,
    integrity: Integrity = Integrity.NONE,
    transport: ClientTransport = ClientTransport.UDP,
    fingerprint: bool = False,
) -> Request:
    builder = MessageBuilder(Method.REFRESH, MessageClass.REQUEST, b"t" * 12)
    message = Message.decode((builder.fingerprint() if fingerprint else builder).build())
    client = FiveTuple(transport, Address.parse("192.0.2.10", 1), SERVER, 0)
    request = Request(client, message, 20, Now(0, 0), integrity=integrity)
    if integrity is not Integrity.NONE:
        request.credential, request.key = Credential("alice", "example.org", "alice", {}), KEY
    return request


def answer(request: Request, software: str = "software") -> Message:
    return Message.decode(finish(begin_success(request), request, software))


def test_an_answer_belongs_to_its_request() -> None:
    """RFC 8489 §6.3.1: same method, same transaction id."""
    found = answer(a_request())
    assert (found.method, found.message_class, found.transaction_id) == (
        Method.REFRESH,
        MessageClass.SUCCESS,
        b"t" * 12,
    )


def test_integrity_in_kind() -> None:
    """Rule 1, RFC 8489 §9.2.4: SHA-1 for SHA-1, SHA-256 for SHA-256, none for a stranger."""
    sha1, sha256 = answer(a_request(integrity=Integrity.SHA1)), answer(a_request(integrity=Integrity.SHA256))
    assert names_of(sha1) == ["SOFTWARE", "MESSAGE-INTEGRITY"]
    assert verify(sha1, KEY)
    assert names_of(sha256) == ["SOFTWARE", "MESSAGE-INTEGRITY-SHA256"]
    assert verify_sha256(sha256, KEY)
    assert names_of(answer(a_request())) == []


@pytest.mark.parametrize("transport", list(ClientTransport))
@pytest.mark.parametrize("integrity", list(Integrity))
def test_who_is_told_the_software(transport: ClientTransport, integrity: Integrity) -> None:
    """Rule 4: strangers over UDP are not; and an empty one is never sent."""
    request = a_request(transport=transport, integrity=integrity)
    told = transport.proven or integrity is not Integrity.NONE
    assert answer(request).has(a.SOFTWARE) is told
    assert not answer(request, software="").has(a.SOFTWARE)


@pytest.mark.parametrize("integrity", list(Integrity))
def test_a_fingerprint_for_a_fingerprint(integrity: Integrity) -> None:
    """Rule 6, RFC 8489 §14.7: in the answer if in the request, and last; decoding checks that it is right."""
    with_one = answer(a_request(integrity=integrity, fingerprint=True))
    assert names_of(with_one)[-1] == "FINGERPRINT"
    assert "FINGERPRINT" not in names_of(answer(a_request(integrity=integrity)))


def refused(refusal: Refusal) -> Message:
    request = a_request()
    return Message.decode(
        finish(error(request, refusal, refusal.phrase(authenticated=False), "example.org", b"nonce"), request, "")
    )


def test_a_plain_error() -> None:
    """RFC 8489 §14.8: code and reason."""
    found = refused(Refusal(Reason.PEER_DENIED))
    assert found.message_class is MessageClass.ERROR
    assert names_of(found) == ["ERROR-CODE"]
    assert found.first(a.ERROR_CODE) == ErrorValue(403, "Forbidden")


def test_a_challenge() -> None:
    """Rule 1, RFC 8489 §9.2.4: REALM, NONCE, PASSWORD-ALGORITHMS, the preferred first."""
    found = refused(Refusal(Reason.NO_CREDENTIALS, challenge=True))
    assert names_of(found) == ["ERROR-CODE", "REALM", "NONCE", "PASSWORD-ALGORITHMS"]
    assert (found.first(a.REALM), found.first(a.NONCE)) == ("example.org", b"nonce")
    assert found.first(a.PASSWORD_ALGORITHMS) == OFFERED_ALGORITHMS
    assert [algorithm.number for algorithm in OFFERED_ALGORITHMS] == [PasswordAlgorithm.SHA256, PasswordAlgorithm.MD5]


def test_unknown_attributes_are_listed() -> None:
    """Rule 7, RFC 8489 §14.13."""
    found = refused(Refusal(Reason.UNKNOWN_ATTRIBUTE, unknown=(0x7F01, 3)))
    assert names_of(found) == ["ERROR-CODE", "UNKNOWN-ATTRIBUTES"]
    assert found.first(a.UNKNOWN_ATTRIBUTES) == (0x7F01, 3)


def test_an_alternate_is_named() -> None:
    """Rule 10, RFC 8489 §14.15."""
    elsewhere = Address.parse("198.51.100.2", 3478)
    found = refused(Refusal(Reason.REDIRECTED, alternate=elsewhere))
    assert names_of(found) == ["ERROR-CODE", "ALTERNATE-SERVER"]
    assert found.first(a.ALTERNATE_SERVER) == elsewhere
