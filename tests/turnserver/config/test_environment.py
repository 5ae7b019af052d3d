"""Options from the environment, and variables that are none."""

import re
from pathlib import Path

import pytest

from turnserver.config.environment import OTHER_VARIABLES, did_you_mean, overlay, unknown_variables, variables
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


KUBERNETES = {
    "MESHTURN_SERVICE_HOST": "10.96.7.7",
    "MESHTURN_SERVICE_PORT": "3478",
    "MESHTURN_SERVICE_PORT_TURN": "3478",
    "MESHTURN_PORT": "udp://10.96.7.7:3478",
    "MESHTURN_PORT_3478_UDP": "udp://10.96.7.7:3478",
    "MESHTURN_PORT_3478_UDP_PROTO": "udp",
    "MESHTURN_PORT_3478_UDP_PORT": "3478",
    "MESHTURN_PORT_3478_UDP_ADDR": "10.96.7.7",
}
"""What the documentation of Kubernetes says of a Service called ``meshturn``."""


def test_typing_errors_in_our_own_way_of_writing_are_errors() -> None:
    environ = dict.fromkeys(["MESHTURN_REALY__PORTS", "MESHTURN_AUTH__USERS__ALICE", "MESHTURN_MY__SECRET"], "x")
    problems, warnings = unknown_variables(environ, {"MESHTURN_MY__SECRET"})
    assert {problem.key for problem in problems} == {"MESHTURN_REALY__PORTS", "MESHTURN_AUTH__USERS__ALICE"}
    assert problems[1].allowed.endswith("(did you mean MESHTURN_RELAY__PORTS?)")
    assert warnings == []


def test_what_others_may_have_written_is_a_warning() -> None:
    """Kind: an environment that others write to, too."""
    environ = dict.fromkeys(["MESHTURN_RELM", "MESHTURN_RELAY_PORTS", "MESHTURN_", "MESHTURN_PORT"], "5")
    fine = dict.fromkeys([*OTHER_VARIABLES, "MESHTURN_REALM", "MESHTURN_MINE", "MESHTURNER", "REALM"], "x")
    problems, warnings = unknown_variables(environ | fine, {"MESHTURN_MINE"})
    assert problems == []
    assert len(warnings) == len(environ)
    text = "\n".join(warnings)
    assert "variable MESHTURN_RELM is not an option of meshturn and is ignored (did you mean MESHTURN_REALM?)." in text
    assert "(did you mean MESHTURN_RELAY__PORTS?)" in text


@pytest.mark.parametrize(
    "environ",
    [
        KUBERNETES,
        {name.replace("MESHTURN_", "MESHTURN_WEB_"): value for name, value in KUBERNETES.items()},
        {name.replace("MESHTURN_", "MESHTURN__A_"): value for name, value in KUBERNETES.items()},
        {
            "MESHTURN_SERVICE_HOST": "fd00::7",
            "MESHTURN_PORT": "tcp://[fd00::7]:443",
            "MESHTURN_PORT_9_SCTP_ADDR": "::1",
        },
        {
            "MESHTURN_NAME": "/web/meshturn",
            "MESHTURN_ENV_LD__PATH": "a\nb",
            "MESHTURN_PORT_3478_UDP_START": "udp://172.17.0.5:3478",
            "MESHTURN_PORT_3478_UDP_PORT_END": "3480",
        },
    ],
    ids=["of our name", "of a name that starts so", "with two underscores", "IPv6", "docker"],
)
def test_links_to_services_are_no_options(environ: dict[str, str]) -> None:
    """Kind: an environment that others write to, too."""
    assert unknown_variables(environ, ()) == ([], [])


def test_a_flood_of_foreign_variables_has_a_bounded_number_of_warnings() -> None:
    _, warnings = unknown_variables({f"MESHTURN_X{number}": "" for number in range(1000)}, ())
    assert len(warnings) == 21
    assert warnings[-1] == "980 more environment variables are ignored."


def test_every_variable_that_the_code_reads_is_known() -> None:
    """Kind: a variable of our own that another command takes for a mistake."""
    root = Path(__file__).parents[3]
    sources = [
        path.read_text("utf-8")
        for folder in ("cli", "turnserver", "meshturn")
        for path in root.glob(f"{folder}/**/*.py")
    ]
    read = {name for text in sources for name in re.findall(r"[\"\' (](MESHTURN_[A-Z_]*[A-Z])\b", text)}
    assert {"MESHTURN_TOKEN", "MESHTURN_PASSWORD"} <= read
    assert read <= {*variables(), *OTHER_VARIABLES, "MESHTURN_SECTION__OPTION"}


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("relam", "realm"), ("realy", "relay"), ("lsiteners", "listeners"), ("limtis", "limits"), ("perrs", "peers")],
)
def test_of_near_words_the_one_with_the_same_letters_is_meant(typed: str, meant: str) -> None:
    """Kind: two letters that were swapped."""
    assert did_you_mean(typed, Config.model_fields) == f" (did you mean {meant}?)"
    assert did_you_mean(f"MESHTURN_{typed.upper()}", variables()) == f" (did you mean MESHTURN_{meant.upper()}?)"


def test_did_you_mean() -> None:
    assert did_you_mean("adress", ["address", "port"]) == " (did you mean address?)"
    assert did_you_mean("banana", ["address", "port"]) == ""
    assert did_you_mean("address" * 1000, ["address", "port"]) == ""
