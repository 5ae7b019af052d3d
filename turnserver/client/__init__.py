"""A client of ``signal.v1`` in Python, for programs and for tests; nothing that serves imports it.

Here is the session, which needs aiohttp only. `turnserver.client.mesh` takes part in calls and needs aiortc
(``pip install 'meshturn[call]'``).
"""

from turnserver.client.endpoint import SignalEndpoint
from turnserver.client.errors import SignalError
from turnserver.client.session import SignalClient
from turnserver.client.state import ClientState, StateChange, Timing

__all__ = ["ClientState", "SignalClient", "SignalEndpoint", "SignalError", "StateChange", "Timing"]
