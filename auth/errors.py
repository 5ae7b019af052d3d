"""Errors of credentials; no error repeats a secret."""

from meshturn.root import MeshturnError

__all__ = ["AuthError", "InvalidCredential", "InvalidString"]


class AuthError(MeshturnError):
    """The root of this package's errors."""


class InvalidString(AuthError, ValueError):
    """A text is not an OpaqueString (RFC 8265 §4.2); the message names the wrong character, never the text."""


class InvalidCredential(AuthError, ValueError):
    """A username does not have the time-limited form, or a credential cannot be made from the given values."""
