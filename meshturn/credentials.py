"""Credentials: the sources that the server asks, their values, and the generation of time-limited ones.

A server asks one `CredentialSource`. `StaticUsers` is a table, `TimeLimitedCredentials` takes whatever `mint` has made
with one of its secrets, `Chain` asks several sources, and one of your own may wait for a database or another service.
"""

from auth.ephemeral import (
    SharedSecret,
    TimeLimitedCredentials,
    mint,
)
from auth.keys import (
    long_term_keys,
)
from auth.source import (
    Chain,
    CredentialSource,
    Nobody,
    StaticUsers,
)
from auth.types import (
    PENDING,
    Answer,
    Credential,
    LateAnswer,
    Pending,
    Unavailable,
)

__all__ = [
    "PENDING",
    "Answer",
    "Chain",
    "Credential",
    "CredentialSource",
    "LateAnswer",
    "Nobody",
    "Pending",
    "SharedSecret",
    "StaticUsers",
    "TimeLimitedCredentials",
    "Unavailable",
    "long_term_keys",
    "mint",
]
