"""Frames of ``signal.v1``, both directions: parsed or refused, as the published schema has it, and written the same."""

import json
from collections.abc import Iterator

from tests.support.signal_scenarios import FOLDER
from tests.support.signal_schema import is_valid
from turnserver.signaling.protocol.base import CLIENT, SERVER
from turnserver.signaling.protocol.codec import encode, parse, parse_server
from turnserver.signaling.protocol.errors import Denial, SignalCode

__all__ = ["MAX_LENGTH", "WORDS", "frames", "run", "seeds"]

MAX_LENGTH = 4096
WORDS = (
    *(f'"t":"{name}"'.encode() for name in sorted({*CLIENT.names, *SERVER.names})),
    *(
        f'"{name}":'.encode()
        for name in ("id", "n", "to", "room", "name", "data", "sdp", "cand", "re", "resume", "meta")
    ),
    b"null",
    b"true",
    b"1e999",
    b"-1",
    b"9007199254740993",
    b'"\\ud800"',
    b'"\\u0000"',
    b"[[[[",
)


def frames() -> Iterator[tuple[str, str]]:
    """Every frame of the transcripts, with who says it; each once."""
    seen = set()
    for path in sorted(FOLDER.glob("*.json")):
        for entry in json.loads(path.read_text(encoding="utf-8")):
            if "frame" in entry or "text" in entry:
                text = entry.get("text") or json.dumps(entry["frame"], separators=(",", ":"))
                if (entry["from"] == "server", text) not in seen:
                    seen.add((entry["from"] == "server", text))
                    yield entry["from"], text


def seeds() -> Iterator[bytes]:
    """One frame of each type and direction, as the transcripts have it."""
    kinds = set()
    for speaker, text in frames():
        kind = speaker == "server", text.partition('"t":"')[2].partition('"')[0]
        if kind not in kinds:
            kinds.add(kind)
            yield text.encode("utf-8", "surrogatepass")


def _sendable(denial: Denial) -> None:
    """A refusal goes back to whoever has sent the frame."""
    assert denial.code in SignalCode
    str(denial).encode("utf-8")


def run(data: bytes) -> None:
    """`Denial` and nothing else; what is accepted is valid, and is the same after it was written."""
    text = data.decode("utf-8", "surrogateescape")
    for side, read in (("client", parse), ("server", parse_server)):
        try:
            message = read(text)
        except Denial as denial:
            _sendable(denial)
            continue
        assert is_valid(side, json.loads(text)), "accepted against the schema"
        assert read(encode(message)) == message
