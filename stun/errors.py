"""What can go wrong on the wire."""

from meshturn.root import MeshturnError

__all__ = ["EncodeError", "MalformedMessage", "StunError"]


class StunError(MeshturnError):
    """The root of this package's errors."""


class MalformedMessage(StunError):
    """Bytes that are not what they claim to be. Decoding raises this and nothing else."""


class EncodeError(StunError, ValueError):
    """A value that cannot go on the wire: too long, out of range, of the wrong kind."""
