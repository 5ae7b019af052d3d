"""What the schema says to people and editors."""

import os
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from turnserver.config import CertificateConfig, Config, Listener, SharedSecretConfig, json_schema, reference, show
from turnserver.config.changes import is_live
from turnserver.config.models import Section

PAGE = Path(__file__).resolve().parents[3] / "docs" / "configuration.md"
HUSH = "hush hush hush hush"


def options(section: type[BaseModel] = Config, prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Every option with its path; a section before what is in it."""
    for name, info in section.model_fields.items():
        yield prefix + name, info
        if isinstance(info.annotation, type) and issubclass(info.annotation, Section):
            yield from options(info.annotation, f"{prefix}{name}.")


def all_keys() -> list[str]:
    found = [path for path, _ in options()]
    found += [f"listeners[].{name}" for name in Listener.model_fields]
    found += [f"tls.certificates[].{name}" for name in CertificateConfig.model_fields]
    return found + [f"auth.shared_secrets[].{name}" for name in SharedSecretConfig.model_fields]


def test_page_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == reference(), "run docs/generate_configuration.py"


@pytest.mark.process
def test_the_page_is_written_from_any_folder(tmp_path: Path) -> None:
    """By the script alone, with the libraries (the site's own paths would lead to this checkout)."""
    environment = {**os.environ, "PYTHONPATH": sysconfig.get_path("purelib")}
    command = [sys.executable, "-S", str(PAGE.with_name("generate_configuration.py")), "written.md"]
    subprocess.run(command, cwd=tmp_path, env=environment, check=True)
    assert (tmp_path / "written.md").read_text(encoding="utf-8") == PAGE.read_text(encoding="utf-8")


def test_page_has_every_option_once() -> None:
    page = reference()
    assert {key: page.count(f"| `{key}` |") for key in all_keys()} == dict.fromkeys(all_keys(), 1)


def test_what_is_for_embedding_is_not_offered() -> None:
    """Neither on the page nor by an editor."""
    rows = {row.split(" | ")[0].strip("| `"): row for row in reference().splitlines() if "| `" in row}
    definitions = json_schema()["$defs"]
    assert definitions["Listener"]["properties"]["transport"]["enum"] == ["udp", "tcp", "tls", "shared", "dtls"]
    assert definitions["RelayConfig"]["properties"]["datapath"]["enum"] == ["auto", "asyncio"]
    assert "memory" not in rows["listeners[].transport"]
    assert "null" not in rows["relay.datapath"]


def test_every_row_of_the_page_has_five_cells() -> None:
    rows = [line for line in reference().splitlines() if line.startswith("|")]
    assert {line.replace("\\|", "").count("|") for line in rows} == {6}


def test_the_page_says_what_a_running_server_takes() -> None:
    """As the schema does; what is in a list goes with the list."""
    found = {row.split(" | ")[0].strip("| `"): row.split(" | ")[3] for row in reference().splitlines() if "| `" in row}
    for path, info in options():
        if isinstance(info.annotation, type) and issubclass(info.annotation, Section):
            assert found[path] == "see below"
        else:
            assert found[path] == ("live" if is_live(info) else "restart")
    assert found["auth.shared_secrets[].hash"] == "live"
    assert found["listeners[].port"] == "restart"


def test_show_is_the_whole_configuration_without_secrets() -> None:
    config = Config.model_validate({"auth": {"users": {"alice": HUSH}, "shared_secrets": [HUSH]}, "realm": "caf\u00e9"})
    text = show(config)
    shown = yaml.safe_load(text)
    assert HUSH not in text
    assert "caf\u00e9" in text
    assert shown["auth"]["users"] == {"alice": "(secret)"}
    assert shown["auth"]["shared_secrets"] == [{"secret": "(secret)", "hash": "sha1"}]
    for name, info in Config.model_fields.items():
        if isinstance(info.annotation, type) and issubclass(info.annotation, Section):
            assert shown[name].keys() == info.annotation.model_fields.keys()


def test_what_is_shown_can_be_loaded_again() -> None:
    assert Config.model_validate(yaml.safe_load(show(Config()))) == Config()


def test_schema_has_every_default() -> None:
    schema = json_schema()
    for path, info in options():
        if isinstance(info.annotation, type) and issubclass(info.annotation, Section):
            continue
        part: Any = schema
        value: Any = Config().model_dump(mode="json")
        section: Any = Config
        *above, name = path.split(".")
        for step in above:
            section = section.model_fields[step].annotation
            part, value = schema["$defs"][section.__name__], value[step]
        assert part["properties"][name]["default"] == value[name], path


def test_schema_is_closed_and_described() -> None:
    def closed(part: dict[str, Any]) -> None:
        assert part["additionalProperties"] is False
        for name, field in part["properties"].items():
            assert field.get("description"), name

    schema = json_schema()
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    closed(schema)
    for name, part in schema["$defs"].items():
        if name != "SharedSecretConfig":
            closed(part)


def test_defaults_that_depend_on_the_transport_are_not_given_as_one() -> None:
    properties = json_schema()["$defs"]["Listener"]["properties"]
    assert "default" not in properties["port"]
    assert "default" not in properties["tls"]
    assert reference().count("| by transport |") == 2


def test_schema_bounds() -> None:
    """The same bounds that the loader holds values to."""
    schema = json_schema()
    assert schema["properties"]["listeners"]["minItems"] == 1
    assert schema["$defs"]["Listener"]["required"] == ["address"]
    assert schema["$defs"]["Listener"]["properties"]["port"]["maximum"] == 65535
    assert schema["$defs"]["LogConfig"]["properties"]["level"]["enum"] == ["debug", "info", "warning", "error"]
    assert len(schema["$defs"]["SharedSecretConfig"]["anyOf"]) == 2
