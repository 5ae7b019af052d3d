"""The root of every error that meshturn raises on purpose: the one module that everything else may import."""

__all__ = ["MeshturnError"]


class MeshturnError(Exception):
    """The root of all errors of this package: ``except MeshturnError`` catches each of them.

    Each part has its own root below it: `stun.errors.StunError` (malformed messages, and errors of clients),
    `auth.errors.AuthError` (identities), and `turnserver.errors.ServerError` (configuration and running).
    """
