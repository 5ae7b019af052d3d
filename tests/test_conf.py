"""The commented configuration file says what the schema says: every option, its default, and nothing else."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from turnserver.config import CertificateConfig, Config, Listener, SharedSecretConfig, load

FILE = Path(__file__).resolve().parent.parent / "conf" / "meshturn.yml"
TEXT = FILE.read_text(encoding="utf-8")


def uncommented() -> str:
    """The file with every option in force: one ``#`` taken from the lines that do not have two."""
    return re.sub(r"^( *)#(?!#)", r"\1", TEXT, flags=re.MULTILINE)


def keys(path: str) -> set[str]:
    data: Any = yaml.safe_load(uncommented())
    for part in path.split("."):
        data = data[part] if part else data
    return set(data)


def test_file_as_it_is_changes_nothing() -> None:
    assert load(FILE, {}).config == Config()


def test_every_option_has_its_default(tmp_path: Path) -> None:
    copy = tmp_path / "meshturn.yml"
    copy.write_text(uncommented(), encoding="utf-8")
    loaded = load(copy, {})
    assert loaded.config == Config()
    assert loaded.config.model_dump() == Config().model_dump()


@pytest.mark.parametrize("path", ["", "tls", "relay", "auth", "auth.hook", "peers", "signaling", "limits", "log"])
def test_every_option_is_there_and_no_other(path: str) -> None:
    section: Any = Config
    for part in path.split(".") if path else []:
        section = section.model_fields[part].annotation
    assert issubclass(section, BaseModel)
    assert keys(path) == set(section.model_fields)


def test_every_key_of_a_listener_is_there() -> None:
    for listener in yaml.safe_load(uncommented())["listeners"]:
        assert set(listener) == set(Listener.model_fields)


def test_every_key_of_a_shared_secret_is_in_the_example() -> None:
    (example,) = re.findall(r"^ *## +- (\{secret: .*\})$", TEXT, re.MULTILINE)
    assert set(yaml.safe_load(example)) == set(SharedSecretConfig.model_fields)


def test_every_key_of_a_certificate_is_in_the_example() -> None:
    (example,) = re.findall(r"^ *## +- (\{certificate: .*\})$", TEXT, re.MULTILINE)
    assert set(yaml.safe_load(example)) == set(CertificateConfig.model_fields)


def test_examples_can_be_used(tmp_path: Path) -> None:
    """What the explanations show is accepted as it stands."""
    blocks = re.findall(r"(?:^  ##   .*\n)+", TEXT, re.MULTILINE)
    examples = (re.sub(r"^  ##   ", "  ", block, flags=re.MULTILINE) for block in blocks)
    certificates, relay, users, shared, hook, *signaling = examples
    (listeners,) = re.findall(r"^##   (listeners:\n(?:##     .*\n)+)", TEXT, re.MULTILINE)
    for name in ("alice.password", "turn.secret", "fullchain.pem", "privkey.pem", "support.key", "hook.secret"):
        (tmp_path / name).write_text("0123456789abcdef\n")
    copy = tmp_path / "meshturn.yml"
    auth, rooms = f"{users}{shared}{hook}", "".join(signaling)
    copy.write_text(
        f"{listeners.replace('##   ', '')}tls:\n{certificates}relay:\n{relay}auth:\n{auth}signaling:\n{rooms}"
    )
    config = load(copy, {"OTHER_SECRET": "fedcba9876543210", "WEBSITE_KEY": "a key of the website"}).config
    assert [(one.transport, one.tls, one.port) for one in config.listeners] == [
        ("udp", False, 3478),
        ("tcp", False, 3478),
        ("tls", True, 5349),
        ("shared", True, 443),
        ("shared", False, 8080),
    ]
    assert [pair.key for pair in config.tls.certificates] == [tmp_path / "privkey.pem"]
    assert list(config.auth.users) == ["alice"]
    assert [entry.hash for entry in config.auth.shared_secrets] == ["sha1", "sha256"]
    assert config.auth.hook.url == "https://users.example.org/turn"
    assert len(config.relay.external) == 1
    assert config.signaling.origins == ("https://app.example.org",)
    assert (list(config.signaling.api_keys), list(config.signaling.admin_keys)) == (["website"], ["support"])
    assert len(config.signaling.urls) == 2


def test_no_line_is_too_long() -> None:
    assert max(map(len, TEXT.splitlines())) <= 120
