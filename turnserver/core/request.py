"""One message from a client on its way through the core, and what authentication has found out about it."""

from dataclasses import dataclass
from enum import Enum

from auth.types import Credential
from stun.message import Message
from turnserver.core.retransmissions import TransactionKey
from turnserver.core.types import FiveTuple, Now

__all__ = ["Integrity", "Request"]


class Integrity(Enum):
    """Which kind of integrity a request carries, and so its answer (RFC 8489 §9.2.4)."""

    NONE = "none"
    SHA1 = "MESSAGE-INTEGRITY"
    SHA256 = "MESSAGE-INTEGRITY-SHA256"


@dataclass(slots=True, eq=False)
class Request:
    """A decoded message, where and when it came from, and (once checked) whose it is."""

    client: FiveTuple
    message: Message
    size: int
    now: Now
    credential: Credential | None = None
    key: bytes = b""
    integrity: Integrity = Integrity.NONE
    username: str = ""

    @property
    def nonce_scope(self) -> bytes:
        """Whom a nonce is good for: the client's address and port, since RFC 8489 §9.2.4 forbids one for two ports."""
        return self.client.address.pack()

    @property
    def transaction(self) -> TransactionKey:
        """What a retransmission of the request has in common with it."""
        return (self.client, self.message.transaction_id)

    @property
    def user(self) -> Credential:
        """Whose the request is. Only for handlers, which run after authentication."""
        if self.credential is None:
            raise AssertionError("a handler ran before authentication")
        return self.credential
