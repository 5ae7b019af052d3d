"""What the limit of open files leaves for clients."""

import os
import resource
from collections.abc import Iterator

import pytest

from turnserver.config import Config
from turnserver.descriptors import UNLIMITED
from turnserver.files import attainable_files, client_files, file_limit, files_needed, open_files


@pytest.fixture(autouse=True)
def the_limit_is_put_back() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_the_limits_are_those_of_the_process() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, hard))
    assert file_limit() == 512
    assert attainable_files() == (UNLIMITED if hard == resource.RLIM_INFINITY else hard)


def test_no_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda which: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert (file_limit(), attainable_files()) == (UNLIMITED, UNLIMITED)


def test_open_files_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    before = open_files()
    with open(os.devnull, "rb"), open(os.devnull, "rb"):
        assert open_files() == before + 2
    monkeypatch.setattr(os, "listdir", lambda folder: os.stat("/nowhere/at/all"))
    assert open_files() > 0


@pytest.mark.parametrize(
    ("limit", "opened", "left"),
    [
        (64, 20, 64 - 20 - 8),
        (1024, 30, 1024 - 30 - 128),
        (20_000, 100, 20_000 - 100 - 256),
        (16, 20, 0),
        (UNLIMITED, 100, UNLIMITED),
    ],
)
def test_a_reserve_is_kept(limit: int, opened: int, left: int) -> None:
    """For log, certificates, the credential hook: an eighth of a small limit, and no more than 256."""
    assert client_files(limit, opened) == left


def test_what_the_options_ask_for_is_enough_for_one_user() -> None:
    """With the files that are asked for, it is the options that decide, even if one user has everything."""
    config = Config.model_validate(
        {"listeners": [{"transport": "udp", "address": "127.0.0.1"}], "limits": {"allocations": 900}}
    )
    assert client_files(files_needed(config), 0) * 2 // 3 >= 900
