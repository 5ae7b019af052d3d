"""The ``meshturn`` command group.

The modules of the commands are imported only when their command is called, so that ``meshturn --version`` and the
completion of a shell do not wait for the whole server to load.
"""

import sys
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple, TextIO, cast

import click
from click.shell_completion import CompletionItem

from cli.exit_codes import ExitCode
from cli.failures import exit_code_of, show_failure
from cli.output import WatchedOutput
from turnserver import __version__
from turnserver.errors import ServerError, StartupError

if TYPE_CHECKING:
    from turnserver.signals import Signals

__all__ = ["LazyGroup", "meshturn", "run"]


def _up() -> click.Command:
    from cli.up import up  # noqa: PLC0415

    return up


def _serve() -> click.Command:
    from cli.serve import serve  # noqa: PLC0415

    return serve


def _check() -> click.Command:
    from cli.check import check  # noqa: PLC0415

    return check


def _config() -> click.Command:
    from cli.config import config  # noqa: PLC0415

    return config


def _credentials() -> click.Command:
    from cli.credentials import credentials  # noqa: PLC0415

    return credentials


def _rooms() -> click.Command:
    from cli.rooms import rooms  # noqa: PLC0415

    return rooms


def _keys() -> click.Command:
    from cli.keys import keys  # noqa: PLC0415

    return keys


def _recordings() -> click.Command:
    from cli.recordings import recordings  # noqa: PLC0415

    return recordings


def _import() -> click.Command:
    from cli.importing.command import import_  # noqa: PLC0415

    return import_


def _drain() -> click.Command:
    from cli.drain import drain  # noqa: PLC0415

    return drain


def _call() -> click.Command:
    from cli.call import call  # noqa: PLC0415

    return call


def _probe() -> click.Command:
    from cli.probe.command import probe  # noqa: PLC0415

    return probe


def _nat() -> click.Command:
    from cli.nat.command import nat  # noqa: PLC0415

    return nat


def _doctor() -> click.Command:
    from cli.doctor.command import doctor  # noqa: PLC0415

    return doctor


def _conform() -> click.Command:
    from cli.conform.command import conform  # noqa: PLC0415

    return conform


class _Entry(NamedTuple):
    load: Callable[[], click.Command]
    summary: str


_COMMANDS: Mapping[str, _Entry] = MappingProxyType(
    {
        "up": _Entry(_up, "Start a server without configuration and print a credential."),
        "serve": _Entry(_serve, "Serve with a configuration file."),
        "check": _Entry(_check, "Validate a configuration and show what it would do."),
        "config": _Entry(_config, "Print an example, the schema, or the configuration in force."),
        "credentials": _Entry(_credentials, "Issue time-limited credentials."),
        "rooms": _Entry(_rooms, "Sign tokens for rooms; list and close rooms, remove participants."),
        "keys": _Entry(_keys, "Create, list and revoke API keys."),
        "recordings": _Entry(_recordings, "List recordings of rooms, and make films of them."),
        "import": _Entry(_import, "Make a configuration of one of coturn or eturnal."),
        "drain": _Entry(_drain, "Take a running server out of service without cutting calls."),
        "call": _Entry(_call, "Take part in a call, to test a deployment."),
        "probe": _Entry(_probe, "Test a STUN or TURN server and report what works."),
        "doctor": _Entry(_doctor, "Check on the server's host what goes wrong in practice."),
        "nat": _Entry(_nat, "Find out which NAT this machine is behind."),
        "conform": _Entry(_conform, "Test a STUN or TURN server rule by rule, against the RFCs."),
    }
)
"""The commands, the most important first."""

_EPILOG = """\b
Exit codes:
  0  fine
  1  the result is negative (a probe failed, no server answered)
  2  the command line or the configuration is wrong
  3  the machine does not allow it (port in use, address not local, full disk, ...)
  4  a recommendation is not followed (conform: a SHOULD, and no MUST)
"""


class LazyGroup(click.Group):
    """A group that imports a command when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, the most important command first."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command; None for an unknown name."""
        entry = _COMMANDS.get(cmd_name)
        return None if entry is None else entry.load()

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.summary) for name, entry in _COMMANDS.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """The commands that begin with ``incomplete``, and the group's own options, without importing a command."""
        found = [
            CompletionItem(name, help=entry.summary) for name, entry in _COMMANDS.items() if name.startswith(incomplete)
        ]
        return found + click.Command.shell_complete(self, ctx, incomplete)

    def invoke(self, ctx: click.Context) -> object:
        """Run a command; an error of meshturn becomes a message and an exit code."""
        try:
            return super().invoke(ctx)
        except ServerError as error:
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
    """A STUN and TURN server. To try it, run `meshturn up`."""


def run(signals: "Signals | None" = None) -> None:
    """Run the command that ``sys.argv`` names and exit with its code; ``signals`` are those that a server takes.

    If standard output does not take all of the answer, that is a failure of its own (`ExitCode.CANNOT_START`), whatever
    the command has found: a script must not go on with half of an answer.
    """
    output = None if sys.stdout is None else WatchedOutput(sys.stdout)
    if output is not None:
        sys.stdout = cast("TextIO", output)
    code: object = ExitCode.OK
    try:
        meshturn.main(prog_name="meshturn", obj=signals)
    except SystemExit as end:
        code = end.code
    except OSError:
        if output is None or output.failure is None:
            raise
    finally:
        if output is not None:
            sys.stdout = output.give_back()
    if output is not None and output.failure is not None:
        reason = output.failure.strerror or type(output.failure).__name__
        show_failure(StartupError(f"Standard output cannot be written to: {reason}."))
        code = ExitCode.CANNOT_START
    sys.exit(code)  # type: ignore[arg-type]
