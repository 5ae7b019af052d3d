"""From options to parts: nothing the operator says is lost on the way."""

from ipaddress import ip_address
from pathlib import Path
from typing import Any

from auth.ephemeral import SharedSecret, mint
from turnserver.assembly import (
    credential_source,
)
from turnserver.config import Config

LOOPBACK = ip_address("127.0.0.1").packed
PUBLIC = ip_address("203.0.113.9").packed


def config(**options: Any) -> Config:
    return Config.model_validate(options)


def packed(text: str) -> bytes:
    return ip_address(text).packed


def test_users_and_every_secret_can_log_in(tmp_path: Path) -> None:
    """Rule 24: several secrets at once, static users beside them, the separator as configured."""
    options = {
        "users": {"alice": "wonderland"},
        "shared_secrets": ["first secret of all", {"secret": "second secret of all", "hash": "sha256"}],
        "separator": "-",
    }
    source = credential_source(config(auth=options))
    assert source.find("nobody", "r", 0.0) == ()
    found = source.find("alice", "r", 0.0)
    assert not isinstance(found, str)
    assert [credential.user_id for credential in found] == ["alice"]
    name, _ = mint(SharedSecret(b"second secret of all", "sha256"), "bob", 2_000_000_000, "-")
    assert name == "2000000000-bob"
    assert [credential.user_id for credential in source.find(name, "r", 0.0)] == ["bob", "bob"]


def test_without_users_nobody_can() -> None:
    source = credential_source(config())
    assert source.find("alice", "r", 0.0) == ()
    assert not source.anonymous
