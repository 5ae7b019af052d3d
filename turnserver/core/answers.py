"""Error answers: the one place where a refusal becomes bytes and an event for the log."""

from collections.abc import Callable
from typing import Protocol

from auth.nonce import NonceIssuer
from turnserver.core.errors import Refusal
from turnserver.core.events import Event, RequestRefused
from turnserver.core.request import Request
from turnserver.core.responses import error, finish
from turnserver.core.retransmissions import TransactionKey
from turnserver.core.settings import CoreBounds, CoreSettings
from turnserver.core.types import Now

__all__ = ["Answering", "refuse"]

NONCE_ENTROPY = 8
"""Random bytes in a nonce, so that no two are alike."""


class Answering(Protocol):
    """What answering needs; `turnserver.core.state.CoreState` has it."""

    settings: CoreSettings
    bounds: CoreBounds
    nonces: NonceIssuer
    entropy: Callable[[int], bytes]

    def answer(self, request: Request, frame: bytes) -> bool:
        """Send an answer; False if it was withheld."""

    def keep_answer(self, key: TransactionKey, answer: bytes, now: Now) -> None:
        """Keep an answer for as long as its client may retransmit the request."""

    def event(self, event: Event) -> None:
        """Queue a fact."""


def refuse(state: Answering, request: Request, refusal: Refusal, *, keep: bool = False) -> None:
    """Answer a request with an error; a challenge gets a fresh nonce made for the client's address.

    Only a client that has proven who it is learns the cause: anybody else could tell by it which users there are.

    With ``keep`` a retransmission gets the same answer; for requests that must not be carried out twice.
    """
    settings = state.settings
    user_id = "" if request.credential is None else request.credential.user_id
    reason = refusal.phrase(authenticated=request.credential is not None)
    nonce = b""
    if refusal.challenge:
        # A challenge starts over: it is not protected with the key of the credential that was just refused.
        request.credential = None
        nonce = state.nonces.issue(request.nonce_scope, request.now.wall, state.entropy(NONCE_ENTROPY))
    frame = finish(error(request, refusal, reason, settings.realm, nonce), request, settings.software)
    if keep:
        state.keep_answer(request.transaction, frame, request.now)
    if state.answer(request, frame):
        method, code = request.message.method, int(refusal.code)
        state.event(
            RequestRefused(
                request.client,
                method,
                code,
                refusal.cause,
                reason,
                request.username,
                user_id,
                request.claimed_id,
                refusal.detail,
            )
        )
