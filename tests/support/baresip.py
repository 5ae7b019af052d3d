"""Debian's baresip on hosts of the laboratory: calls by SIP over TCP, with a media traversal of the test's choice."""

import json
import math
import re
import socket
import struct
import subprocess
import wave
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

from tests.net.lab import Host, Lab, Nat
from tests.support.process import wait_until
from tests.support.server import PASSWORD, USERNAME
from tests.support.tools import require_tool

__all__ = ["Baresip", "let_sip_through", "prepare"]

MODULES = Path("/usr/lib/baresip/modules")
SIP = 5060
CONTROL = 4444
LIMIT = 90.0
RATE = 8000
CONFIG = """
sip_listen {address}:{sip}
ctrl_tcp_listen 127.0.0.1:{control}
audio_source aufile,{tone}
ausrc_srate {rate}
auplay_srate {rate}
ausrc_channels 1
auplay_channels 1
dns_server 127.0.0.1:53
module_path {modules}
module g711.so
module aufile.so
module turn.so
module ice.so
module_tmp account.so
module_app menu.so
module_app ctrl_tcp.so
"""
ACCOUNT = (
    "<sip:{name}@{address};transport=tcp>;regint=0;answermode=auto;audio_codecs=PCMU/8000/1;"
    'medianat={traversal};stunserver="{url}";stunuser="{user}";stunpass="{password}"\n'
)


def prepare(tone: Path) -> None:
    """Skip the test where there is no baresip; else make the file with the tone that everybody sends."""
    require_tool("baresip")
    second = [int(8000 * math.sin(2 * math.pi * 440 * at / RATE)) for at in range(RATE)]
    with wave.open(str(tone), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(struct.pack(f"<{RATE}h", *second) * 90)


def let_sip_through(lab: Lab, host: Host) -> None:
    """Make a host reachable for SIP by its own address, as by a VPN for signaling: what is tested is the media."""
    assert host.gate.nat is not Nat.NONE
    lab.public.ip(f"route add {host.gate.network} via {host.gate.wan}")
    host.gate.nft(
        f"insert rule ip fw forwarded tcp dport {SIP} accept\n"
        f"insert rule ip nat post ip daddr 10.0.0.0/8 tcp dport {SIP} accept\n"
    )


class Baresip:
    """One baresip on ``host``; a context manager.

    ``traversal`` is its media traversal: ``ice``, or ``turn``, which relays everything. ``url`` is the TURN server's.
    """

    def __init__(self, host: Host, traversal: str, url: str, tone: Path, directory: Path) -> None:
        self.host = host
        self.uri = f"sip:{host.name}@{host.address};transport=tcp"
        self._directory = directory
        directory.mkdir()
        (directory / "contacts").touch()
        config = {"address": host.address, "sip": SIP, "control": CONTROL, "tone": tone, "rate": RATE}
        (directory / "config").write_text(CONFIG.format(**config, modules=MODULES))
        credential = {"user": USERNAME, "password": PASSWORD}
        account = ACCOUNT.format(name=host.name, address=host.address, traversal=traversal, url=url, **credential)
        (directory / "accounts").write_text(account)

    def __enter__(self) -> Self:
        command = self.host.command(require_tool("baresip"), "-v", "-f", str(self._directory))
        with (self._directory / "output").open("wb") as output:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._process.terminate()
        try:
            self._process.wait(LIMIT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    @property
    def output(self) -> str:
        """What it has written so far, without its line of progress."""
        text = (self._directory / "output").read_text(errors="replace")
        return re.sub(r"\r[^\r\n]*", "", text)

    def call(self, other: "Baresip") -> None:
        """Call another, who answers at once."""
        for end in (self, other):
            end.says("baresip is ready")
        self._do("dial", other.uri)

    def hang_up(self) -> None:
        """End the call, for both."""
        self._do("hangup")

    def _do(self, what: str, parameters: str = "") -> None:
        with self.host.entered(), socket.create_connection(("127.0.0.1", CONTROL), LIMIT) as control:
            command = json.dumps({"command": what, "params": parameters}).encode()
            control.sendall(b"%d:%s," % (len(command), command))
            with control.makefile("rb") as frames:
                answers = (answer for answer in _netstrings(frames) if answer.get("response"))
                answer = next(answers, None)
            assert answer is not None
            assert answer["ok"], answer

    def says(self, pattern: str) -> re.Match[str]:
        """What it writes that fits a pattern; waits for it."""

        def found() -> re.Match[str] | None:
            return re.search(pattern, self.output)

        try:
            wait_until(lambda: found() is not None, f"baresip says {pattern!r}", LIMIT)
        except AssertionError as error:
            error.add_note(f"{self.host.name}: {self.output[-4000:]}")
            raise
        match = found()
        assert match is not None
        return match

    def hears(self) -> tuple[str, int]:
        """The address that the other end's audio comes from; waits for it."""
        match = self.says(r"incoming rtp for 'audio' established, receiving from ([0-9.]+):(\d+)")
        return match[1], int(match[2])


def _netstrings(frames: BinaryIO) -> Iterator[dict[str, Any]]:
    """What a control connection says: answers, and events of the calls in between."""
    while length := b"".join(iter(lambda: frames.read(1).strip(b":"), b"")):
        yield json.loads(frames.read(int(length)))
        assert frames.read(1) == b","
