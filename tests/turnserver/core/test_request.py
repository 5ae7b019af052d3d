"""A request on its way through the core."""

import pytest

from auth.types import Credential
from stun.address import Address
from stun.constants import MessageClass, Method
from stun.message import Message, MessageBuilder
from tests.support.core_world import SERVER
from turnserver.core.request import Integrity, Request
from turnserver.core.types import ClientTransport, FiveTuple, Now

MESSAGE = Message.decode(MessageBuilder(Method.REFRESH, MessageClass.REQUEST, b"t" * 12).build())


def a_request(host: str = "192.0.2.10", port: int = 1) -> Request:
    return Request(FiveTuple(ClientTransport.UDP, Address.parse(host, port), SERVER, 0), MESSAGE, 20, Now(0, 0))


def test_a_request_begins_as_nobodys() -> None:
    """RFC 8489 §9.2.4: no credential, no key, no integrity before the checks."""
    request = a_request()
    assert (request.credential, request.key, request.integrity, request.username) == (None, b"", Integrity.NONE, "")


def test_a_handler_never_sees_a_strangers_request() -> None:
    """Asking a stranger's request whose it is is a bug, not a condition."""
    request = a_request()
    with pytest.raises(AssertionError):
        _ = request.user
    request.credential = Credential("alice", "example.org", "alice", {})
    assert request.user.username == "alice"


def test_nonces_are_for_an_address_and_a_port() -> None:
    """Rule 2, RFC 8489 §9.2.4: never the same nonce for two requests unless from the same address and port."""
    scopes = {
        a_request(host, port).nonce_scope for host in ("192.0.2.10", "192.0.2.11", "2a00::1") for port in (1, 2, 258)
    }
    assert len(scopes) == 9
    assert a_request().nonce_scope == a_request().nonce_scope
