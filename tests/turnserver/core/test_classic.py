"""Binding for clients of RFC 3489 (docs/conformance.md, "RFC 3489"): old phones, `stun`, `pystun3`."""

import pytest

from stun import attributes as a
from stun.address import Address
from tests.support.core_world import SERVER, World
from turnserver.config import StunConfig
from turnserver.core.settings import RelayAddress
from turnserver.core.types import ClientTransport

ID = b"sixteen bytes id"
REQUEST = bytes.fromhex("00010000") + ID


def ask(world: World, *attributes: str, transport: ClientTransport = ClientTransport.UDP) -> list[bytes]:
    body = bytes.fromhex("".join(attributes))
    frame = b"\0\1" + len(body).to_bytes(2, "big") + ID + body
    return world.feed(world.client(transport=transport).path, frame)


def attributes_of(answer: bytes) -> dict[int, bytes]:
    """The attributes of an answer, whose header has been looked at."""
    assert answer[4:20] == ID
    assert int.from_bytes(answer[2:4], "big") == len(answer) - 20
    found, at = {}, 20
    while at < len(answer):
        end = at + 4 + int.from_bytes(answer[at + 2 : at + 4], "big")
        found[int.from_bytes(answer[at : at + 2], "big")] = answer[at + 4 : end]
        assert end % 4 == 0
        at = end
    return found


def test_a_client_of_rfc_3489_learns_its_address() -> None:
    """RFC 3489 §8.1, RFC 5389 §12.2: MAPPED-ADDRESS, not XORed, and SOURCE-ADDRESS; without alternate, no CHANGED."""
    world = World()
    (answer,) = ask(world)
    assert answer[:2] == b"\1\1"
    client = world.client().path.address
    assert attributes_of(answer) == {a.MAPPED_ADDRESS.number: client.pack(), a.SOURCE_ADDRESS.number: SERVER.pack()}
    assert world.take_events() == []
    assert world.core.deadline() is None


def test_behind_nat_the_source_is_the_public_address() -> None:
    """Rule 23: SOURCE-ADDRESS is the one that the client can have sent to."""
    public = Address.parse("203.0.113.9", 0).ip
    world = World(relays=(RelayAddress(SERVER.ip, public),))
    (answer,) = ask(world)
    assert attributes_of(answer)[a.SOURCE_ADDRESS.number] == Address(public, SERVER.port).pack()


def test_response_address_is_never_obeyed() -> None:
    """RFC 5389 §12.2: unknown, so 420; nothing goes to the address that it names. The list has an even length."""
    world = World()
    (answer,) = ask(world, "00020008", "00010050c0000205")
    assert answer[:2] == b"\1\x11"
    found = attributes_of(answer)
    assert found[a.ERROR_CODE.number][:4] == bytes((0, 0, 4, 20))
    assert found[a.UNKNOWN_ATTRIBUTES.number] == bytes.fromhex("00020002")
    assert list(world.to_clients) == []


@pytest.mark.parametrize(
    ("flags", "code"), [("00000000", None), ("00000001", None), ("00000004", 20), ("00000002", 20)]
)
def test_a_change_that_is_none_is_absent(flags: str, code: int | None) -> None:
    """RFC 3489 §11.2.4: a CHANGE-REQUEST without flags asks for nothing."""
    (answer,) = ask(World(), "00030004", flags)
    error = attributes_of(answer).get(a.ERROR_CODE.number)
    assert (None if error is None else error[3]) == code


@pytest.mark.parametrize("transport", [ClientTransport.TCP, ClientTransport.TLS])
def test_only_over_udp(transport: ClientTransport) -> None:
    """RFC 3489 §9.3: TCP was for SharedSecret only, which is not offered."""
    assert ask(World(), transport=transport) == []


def test_it_can_be_switched_off() -> None:
    """``stun.classic: false`` is silence, as RFC 8489 §6.3 says of messages without the cookie."""
    assert ask(World(settings={"stun": StunConfig(classic=False)})) == []


@pytest.mark.parametrize("method", ["0002", "0003", "0004", "0006", "0016", "0101", "0111"])
def test_only_binding(method: str) -> None:
    """SharedSecret is not offered, and TURN is younger than the cookie."""
    world = World()
    assert world.feed(world.client().path, bytes.fromhex(method + "0000") + ID) == []
    assert world.take_events() == []


def test_it_is_on_the_reflection_budget() -> None:
    """Rule 4: the answer is longer than the request, so it has to be paid for like any other."""
    world = World(limits=World().limits.model_copy(update={"reflection_burst": 1000, "reflection_rate": 0}))
    path = world.client().path
    answered = sum(len(world.feed(path, REQUEST)) for _ in range(1000))
    assert 0 < answered <= 1000 // (44 - 20)
