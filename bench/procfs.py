"""Data from ``/proc`` on processes and cores: CPU time, resident memory, and the load by other processes."""

import os
from pathlib import Path
from typing import NamedTuple

__all__ = ["CoreTimes", "core_times", "cpu_seconds", "model_name", "process_tree", "resident_bytes"]

_TICK = 1.0 / os.sysconf("SC_CLK_TCK")


class CoreTimes(NamedTuple):
    """Seconds some cores have spent busy in total, and those taken away by the hypervisor (part of busy)."""

    busy: float
    stolen: float


def process_tree(pid: int) -> list[int]:
    """*pid* and every descendant alive now, of all threads."""
    found = [pid]
    for parent in found:
        try:
            tasks = list(Path(f"/proc/{parent}/task").iterdir())
        except OSError:
            continue
        for task in tasks:
            try:
                found.extend(int(child) for child in (task / "children").read_text().split())
            except OSError:
                continue
    return found


def cpu_seconds(pid: int) -> float:
    """User and system time of a process, its threads and its descendants, those already reaped included.

    ``/proc/PID/stat`` sums the threads of a process, dead ones too; a reaped child's time has moved to its
    parent's ``cutime`` and ``cstime``, so nothing is lost or counted twice. Resolution: one clock tick (10 ms).
    """
    return sum(_process_cpu(member) for member in process_tree(pid))


def _process_cpu(pid: int) -> float:
    """utime + stime + cutime + cstime of one process, 0 when it has gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0.0
    # The command name may hold spaces and parentheses; the numbers start after the last one (field 3, the state).
    fields = stat.rpartition(")")[2].split()
    return sum(int(field) for field in fields[11:15]) * _TICK


def resident_bytes(pid: int) -> int:
    """VmRSS of a process and its descendants, in bytes."""
    total = 0
    for member in process_tree(pid):
        try:
            status = Path(f"/proc/{member}/status").read_text()
        except OSError:
            continue
        for line in status.splitlines():
            if line.startswith("VmRSS:"):
                total += int(line.split()[1]) * 1024
    return total


def core_times(cpus: frozenset[int] | None) -> CoreTimes:
    """How long *cpus* (all if None) have been busy since the machine started, with any process."""
    wanted = None if cpus is None else {f"cpu{cpu}" for cpu in cpus}
    busy = stolen = 0
    for line in Path("/proc/stat").read_text().splitlines():
        name, *numbers = line.split()
        if not name.startswith("cpu") or name == "cpu" or (wanted is not None and name not in wanted):
            continue
        user, nice, system, _idle, _iowait, irq, softirq, steal = (int(number) for number in numbers[:8])
        busy += user + nice + system + irq + softirq + steal
        stolen += steal
    return CoreTimes(busy * _TICK, stolen * _TICK)


def model_name() -> str:
    """The processor's name as the kernel gives it, or "unknown"."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return "unknown"
    for line in lines:
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return "unknown"
