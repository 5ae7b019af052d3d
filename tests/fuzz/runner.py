"""What a coverage-guided run of a target needs: the targets there are, their seeds in files, and libFuzzer's options.

A target is a module in `tests/fuzz/targets`. It says how long an input may be (``MAX_LENGTH``, bytes), what words of
the format are (``WORDS``), what a run begins with (``seeds``), and what is to hold for any input (``run``, which raises
otherwise).
"""

from collections.abc import Callable, Iterable
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

__all__ = ["INSTRUMENTED", "TARGETS", "Target", "dictionary", "load", "write_seeds"]

FOLDER = Path(__file__).parent / "targets"
TARGETS = sorted(path.stem for path in FOLDER.glob("[a-z]*.py"))
"""Names of all targets."""

INSTRUMENTED = ("stun", "auth", "turnserver")
"""The packages whose branches guide the search."""


class Target(Protocol):
    """The module of a target."""

    MAX_LENGTH: int
    WORDS: tuple[bytes, ...]
    seeds: Callable[[], Iterable[bytes]]
    run: Callable[[bytes], None]


def load(name: str) -> Target:
    """The target of that name."""
    return cast(Target, import_module(f"tests.fuzz.targets.{name}"))


def dictionary(words: Iterable[bytes]) -> str:
    """Words as libFuzzer reads them: one a line, in quotes, bytes in hexadecimal."""
    return "".join('"' + "".join(f"\\x{byte:02x}" for byte in word) + '"\n' for word in words)


def write_seeds(target: Target, folder: Path) -> int:
    """Write every seed that is not too long into a file of its own; how many there are."""
    folder.mkdir(parents=True, exist_ok=True)
    seeds = sorted({seed for seed in target.seeds() if len(seed) <= target.MAX_LENGTH})
    for number, seed in enumerate(seeds):
        (folder / f"seed-{number:04d}").write_bytes(seed)
    return len(seeds)
