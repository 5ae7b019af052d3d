"""What a request that is done says to its client: whether it has succeeded, why not, and when it was sent."""

from typing import Any

from stun.attributes import MOBILITY_TICKET
from stun.client.errors import ClientError
from stun.client.holdings import REFUSED_RETRY_AFTER, RETRY_AFTER
from stun.client.requests import ClientRequest, FinalResponse

__all__ = ["code", "error_of", "retry", "sent_at", "succeeded", "ticket_of"]


def succeeded(request: ClientRequest[Any]) -> bool:
    """Whether there is a success response."""
    return isinstance(request.outcome, FinalResponse) and request.outcome.is_success


def sent_at(request: ClientRequest[Any], now: float) -> float:
    """When the request that is answered now was sent."""
    return now - request.outcome.seconds if isinstance(request.outcome, FinalResponse) else now


def code(request: ClientRequest[Any]) -> int:
    """The error code; 0 without one."""
    error = request.outcome.error if isinstance(request.outcome, FinalResponse) else None
    return 0 if error is None else error.code


def error_of(request: ClientRequest[Any]) -> ClientError | None:
    """Why a request has failed; None if it has not."""
    try:
        request.result()
    except ClientError as error:
        return error
    return None


def retry(request: ClientRequest[Any]) -> float:
    """Seconds until a renewal is tried again."""
    return REFUSED_RETRY_AFTER if isinstance(request.outcome, FinalResponse) else RETRY_AFTER


def ticket_of(request: ClientRequest[Any]) -> bytes | None:
    """The ticket in a success response (RFC 8016 §3.1.3, §3.2.3); None without one."""
    return request.outcome.message.first(MOBILITY_TICKET) if isinstance(request.outcome, FinalResponse) else None
