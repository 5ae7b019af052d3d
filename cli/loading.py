"""Reads the configuration for a command, and prints its warnings."""

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cli.console import error_console, say
from turnserver.config import Loaded, load
from turnserver.errors import ConfigError

__all__ = ["Setting", "load_config", "load_settings", "show_warnings"]

Setting = tuple[str, str, Any]
"""An option that a command sets: its environment variable, the name of the command's option, and the value."""


def load_config(path: Path | None, environ: Mapping[str, str], *, strict: bool = False) -> Loaded:
    """Read a configuration file (None: defaults) and replace options by environment variables.

    With ``strict``, the files of certificates have to be there. Raises `turnserver.errors.ConfigError` with everything
    that is wrong.
    """
    return load(path, environ, strict=strict)


def load_settings(settings: list[Setting], environ: Mapping[str, str]) -> Loaded:
    """Make a configuration from a command's options, which override the environment's.

    Raises `turnserver.errors.ConfigError`, which names the command's options.
    """
    given = {variable: json.dumps(value) for variable, _, value in settings}
    try:
        return load(None, {**environ, **given})
    except ConfigError as error:
        problems = error.problems
        for variable, option, _ in settings:
            problems = [item._replace(found=item.found.replace(variable, option)) for item in problems]
        raise ConfigError("command line and environment", problems) from error


def show_warnings(loaded: Loaded) -> None:
    """Write the configuration's warnings to standard error."""
    console = error_console(logging.WARNING)
    for warning in loaded.warnings:
        say(console, f"Warning: {warning}", "yellow")
