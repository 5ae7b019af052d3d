"""The parts of a server are closed together, also those of a start that has failed half-way."""

from auth.source import CredentialSource, StaticUsers
from auth.types import Credential
from turnserver.config import Config
from turnserver.core.types import Now
from turnserver.faults import Faults
from turnserver.parts import Parts
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
