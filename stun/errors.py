"""Errors of decoding and encoding."""

from meshturn.root import MeshturnError

__all__ = ["EncodeError", "MalformedMessage", "StunError"]


class StunError(MeshturnError):
    """The root of this package's errors."""


class MalformedMessage(StunError):
    """Bytes that do not follow the wire format. Decoding raises this and nothing else."""


class EncodeError(StunError, ValueError):
    """A value that cannot go on the wire: too long, out of range, of the wrong kind."""
