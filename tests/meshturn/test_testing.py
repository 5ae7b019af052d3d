"""The plug-in in somebody else's suite: tests of every kind name the fixture and get a server."""

import pytest

from turnserver import __version__

pytest_plugins = ["pytester"]

pytestmark = pytest.mark.process

CLIENT = """
import asyncio
import aioice.turn

async def relayed(turn, login=None):
    # aioice is not ours: what it allocates, any WebRTC program can.
    username, password = login or (turn.username, turn.password)
    transport, _ = await aioice.turn.create_turn_endpoint(
        asyncio.DatagramProtocol,
        server_addr=(turn.address.host, turn.address.port),
        username=username,
        password=password,
    )
    try:
        return transport.get_extra_info("sockname")
    finally:
        transport.close()
"""


@pytest.fixture
def suite(pytester: pytest.Pytester) -> pytest.Pytester:
    """An empty suite with a client to use, outside the repository."""
    pytester.makepyfile(client=CLIENT)
    pytester.makeini("[pytest]\naddopts = -p no:cacheprovider\npythonpath = .\n")
    return pytester


def outcomes(suite: pytest.Pytester, *arguments: str) -> dict[str, int]:
    """Run the suite as a program of its own, with the plug-ins that are installed."""
    return suite.runpytest_subprocess(*arguments).parseoutcomes()


def test_a_test_that_is_a_function(suite: pytest.Pytester) -> None:
    suite.makepyfile(
        test_it="""
        import asyncio
        from client import relayed

        def test_a_relay(turn_server):
            host, port = asyncio.run(relayed(turn_server))
            assert host == "127.0.0.1"

        def test_another_server(turn_server):
            assert turn_server.events() == []
        """
    )
    assert outcomes(suite) == {"passed": 2}


@pytest.mark.parametrize("mode", ["auto", "strict"])
def test_a_test_that_is_a_coroutine(suite: pytest.Pytester, mode: str) -> None:
    """With pytest-asyncio, which makes a loop for each test; the fixture is not one of its kind."""
    suite.makepyfile(
        test_it="""
        import pytest
        from client import relayed

        @pytest.mark.asyncio
        async def test_a_relay(turn_server):
            assert (await relayed(turn_server))[0] == "127.0.0.1"
        """
    )
    assert outcomes(suite, "-o", f"asyncio_mode={mode}", "-o", "asyncio_default_fixture_loop_scope=function") == {
        "passed": 1
    }


def test_a_configuration_of_ones_own(suite: pytest.Pytester) -> None:
    """One option is overridden for the suite, another for a module, and the rest is as it was."""
    suite.makeconftest(
        """
        import pytest

        @pytest.fixture
        def turn_server_config():
            return {"realm": "suite.example"}
        """
    )
    suite.makepyfile(
        test_suite="""
        def test_it(turn_server):
            assert turn_server.call(lambda server: server.config.realm) == "suite.example"
        """,
        test_module="""
        import pytest

        @pytest.fixture
        def turn_server_config(turn_server_config):
            return {**turn_server_config, "limits": {"allocations": 3}}

        def test_it(turn_server):
            config = turn_server.call(lambda server: server.config)
            assert (config.realm, config.limits.allocations) == ("suite.example", 3)
            assert len(turn_server.uris) == 2
        """,
    )
    assert outcomes(suite) == {"passed": 2}


def test_a_configuration_that_is_wrong_is_the_tests_error(suite: pytest.Pytester) -> None:
    suite.makepyfile(
        """
        import pytest

        @pytest.fixture
        def turn_server_config():
            return {"limits": {"allocatoins": 3}}

        def test_it(turn_server):
            pass
        """
    )
    result = suite.runpytest_subprocess()
    assert result.parseoutcomes() == {"errors": 1}
    result.stdout.fnmatch_lines(["*ConfigError: configuration: 1 problem(s)*", "E *limits.allocatoins: found *"])


def test_a_server_that_several_tests_share(suite: pytest.Pytester) -> None:
    """As the documentation has it: a fixture of one's own around `BackgroundServer`."""
    suite.makepyfile(
        """
        import pytest
        from meshturn import BackgroundServer

        @pytest.fixture(scope="module")
        def shared():
            with BackgroundServer() as server:
                yield server

        def test_one(shared):
            shared.call(lambda server: setattr(server, "seen", True))

        def test_other(shared):
            assert shared.call(lambda server: server.seen)
        """
    )
    assert outcomes(suite) == {"passed": 2}


def test_suites_that_do_not_use_it_pay_nothing(suite: pytest.Pytester) -> None:
    """The plug-in is loaded by every pytest where meshturn is installed, and loads no server."""
    suite.makepyfile(
        """
        import sys

        def test_it(pytestconfig):
            assert pytestconfig.pluginmanager.hasplugin("meshturn")
            assert "meshturn.testing" in sys.modules
            assert not {"aiohttp", "pydantic", "turnserver.server"} & set(sys.modules)
        """
    )
    result = suite.runpytest_subprocess()
    assert result.parseoutcomes() == {"passed": 1}
    result.stdout.fnmatch_lines([f"plugins: *meshturn-{__version__}*"])


def test_pytest_says_what_the_fixtures_are(suite: pytest.Pytester) -> None:
    result = suite.runpytest_subprocess("--fixtures")
    wanted = [
        "turn_server_config -- *",
        "*Options of the configuration*",
        "turn_server -- *",
        "*A running TURN server*",
    ]
    result.stdout.fnmatch_lines(wanted)
