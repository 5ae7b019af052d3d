"""Secrets: read from text, file or environment; never shown."""

import os
import pickle
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from turnserver.config.context import Context
from turnserver.config.secret import MASK, MAX_SECRET_BYTES, Secret

HUSH = "hush hush hush hush"
ADAPTER: TypeAdapter[Secret] = TypeAdapter(Secret)


def read(value: Any, directory: Path = Path(), environ: dict[str, str] | None = None) -> tuple[str, Context]:
    context = Context(directory=directory, environ=environ or {})
    return ADAPTER.validate_python(value, context=context).get_secret_value(), context


def refusal(value: Any, directory: Path = Path(), environ: dict[str, str] | None = None) -> tuple[str, str]:
    with pytest.raises(ValidationError) as caught:
        read(value, directory, environ)
    (error,) = caught.value.errors()
    assert HUSH not in error["ctx"]["found"] + error["ctx"]["allowed"] + error["msg"]
    return error["ctx"]["found"], error["ctx"]["allowed"]


def test_text() -> None:
    assert read(HUSH)[0] == HUSH


def test_environment() -> None:
    secret, context = read({"env": "TURN"}, environ={"TURN": HUSH})
    assert secret == HUSH
    assert context.variables == {"TURN"}
    assert refusal({"env": "TURN"})[0] == "{env: 'TURN'}, which is not set"
    assert refusal({"env": "TURN"}, environ={"TURN": ""})[0] == "the environment variable 'TURN', which is empty"


@pytest.mark.parametrize("ending", ["", "\n", "\r\n"])
def test_file(tmp_path: Path, ending: str) -> None:
    """A path is relative to the configuration file; one newline at the end is the editor's."""
    file = tmp_path / "turn.secret"
    file.write_bytes((HUSH + ending).encode())
    file.chmod(0o600)
    for name in ("turn.secret", str(file)):
        secret, context = read({"file": name}, tmp_path)
        assert secret == HUSH
        assert context.warnings == []


def test_file_that_everybody_can_read_is_warned_of(tmp_path: Path) -> None:
    file = tmp_path / "turn.secret"
    file.write_text(HUSH)
    file.chmod(0o644)
    secret, context = read({"file": "turn.secret"}, tmp_path)
    assert secret == HUSH
    assert [str(file) in warning for warning in context.warnings] == [True]
    assert HUSH not in context.warnings[0]


def test_files_that_cannot_be_used(tmp_path: Path) -> None:
    """A missing file, a folder, a pipe (which is not waited for), nothing, binary, too much, two lines."""
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "nothing").write_text("\n")
    (tmp_path / "binary").write_bytes(b"\xff\xfe" + HUSH.encode())
    (tmp_path / "much").write_text(HUSH * MAX_SECRET_BYTES)
    (tmp_path / "lines").write_text(f"{HUSH}\n{HUSH}\n")
    reasons = {
        "missing": "'missing': No such file or directory",
        "folder": "'folder': not a regular file",
        "pipe": "'pipe': not a regular file",
        "a\0b": "'a\\x00b': not a path",
        "nothing": "the file 'nothing', which is empty",
        "binary": "'binary', which is not UTF-8 text",
        "much": f"the file 'much' of more than {MAX_SECRET_BYTES} bytes",
        "lines": "the file 'lines' with control or invisible characters",
    }
    assert {name: refusal({"file": name}, tmp_path)[0] for name in reasons} == reasons


def test_longest_secret(tmp_path: Path) -> None:
    for ending in ("", "\n", "\r\n"):
        (tmp_path / "long").write_bytes(b"x" * MAX_SECRET_BYTES + ending.encode())
        assert len(read({"file": "long"}, tmp_path)[0]) == MAX_SECRET_BYTES


@pytest.mark.parametrize("value", [None, 1234, True, 1.5, [], [HUSH], {}, {HUSH: 1}, {"env": 1}, {"file": None}])
def test_other_forms_are_refused_without_being_repeated(value: object) -> None:
    assert refusal(value)[1] == "a text, {file: PATH} or {env: NAME}"


@pytest.mark.parametrize("value", ["", MASK, f"{HUSH}\n", f"{HUSH}\x00", "\ud800", HUSH * 300])
def test_unusable_texts_are_refused_without_being_repeated(value: str) -> None:
    """RFC 8265 §4.2: a password is an OpaqueString; and the mask is what was shown, not what was meant."""
    refusal(value)


def test_more_than_one_form_at_once() -> None:
    refusal({"file": "a", "env": "B"})


def test_secret_is_not_shown() -> None:
    secret = Secret(HUSH)
    assert [repr(secret), str(secret), f"{secret}", "%s" % secret] == [MASK] * 4  # noqa: UP031
    assert ADAPTER.dump_json(secret) == f'"{MASK}"'.encode()
    assert ADAPTER.dump_python(secret) == MASK


def test_secret_is_a_value() -> None:
    assert Secret(HUSH) == Secret(HUSH)
    assert Secret(HUSH) != Secret("other")
    assert Secret(HUSH) != HUSH
    assert len({Secret(HUSH), Secret(HUSH)}) == 1
    assert pickle.loads(pickle.dumps(Secret(HUSH))) == Secret(HUSH)
    assert ADAPTER.validate_python(Secret(HUSH)).get_secret_value() == HUSH


def test_without_a_loader_the_process_environment_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TURN_SECRET_OF_THIS_TEST", HUSH)
    assert ADAPTER.validate_python({"env": "TURN_SECRET_OF_THIS_TEST"}).get_secret_value() == HUSH
