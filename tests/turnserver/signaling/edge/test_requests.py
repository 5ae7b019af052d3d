"""How requests to the API are read; `test_api.py` sends the strange ones."""

import pytest
from aiohttp.test_utils import make_mocked_request

from turnserver.signaling.edge.refusals import ApiCode
from turnserver.signaling.edge.requests import (
    MAX_BEARER,
    ApiError,
    as_json,
    read_bearer,
    read_reason,
    read_ttl,
)
from turnserver.signaling.protocol.errors import SignalCode


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("Bearer abc", b"abc"), ("bearer abc", b"abc"), ("BEARER  abc ", b"abc"), ("Bearer a b", b"a b"),
        ("Bearer", None), ("Bearer ", None), ("Basic abc", None), ("abc", None), ("", None),
    ],
)  # fmt: skip
def test_the_header(value: str, found: bytes | None) -> None:
    assert read_bearer(make_mocked_request("GET", "/", headers={"Authorization": value})) == found


def test_no_header() -> None:
    assert read_bearer(make_mocked_request("GET", "/?access_token=abc&key=abc", headers={"Cookie": "key=abc"})) is None


def test_a_key_without_end_is_cut() -> None:
    found = read_bearer(make_mocked_request("GET", "/", headers={"Authorization": "Bearer " + "x" * 10_000}))
    assert found == b"x" * (MAX_BEARER + 1)


def test_times() -> None:
    assert (read_ttl(None, 600), read_ttl("60", 600)) == (600, 60)
    for text in ("", "0", "-1", "1.5", "1e3", " 1", "\u0661", "9" * 10):
        with pytest.raises(ApiError) as caught:
            read_ttl(text, 600)
        assert caught.value.code is ApiCode.BAD_REQUEST


def test_reasons() -> None:
    assert read_reason(make_mocked_request("DELETE", "/?reason=be%20kind")) == "be kind"
    assert read_reason(make_mocked_request("DELETE", "/")) == ""
    with pytest.raises(ApiError):
        read_reason(make_mocked_request("DELETE", "/?reason=" + "x" * 201))


def test_the_status_of_an_error_is_that_of_its_code() -> None:
    assert ApiError(ApiCode.NOT_FOUND, "no").status == 404
    assert ApiError(SignalCode.TOKEN_EXPIRED, "no").status == 401


def test_answers_are_compact() -> None:
    assert as_json({"a": [1, 2]}, 201).text == '{"a":[1,2]}'
