"""Where credentials come from: a protocol, a table of users, and a chain of stores."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from auth.errors import InvalidString
from auth.keys import long_term_keys, opaque_string, user_hash
from auth.types import Credential, Pending

__all__ = ["Chain", "CredentialStore", "StaticUsers"]


class CredentialStore(Protocol):
    """Whoever knows users. No method raises or waits; a store that has to ask somebody else answers ``PENDING``.

    ``username`` is hostile text as it came off the wire. An empty answer means that nobody has that name here;
    several credentials mean that any one of them will do (one for each shared secret, say). Whether a credential has
    expired is for the caller to judge: expired ones are found too.
    """

    @property
    def anonymous(self) -> bool:
        """True when every user can be found by hash, so that the server may announce username anonymity (§9.2)."""
        ...

    def find(self, username: str, realm: str, wall: float) -> Sequence[Credential] | Pending:
        """Return the credentials of the user with this name in this realm, at ``wall`` (Unix time, seconds)."""
        ...

    def find_by_hash(self, userhash: bytes, realm: str, wall: float) -> Sequence[Credential] | Pending:
        """Return the credentials of the user whose USERHASH this is (RFC 8489 §14.4), at ``wall``."""
        ...


class StaticUsers:
    """A fixed table of names and passwords.

    Names are compared after OpaqueString preparation (RFC 8265 §4.2.3), and the key is made of the name as it was
    sent. Raises InvalidString if a name or a password is not an OpaqueString, or two names are the same after
    preparation. The message names the name, never the password.
    """

    __slots__ = ("_hashes", "_hashes_realm", "_passwords")

    def __init__(self, users: Mapping[str, str]) -> None:
        self._passwords: dict[str, str] = {}
        for name, password in users.items():
            prepared = opaque_string(name)
            if prepared in self._passwords:
                raise InvalidString(f"two users have the name {prepared!r}")
            try:
                self._passwords[prepared] = opaque_string(password)
            except InvalidString:
                raise InvalidString(f"the password of {prepared!r} is not an OpaqueString") from None
        self._hashes: dict[bytes, str] = {}
        self._hashes_realm: str | None = None

    def __repr__(self) -> str:
        """Count the users; name none."""
        return f"StaticUsers({len(self._passwords)} users)"

    @property
    def anonymous(self) -> bool:
        """True: every user can be found by hash."""
        return True

    def find(self, username: str, realm: str, wall: float) -> Sequence[Credential]:
        """Return the user's credential, which never expires, or nothing."""
        try:
            name = opaque_string(username)
            password = self._passwords.get(name)
            if password is None:
                return ()
            return (Credential(username, realm, name, long_term_keys(username, realm, password)),)
        except InvalidString:
            return ()

    def find_by_hash(self, userhash: bytes, realm: str, wall: float) -> Sequence[Credential]:
        """Return the credential of the user whose hash this is, or nothing."""
        if realm != self._hashes_realm:
            # A server has one realm; remembering one keeps a caller with many from growing this.
            try:
                self._hashes = {user_hash(name, realm): name for name in self._passwords}
            except InvalidString:
                return ()
            self._hashes_realm = realm
        name = self._hashes.get(bytes(userhash))
        return () if name is None else self.find(name, realm, wall)


class Chain:
    """Several stores as one: they are asked in order, and the first that knows the user, or must ask, answers.

    So a store of users by name goes before one that takes any name of a certain form, and a store that may be pending
    goes last.
    """

    __slots__ = ("_stores",)

    def __init__(self, stores: Sequence[CredentialStore]) -> None:
        self._stores = tuple(stores)

    @property
    def anonymous(self) -> bool:
        """True when every store can be searched by hash; one that cannot would lock its users out."""
        return bool(self._stores) and all(store.anonymous for store in self._stores)

    def find(self, username: str, realm: str, wall: float) -> Sequence[Credential] | Pending:
        """Return what the first store that has an answer answers."""
        for store in self._stores:
            found = store.find(username, realm, wall)
            if found:
                return found
        return ()

    def find_by_hash(self, userhash: bytes, realm: str, wall: float) -> Sequence[Credential] | Pending:
        """Return what the first store that has an answer answers."""
        for store in self._stores:
            found = store.find_by_hash(userhash, realm, wall)
            if found:
                return found
        return ()
