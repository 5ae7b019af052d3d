"""A user who has nothing but ``pip install meshturn``: every command works from there."""

import ast
import json
import re
import shlex
import shutil
import signal
import ssl
import urllib.request
from pathlib import Path
from urllib.parse import urljoin

import pytest

from build_backend.stage import FOLDERS
from tests.packaging.conftest import ROOT, Environment
from turnserver import __version__

UP = ("up", "--address", "127.0.0.1", "--port", "0", "--tls-port", "0", "--http-port", "0")

IMPORT_ALL = """
import importlib, meshturn, pathlib, pkgutil, sys
names = [module.name for module in pkgutil.walk_packages(meshturn.__path__, "meshturn.")]
names.remove("meshturn.testing")  # it is for pytest
for name in names:
    importlib.import_module(name)
root = pathlib.Path(meshturn.__file__).parent
files = {path.relative_to(root.parent) for path in root.rglob("*.py") if path.name not in ("__init__.py", "testing.py")}
missed = sorted(str(path) for path in files if ".".join(path.with_suffix("").parts) not in sys.modules)
print(missed, len(names) > 100, sorted({"auth", "cli", "stun", "turnserver"} & set(sys.modules)))
"""


def test_the_command_and_the_module(environment: Environment) -> None:
    """``meshturn`` and ``python -m meshturn`` are one; neither sees the checkout."""
    assert environment.output("meshturn", "--version") == f"meshturn {__version__}\n"
    assert environment.output("python", "-m", "meshturn", "--version") == f"meshturn {__version__}\n"
    where = environment.output("python", "-c", "import meshturn; print(meshturn.__file__, meshturn.__version__)")
    assert where.startswith(str(environment.folder))
    assert where.split()[-1] == __version__


def test_the_public_names_are_there(environment: Environment) -> None:
    """However they are loaded: what works in the checkout works in a wheel."""
    code = "import meshturn; print([name for name in meshturn.__all__ if getattr(meshturn, name) is None])"
    assert environment.output("python", "-c", code) == "[]\n"


def documented_imports() -> set[str]:
    """The import statements of every Python example in the README and in the documentation, those of our packages."""
    found = set()
    for page in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md")):
        for block in re.findall(
            r"^```python[^\n]*\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
        ):
            if block.startswith(">>> "):
                continue  # a session in another console, with the names of scapy
            for node in ast.walk(ast.parse(block)):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
                if {name.partition(".")[0] for name in names} & {"meshturn", *FOLDERS}:
                    found.add(ast.unparse(node))
    return found


def test_examples_import_what_is_installed(environment: Environment) -> None:
    """Documentation is for people who have a wheel: an example that says ``turnserver`` would not work for them."""
    statements = documented_imports()
    assert statements
    environment.output("python", "-c", "\n".join(sorted(statements)))


PROGRAMS = sorted(path.name for path in (ROOT / "examples").glob("*.py") if not path.name.startswith("test_"))


@pytest.mark.parametrize("name", PROGRAMS)
def test_an_example_runs(environment: Environment, name: str) -> None:
    assert environment.output("python", ROOT / "examples" / name)


def test_the_pytest_plug_in(environment: Environment, tmp_path: Path) -> None:
    """Whoever installs the package and pytest has the fixture: pytest finds the plug-in by the wheel's entry point."""
    # Beside the environment, whose packages are all named in the constraints file.
    environment.pip("install", "--quiet", "--target", tmp_path / "pytest", "pytest")
    folder = tmp_path / "suite"
    folder.mkdir()
    shutil.copy(ROOT / "examples" / "test_with_fixture.py", folder)
    env = {"PYTHONPATH": str(tmp_path / "pytest")}
    assert " passed" in environment.output(
        "python", "-m", "pytest", "-q", "-p", "no:cacheprovider", folder, cwd=folder, **env
    )


def test_every_module_can_be_imported(environment: Environment) -> None:
    """And none of them brings in a package by its name in the repository."""
    assert environment.output("python", "-c", IMPORT_ALL) == "[] True []\n"
    for name in FOLDERS:
        assert environment.run("python", "-c", f"import {name}").returncode != 0


@pytest.mark.parametrize("command", ["up", "serve", "check", "config", "credentials", "rooms", "call", "probe"])
def test_every_command_has_help(environment: Environment, command: str) -> None:
    assert environment.output("meshturn", command, "--help").startswith(f"Usage: meshturn {command}")


def test_the_example_is_a_configuration(environment: Environment, tmp_path: Path) -> None:
    """A pip user gets the commented file, and can check what they made of it."""
    example = environment.output("meshturn", "config", "example")
    assert example == (ROOT / "conf" / "meshturn.yml").read_text(encoding="utf-8")
    path = tmp_path / "meshturn.yml"
    path.write_text(example)
    assert "the configuration is valid" in environment.output("meshturn", "check", "-c", path)
    path.write_text("listeners: [{transport: pigeon}]\n")
    wrong = environment.run("meshturn", "check", "-c", path)
    assert (wrong.returncode, "pigeon" in wrong.stderr, "Traceback" in wrong.stderr) == (2, True, False)


def test_a_binding_and_a_full_probe(environment: Environment) -> None:
    """Every way in, with the credential that `up` printed, and the line to try as it was printed."""
    with environment.serving(*UP) as ready:
        udp = ready["listening"][0]["port"]
        found = json.loads(environment.output("meshturn", "probe", f"stun:127.0.0.1:{udp}", "--json"))
        assert found["ok"] is True
        assert [step["name"] for step in found["steps"]] == ["binding"]
        assert "data went through the relay" in environment.output(*shlex.split(ready["probe"]))
        password = ready["credential"]["password"]
        for uri in ready["credential"]["uris"]:
            trust = ["--ca-file", ready["certificate"]] if uri.startswith("turns:") else []
            command = ["probe", uri, "--user", ready["credential"]["username"], *trust]
            output = environment.output("meshturn", *command, MESHTURN_PASSWORD=password)
            assert "data went through the relay and came back" in output


def _get(url: str, context: ssl.SSLContext) -> tuple[str, str]:
    with urllib.request.urlopen(url, timeout=90, context=context) as answer:
        return answer.headers.get_content_type(), answer.read().decode()


def test_the_call_page_with_all_that_it_refers_to(environment: Environment) -> None:
    """The page, and every script, style and picture that can be reached from it."""
    with environment.serving(*UP) as ready:
        context = ssl.create_default_context(cafile=ready["certificate"])
        start = ready["calls"][0]
        kind, page = _get(start, context)
        assert kind == "text/html"
        fetched: dict[str, str] = {}
        wanted = {urljoin(start, found) for found in re.findall(r'(?:src|href)="([^"]+\.(?:js|css|svg))"', page)}
        while wanted:
            url = wanted.pop()
            fetched[url], text = _get(url, context)
            if url.endswith(".js"):
                found = re.findall(r"""(?:from|import|new URL)\s*\(?\s*["'](\.[^"']+\.js)["']""", text)
                wanted |= {urljoin(url, name) for name in found} - set(fetched)
        names = {url.rpartition("/")[2] for url in fetched}
        scripts = {path.name for path in (ROOT / "turnserver" / "signaling" / "page").glob("*.js")}
        apart = {"embed.js"}  # it is for other pages
        assert {name for name in names if name.endswith(".js")} == scripts - apart
        assert _get(urljoin(start, "/call-assets/embed.js"), context)[0] == "text/javascript"
        assert {"call.css", "icon.svg"} <= names
        assert {fetched[url] for url in fetched if url.endswith(".js")} == {"text/javascript"}
        assert json.loads(_get(urljoin(start, "/v1/schema.json"), context)[1])


IN_A_CHILD = """
import asyncio, time
from meshturn.turnserver.config.media import MediaConfig
from meshturn.turnserver.core.settings import OwnAddresses, RelayAddress
from meshturn.turnserver.core.types import PortRange
from meshturn.turnserver.faults import Faults
from meshturn.turnserver.sfu import Sfu

async def main():
    own = OwnAddresses((RelayAddress(bytes((127, 0, 0, 1)), bytes((127, 0, 0, 1))),))
    told = []
    sfu = Sfu(MediaConfig(), PortRange(49152, 65535), lambda: own, report=told.append, changed=lambda _: None,
              faults=Faults(), clock=time.monotonic)
    sfu.open("r", 1)
    while not sfu.rooms() and not told:
        await asyncio.sleep(0.1)
    print([room.room for room in sfu.rooms()], told)
    sfu.stop()
    await sfu.wait_closed()

asyncio.run(main())
"""


def test_the_child_process_of_the_sfu(environment: Environment) -> None:
    """It is a module that is run by name, and the build has moved it."""
    assert environment.output("python", "-c", IN_A_CHILD) == "['r'] []\n"


ADMIN_FILES = """
from meshturn.turnserver.signaling.edge.admin_page import load_admin_assets
print(*sorted(load_admin_assets()))
"""


def test_the_files_of_the_admin_page(environment: Environment) -> None:
    """All that the repository has: without them no server with rooms would start."""
    files = {path.name for path in (ROOT / "turnserver" / "signaling" / "adminpage").iterdir()}
    assert set(environment.output("python", "-c", ADMIN_FILES).split()) == files


def test_a_token_and_a_call(environment: Environment, tmp_path: Path) -> None:
    """Rooms that ask for tokens: mint one, and take part in a call with it, which is over the relay."""
    config = tmp_path / "meshturn.yml"
    secret, token = tmp_path / "secret", tmp_path / "token"
    for path, text in ((secret, "0123456789abcdef0123456789abcdef\n"), (token, "")):
        path.touch(mode=0o600)
        path.write_text(text)
    config.write_text(f"""\
listeners:
  - {{transport: udp, address: 127.0.0.1, port: 0}}
  - {{transport: shared, tls: false, address: 127.0.0.1, port: 0}}
relay: {{addresses: [127.0.0.1]}}
peers: {{allow: [127.0.0.0/8]}}
auth: {{shared_secrets: [{{secret: {{file: {secret}}}}}]}}
""")
    with environment.serving("serve", "-c", config) as ready:
        (page,) = [f"http://127.0.0.1:{one['port']}/" for one in ready["listening"] if one["transport"] == "tcp"]
        refused = environment.run("meshturn", "call", "tea", "--url", page, "--duration", "1", "--allow-empty")
        assert refused.returncode == 1
        assert "token" in refused.stdout
        minted = environment.output("meshturn", "rooms", "token", "tea", "--json", "-c", config)
        token.write_text(json.loads(minted)["token"])
        call = ["meshturn", "call", "tea", "--url", page, "--token-file", token, "--relay-only", "--stay"]
        with (
            environment.running(*call, "--echo", "--json") as echo,
            environment.running(*call, "--name", "Tone") as tone,
        ):
            tone.until("media is received", tone.errors)
            assert tone.stop(signal.SIGINT) == 0
            assert echo.stop(signal.SIGINT) == 0
        assert "Media was received from 1 of 1 in tea." in tone.output.read_text()
        (peer,) = json.loads(echo.output.read_text())["peers"]
        assert (peer["name"], peer["path"]) == ("Tone", "relay")
