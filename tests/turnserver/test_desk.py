"""What operators are shown: of a real server, with every secret of its configuration masked."""

import json
from typing import Any

from tests.turnserver.telemetry.test_overview import BUSY
from turnserver.config import Config, load_mapping
from turnserver.core.types import Now
from turnserver.desk import Desk
from turnserver.faults import Faults
from turnserver.server import Server
from turnserver.snapshot import Snapshot
from turnserver.telemetry.history import INTERVAL

SECRETS = [f"{name}-secret-0123456789abcdef" for name in ("user", "shared", "api", "admin", "token")]
LONG_TERM_KEY = "0123456789abcdef0123456789abcdef"
CONFIG: dict[str, Any] = {
    "listeners": [
        {"address": "127.0.0.1", "port": 0},
        {"transport": "shared", "address": "127.0.0.1", "port": 0, "tls": False},
    ],
    "relay": {"addresses": ["127.0.0.1"]},
    "auth": {"users": {"ann": SECRETS[0], "ben": {"key": LONG_TERM_KEY}}, "shared_secrets": [SECRETS[1]]},
    "signaling": {"api_keys": {"app": SECRETS[2]}, "admin_keys": {"ops": SECRETS[3]}, "key": SECRETS[4] * 2},
}


def desk_of(server: Server) -> Desk:
    return server._desk


async def test_the_configuration_in_force_has_no_secret() -> None:
    """Every kind of secret that there is, by the type in the schema; names, also of users, are there."""
    async with Server(CONFIG) as server:
        shown = json.dumps(desk_of(server).config())
        for secret in (*SECRETS, LONG_TERM_KEY):
            assert secret not in shown
        assert desk_of(server).config()["auth"]["users"].keys() == {"ann", "ben"}
        assert desk_of(server).config()["signaling"]["admin_keys"] == {"ops": "(secret)"}
        await server.reload({**CONFIG, "drain_timeout": 77})
        assert desk_of(server).config()["drain_timeout"] == 77, "a reload is seen"


async def test_a_server_has_its_first_sample_at_once() -> None:
    """And status and history agree with what the server itself says."""
    async with Server(CONFIG) as server:
        assert len(desk_of(server).history()["at"]) == 1
        server.begin_drain(1.0)
        assert desk_of(server).status()["draining"] is True
        assert [each["kind"] for each in desk_of(server).status()["listeners"]] == ["udp", "shared"]


async def test_samples_are_ten_seconds_apart_and_end_with_the_stop() -> None:
    """By the loop's timers; a snapshot that raises costs one sample, and is counted."""
    broken, faults = [True], Faults()

    def take() -> Snapshot:
        if broken.pop() if broken else False:
            raise ValueError("on purpose")
        return BUSY

    desk = Desk(take, Config, lambda: Now(5.0, 6.0), faults)
    desk.start()
    assert desk.history()["at"] == []
    assert dict(faults.counts) == {"history": 1}
    timer = desk._timer
    assert timer is not None
    timer.cancel()
    desk.start()
    assert desk.history()["at"] == [6.0]
    timer = desk._timer
    assert timer is not None
    desk.stop()
    assert timer.cancelled()
    assert INTERVAL == 10.0


def test_an_unchanged_configuration_can_be_shown() -> None:
    """Every default is JSON."""
    desk = Desk(lambda: BUSY, lambda: load_mapping({}).config, lambda: Now(0.0, 0.0), Faults())
    assert json.loads(json.dumps(desk.config()))["realm"] == Config().realm
