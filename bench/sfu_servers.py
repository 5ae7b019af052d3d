"""The SFUs that are compared: this server, and Debian's Janus with its VideoRoom, in two settings.

They run in a network namespace of the benchmark's own: Janus has no media on loopback. Signaling is on loopback there.
"""

import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import Final

import yaml

from bench.plan import BenchError
from bench.servers import BEFORE, HOST, REALM, Meshturn, Server, ServerFailed
from bench.sfu_ends import MEDIA

__all__ = ["SFUS", "Janus", "MeshturnSfu", "SfuServer", "add_sfu_before"]

_READY_SECONDS: Final = 120.0
_PEOPLE: Final = 100


class SfuServer(Server):
    """A server with rooms; ``room`` says by which protocol they are joined, see `bench.sfu_rooms.ROOMS`."""

    room: str

    def _wait_ready(self) -> None:
        """Wait until the port of signaling accepts connections."""
        give_up = time.monotonic() + _READY_SECONDS
        while time.monotonic() < give_up:
            self.check()
            try:
                socket.create_connection((HOST, self.port), 1.0).close()
                return
            except OSError:
                time.sleep(0.05)
        raise ServerFailed(f"{self.name} accepts no connection after {_READY_SECONDS:.0f} s\n{self._last_words()}")


class MeshturnSfu(SfuServer, Meshturn):
    """This project, with rooms that always go through its SFU."""

    name = "meshturn"
    room = "meshturn"

    @classmethod
    def settings(cls) -> str:
        """The mode of its rooms."""
        return "signaling.mode: sfu"

    def command(self) -> list[str]:
        """Write a configuration with rooms that are open."""
        configuration = {
            "realm": REALM,
            "listeners": [
                {"transport": "udp", "address": HOST, "port": self.port},
                {"transport": "shared", "tls": False, "address": HOST, "port": self.port},
            ],
            "relay": {"addresses": [MEDIA]},
            "signaling": {"open": True, "mode": "sfu", "sockets_per_address": 1000},
            "media": {"room_size": _PEOPLE},
            "log": {"level": "warning"},
        }
        path = self.folder / "meshturn.yml"
        path.write_text(yaml.safe_dump(configuration, sort_keys=False))
        path.chmod(0o600)
        return [*self.invocation(), "serve", "-c", str(path)]


class Janus(SfuServer):
    """Debian's Janus with a thread for each connection, as it comes; ICE-lite, as SFUs at public addresses are."""

    name = "janus"
    room = "janus"
    event_loops = 0

    @classmethod
    def version(cls) -> str | None:
        """What ``janus --version`` says."""
        if shutil.which("janus") is None:
            return None
        asked = subprocess.run(["janus", "--version"], capture_output=True, text=True, check=False)
        for line in (asked.stdout + asked.stderr).splitlines():
            if "version" in line.lower() or line.strip().startswith("janus"):
                return line.split()[-1].strip("()")
        return "unknown"

    @classmethod
    def settings(cls) -> str:
        """How many threads it has for connections."""
        return f"event_loops = {cls.event_loops}" if cls.event_loops else "a thread for each connection"

    def command(self) -> list[str]:
        """Configuration files of its own, with the VideoRoom and WebSockets only."""
        plugins = _folder("plugins")
        files = {
            "janus.jcfg": f"""
                general: {{ plugins_folder = "{plugins}"; transports_folder = "{_folder("transports")}"
                    debug_level = 3; event_loops = {self.event_loops} }}
                nat: {{ ice_lite = true; ice_enforce_list = "{MEDIA}" }}
                plugins: {{ disable = "{_others(plugins, "libjanus_videoroom.so")}" }}
                transports: {{ disable = "{_others(_folder("transports"), "libjanus_websockets.so")}" }}
                """,
            "janus.transport.websockets.jcfg": f"""
                general: {{ ws = true; ws_port = {self.port}; ws_ip = "{HOST}"; wss = false }}
                """,
            "janus.plugin.videoroom.jcfg": "general: { }\n",
        }
        for name, text in files.items():
            (self.folder / name).write_text(text)
        return ["janus", "--configs-folder", str(self.folder), "--config", str(self.folder / "janus.jcfg")]


class JanusLoops(Janus):
    """The same with one event loop, which is as many as the cores that it has here."""

    name = "janus-loops"
    event_loops = 1


SFUS: Final[dict[str, type[SfuServer]]] = {kind.name: kind for kind in (MeshturnSfu, Janus, JanusLoops)}


def add_sfu_before(root: Path) -> None:
    """Let another checkout's SFU be measured too, as ``before``."""
    SFUS[BEFORE] = type("SfuBefore", (MeshturnSfu,), {"name": BEFORE, "root": root, "__doc__": "Another checkout's."})


def _folder(kind: str) -> Path:
    """Where Debian has Janus' modules."""
    for library in (Path("/usr/lib"), Path("/usr/local/lib")):
        for folder in [library / "janus" / kind, *library.glob(f"*/janus/{kind}")]:
            if folder.is_dir():
                return folder
    raise BenchError("Janus' modules are not where Debian has them")


def _others(folder: Path, wanted: str) -> str:
    """All modules of a folder but one."""
    return ",".join(sorted(each.name for each in folder.glob("*.so") if each.name != wanted))
