"""The child of the SFU as its parent sees it: messages in, messages out, and an end for whatever is none."""

import asyncio
import json
import os
import socket
from collections.abc import AsyncIterator

import pytest

from stun.address import Address
from tests.support.sfu_people import until
from turnserver.media.edge import bind_media
from turnserver.media.worker import CALL, FACT, START, VIEW, Worker
from turnserver.messages import MessageLink
from turnserver.supervised import ALIVE, FAULT, READY


class Boss:
    """The parent's end of a socket pair, with a worker in the same loop at the other end."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        self.heard: list[tuple[int, bytes]] = []
        self.link = MessageLink(ours, lambda kind, payload: self.heard.append((kind, payload)), lambda _: None)
        self.task = asyncio.ensure_future(Worker(theirs).run())
        (self.sock,) = bind_media([Address(bytes((127, 0, 0, 1)), 0)])

    def send(self, kind: int, value: object) -> None:
        self.link.send(kind, json.dumps(value).encode())

    def start(self) -> None:
        descriptor = os.dup(self.sock.fileno())
        self.send(START, [[[descriptor, "203.0.113.5", self.sock.getsockname()[1]]], [None, 1, 1]])

    def of(self, kind: int) -> list[bytes]:
        return [payload for each, payload in self.heard if each == kind]


@pytest.fixture
async def boss() -> AsyncIterator[Boss]:
    """A parent; the worker ends with it."""
    made = Boss()
    yield made
    made.link.close()
    await made.task
    made.sock.close()


async def test_it_is_ready_when_its_sockets_are_and_reports(boss: Boss) -> None:
    boss.start()
    await until(lambda: bool(boss.of(READY)))
    boss.send(CALL, ["open", "küche", 7])
    boss.send(CALL, ["join", "küche", "ann", "Ann"])
    boss.send(CALL, ["offer", "küche", "ann", "p1", "nonsense", {}])
    await until(lambda: bool(boss.of(FACT)))
    name, *fields = json.loads(boss.of(FACT)[0])
    assert (name, fields[:3]) == ("SideFailed", ["küche", "ann", "publish"])
    await until(lambda: bool(boss.of(VIEW) and boss.of(ALIVE)))
    room, _, view = boss.of(VIEW)[-1].partition(b"\0")
    assert room.decode() == json.loads(view)[0] == "küche"
    assert [kind for kind, _ in boss.heard if kind == FAULT] == []


@pytest.mark.parametrize(
    ("prepare", "kind", "payload", "why"),
    [
        (False, CALL, b'["open","r",1]', f"a message of kind {CALL}"),
        (True, START, b"[]", f"a message of kind {START}"),
        (True, 99, b"[]", "a message of kind 99"),
        (False, START, b"[]", "cannot be read"),
        (False, START, b"[[],[]]", "cannot be read"),
        (True, CALL, b"\xff", "cannot be read"),
        (True, CALL, b"[]", "cannot be read"),
        (True, CALL, b"7", "cannot be read"),
        (True, CALL, b'["receive",1]', "no call of an engine"),
        (True, CALL, b"[" * 100_000, "cannot be read"),
        (False, START, b'[[["x","y","z"]],[null,1,1]]', "cannot be read"),
    ],
)
async def test_what_is_no_message_ends_it(boss: Boss, prepare: bool, kind: int, payload: bytes, why: str) -> None:
    if prepare:
        boss.start()
    boss.link.send(kind, payload)
    assert why in await boss.task


async def test_it_ends_with_its_parents_interest(boss: Boss) -> None:
    boss.start()
    await until(lambda: bool(boss.of(READY)))
    boss.link.close()
    assert await boss.task == ""


async def test_an_exception_in_the_engine_is_told_and_costs_one_call(boss: Boss) -> None:
    boss.start()
    boss.send(CALL, ["open", "r"])
    boss.send(CALL, ["open", "r", 1])
    await until(lambda: bool(boss.of(FAULT) and boss.of(VIEW)))
    part, times, text = json.loads(boss.of(FAULT)[0])
    assert (part, times) == ("media", 1)
    assert "TypeError" in text
