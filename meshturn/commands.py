"""The commands of a `meshturn.TurnCore`, one class each. The program that drives the core carries them out in order."""

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
    KeepClient,
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
    "KeepClient",
    "OpenRelay",
    "RemoveRoute",
    "SendToClient",
    "SendToPeer",
    "Splice",
]
