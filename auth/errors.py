"""What can go wrong with an identity; no error repeats a secret."""

from meshturn.root import MeshturnError

__all__ = ["AuthError", "InvalidCredential", "InvalidString"]


class AuthError(MeshturnError):
    """The root of everything that this package raises on purpose."""


class InvalidString(AuthError, ValueError):
    """A text is no OpaqueString (RFC 8265 §4.2); the message names the character at fault, never the text."""


class InvalidCredential(AuthError, ValueError):
    """A username does not have the time-limited form, or a credential cannot be made from what was given."""
