"""What differs between two configurations, and which of it a running server takes."""

from typing import Any

import pytest

from turnserver.config import Config, load_mapping, take_over
from turnserver.config.changes import is_live

HUSH = "hush hush hush hush"
HUSH2 = "hush hush hush HUSH"


def config(**options: Any) -> Config:
    return load_mapping(options).config


def test_nothing_differs_between_equals() -> None:
    options = {"auth": {"users": {"alice": HUSH}}, "peers": {"deny": ["8.8.8.8"]}}
    changes = take_over(config(**options), config(**options))
    assert changes == (config(**options), (), ())


def test_what_is_live_is_taken_and_the_rest_waits() -> None:
    """In the order of the schema, and what is in force then is put together of both."""
    before = config(realm="a", auth={"shared_secrets": [HUSH]}, relay={"tos": "clear"})
    after = config(realm="b", auth={"shared_secrets": [HUSH2], "nonce_lifetime": 60}, log={"level": "debug"})
    changes = take_over(before, after)
    assert changes.taken == ("auth.shared_secrets", "log.level")
    assert changes.waiting == ("realm", "relay.tos", "auth.nonce_lifetime")
    expected = config(realm="a", auth={"shared_secrets": [HUSH2]}, relay={"tos": "clear"}, log={"level": "debug"})
    assert changes.config == expected
    assert before.auth.shared_secrets[0].secret.get_secret_value() == HUSH


def test_a_list_changes_as_a_whole() -> None:
    before = config(listeners=[{"address": "127.0.0.1"}])
    after = config(listeners=[{"address": "127.0.0.1", "port": 1}])
    assert take_over(before, after).waiting == ("listeners",)


@pytest.mark.parametrize(
    ("section", "option", "live"),
    [("", "realm", False), ("peers", "deny", True), ("relay", "ports", False), ("signaling", "key", True)],
)
def test_the_schema_says_which(section: str, option: str, live: bool) -> None:
    model = type(getattr(Config(), section)) if section else Config
    assert is_live(model.model_fields[option]) is live
