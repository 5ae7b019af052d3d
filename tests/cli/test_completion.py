"""Completion in a shell: the scripts that the command writes, and what it answers to them."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from cli.main import meshturn

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "how-to" / "shell.md"
PATIENCE = 120.0


def answer(shell: str, words: str) -> list[str]:
    """What a shell is told when the last of these words is to be completed."""
    last = len(words.split(" ")) - 1
    # fish gives the word under the cursor itself, and the others give its number.
    env = {"_MESHTURN_COMPLETE": f"{shell}_complete", "COMP_WORDS": words, "COMP_CWORD": str(last)}
    if shell == "fish":
        env["COMP_CWORD"] = words.rpartition(" ")[2]
    done = CliRunner().invoke(meshturn, [], prog_name="meshturn", env=env)
    assert done.exit_code == 0, done.output
    return done.output.splitlines()


def completed(words: str) -> list[str]:
    return [line.removeprefix("plain,") for line in answer("bash", words)]


def test_a_command_in_each_shell() -> None:
    """`meshturn ser` is `meshturn serve`; zsh and fish show its summary as well."""
    summary = "Serve with a configuration file."
    assert answer("bash", "meshturn ser") == ["plain,serve"]
    assert answer("zsh", "meshturn ser") == ["plain", "serve", summary]
    assert answer("fish", "meshturn ser") == [f"plain,serve\t{summary}"]


def test_commands_options_values_and_files() -> None:
    """Of groups, too; a file is left to the shell."""
    assert completed("meshturn c") == ["check", "config", "credentials", "call", "conform"]
    assert completed("meshturn rooms k") == ["kick"]
    assert completed("meshturn serve --p") == ["--pid-file"]
    assert completed("meshturn rooms token --role ") == ["host", "member"]
    assert answer("bash", "meshturn serve -c me") == ["file,me"]
    assert "--version" in completed("meshturn --")
    assert completed("meshturn nonsense") == [""]


def test_completing_a_command_loads_none(processes: None) -> None:
    """A key that is pressed by the way does not wait for the whole server."""
    code = (
        "import sys; from cli.main import meshturn; import click;"
        "found = [each.value for each in meshturn.shell_complete(click.Context(meshturn), '')];"
        "loaded = {name.split('.')[0] for name in sys.modules};"
        "print(len(found), sorted(loaded & {'asyncio', 'pydantic', 'rich', 'yaml'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    count, _, loaded = done.stdout.strip().partition(" ")
    assert (int(count) > 10, loaded) == (True, "[]")


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    """An environment with the command on the path, and a home of its own."""
    program = tmp_path / "bin" / "meshturn"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m meshturn "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    path = f"{program.parent}:/usr/bin:/bin"
    return {"HOME": str(tmp_path), "PATH": path, "PYTHONPATH": str(ROOT), "LC_ALL": "C.UTF-8"}


def shell(script: str, env: dict[str, str]) -> str:
    done = subprocess.run(
        ["bash", "--norc", "-e", "-c", script], env=env, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    return done.stdout


def test_bash_completes_with_the_file_of_the_how_to(processes: None, home: dict[str, str]) -> None:
    """Written by the page's own lines, read by bash, and asked as bash asks when Tab is pressed."""
    for block in re.findall(
        r"```console\n(.*?)```", PAGE.read_text(encoding="utf-8").partition("## Manual")[0], re.DOTALL
    ):
        shell("\n".join(line.removeprefix("$ ") for line in block.splitlines()), home)
    found = shell(
        "source ~/.local/share/bash-completion/completions/meshturn\n"
        "complete -p meshturn\n"
        "COMP_WORDS=(meshturn ser) COMP_CWORD=1\n"
        "_meshturn_completion meshturn ser meshturn\n"
        'echo "${COMPREPLY[@]}"\n',
        home,
    )
    assert found.splitlines() == ["complete -o nosort -F _meshturn_completion meshturn", "serve"]
    folder = Path(home["HOME"])
    assert (folder / ".zfunc" / "_meshturn").read_text().startswith("#compdef meshturn\n")
    assert "complete --no-files --command meshturn" in (folder / ".config/fish/completions/meshturn.fish").read_text()


def test_the_line_for_bash_without_the_package(processes: None, home: dict[str, str]) -> None:
    """As it stands on the page."""
    (line,) = re.findall(r"`(eval .*?)`", PAGE.read_text(encoding="utf-8"))
    assert shell(f"{line}\ncomplete -p meshturn", home) == "complete -o nosort -F _meshturn_completion meshturn\n"
