"""The client's errors as a sentence and a hint, for people who test a server."""

import ssl
from collections.abc import Sequence

from cli.probe.report import Step
from cli.probe.security import TlsFacts, handshake_trouble
from stun.client.errors import ClientError, NoAnswer, ServerUnreachable
from turnserver.turnclient.links import LinkBroken

__all__ = ["LinkError", "Trouble", "broken", "silence", "stranger", "unreachable"]

_GREETINGS = (
    (b"HTTP/", "a web server"),
    (b"SSH-", "an SSH server"),
    (b"\x15\x03", "a TLS server: write turns: or stuns:"),
    (b"220", "a mail or file server"),
)
"""How other services begin, and what to say of them."""


class Trouble(Exception):
    """A request failed; the message is one sentence, ``hint`` what to do about it."""

    def __init__(self, sentence: str, hint: str = "") -> None:
        self.hint = hint
        super().__init__(sentence)


class LinkError(Trouble):
    """The link to the server failed.

    ``step`` is what failed; what had been found out by then is in ``opened`` (the steps before it) and ``tls``.
    """

    def __init__(
        self,
        sentence: str,
        hint: str = "",
        *,
        step: str = "connect",
        opened: Sequence[Step] = (),
        tls: TlsFacts | None = None,
    ) -> None:
        self.step = step
        self.opened = tuple(opened)
        self.tls = tls
        super().__init__(sentence, hint)


def silence(error: ClientError, *, reliable: bool) -> Trouble:
    """Why there is no answer; if nothing was received at all, the likely reason."""
    if not isinstance(error, NoAnswer) or error.ignored:
        return Trouble(str(error))
    return Trouble(
        str(error),
        "The connection was accepted but nothing was received; it may not be a TURN server."
        if reliable
        else "Nothing listens there, or a firewall drops the packets; check the address, the port, and that UDP is let "
        "through both ways.",
    )


def unreachable(error: ServerUnreachable) -> LinkError:
    """What the system says about a server that cannot be reached."""
    if isinstance(error.__cause__, ConnectionRefusedError):
        return LinkError(str(error), "Check the port, and that the server is running and listens on this address.")
    return LinkError(str(error), "Check the address and this machine's routes.")


def broken(error: ServerUnreachable, tls: TlsFacts | None) -> LinkError:
    """Why an open link has failed: the connection may have ended, or belong to another service."""
    if not isinstance(error, LinkBroken):
        return unreachable(error)
    if isinstance(error.__cause__, ssl.SSLError):
        # In TLS 1.3 a refusal may come after our half of the handshake.
        return LinkError(*handshake_trouble(error.__cause__), step="tls", tls=tls)
    if not error.nonsense:
        if error.answered:
            return LinkError(str(error), "Its log may say why.")
        # Only one that waits for TLS closes on a plain request without a word.
        other = "" if tls is not None else "It may speak TLS only on this port: try turns: or stuns:. "
        return LinkError(str(error), f"{other}It may not be a TURN server, or it may refuse this machine.")
    if error.answered:
        return LinkError(str(error), "The server does not follow RFC 8656 §12.5 on streams.")
    return LinkError(str(error), f"It seems to be {stranger(error.nonsense)}. Check the port.")


def stranger(nonsense: bytes) -> str:
    """What kind of service begins so, which is no TURN server's way."""
    return next((words for start, words in _GREETINGS if nonsense.startswith(start)), "no TURN server")
