"""Datapaths in front of another: what nobody changes goes on as it came."""

import inspect

from stun.address import Address
from tests.support.datapath_world import make_every_call
from turnserver.core.types import Counters, RelayId
from turnserver.errors import DatapathError
from turnserver.relay.base import Datapath, StreamRelays
from turnserver.relay.null import NullDatapath
from turnserver.relay.wrapping import WrappingDatapath, WrappingStreamRelays

RELAY = RelayId(7)
BIND = Address.parse("192.0.2.1", 50000)
PEER = Address.parse("192.0.2.9", 9)


def test_every_call_goes_on() -> None:
    inner = NullDatapath()
    wrapped: Datapath = WrappingDatapath(WrappingDatapath(inner))
    calls = make_every_call(wrapped)
    assert wrapped.counters(RELAY) == Counters()
    assert wrapped.name == "null"
    assert inner.calls == calls


class Remembering:
    """Stands for TCP relays: keeps the calls, and gives something back."""

    name = "remembering"

    def __init__(self) -> None:
        self.calls: list[tuple[str, tuple[object, ...]]] = []

    def __getattr__(self, name: str) -> object:
        def call(*arguments: object) -> str:
            self.calls.append((name, arguments))
            return f"of {name}"

        return call


def test_every_call_for_tcp_relays_goes_on() -> None:
    """With its arguments, and what comes back for it comes back."""
    inner = Remembering()
    wrapped = WrappingStreamRelays(inner)
    methods = [name for name, _ in inspect.getmembers(StreamRelays, inspect.isfunction) if not name.startswith("_")]
    for name in methods:
        method = getattr(wrapped, name)
        arguments = tuple(range(len(inspect.signature(method).parameters)))
        found = method(*arguments)
        assert inner.calls[-1] == (name, arguments)
        assert found == (f"of {name}" if name in {"counters", "open_relay"} else None)
    assert len(inner.calls) == len(methods) == 8


def test_a_wrapper_changes_what_it_cares_about() -> None:
    class Refusing(WrappingDatapath):
        def open_relay(self, relay: RelayId, bind: Address) -> bool:
            if bind.port % 2:
                raise DatapathError("no odd ports here")
            return super().open_relay(relay, bind)

    inner = NullDatapath()
    Refusing(inner).open_relay(RELAY, BIND)
    assert inner.relays == {RELAY: BIND}
