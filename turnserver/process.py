"""The process of the command line's server: signals, the limit of open files, the log.

A program that embeds a `turnserver.server.Server` handles these itself.
"""

import asyncio
import gc
import logging
import resource
from collections.abc import Callable, Mapping

from turnserver.config import Config, Loaded
from turnserver.errors import ConfigError, StartupError
from turnserver.files import file_limit, files_needed
from turnserver.lines import Lines
from turnserver.listening import listener_fields
from turnserver.log import configure, shutdown
from turnserver.notify import SILENT, Notifier, Pulse
from turnserver.passed import NO_SOCKETS, PassedSockets
from turnserver.server import Server
from turnserver.signals import DRAIN, RELOAD, RELOAD_CERTIFICATES, Signals
from turnserver.text import one_line

__all__ = ["raise_file_limit", "run"]

_logger = logging.getLogger("meshturn")
_lines = Lines(_logger)


async def run(
    config: Config,
    *,
    on_ready: Callable[[Server], None] | None = None,
    reload: Callable[[], Loaded] | None = None,
    signals: Signals | None = None,
    passed: PassedSockets = NO_SOCKETS,
    notifier: Notifier = SILENT,
) -> None:
    """Serve until a signal ends it. ``on_ready`` is called once everything is bound.

    SIGTERM and SIGINT end the server. On SIGHUP, ``reload`` reads the configuration again, and options that can change
    at run time do; an invalid configuration changes nothing. SIGUSR2 reads the certificates again. SIGUSR1 drains the
    server: it ends when nothing is left of it, after `drain_timeout`, or at the second SIGUSR1.

    ``signals`` has those that came before this call: they are answered once the server is ready, but one that ends the
    process does so before anything is bound. Without it, the process's signals are held during this call only.

    ``passed`` are sockets for the listeners, which are closed at the end. ``notifier`` tells the service manager when
    the server is ready, reads its configuration again, and stops.

    Raises `StartupError` when the server cannot start.
    """
    held = Signals() if signals is None else signals
    held.hold()
    told = _Told(notifier)
    configure(config.log)
    loop = asyncio.get_running_loop()
    heard = asyncio.Event()
    held.listen(lambda: loop.call_soon_threadsafe(heard.set))
    try:
        if held.ends:
            _logger.info("stopping before the start")
            return
        raise_file_limit(files_needed(config))
        server = Server(config, passed=passed)
        loop.set_exception_handler(lambda _, context: _unforeseen(server, context))
        async with server:
            _say_listeners(server)
            _spare_the_collector()
            if on_ready is not None:
                on_ready(server)
            told.begin(server)
            await _answer_signals(server, told, held, heard, reload)
            _logger.info("stopping")
            told.stopping()
        _logger.info("stopped")
    finally:
        told.end()
        passed.close()
        gc.unfreeze()
        held.listen(None)
        if signals is None:
            held.release()
        loop.set_exception_handler(None)
        shutdown()


class _Told:
    """What the service manager is told of a server while it runs."""

    def __init__(self, notifier: Notifier) -> None:
        self._notifier = notifier
        self._pulse = Pulse(notifier, self._status)
        self._server: Server | None = None
        self._stale = False

    def begin(self, server: Server) -> None:
        """The server is ready."""
        self._server = server
        self._notifier.ready(self._status())
        self._pulse.start()

    def draining(self) -> None:
        """A drain has begun."""
        self._notifier.status(self._status())

    def reloading(self) -> None:
        """The configuration is read again."""
        self._notifier.reloading()

    def reloaded(self, done: bool) -> None:
        """It is in force; or it cannot be used, and the old one stays in force."""
        self._stale = not done
        self._notifier.ready(self._status())

    def stopping(self) -> None:
        """The server ends; the watchdog is fed until it has ended."""
        self._server = None
        self._notifier.stopping()

    def end(self) -> None:
        """The server has ended."""
        self._pulse.stop()

    def _status(self) -> str:
        if self._server is None:
            return "Stopping"
        left = self._server.remaining()
        doing = "Draining" if self._server.draining else "Serving"
        stale = "; the last reload has failed, see the log" if self._stale else ""
        return f"{doing}: allocations {left['allocations']}, rooms {left['rooms']}{stale}"


def _say_listeners(server: Server) -> None:
    for listener in server.snapshot().listeners:
        _logger.info("listening", extra={"fields": listener_fields(listener)})


async def _answer_signals(
    server: Server, told: _Told, signals: Signals, heard: asyncio.Event, reload: Callable[[], Loaded] | None
) -> None:
    """Answer signals, one after the other, until one ends the server, or a drain is over, whoever has begun it."""
    drained = asyncio.ensure_future(server.drained())
    try:
        while not drained.done():
            number = signals.take()
            if number is None:
                heard.clear()
                await _either(drained, heard)
            elif not await _goes_on(server, told, number, signals, reload):
                return
        _say_drained(server, drained.result())
    finally:
        drained.cancel()


async def _either(drained: "asyncio.Future[bool]", heard: asyncio.Event) -> None:
    waiting = asyncio.ensure_future(heard.wait())
    try:
        await asyncio.wait((drained, waiting), return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()


def _say_drained(server: Server, empty: bool) -> None:
    if empty:
        _logger.info("drained")
        return
    now = server.snapshot()
    fields = {"allocations": now.limits.allocations.used, "rooms": now.limits.rooms.used}
    _logger.warning("drain_timeout is over: what is left ends now", extra={"fields": fields})


async def _goes_on(
    server: Server, told: _Told, number: int, signals: Signals, reload: Callable[[], Loaded] | None
) -> bool:
    """Answer one signal; False if it ends the server."""
    if number == DRAIN and not server.draining:
        server.begin_drain()
        told.draining()
    elif number == RELOAD and reload is not None:
        told.reloading()
        told.reloaded(await _reload(server, reload))
    elif number == RELOAD and signals.hung_up:
        _logger.info("the terminal was closed")
        return False
    elif number in {RELOAD, RELOAD_CERTIFICATES}:
        _reload_certificates(server)
    else:
        return False
    return True


def _reload_certificates(server: Server) -> None:
    """Read the certificates again; each that is replaced or refused has a line of its own in the log."""
    try:
        changed = server.reload_certificates()
    except Exception as error:  # the old ones stay in use
        server.fault("certificates", error)
        return
    _logger.info("certificates reloaded" if changed else "certificates reloaded: no change")


def _spare_the_collector() -> None:
    """Take all objects of the start out of later garbage collections, which serve nobody while they scan them."""
    gc.collect()
    gc.freeze()


def _unforeseen(server: Server, context: Mapping[str, object]) -> None:
    """The event loop's handler of uncaught exceptions in callbacks and tasks."""
    error = context.get("exception")
    if isinstance(error, Exception):
        server.fault("loop", error)
    else:
        _lines.write(logging.ERROR, "event loop error", {"what": str(context.get("message"))})


async def _reload(server: Server, reload: Callable[[], Loaded]) -> bool:
    """Read the configuration again; False, and said, if it cannot be used."""
    source = ""
    try:
        wanted = reload()
        source = wanted.source
        raise_file_limit(files_needed(wanted.config))  # the server takes what the process has
        taken, waiting = await server.reload(wanted.config)
    except ConfigError as error:
        for key, line, found, allowed in error.problems:
            fields = {"file": error.source, "key": key, "line": line, "found": found, "allowed": allowed}
            _logger.error("configuration not reloaded", extra={"fields": fields})
        return False
    except StartupError as error:
        fields = {"file": source} if source else {}
        _logger.error("configuration not reloaded", extra={"fields": {**fields, "reason": str(error)}})
        return False
    except Exception as error:  # the server keeps its configuration
        server.fault("reload", error)
        return False
    configure(server.config.log)
    for warning in wanted.warnings:
        _logger.warning(f"configuration: {one_line(warning)}", extra={"fields": {"file": source}})
    for option in waiting:
        _logger.warning("option not in force before a restart", extra={"fields": {"option": option}})
    said = {"taken": list(taken), "waiting": list(waiting)}
    message = "configuration reloaded" + (
        "; some changes need a restart" if waiting else "" if taken else ": no change"
    )
    _logger.info(message, extra={"fields": {name: options for name, options in said.items() if options}})
    return True


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
    have = file_limit()
    if have < wanted:
        _logger.warning(
            "fewer open files than limits.allocations and limits.connections need",
            extra={"fields": {"have": have, "want": wanted}},
        )
