"""Every check, in the order of the table."""

from collections.abc import Mapping

from cli.conform.checks import (
    addresses,
    allocating,
    authentication,
    binding,
    channels,
    classic,
    discovery,
    indications,
    messages,
    mobility,
    permissions,
    refreshing,
    streams,
    tcp,
)
from cli.conform.registry import Check, registered
from cli.conform.table import checks

__all__ = ["MODULES", "all_checks"]

MODULES = (
    binding,
    messages,
    authentication,
    allocating,
    addresses,
    refreshing,
    permissions,
    indications,
    channels,
    streams,
    tcp,
    classic,
    discovery,
    mobility,
)
"""The modules with checks; importing them enters these."""


def all_checks() -> Mapping[str, Check]:
    """Every check by its name. Raises KeyError for one of the table that no function is."""
    found = registered()
    return {name: found[name] for name in checks()}
