"""What the kernel says of its clock."""

import sys

import pytest

from cli.doctor import clock
from cli.doctor.clock import kernel_clock


@pytest.mark.skipif(sys.platform != "linux", reason="adjtimex(2) is Linux")
def test_the_real_kernel() -> None:
    """The call works here, and the estimate of the error is one: the kernel's is at most 16 s until it gives up."""
    state = kernel_clock()
    assert 0 <= state.max_error <= 16.1
    assert isinstance(state.synchronised, bool)


def test_another_system(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without adjtimex(2) that is said, and not guessed."""
    monkeypatch.setattr(clock.sys, "platform", "darwin")
    with pytest.raises(OSError, match="only Linux"):
        kernel_clock()
