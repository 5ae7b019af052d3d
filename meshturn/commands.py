"""What a `meshturn.TurnCore` asks of whoever drives it, one class each; carry them out in order."""

from turnserver.core.commands import (
    AddRoute,
    AllowPeer,
    CancelLookup,
    CloseClient,
    ClosePeer,
    CloseRelay,
    Command,
    ConnectPeer,
    FindCredential,
    ForbidPeer,
    OpenRelay,
    RemoveRoute,
    SendToClient,
    SendToPeer,
    Splice,
)

__all__ = [
    "AddRoute",
    "AllowPeer",
    "CancelLookup",
    "CloseClient",
    "ClosePeer",
    "CloseRelay",
    "Command",
    "ConnectPeer",
    "FindCredential",
    "ForbidPeer",
    "OpenRelay",
    "RemoveRoute",
    "SendToClient",
    "SendToPeer",
    "Splice",
]
