"""The process of the command line's server: signals, the limit of open files, the log.

A program that embeds a `turnserver.server.Server` handles these itself.
"""

import asyncio
import logging
import resource
import signal
from collections.abc import Callable, Mapping
from typing import Final

from turnserver.config import Config
from turnserver.errors import ConfigError, StartupError
from turnserver.lines import Lines
from turnserver.log import configure, shutdown
from turnserver.server import Server

__all__ = ["files_needed", "raise_file_limit", "run"]

_SPARE_FILES: Final = 256
"""File descriptors for everything but relays and connections: listeners, log, event loop."""

_logger = logging.getLogger("meshturn")
_lines = Lines(_logger)


async def run(
    config: Config,
    *,
    on_ready: Callable[[Server], None] | None = None,
    reload: Callable[[], Config] | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT. ``on_ready`` is called once everything is bound.

    On SIGHUP, ``reload`` reads the configuration again, and options that can change at run time do; an invalid
    configuration changes nothing. Raises `StartupError` when the server cannot start.
    """
    loop = asyncio.get_running_loop()
    heard: asyncio.Queue[int] = asyncio.Queue()
    numbers = [signal.SIGTERM, signal.SIGINT, *([signal.SIGHUP] if reload is not None else [])]
    for number in numbers:
        loop.add_signal_handler(number, heard.put_nowait, number)
    configure(config.log)
    try:
        raise_file_limit(files_needed(config))
        server = Server(config)
        loop.set_exception_handler(lambda _, context: _unforeseen(server, context))
        async with server:
            for listener in server.snapshot().listeners:
                fields = {"transport": listener.transport.label, "address": str(listener.address)}
                _logger.info("listening", extra={"fields": fields})
            if on_ready is not None:
                on_ready(server)
            while await heard.get() == signal.SIGHUP:
                if reload is not None:
                    await _reload(server, reload)
            _logger.info("stopping")
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)
        loop.set_exception_handler(None)
        shutdown()


def _unforeseen(server: Server, context: Mapping[str, object]) -> None:
    """The event loop's handler of uncaught exceptions in callbacks and tasks."""
    error = context.get("exception")
    if isinstance(error, Exception):
        server.fault("loop", error)
    else:
        _lines.write(logging.ERROR, "event loop error", {"what": str(context.get("message"))})


async def _reload(server: Server, reload: Callable[[], Config]) -> None:
    try:
        taken, waiting = await server.reload(reload())
    except ConfigError as error:
        for key, line, found, allowed in error.problems:
            fields = {"key": key, "line": line, "found": found, "allowed": allowed}
            _logger.error("configuration not reloaded", extra={"fields": fields})
        return
    except StartupError as error:
        _logger.error("configuration not reloaded", extra={"fields": {"reason": str(error)}})
        return
    except Exception as error:  # the server keeps its configuration
        server.fault("reload", error)
        return
    configure(server.config.log)
    raise_file_limit(files_needed(server.config))
    said = {"taken": list(taken), "waiting": list(waiting)}
    message = "configuration reloaded" + (
        "; some changes need a restart" if waiting else "" if taken else ": no change"
    )
    _logger.info(message, extra={"fields": {name: options for name, options in said.items() if options}})


def files_needed(config: Config) -> int:
    """The maximum number of file descriptors that a server may use."""
    connections = config.limits.connections if config.has_streams else 0
    return config.limits.allocations + connections + _SPARE_FILES


def raise_file_limit(wanted: int) -> None:
    """Raise RLIMIT_NOFILE to ``wanted`` where that is allowed, and say so in the log where it is not."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    for limits in ((wanted, max(wanted, hard)), (hard, hard)):
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        except (OSError, ValueError):
            continue
        break
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        _logger.warning(
            "fewer open files than limits.allocations and limits.connections need",
            extra={"fields": {"have": soft, "want": wanted}},
        )
