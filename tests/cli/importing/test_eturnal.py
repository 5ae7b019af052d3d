"""eturnal's options, each in one list."""

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from cli.importing.eturnal import import_eturnal
from cli.importing.outcome import Plan, tree

OPTIONS = [
    "secret",
    "listen",
    "relay_ipv4_addr",
    "relay_ipv6_addr",
    "relay_min_port",
    "relay_max_port",
    "tls_crt_file",
    "tls_key_file",
    "tls_dh_file",
    "tls_ciphers",
    "tls_options",
    "max_allocations",
    "max_permissions",
    "max_bps",
    "blacklist",
    "whitelist",
    "blacklist_clients",
    "whitelist_clients",
    "blacklist_peers",
    "whitelist_peers",
    "strict_expiry",
    "credentials",
    "realm",
    "software_name",
    "run_dir",
    "log_dir",
    "log_level",
    "log_rotate_size",
    "log_rotate_count",
    "modules",
]


def plan_of(**options: Any) -> Plan:
    return import_eturnal(yaml.safe_dump({"eturnal": options}))


def taken(**options: Any) -> dict[str, Any]:
    plan = plan_of(**options)
    assert plan.problems == []
    return tree(plan.entries, lambda secret: secret.text)


SCALARS = (
    st.none() | st.booleans() | st.integers(-2, 70_000) | st.sampled_from(["", "a", "::", "10.0.0.1", "unlimited"])
)
ANY = (
    SCALARS | st.lists(SCALARS, max_size=2) | st.dictionaries(st.sampled_from(["ip", "port", "a"]), SCALARS, max_size=3)
)


@given(st.dictionaries(st.sampled_from(OPTIONS), ANY | st.lists(ANY, max_size=2), max_size=6))
def test_no_value_makes_a_traceback(options: dict[str, Any]) -> None:
    """Whatever the values are, each option with a value is in a list or an error, and what is left is valid."""
    plan = plan_of(**options)
    notes = [*plan.taken, *plan.already, *plan.cannot]
    said = {note.option for note in notes} | {problem.key for problem in plan.problems}
    empty: tuple[Any, ...] = (None, "", [], {})
    wanted = {name for name, value in options.items() if value not in empty and name != "modules"}
    assert plan.problems or wanted <= said


@pytest.mark.parametrize(
    ("text", "line"),
    [("a: 1", 0), ("eturnal: [1]", 1), ("eturnal: &a {b: *a}", 1), ("eturnal:\n  realm: 7", 2), ("", 0)],
)
def test_files_of_another_form(text: str, line: int) -> None:
    """The errors have lines; anchors are refused, as in our own files."""
    plan = import_eturnal(text)
    assert plan.problems
    assert plan.problems[0].line == line


def test_defaults() -> None:
    """Without options eturnal has UDP and TCP on both families, and its own realm."""
    found = taken(secret="a secret of eturnal")
    assert [(item["transport"], item["address"]) for item in found["listeners"]] == [
        ("udp", "0.0.0.0"),
        ("tcp", "0.0.0.0"),
        ("udp", "::"),
        ("tcp", "::"),
    ]
    assert (found["realm"], found["auth"]) == ("eturnal.net", {"shared_secrets": ["a secret of eturnal"]})


def test_listeners() -> None:
    """``::`` is for both families, auto tells TLS from plain, and a PROXY header needs named proxies."""
    plan = plan_of(
        secret="x" * 20,
        tls_crt_file="/chain-and-key.pem",
        listen=[
            {"ip": "::", "transport": "auto", "proxy_protocol": True},
            {"ip": "192.0.2.1", "transport": "tls", "enable_turn": False},
        ],
    )
    options = tree(plan.entries, lambda secret: secret.text)
    assert options["listeners"] == [
        {"transport": "tcp", "tls": "auto", "address": "0.0.0.0", "port": 3478},
        {"transport": "tcp", "tls": "auto", "address": "::", "port": 3478},
        {"transport": "tls", "address": "192.0.2.1", "port": 5349},
    ]
    assert options["tls"] == {"certificates": [{"certificate": "/chain-and-key.pem", "key": "/chain-and-key.pem"}]}
    assert [note.text.split(":")[0] for note in plan.cannot if note.option == "listen"] == [
        "proxy_protocol",
        "enable_turn",
    ]


def test_peers() -> None:
    """The lists under both of their names; what is recommended is closed already."""
    found = taken(
        secret="x" * 20, blacklist=["127.0.0.0/8", "9.0.0.0/8"], whitelist="9.9.9.9", blacklist_peers="recommended"
    )
    assert "9.0.0.0/8" not in found["peers"]["deny"]
    assert "allow" not in found["peers"]
    assert all(each.startswith("9.") for each in found["peers"]["deny"])


def test_limits_and_modules() -> None:
    """unlimited stays so; a module for Prometheus is a listener on loopback."""
    found = taken(
        secret=["x" * 20, "y" * 20],
        max_allocations="unlimited",
        max_permissions=7,
        max_bps="unlimited",
        log_level="debug",
        software_name="turn",
        modules={"mod_stats_prometheus": {"port": 9000}, "mod_log_stun": {}},
    )
    assert found["limits"] == {"allocations_per_user": "unlimited", "permissions_per_allocation": 7}
    assert (found["log"], found["software"], found["metrics"]) == ({"level": "debug"}, "turn", {"port": 9000})
    assert found["auth"]["shared_secrets"] == ["x" * 20, "y" * 20]


def test_clients() -> None:
    """What is allowed is an exception of what is denied, which `clients.deny` cannot have: it is cut out."""
    found = taken(secret="x" * 20, blacklist_clients=["9.0.0.0/30"], whitelist_clients="9.0.0.1")
    assert found["clients"] == {"deny": ["9.0.0.2/31", "9.0.0.0/32"]}
    plan = plan_of(secret="x" * 20, blacklist_clients=["9.0.0.1"], whitelist_clients=["9.0.0.0/8"])
    assert [note.option for note in plan.already] == ["whitelist_clients", "blacklist_clients"]
    assert plan_of(blacklist_clients=["a.example.org"]).problems
