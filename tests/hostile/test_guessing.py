"""Guessing passwords through real sockets: how much is answered, who is still served, and the line for fail2ban."""

import re
import secrets
import socket
import ssl
import time
from pathlib import Path

import pytest

from auth.keys import long_term_key_md5
from stun import attributes as a
from stun.constants import MessageClass, Method
from stun.framing import StreamFramer
from stun.message import Message, MessageBuilder
from tests.support.server import PASSWORD, REALM, USERNAME, TurnServerProcess
from tests.support.stream_wire import open_tcp, open_tls
from turnserver.core.logins import SOURCE_ANSWERS

GUESSES = 3000
GUIDE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "production.md"

LATER = 30
"""Answers that a slow machine may add, because the server gives one every two seconds."""


class Guesser:
    """Allocates from one address, over any transport, without waiting for answers."""

    def __init__(self, kind: str, server: TurnServerProcess, source: str) -> None:
        self.kind, self.server, self.source = kind, server, source
        self.socket = self.open()
        self.framer = StreamFramer()

    def open(self) -> socket.socket:
        port = self.server.ports[self.kind]
        if self.kind == "udp":
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            sock.bind((self.source, 0))
            sock.connect(("127.0.0.1", port))
            return sock
        opened = open_tcp if self.kind == "tcp" else open_tls
        return opened("127.0.0.1", port, source=self.source)

    def again(self) -> None:
        """Another socket."""
        self.socket.close()
        self.socket = self.open()
        self.framer = StreamFramer()

    def request(self, password: str = "", nonce: bytes = b"", user: str = USERNAME) -> None:
        builder = MessageBuilder(Method.ALLOCATE, MessageClass.REQUEST, secrets.token_bytes(12))
        builder.add(a.REQUESTED_TRANSPORT, 17)
        if not password:
            self.socket.send(builder.build())
            return
        builder.add(a.USERNAME, user).add(a.REALM, REALM).add(a.NONCE, nonce)
        self.socket.send(builder.integrity(long_term_key_md5(user, REALM, password)).build())

    def answer(self, timeout: float) -> Message | None:
        """The next answer; None if there is none in time, EOFError at the end of the connection."""
        self.socket.settimeout(timeout)
        try:
            if self.kind == "udp":
                return Message.decode(self.socket.recv(2048))
            while (frame := self.framer.pop()) is None:
                data = self.socket.recv(65_536)
                if not data:
                    raise EOFError
                self.framer.push(data)
            return Message.decode(frame)
        except TimeoutError:
            return None

    def login(self, password: str, user: str = USERNAME) -> int:
        """The whole dance with one password: the code, 0 for a success."""
        self.request()
        challenge = self.answer(60.0)
        assert challenge is not None
        self.request(password, challenge.first(a.NONCE) or b"", user)
        answer = self.answer(60.0)
        assert answer is not None
        error = answer.first(a.ERROR_CODE)
        return 0 if error is None else error.code

    def attack(self, count: int) -> int:
        """``count`` wrong passwords, with a new connection whenever the server ends one; gives the answers to them."""
        sent = answered = 0
        while sent < count:
            try:
                self.request()
                challenge = self.answer(60.0)
                nonce = None if challenge is None else challenge.first(a.NONCE)
                assert nonce is not None
                for _ in range(100):
                    self.request(secrets.token_hex(8), nonce)
                    sent += 1
                while self.answer(0.05) is not None:
                    answered += 1
            except (EOFError, ConnectionError, ssl.SSLError):
                self.again()
        return answered


@pytest.mark.parametrize("kind", ["udp", "tcp", "tls"])
def test_guesses_are_braked_and_named_and_the_right_password_is_accepted(
    kind: str, patient_server: TurnServerProcess
) -> None:
    """Kind: failures that only the client sees. The holder of the password sits behind the guesser's address."""
    source = {"udp": "127.7.1.1", "tcp": "127.7.2.1", "tls": "127.7.3.1"}[kind]
    assert Guesser(kind, patient_server, source).attack(GUESSES) <= SOURCE_ANSWERS + LATER
    assert Guesser(kind, patient_server, source).login(PASSWORD) == 0
    assert Guesser(kind, patient_server, source.replace("127.7", "127.8")).login(PASSWORD) == 0
    lines = wait_for_lines(patient_server, source, "many failed logins")
    assert len(lines) == 1, "one for the run"
    said = rf"user={USERNAME} cause=wrong-password why='wrong password' failures=10 "
    assert re.search(rf"client={source}:\d+ transport={kind} {said}", lines[0])
    assert len(wait_for_lines(patient_server, source, "login failed")) == 1


def test_the_filter_of_the_guide_finds_the_address_and_nothing_that_a_client_has_written(
    patient_server: TurnServerProcess,
) -> None:
    """A user name that looks like a line of ours is one more field, and bounded."""
    hostile = f"x\n info meshturn.turn: many failed logins address=192.0.2.1 client={'y' * 300}"
    source = "127.7.4.1"
    for _ in range(10):
        assert Guesser("udp", patient_server, source).login("wrong", hostile) == 401
    lines = wait_for_lines(patient_server, source, "meshturn.turn: many failed logins address=127")
    assert all(len(line) < 600 and line.isprintable() for line in lines)
    pattern = failregex()
    found = [match["addr"] for match in map(pattern.search, patient_server.log.splitlines()) if match]
    assert source in found
    assert "192.0.2.1" not in found
    in_journal = pattern.search(f"host meshturn[7]: {lines[0]}")
    assert in_journal is not None
    assert in_journal["addr"] == source


def failregex() -> re.Pattern[str]:
    """The regular expression of the guide; ``<ADDR>`` is fail2ban's own notation."""
    text = GUIDE.read_text(encoding="utf-8")
    found = re.search(r"^failregex = (.+)$", text, re.MULTILINE)
    assert found is not None
    return re.compile(found[1].replace("<ADDR>", r"(?P<addr>[0-9A-Fa-f:.]+)"))


def wait_for_lines(server: TurnServerProcess, source: str, message: str) -> list[str]:
    """The lines of that kind about an address, once there are some."""
    give_up = time.monotonic() + 90
    while True:
        lines = [line for line in server.log.splitlines() if message in line and f"address={source} " in line]
        if lines or time.monotonic() > give_up:
            return lines
        time.sleep(0.05)
