"""What the README shows works as it stands."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.certificates import issue
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
    (shown,) = re.findall(r"```yaml\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL)
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
    if "meshturn rooms" in (ROOT / page).read_text(encoding="utf-8"):
        assert loaded.config.signaling.admin_keys, "the commands with -c take their key from it"


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_python_blocks_use_the_public_api(block: str) -> None:
    """Nobody who has installed a wheel could import anything else."""
    for node in ast.walk(ast.parse(block)):
        if isinstance(node, ast.ImportFrom):
            assert (node.module or "").partition(".")[0] not in {"auth", "cli", "stun", "turnserver"}
