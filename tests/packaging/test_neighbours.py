"""Beside other people's packages of the names that our folders have, in the same environment or the same project."""

import base64
import hashlib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from build_backend.stage import FOLDERS
from tests.packaging.conftest import Environment

DECOY = "raise RuntimeError('somebody else has this name')\n"


def decoy_wheel(name: str, folder: Path) -> Path:
    """A distribution with one top-level package of that name, which must not be imported by anything of ours."""
    info = f"decoy_{name}-1.0.dist-info"
    files = {
        f"{name}/__init__.py": DECOY,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: decoy-{name}\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = []
    for path, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        record.append(f"{path},sha256={digest},{len(text)}")
    files[f"{info}/RECORD"] = "\n".join([*record, f"{info}/RECORD,,", ""])
    wheel = folder / f"decoy_{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
    return wheel


def our_files(environment: Environment) -> dict[str, int]:
    (package,) = environment.folder.glob("venv/lib/python*/site-packages/meshturn")
    return {
        str(path.relative_to(package)): path.stat().st_size
        for path in package.rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }


def works(environment: Environment, cwd: Path | None = None) -> bool:
    """Everything is imported that `up` needs, the command runs, and packets go through the relay."""
    with environment.serving("up", "--address", "127.0.0.1", "--port", "0", "--no-tls", "--http-port", "0") as ready:
        command = ["probe", f"turn:127.0.0.1:{ready['listening'][0]['port']}"]
        user = ["--user", ready["credential"]["username"]]
        env = {"MESHTURN_PASSWORD": ready["credential"]["password"]}
        by_script = environment.output("meshturn", *command, *user, cwd=cwd, **env)
        by_module = environment.output("python", "-m", "meshturn", *command, *user, cwd=cwd, **env)
    return all("It works" in output for output in (by_script, by_module))


@pytest.fixture
def decoys(environment: Environment, tmp_path: Path) -> Iterator[None]:
    environment.pip("install", "--quiet", "--no-deps", *(decoy_wheel(name, tmp_path) for name in FOLDERS))
    yield
    environment.pip("uninstall", "--quiet", "--yes", *(f"decoy-{name}" for name in FOLDERS))


@pytest.mark.usefixtures("decoys")
def test_beside_packages_of_our_folders_names(environment: Environment) -> None:
    for name in FOLDERS:
        found = environment.run("python", "-c", f"import {name}")
        assert "somebody else has this name" in found.stderr
    assert works(environment)


def test_in_a_project_with_folders_of_these_names(environment: Environment, tmp_path: Path) -> None:
    """``python -m`` puts the current folder first on the path."""
    for name in FOLDERS:
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(DECOY)
    assert works(environment, tmp_path)


def test_pystun3_comes_and_goes(environment: Environment) -> None:
    """A distribution that really has a package ``stun``: its uninstall takes nothing of ours along, nor does ours."""
    before = our_files(environment)
    environment.pip("install", "--quiet", "--no-deps", "pystun3")
    assert environment.output("python", "-c", "import stun; print(callable(stun.get_ip_info))") == "True\n"
    assert works(environment)
    environment.pip("uninstall", "--quiet", "--yes", "pystun3")
    assert our_files(environment) == before
    assert works(environment)
