"""Shared by ``serve`` and ``up``: run the server until a signal stops it, and print when it is ready."""

import asyncio
import sys
from collections.abc import Callable
from typing import Any, Final

import click

from cli.addresses import as_told, certified_host, client_uris, page_urls, relay_text
from cli.console import emit_json, kept_output
from turnserver.config import Config, Loaded
from turnserver.notify import SILENT, Notifier
from turnserver.passed import NO_SOCKETS, PassedSockets
from turnserver.process import run
from turnserver.server import Server
from turnserver.signals import Signals
from turnserver.writer import LineWriter

__all__ = ["announce", "announce_json", "call_pages", "ready_json", "run_server"]

_PATIENCE: Final = 2.0
"""Seconds for standard output to accept the remaining output after the server has stopped."""


def run_server(
    config: Config,
    on_ready: Callable[[Server], None],
    reload: Callable[[], Loaded] | None = None,
    *,
    passed: PassedSockets = NO_SOCKETS,
    notifier: Notifier = SILENT,
) -> None:
    """Serve until a signal ends it; ``on_ready`` is called once, when every listener is open.

    A thread writes the output of ``on_ready`` to standard output, so that the server neither waits for the reader nor
    ends with it. ``reload`` reads the configuration again on SIGHUP. Signals that have come since the start of the
    process are answered now (`cli.entry`). ``passed`` and ``notifier`` come from the service manager. Raises
    `turnserver.errors.StartupError` when the server cannot start.
    """
    context = click.get_current_context(silent=True)
    signals = None if context is None else context.find_object(Signals)
    writer = LineWriter(sys.stdout)

    def ready(server: Server) -> None:
        with kept_output() as said:
            on_ready(server)
        writer.put(said.getvalue())

    try:
        asyncio.run(run(config, on_ready=ready, reload=reload, signals=signals, passed=passed, notifier=notifier))
    finally:
        writer.close(_PATIENCE)


def call_pages(server: Server) -> list[str]:
    """The URLs of the call page (``…/call/ROOM``); empty for a server without rooms."""
    if not server.config.serves_rooms:
        return []
    name = certified_host(server.config)
    now = server.snapshot()
    return page_urls(server.config, client_uris(as_told(server.config, now.relays), now.listening, name=name))


def announce(server: Server) -> None:
    """Write the listeners, one line each, and then ``ready``: for people and for scripts that wait for it."""
    now = server.snapshot()
    lines = [f"listening on {transport.label} {address}" for transport, address in now.listening]
    lines += [f"relaying from {relay_text(relay)}" for relay in now.relays]
    lines += [f"calls at {page}call/ROOM" for page in call_pages(server)]
    sys.stdout.write("\n".join([*lines, "ready"]) + "\n")
    sys.stdout.flush()


def announce_json(server: Server) -> None:
    """The same as one line of JSON."""
    emit_json(ready_json(server), indent=None)


def ready_json(server: Server) -> dict[str, Any]:
    """The listeners and the relay addresses, for programs."""
    now = server.snapshot()
    return {
        "event": "ready",
        "listening": [
            {"transport": transport.label, "address": address.host, "port": address.port}
            for transport, address in now.listening
        ],
        "relays": [relay_text(relay) for relay in now.relays],
        "pages": call_pages(server),
    }
