"""Options from the environment, and variables that are none."""

import pytest

from turnserver.config.environment import did_you_mean, overlay, unknown_variables, variables
from turnserver.config.models import Config, LimitsConfig


def test_every_option_has_a_variable() -> None:
    known = variables()
    assert known["MESHTURN_REALM"] == ("realm",)
    assert known["MESHTURN_RELAY__PORTS"] == ("relay", "ports")
    assert known["MESHTURN_LIMITS__ALLOCATIONS_PER_USER"] == ("limits", "allocations_per_user")
    for name in Config.model_fields:
        assert f"MESHTURN_{name.upper()}" in known
    for name in LimitsConfig.model_fields:
        assert f"MESHTURN_LIMITS__{name.upper()}" in known


def test_values_are_yaml_and_replace_what_was_there() -> None:
    data = {"realm": "a", "limits": {"allocations": 1, "max_lifetime": 2}, "log": None}
    environ = {
        "MESHTURN_REALM": "b",
        "MESHTURN_LIMITS__ALLOCATIONS": "7",
        "MESHTURN_LOG__LEVEL": "debug",
        "MESHTURN_PEERS__DENY": "[192.0.2.0/24]",
        "PATH": "/bin",
    }
    over = overlay(data, environ)
    assert over.problems == []
    assert over.data == {
        "realm": "b",
        "limits": {"allocations": 7, "max_lifetime": 2},
        "log": {"level": "debug"},
        "peers": {"deny": ["192.0.2.0/24"]},
    }
    assert data == {"realm": "a", "limits": {"allocations": 1, "max_lifetime": 2}, "log": None}


def test_a_section_is_set_before_what_is_in_it() -> None:
    environ = {"MESHTURN_LOG__LEVEL": "debug", "MESHTURN_LOG": "{level: error, format: json}"}
    assert overlay({}, environ).data == {"log": {"level": "debug", "format": "json"}}


@pytest.mark.parametrize("value", ["", " ", "\n"])
def test_an_empty_variable_is_as_good_as_none(value: str) -> None:
    over = overlay({"realm": "a"}, {"MESHTURN_REALM": value})
    assert over.data == {"realm": "a"}
    assert over.origin_of(("realm",)) is None


def test_origin() -> None:
    over = overlay({"realm": "a"}, {"MESHTURN_AUTH": "{users: {}}", "MESHTURN_AUTH__SEPARATOR": "'-'"})
    assert over.origin_of(("auth", "separator")) == "MESHTURN_AUTH__SEPARATOR"
    assert over.origin_of(("auth", "users", "alice")) == "MESHTURN_AUTH"
    assert over.origin_of(("realm",)) is None


def test_broken_values_are_told_by_the_name_of_the_variable() -> None:
    over = overlay({}, {"MESHTURN_REALM": "[hunter2", "MESHTURN_LOG": "{level: info, level: debug}"})
    assert [(problem.key, problem.line) for problem in over.problems] == [("MESHTURN_REALM", 0), ("MESHTURN_LOG", 0)]
    assert over.data == {}
    assert "hunter2" not in str(over.problems)


def test_unknown_variables() -> None:
    environ = dict.fromkeys(
        ["MESHTURN_RELM", "MESHTURN_RELAY_PORTS", "MESHTURN_AUTH__USERS__ALICE", "MESHTURN_MY_SECRET", "MESHTURN_"], "x"
    )
    fine = dict.fromkeys(
        ["MESHTURN_CONFIG", "MESHTURN_PASSWORD", "MESHTURN_STATE_DIR", "MESHTURN_REALM", "MESHTURNER", "REALM"], "x"
    )
    problems = {problem.key: problem.allowed for problem in unknown_variables(environ | fine, {"MESHTURN_MY_SECRET"})}
    assert problems.keys() == environ.keys() - {"MESHTURN_MY_SECRET"}
    assert problems["MESHTURN_RELM"].endswith("(did you mean MESHTURN_REALM?)")
    assert problems["MESHTURN_RELAY_PORTS"].endswith("(did you mean MESHTURN_RELAY__PORTS?)")


def test_did_you_mean() -> None:
    assert did_you_mean("adress", ["address", "port"]) == " (did you mean address?)"
    assert did_you_mean("banana", ["address", "port"]) == ""
    assert did_you_mean("address" * 1000, ["address", "port"]) == ""
