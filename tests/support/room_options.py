"""Options and bounds of a hub for tests, which also want some that no configuration may have."""

from typing import Any

from turnserver.config import SignalingConfig
from turnserver.signaling.rooms.settings import HubBounds

__all__ = ["hub_settings"]


def hub_settings(**changes: Any) -> tuple[SignalingConfig, HubBounds]:
    """The defaults but for ``changes``, each of which is an option or a bound; nobody checks the options' values."""
    options = {name: value for name, value in changes.items() if name in SignalingConfig.model_fields}
    bounds = {name: value for name, value in changes.items() if name not in options}
    return SignalingConfig().model_copy(update=options), HubBounds(**bounds)
