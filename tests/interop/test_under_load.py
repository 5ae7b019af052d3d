"""Reload, renewed certificates and a drain under load: 200 allocations relay all the time, and lose nothing."""

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from meshturn import TurnClient
from meshturn.errors import ErrorResponse
from tests.support.process import wait_for_log
from tests.support.relayed_load import RelayedLoad, echoing_peer
from tests.support.server import PASSWORD, USERNAME, TurnServerProcess, loopback_config

COUNT = 200
PAUSED = "the server did not run for a while"
"""What the server writes when it has dropped media that had waited for more than a second (`turnserver.pauses`)."""


@pytest.mark.timeout(600)
async def test_reloads_and_a_drain_lose_nothing(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    """Six reloads that change what can change, then a drain: nothing new, and everything else goes on to its end."""
    config = loopback_config()
    server = TurnServerProcess(config, tmp_path)
    written = tmp_path / "meshturn.yml"

    async def reload(text: str) -> None:
        after = len(server.log)
        written.write_text(text)
        os.kill(server.pid, signal.SIGHUP)
        await asyncio.to_thread(wait_for_log, server, "configuration", after=after)

    with server:
        uri = f"turn:127.0.0.1:{server.port}"
        right = written.read_text()
        async with echoing_peer() as peer, RelayedLoad(uri, USERNAME, PASSWORD, peer, COUNT) as load:
            await load.further()
            for text in (
                right.replace("meshturn test", "another"),
                f"{right}\nlog: {{level: debug}}\n",
                f"{right}\nno_such_option: 1\n",
                right.replace("allocations_per_user: 1000", "allocations_per_user: 1"),
                right.replace("realm: ", "realm: another."),
                right,
            ):
                await reload(text)
                await load.further()
            assert len(load.alive) == COUNT
            before = load.returned

            os.kill(server.pid, signal.SIGUSR1)
            await asyncio.to_thread(wait_for_log, server, "draining", "allocations=200")
            async with TurnClient(uri, USERNAME, PASSWORD) as late:
                with pytest.raises(ErrorResponse) as refused:
                    await late.allocate()
            assert (refused.value.code, "draining" in str(refused.value)) == (508, True)
            await load.further()
            leaving, staying = load.all[: COUNT // 2], load.all[COUNT // 2 :]
            await asyncio.gather(*(each.close() for each in leaving))
            refreshed = await asyncio.gather(*(each.client.refresh() for each in staying[:10]))
            assert min(refreshed) >= 600
            await load.further()
            assert server.is_running
            assert {each.why for each in staying} == {""}
            record_property("returned", load.returned)
            record_property("returned during the drain", load.returned - before)
            record_property("lost", load.lost)
            assert load.lost == 0 or PAUSED in server.log
            assert load.returned > 20 * COUNT
        await asyncio.to_thread(server.wait_for_end)
    assert [line for line in server.log.splitlines() if line.endswith("meshturn: drained")] != []
