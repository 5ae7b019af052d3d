"""Network namespaces, for tests that need routes, links and queues of their own.

A socket belongs to the namespace in which it was made, and a child process to that in which it was started, so it is
enough to be *inside* for those moments::

    with NetworkNamespace() as inside:
        with inside.entered():
            server.start()
"""

import ctypes
import errno
import os
import secrets
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from tests.support.tools import require_tool

__all__ = ["NetworkNamespace"]

CLONE_NEWNET = 0x40000000


class NetworkNamespace:
    """A namespace of its own with loopback up; a context manager that removes it.

    Skips the test where the tools or the privileges for it are lacking. Its name is random unless one is given.
    """

    def __init__(self, name: str | None = None) -> None:
        self.name = name or f"meshturn-{secrets.token_hex(4)}"
        self._ip = require_tool("ip")
        self._tc = require_tool("tc")

    def __enter__(self) -> Self:
        made = subprocess.run([self._ip, "netns", "add", self.name], capture_output=True, text=True, check=False)
        if made.returncode != 0:
            pytest.skip(f"network namespaces need root (CAP_SYS_ADMIN): {made.stderr.strip()}")
        command = [self._ip, "-n", self.name, "link", "set", "lo", "up"]
        made = subprocess.run(command, capture_output=True, text=True, check=False)
        if made.returncode != 0:
            subprocess.run([self._ip, "netns", "del", self.name], check=True)
            pytest.skip(f"network namespaces need root (CAP_NET_ADMIN): {made.stderr.strip()}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        subprocess.run([self._ip, "netns", "del", self.name], check=True)

    def ip(self, arguments: str) -> None:
        """Run ``ip`` inside, for example ``ip("link set lo mtu 1500")``."""
        subprocess.run([self._ip, "-n", self.name, *arguments.split()], check=True)

    def tc(self, arguments: str) -> str:
        """Run ``tc`` inside and hand back what it prints."""
        command = [self._tc, "-n", self.name, *arguments.split()]
        return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout

    def set(self, key: str, value: str) -> None:
        """Set a parameter of the kernel's, as sysctl(8) does; only those of the network are a namespace's own."""
        with self.entered():
            Path("/proc/sys", *key.split(".")).write_text(value)

    def forward(self) -> None:
        """Make a router of it: forward IPv4 packets, and answer with ICMP what cannot be forwarded."""
        self.set("net.ipv4.ip_forward", "1")

    def flush(self, network: str) -> None:
        """Remove all routes to a network, of any kind, and what has been learned about it."""
        for kind in ("unicast", "unreachable", "prohibit", "blackhole"):
            subprocess.run([self._ip, "-n", self.name, "route", "flush", "root", network, "type", kind], check=True)

    def reset_queue(self, interface: str) -> None:
        """Give an interface its ordinary queue again, if it has another."""
        command = [self._tc, "-n", self.name, "qdisc", "del", "dev", interface, "root"]
        subprocess.run(command, check=False, capture_output=True)

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Let the calling thread make sockets and start processes inside."""
        outside = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        try:
            inside = os.open(f"/run/netns/{self.name}", os.O_RDONLY)
            try:
                _enter(inside)
            finally:
                os.close(inside)
            try:
                yield
            finally:
                _enter(outside)
        finally:
            os.close(outside)


def _enter(descriptor: int) -> None:
    """setns(2), which Python itself has only from 3.12 on."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(descriptor, CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"setns: {os.strerror(number)} ({errno.errorcode.get(number, '?')})")
