"""Two servers with NAT behavior discovery (RFC 5780) in the laboratory: meshturn and coturn."""

import itertools
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.net.lab import Lab
from tests.net.public_server import PublicServer
from tests.support.certificates import issue
from tests.support.netns import NetworkNamespace
from tests.support.tools import require_tool

__all__ = ["COTURNS", "COTURNS_V6", "LIMIT", "OURS", "OURS_V6", "PORTS", "discovery_servers", "enable_ipv6"]

OURS = ("203.0.113.3", "203.0.113.4")
COTURNS = ("203.0.113.5", "203.0.113.6")
OURS_V6 = ("2001:db8:ffff::3", "2001:db8:ffff::4")
COTURNS_V6 = ("2001:db8:ffff::5", "2001:db8:ffff::6")
PORTS = (3478, 3479)
LIMIT = 120
"""Seconds until what has not come about counts as failed."""


def enable_ipv6(inside: NetworkNamespace, *interfaces: str) -> None:
    """Have IPv6 in a namespace of the laboratory, without duplicate address detection, which takes its time."""
    for scope in ("all", "default", *interfaces):
        inside.set(f"net.ipv6.conf.{scope}.disable_ipv6", "0")
        inside.set(f"net.ipv6.conf.{scope}.accept_dad", "0")


@contextmanager
def discovery_servers(lab: Lab, directory: Path, *, ipv6: bool = False, tcp: bool = False) -> Iterator[None]:
    """Start both; meshturn listens over TCP at each of the four addresses, too, if that is asked for.

    coturn may not answer yet.
    """
    for address in (*OURS, *COTURNS):
        lab.public.ip(f"addr add {address}/24 dev net")
    if ipv6:
        enable_ipv6(lab.public, "net")
        for address in (*OURS_V6, *COTURNS_V6):
            lab.public.ip(f"addr add {address}/64 dev net nodad")
    ours = {
        "listeners": [{"transport": "udp", "address": OURS[0], "port": PORTS[0]}],
        "behavior_discovery": {"primary": f"{OURS[0]}:{PORTS[0]}", "alternate": f"{OURS[1]}:{PORTS[1]}"},
    }
    if tcp:
        places = itertools.product(OURS, PORTS)
        ours["listeners"] += [{"transport": "tcp", "address": ip, "port": port} for ip, port in places]
    if ipv6:
        ours["behavior_discovery"] |= {
            "primary_ipv6": f"[{OURS_V6[0]}]:{PORTS[0]}",
            "alternate_ipv6": f"[{OURS_V6[1]}]:{PORTS[1]}",
        }
    addresses = [*COTURNS, *(COTURNS_V6 if ipv6 else ())]
    options = ["--alt-listening-port", str(PORTS[1]), "-z", "--no-tls", "--no-dtls", "--no-cli"]
    options += [] if tcp else ["--no-tcp"]
    options += itertools.chain.from_iterable(("-L", address) for address in addresses)
    files = ["--log-file", "stdout", "--simple-log", "--pidfile", str(directory / "pid"), "--db", str(directory / "db")]
    line = [require_tool("turnserver"), "-n", "-p", str(PORTS[0]), *options, *files]
    with PublicServer(lab, issue(directory), directory, **ours):
        with lab.public.entered():
            coturn = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=directory)
        try:
            yield
        finally:
            coturn.terminate()
            coturn.wait(LIMIT)
