"""Who may relay: where credentials come from, what they are, and how those are made that expire by themselves.

A server asks one source. `StaticUsers` is a table, `TimeLimitedCredentials` takes whatever `mint` has made with one of
its secrets, `Chain` asks several, and a class of your own may ask whomever it wants.
"""

from auth.ephemeral import (
    SharedSecret,
    TimeLimitedCredentials,
    mint,
)
from auth.keys import (
    long_term_keys,
)
from auth.store import (
    Chain,
    CredentialStore,
    StaticUsers,
)
from auth.types import (
    PENDING,
    Credential,
    Pending,
)

__all__ = [
    "PENDING",
    "Chain",
    "Credential",
    "CredentialStore",
    "Pending",
    "SharedSecret",
    "StaticUsers",
    "TimeLimitedCredentials",
    "long_term_keys",
    "mint",
]
