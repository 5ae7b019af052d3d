"""Error answers: the one place where a refusal becomes bytes, and a fact for the log."""

from turnserver.core.errors import Refusal
from turnserver.core.events import RequestRefused
from turnserver.core.request import Request
from turnserver.core.responses import error, finish
from turnserver.core.state import CoreState

__all__ = ["refuse"]

NONCE_ENTROPY = 8
"""Random bytes in a nonce, so that no two are alike."""


def refuse(state: CoreState, request: Request, refusal: Refusal) -> None:
    """Answer a request with an error; a challenge gets a fresh nonce made for the client's address."""
    settings = state.settings
    nonce = b""
    if refusal.challenge:
        # A challenge starts over: it is not protected with the key of a credential that was just turned down.
        request.credential = None
        nonce = state.nonces.issue(request.nonce_scope, request.now.wall, state.entropy(NONCE_ENTROPY))
    frame = finish(error(request, refusal, settings.realm, nonce), request, settings.software)
    if state.answer(request, frame):
        method, code = request.message.method, int(refusal.code)
        state.event(RequestRefused(request.client, method, code, refusal.reason, request.username))
