"""A child process for tests of the supervision: it does what its first message says. Run with ``-m``."""

import asyncio
import json
import os
import socket
import sys
import time
from collections.abc import Sequence
from typing import Any

from turnserver.supervised import FIRST_KIND, Parent, attach

__all__ = ["DO", "SAID", "main"]

DO = FIRST_KIND
"""What to do, as JSON: a name, and more."""
SAID = FIRST_KIND + 1
"""An answer, as JSON."""


class _Child:
    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.parent = Parent(sock, self._receive)

    def _receive(self, kind: int, payload: bytes) -> None:
        name, *more = json.loads(payload)
        getattr(self, name)(*more)

    def work(self) -> None:
        self.parent.ready()

    def tell(self) -> None:
        names = os.listdir("/proc/self/fd")
        self.parent.tell(SAID, os.getpid(), dict(os.environ), names, os.getppid())

    def echo(self, text: str) -> None:
        self.parent.tell(SAID, text)

    def crash(self, text: str) -> None:
        raise RuntimeError(text)

    def segfault(self) -> None:
        import ctypes

        ctypes.string_at(0)

    def write(self, text: str) -> None:
        sys.stderr.write(text)
        sys.stderr.flush()

    def leave(self, status: int) -> None:
        os._exit(status)

    def garbage(self) -> None:
        self.sock.send(b"\xff" * 64)

    def odd(self) -> None:
        self.parent.send(7, b"")

    def sleep(self) -> None:
        time.sleep(3600)

    def close(self) -> None:
        self.sock.shutdown(socket.SHUT_RDWR)
        time.sleep(3600)

    def faults(self, times: int) -> None:
        for number in range(times):
            self.parent.fault("media", ValueError(f"number {number}"))


async def _run(sock: socket.socket) -> Any:
    failed = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().set_exception_handler(
        lambda _, context: failed.done() or failed.set_exception(context["exception"])
    )
    child = _Child(sock)
    over = asyncio.ensure_future(child.parent.over())
    await asyncio.wait((over, failed), return_when=asyncio.FIRST_COMPLETED)
    return failed.result() if failed.done() else over.result()


def main(arguments: Sequence[str]) -> Any:
    """Run until the parent ends it."""
    return asyncio.run(_run(attach(arguments)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
