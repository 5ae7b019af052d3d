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
    auth: SourcesSection, *, clock: Callable[[], float] = time.monotonic, faults: Faults | None = None
) -> CredentialSource:
    """The configured sources of ``auth.sources``, in that order, each one guarded against its own exceptions.

    ``clock`` gives monotonic seconds. ``faults`` records the exceptions of sources.
    """
    noted = Faults(clock) if faults is None else faults
    made = [(name, SOURCES[name].make(auth, clock=clock)) for name in auth.sources]
    return Chain([Guarded(name, source, noted) for name, source in made if source is not None])
