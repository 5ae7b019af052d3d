"""The TURN server without sockets in the public API, and the types that it shares with the other parts."""

from auth.nonce import NonceIssuer
from turnserver.core.server import TurnCore
from turnserver.core.settings import OwnAddresses, RelayAddress
from turnserver.core.types import ClientTransport, FiveTuple, Now

__all__ = ["ClientTransport", "FiveTuple", "NonceIssuer", "Now", "OwnAddresses", "RelayAddress", "TurnCore"]
