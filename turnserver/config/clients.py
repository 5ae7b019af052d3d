"""The schema of ``clients``: from where clients may come."""

from typing import Annotated

from pydantic import Field

from turnserver.config.section import Section
from turnserver.config.values import LIVE, MAX_ITEMS, NetworkOption, Sized

__all__ = ["ClientsConfig"]


class ClientsConfig(Section):
    """From which networks clients may come, on every listener; a firewall does the same for less.

    Others get no answer over UDP, and their connections are closed at once. Behind a trusted proxy the client that a
    PROXY header names counts, or the one that HTTP headers name at the start of a WebSocket. After a reload,
    allocations of clients that are refused get no answers any more, and end with their lifetime.
    """

    allow: Annotated[tuple[NetworkOption, ...], Sized(MAX_ITEMS), LIVE] = Field(
        default=(),
        description="Networks that clients may come from, such as `[10.0.0.0/8]`. Empty: all.",
    )
    deny: Annotated[tuple[NetworkOption, ...], Sized(MAX_ITEMS), LIVE] = Field(
        default=(),
        description="Networks that clients may not come from. An address in both lists is refused.",
    )
