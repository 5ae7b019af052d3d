"""A server with every kind of listener and little patience, and the clients that are to be unaffected."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.support.certificates import CertificatePair, issue
from tests.support.server import TurnServerProcess, loopback_config, stream_listeners

__all__ = ["certificate", "patient_server", "serve", "turn_server"]

IMPATIENT = {"handshake_timeout": 2, "first_message_timeout": 2, "idle_timeout": 5, "stall_timeout": 1}
"""Seconds; what a test waits for is over soon, and what ordinary clients do is done by then."""
LIMITS = {"allocations_per_user": 1000, "connections_per_address": 5000}


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> CertificatePair:
    """The servers' certificate."""
    return issue(tmp_path_factory.mktemp("certificate"))


@pytest.fixture
def serve(
    tmp_path_factory: pytest.TempPathFactory, certificate: CertificatePair
) -> Iterator[Callable[..., TurnServerProcess]]:
    """Starts servers with every kind of listener; keyword arguments are limits."""
    with ExitStack() as stack:

        def start(listeners: list[dict[str, Any]] | None = None, **limits: int) -> TurnServerProcess:
            config = loopback_config(
                listeners=listeners or stream_listeners(),
                tls={"certificates": [certificate.config]},
                limits=LIMITS | limits,
            )
            return stack.enter_context(TurnServerProcess(config, tmp_path_factory.mktemp("server")))

        yield start


@pytest.fixture(scope="module")
def turn_server(tmp_path_factory: pytest.TempPathFactory, certificate: CertificatePair) -> Iterator[TurnServerProcess]:
    """One server for the tests of a module, with time-outs of a second."""
    config = loopback_config(
        listeners=stream_listeners(), tls={"certificates": [certificate.config]}, limits=LIMITS | IMPATIENT
    )
    with TurnServerProcess(config, tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture(scope="module")
def patient_server(
    tmp_path_factory: pytest.TempPathFactory, certificate: CertificatePair
) -> Iterator[TurnServerProcess]:
    """One server for the tests of a module, with the ordinary time-outs: what closes here is closed for a reason."""
    config = loopback_config(listeners=stream_listeners(), tls={"certificates": [certificate.config]}, limits=LIMITS)
    with TurnServerProcess(config, tmp_path_factory.mktemp("server")) as server:
        yield server
