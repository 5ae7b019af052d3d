"""The parts of a server are closed together, also those of a start that has failed half-way."""

import asyncio

import pytest

from auth.revocation import RevokedUsers
from auth.source import CredentialSource, StaticUsers
from auth.types import Credential
from turnserver.config import Config, load_mapping
from turnserver.core.types import Now
from turnserver.desk import Desk
from turnserver.faults import Faults
from turnserver.parts import Parts
from turnserver.snapshot import LimitsView, MediaView, Snapshot, Usage
from turnserver.transports.limits import ConnectionLimiter


class Closing(CredentialSource):
    """Says when it is closed."""

    def __init__(self, said: list[str], name: str) -> None:
        self.said = said
        self.name = name

    def find(self, username: str, realm: str, wall: float) -> tuple[Credential, ...]:
        return ()

    async def close(self) -> None:
        self.said.append(self.name)


def nothing() -> Snapshot:
    """Of a server that does not run."""
    none = Usage(0, 0)
    return Snapshot(False, None, 0.0, LimitsView(none, none, none, none))


def parts() -> Parts:
    return Parts(Now(0.0, 0.0), ConnectionLimiter(Config().limits))


async def test_what_has_not_been_made_needs_no_closing() -> None:
    made, faults = parts(), Faults()
    await made.close(faults)
    assert made.datapath_views() == ()
    assert faults.counts == {}


async def test_sources_are_closed_once_and_an_exception_keeps_none_from_it() -> None:
    said: list[str] = []

    def fail() -> None:
        said.append("ignored")
        raise ZeroDivisionError

    made, faults = parts(), Faults()
    made.ignore = fail
    made.source = Closing(said, "present")
    made.retired += [Closing(said, "former"), StaticUsers({})]
    await made.close(faults)
    assert sorted(said) == ["former", "ignored", "present"]
    assert dict(faults.counts) == {"stop": 1}
    made.ignore = lambda: None
    await made.close(faults)
    assert len(said) == 3


@pytest.mark.parametrize(("mode", "has_sfu"), [("mesh", False), ("auto", True), ("sfu", True)])
async def test_rooms_have_an_sfu_unless_all_of_them_are_meshes(mode: str, has_sfu: bool) -> None:
    config = load_mapping({"signaling": {"mode": mode}, "media": {"room_size": 7}}).config
    made, faults, told = parts(), Faults(), list[object]()
    made.open_rooms(
        config,
        RevokedUsers(1, lambda kicked: None),
        tell=told.append,
        drain=dict,
        desk=Desk(nothing, Config, lambda: Now(0.0, 0.0), faults),
        clock=lambda: Now(0.0, 0.0),
        faults=faults,
    )
    assert made.service is not None
    assert (made.sfu is not None) == has_sfu
    assert made.media_view() == (MediaView() if has_sfu else None)
    assert made.service.media_of("r") is None
    if made.sfu is not None:
        made.sfu.open("r", 1)
        assert made.sfu.addresses == (), "there is no address to relay from"
        await asyncio.sleep(0)
    await made.close(faults)
    assert faults.counts == {}
