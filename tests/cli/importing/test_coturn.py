"""coturn's options, each in one list; limits, switches, and what does not fit."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.importing.coturn import import_coturn
from cli.importing.outcome import Plan, tree
from cli.importing.verdicts import KNOWN


def taken(text: str) -> dict[str, object]:
    plan = import_coturn(text)
    assert plan.problems == []
    return tree(plan.entries, lambda secret: secret.text)


def said(plan: Plan) -> set[int]:
    notes = (*plan.taken, *plan.already, *plan.cannot)
    return {note.line for note in notes} | {problem.line for problem in plan.problems}


VALUES = st.sampled_from(
    [
        "",
        "1",
        "0",
        "yes",
        "no",
        "600",
        "70000",
        "10.0.0.1",
        "8.8.8.8-8.8.4.4",
        "198.51.100.1/10.0.0.1",
        "a:b",
        "[::1]:5",
    ]
) | st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"]), max_size=20)


@given(st.lists(st.tuples(st.sampled_from(sorted(KNOWN)), VALUES), max_size=12))
def test_every_line_is_spoken_of(lines: list[tuple[str, str]]) -> None:
    """Whatever the values are, each line is in a list or an error, and what is left of the file is valid."""
    plan = import_coturn("\n".join(f"{name}={value}" for name, value in lines))
    assert set(range(1, len(lines) + 1)) <= said(plan)


@given(st.text(max_size=200))
def test_any_text_ends_in_a_plan(text: str) -> None:
    """No file makes a traceback."""
    import_coturn(text)


@pytest.mark.parametrize("name", sorted(KNOWN))
def test_every_option_alone(name: str) -> None:
    """With a value that suits many of them, each option of the table is in one list."""
    plan = import_coturn(f"{name}=1")
    assert 1 in said(plan)


def test_an_unknown_option() -> None:
    """coturn ignores it, and so does the import, which says so."""
    plan = import_coturn("--realm=a\nno-such-option")
    assert [(note.line, note.option) for note in plan.cannot if note.line] == [(1, "--realm"), (2, "no-such-option")]
    assert "dashes" in plan.cannot[0].text


def test_quotas_and_lifetimes() -> None:
    """0 is no quota; a lifetime outside of what can be is brought inside, and that is said."""
    assert taken("user-quota=0\ntotal-quota=7\nmax-allocate-lifetime=300\nstale-nonce=120") == {
        "listeners": LISTENERS,
        "limits": {
            "allocations_per_user": "unlimited",
            "allocations": 7,
            "max_lifetime": 300,
            "default_lifetime": 300,
        },
        "auth": {"nonce_lifetime": 120},
    }
    plan = import_coturn("stale-nonce=0\nmax-allocate-lifetime=999999")
    assert {1, 2} <= {note.line for note in plan.cannot}
    assert {1, 2} <= {note.line for note in plan.taken}


LISTENERS = [
    {"transport": transport, "address": host, "port": 3478}
    for host in ("0.0.0.0", "::")
    for transport in ("udp", "tcp")
]


def test_switches() -> None:
    """Each is taken when it is on, and is the default when it is off."""
    text = "no-tcp-relay\nmobility\nno-stun-backward-compatibility\nprod\nVerbose\n"
    assert taken(text) == {
        "listeners": LISTENERS,
        "relay": {"tcp": False, "mobility": True},
        "stun": {"classic": False},
        "software": "",
        "log": {"level": "debug"},
    }
    assert taken(text.replace("\n", "=0\n")) == {"listeners": LISTENERS}


def test_values_that_are_fixed_here() -> None:
    """The RFC's lifetimes are so already; others cannot be set."""
    plan = import_coturn(
        "channel-lifetime=600\npermission-lifetime=300\nmax-bps=0\nchannel-lifetime=700\nbps-capacity=9"
    )
    assert [note.line for note in plan.already] == [1, 2, 3]
    assert {4, 5} <= {note.line for note in plan.cannot}


def test_metrics_and_family() -> None:
    """Prometheus gets a listener on loopback; its port alone is nothing to coturn."""
    assert taken("prometheus\nallocation-default-address-family=ipv6") == {
        "listeners": LISTENERS,
        "metrics": {"port": 9641},
        "relay": {"default_family": "ipv6"},
    }
    plan = import_coturn("prometheus-port=9000\nallocation-default-address-family=keep")
    assert {1, 2} <= {note.line for note in plan.cannot}
    assert taken("prometheus\nprometheus-port=9000")["metrics"] == {"port": 9000}
