"""A server with every kind of listener and little patience, and the clients that are to be unaffected."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.support.certificates import CertificatePair, issue
from tests.support.server import TurnServerProcess, loopback_config, stream_listeners

__all__ = ["certificate", "patient_server", "serve", "serve_all", "starting", "turn_server"]

IMPATIENT = {"handshake_timeout": 2, "first_message_timeout": 2, "idle_timeout": 5, "stall_timeout": 1}
"""Seconds; what a test waits for is over soon, and what ordinary clients do is done by then."""
LIMITS = {"allocations_per_user": 1000, "connections_per_address": 5000}


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> CertificatePair:
    """The servers' certificate."""
    return issue(tmp_path_factory.mktemp("certificate"))


Serve = Callable[..., TurnServerProcess]
"""Makes a server, or starts it; keyword arguments are limits."""


@pytest.fixture(scope="module")
def starting(tmp_path_factory: pytest.TempPathFactory, certificate: CertificatePair) -> Serve:
    """Makes servers with every kind of listener, or with ``listeners``; other keyword arguments are limits."""

    def make(listeners: list[dict[str, Any]] | None = None, **limits: int) -> TurnServerProcess:
        config = loopback_config(
            listeners=listeners or stream_listeners(),
            tls={"certificates": [certificate.config]},
            limits=LIMITS | limits,
        )
        return TurnServerProcess(config, tmp_path_factory.mktemp("server"))

    return make


@pytest.fixture
def serve(starting: Serve) -> Iterator[Serve]:
    """Starts servers for one test."""
    with ExitStack() as stack:
        yield lambda *listeners, **limits: stack.enter_context(starting(*listeners, **limits))


@pytest.fixture(scope="module")
def serve_all(starting: Serve) -> Iterator[Serve]:
    """Starts servers for all tests of a module."""
    with ExitStack() as stack:
        yield lambda *listeners, **limits: stack.enter_context(starting(*listeners, **limits))


@pytest.fixture(scope="module")
def turn_server(serve_all: Serve) -> TurnServerProcess:
    """One server for the tests of a module, with time-outs of seconds."""
    return serve_all(**IMPATIENT)


@pytest.fixture(scope="module")
def patient_server(serve_all: Serve) -> TurnServerProcess:
    """One server for the tests of a module, with the ordinary time-outs: what closes here is closed for a reason."""
    return serve_all()
