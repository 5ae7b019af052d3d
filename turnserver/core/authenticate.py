"""Long-term credentials: RFC 8489 §9.2.4 as a list of checks, in the RFC's order (docs/conformance.md, rule 1).

The first check that fails decides the answer. When all have passed, ``request`` has its credential, key and kind of
integrity, and every later answer to it is protected with them.

A wrong credential is 401, unless its source or its user has had too many of them (`turnserver.core.logins`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NoReturn

from auth.errors import InvalidString
from auth.keys import user_hash
from auth.nonce import NonceStatus, SecurityFeatures, nonce_features
from auth.types import Credential, LateAnswer, Pending, Unavailable
from stun.attributes import (
    CONNECTION_ID,
    MESSAGE_INTEGRITY,
    MESSAGE_INTEGRITY_SHA256,
    NONCE,
    PASSWORD_ALGORITHM,
    PASSWORD_ALGORITHMS,
    REALM,
    USERHASH,
    USERNAME,
)
from stun.constants import Method, PasswordAlgorithm
from stun.integrity import verify, verify_sha256
from turnserver.core.allocation import Allocation
from turnserver.core.commands import CloseClient
from turnserver.core.errors import LookupPending, Refusal, Silence, SourceUnavailable
from turnserver.core.events import AnswerWithheld, LoginFailed, LoginsFailing
from turnserver.core.request import Integrity, Request
from turnserver.core.responses import OFFERED_ALGORITHMS
from turnserver.core.state import CoreState
from turnserver.reasons import Reason

__all__ = ["authenticate"]

CHALLENGE_REFUND = 128
"""Bytes given back to the reflection budget when a nonce returns: about the excess of the answer that carried it."""


@dataclass(slots=True)
class _Claim:
    """What the checks have found in a request so far."""

    username: str | None = None
    userhash: bytes | None = None
    nonce: bytes = b""
    algorithm: int = PasswordAlgorithm.MD5
    candidates: Sequence[Credential] = field(default_factory=tuple)
    revoked: bool = False


def authenticate(state: CoreState, request: Request, found: LateAnswer | None) -> None:
    """Check a request and fill in its credential.

    ``found`` is the answer to an earlier look-up for the same request, or None. Raises `Refusal` when the request
    is refused, `Silence` when it is not even answered, `LookupPending` when the source has to be asked first, and
    `SourceUnavailable` when it fails.
    """
    claim = _Claim()
    for check in (_integrity_present, _complete, _no_bid_down, _not_suspect):
        check(state, request, claim)
    if found is None:
        _look_up(state, request, claim)
    else:
        _take(state, request, claim, found)
    for check in (_known_user, _integrity_right, _nonce_fresh):
        check(state, request, claim)


_Check = Callable[[CoreState, Request, _Claim], None]


def _integrity_present(state: CoreState, request: Request, claim: _Claim) -> None:
    """§9.2.4: neither MESSAGE-INTEGRITY nor -SHA256 → 401 with a challenge. If both are present, -SHA256 counts."""
    if request.message.has(MESSAGE_INTEGRITY_SHA256):
        request.integrity = Integrity.SHA256
    elif request.message.has(MESSAGE_INTEGRITY):
        request.integrity = Integrity.SHA1
    else:
        raise Refusal(Reason.NO_CREDENTIALS, challenge=True)


def _complete(state: CoreState, request: Request, claim: _Claim) -> None:
    """§9.2.4: integrity without USERNAME or USERHASH, REALM and NONCE → 400."""
    message = request.message
    claim.username = message.first(USERNAME)
    claim.userhash = message.first(USERHASH)
    nonce = message.first(NONCE)
    if (claim.username is None and claim.userhash is None) or message.first(REALM) is None or nonce is None:
        raise Refusal(Reason.MISSING_ATTRIBUTE, "USERNAME or USERHASH, REALM and NONCE")
    claim.nonce = nonce
    request.username = claim.username or ""


def _no_bid_down(state: CoreState, request: Request, claim: _Claim) -> None:
    """§9.2.4: with our feature bit in the nonce, PASSWORD-ALGORITHM and -ALGORITHMS are both absent or as offered."""
    features = nonce_features(claim.nonce)
    if features is None or SecurityFeatures.PASSWORD_ALGORITHMS not in features:
        return
    chosen = request.message.first(PASSWORD_ALGORITHM)
    offered = request.message.first(PASSWORD_ALGORITHMS)
    if chosen is None and offered is None:
        return
    if chosen is None or offered != OFFERED_ALGORITHMS or chosen not in OFFERED_ALGORITHMS:
        raise Refusal(Reason.BID_DOWN)
    claim.algorithm = chosen.number


def _not_suspect(state: CoreState, request: Request, claim: _Claim) -> None:
    """After many foreign nonces with wrong passwords → 438 unseen, so that 401 or 438 does not tell which is right."""
    if request.client.transport.proven or not state.logins.must_prove(request.client.address.ip, request.now.mono):
        return
    if not _address_proven(state, request, claim):
        raise Refusal(Reason.FOREIGN_NONCE, challenge=True)


def _look_up(state: CoreState, request: Request, claim: _Claim) -> None:
    """Find the credentials of the username.

    Requests on an allocation are checked with the credential that created it: a browser refreshes for hours with its
    first credential, which the source may have forgotten by then. It is not checked for revocation either, because a
    revocation ends the allocation.
    """
    allocation = _allocation_meant(state, request)
    if allocation is not None and _is_meant(claim, allocation):
        claim.candidates = (allocation.credential,)
        return
    realm, wall = state.settings.realm, request.now.wall
    if claim.username is not None:
        answer = state.credentials.find(claim.username, realm, wall)
    else:
        answer = state.credentials.find_by_hash(claim.userhash or b"", realm, wall)
    if isinstance(answer, Pending | Unavailable) and not _nonce_valid(state, request, claim):
        # The client must have proven its address by a nonce first. A stranger can thus neither make the server ask its
        # database nor learn that the database is down.
        raise Refusal(_nonce_fault(state, request, claim), challenge=True)
    if isinstance(answer, Pending):
        raise LookupPending(claim.username or "", claim.userhash or b"")
    _take(state, request, claim, answer)


def _is_meant(claim: _Claim, allocation: Allocation) -> bool:
    """Whether a request names the user of an allocation.

    By USERHASH (RFC 8489 §14.4) the source finds the user, unless it has been removed.
    """
    credential = allocation.credential
    if claim.username is not None or not allocation.credential_removed:
        return claim.username == credential.username
    try:
        return claim.userhash == user_hash(credential.username, credential.realm)
    except InvalidString:
        return False


def _take(state: CoreState, request: Request, claim: _Claim, answer: LateAnswer) -> None:
    """Take the credentials that the source has found, at once or late, except those revoked by now."""
    if isinstance(answer, Unavailable):
        raise SourceUnavailable(answer.reason)
    wall = request.now.wall
    claim.candidates = [credential for credential in answer if not state.revoked.revokes(credential, wall)]
    claim.revoked = bool(answer) and not claim.candidates
    if answer:
        request.claimed_id = answer[0].user_id


def _allocation_meant(state: CoreState, request: Request) -> Allocation | None:
    """The allocation of the 5-tuple or of a ticket (RFC 8016 §3.2.2), or the one whose data connection this will become
    (RFC 6062 §5.4).
    """
    if request.message.method == Method.CONNECTION_BIND:
        number = request.message.first(CONNECTION_ID)
        connection = None if number is None else state.tcp.by_id.get(number)
        return None if connection is None else connection.allocation
    return state.moves.meant(request.message) or state.allocation(request.client)


def _nonce_valid(state: CoreState, request: Request, claim: _Claim) -> bool:
    """Whether the nonce was made for this client, on this connection or on the control connection of the allocation.

    The client of a data connection is the one of the control connection (RFC 6062 §4.3), and clients reuse the nonce of
    the latter.
    """
    wall = request.now.wall
    if state.nonces.check(claim.nonce, request.nonce_scope, wall) is NonceStatus.VALID:
        return True
    if request.message.method != Method.CONNECTION_BIND:
        return False
    control = _allocation_meant(state, request)
    if control is None:
        return False
    return state.nonces.check(claim.nonce, control.client.address.pack(), wall) is NonceStatus.VALID


def _nonce_fault(state: CoreState, request: Request, claim: _Claim) -> Reason:
    """Why a nonce is not valid: it is too old, or was not made for this client."""
    status = state.nonces.check(claim.nonce, request.nonce_scope, request.now.wall)
    return Reason.FOREIGN_NONCE if status is NonceStatus.FOREIGN else Reason.STALE_NONCE


def _known_user(state: CoreState, request: Request, claim: _Claim) -> None:
    """§9.2.4: an unknown user → 401 with a challenge, as for a wrong password.

    A hash may be unknown because users cannot be found by hash any more: a nonce of ours that still announces that they
    can is stale (§9.2.1) → 438, and the client comes back with a USERNAME.
    """
    if not claim.candidates and claim.username is None and not state.credentials.anonymous:
        wall = request.now.wall
        if state.nonces.check(claim.nonce, request.nonce_scope, wall) is NonceStatus.EXPIRED:
            raise Refusal(Reason.STALE_NONCE, challenge=True)
    if claim.candidates:
        return
    if claim.revoked:
        _fail(state, request, claim, Reason.REVOKED, "revoked")
    misread = "" if claim.username is None else state.credentials.misread(claim.username)
    if misread:
        _fail(state, request, claim, Reason.MALFORMED_TIME, f"malformed time: {misread}")
    _fail(state, request, claim, Reason.UNKNOWN_USER, "unknown user")


def _integrity_right(state: CoreState, request: Request, claim: _Claim) -> None:
    """§9.2.4: wrong integrity → 401 with a fresh nonce. Several shared secrets give several candidates."""
    check = verify_sha256 if request.integrity is Integrity.SHA256 else verify
    for credential in claim.candidates:
        key = credential.keys.get(claim.algorithm)
        if key is not None and check(request.message, key):
            request.username = credential.username
            request.key = key
            request.credential = credential
            return
    realm = request.message.first(REALM)
    if realm != state.settings.realm:
        why = f"wrong realm or password; the realm here is {state.settings.realm}"
        _fail(state, request, claim, Reason.WRONG_REALM, why)
    limited = any(credential.expires_at is not None for credential in claim.candidates)
    why = "wrong password or secret" if limited else "wrong password"
    _fail(state, request, claim, Reason.WRONG_PASSWORD, why)


def _address_proven(state: CoreState, request: Request, claim: _Claim) -> bool:
    """Whether the request comes from where it says: by a connection, or a nonce that was ever made for this client.

    A nonce that comes home has a budget of answers for its address from now on (`turnserver.core.reflection`).
    """
    if request.client.transport.proven:
        return True
    if state.nonces.check(claim.nonce, request.nonce_scope, request.now.wall) is NonceStatus.FOREIGN:
        return False
    state.reflection.prove(request.client.address.ip, CHALLENGE_REFUND, request.now)
    return True


def _fail(state: CoreState, request: Request, claim: _Claim, cause: Reason, why: str) -> NoReturn:
    """A wrong credential: 401 with a challenge, or no answer if there were too many (`turnserver.core.logins`)."""
    client, mono = request.client, request.now.mono
    if not _address_proven(state, request, claim):
        state.logins.failed_unproven(client.address.ip, mono)
        raise Refusal(cause, challenge=True)
    failure = state.logins.failed(
        client.address.ip, request.claimed_id or claim.username or claim.userhash or b"", mono
    )
    if failure.first:
        state.event(LoginFailed(client, request.username, cause, why, request.claimed_id))
    for run, of_user in ((failure.guessing, False), (failure.attacked, True)):
        if run is not None:
            state.event(LoginsFailing(client, request.username, cause, why, *run, of_user, request.claimed_id))
    if failure.answered:
        raise Refusal(cause, challenge=True)
    state.event(AnswerWithheld(client, Reason.TOO_MANY_FAILURES))
    if client.transport.connected and state.allocation(client) is None:
        state.command(CloseClient(client))  # a further guess needs another connection
    raise Silence(Reason.TOO_MANY_FAILURES)


def _nonce_fresh(state: CoreState, request: Request, claim: _Claim) -> None:
    """§9.2.4: only now a stale nonce → 438 with a new one, without integrity as RFC 5389 clients expect."""
    if not _nonce_valid(state, request, claim):
        request.credential = None
        _address_proven(state, request, claim)
        raise Refusal(_nonce_fault(state, request, claim), challenge=True)
    if not request.client.transport.proven:
        state.reflection.prove(request.client.address.ip, CHALLENGE_REFUND, request.now)
