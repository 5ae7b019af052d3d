"""``auth``: which sources are asked, and how the hook is set up."""

from typing import Any

import pytest
from pydantic import ValidationError

from turnserver.config import AuthConfig, Config, HookConfig, load_mapping
from turnserver.config.context import Context
from turnserver.errors import ConfigError

HUSH = "hush hush hush hush"
URL = "https://users.example.org/turn"


def hook(**options: Any) -> HookConfig:
    return load_mapping({"auth": {"hook": {"url": URL, "secret": HUSH, **options}}}).config.auth.hook


def problems(options: dict[str, Any]) -> list[tuple[str, str]]:
    with pytest.raises(ConfigError) as caught:
        load_mapping(options)
    return [(problem.key, f"{problem.found}; {problem.allowed}") for problem in caught.value.problems]


def warnings(auth: dict[str, Any]) -> tuple[str, ...]:
    return load_mapping({"auth": auth}).warnings


def test_there_is_no_hook_unless_there_is_a_url() -> None:
    """Every option has a safe default."""
    made = Config().auth.hook
    assert (made.url, made.secret, made.timeout, made.cache, made.cache_unknown) == ("", None, 3, 60, 5)
    assert (made.connections, made.userhash) == (16, False)
    assert hook(url="", secret=None).url == ""


def test_every_option_of_the_hook() -> None:
    """Each has a value of its own here."""
    made = hook(timeout="2s", cache="10m", cache_unknown=7, connections=3, userhash=True)
    assert (made.url, made.timeout, made.cache, made.cache_unknown) == (URL, 2, 600, 7)
    assert (made.connections, made.userhash) == (3, True)
    assert made.secret is not None
    assert made.secret.get_secret_value() == HUSH


@pytest.mark.parametrize(
    "url",
    [
        "https://users.example.org",
        "https://users.example.org/",
        "https://users.example.org:8443/a/b?action=turn&x=%20",
        "https://8.8.8.8/turn",
        "https://[2a00::1]:8443/turn",
        "http://127.0.0.1:8080/turn",
        "http://localhost/turn",
        "http://[::1]:8080/turn",
        "http://10.0.0.5/turn",
        "http://[fd00::1]/turn",
        "http://backend:8080/turn",
        "http://back_end.internal/turn",
    ],
)
def test_urls(url: str) -> None:
    """A name is judged by what it stands for when it is asked."""
    assert hook(url=url).url == url


@pytest.mark.parametrize(
    "url",
    [
        "users.example.org",
        "//users.example.org",
        "ftp://users.example.org",
        "https://",
        "https:///turn",
        "https://hush@users.example.org",
        "https://alice:hush@users.example.org",
        "https://users.example.org/#hush",
        "https://users.example.org/hush hush",
        "https://users.example.org/hush\n",
        "https://users.example.org/h\u00fcsh",
        "https://b\u00fccher.example/hush",
        "https://users.example.org:0/",
        "https://users.example.org:65536/",
        "https://users.example.org:hush/",
        "https://[::1/hush",
        "https://[hush]/",
        "https://-hush-/",
        "https://" + "a." * 200 + "org/",
        "https://users.example.org/" + "a" * 2000,
        "http://8.8.8.8/hush",
        "http://[2a00::1]/hush",
        7,
        ["hush"],
    ],
)
def test_other_urls_are_refused_without_being_repeated(url: object) -> None:
    """There may be a password in it."""
    ((key, message),) = problems({"auth": {"hook": {"url": url, "secret": HUSH}}})
    assert key == "auth.hook.url"
    assert "https" in message
    assert "hush" not in message


def test_requests_are_always_signed() -> None:
    """Whoever answers strangers gives their users' passwords away."""
    ((key, message),) = problems({"auth": {"hook": {"url": URL}}})
    assert key == "auth.hook.secret"
    assert "anybody else could ask" in message


@pytest.mark.parametrize("secret", ["whsec_", "whsec_hush!"])
def test_a_secret_that_says_it_is_base64_has_to_be(secret: str) -> None:
    ((key, message),) = problems({"auth": {"hook": {"url": URL, "secret": secret}}})
    assert key == "auth.hook.secret"
    assert "base64" in message
    assert "hush" not in message


@pytest.mark.parametrize(
    "options",
    [
        {"timeout": 0},
        {"timeout": 5},
        {"cache": -1},
        {"cache": "2h"},
        {"cache_unknown": 301},
        {"connections": 0},
        {"connections": 257},
        {"userhash": "yes"},
    ],
)
def test_bounds(options: dict[str, Any]) -> None:
    """The timeout is shorter than the five seconds after which the server answers in any case."""
    ((key, _),) = problems({"auth": {"hook": {"url": URL, "secret": HUSH, **options}}})
    assert key == f"auth.hook.{next(iter(options))}"


def test_an_unknown_key_is_told_with_its_section() -> None:
    ((key, message),) = problems({"auth": {"hook": {"url": URL, "secret": HUSH, "timout": 3}}})
    assert key == "auth.hook.timout"
    assert "did you mean timeout?" in message


def test_nothing_shows_the_secret() -> None:
    config = load_mapping({"auth": {"hook": {"url": URL, "secret": HUSH}}}).config
    for shown in (repr(config), str(config.auth.hook), str(config.model_dump()), config.model_dump_json()):
        assert HUSH not in shown
        assert URL in shown


# Warnings


@pytest.mark.parametrize(
    ("auth", "sentence"),
    [
        ({}, "nobody can relay"),
        ({"sources": []}, "nobody can relay"),
        ({"sources": ["nobody"]}, "nobody can relay"),
        ({"hook": {"secret": HUSH}, "users": {"alice": HUSH}}, "no auth.hook.url: the hook is not used"),
        ({"hook": {"url": URL, "secret": "short"}}, "can be guessed"),
        ({"hook": {"url": "http://backend/turn", "secret": HUSH}}, "auth.hook.url is http"),
        ({"hook": {"url": "http://10.0.0.1/turn", "secret": HUSH}}, "auth.hook.url is http"),
        ({"users": {"alice": HUSH}, "sources": ["hook"], "hook": {"url": URL, "secret": HUSH}}, "There is auth.users"),
    ],
)
def test_what_is_hardly_meant(auth: dict[str, Any], sentence: str) -> None:
    (warning,) = warnings(auth)
    assert sentence in warning
    assert HUSH not in warning


def test_two_warnings_at_once() -> None:
    """Users that are not asked for, and nobody else there."""
    found = warnings({"users": {"alice": HUSH}, "sources": ["nobody"]})
    assert len(found) == 2


@pytest.mark.parametrize(
    "auth",
    [
        {"hook": {"url": URL, "secret": HUSH}},
        {"hook": {"url": "http://127.0.0.1/turn", "secret": HUSH}},
        {"hook": {"url": "http://localhost:8080/turn", "secret": HUSH}},
        {"hook": {"url": "http://[::1]/turn", "secret": "whsec_YWJjZGVmZ2hpamtsbW5vcA=="}},
        {"users": {"alice": HUSH}, "sources": ["users"]},
    ],
)
def test_what_is_meant(auth: dict[str, Any]) -> None:
    assert warnings(auth) == ()


# Sources


def test_the_sources_and_their_order() -> None:
    assert Config().auth.sources == ("users", "shared_secrets", "hook")
    assert AuthConfig.model_validate({"sources": ["hook", "users"]}).sources == ("hook", "users")


@pytest.mark.parametrize("sources", ["users", ["ldap"], [7], ["users", "users"], ["users"] * 20])
def test_other_sources_are_refused(sources: object) -> None:
    """Once each, by a name that there is."""
    with pytest.raises(ValidationError):
        AuthConfig.model_validate({"sources": sources}, context=Context())
