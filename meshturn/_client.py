"""The TURN clients of the public API: the one without sockets, and the one for asyncio programs."""

from stun.client.authentication import Login
from stun.client.core import ClientCore, ClientOptions
from turnserver.turnclient.client import TurnClient

__all__ = ["ClientCore", "ClientOptions", "Login", "TurnClient"]
