"""Every error that a user of the public API can meet; all of them are `meshturn.root.MeshturnError`.

On the wire
: `StunError` is the root of `MalformedMessage` and `EncodeError`.

Identities
: `AuthError` is the root of `InvalidString` and `InvalidCredential`.

Servers
: `ServerError` is the root of `ConfigError`, `StartupError` and the rest; the text of each is a sentence for the person
  who runs the server.
"""

from auth.errors import AuthError, InvalidCredential, InvalidString
from meshturn.root import MeshturnError
from stun.errors import EncodeError, MalformedMessage, StunError
from turnserver.errors import ConfigError, DatapathError, Problem, ServerError, StartupError, UnknownNameError

__all__ = [
    "AuthError",
    "ConfigError",
    "DatapathError",
    "EncodeError",
    "InvalidCredential",
    "InvalidString",
    "MalformedMessage",
    "MeshturnError",
    "Problem",
    "ServerError",
    "StartupError",
    "StunError",
    "UnknownNameError",
]
