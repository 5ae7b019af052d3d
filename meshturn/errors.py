"""Every error that the public API can raise; all of them are `meshturn.root.MeshturnError`.

On the wire
: `StunError` is the root of `MalformedMessage`, `EncodeError` and `InvalidUri`.

Clients
: `ClientError`, a `StunError`, is the root of what a TURN client raises; `ErrorResponse` is a server's refusal.

Identities
: `AuthError` is the root of `InvalidString` and `InvalidCredential`.

Servers
: `ServerError` is the root of `ConfigError`, `StartupError` and the rest; the text of each is a sentence for the person
  who runs the server.
"""

from auth.errors import (
    AuthError,
    InvalidCredential,
    InvalidString,
)
from meshturn.root import (
    MeshturnError,
)
from stun.client.errors import (
    AnswerNotUnderstood,
    CannotAuthenticate,
    ClientError,
    ErrorResponse,
    IntegrityViolated,
    InvalidAnswer,
    InvalidLogin,
    NoAllocation,
    NoAnswer,
    NotPermitted,
    RequestCancelled,
    ServerUnreachable,
    TooManyRequests,
    TryAlternate,
)
from stun.errors import (
    EncodeError,
    MalformedMessage,
    StunError,
)
from stun.uri import (
    InvalidUri,
)
from turnserver.errors import (
    ConfigError,
    DatapathError,
    Problem,
    ServerError,
    StartupError,
    UnknownNameError,
)

__all__ = [
    "AnswerNotUnderstood",
    "AuthError",
    "CannotAuthenticate",
    "ClientError",
    "ConfigError",
    "DatapathError",
    "EncodeError",
    "ErrorResponse",
    "IntegrityViolated",
    "InvalidAnswer",
    "InvalidCredential",
    "InvalidLogin",
    "InvalidString",
    "InvalidUri",
    "MalformedMessage",
    "MeshturnError",
    "NoAllocation",
    "NoAnswer",
    "NotPermitted",
    "Problem",
    "RequestCancelled",
    "ServerError",
    "ServerUnreachable",
    "StartupError",
    "StunError",
    "TooManyRequests",
    "TryAlternate",
    "UnknownNameError",
]
