"""Fuzz one target: ``python -m tests.fuzz codec --seconds 60``; ``make fuzz`` does it for all, one after the other.

What libFuzzer finds worth keeping stays in ``.fuzz/TARGET/corpus``, so the next run goes on from there. An input that
fails is a file in ``.fuzz/TARGET``, and its name is printed; ``python -m tests.fuzz TARGET FILE`` repeats it.
"""

import argparse
import sys
from pathlib import Path

from tests.fuzz.runner import INSTRUMENTED, TARGETS, dictionary, load, write_seeds

__all__ = ["main"]

NEITHER = 2
"""Exit code without atheris."""


def main() -> None:
    """Run until the limit, or until an input fails; the exit code is libFuzzer's."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Fuzz one target.")
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("inputs", nargs="*", type=Path, help="files to repeat, instead of looking for new inputs")
    parser.add_argument("--seconds", type=int, default=0, help="stop after so long (default: after --runs)")
    parser.add_argument("--runs", type=int, default=-1, help="stop after so many inputs")
    parser.add_argument("--seed", type=int, default=0, help="of the random choices; 0 is another one in each run")
    parser.add_argument("--folder", type=Path, default=Path(".fuzz"), help="where corpora are kept (default: .fuzz)")
    arguments = parser.parse_intermixed_args()
    try:
        import atheris
    except ImportError:
        print(
            "fuzz: atheris is not installed; there are wheels of it for CPython on x86-64 Linux (pip install atheris)"
        )
        raise SystemExit(NEITHER) from None

    folder = arguments.folder / arguments.target
    # The module of a target imports what it tests, which can be instrumented only then.
    with atheris.instrument_imports(include=list(INSTRUMENTED)):
        target = load(arguments.target)
    seeds = write_seeds(target, folder / "corpus")
    words = folder / "words"
    words.write_text(dictionary(target.WORDS))
    options = [
        *([f"-dict={words}"] if target.WORDS else []),
        f"-max_len={target.MAX_LENGTH}",
        f"-max_total_time={arguments.seconds}",
        f"-runs={arguments.runs}",
        f"-seed={arguments.seed}",
        f"-artifact_prefix={folder}/",
        "-timeout=20",
        "-rss_limit_mb=1024",
        "-reload=0",
        "-print_final_stats=1",
        "-verbosity=1",
    ]
    inputs = [str(path) for path in arguments.inputs] or [str(folder / "corpus")]
    print(f"fuzz: {arguments.target}, {seeds} seeds", flush=True)
    atheris.Setup([sys.argv[0], *options, *inputs], target.run)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
