"""The section ``signaling``: who may join rooms, and what participants are told."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stun.uri import StunUri
from turnserver.config import Loaded, SignalingConfig, load
from turnserver.errors import ConfigError

patient = settings(deadline=None)

HUSH = "hush hush hush hush hush hush hush"
SHARED = {"transport": "shared", "tls": False, "address": "127.0.0.1"}


def loaded(tmp_path: Path, signaling: Any = None, **sections: Any) -> Loaded:
    """A configuration with a listener that rooms can be served on."""
    import yaml

    data = {"listeners": [SHARED], "auth": {"shared_secrets": [HUSH]}, **sections}
    file = tmp_path / "meshturn.yml"
    file.touch(mode=0o600)
    file.write_text(yaml.safe_dump(data | ({} if signaling is None else {"signaling": signaling})))
    return load(file, {"WEBSITE_KEY": "the key of the website"})


def problems(tmp_path: Path, signaling: Any) -> list[tuple[str, str]]:
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, signaling)
    assert HUSH not in str(caught.value.problems)
    return [(problem.key, problem.found) for problem in caught.value.problems]


def test_defaults() -> None:
    """Rooms are there, and closed: nobody gets in without a token."""
    config = SignalingConfig()
    assert (config.enabled, config.open, config.policy) == (True, False, "all")
    assert (config.key, config.public_keys, config.api_keys, config.admin_keys) == (None, (), {}, {})
    assert (config.room_size, config.rooms, config.sockets_per_address) == (4, 1000, 50)
    assert (config.credential_lifetime, config.resume, config.heartbeat) == (600, 60, 15)
    assert (config.origins, config.urls) == ((), ())


def test_everything(tmp_path: Path) -> None:
    (tmp_path / "issuer.pem").write_text("whatever: it is read when the server starts")
    (tmp_path / "support.key").write_text("the key of the support\n")
    (tmp_path / "support.key").chmod(0o600)
    found = loaded(
        tmp_path,
        {
            "open": True,
            "origins": ["https://App.Example.org:443", "http://localhost:8000", "capacitor://localhost"],
            "key": HUSH,
            "public_keys": ["issuer.pem"],
            "api_keys": {"website": {"env": "WEBSITE_KEY"}},
            "admin_keys": {"support": {"file": "support.key"}},
            "room_size": 8,
            "credential_lifetime": "1h",
            "policy": "relay",
            "urls": ["stun:turn.example.org", "turns:[2001:db8::7]:443?transport=tcp"],
        },
    )
    config = found.config.signaling
    assert found.warnings == ()
    assert config.origins == ("https://app.example.org", "http://localhost:8000", "capacitor://localhost")
    assert config.key is not None
    assert config.key.get_secret_value() == HUSH
    assert config.public_keys == (tmp_path / "issuer.pem",)
    assert config.api_keys["website"].get_secret_value() == "the key of the website"
    assert config.admin_keys["support"].get_secret_value() == "the key of the support"
    assert config.credential_lifetime == 3600
    assert config.urls == ("stun:turn.example.org", "turns:[2001:db8::7]:443?transport=tcp")


def test_the_environment() -> None:
    """What `meshturn up` and containers use."""
    environ = {"MESHTURN_SIGNALING__OPEN": "true", "MESHTURN_SIGNALING__ADMIN_KEYS": "{up: {env: ADMIN}}"}
    config = load(None, {**environ, "ADMIN": "a key of sixteen or more"}).config
    assert config.signaling.open
    assert config.signaling.admin_keys["up"].get_secret_value() == "a key of sixteen or more"


@pytest.mark.parametrize(
    "text",
    [
        "", "example.org", "https://", "https://example.org/", "https://example.org/page", "https://a b", "https://a?b",
        "https://user@example.org", "https://example.org:0", "https://example.org:65536", "https://[::1", "https://[x]",
        "null", "**", "https://*.example.org", "https://-a", "https://" + "a" * 300, 7, None,
    ],
)  # fmt: skip
def test_what_is_no_origin(tmp_path: Path, text: object) -> None:
    """RFC 6454 §6.2: an origin ends with its host or port."""
    assert problems(tmp_path, {"origins": [text]})[0][0] == "signaling.origins[0]"


@pytest.mark.parametrize(
    "text",
    [
        "", "turn:", "turn:a b", "http://example.org", "turn://example.org", "turn:example.org/", "turn:a@example.org",
        "turn:example.org?transport=sctp", "turns:example.org?transport=udp", "stun:example.org?transport=udp",
        "turn:example.org:0", "turn:example.org:99999", "turn:::1", "turn:[::g]", "TURN:example.org", 7, "turn:ä.org",
    ],
)  # fmt: skip
def test_what_browsers_would_not_take_for_a_url(tmp_path: Path, text: object) -> None:
    """RFC 7064, RFC 7065; one URL that a browser does not take makes it throw away all of them."""
    assert problems(tmp_path, {"urls": [text]})[0][0] == "signaling.urls[0]"


@patient
@given(
    scheme=st.sampled_from(["stun", "stuns", "turn", "turns"]),
    host=st.sampled_from(["example.org", "192.0.2.1", "[2001:db8::7]", "a-b.c_d"]),
    port=st.none() | st.integers(1, 65535),
)
def test_urls_are_those_of_the_rfcs(scheme: str, host: str, port: int | None) -> None:
    url = f"{scheme}:{host}" + ("" if port is None else f":{port}")
    assert SignalingConfig.model_validate({"urls": [url]}).urls == (url,)
    assert StunUri.parse(url).scheme == scheme


@pytest.mark.parametrize("name", ["", "a b", ".a", "-", "a" * 65, "ä", "a\n"])
def test_names_of_keys_go_into_logs(tmp_path: Path, name: str) -> None:
    ((key, _),) = problems(tmp_path, {"api_keys": {name: HUSH}})
    assert key.startswith("signaling.api_keys")


@pytest.mark.parametrize("key", ["short", "x" * 31, '{"kty": "oct", "k": "0123456789abcdef0123456789abcdef"}'])
def test_a_key_that_signs_is_long_and_secret(tmp_path: Path, key: str) -> None:
    """RFC 7518 §3.2: a key of the size of the hash, or larger."""
    ((path, found),) = problems(tmp_path, {"key": key})
    assert path == "signaling.key"
    assert key not in found


def test_one_secret_is_one_key(tmp_path: Path) -> None:
    """Whoever has the lesser key would have the greater."""
    assert problems(tmp_path, {"admin_keys": {"one": HUSH}, "api_keys": {"two": HUSH}}) == [
        ("signaling.api_keys.two", "the secret of signaling.admin_keys.one again")
    ]
    assert problems(tmp_path, {"key": HUSH, "api_keys": {"two": HUSH}}) == [
        ("signaling.api_keys.two", "the secret of signaling.key again")
    ]


def test_short_keys_are_warned_of(tmp_path: Path) -> None:
    found = loaded(tmp_path, {"api_keys": {"website": "short"}, "admin_keys": {"support": "short too"}})
    assert [warning.split()[0] for warning in found.warnings] == [
        "signaling.api_keys.website",
        "signaling.admin_keys.support",
    ]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("room_size", 1),
        ("room_size", 9),
        ("rooms", 0),
        ("credential_lifetime", 9),
        ("credential_lifetime", "2d"),
        ("policy", "none"),
        ("resume", 4),
        ("heartbeat", 0),
        ("sockets_per_address", 0),
        ("open", "yes"),
        ("public_keys", ["nowhere.pem"]),
        ("public_keys", "issuer.pem"),
        ("api_keys", [HUSH]),
        ("api_keys", HUSH),
    ],
)
def test_bounds(tmp_path: Path, key: str, value: object) -> None:
    assert problems(tmp_path, {key: value})[0][0].startswith(f"signaling.{key}")


def test_rooms_without_turn_credentials_are_warned_of(tmp_path: Path) -> None:
    (warning,) = loaded(tmp_path, {"open": True}, auth={"users": {"alice": HUSH}}).warnings
    assert "participants of rooms get no TURN credentials" in warning
    assert loaded(tmp_path, {"open": True}).warnings == ()
    assert loaded(tmp_path, None, auth={"users": {"alice": HUSH}}).warnings == (), (
        "nobody can join, so nobody misses it"
    )
    assert loaded(tmp_path, {"open": True, "enabled": False}, auth={"users": {"alice": HUSH}}).warnings == ()


def test_rooms_that_nobody_serves_are_warned_of(tmp_path: Path) -> None:
    udp = [{"transport": "udp", "address": "127.0.0.1"}]
    (warning,) = loaded(tmp_path, {"open": True}, listeners=udp).warnings
    assert "no shared listener" in warning
    assert loaded(tmp_path, None, listeners=udp).warnings == ()
    assert loaded(tmp_path, {"room_size": 3}, listeners=udp).warnings == ()


def test_secrets_of_rooms_in_a_readable_file_are_warned_of(tmp_path: Path) -> None:
    for signaling in ({"key": HUSH}, {"api_keys": {"website": HUSH}}, {"admin_keys": {"support": HUSH}}):
        file = tmp_path / "open.yml"
        file.write_text(f"signaling: {signaling}")
        file.chmod(0o644)
        assert any("there are secrets in it" in warning for warning in load(file, {}).warnings)
