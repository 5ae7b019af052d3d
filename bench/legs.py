"""The transports that there is a load generator for."""

from collections.abc import Callable
from typing import Any

from bench.dtls import DtlsLeg
from bench.flows import Leg, UdpLeg
from bench.streams import TcpLeg, TlsLeg

__all__ = ["LEGS"]

LEGS: dict[str, Callable[[], Leg[Any]]] = {"udp": UdpLeg, "tcp": TcpLeg, "tls": TlsLeg, "dtls": DtlsLeg}
