"""Files and environments: every problem at once, with its line, and no other error whatever they hold."""

import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from turnserver.config import MAX_FILE_BYTES, Config, load, load_mapping
from turnserver.config.environment import variables
from turnserver.config.loader import MAX_PROBLEMS
from turnserver.errors import ConfigError, Problem

HUSH = "hunter2hunter2hunter2"

EVERYTHING_WRONG = f"""\
realm: 1234
listenrs: []
listeners:
  - transport: sctp
    adress: 192.0.2.1
    port: 70000
relay:
  ports: 100-200
  external: {{10.0.0.1: "::1", 10.0.0.1: 192.0.2.1}}
auth:
  users:
    alice: {HUSH}
    bob: 1234
    "": {HUSH}
  shared_secrets:
    - {HUSH}
    - {{file: missing}}
    - {{{HUSH}: 1}}
    - {{env: MISSING}}
    - secret: {HUSH}
      hash: md5
peers:
  allow:
    - 10.1.2.3/8
    - banana
  deny: 3
limits:
  default_lifetime: 1h
  allocatoins: 3
  max_lifetime: 5m
log: text
"""


def write(folder: Path, text: str | bytes) -> Path:
    path = folder / "meshturn.yml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    path.chmod(0o600)
    return path


def problems_of(path: Path | None, environ: dict[str, str] | None = None, *, strict: bool = False) -> list[Problem]:
    with pytest.raises(ConfigError) as caught:
        load(path, environ or {}, strict=strict)
    assert caught.value.source == (str(path) if path else "environment")
    return caught.value.problems


def test_no_file_is_the_defaults() -> None:
    loaded = load(None, {})
    assert loaded.config == Config()
    assert loaded.source == "environment"
    assert len(loaded.warnings) == 1


@pytest.mark.parametrize("text", ["", "\n", "# nothing\n", "---\n", "\ufeff", "{}", "~"])
def test_empty_file_is_the_defaults(tmp_path: Path, text: str) -> None:
    path = write(tmp_path, text)
    assert load(path, {}).config == Config()
    assert load(path, {}).source == str(path)


def test_a_whole_configuration(tmp_path: Path) -> None:
    (tmp_path / "turn.secret").write_text(f"{HUSH}\n")
    (tmp_path / "turn.secret").chmod(0o600)
    path = write(tmp_path, "auth: {shared_secrets: [{file: turn.secret}]}\nlimits:\n  max_lifetime: 2h\n")
    loaded = load(path, {"MESHTURN_REALM": "example.org", "MESHTURN_LIMITS__ALLOCATIONS": "5", "HOME": "/"})
    assert loaded.config.auth.shared_secrets[0].secret.get_secret_value() == HUSH
    assert (loaded.config.realm, loaded.config.limits.allocations, loaded.config.limits.max_lifetime) == (
        "example.org",
        5,
        7200,
    )
    assert loaded.warnings == ()
    assert HUSH not in repr(loaded)


def test_every_problem_at_once_with_its_line(tmp_path: Path) -> None:
    problems = problems_of(write(tmp_path, EVERYTHING_WRONG))
    assert [(problem.line, problem.key) for problem in problems] == [
        (1, "realm"),
        (2, "listenrs"),
        (4, "listeners[0].transport"),
        (4, "listeners[0].address"),
        (5, "listeners[0].adress"),
        (6, "listeners[0].port"),
        (8, "relay.ports"),
        (9, "relay.external.'10.0.0.1'"),
        (13, "auth.users.bob"),
        (14, "auth.users.''"),
        (17, "auth.shared_secrets[1]"),
        (18, "auth.shared_secrets[2]"),
        (19, "auth.shared_secrets[3]"),
        (21, "auth.shared_secrets[4].hash"),
        (24, "peers.allow[0]"),
        (25, "peers.allow[1]"),
        (26, "peers.deny"),
        (29, "limits.allocatoins"),
        (30, "limits.max_lifetime"),
        (31, "log"),
    ]
    assert HUSH not in str(problems)
    assert all(problem.found and problem.allowed for problem in problems)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("realm: [a]", Problem("realm", 1, "a list", "a text of 1 to 127 characters")),
        ("\nlog: {level: loud}", Problem("log.level", 2, "'loud'", "debug or info or warning or error")),
        ("limits: {allocations: many}", Problem("limits.allocations", 1, "'many'", "a whole number from 1 to 1000000")),
        ("auth:\n  nonce_lifetime: 2h", Problem("auth.nonce_lifetime", 2, "'2h'", "a time from 1m to 1h")),
        ("auth:\n  strict_expiry: yes", Problem("auth.strict_expiry", 2, "'yes'", "true or false")),
        ("peers: {deny: [10.1.2.3/8]}", Problem("peers.deny[0]", 1, "'10.1.2.3/8'", "the network 10.0.0.0/8")),
        ("listeners:\n- {port: 1}", Problem("listeners[0].address", 2, "nothing", "an IPv4 or IPv6 address")),
        (
            "relay: {prots: 1}",
            Problem("relay.prots", 1, "an unknown key", "one of addresses, external, stun_server, default_family"),
        ),
        ("- a", Problem("", 1, "a list", "a mapping of options")),
        ("\n\ntext", Problem("", 3, "a text", "a mapping of options")),
        ("a: [", Problem("", 1, "expected the node content, but found '<stream end>'", "YAML")),
        ("realm: a\nrealm: b", Problem("realm", 2, "the same key again (first on line 1)", "it once")),
    ],
)
def test_what_is_said_of_one_problem(tmp_path: Path, text: str, problem: Problem) -> None:
    (said,) = problems_of(write(tmp_path, text))
    assert said[:3] == problem[:3]
    assert said.allowed.startswith(problem.allowed)


def test_a_near_miss_is_named(tmp_path: Path) -> None:
    (said,) = problems_of(write(tmp_path, "relay: {prots: 1}"))
    assert said.allowed.endswith("(did you mean ports?)")


def test_problems_of_the_environment_name_the_variable(tmp_path: Path) -> None:
    environ = {
        "MESHTURN_LOG__LEVEL": "loud",
        "MESHTURN_LGO__LEVEL": "x",
        "MESHTURN_AUTH__SEPARATOR": "[",
        "MESHTURN_CONFIG": "y",
    }
    problems = problems_of(write(tmp_path, "\nlog: {level: info}\nsoftware: 3"), environ)
    assert [(problem.key, problem.line) for problem in problems] == [
        ("software", 3),
        ("log.level", 0),
        ("MESHTURN_AUTH__SEPARATOR", 0),
        ("MESHTURN_LGO__LEVEL", 0),
    ]
    assert problems[1].found == "'loud' (from MESHTURN_LOG__LEVEL)"


def test_foreign_variables_of_the_environment_are_warnings(tmp_path: Path) -> None:
    loaded = load(write(tmp_path, "realm: a"), {"MESHTURN_RELM": "x", "MESHTURN_PORT": "udp://10.96.7.7:3478"})
    assert loaded.config.realm == "a"
    assert [warning for warning in loaded.warnings if "MESHTURN_" in warning] == [
        "The environment variable MESHTURN_RELM is not an option of meshturn and is ignored "
        "(did you mean MESHTURN_REALM?)."
    ]


def test_environment_by_itself() -> None:
    assert [problem.key for problem in problems_of(None, {"MESHTURN_RELAY__PORTS": "1-2"})] == ["relay.ports"]


def test_a_broken_file_does_not_hide_a_broken_environment(tmp_path: Path) -> None:
    problems = problems_of(write(tmp_path, "a: ["), {"MESHTURN_RELAY__PORTS": "1-2"})
    assert [problem.key for problem in problems] == ["", "relay.ports"]


def test_environment_can_replace_what_is_broken(tmp_path: Path) -> None:
    path = write(tmp_path, "auth: 3\nrelay: {ports: 1}\nlog: text\n")
    environ = {"MESHTURN_AUTH": "{}", "MESHTURN_RELAY__PORTS": "2000-3000", "MESHTURN_LOG__LEVEL": "debug"}
    loaded = load(path, environ)
    assert (str(loaded.config.relay.ports), loaded.config.log.level) == ("2000-3000", "debug")


def test_secret_variable_with_our_prefix_is_not_unknown(tmp_path: Path) -> None:
    path = write(tmp_path, "auth: {users: {alice: {env: MESHTURN_ALICE}}}")
    assert load(path, {"MESHTURN_ALICE": HUSH}).config.auth.users["alice"].get_secret_value() == HUSH


def test_file_with_secrets_that_everybody_can_read_is_warned_of(tmp_path: Path) -> None:
    for text, expected in (
        (f"auth: {{users: {{alice: {HUSH}}}}}", 1),
        (f"auth: {{shared_secrets: [{HUSH}]}}", 1),
        (f"auth: {{shared_secrets: [{{secret: {HUSH}, hash: sha256}}]}}", 1),
        ("auth: {shared_secrets: [{env: TURN}]}", 0),
    ):
        path = write(tmp_path, text)
        assert load(path, {"TURN": HUSH}).warnings == ()
        path.chmod(0o644)
        assert len(load(path, {"TURN": HUSH}).warnings) == expected


def test_certificates_are_looked_for_beside_the_configuration(tmp_path: Path) -> None:
    """Paths relative to the file, whatever the working directory; every one that is wrong is told, with its line."""
    folder = tmp_path / "etc"
    folder.mkdir()
    for name in ("chain.pem", "key.pem"):
        (folder / name).touch(mode=0o600)
    os.mkfifo(folder / "pipe")
    text = "tls:\n  certificates:\n    - {certificate: chain.pem, key: key.pem}\n"
    (pair,) = load(write(folder, text), {}).config.tls.certificates
    assert (pair.certificate, pair.key) == (folder / "chain.pem", folder / "key.pem")
    wrong = text + (
        "    - {certificate: missing.pem, key: pipe}\n"
        "    - certificate: .\n"
        "    - {certificate: 3, key: '', kye: key.pem}\n"
        '    - {certificate: "a\\0b", key: key.pem}\n'
    )
    said = problems_of(write(folder, wrong), strict=True)
    assert [(problem.line, problem.key, problem.found) for problem in said] == [
        (4, "tls.certificates[1].certificate", "'missing.pem': No such file or directory"),
        (4, "tls.certificates[1].key", "'pipe': not a regular file"),
        (5, "tls.certificates[2].certificate", "'.': not a regular file"),
        (5, "tls.certificates[2].key", "nothing"),
        (6, "tls.certificates[3].certificate", "3"),
        (6, "tls.certificates[3].key", "''"),
        (6, "tls.certificates[3].kye", "an unknown key"),
        (7, "tls.certificates[4].certificate", "'a\\x00b': not a path"),
    ]
    assert "one of certificate, key (did you mean key?)" in said[6].allowed


def test_a_server_starts_without_the_files_of_certificates(tmp_path: Path) -> None:
    """They may come, and its other listeners need none: one broken part does not take the others along."""
    os.mkfifo(tmp_path / "pipe")
    text = "tls: {certificates: [{certificate: missing.pem, key: pipe}, {certificate: 'a\\0b', key: ''}]}"
    text = text.replace("'a\\0b'", '"a\\0b"')
    said = problems_of(write(tmp_path, text))
    assert [(problem.key, problem.found) for problem in said] == [
        ("tls.certificates[1].certificate", "'a\\x00b': not a path"),
        ("tls.certificates[1].key", "''"),
    ]
    (pair,) = load(
        write(tmp_path, "tls: {certificates: [{certificate: missing.pem, key: pipe}]}")
    ).config.tls.certificates
    assert (pair.certificate, pair.key) == (tmp_path / "missing.pem", tmp_path / "pipe")


def test_a_certificate_that_is_not_there_is_one_problem(tmp_path: Path) -> None:
    """What follows from a problem is not told as another one."""
    text = "listeners: [{transport: tls, address: 127.0.0.1}]\ntls: {certificates: [{certificate: a, key: b}]}\n"
    said = problems_of(write(tmp_path, text), strict=True)
    assert [problem.key for problem in said] == ["tls.certificates[0].certificate", "tls.certificates[0].key"]


def test_a_private_key_that_everybody_can_read_is_warned_of(tmp_path: Path) -> None:
    for name in ("chain.pem", "key.pem"):
        (tmp_path / name).touch()
        (tmp_path / name).chmod(0o644)
    path = write(tmp_path, "auth: {users: {a: b}}\ntls: {certificates: [{certificate: chain.pem, key: key.pem}]}\n")
    (warning,) = load(path, {}).warnings
    assert str(tmp_path / "key.pem") in warning
    (tmp_path / "key.pem").chmod(0o640)
    assert load(path, {}).warnings == ()


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    """A missing file, a folder, a pipe (which is not waited for), too much, no text: one sentence each."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "large").write_bytes(b"#" * (MAX_FILE_BYTES + 1))
    (tmp_path / "binary").write_bytes(b"realm: a\nsoftware: \xff\n")
    reasons = {
        "missing": (0, "no such file or directory"),
        ".": (0, "is a directory"),
        "pipe": (0, "not a regular file"),
        "large": (0, "a larger file"),
        "a\0b": (0, "not a path"),
        "binary": (2, "bytes that are not UTF-8"),
    }
    assert {name: problems_of(tmp_path / name)[0][1:3] for name in reasons} == reasons


def test_largest_file(tmp_path: Path) -> None:
    assert load(write(tmp_path, b"#" * MAX_FILE_BYTES), {}).config == Config()


def test_number_of_problems_is_bounded(tmp_path: Path) -> None:
    problems = problems_of(write(tmp_path, "".join(f"key{number}: 1\n" for number in range(5000))))
    assert len(problems) == MAX_PROBLEMS + 1
    assert problems[-1].found == f"{5000 - MAX_PROBLEMS} more problems"


def survives(text: str, environ: dict[str, str] | None = None) -> None:
    """Load a text; anything raised but a ConfigError with problems that can be printed is a bug."""
    problems = [Problem("nothing", 0, "is", "wrong")]
    with TemporaryDirectory() as folder:
        try:
            load(write(Path(folder), text.encode("utf-8", "surrogatepass")), environ or {})
        except ConfigError as error:
            problems = error.problems
    assert problems
    assert all("".join((key, found, allowed)).isprintable() for key, _, found, allowed in problems)


patient = settings(deadline=None)
"""Files are written and read here, on whatever disk there is."""


@patient
@given(st.text() | st.text("[]{}:,-?&*!|>'\"%@`#\\ \n\tab1~<=.", max_size=60))
@example("\ud800")
@example("? {a: b}\n: c")
@example("<<: [*a]")
def test_any_text_loads_or_is_refused(text: str) -> None:
    survives(text)


scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=12)
    | st.sampled_from(
        ["udp", "shared", "10m", "::1", "0.0.0.0", "10.0.0.0/8", "2000-3000", "null", "sha256", "(secret)", HUSH]
    )
)
words = st.sampled_from(sorted({part for path in variables().values() for part in path}))
keys = (
    words
    | st.sampled_from(["transport", "address", "port", "secret", "hash", "file", "env", "certificate", "key"])
    | st.text(max_size=6)
)
trees = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=4), max_leaves=12
)


@patient
@given(st.dictionaries(words, trees, max_size=6))
def test_any_structure_loads_or_is_refused(tree: dict[str, Any]) -> None:
    survives(yaml.safe_dump(tree, allow_unicode=True))


@patient
@given(st.dictionaries(st.sampled_from(sorted(variables())), trees.map(yaml.safe_dump) | st.text(), max_size=4))
def test_any_environment_loads_or_is_refused(environ: dict[str, str]) -> None:
    survives("", environ)


@pytest.mark.parametrize(
    "text",
    [
        "[" * MAX_FILE_BYTES,
        "x: [" + "1," * 500_000 + "]",
        "a\n" * 500_000,
        "".join(f"k{number}: v\n" for number in range(80_000)),
        "&a [*a]",
        "a: &a [x,x,x,x]\nb: &b [*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b]\nd: [*c,*c,*c,*c]\n",
    ],
    ids=["depth", "items", "lines", "keys", "self", "laughs"],
)
def test_bombs_are_refused(tmp_path: Path, text: str) -> None:
    """Bounded work: the timeout of the test suite is the only clock here."""
    assert len(problems_of(write(tmp_path, text))) <= MAX_PROBLEMS + 1


def test_keys_of_a_mapping_are_read_as_a_file_has_them() -> None:
    """Without quotes, a number is a key in YAML, too, and its text is the name."""
    with pytest.raises(ConfigError) as caught:
        load_mapping({1: 2, "limits": {None: 3}})  # type: ignore[dict-item]
    assert [problem.key for problem in caught.value.problems] == ["1", "limits.None"]
    assert list(load_mapping({"auth": {"users": {7: "wonderland"}}}).config.auth.users) == ["7"]


def test_a_mapping_that_contains_itself_is_a_problem_and_not_a_recursion() -> None:
    """Kind: a value of a program that a file cannot have."""
    limits: dict[str, Any] = {}
    limits["allocations"] = limits
    networks: list[Any] = []
    networks.append(networks)
    deep: Any = {}
    for _ in range(10_000):
        deep = {"limits": deep}
    laughs: Any = ["x"] * 10
    for _ in range(10):
        laughs = [laughs] * 10
    wide: list[Any] = []
    wide.extend([wide] * 10)
    for options, found in (
        ({"limits": limits}, "values that are nested too deeply"),
        ({"peers": {"deny": networks}}, "values that are nested too deeply"),
        (deep, "values that are nested too deeply"),
        ({"peers": {"deny": wide}}, "values that are nested too deeply"),
        ({"peers": {"deny": laughs}}, "too many values"),
        ({"peers": {"deny": ["8.8.8.8"] * 1_000_001}}, "too many values"),
    ):
        with pytest.raises(ConfigError) as caught:
            load_mapping(options)
        (problem,) = caught.value.problems
        assert problem.found == found
        assert problem.allowed.endswith("and none that contains itself")
        assert caught.value.source == "configuration"
