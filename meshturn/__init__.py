"""meshturn: a STUN and TURN server in pure-asyncio Python, with signaling, a call page and an SFU.

The names in ``__all__`` are the public API; ``docs/reference/python.md`` is its reference. Each part is loaded when it
is first used, so ``import meshturn`` is cheap, and a program that only needs the codec never loads the server.
"""

from typing import TYPE_CHECKING

from meshturn.root import MeshturnError
from turnserver import __version__

if TYPE_CHECKING:
    from meshturn import attributes, commands, constants, credentials, errors, events
    from meshturn._client import ClientCore, ClientOptions, Login, TurnClient
    from meshturn._codec import Address, Message, MessageBuilder, StunUri
    from meshturn._core import ClientTransport, FiveTuple, NonceIssuer, Now, OwnAddresses, RelayAddress, TurnCore
    from meshturn._server import BackgroundServer, Config, Observer, Reload, Server, Snapshot, load

__all__ = [
    "Address",
    "BackgroundServer",
    "ClientCore",
    "ClientOptions",
    "ClientTransport",
    "Config",
    "FiveTuple",
    "Login",
    "MeshturnError",
    "Message",
    "MessageBuilder",
    "NonceIssuer",
    "Now",
    "Observer",
    "OwnAddresses",
    "RelayAddress",
    "Reload",
    "Server",
    "Snapshot",
    "StunUri",
    "TurnClient",
    "TurnCore",
    "__version__",
    "attributes",
    "commands",
    "constants",
    "credentials",
    "errors",
    "events",
    "load",
]


_MODULES = ("attributes", "commands", "constants", "credentials", "errors", "events")
"""Modules that group related names; everything else in ``__all__`` is a class or a function."""


def __getattr__(name: str) -> object:
    """Load a name of the API (PEP 562). Raises AttributeError for names that are not part of it."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value = _module(name) if name in _MODULES else _object(name)
    return value


def __dir__() -> list[str]:
    """The public API, whether it has been loaded or not."""
    return sorted({*globals(), *__all__})


def _module(name: str) -> object:
    import meshturn.attributes  # noqa: PLC0415  here and below: loaded when it is first used
    import meshturn.commands  # noqa: PLC0415
    import meshturn.constants  # noqa: PLC0415
    import meshturn.credentials  # noqa: PLC0415
    import meshturn.errors  # noqa: PLC0415
    import meshturn.events  # noqa: PLC0415

    return {
        "attributes": meshturn.attributes,
        "commands": meshturn.commands,
        "constants": meshturn.constants,
        "credentials": meshturn.credentials,
        "errors": meshturn.errors,
        "events": meshturn.events,
    }[name]


def _object(name: str) -> object:
    """Search the parts, from the smallest to the one that imports all others."""
    import meshturn._codec as codec  # noqa: PLC0415

    if name in codec.__all__:
        return getattr(codec, name)
    import meshturn._core as core  # noqa: PLC0415

    if name in core.__all__:
        return getattr(core, name)
    import meshturn._client as client  # noqa: PLC0415

    if name in client.__all__:
        return getattr(client, name)
    import meshturn._server as server  # noqa: PLC0415

    return getattr(server, name)
