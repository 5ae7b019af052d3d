"""The ``meshturn`` command group.

The modules of the commands are imported only when their command is called, so that ``meshturn --version`` and the
completion of a shell do not wait for the whole server to load.
"""

import importlib
from collections.abc import Mapping
from types import MappingProxyType

import click

from cli.exit_codes import ExitCode
from cli.failures import exit_code_of, show_failure
from turnserver import __version__
from turnserver.errors import MeshturnError

__all__ = ["LazyGroup", "main", "meshturn"]

_COMMANDS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "up": ("cli.up:up", "Serve at once, with no configuration, and print a credential."),
        "serve": ("cli.serve:serve", "Serve with a configuration file."),
        "check": ("cli.check:check", "Validate a configuration and say what it would do."),
        "config": ("cli.config:config", "Print the configuration's schema, or the configuration in force."),
        "credentials": ("cli.credentials:credentials", "Issue time-limited credentials."),
        "rooms": ("cli.rooms:rooms", "Sign tokens for rooms; see, close and clear rooms."),
        "call": ("cli.call:call", "Take part in a call, to see whether a deployment works."),
        "probe": ("cli.probe.command:probe", "Try a STUN or TURN server and say what works."),
    }
)

_EPILOG = """\b
Exit codes:
  0  fine
  1  the answer is no (a probe failed)
  2  the command line or the configuration is wrong
  3  the server cannot start (port in use, address not local, ...)
"""


class LazyGroup(click.Group):
    """A group that knows its commands by name and imports one when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in the order in which they matter."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command; None for a name nobody knows."""
        if cmd_name not in _COMMANDS:
            return None
        module, _, attribute = _COMMANDS[cmd_name][0].partition(":")
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in _COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> object:
        """Run a command; an error of ours becomes a message and an exit code."""
        try:
            return super().invoke(ctx)
        except MeshturnError as error:
            show_failure(error)
            ctx.exit(exit_code_of(error))
        except KeyboardInterrupt:
            ctx.exit(ExitCode.INTERRUPTED)


@click.group(
    name="meshturn",
    cls=LazyGroup,
    epilog=_EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="meshturn", message="%(prog)s %(version)s")
def meshturn() -> None:
    """A STUN and TURN server: `meshturn up` is all it takes to try it."""


def main() -> None:
    """The entry point: run the command that ``sys.argv`` names and exit with its code."""
    meshturn.main(prog_name="meshturn")


if __name__ == "__main__":
    main()
