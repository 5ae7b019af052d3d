"""Builds the credential source of the server from the configuration, and what makes nonces for it."""

import secrets
import time
from collections.abc import Callable
from typing import Final

from auth.nonce import NonceIssuer, SecurityFeatures
from auth.source import Chain, CredentialSource
from turnserver.credentials.guard import Guarded
from turnserver.credentials.registry import SOURCES
from turnserver.credentials.settings import SourcesSection
from turnserver.faults import Faults

__all__ = ["credential_source", "nonce_issuer"]

_NONCE_KEY_SIZE: Final = 32


def credential_source(
    auth: SourcesSection,
    *,
    clock: Callable[[], float] = time.monotonic,
    faults: Faults | None = None,
    discard: Callable[[CredentialSource], None] = lambda source: None,
) -> CredentialSource:
    """The configured sources of ``auth.sources``, in that order, each one guarded against its own exceptions.

    ``clock`` gives monotonic seconds. ``faults`` records the exceptions of sources. Raises
    `turnserver.errors.StartupError` if one cannot be made; ``discard`` is given those made before it, to be closed.
    """
    noted = Faults(clock) if faults is None else faults
    made: list[CredentialSource] = []
    try:
        for name in auth.sources:
            with noted.starting(f"credentials.{name}", f"The credential source {name}"):
                source = SOURCES[name].make(auth, clock=clock)
            if source is not None:
                made.append(Guarded(name, source, noted))
    except BaseException:
        for each in made:
            discard(each)
        raise
    return Chain(made)


def nonce_issuer(lifetime: float, source: CredentialSource) -> NonceIssuer:
    """What makes the nonces of a server with ``source``; their lifetime is in seconds, their key random."""
    features = SecurityFeatures.PASSWORD_ALGORITHMS
    if source.anonymous:
        features |= SecurityFeatures.USERNAME_ANONYMITY
    return NonceIssuer([secrets.token_bytes(_NONCE_KEY_SIZE)], lifetime, features)
