"""An engine with its sockets, asked by name: what it may be asked, and what is wrong with a call costs that call."""

import pytest

from stun.address import Address
from turnserver.media.edge import bind_media
from turnserver.media.facts import MediaFact, RoomLost, SideFailed
from turnserver.media.host import CALLS, EngineHost
from turnserver.net import from_sockaddr
from turnserver.recordings.owner import RecordingOptions

LOOPBACK = Address(bytes((127, 0, 0, 1)), 0)


class Hosted:
    """A host, its facts and its faults."""

    def __init__(self) -> None:
        self.facts: list[MediaFact] = []
        self.faults: list[tuple[str, BaseException]] = []
        (sock,) = bind_media([LOOPBACK])
        self.address = from_sockaddr(sock.getsockname())
        nowhere = RecordingOptions(None, 1, 1)
        self.host = EngineHost([sock], [self.address], nowhere, self.facts.append, fault=self._fault)

    def _fault(self, part: str, error: BaseException) -> None:
        self.faults.append((part, error))


async def test_calls_are_the_engines_with_plain_values() -> None:
    hosted = Hosted()
    for call, arguments in (
        ("open", ["r", 3]),
        ("join", ["r", "ann", "Ann"]),
        ("offer", ["r", "ann", "p1", "nonsense", {"0": "camera"}]),
        ("answer", ["r", "ann", "s1", "nonsense"]),
        ("choose", ["r", "ann", None, 360, [["ben", 180, True]]]),
        ("mute", ["r", "ann", "audio", True]),
        ("reset", ["r", "ann"]),
    ):
        hosted.host.ask(call, arguments)
    (fact,) = hosted.facts
    assert isinstance(fact, SideFailed)
    (room,) = hosted.host.rooms()
    assert (room.room, room.epoch, [peer.peer for peer in room.peers]) == ("r", 3, ["ann"])
    hosted.host.ask("leave", ["r", "ann"])
    hosted.host.ask("close", ["r"])
    assert hosted.host.rooms() == []
    assert hosted.faults == []
    hosted.host.close()


async def test_a_call_that_cannot_be_made_is_a_fault_of_its_own() -> None:
    hosted = Hosted()
    hosted.host.ask("open", ["r"])
    assert [(part, type(error)) for part, error in hosted.faults] == [("media", TypeError)]
    hosted.host.ask("open", ["r", 1])
    assert [room.room for room in hosted.host.rooms()] == ["r"]
    for name in ("receive", "expire", "_drop", "__init__", ""):
        assert name not in CALLS
        with pytest.raises(ValueError, match="no call"):
            hosted.host.ask(name, [])
    hosted.host.close()


async def test_the_engine_answers_at_its_address_until_it_is_closed() -> None:
    hosted = Hosted()
    for number in range(1001):
        hosted.host.ask("open", [f"r{number}", 1])
    assert [type(fact) for fact in hosted.facts] == [RoomLost], "what the engine says comes as facts"
    hosted.host.close()
    (sock,) = bind_media([hosted.address])
    sock.close()
