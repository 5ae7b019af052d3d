"""Datapaths by name."""

from collections.abc import Callable, Iterator

import pytest

from tests.support.datapath_world import HandClock
from tests.support.stream_world import captured_log
from turnserver.errors import StartupError, UnknownNameError
from turnserver.registry import Registry
from turnserver.relay.base import Datapath
from turnserver.relay.null import NullDatapath
from turnserver.relay.registry import AUTO, DATAPATHS, DatapathKind, create_datapath
from turnserver.relay.sockets import AsyncioDatapath


@pytest.mark.parametrize(("name", "kind"), [("null", NullDatapath), ("asyncio", AsyncioDatapath)])
def test_a_name_makes_its_datapath(name: str, kind: type) -> None:
    """Each datapath says the name it is known by."""
    datapath = create_datapath(name)
    assert type(datapath) is kind
    assert datapath.name == name
    assert name in DATAPATHS


def test_auto_is_the_default_and_works_everywhere() -> None:
    """Without a word in the configuration relays go through plain sockets."""
    assert create_datapath().name == create_datapath(AUTO).name == "asyncio"


def test_options_reach_the_datapath() -> None:
    """The clock and the treatment of DSCP and ECN are the server's to choose."""
    clock = HandClock()
    datapath = create_datapath("null", tos="copy", clock=clock)
    assert isinstance(datapath, NullDatapath)
    assert (datapath.tos, datapath.clock) == ("copy", clock)


def test_an_unknown_name_is_an_error_that_lists_the_known() -> None:
    """The sentence is for the person who runs the server."""
    with pytest.raises(UnknownNameError, match=r"'fast'.*asyncio, null"):
        create_datapath("fast")


@pytest.fixture
def register() -> Iterator[Callable[[str, DatapathKind], None]]:
    """Enters datapaths for the time of a test."""
    removers: list[Callable[[], None]] = []
    yield lambda name, kind: removers.append(DATAPATHS.add(name, kind))
    for remove in removers:
        remove()


def null(*, tos: str, clock: Callable[[], float]) -> Datapath:
    return NullDatapath(tos=tos, clock=clock)


def test_auto_takes_the_best_that_works(register: Callable[[str, DatapathKind], None]) -> None:
    """The log says why better ones do not."""
    register("slow", DatapathKind("for tests", null, rank=0))
    register("fast", DatapathKind("for tests", null, rank=2))
    register("faster", DatapathKind("for tests", null, probe=lambda: "the kernel is too old", rank=3))
    with captured_log("meshturn.relay") as log:
        assert isinstance(create_datapath(), NullDatapath)
    assert [record.fields for record in log] == [{"datapath": "faster", "reason": "the kernel is too old"}]


def test_a_probe_that_raises_means_that_it_does_not_work(register: Callable[[str, DatapathKind], None]) -> None:
    """Another one is taken; the log has the cause. Asked for by name, it is one sentence."""
    register("fast", DatapathKind("for tests", null, probe=lambda: str(1 // 0), rank=3))
    register("slow", DatapathKind("for tests", null, rank=2))
    with captured_log("meshturn.relay") as log:
        assert isinstance(create_datapath(), NullDatapath)
    assert [record.exc_info is not None for record in log] == [True, False]
    assert log[1].fields == {"datapath": "fast", "reason": "its probe raised ZeroDivisionError"}
    with pytest.raises(StartupError, match="fast does not work here: its probe raised ZeroDivisionError"):
        create_datapath("fast")


def test_one_that_does_not_work_here_says_why(register: Callable[[str, DatapathKind], None]) -> None:
    register("fast", DatapathKind("for tests", null, probe=lambda: "the kernel is too old"))
    with pytest.raises(StartupError, match="fast does not work here: the kernel is too old") as caught:
        create_datapath("fast")
    assert "auto" in caught.value.hint


def test_nothing_that_works_is_an_error_with_every_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    others: Registry[DatapathKind] = Registry("datapath")
    others.add("fast", DatapathKind("for tests", null, probe=lambda: "the kernel is too old", rank=2))
    others.add("null", DatapathKind("for tests", null))
    monkeypatch.setattr("turnserver.relay.registry.DATAPATHS", others)
    with pytest.raises(StartupError, match=r"\(fast: the kernel is too old\)"):
        create_datapath()
