"""What the README shows works as it stands."""

import ast
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.certificates import issue
from tests.support.netns import NetworkNamespace
from tests.support.process import wait_until
from turnserver.config import load

ROOT = Path(__file__).resolve().parent.parent
BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
PROGRAMS = [block for block in BLOCKS if "asyncio.run(main())" in block]
"""Blocks that are programs; the others are parts of somebody's test suite."""


@pytest.mark.process
def test_the_embedded_server_relays_as_printed() -> None:
    """As a program of its own, in the repository's root: a client, a relay and a peer, all on loopback."""
    (program,) = PROGRAMS
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    listening, peer = done.stdout.splitlines()
    assert re.fullmatch(r"listening on udp 127\.0\.0\.1:[1-9][0-9]*", listening)
    assert re.fullmatch(r"the peer has b'hello' from (127\.0\.0\.1:[1-9][0-9]*), which is the relay \1", peer)


@pytest.mark.parametrize("page", ["README.md", "docs/how-to/production.md"])
def test_the_configuration_is_valid(page: str, tmp_path: Path) -> None:
    """As printed, with files of the test in place of those in ``/etc/meshturn``."""
    shown, *_ = re.findall(r"```yaml\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL)
    pair = issue(tmp_path)
    for name in ("secret", "admin.key"):
        (tmp_path / name).write_text("0123456789abcdef" * 2, encoding="utf-8")
        (tmp_path / name).chmod(0o600)
    written = tmp_path / "meshturn.yml"
    text = shown.replace("/etc/meshturn/fullchain.pem", str(pair.certificate))
    text = text.replace("/etc/meshturn/privkey.pem", str(pair.key)).replace("/etc/meshturn", str(tmp_path))
    written.write_text(text, encoding="utf-8")
    loaded = load(written)
    assert loaded.warnings == ()
    if re.search("meshturn rooms (?!token)", (ROOT / page).read_text(encoding="utf-8")):
        assert loaded.config.signaling.admin_keys, "the commands with -c take their key from it"


def shell_lines() -> list[str]:
    """The commands of the tour that need nothing but the configuration of the tour, in order."""
    text = (ROOT / "README.md").read_text(encoding="utf-8").partition("## A five-minute tour")[2]
    blocks = re.findall(r"```console\n(.*?)```", text, re.DOTALL)
    lines = [line.removeprefix("$ ").partition("   #")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if "/etc/meshturn" in line or "-c meshturn.yml" in line]


def test_the_tour_runs_as_written(processes: None, tmp_path: Path) -> None:
    """Kind: documentation that works only where it was written.

    Its configuration and its commands, with ports and all, on a host of its own; only `/etc/meshturn` is elsewhere,
    and the participant to remove has another id.
    """
    (shown,) = re.findall(r"```yaml\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "meshturn.yml").write_text(shown.replace("/etc/meshturn", str(tmp_path)), encoding="utf-8")
    pair = issue(tmp_path)
    pair.certificate.rename(tmp_path / "fullchain.pem")
    pair.key.rename(tmp_path / "privkey.pem")
    shell = {**os.environ, "PYTHONPATH": str(ROOT)}
    meshturn = f'meshturn() {{ {shlex.quote(sys.executable)} -m meshturn "$@"; }}; '

    def run(line: str) -> str:
        line = line.replace("/etc/meshturn", str(tmp_path))
        done = subprocess.run(
            ["sh", "-c", meshturn + line],
            cwd=tmp_path,
            env=shell,
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
        assert done.returncode == 0, f"{line}: {done.stderr}"
        return done.stdout

    def start(*arguments: str) -> "subprocess.Popen[str]":
        command = [sys.executable, "-m", "meshturn", *arguments]
        return subprocess.Popen(command, cwd=tmp_path, env=shell, stdout=subprocess.PIPE, text=True)

    lines = shell_lines()
    assert len(lines) == 10
    running: list[subprocess.Popen[str]] = []
    with NetworkNamespace() as host, host.entered():
        host.ip("addr add 10.0.0.5/32 dev lo")
        try:
            for line in lines:
                if line.startswith("meshturn serve"):
                    running.append(start(*shlex.split(line)[1:]))
                    assert running[0].stdout is not None
                    while running[0].stdout.readline() not in {"ready\n", ""}:
                        pass
                elif line.startswith("meshturn rooms token"):
                    token = re.search(r"token +(ey\S+)", run(line))
                    assert token is not None
                    (tmp_path / "token").write_text(token[1])
                    where = ("--url", "https://127.0.0.1", "--insecure", "--token-file", "token")
                    running.append(start("call", "standup", *where, "--listen", "--stay", "--allow-empty"))
                    wait_until(lambda: "standup" in run("meshturn rooms list -c meshturn.yml"), "the room")
                elif line.startswith("meshturn rooms kick"):
                    peer = re.search(
                        r"^([a-z2-7]{10}) ", run("meshturn rooms show standup -c meshturn.yml"), re.MULTILINE
                    )
                    assert peer is not None
                    run(line.replace("k3vq7abcde", peer[1]))
                else:
                    run(line)
            _, call = running
            out, _ = call.communicate(timeout=90)
            assert "kicked" in out
        finally:
            for process in running:
                process.terminate()
                process.communicate(timeout=90)


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_python_blocks_use_the_public_api(block: str) -> None:
    """Nobody who has installed a wheel could import anything else."""
    for node in ast.walk(ast.parse(block)):
        if isinstance(node, ast.ImportFrom):
            assert (node.module or "").partition(".")[0] not in {"auth", "cli", "stun", "turnserver"}
