"""The real server in the laboratory's public network, on the ports on which the world expects it."""

from pathlib import Path
from typing import Any

from tests.net.lab import ADDRESS, Lab
from tests.support.certificates import CertificatePair
from tests.support.server import PASSWORD, REALM, SHARED_SECRET, USERNAME, TurnServerProcess

__all__ = ["PORTS", "PublicServer"]

PORTS = {"udp": 3478, "tcp": 3478, "shared": 443}
PUBLIC_HERE = ["203.0.113.0/24", "198.51.100.0/24"]
"""Addresses for documentation, which nobody else's peers have."""


class PublicServer(TurnServerProcess):
    """``meshturn serve`` at `ADDRESS`: UDP and TCP on 3478, the shared port with TLS on 443.

    Keyword arguments replace whole top-level sections of the configuration.
    """

    def __init__(self, lab: Lab, certificate: CertificatePair, directory: Path, **changes: Any) -> None:
        config: dict[str, Any] = {
            "realm": REALM,
            "listeners": [{"transport": kind, "address": ADDRESS, "port": port} for kind, port in PORTS.items()],
            "tls": {"certificates": [certificate.config]},
            "auth": {"users": {USERNAME: PASSWORD}, "shared_secrets": [SHARED_SECRET]},
            "peers": {"allow": PUBLIC_HERE},
        }
        super().__init__(config | changes, directory)
        self._lab = lab

    def start(self) -> None:
        """Start it in the public network."""
        with self._lab.public.entered():
            super().start()

    def restart(self) -> None:
        """Stop it as an administrator does, and start it again."""
        self.stop()
        self.start()
