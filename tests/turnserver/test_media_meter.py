"""What a packet costs in the SFU's processes, by samples that the test makes."""

import os
import subprocess
import sys

import pytest

from stun.address import Address
from turnserver.media.stats import MediaRoomView
from turnserver.media_meter import MediaMeter, cpu_time

HERE = Address.parse("192.0.2.1", 5000)


class Bench:
    """A meter with a clock and processes of the test."""

    def __init__(self) -> None:
        self.time = 100.0
        self.cpu: dict[int, float | None] = {1: 5.0}
        self.meter = MediaMeter(lambda: self.time, self.cpu_of)

    def cpu_of(self, pid: int) -> float | None:
        return self.cpu.get(pid)

    def look(self, *rooms: MediaRoomView) -> float | None:
        view = self.meter.view([HERE], rooms, self.cpu)
        assert view.addresses == (HERE,)
        assert view.rooms == rooms
        return view.cpu_per_packet


def room(name: str, came: int, went: int, epoch: int = 1) -> MediaRoomView:
    return MediaRoomView(name, epoch, None, came, went, ())


def test_the_cost_of_a_packet() -> None:
    """CPU time between two samples, by the packets in and out between them; too soon, it is that of before."""
    bench = Bench()
    assert bench.look(room("a", 1000, 5000)) is None
    bench.time, bench.cpu[1] = 102.0, 5.5
    assert bench.look(room("a", 2000, 9000)) == pytest.approx(0.5 / 5000)
    bench.time, bench.cpu[1] = 102.5, 50.0
    assert bench.look(room("a", 2001, 9001)) == pytest.approx(0.5 / 5000)
    bench.time = 104.0
    assert bench.look(room("a", 3000, 10_000)) == pytest.approx(44.5 / 2000)


def test_only_what_both_samples_have_counts() -> None:
    """A room that has ended or begun, a room in another epoch, and a process that was started again."""
    bench = Bench()
    bench.look(room("a", 1000, 0), room("gone", 9**9, 0), room("b", 0, 0))
    bench.time, bench.cpu = 102.0, {1: 6.0, 2: 77.0}
    assert bench.look(room("a", 2000, 0), room("new", 9**9, 0), room("b", 9**9, 0, epoch=2)) == pytest.approx(0.001)


def test_too_few_packets_say_nothing() -> None:
    """Nor do processes of which the system tells nothing, or of which there are none."""
    bench = Bench()
    bench.look(room("a", 0, 0))
    bench.time, bench.cpu[1] = 102.0, 6.0
    assert bench.look(room("a", 50, 49)) is None
    bench.time, bench.cpu[1] = 104.0, None
    assert bench.look(room("a", 5000, 5000)) is None
    bench.time, bench.cpu = 106.0, {}
    assert bench.look(room("a", 9000, 9000)) is None


@pytest.mark.usefixtures("processes")
def test_the_cpu_time_of_a_process() -> None:
    """By /proc, whatever the command is called; None when there is no such process."""
    if not os.path.exists("/proc/self/stat"):
        assert cpu_time(os.getpid()) is None
        return
    before = cpu_time(os.getpid())
    assert before is not None
    assert before > 0
    code = "import ctypes, sys; ctypes.CDLL(None).prctl(15, b') R 9 (x'); print(flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        found = cpu_time(child.pid)
        child.communicate(b"")
    assert found is not None
    assert 0 <= found < 60
    assert cpu_time(child.pid) is None
