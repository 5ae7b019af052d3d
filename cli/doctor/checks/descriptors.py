"""How many files the server may have open: each relay and each connection takes a descriptor."""

import sys
from typing import NamedTuple

from cli.doctor.findings import HostFinding, not_checked, ok, warning
from cli.doctor.host import Host
from cli.drain import is_server
from turnserver.descriptors import UNLIMITED
from turnserver.files import attainable_files, files_needed

__all__ = ["Running", "descriptors", "running_servers"]

_ROW = "Max open files"


class Running(NamedTuple):
    """A running server: its process id, and how many files it may open (the hard limit)."""

    pid: int
    files: int


def running_servers(host: Host) -> list[Running]:
    """The processes that are servers, as far as ``/proc`` shows them to this user."""
    found = []
    for folder in host.proc.iterdir() if host.proc.is_dir() else ():
        if not folder.name.isdigit():
            continue
        words = (host.read(folder.name, "cmdline") or "").split("\0")
        if not {"serve", "up"} & {*words} or not any("meshturn" in word for word in words):
            continue
        files = _limit(host.read(folder.name, "limits") or "")
        if files is not None and is_server(int(folder.name), host.proc):
            found.append(Running(int(folder.name), files))
    return sorted(found)


def _limit(text: str) -> int | None:
    for line in text.splitlines():
        if line.startswith(_ROW):
            words = line.removeprefix(_ROW).split()
            if len(words) >= 2:
                return UNLIMITED if words[1] == "unlimited" else int(words[1]) if words[1].isdigit() else None
    return None


async def descriptors(host: Host) -> list[HostFinding]:
    """The limit of the servers that run, or without one what this shell would give to it."""
    if sys.platform == "win32":
        return [not_checked("This system has no limit of open files that could be asked for.")]
    needed = files_needed(host.config)
    servers = running_servers(host)
    if not servers:
        here = f"No running server is to be seen; one that is started from here may open {_words(attainable_files())}"
        return [_judged(here, attainable_files(), needed)]
    return [_judged(f"The server (process {pid}) may open {_words(files)}", files, needed) for pid, files in servers]


def _words(files: int) -> str:
    return "any number of files" if files >= UNLIMITED else f"{files} files"


def _judged(sentence: str, files: int, needed: int) -> HostFinding:
    if files >= needed:
        return ok(f"{sentence}; the limits of the configuration may need {needed}.")
    return warning(
        f"{sentence}, and the limits of the configuration may need {needed}.",
        "Beyond that, allocations are refused (508) and connections are closed.",
        f"systemctl edit meshturn    # [Service] LimitNOFILE={needed}",
        f"ulimit -n {needed}    # in a shell that starts it",
    )
