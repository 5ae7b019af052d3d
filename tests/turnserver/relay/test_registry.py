"""Datapaths by name."""

import pytest

from tests.support.datapath_world import HandClock
from turnserver.errors import DatapathError
from turnserver.relay.null import NullDatapath
from turnserver.relay.registry import AUTO, create_datapath, datapath_names
from turnserver.relay.sockets import AsyncioDatapath


@pytest.mark.parametrize(("name", "kind"), [("null", NullDatapath), ("asyncio", AsyncioDatapath)])
def test_a_name_makes_its_datapath(name: str, kind: type) -> None:
    """Each datapath says the name it is known by."""
    datapath = create_datapath(name)
    assert type(datapath) is kind
    assert datapath.name == name
    assert name in datapath_names()


def test_auto_is_the_default_and_works_everywhere() -> None:
    """Without a word in the configuration relays go through plain sockets."""
    assert AUTO in datapath_names()
    assert create_datapath().name == create_datapath(AUTO).name == "asyncio"


def test_options_reach_the_datapath() -> None:
    """The clock and the treatment of DSCP and ECN are the worker's to choose."""
    clock = HandClock()
    datapath = create_datapath("null", tos="copy", clock=clock)
    assert isinstance(datapath, NullDatapath)
    assert (datapath.tos, datapath.clock) == ("copy", clock)


def test_an_unknown_name_is_an_error_that_lists_the_known() -> None:
    """The sentence is for the person who runs the server."""
    with pytest.raises(DatapathError, match=r"'fast'.*auto, asyncio, null"):
        create_datapath("fast")
