"""What users install: source distribution and wheel of this tree, and an environment that has nothing but the wheel."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, NamedTuple

import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PATIENCE = 90.0
"""Seconds that a command may take on a busy machine."""
BUILD_PATIENCE = 600.0
"""The same for builds and installs, which may have to fetch packages."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A build may have to fetch packages."""
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.timeout(BUILD_PATIENCE))


def pip_environment(**more: str) -> dict[str, str]:
    """This process's environment without what would let an interpreter see the checkout."""
    env = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    return {**env, "PIP_DISABLE_PIP_VERSION_CHECK": "1", **more}


def checked(command: Sequence[object], cwd: Path, **more: str) -> str:
    """The standard output of a command that has to succeed."""
    done = subprocess.run(
        [*map(str, command)],
        cwd=cwd,
        env=pip_environment(**more),
        capture_output=True,
        text=True,
        timeout=BUILD_PATIENCE,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    return done.stdout


@pytest.fixture(scope="session")
def tracked() -> frozenset[str]:
    """The files of the repository as they are now; those that git is told to ignore are not among them."""
    if not (ROOT / ".git").exists():
        pytest.skip("this is no git checkout, so nobody says which files belong to it")
    listed = checked(["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"], ROOT)
    return frozenset(name for name in listed.split("\0") if name and (ROOT / name).is_file())


@pytest.fixture(scope="session")
def checkout(tracked: frozenset[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the tree as a fresh clone would be: builds neither see nor leave anything in ours."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in tracked:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    return folder


class Built(NamedTuple):
    """The source distribution, and the wheel that was made from it."""

    sdist: Path
    wheel: Path


@pytest.fixture(scope="session")
def built(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Build as a release is built: the source distribution, and from that alone the wheel."""
    folder = tmp_path_factory.mktemp("dist")
    checked([sys.executable, "-m", "build", "--outdir", folder, checkout], folder)
    (sdist,) = folder.glob("*.tar.gz")
    (wheel,) = folder.glob("*.whl")
    return Built(sdist, wheel)


class Environment:
    """A virtual environment, and commands that see nothing else of this machine's Python."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.scripts = folder / "venv" / "bin"
        checked([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], folder)
        self.home.mkdir()

    @property
    def env(self) -> dict[str, str]:
        return {
            "PATH": f"{self.scripts}:/usr/bin:/bin",
            "HOME": str(self.home),
            "LC_ALL": "C.UTF-8",
            "COLUMNS": "100",
        }

    def pip(self, *arguments: object) -> str:
        """Run this process's pip on the environment, which has nothing but what is installed into it."""
        return checked([sys.executable, "-m", "pip", "--python", self.scripts / "python", *arguments], self.folder)

    def run(self, *command: object, cwd: Path | None = None, **env: str) -> "subprocess.CompletedProcess[str]":
        """Run a program of the environment to its end: ``run("meshturn", "check")``."""
        program, *arguments = map(str, command)
        return subprocess.run(
            [str(self.scripts / program), *arguments],
            env={**self.env, **env},
            cwd=cwd or self.home,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )

    def output(self, *command: object, cwd: Path | None = None, **env: str) -> str:
        """The standard output of a program that has to succeed."""
        done = self.run(*command, cwd=cwd, **env)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    @contextmanager
    def running(self, *command: object) -> Iterator["Running"]:
        """A program of the environment while it runs; killed at the end if it has not ended by itself."""
        program, *arguments = map(str, command)
        running = Running([str(self.scripts / program), *arguments], self)
        try:
            yield running
        finally:
            running.kill()

    @contextmanager
    def serving(self, *arguments: object) -> Iterator[dict[str, Any]]:
        """A server while it runs, and what it says of itself when it is ready; it has to end well."""
        with self.running("meshturn", *arguments, "--json") as server:
            server.until("\n", server.output)
            yield json.loads(server.output.read_text())
            assert server.stop(signal.SIGTERM) == 0, server.errors.read_text()
            assert "Traceback" not in server.errors.read_text()


class Running:
    """A process and what it has written, in files: it never waits for somebody to read."""

    def __init__(self, command: list[str], environment: Environment) -> None:
        folder = Path(mkdtemp(dir=environment.folder))
        self.output, self.errors = folder / "output", folder / "errors"
        with self.output.open("wb") as output, self.errors.open("wb") as errors:
            self._process = subprocess.Popen(
                command,
                env=environment.env,
                cwd=environment.home,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
            )

    def until(self, words: str, file: Path) -> None:
        """Wait until there are these words in a file; fails when the process ends first."""
        give_up = time.monotonic() + PATIENCE
        while words not in file.read_text():
            ended = self._process.poll() is not None and words not in file.read_text()
            if ended or time.monotonic() > give_up:
                pytest.fail(f"no {words!r}:\n{self.output.read_text()}\n{self.errors.read_text()}")
            time.sleep(0.05)

    def stop(self, number: int) -> int:
        """Send a signal; the exit code."""
        self._process.send_signal(number)
        return self._process.wait(PATIENCE)

    def kill(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()


@pytest.fixture(scope="session")
def environment(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """A clean environment outside the checkout, with the wheel and what it needs, as the constraints file says."""
    environment = Environment(tmp_path_factory.mktemp("environment"))
    environment.pip(
        "install", "--quiet", "--no-compile", "-c", ROOT / "conf" / "constraints.txt", f"{built.wheel}[call,media]"
    )
    return environment
