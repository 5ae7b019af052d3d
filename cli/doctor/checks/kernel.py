"""Settings of the kernel: buffers of sockets, the table of connection tracking, reverse path filtering, the clock."""

import shlex
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Final

from cli.doctor.findings import HostFinding, not_checked, ok, warning, wrong
from cli.doctor.host import Host
from turnserver.text import amount
from turnserver.transports.udp import RECEIVE_BUFFER, SEND_BUFFER

__all__ = ["FULL", "buffers", "clock", "conntrack", "rp_filter"]

FULL: Final = 0.8
"""The part of the table of connection tracking from which on it counts as nearly full."""

_STRICT: Final = 1
_MAX_ERROR: Final = 1.0
"""Seconds. Clocks that time servers keep are a hundred times better."""

_KEPT: Final = "/etc/sysctl.d/60-meshturn.conf"


def _set(key: str, value: int) -> tuple[str, str]:
    """The lines that set a number of the kernel's now, and after the next start."""
    name = key if "." in key else key.replace("/", ".")
    return shlex.join(["sysctl", "-w", f"{name}={value}"]), f"echo {shlex.quote(f'{name} = {value}')} >> {_KEPT}"


async def buffers(host: Host) -> list[HostFinding]:
    """Whether the kernel grants the buffers that listeners ask for (`turnserver.transports.udp`)."""
    found = []
    for key, needed, what in (
        ("net/core/rmem_max", RECEIVE_BUFFER, "receiving"),
        ("net/core/wmem_max", SEND_BUFFER, "sending"),
    ):
        name, granted = key.replace("/", "."), host.sysctl(key)
        if granted is None:
            found.append(not_checked(f"{name} cannot be read here; inside a container, the host's kernel has it."))
        elif granted < needed:
            found.append(
                warning(
                    f"{name} is {granted}: the buffers for {what} get {amount(granted)} instead of {amount(needed)}.",
                    "When many packets arrive at once the kernel drops those that find no room.",
                    *_set(key, needed),
                )
            )
        else:
            found.append(ok(f"{name} is {granted}, enough for {what}."))
    return found


async def conntrack(host: Host) -> list[HostFinding]:
    """Whether the table of connection tracking has room for the limits of the configuration."""
    most, count = (host.sysctl(f"net/netfilter/nf_conntrack_{each}") for each in ("max", "count"))
    if not (host.proc / "sys" / "net").is_dir():
        return [not_checked("The settings of the kernel cannot be read here (no /proc/sys/net).")]
    if most is None or count is None:
        return [ok("The kernel tracks no connections (nf_conntrack is not loaded): nothing can fill up.")]
    limits = host.config.limits
    needed = 2 * limits.allocations + (limits.connections if host.config.has_streams else 0)
    key, why = (
        "net/netfilter/nf_conntrack_max",
        "When the table is full, the kernel drops packets of new clients and peers.",
    )
    if count >= most * FULL:
        grade = wrong if count >= most else warning
        return [grade(f"{count} of {most} tracked connections are in use.", why, *_set(key, max(2 * most, needed)))]
    if most < needed:
        return [
            warning(
                f"The kernel tracks {most} connections at most, and the limits of the configuration may need {needed} "
                "(one for each client, one for each peer).",
                why,
                *_set(key, needed),
            )
        ]
    return [ok(f"{count} of {most} tracked connections are in use; the limits may need {needed}.")]


async def rp_filter(host: Host) -> list[HostFinding]:
    """Strict reverse path filtering, with which a host of several interfaces loses packets (RFC 3704 §2.2)."""
    carrying = [each for each in host.interfaces() if any(_is_outer(ip) for ip in each.addresses)]
    common = host.sysctl("net/ipv4/conf/all/rp_filter")
    if common is None:
        return [not_checked("net.ipv4.conf.all.rp_filter cannot be read here.")]
    strict = []
    for interface in carrying:
        own = host.sysctl(f"net/ipv4/conf/{interface.name}/rp_filter")
        if own is not None and max(own, common) == _STRICT:
            strict.append(interface.name)
    if not strict:
        return [ok("No interface filters packets by strict reverse path (rp_filter).")]
    named = ", ".join(strict)
    if len(carrying) < 2:
        return [ok(f"rp_filter is strict on {named}, which does no harm with a single interface.")]
    lines = [line for name in strict for line in _set(f"net/ipv4/conf/{name}/rp_filter", 2)]
    return [
        warning(
            f"rp_filter is strict on {named}, and this host has {len(carrying)} interfaces with addresses.",
            "The kernel silently drops packets that arrive on another interface than the one that answers would leave "
            "by, so clients or peers of some networks are not heard.",
            *lines,
        )
    ]


def _is_outer(ip: bytes) -> bool:
    return len(ip) == 4 and not ip_address(ip).is_loopback


async def clock(host: Host) -> list[HostFinding]:
    """Whether a time server keeps the clock, as far as the kernel knows."""
    return list(_clock(host))


def _clock(host: Host) -> Iterator[HostFinding]:
    why = (
        "Credentials and room tokens that other hosts issue carry times, and so do certificates: with a wrong clock "
        "they are refused as expired, or as not valid yet."
    )
    mend = ("timedatectl set-ntp true", "timedatectl timesync-status    # or: chronyc tracking")
    try:
        state = host.clock()
    except OSError as error:
        yield not_checked(f"The kernel does not tell about its clock ({error.strerror or error}).")
        return
    now = f"{host.wall():%Y-%m-%d %H:%M:%S UTC}"
    if not state.synchronised:
        yield warning(f"No time server keeps this clock, as far as the kernel knows; it says {now}.", why, *mend)
    elif state.max_error > _MAX_ERROR:
        yield warning(f"The clock may be off by {state.max_error:.1f} s; it says {now}.", why, *mend)
    else:
        yield ok(f"A time server keeps the clock; it is off by {state.max_error * 1000:.0f} ms at most, at {now}.")
