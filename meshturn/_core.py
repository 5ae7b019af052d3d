"""The part of the public API that is the TURN server without sockets, and the words that it shares with all others."""

from auth.nonce import NonceIssuer
from turnserver.core.server import TurnCore
from turnserver.core.settings import OwnAddresses, RelayAddress
from turnserver.core.types import ClientTransport, FiveTuple, Now

__all__ = ["ClientTransport", "FiveTuple", "NonceIssuer", "Now", "OwnAddresses", "RelayAddress", "TurnCore"]
