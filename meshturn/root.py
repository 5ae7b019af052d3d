"""The root of every error that meshturn raises on purpose: the one module that everything else may import."""

__all__ = ["MeshturnError"]


class MeshturnError(Exception):
    """The root of all errors of this package: ``except MeshturnError`` is for whatever goes wrong in it.

    Below it, each part has a root of its own: `stun.errors.StunError` (bytes that are no message, and what befalls a
    client), `auth.errors.AuthError` (identities), and `turnserver.errors.ServerError` (configuration and running).
    """
