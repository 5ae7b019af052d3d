"""From ``auth`` to the one source that the server asks."""

from typing import Any

import pytest

from auth.ephemeral import SharedSecret, mint
from auth.nonce import NonceStatus, SecurityFeatures
from auth.source import CredentialSource, Nobody
from auth.types import PENDING, Pending, Unavailable
from turnserver.config import AuthConfig
from turnserver.credentials.build import credential_source, nonce_issuer
from turnserver.credentials.registry import SOURCES, SourceKind
from turnserver.faults import Faults


def source_of(**options: Any) -> CredentialSource:
    return credential_source(AuthConfig.model_validate(options))


def test_users_and_every_secret_can_log_in() -> None:
    """Rule 24: several secrets at once, static users beside them, the separator as configured."""
    source = source_of(
        users={"alice": "wonderland"},
        shared_secrets=["first secret of all", {"secret": "second secret of all", "hash": "sha256"}],
        separator="-",
    )
    assert source.find("nobody", "r", 0.0) == ()
    found = source.find("alice", "r", 0.0)
    assert not isinstance(found, Pending | Unavailable)
    assert [credential.user_id for credential in found] == ["alice"]
    name, _ = mint(SharedSecret(b"second secret of all", "sha256"), "bob", 2_000_000_000, "-")
    assert name == "2000000000-bob"
    minted = source.find(name, "r", 0.0)
    assert not isinstance(minted, Pending | Unavailable)
    assert [credential.user_id for credential in minted] == ["bob", "bob"]


def test_without_users_nobody_can() -> None:
    source = source_of()
    assert source.find("alice", "r", 0.0) == ()
    assert not source.anonymous


HOOK = {"url": "https://hook.example.org", "secret": "the secret of the hook"}


def test_the_order_is_that_of_the_configuration() -> None:
    """The hook is asked for whom nobody before it knows; and whoever is not named is not asked."""
    options = {"users": {"alice": "wonderland"}, "hook": HOOK}
    for order, alice in ((["users", "hook"], None), (["hook", "users"], PENDING), (["hook"], PENDING)):
        source = source_of(**options, sources=order)
        assert source.find("bob", "r", 0.0) is PENDING
        assert (source.find("alice", "r", 0.0) is PENDING) is (alice is PENDING)
    assert source_of(**options, sources=["nobody"]).find("alice", "r", 0.0) == ()


@pytest.mark.parametrize(
    ("options", "anonymous"),
    [
        ({"users": {"alice": "wonderland"}}, True),
        ({"users": {"alice": "wonderland"}, "hook": HOOK}, False),
        ({"users": {"alice": "wonderland"}, "hook": {**HOOK, "userhash": True}}, True),
        ({"hook": {**HOOK, "userhash": True}, "shared_secrets": ["the first secret of this test"]}, False),
    ],
)
def test_anonymity_is_for_sources_that_can_all_be_searched_by_hash(options: dict[str, Any], anonymous: bool) -> None:
    """RFC 8489 §9.2: otherwise it would lock somebody out."""
    assert source_of(**options).anonymous is anonymous


class Broken(Nobody):
    """Raises whenever it is asked."""

    def find(self, username: str, realm: str, wall: float) -> tuple[()]:
        raise ZeroDivisionError("a fault of the source")


def test_a_source_that_raises_hides_nobody() -> None:
    """It is unavailable, the fault is counted, and the users of another source log in."""
    remove = SOURCES.add("broken", SourceKind("raises", lambda auth, *, clock: Broken()))
    try:
        faults = Faults()
        auth = AuthConfig.model_validate({"sources": ["broken", "users"], "users": {"alice": "wonderland"}})
        source = credential_source(auth, faults=faults)
    finally:
        remove()
    assert not isinstance(source.find("alice", "r", 0.0), Pending | Unavailable)
    assert source.find("bob", "r", 0.0) == Unavailable("broken: ZeroDivisionError")
    assert faults.counts == {"credentials.broken": 2}


def test_nonces_are_the_servers_own() -> None:
    """Another one does not know them. USERHASH is offered only where the source can find every user by it."""
    users, everybody = source_of(users={"alice": "wonderland"}), source_of(shared_secrets=["first secret of all"])
    one, another = nonce_issuer(60.0, users), nonce_issuer(60.0, everybody)
    nonce = one.issue(b"client", 1000.0, b"x")
    assert one.check(nonce, b"client", 1060.0) is NonceStatus.VALID
    assert one.check(nonce, b"client", 1061.0) is NonceStatus.EXPIRED
    assert nonce_issuer(60.0, users).check(nonce, b"client", 1000.0) is NonceStatus.FOREIGN
    assert one.features == SecurityFeatures.PASSWORD_ALGORITHMS | SecurityFeatures.USERNAME_ANONYMITY
    assert another.features == SecurityFeatures.PASSWORD_ALGORITHMS
