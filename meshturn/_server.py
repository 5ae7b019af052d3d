"""The complete server in the public API."""

from meshturn.background import BackgroundServer
from turnserver.config import Config, load
from turnserver.observers.base import Observer
from turnserver.server import Reload, Server
from turnserver.snapshot import Snapshot

__all__ = ["BackgroundServer", "Config", "Observer", "Reload", "Server", "Snapshot", "load"]
