"""From the configuration to the one source that the server asks."""

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
    """The sources that ``auth.sources`` names and that are set up, in that order, each with its faults kept to itself.

    ``clock`` gives monotonic seconds. ``faults`` is where the faults of sources are noted.
    """
    noted = Faults(clock) if faults is None else faults
    made = [(name, SOURCES[name].make(auth, clock=clock)) for name in auth.sources]
    return Chain([Guarded(name, source, noted) for name, source in made if source is not None])
