"""One message from a client on its way through the core, and the result of its authentication."""

from dataclasses import dataclass
from enum import Enum

from auth.types import Credential
from stun.message import Message
from turnserver.core.retransmissions import TransactionKey, transaction_key
from turnserver.core.types import FiveTuple, Now

__all__ = ["Integrity", "Request"]


class Integrity(Enum):
    """The kind of integrity that a request carries and its answer gets (RFC 8489 §9.2.4)."""

    NONE = "none"
    SHA1 = "MESSAGE-INTEGRITY"
    SHA256 = "MESSAGE-INTEGRITY-SHA256"


@dataclass(slots=True, eq=False)
class Request:
    """A decoded message, its 5-tuple and time, and (once authenticated) its credential."""

    client: FiveTuple
    message: Message
    size: int
    now: Now
    credential: Credential | None = None
    key: bytes = b""
    integrity: Integrity = Integrity.NONE
    username: str = ""
    claimed_id: str = ""
    """The id of the user that the request names, if a source knows that name; not proven."""
    classic: bool = False
    """It is of RFC 3489, and so has to be the answer."""
    _transaction: TransactionKey | None = None

    @property
    def nonce_scope(self) -> bytes:
        """What a nonce is bound to: the client's address and port (RFC 8489 §9.2.4 forbids one for two ports)."""
        return self.client.address.pack()

    @property
    def transaction(self) -> TransactionKey:
        """The key that a request and its retransmissions share, and no other request (RFC 8489 §6.3.1)."""
        if self._transaction is None:
            self._transaction = transaction_key(self.client, self.message)
        return self._transaction

    @property
    def user(self) -> Credential:
        """The request's credential. Only for handlers, which run after authentication."""
        if self.credential is None:
            raise AssertionError("a handler ran before authentication")
        return self.credential
