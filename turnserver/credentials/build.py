"""Builds the credential source of the server from the configuration."""

import time
from collections.abc import Callable

from auth.source import Chain, CredentialSource
from turnserver.credentials.guard import Guarded
from turnserver.credentials.registry import SOURCES
from turnserver.credentials.settings import SourcesSection
from turnserver.faults import Faults

__all__ = ["credential_source"]


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
