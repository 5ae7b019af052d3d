"""The targets of `make fuzz`: each holds for its seeds, and for some ten thousand inputs that its branches lead to."""

import base64
import os
import platform
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.runner import TARGETS, dictionary, load, write_seeds

__all__: list[str] = []

ROOT = Path(__file__).resolve().parents[2]

RUNS = {
    "connection": 5_000,
    "core": 300,
    "core_walk": 150,
    "rooms": 200,
    "client_hello": 4_000,
    "dtls": 1_500,
    "signaling": 4_000,
    "media_connection": 2_000,
    "sdp": 2_000,
}
"""Inputs in a run of the tests, where they are fewer than 20,000 because each takes long."""

FINDINGS = {
    "percent-encoded digits are no way around the check of numeric hosts": ("uri", "dHVybjoyJTM2"),
    "a connection that cannot go on with a frame is closed at once, not at the frame's end": (
        "connection",
        "BUAAAAVAAAAHcGF5bG9hZAAAAQAAIRKkQgAAAAdwYXlsb2FkAAABAAAhEgAAAAAAAAAFpEIAAAAAAAAAAAAAQAEABW90aGVyAAA=",
    ),
    "a request and its altered copy may both wait for a look-up": (
        "core_walk",
        "c6m+9Jm79Nx70qTyyK9b2Z8meg7TGXIX3Su6FTdDblwkQePVRBBJK3iHaLz/IhjPeWwteJVyPOPGCDswkBsGToU9LchuPFMeUHAs"
        "opn+ItRImoKwB56CSrwUXPG5WAC/tISDnrOqrM74VI+KS40us/bD/rIaweR2ThVyRHX4y9/gJ2rOvwG8FV5+hmGFFujiBJLon3ZM"
        "w4PZP1285izKZKvul5vIkVr6laRc30ch+8o/5dsHnoJKvBRc8blYAL+0hIOes6qszvhUj4pLjS6z9sMUvdK/HnbgPqinc2TFh/OP"
        "+T8=",
    ),
    "a ClientHello may ask for a version of DTLS that is not known yet": (
        "dtls",
        "ABb+/wAAAAAAAAABAPYBAADqAAEAAAAAAOpiAAAAAAAAAFyIUl25lzHDunRpVR+X95bJ4zfnbHr4+Q1lABRjY2NjY2NjY2NjY2Nj"
        "Y2NjY2NjYwA2wCzAMACfzKnMqMyqwCvALwCewCTAKABrwCPAJwBnwArAFAA5wAnAEwAzAJ0AnAA9ADwANQAvAQAAdv8BAAEAAAsA"
        "AgEAAAoADAAKAB0AFwAeABgAGQAWAAAAFwAAAA0AKgAoBAMFAwYDCAcICAgJCAoICwgECAUIBgQBBQEGAQMDAwEDAgQCBQIGAgAA"
        "AA4ADAAACWxvY2FsaG9zdAAQAA8ADQlzdHVuLnR1cm4CaDI=",
    ),
}
"""What was found: a name, the target, and the input in base64, as libFuzzer prints it."""


@pytest.mark.parametrize("name", TARGETS)
def test_what_is_to_hold_holds_for_the_seeds(name: str) -> None:
    """And for none at all, and for the beginnings of each."""
    target = load(name)
    seeds = list(target.seeds())
    assert 3 <= len(seeds) <= 60
    assert any(len(seed) <= target.MAX_LENGTH for seed in seeds)
    for seed in [b"", *seeds, *(seed[: len(seed) // 2] for seed in seeds)]:
        target.run(seed)


@pytest.mark.parametrize(("target", "data"), FINDINGS.values(), ids=FINDINGS)
def test_what_was_found_stays_mended(target: str, data: str) -> None:
    """One input for each finding; what was wrong is said by its name."""
    load(target).run(base64.b64decode(data))


@pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() != "x86_64",
    reason="there are wheels of atheris for x86-64 Linux only",
)
@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.usefixtures("processes")
def test_a_short_run_finds_nothing(name: str, tmp_path: Path) -> None:
    """The same choices in every run: as many inputs, not as many seconds."""
    pytest.importorskip("atheris")
    runs = RUNS.get(name, 20_000)
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", name, f"--runs={runs}", "--seed=1", f"--folder={tmp_path}"],
        env={**os.environ, "PYTHONHASHSEED": "0"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr[-4_000:]
    count = re.search(r"^Done (\d+) runs", done.stderr, re.MULTILINE)
    assert count is not None
    assert int(count[1]) >= runs
    grown = list((tmp_path / name / "corpus").glob("[0-9a-f]" * 40))
    assert grown, "no input has led anywhere new: nothing is instrumented"


@pytest.mark.usefixtures("processes")
def test_an_input_that_fails_is_kept_and_can_be_repeated(tmp_path: Path) -> None:
    """The exit code says so, and `make fuzz` stops; without atheris it says what is missing."""
    program = (
        "import sys\n"
        "from tests.fuzz import __main__ as fuzz, runner\n"
        "if sys.argv[1] == 'none': sys.modules['atheris'] = None\n"
        "runner.load('uri').run = lambda data: 1 // (len(data) < 4)\n"
        "sys.argv[1:2] = ['uri']\n"
        "fuzz.main()\n"
    )

    def run(first: str, *options: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-c", program, first, f"--folder={tmp_path}", *options]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, errors="replace", check=False)

    without = run("none", "--runs=1")
    assert without.returncode == 2
    assert "atheris is not installed" in without.stdout
    pytest.importorskip("atheris")
    assert run("some", "--runs=1000").returncode == 77
    (kept,) = (tmp_path / "uri").glob("crash-*")
    repeated = run("some", str(kept))
    assert repeated.returncode == 77
    assert "ZeroDivisionError" in repeated.stdout + repeated.stderr


def test_seeds_are_files_and_words_are_in_hexadecimal(tmp_path: Path) -> None:
    """Twice the same seeds are the same files."""
    target = load("uri")
    assert write_seeds(target, tmp_path) == write_seeds(target, tmp_path) == len(list(tmp_path.iterdir()))
    assert dictionary([b"a\n", b'"']) == '"\\x61\\x0a"\n"\\x22"\n'
