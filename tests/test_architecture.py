"""The structure of the code is a test: who may import whom, how long things may get, what is exported."""

import ast
import builtins
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SHIPPED = ("stun", "auth", "turnserver", "cli", "meshturn")
FOLDERS = (*SHIPPED, "build_backend")
MODULES = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))

MAX_MODULE_LINES = 600
MAX_FUNCTION_LINES = 60

IMPURE = frozenset({"asyncio", "socket", "ssl", "select", "selectors", "threading", "time", "random", "secrets", "os"})
"""What the sans-IO parts never import: time and entropy are arguments there."""

PURE = (
    "stun",
    "auth",
    "turnserver.batch",
    "turnserver.core",
    "turnserver.deadlines",
    "turnserver.descriptors",
    "turnserver.durations",
    "turnserver.histogram",
    "turnserver.media",
    "turnserver.reasons",
    "turnserver.retries",
    "turnserver.throttle",
)

PURE_LIBRARIES = frozenset({"cryptography", "OpenSSL", "precis_i18n", "pylibsrtp"})
"""Libraries that the pure parts may import: they are pure, too."""

MEDIA_WORLD = ("turnserver.media.edge", "turnserver.media.host", "turnserver.media.worker")
"""What is not pure in the media tier: its sockets and its process."""

SIGNALING_PURE = ("turnserver.signaling.protocol", "turnserver.signaling.rooms", "turnserver.signaling.truth")
"""The parts of signaling that are as pure as the core, but for the libraries they need; the edge touches the world."""

SIGNALING_LIBRARIES = frozenset({"pydantic", "pydantic_core"})

GROUND = "meshturn.root"
"""The root of all errors: the one module that everything may import."""

ALLOWED = {
    "build_backend": ("build_backend",),
    "stun": ("stun",),
    "stun.client": ("stun", "auth"),
    "auth": ("auth",),
    "turnserver.core": (
        "turnserver.core",
        "turnserver.deadlines",
        "turnserver.descriptors",
        "turnserver.reasons",
        "turnserver.throttle",
        "stun",
        "auth",
    ),
    "turnserver.relay": (
        "turnserver.relay",
        "turnserver.paths",
        "turnserver.core.types",
        "turnserver.errors",
        "turnserver.faults",
        "turnserver.registry",
        "turnserver.losses",
        "turnserver.net",
        "turnserver.receiver",
        "turnserver.streams",
        "stun",
        "turnserver.lines",
    ),
    "turnserver.transports": (
        "turnserver.transports",
        "turnserver.certificates",
        "turnserver.clients",
        "turnserver.descriptors",
        "turnserver.dtls",
        "turnserver.paths",
        "turnserver.core.types",
        "turnserver.errors",
        "turnserver.reasons",
        "turnserver.registry",
        "turnserver.losses",
        "turnserver.net",
        "turnserver.passed",
        "turnserver.proxies",
        "turnserver.receiver",
        "turnserver.streams",
        "turnserver.throttle",
        "stun",
        "turnserver.faults",
        "turnserver.lines",
    ),
    "turnserver.turnclient": ("turnserver.turnclient", "turnserver.dtls", "stun"),
    "turnserver.http": (
        "turnserver.http",
        "turnserver.errors",
        "turnserver.faults",
        "turnserver.lines",
        "turnserver.net",
        "turnserver.proxies",
        "turnserver.reached",
        "turnserver.streams",
        "stun",
    ),
    "turnserver.config": (
        "turnserver.config",
        "turnserver.durations",
        "turnserver.core.types",
        "turnserver.credentials.private",
        "turnserver.credentials.registry",
        "turnserver.credentials.signature",
        "turnserver.errors",
        "turnserver.observers.registry",
        "turnserver.registry",
        "turnserver.relay.registry",
        "turnserver.transports.registry",
        "auth",
        "stun",
    ),
    "turnserver.signaling.protocol": (
        "turnserver.signaling.protocol",
        "turnserver.errors",
        "turnserver.registry",
        "stun",
    ),
    "turnserver.signaling.truth": (
        "turnserver.signaling.truth",
        "turnserver.signaling.protocol",
        "turnserver.core.types",
        "turnserver.core.events",
        "auth",
        "stun",
    ),
    "turnserver.signaling.rooms": (
        "turnserver.signaling.rooms",
        "turnserver.signaling.truth",
        "turnserver.signaling.protocol",
        "turnserver.core.types",
        "turnserver.deadlines",
        "turnserver.throttle",
        "auth",
        "stun",
    ),
    "turnserver.signaling": (
        "turnserver.signaling",
        "turnserver.clock",
        "turnserver.core.types",
        "turnserver.core.events",
        "turnserver.errors",
        "turnserver.reached",
        "turnserver.throttle",
        "auth",
        "stun",
        "turnserver.faults",
        "turnserver.lines",
    ),
    "turnserver.observers": (
        "turnserver.observers",
        "turnserver.reasons",
        "turnserver.faults",
        "turnserver.core.types",
        "turnserver.core.events",
        "turnserver.signaling.rooms.facts",
        "turnserver.signaling.protocol",
        "turnserver.registry",
        "turnserver.throttle",
        "stun",
        "turnserver.lines",
    ),
    "turnserver.certificates": ("turnserver.errors", "turnserver.text"),
    "turnserver.credentials": (
        "turnserver.credentials",
        "turnserver.errors",
        "turnserver.faults",
        "turnserver.registry",
        "auth",
    ),
    "turnserver.clock": ("turnserver.core.types",),
    "turnserver.client": ("turnserver.client", "turnserver.signaling.protocol", "turnserver.errors", "stun"),
    "turnserver.deadlines": (),
    "turnserver.descriptors": ("turnserver.reasons",),
    "turnserver.dtls": (),
    "turnserver.durations": (),
    "turnserver.histogram": (),
    "turnserver.errors": (),
    "turnserver.faults": ("turnserver.lines", "turnserver.errors", "turnserver.text", "stun"),
    "turnserver.lines": ("turnserver.throttle", "stun"),
    "turnserver.losses": ("turnserver.lines", "turnserver.net", "turnserver.receiver", "stun"),
    "turnserver.notify": ("turnserver.text",),
    "turnserver.passed": ("turnserver.errors", "turnserver.net", "stun"),
    "turnserver.paths": (),
    "turnserver.proxies": ("stun",),
    "turnserver.reached": (),
    "turnserver.reasons": ("stun",),
    "turnserver.registry": ("turnserver.errors",),
    "turnserver.retries": ("turnserver.deadlines",),
    "turnserver.signals": (),
    "turnserver.telemetry": (
        "turnserver.telemetry",
        "turnserver.core.events",
        "turnserver.core.types",
        "turnserver.descriptors",
        "turnserver.histogram",
        "turnserver.reasons",
        "turnserver.signaling.protocol.errors",
        "turnserver.signaling.rooms.facts",
        "turnserver.signaling.truth.sentences",
        "turnserver.snapshot",
        "stun",
    ),
    "turnserver.text": (),
    "turnserver.throttle": (),
    "turnserver.media": ("turnserver.media", "turnserver.batch", "turnserver.deadlines", "turnserver.dtls", "stun"),
    "turnserver.media.edge": (
        "turnserver.media",
        "turnserver.errors",
        "turnserver.faults",
        "turnserver.net",
        "turnserver.receiver",
        "turnserver.sender",
        "stun",
    ),
    "turnserver.children": (),
    "turnserver.recordings": (
        "turnserver.recordings",
        "turnserver.children",
        "turnserver.framing",
        "turnserver.media.codecs",
        "turnserver.media.facts",
        "turnserver.media.recording",
        "turnserver.media.rtp",
    ),
    "turnserver.media.host": ("turnserver.media", "turnserver.faults", "turnserver.recordings.owner", "stun"),
    "turnserver.media.worker": (
        "turnserver.media",
        "turnserver.framing",
        "turnserver.recordings.owner",
        "turnserver.supervised",
        "stun",
    ),
    "turnserver.framing": ("turnserver.errors",),
    "turnserver.messages": ("turnserver.framing",),
    "turnserver.supervised": ("turnserver.errors", "turnserver.framing", "turnserver.messages"),
    "turnserver.supervisor": (
        "turnserver.children",
        "turnserver.errors",
        "turnserver.faults",
        "turnserver.framing",
        "turnserver.lines",
        "turnserver.messages",
        "turnserver.supervised",
        "turnserver.text",
    ),
    "turnserver.net": ("turnserver.errors", "stun"),
    "turnserver.receiver": ("turnserver.net", "stun"),
    "turnserver.batch": ("stun",),
    "turnserver.sender": ("turnserver.batch", "turnserver.net", "stun"),
    "turnserver.polling": (),
    "turnserver.streams": ("turnserver.errors", "turnserver.net", "turnserver.polling", "stun"),
}
"""Project modules that each part may import, by the longest prefix; parts not named here are the composition."""


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def tree_of(path: Path) -> ast.Module:
    """A module's syntax; every rule looks at every module, and reading takes longer than looking."""
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def imports_of(path: Path) -> frozenset[str]:
    found: set[str] = set()
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found |= {node.module or ""}
            found |= {f"{node.module}.{alias.name}" for alias in node.names if f"{node.module}.{alias.name}" in NAMES}
    return frozenset(found)


NAMES = {name_of(path) for path in MODULES}


def rule_for(name: str, table: dict[str, tuple[str, ...]]) -> tuple[str, ...] | None:
    fitting = [prefix for prefix in table if name == prefix or name.startswith(prefix + ".")]
    return table[max(fitting, key=len)] if fitting else None


def within(name: str, prefixes: tuple[str, ...]) -> bool:
    return any(name == prefix or name.startswith(prefix + ".") for prefix in prefixes)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_point_down(path: Path) -> None:
    """Siblings never import one another, and nothing imports what stands above it."""
    name = name_of(path)
    allowed = rule_for(name, ALLOWED)
    for target in imports_of(path):
        if target.split(".")[0] not in FOLDERS:
            continue
        if allowed is not None:
            assert within(target, allowed) or target in {"turnserver", GROUND}, f"{name} imports {target}"
        if not name.startswith("cli"):
            assert not within(target, ("cli",)) or name == "meshturn.__main__", f"{name} imports {target}"
        if within(name, ("auth", "stun", "turnserver")):
            assert not within(target, ("meshturn",)) or target == GROUND, f"{name} imports {target}"
        assert within(name, ("build_backend",)) or not within(target, ("build_backend",)), f"{name} imports {target}"


@pytest.mark.parametrize(
    "path",
    [path for path in MODULES if within(name_of(path), PURE) and not within(name_of(path), MEDIA_WORLD)],
    ids=name_of,
)
def test_the_sans_io_parts_are_pure(path: Path) -> None:
    """No clock, no randomness, no sockets; and hardly anything but the standard library."""
    for target in imports_of(path):
        top = target.split(".")[0]
        assert top not in IMPURE, f"{name_of(path)} imports {target}"
        known = top in SHIPPED or top in sys.stdlib_module_names or top in PURE_LIBRARIES
        assert known, f"{name_of(path)} imports {target}"


@pytest.mark.parametrize("path", [path for path in MODULES if within(name_of(path), SIGNALING_PURE)], ids=name_of)
def test_room_logic_is_pure(path: Path) -> None:
    """No clock, no randomness, no sockets, no web server in what decides about rooms."""
    for target in imports_of(path):
        top = target.split(".")[0]
        assert top not in IMPURE, f"{name_of(path)} imports {target}"
        known = top in SHIPPED or top in sys.stdlib_module_names or top in SIGNALING_LIBRARIES
        assert known, f"{name_of(path)} imports {target}"


def test_every_folder_with_modules_is_a_package() -> None:
    """The build takes packages only: a folder without ``__init__.py`` works here and is missing from every wheel."""
    folders = {folder for path in MODULES for folder in path.relative_to(ROOT).parents if folder.parts}
    assert [str(folder) for folder in sorted(folders) if not (ROOT / folder / "__init__.py").is_file()] == []


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_no_module_is_named_by_a_string(path: Path) -> None:
    """The build moves packages beneath ``meshturn`` and rewrites imports: a string would go on naming the old place."""
    tree = tree_of(path)
    text = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in text:
            assert not modules_named_in(node.value), f"line {node.lineno}: {node.value!r}"
        elif isinstance(node, ast.Call) and called(node) in BY_NAME:
            for argument in (*node.args, *(keyword.value for keyword in node.keywords)):
                named = argument.value if isinstance(argument, ast.Constant) else None
                assert not isinstance(named, str) or named.split(".")[0] not in FOLDERS, f"line {node.lineno}: {named}"
        elif isinstance(node, ast.List | ast.Tuple):
            constants = [element.value if isinstance(element, ast.Constant) else None for element in node.elts]
            for option, module in pairwise(constants):
                assert option != "-m" or module in {"meshturn", None}, f"line {node.lineno}: -m {module}"


BY_NAME = frozenset({"import_module", "__import__", "find_spec", "files", "run_module", "resolve_name", "get_data"})
"""Functions that take a module's name."""


def modules_named_in(text: str) -> list[str]:
    """Dotted names that begin with a module of ours; ``auth.users`` is none."""
    found = re.findall(rf"(?<![\w./-])((?:{'|'.join(SHIPPED)})\.\w+)", text)
    return [name for name in found if name in NAMES and not name.startswith("meshturn.")]


def test_what_counts_as_naming_a_module() -> None:
    assert modules_named_in("turnserver.relay.null:NullDatapath, stun.message") == ["turnserver.relay", "stun.message"]
    assert modules_named_in("auth.users: /a/stun.message stun.turn meshturn.http turn.stun.message") == []


def called(node: ast.Call) -> str:
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_loggers_have_names_of_their_own(path: Path) -> None:
    """All are beneath ``meshturn``, whose handler and level are configured; in a checkout ``__name__`` would not be."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Call) and called(node) == "getLogger":
            (name,) = node.args
            assert isinstance(name, ast.Constant), f"line {node.lineno}"
            assert within(str(name.value), ("meshturn",)), f"line {node.lineno}: {name.value}"


@pytest.mark.process
def test_the_ground_stands_on_nothing() -> None:
    """Importing it runs ``meshturn/__init__.py`` first, so that may load nothing of what imports the ground."""
    command = [sys.executable, "-c", f"import sys, {GROUND}; print(*sys.modules)"]
    loaded = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    assert {name for name in loaded if name.split(".")[0] in SHIPPED} == {"turnserver", "meshturn", GROUND}


def test_errors_have_one_root() -> None:
    """``except MeshturnError`` is for whatever a library user can meet; the command's own errors stay in `cli`."""
    roots = []
    for path in MODULES:
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.ClassDef) and not within(name_of(path), ("build_backend", "cli")):
                bases = [getattr(builtins, ast.unparse(base), None) for base in node.bases]
                if bases and all(isinstance(base, type) and issubclass(base, BaseException) for base in bases):
                    roots.append(f"{name_of(path)}.{node.name}")
    assert roots == ["meshturn.root.MeshturnError"]


def test_there_is_no_import_cycle() -> None:
    graph = {name_of(path): {target for target in imports_of(path) if target in NAMES} for path in MODULES}
    for name, targets in graph.items():
        graph[name] = {target for target in targets if not name.startswith(target + ".") and target != name}
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " → ".join((*trail, name))
        if name not in done:
            for target in graph[name]:
                visit(target, (*trail, name))
            done.add(name)

    for name in graph:
        visit(name, ())


BESIDE = sorted((ROOT / "scapy_turn").glob("*.py"))
"""The modules of scapy-turn, another distribution under another licence; a source distribution has none."""


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_nothing_imports_what_is_under_another_licence(path: Path) -> None:
    """The GPL ends at the folder scapy_turn: not even scapy is imported by what is shipped."""
    assert {target.split(".")[0] for target in imports_of(path)} & {"scapy", "scapy_turn"} == set()


@pytest.mark.parametrize("path", BESIDE, ids=name_of)
def test_scapy_turn_keeps_the_rules_of_size_and_names(path: Path) -> None:
    """Nothing too long, a docstring on every public name, a test file for every module with code."""
    test_nothing_is_too_long(path)
    test_every_module_says_what_it_is_and_what_it_exports(path)
    tested = ROOT / "tests" / "scapy_turn" / f"test_{path.name}"
    assert path.name in {"__init__.py", "__main__.py"} or not has_code(path) or tested.is_file()


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_nothing_is_too_long(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    assert source.count("\n") <= MAX_MODULE_LINES
    for node in functions(tree_of(path)):
        docstring = ast.get_docstring(node)
        body = (node.end_lineno or node.lineno) - node.lineno + 1 - (docstring.count("\n") + 1 if docstring else 0)
        assert body <= MAX_FUNCTION_LINES, f"{node.name}: {body} lines"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_every_module_says_what_it_is_and_what_it_exports(path: Path) -> None:
    """A docstring and an ``__all__`` whose names exist and are public; public functions and classes have docstrings."""
    if path.name == "__main__.py":
        return
    tree = tree_of(path)
    assert ast.get_docstring(tree), "no module docstring"
    exported = exports_of(tree)
    assert exported is not None, "no __all__"
    assert not [name for name in exported if name.startswith("_") and not name.startswith("__")]
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and node.name in exported:
            assert ast.get_docstring(node), f"{node.name} has no docstring"


def type_names(tree: ast.Module) -> Iterator[str]:
    """The public types that a module defines: classes, and aliases by their spelling."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            name = node.name
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name = node.targets[0].id
        elif isinstance(node, ast.AnnAssign) and ast.unparse(node.annotation) == "TypeAlias":
            name = ast.unparse(node.target)
        else:
            continue
        if name[0].isupper() and not name.isupper():
            yield name


def test_no_type_name_means_two_things() -> None:
    """One name for one thing: a public type is defined in one module of all that are shipped."""
    homes: dict[str, list[str]] = {}
    for path in MODULES:
        for name in type_names(tree_of(path)):
            homes.setdefault(name, []).append(name_of(path))
    assert len(homes) > 500, "it looks for what is there"
    assert {name: found for name, found in homes.items() if len(found) > 1} == {}


def test_every_module_has_a_test_file() -> None:
    """``stun/message.py`` is tested in ``tests/stun/test_message.py``: the tests mirror the tree."""
    missing = []
    for path in MODULES:
        relative = path.relative_to(ROOT)
        if relative.name in {"__init__.py", "__main__.py"} or not has_code(path):
            continue
        if not (ROOT / "tests" / relative.parent / f"test_{relative.name}").exists():
            missing.append(str(relative))
    assert missing == []


def test_no_module_turns_the_type_checker_off() -> None:
    for path in MODULES:
        assert not re.search(r"#\s*mypy:|type:\s*ignore\s*$", path.read_text(encoding="utf-8"), re.MULTILINE), path


LIFECYCLE = ROOT / "turnserver" / "signaling" / "rooms" / "lifecycle.py"

LIFE_TABLES = frozenset(
    {"connections", "sockets", "sessions", "peers", "held", "rooms", "leaving", "members", "waiting"}
)
"""Tables of the hub: what is put into them begins, and what is taken out of them ends."""

LIFE_FIELDS = frozenset({"connection", "session", "room", "waits_for", "closing", "farewell"})
"""What says in which state a socket, a session or a seat is."""

LIFE_CALLS = frozenset({"Close", "Revoke", "Goodbye", "seat", "unseat"})
"""What is said and done at an end: the commands to the edge, the last frame, and a room's own two operations."""


def life_and_death(tree: ast.AST) -> Iterator[str]:
    """Every place in a module that begins or ends a socket, a session or a seat, outside of constructors."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.name == "__init__":
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Subscript) and not isinstance(node.ctx, ast.Load):
            if isinstance(node.value, ast.Attribute) and node.value.attr in LIFE_TABLES:
                yield f"{node.lineno}: changes {node.value.attr}"
        elif isinstance(node, ast.Attribute) and not isinstance(node.ctx, ast.Load):
            if node.attr in LIFE_FIELDS | LIFE_TABLES:
                yield f"{node.lineno}: sets {node.attr}"
        elif isinstance(node, ast.Call):
            called = node.func
            name = called.id if isinstance(called, ast.Name) else getattr(called, "attr", "")
            if name in LIFE_CALLS:
                yield f"{node.lineno}: calls {name}"
            table = called.value if isinstance(called, ast.Attribute) else None
            if isinstance(table, ast.Attribute) and table.attr in LIFE_TABLES:
                if name in {"pop", "popitem", "clear", "setdefault", "update"}:
                    yield f"{node.lineno}: changes {table.attr}"


def test_nothing_but_the_lifecycle_ends_a_socket_a_session_or_a_seat() -> None:
    """`turnserver/signaling/rooms/lifecycle.py` has the theory; ``room.py`` its two operations, which only it calls."""
    found = {}
    for path in MODULES:
        if within(name_of(path), ("turnserver.signaling.rooms", "turnserver.signaling.edge.service")):
            found[path] = set(life_and_death(tree_of(path)))
    assert len(found.pop(LIFECYCLE)) > 30, "it looks for what is there"
    room = found.pop(LIFECYCLE.with_name("room.py"))
    assert {place.partition(": ")[2] for place in room} == {"changes members"}
    assert {str(path.relative_to(ROOT)): places for path, places in found.items() if places} == {}


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def exports_of(tree: ast.Module) -> list[str] | None:
    for node in tree.body:
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        if isinstance(target, ast.Name) and target.id == "__all__":
            value = getattr(node, "value", None)
            return [element.value for element in value.elts if isinstance(element, ast.Constant)]
    return None


def has_code(path: Path) -> bool:
    """True if a module does something: modules of plain values and protocols are tested by whoever uses them."""
    for node in functions(tree_of(path)):
        statements = node.body[1:] if ast.get_docstring(node) else node.body
        if [s for s in statements if not (isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant))]:
            return True
    return False
