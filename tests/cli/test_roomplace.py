"""Which server ``meshturn rooms`` is about, and what it takes to ask it."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest

from cli.roomplace import Place, place_of, server_at
from cli.roomserver import ApiFailure
from cli.state import StateDirectory
from turnserver.errors import ConfigError, StartupError
from turnserver.signaling.edge.tokens import derived_key

SECRET = "0123456789abcdef0123456789abcdef"
NOW = 1_700_000_000.0
PLAIN = "{transport: shared, tls: false, address: 127.0.0.1, port: 8080}"
CERTIFIED = "tls: {certificates: [{certificate: %s, key: %s}]}\n"


def configured(tmp_path: Path, *listeners: str, more: str = "", signaling: str = "{}") -> Place:
    file = tmp_path / "meshturn.yml"
    file.touch(mode=0o600)
    file.write_text(
        f"listeners: [{', '.join(listeners)}]\nauth: {{shared_secrets: [{SECRET}]}}\nsignaling: {signaling}\n{more}"
    )
    return place_of(file, None)


@pytest.fixture
def state(tmp_path: Path) -> StateDirectory:
    made = StateDirectory(tmp_path / "state")
    made.prepare()
    return made


# The last `meshturn up`


def test_what_up_left(state: StateDirectory) -> None:
    state.keep("password", [], "http://localhost:8080/")
    place = place_of(None, state.path)
    server = place.server()
    assert (place.link_base(), server.url, server.key) == (
        "http://localhost:8080",
        "http://localhost:8080",
        state.admin_key(),
    )
    assert server.tls is None
    token = place.token_keys().mint("demo", "member", 60, NOW, token_id="x")
    from turnserver.signaling.edge.tokens import TokenKeys

    assert TokenKeys([derived_key(state.secret().encode())]).admit(token, NOW).room == "demo"


def test_the_certificate_that_up_made_is_trusted(state: StateDirectory, certify: Callable[..., Any]) -> None:
    made = certify("localhost")
    state.keep_key(made.key.read_text())
    state.keep_certificate(made.certificate.read_text())
    state.keep("password", [], "https://192.0.2.1:5349/")
    server = place_of(None, state.path).server()
    assert server.tls is not None
    assert server.tls.check_hostname is False


def test_up_has_never_been_here(tmp_path: Path) -> None:
    place = place_of(None, tmp_path / "nothing")
    assert place.link_base() == ""
    with pytest.raises(click.UsageError, match="no shared secret"):
        place.token_keys()
    with pytest.raises(click.UsageError, match="no admin key"):
        place.key()
    with pytest.raises(ApiFailure, match="names a server with rooms"):
        place.server()


def test_a_key_that_others_can_read_is_not_used(state: StateDirectory) -> None:
    state.keep("password", [], "http://localhost:8080")
    state.admin_key_path.chmod(0o644)
    with pytest.raises(StartupError, match="open to others"):
        place_of(None, state.path).server()


def test_without_a_word_it_is_the_usual_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    made = StateDirectory(tmp_path / "meshturn")
    made.prepare()
    made.keep("password", [], "http://localhost:8081/")
    assert place_of(None, None).link_base() == "http://localhost:8081"


# A configuration


def test_a_plain_listener_on_this_machine(tmp_path: Path) -> None:
    place = configured(tmp_path, PLAIN, signaling="{admin_keys: {support: support-key-0123456789}}")
    server = place.server()
    assert (server.url, server.key) == ("http://127.0.0.1:8080", "support-key-0123456789")
    assert place.link_base() == "http://localhost:8080", "browsers know that name"


@pytest.mark.parametrize(
    ("listener", "url"),
    [
        ("{transport: shared, tls: false, address: 0.0.0.0}", "http://127.0.0.1:80"),
        ('{transport: shared, tls: false, address: "::", port: 81}', "http://[::1]:81"),
        ("{transport: shared, tls: false, address: 10.0.0.5, port: 82}", "http://10.0.0.5:82"),
    ],
)
def test_how_this_machine_reaches_a_listener(tmp_path: Path, listener: str, url: str) -> None:
    server = configured(tmp_path, listener, signaling="{admin_keys: {support: support-key-0123456789}}").server()
    assert (server.url, server.local) == (url, True)


def test_a_listener_with_tls_is_known_by_its_certificate(tmp_path: Path, certify: Callable[..., Any]) -> None:
    made = certify("*.example.org", "turn.example.org")
    place = configured(
        tmp_path,
        "{transport: shared, address: 0.0.0.0}",
        more=CERTIFIED % (made.certificate, made.key),
        signaling="{admin_keys: {support: support-key-0123456789}}",
    )
    assert place.link_base() == "https://turn.example.org"
    server = place.server()
    assert server.url == "https://127.0.0.1:443"
    assert server.tls is not None


def test_a_certificate_without_a_name(tmp_path: Path, certify: Callable[..., Any]) -> None:
    made = certify("*.example.org")
    more = CERTIFIED % (made.certificate, made.key)
    place = configured(tmp_path, "{transport: shared, address: 192.0.2.1, port: 8443}", more=more)
    assert place.link_base() == "https://192.0.2.1:8443"


def test_where_a_proxy_header_is_required_is_no_way_in(tmp_path: Path) -> None:
    behind = "{transport: shared, tls: false, address: 127.0.0.1, port: 8080, proxies: [127.0.0.0/8], %s}"
    keys = "{admin_keys: {support: support-key-0123456789}}"
    required, optional = (behind % f"proxy_protocol: {word}" for word in ("required", "optional"))
    with pytest.raises(ConfigError) as caught:
        configured(tmp_path, required, signaling=keys).server()
    assert caught.value.problems[0].key == "listeners"
    assert configured(tmp_path, optional, signaling=keys).server().url.endswith(":8080")
    assert configured(tmp_path, required, PLAIN.replace("8080", "8081"), signaling=keys).server().url.endswith(":8081")


@pytest.mark.parametrize("signaling", ["{}", "{enabled: false, admin_keys: {support: support-key-0123456789}}"])
def test_no_key_or_no_rooms(tmp_path: Path, signaling: str) -> None:
    with pytest.raises(ConfigError):
        configured(tmp_path, PLAIN, signaling=signaling).server()


def test_no_shared_listener(tmp_path: Path) -> None:
    place = configured(tmp_path, "{address: 127.0.0.1}")
    assert place.link_base() == ""
    with pytest.raises(ConfigError):
        place.server()


def test_the_keys_of_a_configuration(tmp_path: Path) -> None:
    place = configured(tmp_path, PLAIN, signaling="{key: 'the very own key of the one server'}")
    token = place.token_keys().mint("demo", "member", 60, NOW, token_id="x")
    import jwt

    assert jwt.decode(
        token, b"the very own key of the one server", ["HS256"], audience="meshturn", options={"verify_exp": False}
    )


def test_no_keys(tmp_path: Path) -> None:
    file = tmp_path / "none.yml"
    file.write_text(f"listeners: [{PLAIN}]")
    with pytest.raises(ConfigError) as caught:
        place_of(file, None).token_keys()
    assert caught.value.problems[0].key == "signaling.key"


def test_a_server_of_the_command_line(tmp_path: Path) -> None:
    server = server_at("https://turn.example.org", "key", None)
    assert (server.url, server.key, server.local) == ("https://turn.example.org", "key", False)
    with pytest.raises(click.UsageError, match="cannot be used"):
        server_at("https://turn.example.org", "key", tmp_path / "nothing.pem")


def test_the_environment_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As it does for the server itself."""
    monkeypatch.setenv("MESHTURN_SIGNALING__ADMIN_KEYS", "{other: {env: OTHER_KEY}}")
    monkeypatch.setenv("OTHER_KEY", "key-of-the-environment")
    assert os.environ["OTHER_KEY"] == configured(tmp_path, PLAIN).key()


def test_a_listener_with_tls_or_without_is_reached_with_it(tmp_path: Path, certify: Callable[..., Any]) -> None:
    made = certify("turn.example.org")
    place = configured(
        tmp_path,
        "{transport: shared, tls: auto, address: 127.0.0.1, port: 8443}",
        more=CERTIFIED % (made.certificate, made.key),
        signaling="{admin_keys: {support: support-key-0123456789}}",
    )
    assert place.link_base() == "https://turn.example.org:8443"
    assert place.server().url == "https://127.0.0.1:8443"
