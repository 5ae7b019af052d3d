"""A link to a server, and how opening it went."""

from collections.abc import Sequence
from typing import NamedTuple

from cli.probe.report import Step
from cli.probe.security import TlsFacts
from turnserver.turnclient.links import Link

__all__ = ["Opened"]


class Opened(NamedTuple):
    """A link, with a step for the connection and one for TLS (none for UDP, which has nothing to open).

    ``tls`` is what the handshake showed; None without TLS.
    """

    link: Link
    steps: Sequence[Step] = ()
    tls: TlsFacts | None = None
