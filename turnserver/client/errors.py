"""The error that a client of ``signal.v1`` raises."""

from collections.abc import Mapping
from dataclasses import asdict

from meshturn.root import MeshturnError
from turnserver.signaling.protocol.server_messages import Error, Goodbye

__all__ = ["SignalError", "error_of"]


class SignalError(MeshturnError):
    """The server refused a request, or it cannot be reached.

    ``code`` is one of the protocol's, or one of the client's own: ``unreachable`` (no connection), ``untrusted``
    (its certificate), ``handshake`` (an HTTP answer that refuses the WebSocket), ``timeout``, ``closed``, ``backlog``
    (too much unsent), ``unreadable`` (an answer that is not part of the protocol), ``not_connected`` (a data channel
    that is not open).
    ``retry`` is the number of seconds after which to try again; None if that is useless or unknown. ``detail`` is the
    ``d`` of the error.
    """

    def __init__(
        self, code: str, message: str = "", *, retry: float | None = None, detail: Mapping[str, object] | None = None
    ) -> None:
        super().__init__(f"{code}: {message}" if message else code)
        self.code = code
        self.message = message
        self.retry = retry
        self.detail: Mapping[str, object] = detail or {}


def error_of(said: Error | Goodbye) -> SignalError:
    """The exception for an ``error`` or a ``goodbye`` frame."""
    if isinstance(said, Goodbye):
        return SignalError(said.code.value, said.msg)
    detail = {} if said.d is None else {name: value for name, value in asdict(said.d).items() if value is not None}
    retry = None if said.retry is None else said.retry / 1000
    return SignalError(said.code.value, said.msg, retry=retry, detail=detail)
