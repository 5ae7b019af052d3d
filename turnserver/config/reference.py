"""The configuration as seen from outside: JSON Schema, the effective values, the reference page."""

import inspect
from collections.abc import Iterator, Mapping
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from turnserver.config.auth import SharedSecretConfig
from turnserver.config.changes import is_live
from turnserver.config.environment import OTHER_VARIABLES, PREFIX
from turnserver.config.models import CertificateConfig, Config, Listener, Section
from turnserver.config.secret import MASK, Secret
from turnserver.config.values import Varies, rule_in

__all__ = ["json_schema", "reference", "show"]


def show(config: Config) -> str:
    """Return a configuration as YAML, every option with its value, every secret masked."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=100)


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of the configuration file, for editors."""
    schema = Config.model_json_schema()
    defaults = Config().model_dump(mode="json")
    _set_section_defaults(schema, schema["$defs"], Config, defaults)
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "meshturn configuration"}
    return head | {key: value for key, value in schema.items() if key not in head}


def _set_section_defaults(
    schema: dict[str, Any], definitions: Mapping[str, Any], section: type[BaseModel], defaults: Mapping[str, Any]
) -> None:
    """Set the default of every option, in this section and in those within it."""
    for name, info in section.model_fields.items():
        if isinstance(info.annotation, type) and issubclass(info.annotation, Section):
            _set_section_defaults(definitions[info.annotation.__name__], definitions, info.annotation, defaults[name])
        else:
            schema["properties"][name]["default"] = defaults[name]


_HEAD = f"""\
# Configuration reference

<!-- Generated from the schema in turnserver/config; run `python docs/generate_configuration.py` after changing it.
-->

meshturn reads one YAML file (`meshturn serve -c FILE`). Every option has a safe default, so an empty file is valid. A
key without a value has its default. `conf/meshturn.yml` has every option with its default, commented
out. `meshturn check -c FILE` prints every problem at once, `meshturn config show -c FILE` prints what is in force, and
`meshturn config schema` prints a JSON Schema for editors.

**Durations** are in seconds, or a number with a unit: `s`, `m`, `h`, `d` or `w` (`600`, `10m`, `1h30m`).

**Secrets** are a text, `{{file: PATH}}` or `{{env: NAME}}`. A path is relative to the configuration file; one newline
at the end of the file is dropped. Secrets are never shown: `{MASK}` stands in their place.

**Environment variables** replace options: `{PREFIX}` and the path of the option in capitals, with two underscores
between its parts, as in `{PREFIX}REALM=example.org` or `{PREFIX}RELAY__PORTS=50000-50999`. The value is YAML, so
`{PREFIX}AUTH__SHARED_SECRETS='[{{env: TURN_SECRET}}]'` works. An empty variable is ignored. A variable with
this prefix and two underscores that names no option is an error. Without two underscores it is a warning, because
others write to the environment, too. What Kubernetes and Docker set for a service called `meshturn`, such as
`{PREFIX}SERVICE_HOST` and `{PREFIX}PORT=udp://...`, is ignored.
{", ".join(f"`{name}`" for name in sorted(OTHER_VARIABLES))} are variables of the command line.

**Changes** marked `live` are applied by a running server when it reads the file again (SIGHUP). The others wait for a
restart, and the log names them. Options inside a list or a mapping (`listeners[]`) change with it as a whole.

The YAML is plain: no anchors, aliases and tags, and only `true` and `false` are booleans. Addresses that start with a
colon need quotes (`"::"`).
"""


def reference() -> str:
    """Return the reference page, in Markdown: one table per section."""
    defaults = Config().model_dump(mode="json")
    return "\n".join([_HEAD, _table("The top level", Config, defaults, ""), *_tables(Config, defaults, "")])


_ITEMS: Mapping[str, type[Section]] = {
    "listeners": Listener,
    "tls.certificates": CertificateConfig,
    "auth.shared_secrets": SharedSecretConfig,
}
"""What the lists of sections are lists of."""


def _tables(section: type[BaseModel], defaults: Mapping[str, Any], prefix: str) -> Iterator[str]:
    """The tables of the sections and lists in a section, each with those within it."""
    for name, info in section.model_fields.items():
        path = prefix + name
        if isinstance(info.annotation, type) and issubclass(info.annotation, Section):
            yield _table(f"`{path}`", info.annotation, defaults[name], f"{path}.")
            yield from _tables(info.annotation, defaults[name], f"{path}.")
        if path in _ITEMS:
            yield _items_table(path, _ITEMS[path])


def _field_defaults(section: type[BaseModel]) -> dict[str, Any]:
    return {name: info.default for name, info in section.model_fields.items() if not info.is_required()}


def _items_table(path: str, section: type[Section]) -> str:
    """The table of a list's items, which change with the list."""
    info = _field_at(path)
    return _table(f"`{path}`", section, _field_defaults(section), f"{path}[].", _change(info))


def _field_at(path: str) -> FieldInfo:
    section: type[BaseModel] = Config
    *above, name = path.split(".")
    for part in above:
        annotation = section.model_fields[part].annotation
        if isinstance(annotation, type) and issubclass(annotation, Section):
            section = annotation
    return section.model_fields[name]


def _table(
    title: str, section: type[BaseModel], defaults: Mapping[str, Any], prefix: str, change: str | None = None
) -> str:
    """One table; ``change`` is said of every option, if it is not to be found with each."""
    rows = [
        f"| `{prefix}{name}` | {_type_of(info)} | {_default(info, defaults, name)} | "
        f"{change or _change(info)} | {_cell(info.description or '')} |"
        for name, info in section.model_fields.items()
    ]
    head = ["| key | type | default | change | meaning |", "| --- | --- | --- | --- | --- |"]
    return "\n".join([f"## {title}", "", inspect.cleandoc(section.__doc__ or ""), "", *head, *rows, ""])


def _default(info: FieldInfo, defaults: Mapping[str, Any], name: str) -> str:
    if info.is_required():
        return "(required)"
    if isinstance(info.annotation, type) and issubclass(info.annotation, Section):
        return "see below"
    varies = next((item for item in info.metadata if isinstance(item, Varies)), None)
    if varies is not None:
        return varies.how
    text = yaml.safe_dump(defaults[name], default_flow_style=True, sort_keys=False, width=1000)
    return f"`{_cell(text.strip().removesuffix('...').strip())}`"


def _change(info: FieldInfo) -> str:
    """When a change of an option comes into force; a section's options each say it."""
    if isinstance(info.annotation, type) and issubclass(info.annotation, Section):
        return "see below"
    return "live" if is_live(info) else "restart"


def _type_of(info: FieldInfo) -> str:
    rule = rule_in(info.metadata)
    return _cell(rule.name if rule is not None else _name_of(info.annotation))


def _name_of(annotation: Any) -> str:
    """Name the type of a list, a mapping or a section, from the rules in it."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in {UnionType, Union}:
        return _name_of(arguments[0])
    if origin is Annotated:
        rule = rule_in(arguments[1:])
        return rule.name if rule is not None else _name_of(arguments[0])
    if origin is tuple:
        return f"list: {_name_of(arguments[0])}"
    if origin is Mapping:
        return f"mapping: {_name_of(arguments[0])} → {_name_of(arguments[1])}"
    if annotation is Secret:
        return "secret"
    return "secret, or section" if annotation is SharedSecretConfig else "section"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
