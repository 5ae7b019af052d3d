"""The client of a server's HTTP API for ``meshturn rooms``: trust, requests, and the meaning of answers."""

import http.client
import ipaddress
import json
import re
import socket
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlsplit

from turnserver.text import one_line

__all__ = ["ApiFailure", "RoomServer", "parse_url", "pinned", "read_key", "trusting"]

TIMEOUT: Final = 10.0
"""Seconds to connect, and to wait for each part of an answer."""

MAX_ANSWER: Final = 16 * 2**20
"""Bytes of the longest answer that is read: thousands of rooms are a few hundred kilobytes."""

MAX_KEY: Final = 4096
"""Maximum length of a key in bytes."""

_HOST = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,251}[A-Za-z0-9_])?", re.ASCII)


class ApiFailure(Exception):
    """A request to the server failed: a sentence, a hint, and a code for programs."""

    def __init__(self, sentence: str, hint: str = "", code: str = "failed") -> None:
        self.hint = hint
        self.code = code
        super().__init__(sentence)


def parse_url(text: str) -> str:
    """Read the URL of a server and return it without a slash at the end.

    Raises ValueError, in a sentence, for anything but ``http://`` or ``https://`` with a host and perhaps a port.
    """
    try:
        if not text.isprintable():
            raise ValueError(text)  # which urlsplit would remove silently
        parts = urlsplit(text.strip())
        port, host = parts.port, parts.hostname or ""
    except ValueError:
        raise ValueError(f"{one_line(text, 80)!r} is not a URL such as https://turn.example.org.") from None
    if parts.scheme not in {"http", "https"} or parts.path not in {"", "/"} or parts.query or parts.fragment:
        raise ValueError(
            f"{one_line(text, 80)!r} is not a URL such as https://turn.example.org or http://localhost:8080."
        )
    if parts.username is not None or parts.password is not None:
        raise ValueError("The URL must not contain a user name or a password.")
    if not _HOST.fullmatch(host) and not _is_address(host):
        raise ValueError(f"{one_line(host, 80)!r} is not a valid host.")
    shown = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{shown}" + ("" if port is None else f":{port}")


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return "%" not in host


def _is_local(host: str) -> bool:
    return host == "localhost" or (_is_address(host) and ipaddress.ip_address(host).is_loopback)


def read_key(path: Path) -> str:
    """The key in a file, without the newline at its end. Raises ValueError, in a sentence, if there is none."""
    shown = one_line(str(path))
    try:
        with path.open("rb") as stream:
            raw = stream.read(MAX_KEY + 1)
    except OSError as error:
        raise ValueError(f"The key file {shown} cannot be read: {error.strerror or type(error).__name__}.") from None
    key = raw.removesuffix(b"\n").removesuffix(b"\r")
    if not key or len(raw) > MAX_KEY or not all(0x21 <= byte <= 0x7E for byte in key):
        raise ValueError(f"There is no key in {shown}: a key is one line of printable ASCII characters.")
    return key.decode("ascii")


def trusting(ca_file: Path | None) -> ssl.SSLContext:
    """Trust the roots in a file, or the system's. Raises ValueError, in a sentence, for a file without any."""
    try:
        return ssl.create_default_context(cafile=None if ca_file is None else str(ca_file))
    except OSError as error:
        reason = error.strerror if not isinstance(error, ssl.SSLError) and error.strerror else "no certificates in it"
        raise ValueError(f"{one_line(str(ca_file))} cannot be used: {reason}.") from None


def pinned(certificates: Iterable[bytes]) -> ssl.SSLContext | None:
    """Trust exactly these certificates of a server (PEM), whatever names they have; None without a usable one.

    For a server whose files can be read here: comparing the certificate itself proves more than a name and a root.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    loaded = False
    for certificate in certificates:
        # The first one is the server's own. The others are of its issuers, who could certify other servers too.
        text, end, _ = certificate.decode("ascii", "ignore").partition("-----END CERTIFICATE-----")
        try:
            context.load_verify_locations(cadata=text + end)
            loaded = True
        except (ssl.SSLError, ValueError):
            continue
    return context if loaded else None


@dataclass(frozen=True, slots=True)
class RoomServer:
    """A server's API: its URL, a key for it, and the certificates to trust for TLS.

    ``local``: the server is on this machine, whatever its address, so TLS is not needed.
    """

    url: str
    key: str = field(repr=False)
    tls: ssl.SSLContext | None = None
    local: bool = False

    def get(self, *path: str) -> Any:
        """The JSON at the path ``/v1/`` and these names. Raises `ApiFailure`."""
        return self._ask("GET", path)

    def post(self, *path: str) -> Any:
        """The JSON of the answer to a POST without a body. Raises `ApiFailure`."""
        return self._ask("POST", path)

    def delete(self, *path: str, query: Mapping[str, str] | None = None) -> None:
        """Delete the resource at that path. Raises `ApiFailure`."""
        self._ask("DELETE", path, query or {})

    def _ask(self, method: str, path: tuple[str, ...], query: Mapping[str, str] | None = None) -> Any:
        target = "/v1/" + "/".join(quote(part, safe="") for part in path)
        if query:
            target += "?" + "&".join(f"{name}={quote(value, safe='')}" for name, value in query.items())
        connection = self._connection()
        try:
            headers = {"Authorization": f"Bearer {self.key}", "Accept": "application/json", "Connection": "close"}
            connection.request(method, target, headers=headers)
            answer = connection.getresponse()
            body = answer.read(MAX_ANSWER + 1)
        except (OSError, http.client.HTTPException) as error:
            raise self._out_of_reach(error) from error
        finally:
            connection.close()
        if len(body) > MAX_ANSWER:
            raise ApiFailure(f"The answer of {self.url} is too long.", code="bad_answer")
        return self._meaning(answer.status, body)

    def _connection(self) -> http.client.HTTPConnection:
        parts = urlsplit(self.url)
        host = parts.hostname or ""
        if parts.scheme == "https":
            return http.client.HTTPSConnection(host, parts.port, timeout=TIMEOUT, context=self.tls or trusting(None))
        if not self.local and not _is_local(host):
            raise ApiFailure(
                f"{self.url} has no TLS: the key could be read in transit.",
                "Give the https:// URL, or run the command on the server itself.",
                "no_tls",
            )
        return http.client.HTTPConnection(host, parts.port, timeout=TIMEOUT)

    def _out_of_reach(self, error: Exception) -> ApiFailure:
        if isinstance(error, ssl.SSLCertVerificationError):
            why = one_line(error.verify_message, 200)
            hint = "If the authority is your own, give its root with --ca-file FILE."
            return ApiFailure(f"{self.url} is not trusted: {why}.", hint, "not_trusted")
        if isinstance(error, http.client.HTTPException | ssl.SSLError):
            hint = "It may be another program's port, or http:// and https:// are mixed up."
            return ApiFailure(f"The response of {self.url} is not that of a meshturn server.", hint, "bad_answer")
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "no answer"
        if isinstance(error, socket.gaierror):
            reason = "there is no such host"
        elif isinstance(error, TimeoutError):
            reason = f"no answer within {TIMEOUT:.0f} seconds"
        hint = "Is it running? `meshturn up` starts one; --url names another."
        return ApiFailure(f"There is no server at {self.url}: {reason.lower()}.", hint, "not_reached")

    def _meaning(self, status: int, body: bytes) -> Any:
        """The JSON of a response. Raises `ApiFailure` unless the status is a success."""
        if status == 204:
            return None
        try:
            said = json.loads(body)
        except (ValueError, RecursionError):
            said = None
        if 200 <= status < 300 and said is not None:
            return said
        error = said.get("error") if isinstance(said, dict) else None
        if not isinstance(error, dict):
            hint = "Rooms need a shared listener, and signaling.enabled." if status == 404 else ""
            return self._strange(status, hint)
        code, message = one_line(str(error.get("code", "failed")), 40), one_line(str(error.get("msg", "")), 300)
        if status == 401:
            hint = "Keys are in signaling.admin_keys, or of `meshturn keys`; --key-file FILE names a file with one."
            raise ApiFailure(f"{self.url} does not accept this key: {message}.", hint, code)
        if status == 403:
            hint = "--key-file FILE names a file with a key that has the scope."
            raise ApiFailure(f"{self.url} refuses: {message}.", hint, code)
        raise ApiFailure(f"{self.url} says: {message}.", code=code)

    def _strange(self, status: int, hint: str) -> Any:
        raise ApiFailure(
            f"{self.url} answers with HTTP status {status}, unlike a server with rooms.", hint, "bad_answer"
        )
