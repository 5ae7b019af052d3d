"""The pytest plug-in: a TURN server for anybody's test suite, as the fixture ``turn_server``.

``pip install meshturn[testing]``, and a test only names it; there is nothing to configure or to import::

    async def test_a_call(turn_server):
        servers = [RTCIceServer(**entry) for entry in turn_server.ice_servers]
        connection = RTCPeerConnection(RTCConfiguration(iceServers=servers))
        ...
        assert turn_server.snapshot().allocations

The fixture is a `meshturn.background.BackgroundServer`: a server on loopback that relays to loopback, with a thread and
an event loop of its own. So tests of every kind use it, with pytest-asyncio, with anyio, or with neither. Each test has
a new one; where several tests are to share one, make a fixture of your own around `BackgroundServer`.

Importing this module takes pytest.
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from meshturn.background import BackgroundServer

__all__ = ["turn_server", "turn_server_config"]


@pytest.fixture
def turn_server_config() -> Mapping[str, Any]:
    """Options of the configuration to lay over those of `turn_server`; override it in a module or a conftest.py::

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
