"""Links to calls with a token in them, made as operators make them: by ``meshturn rooms token``."""

import json
import subprocess
import sys
from pathlib import Path

from tests.support.call_page import SMALL

__all__ = ["Link"]

ROOT = Path(__file__).resolve().parents[2]


class Link:
    """Makes links to the calls of a server at ``origin``, by its configuration file."""

    def __init__(self, origin: str, config: Path) -> None:
        self._origin = origin
        self._config = config

    def token(self, room: str, *options: str) -> str:
        """The token alone."""
        command = [sys.executable, "-m", "meshturn", "rooms", "token", room, "--json", "-c", str(self._config)]
        made = json.loads(
            subprocess.run([*command, *options], check=True, capture_output=True, cwd=ROOT, text=True).stdout
        )
        return str(made["token"])

    def __call__(self, room: str, *options: str, to: str = "") -> str:
        return f"{self._origin}/call/{to or room}{SMALL}#token={self.token(room, *options)}"
