"""The API of a server as ``meshturn rooms`` asks it: what goes out, and what every kind of answer means."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from cli import roomserver
from cli.roomserver import ApiFailure, RoomServer, parse_url, pinned, read_key, trusting

KEY = "admin-key-0123456789"


class Canned:
    """A web server that always answers the same, and remembers what it was asked."""

    def __init__(self, certificate: Any = None) -> None:
        self.status = 200
        self.body = b"{}"
        self.headers: dict[str, str] = {}
        self.asked: list[tuple[str, str, str | None]] = []
        canned = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                canned.asked.append((self.command, self.path, self.headers["Authorization"]))
                self.send_response(canned.status)
                for name, value in canned.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(canned.body)

            do_GET = do_DELETE = answer

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate.certificate, certificate.key)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def canned() -> Iterator[Canned]:
    server = Canned()
    yield server
    server.close()


def there(canned: Canned, **more: Any) -> RoomServer:
    return RoomServer(f"http://127.0.0.1:{canned.port}", KEY, **more)


def failure(ask: Callable[[], object]) -> ApiFailure:
    with pytest.raises(ApiFailure) as caught:
        ask()
    assert KEY not in str(caught.value) + caught.value.hint
    return caught.value


# What the command line says


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("https://turn.example.org", "https://turn.example.org"),
        (" http://localhost:8080/ ", "http://localhost:8080"),
        ("HTTPS://Turn.Example.org:8443", "https://turn.example.org:8443"),
        ("https://[2001:db8::7]:443/", "https://[2001:db8::7]:443"),
        ("http://127.0.0.1", "http://127.0.0.1"),
    ],
)
def test_urls(text: str, url: str) -> None:
    assert parse_url(text) == url


@pytest.mark.parametrize(
    "text",
    [
        "", "turn.example.org", "ftp://example.org", "https://", "https://a b", "https://example.org/rooms",
        "https://example.org?key=x", "https://example.org/#x", "https://user:pass@example.org", "https://[::1",
        "https://example.org:99999", "https://example.org:x", "https://a\u202eb", "https://a\nb/", "file:///etc/passwd",
        "https://[fe80::1%25eth0]",
    ],
)  # fmt: skip
def test_texts_that_are_no_url_of_a_server(text: str) -> None:
    with pytest.raises(ValueError, match=r"URL|host") as caught:
        parse_url(text)
    assert str(caught.value).isprintable()


def test_a_key_is_a_line_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "key"
    for text in ("secret-key", "secret-key\n", "secret-key\r\n"):
        file.write_text(text)
        assert read_key(file) == "secret-key"


@pytest.mark.parametrize("data", [b"", b"\n", b"a\nb", b"a\r\nX-Header: b", b"a b", b"\xff", b"x" * 5000, b"a\x00"])
def test_what_is_no_key(tmp_path: Path, data: bytes) -> None:
    """It becomes a header field: nothing in it may end the line."""
    file = tmp_path / "key"
    file.write_bytes(data)
    with pytest.raises(ValueError, match="no key in"):
        read_key(file)
    with pytest.raises(ValueError, match="cannot be read"):
        read_key(tmp_path / "nothing")
    with pytest.raises(ValueError, match="cannot be read"):
        read_key(tmp_path)


def test_roots_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "roots.pem").write_text("nothing")
    with pytest.raises(ValueError, match="no certificates in it"):
        trusting(tmp_path / "roots.pem")
    with pytest.raises(ValueError, match="No such file"):
        trusting(tmp_path / "nowhere.pem")


# Asking


def test_what_is_asked(canned: Canned) -> None:
    server = there(canned)
    canned.body = b'{"rooms": []}'
    assert server.get("rooms") == {"rooms": []}
    canned.status, canned.body = 204, b""
    server.delete("rooms", "a/b?c", "peers", "d", query={"reason": "be kind & go"})
    assert canned.asked == [
        ("GET", "/v1/rooms", f"Bearer {KEY}"),
        ("DELETE", "/v1/rooms/a%2Fb%3Fc/peers/d?reason=be%20kind%20%26%20go", f"Bearer {KEY}"),
    ]


@pytest.mark.parametrize(
    ("status", "body", "code", "sentence"),
    [
        (
            401,
            b'{"error": {"code": "bad_key", "msg": "not one of ours"}}',
            "bad_key",
            "does not accept this key: not one",
        ),
        (403, b'{"error": {"code": "forbidden", "msg": "an API key"}}', "forbidden", "refuses: an API key"),
        (404, b'{"error": {"code": "not_found", "msg": "no such room"}}', "not_found", "says: no such room"),
        (429, b'{"error": {"code": "rate_limited", "msg": "later"}}', "rate_limited", "says: later"),
        (500, b'{"error": {}}', "failed", "says: "),
        (404, b"404: Not Found", "bad_answer", "HTTP status 404"),
        (200, b"<html>", "bad_answer", "HTTP status 200"),
        (200, b"\xff", "bad_answer", "HTTP status 200"),
        (200, b"[" * 100_000, "bad_answer", "HTTP status 200"),
        (301, b"", "bad_answer", "HTTP status 301"),
        (500, b"[]", "bad_answer", "HTTP status 500"),
        (401, b'{"error": "no"}', "bad_answer", "HTTP status 401"),
    ],
)
def test_what_answers_mean(canned: Canned, status: int, body: bytes, code: str, sentence: str) -> None:
    canned.status, canned.body = status, body
    found = failure(lambda: there(canned).get("rooms"))
    assert found.code == code
    assert sentence in str(found)


def test_what_a_server_says_does_not_steer_the_terminal(canned: Canned) -> None:
    canned.status = 404
    canned.body = b'{"error": {"code": "\\u001b[2J", "msg": "\\u001b]0;title\\u0007\\u202e' + b"x" * 1000 + b'"}}'
    found = failure(lambda: there(canned).get("rooms"))
    assert str(found).isprintable()
    assert found.code.isprintable()
    assert len(str(found)) < 500


def test_a_redirection_is_not_followed(canned: Canned) -> None:
    """The key is for the server that was named, and for no other."""
    canned.status, canned.headers = 302, {"Location": f"http://127.0.0.1:{canned.port}/elsewhere"}
    assert failure(lambda: there(canned).get("rooms")).code == "bad_answer"
    assert len(canned.asked) == 1


def test_an_answer_has_an_end(canned: Canned, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roomserver, "MAX_ANSWER", 1000)
    canned.body = b" " * 1001
    assert "too long" in str(failure(lambda: there(canned).get("rooms")))


def test_nobody_is_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    found = failure(lambda: RoomServer(f"http://127.0.0.1:{port}", KEY).get("rooms"))
    assert (found.code, str(found)) == (
        "not_reached",
        f"There is no server at http://127.0.0.1:{port}: connection refused.",
    )
    assert "meshturn up" in found.hint


def test_somebody_is_there_and_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roomserver, "TIMEOUT", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        assert failure(lambda: RoomServer(url, KEY).get("rooms")).code == "not_reached"


def test_something_else_is_there() -> None:
    """SSH, say: its first line is no HTTP."""
    with socket.create_server(("127.0.0.1", 0)) as other:

        def speak() -> None:
            connection, _ = other.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"SSH-2.0-OpenSSH_9.6\r\n")

        thread = threading.Thread(target=speak)
        thread.start()
        url = f"http://127.0.0.1:{other.getsockname()[1]}"
        assert failure(lambda: RoomServer(url, KEY).get("rooms")).code == "bad_answer"
        thread.join()


def test_a_key_does_not_travel_in_the_clear() -> None:
    found = failure(lambda: RoomServer("http://turn.example.org", KEY).get("rooms"))
    assert found.code == "no_tls"


def test_http_where_https_is_spoken_and_the_other_way_round(canned: Canned) -> None:
    found = failure(lambda: RoomServer(f"https://127.0.0.1:{canned.port}", KEY).get("rooms"))
    assert found.code == "bad_answer"
    assert "mixed up" in found.hint


# TLS


@pytest.fixture
def certified(certify: Callable[..., Any]) -> Iterator[tuple[Canned, Any]]:
    made = certify("turn.example.org")
    server = Canned(made)
    yield server, made
    server.close()


def test_a_stranger_s_certificate(certified: tuple[Canned, Any]) -> None:
    server, _ = certified
    found = failure(lambda: RoomServer(f"https://127.0.0.1:{server.port}", KEY).get("rooms"))
    assert found.code == "not_trusted"
    assert "--ca-file" in found.hint
    assert server.asked == []


def test_a_certificate_at_hand_is_trusted_whatever_its_names(certified: tuple[Canned, Any]) -> None:
    server, made = certified
    tls = pinned([made.certificate.read_bytes()])
    assert RoomServer(f"https://127.0.0.1:{server.port}", KEY, tls).get("rooms") == {}


def test_no_other_certificate_is(certified: tuple[Canned, Any], certify: Callable[..., Any]) -> None:
    """Not even one of the same issuer: it is this one that the server was given."""
    server, _ = certified
    other = certify("turn.example.org")
    tls = pinned([other.certificate.read_bytes()])
    assert failure(lambda: RoomServer(f"https://127.0.0.1:{server.port}", KEY, tls).get("rooms")).code == "not_trusted"


def test_the_issuer_of_a_pinned_certificate_vouches_for_nobody(certify: Callable[..., Any]) -> None:
    authority = certify(label="root")
    mine = certify("one.example.org", by=authority, chain=(authority,))
    theirs = certify("two.example.org", by=authority)
    server = Canned(theirs)
    try:
        tls = pinned([mine.certificate.read_bytes()])
        url = f"https://127.0.0.1:{server.port}"
        assert failure(lambda: RoomServer(url, KEY, tls).get("rooms")).code == "not_trusted"
    finally:
        server.close()


def test_nothing_to_pin() -> None:
    assert pinned([]) is None
    assert pinned([b"nothing", b"\xff"]) is None


def test_an_authority_of_one_s_own(certify: Callable[..., Any]) -> None:
    authority = certify(label="root")
    server = Canned(certify("127.0.0.1", by=authority))
    try:
        url = f"https://127.0.0.1:{server.port}"
        assert RoomServer(url, KEY, trusting(authority.certificate)).get("rooms") == {}
    finally:
        server.close()


def test_repr_shows_no_key() -> None:
    assert KEY not in repr(RoomServer("http://localhost", KEY))
