"""``meshturn config``: an example, the schema, and the configuration in force."""

import os
from pathlib import Path
from typing import Final

import click

from cli.options import config_option, json_option

__all__ = ["EXAMPLE", "config", "example", "schema", "show"]

EXAMPLE: Final = Path(__file__).resolve().parent.parent / "conf" / "meshturn.yml"
"""The commented configuration: ``conf/`` is beside ``cli/`` in the repository, and so it is in an installed package."""


@click.group()
def config() -> None:
    """Print an example, the schema, or the configuration in force."""


@config.command()
def example() -> None:
    """Print an example of a configuration file: every option with its default, commented out.

    Unchanged, it has no effect. To begin: `meshturn config example > meshturn.yml`, then edit that file.
    """
    click.echo(EXAMPLE.read_text(encoding="utf-8"), nl=False)


@config.command()
def schema() -> None:
    """Print the JSON Schema of the configuration file, for editors and validators."""
    from cli.console import emit_json  # noqa: PLC0415  keeps --help quick
    from turnserver.config import json_schema  # noqa: PLC0415

    emit_json(json_schema())


@config.command()
@config_option
@json_option
def show(config_path: Path | None, as_json: bool) -> None:
    """Print every option with its value, defaults and environment included; secrets are masked.

    Exit code 0: printed; 2: the configuration is wrong.
    """
    from cli.loading import load_config, show_warnings  # noqa: PLC0415
    from turnserver.config import show as as_yaml  # noqa: PLC0415
    from turnserver.text import printable  # noqa: PLC0415

    loaded = load_config(config_path, os.environ)
    show_warnings(loaded)
    if as_json:
        from cli.console import emit_json  # noqa: PLC0415

        emit_json(loaded.config.model_dump(mode="json"))
        return
    click.echo("\n".join(map(printable, as_yaml(loaded.config).splitlines())))
