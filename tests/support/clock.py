"""A clock that a test turns by hand."""

__all__ = ["Clock"]


class Clock:
    """Monotonic seconds that move when the test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        """Now."""
        return self.now
