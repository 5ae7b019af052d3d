"""What users prove: passwords and keys; never shown."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from turnserver.config.context import Context
from turnserver.config.secret import MASK, Secret
from turnserver.config.user_secret import KEY_FORMS, UserSecret

ADAPTER: TypeAdapter[UserSecret] = TypeAdapter(UserSecret)
KEY = "0123456789abcdef" * 2


def read(value: Any, directory: Path = Path(), environ: dict[str, str] | None = None) -> UserSecret:
    return ADAPTER.validate_python(value, context=Context(directory=directory, environ=environ or {}))


def refusal(value: Any) -> tuple[str, str]:
    with pytest.raises(ValidationError) as caught:
        read(value)
    (error,) = caught.value.errors()
    assert KEY not in error["ctx"]["found"] + error["ctx"]["allowed"] + error["msg"]
    return error["ctx"]["found"], error["ctx"]["allowed"]


def test_passwords(tmp_path: Path) -> None:
    """All the forms of a secret; one that has the digits of a key is a password all the same."""
    (tmp_path / "password").write_text("wonderland\n")
    for value in ("wonderland", {"file": "password"}, {"env": "PASSWORD"}):
        found = read(value, tmp_path, {"PASSWORD": "wonderland"})
        assert (found.get_secret_value(), found.hashed) == ("wonderland", False)
    assert not read(KEY).hashed


@pytest.mark.parametrize("digits", [KEY, KEY * 2, KEY.upper()])
def test_keys(tmp_path: Path, digits: str) -> None:
    """MD5 and SHA-256, in each form of a secret."""
    (tmp_path / "key").write_text(digits)
    for value in (digits, {"file": "key"}, {"env": "KEY"}):
        found = read({"key": value}, tmp_path, {"KEY": digits})
        assert (found.get_secret_value(), found.hashed) == (digits.lower(), True)


@pytest.mark.parametrize("value", [f"0x{KEY}", f"{KEY}0", "wonderland"])
def test_what_is_no_key(value: str) -> None:
    """A key of the wrong length is probably a password, which could not be proven by anybody."""
    assert refusal({"key": value}) == ("a key of another form", KEY_FORMS)


@pytest.mark.parametrize("value", [f"0x{KEY}", f"0x{KEY}{KEY}"])
def test_a_key_of_coturn_is_no_password(value: str) -> None:
    """coturn takes a key for a password that begins with 0x; as a password nobody would know it."""
    found, allowed = refusal(value)
    assert "coturn" in found
    assert "{key: …}" in allowed
    assert read(f"{value}0").get_secret_value() == f"{value}0"


@pytest.mark.parametrize("value", [{"key": KEY, "file": "a"}, {"keys": KEY}, {}, {"key": None}, {"key": 7}, ["a"]])
def test_other_forms(value: Any) -> None:
    """Nothing else is a password or a key."""
    refusal(value)


def test_a_key_equals_no_password() -> None:
    """A reload that makes a password of a key is a change; neither is shown."""
    key, password = UserSecret(KEY, hashed=True), UserSecret(KEY)
    assert key != password
    assert key == read({"key": KEY})
    assert password == read(KEY) == Secret(KEY)
    assert len({password, UserSecret(KEY)}) == 1
    assert repr(key) == str(password) == MASK
    assert ADAPTER.dump_python(key) == MASK
    assert read(key) is key
