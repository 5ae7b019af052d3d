"""The schema of ``media``: the SFU, through which rooms go that are too large for a mesh."""

from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import Field, ValidationInfo

from turnserver.config.section import Section
from turnserver.config.values import Rule, integer

__all__ = ["DirectoryPath", "MediaConfig"]


def _read_directory(value: object, rule: Rule[Path], _info: ValidationInfo) -> Path:
    if not isinstance(value, str | Path) or "\0" in str(value) or not Path(value).is_absolute():
        return rule.refuse(value)
    return Path(value)


DirectoryPath = Annotated[
    Path,
    Rule(
        "directory",
        "the absolute path of a directory, which is made when it is needed",
        {"type": "string", "pattern": "^/"},
        _read_directory,
    ),
]
"""A directory that the server writes to."""


MOST_PROCESSES: Final = 64


def _read_processes(value: object, rule: Rule[int | str], _info: ValidationInfo) -> int | str:
    if value == "auto" or (isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST_PROCESSES):
        return value
    return rule.refuse(value)


Processes = Annotated[
    int | Literal["auto"],
    Rule(
        f"integer, 0 to {MOST_PROCESSES}, or `auto`",
        f"a whole number from 0 to {MOST_PROCESSES}, or auto",
        {"anyOf": [{"type": "integer", "minimum": 0, "maximum": MOST_PROCESSES}, {"const": "auto"}]},
        _read_processes,
        lambda value: value,
    ),
]
"""How many processes there are."""


class MediaConfig(Section):
    """The SFU, through which rooms go that are too large for a mesh (`signaling.mode`).

    It runs in child processes of the server, which are started when a room first needs one, and opens its sockets on
    the addresses that the server relays from.
    """

    processes: Processes = Field(
        default="auto",
        description="Child processes of the SFU at most; each has a UDP port, and a core's worth of rooms. A crash of "
        "one costs its rooms new connections, and nothing else. `auto`: one less than there are cores, so that TURN "
        "and signaling keep one, but at least one; with `media.port`, one. 0: within the server's own process, for "
        "programs that embed it and hosts that allow no child.",
    )

    port: Annotated[int, integer(0, 65535)] = Field(
        default=0,
        description="The UDP port of all media that go through the SFU; further processes (`media.processes`) have "
        "the ports after it. With 0 it is a free one of `relay.ports`, which the firewall lets in anyway.",
    )
    room_size: Annotated[int, integer(2, 100)] = Field(
        default=30,
        description="Participants at most in a room that goes through the SFU.",
    )
    recordings: DirectoryPath | None = Field(
        default=None,
        description="Where recordings of rooms are kept; without it, no room can be recorded. A recording is a "
        "directory with a file for each participant. The directory is made with mode 0700.",
    )
    recordings_size: Annotated[int, integer(1, 10_000_000, "MiB")] = Field(
        default=20_000,
        description="A recording ends when it has this size, in MiB. The call goes on.",
    )
    recordings_reserve: Annotated[int, integer(0, 10_000_000, "MiB")] = Field(
        default=500,
        description="Recordings end when less than this is free on their disk, in MiB. Calls go on.",
    )

    @property
    def ports(self) -> range:
        """The UDP ports of the SFU, as far as they are fixed: one for each process."""
        count = 1 if self.processes == "auto" else max(1, self.processes)
        return range(self.port, min(self.port + count, 65536)) if self.port else range(0)
