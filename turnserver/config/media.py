"""The schema of ``media``: the SFU, through which rooms go that are too large for a mesh."""

from typing import Annotated

from pydantic import Field

from turnserver.config.section import Section
from turnserver.config.values import integer

__all__ = ["MediaConfig"]


class MediaConfig(Section):
    """The SFU, through which rooms go that are too large for a mesh (`signaling.mode`).

    It runs within the server, and opens its socket when a room first needs it, on the addresses that the server relays
    from.
    """

    port: Annotated[int, integer(0, 65535)] = Field(
        default=0,
        description="The UDP port of all media that go through the SFU. With 0 it is a free one of `relay.ports`, "
        "which the firewall lets in anyway.",
    )
    room_size: Annotated[int, integer(2, 100)] = Field(
        default=30,
        description="Participants at most in a room that goes through the SFU.",
    )
