"""The HTTP side of a shared port: an aiohttp application on connections that a stream listener gives away."""

from turnserver.http.server import HttpServer

__all__ = ["HttpServer"]
