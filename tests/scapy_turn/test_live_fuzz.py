"""scapy's ``fuzz()`` as a generator against the live server: it goes on, says nothing wrong, and keeps nothing.

Everything is in a network namespace with loopback only, since peers that are drawn are anybody's addresses. Number and
seeds are fixed. With ``MESHTURN_THOROUGH=1`` there are twenty times as many messages, and new ones each time.
"""

import os
import random
from collections.abc import Iterator
from contextlib import suppress

import pytest
from scapy.packet import Packet, Raw, fuzz
from scapy.volatile import RandBin

import scapy_turn as turn
from scapy_turn import ChannelData, Credential, StunAttribute, StunLifetime, StunMessage, Turn, long_term_key, verify
from scapy_turn.allocation import Allocation
from scapy_turn.registry import METHODS
from scapy_turn.wire import Wire
from tests.support.certificates import issue
from tests.support.examples import scaled
from tests.support.netns import NetworkNamespace
from tests.support.process import open_files, wait_until
from tests.support.server import PASSWORD, REALM, USERNAME, TurnServerProcess, loopback_config, stream_listeners

pytestmark = [pytest.mark.net, pytest.mark.timeout(1200)]

THOROUGH = bool(os.environ.get("MESHTURN_THOROUGH"))

LAYERS: list[type[StunAttribute]] = [
    layer
    for layer in map(turn.__dict__.get, turn.__all__)
    if isinstance(layer, type) and issubclass(layer, StunAttribute) and layer is not StunAttribute
]
SIGNING = {
    turn.StunUsername,
    turn.StunUserhash,
    turn.StunRealm,
    turn.StunNonce,
    turn.StunPasswordAlgorithm,
    turn.StunPasswordAlgorithms,
    turn.StunMessageIntegrity,
    turn.StunMessageIntegritySha256,
    turn.StunFingerprint,
}
ORDINARY: dict[str, list[type[StunAttribute]]] = {
    "Allocate": [turn.StunRequestedTransport, turn.StunLifetime],
    "Refresh": [turn.StunLifetime],
    "CreatePermission": [turn.StunXorPeerAddress],
    "ChannelBind": [turn.StunChannelNumber, turn.StunXorPeerAddress],
    "Send": [turn.StunXorPeerAddress, turn.StunData],
    "Connect": [turn.StunXorPeerAddress],
    "ConnectionBind": [turn.StunConnectionId],
}
"""What a request has to have; one of these and something else leads further than anything drawn."""


@pytest.fixture(scope="module")
def server(processes: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TurnServerProcess]:
    """With the ordinary rules for peers, and no budget for strangers: every request of theirs is answered."""
    folder = tmp_path_factory.mktemp("server")
    config = loopback_config(
        listeners=stream_listeners(http=False),
        tls={"certificates": [issue(folder).config]},
        limits={"allocations_per_user": 1000, "reflection_burst": 2**30},
    )
    with NetworkNamespace() as alone, alone.entered(), TurnServerProcess(config, folder) as running:
        yield running


def fresh(template: Packet) -> StunMessage:
    """One draw of a template, of which all values stay as they are."""
    return StunMessage(bytes(template))


def drawn(generator: random.Random) -> StunMessage:
    """Any class of any method with a few attributes of any type."""
    kinds = generator.sample(LAYERS, generator.randrange(6))
    if generator.random() < 0.5:
        kinds = [*ORDINARY[generator.choice(list(ORDINARY))], *kinds]
    parts = [kind(key=b"key") if "INTEGRITY" in kind._name else kind() for kind in kinds]
    return fresh(fuzz(StunMessage(transaction_id=RandBin(12), attributes=parts)))


def size(messages: int) -> int:
    return messages * 20 if THOROUGH else scaled(messages)


def draws(number: int, seed: int) -> Iterator[tuple[random.Random, StunMessage]]:
    """Half of the messages of methods and classes that there are."""
    if THOROUGH:
        seed = random.SystemRandom().getrandbits(32)
        print(f"seed {seed}")
    random.seed(seed)
    generator = random.Random(seed)
    for _ in range(number):
        message = drawn(generator)
        if generator.random() < 0.5:
            message.method = generator.choice(list(METHODS))
            message.msgclass = generator.choice([0, 0, 0, 1])
            message = fresh(message)
        yield generator, message


def survived(server: TurnServerProcess, files: int) -> None:
    """It serves others, has logged no fault, and holds nothing that was opened for what is over."""
    with Wire(("127.0.0.1", server.ports["udp"])) as wire:
        held = Allocation(wire, Credential(USERNAME, PASSWORD), lambda peer, data: None)
        held.close()
    opened = server.log.count("allocation opened")
    wait_until(lambda: server.log.count("allocation ended") == opened, "every allocation has ended")
    wait_until(lambda: open_files(server) <= files, "every socket is closed")
    for word in ("Traceback", "fault", "unexpected"):
        assert word not in server.log


@pytest.mark.parametrize("transport", ["udp", "tcp", "tls"])
def test_strangers(server: TurnServerProcess, transport: str) -> None:
    """Without a credential; every answer is one to what was asked, and is well formed."""
    files = open_files(server)
    address = ("127.0.0.1", server.ports[transport])
    asked: dict[bytes, StunMessage] = {}
    answers = 0
    wire = Wire(address, transport)
    for number, (generator, message) in enumerate(draws(size(600), 8489)):
        asked[message.transaction] = message
        try:
            wire.send(message)
            if generator.random() < 0.1:
                wire.send(fuzz(ChannelData()) / Raw(generator.randbytes(generator.randrange(50))))
            frames = wire.wait(0.01 if number % 10 == 9 else 0.0)
        except (EOFError, OSError):
            # A stream on which something was wrong is closed.
            wire.close()
            wire = Wire(address, transport)
            continue
        for frame in frames:
            answer = Turn(frame)
            assert isinstance(answer, StunMessage)
            assert answer.answers(asked[answer.transaction]), (asked[answer.transaction], answer)
            assert type(answer.attributes[0]) is not Raw
            assert verify(answer).fingerprint is not False
            answers += 1
    wire.close()
    assert answers > size(600) // 20
    survived(server, files)


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_users(server: TurnServerProcess, transport: str) -> None:
    """Signed as the server wants it, so it is the handlers that get what was drawn; with allocations, and without."""
    files = open_files(server)
    address = ("127.0.0.1", server.ports[transport])
    credential, codes = Credential(USERNAME, PASSWORD), set()
    wire = Wire(address, transport)
    for number, (generator, message) in enumerate(draws(size(400), 8656)):
        method = generator.choice(list(ORDINARY))
        parts = [fuzz(kind()) for kind in ORDINARY[method]]
        parts += [part for part in message.attributes if type(part) not in SIGNING]
        if number % 25 == 0:
            # A new port, and an allocation that the rest has to do with.
            leave(wire, credential)
            wire = Wire(address, transport)
            credential.nonce = None
            _code(wire, credential, "Allocate", turn.StunRequestedTransport())
            _code(wire, credential, "Allocate", turn.StunRequestedTransport())
        resolved = StunMessage(bytes(StunMessage(attributes=parts))).attributes
        for part in resolved:
            if isinstance(part, turn.StunEvenPort):
                # A port that is held for half a minute is not a leak.
                part.reserve = 0
        with suppress(EOFError, OSError):
            codes.add(_code(wire, credential, method, *resolved))
            continue
        wire.close()
        wire = Wire(address, transport)
    leave(wire, credential)
    assert len(codes) > 4
    assert 500 not in codes
    survived(server, files)


def leave(wire: Wire, credential: Credential) -> None:
    """Delete what there is: over UDP only the port that made an allocation can. A second time, with a fresh nonce."""
    with wire, suppress(EOFError, OSError):
        for _ in range(2):
            _code(wire, credential, "Refresh", StunLifetime(lifetime=0))


def _code(wire: Wire, credential: Credential, method: str, *parts: Packet) -> int | None:
    """Ask as a user; the code of the answer, 0 for success, None for silence. A challenge is learned."""
    request = credential.request(method, *parts)
    if method == "Send":
        request.msgclass = 1
    answers = wire.exchange(request, 0.02 if method == "Send" else 0.5, resend=False)
    answer = next((one for one in answers if isinstance(one, StunMessage)), None)
    if answer is None:
        return None
    if answer.error in {401, 438}:
        credential.learn(answer)
    else:
        assert verify(answer, long_term_key(USERNAME, REALM, PASSWORD, 2 if credential.sha256 else 1)).ok
    return answer.error or 0
