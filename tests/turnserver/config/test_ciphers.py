"""Cipher lists: what OpenSSL makes of them decides."""

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from turnserver.config.ciphers import CiphersOption
from turnserver.config.context import Context

ADAPTER: TypeAdapter[str] = TypeAdapter(CiphersOption)


def read(value: Any) -> tuple[str, list[str]]:
    context = Context()
    return ADAPTER.validate_python(value, context=context), context.warnings


@pytest.mark.parametrize(
    "value", ["", "ECDHE+AESGCM:ECDHE+CHACHA20", "ECDHE-ECDSA-AES128-GCM-SHA256", "DHE+AESGCM:!PSK"]
)
def test_sound_lists(value: str) -> None:
    """Forward secrecy and authenticated encryption; none at all is the server's own list."""
    assert read(value) == (value, [])


@pytest.mark.parametrize("value", ["DEFAULT", "HIGH:!aNULL", "AES128-SHA", "ECDHE-RSA-AES128-SHA256"])
def test_weaker_lists(value: str) -> None:
    """They are taken, with a warning that names one of the ciphers."""
    found, (warning,) = read(value)
    assert found == value
    assert "forward secrecy" in warning


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("NO-SUCH-CIPHER", "a list without a cipher that OpenSSL has"),
        ("!ALL", "a list without a cipher that OpenSSL has"),
        ("ALL:eNULL:@SECLEVEL=0", "a list with "),
        ("aNULL:@SECLEVEL=0", "a list with "),
        ("ECDHE+AESGCM\n", "a text"),
        ("a" * 1001, "a text"),
        (7, "a number or a boolean"),
        (["ECDHE+AESGCM"], "a list"),
    ],
)
def test_what_is_refused(value: object, found: str) -> None:
    """A list that OpenSSL does not know, and ciphers that do not encrypt or do not prove who the server is."""
    with pytest.raises(ValidationError) as caught:
        read(value)
    (error,) = caught.value.errors()
    assert error["ctx"]["found"].startswith(found)
