"""The pytest plug-in: a TURN server for test suites, as the fixture ``turn_server``.

After ``pip install meshturn[testing]`` a test only names the fixture; nothing has to be configured or imported::

    async def test_a_call(turn_server):
        servers = [RTCIceServer(**entry) for entry in turn_server.ice_servers]
        connection = RTCPeerConnection(RTCConfiguration(iceServers=servers))
        ...
        assert turn_server.snapshot().allocations

The fixture is a `meshturn.background.BackgroundServer`: a server on loopback that relays to loopback, with its own
thread and event loop. So all tests can use it, with pytest-asyncio, with anyio, or with neither. Each test gets a new
one. To share one between tests, write your own fixture with `BackgroundServer`.

Importing this module needs pytest.
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from meshturn.background import BackgroundServer

__all__ = ["turn_server", "turn_server_config"]


@pytest.fixture
def turn_server_config() -> Mapping[str, Any]:
    """Options of the configuration that replace those of `turn_server`; override it in a module or a conftest.py::

    @pytest.fixture
    def turn_server_config():
        return {"limits": {"allocations_per_user": 1}}
    """
    return {}


@pytest.fixture
def turn_server(turn_server_config: Mapping[str, Any]) -> Iterator["BackgroundServer"]:
    """A running TURN server with ``uri``, ``username``, ``password`` and ``ice_servers``; a new one for each test."""
    from meshturn.background import BackgroundServer  # noqa: PLC0415  suites that do not use it need not load a server

    with BackgroundServer(turn_server_config) as server:
        yield server
