"""Credential sources: the interface, a table of users, a source without users, and a chain of sources."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

from auth.errors import InvalidString
from auth.keys import long_term_keys, opaque_string, user_hash
from auth.types import Answer, Credential, LateAnswer, Pending, Unavailable

__all__ = ["Chain", "CredentialSource", "Nobody", "StaticUsers"]


class CredentialSource(Protocol):
    """The interface of every credential source.

    A source answers at once, later, or not at all. `find` and `find_by_hash` never wait: they return what is known, or
    ``PENDING`` if a database or another server has to be asked. Then the server calls `ask` or `ask_by_hash` in its
    event loop and the request waits. A source that fails answers `Unavailable`, at once or late: the client gets 500
    (RFC 8489 §14.8, "the client should try again") and not the 401 of an unknown user. No method should raise; an
    exception counts as unavailable.

    ``username`` is untrusted text from the wire. An empty answer means that there is no such user here. Several
    credentials mean that any one of them is accepted (for example one per shared secret). The caller checks whether a
    credential has expired or is revoked. ``wall`` is Unix time in seconds.

    A derived class inherits defaults that fit most sources: no search by hash, no waiting, no cache, nothing to close.
    """

    __slots__ = ()

    @property
    def anonymous(self) -> bool:
        """True when every user can be found by hash, so that the server may announce username anonymity (§9.2)."""
        return False

    def find(self, username: str, realm: str, wall: float) -> Answer:
        """Return the credentials of the user with this name in this realm."""
        ...

    def find_by_hash(self, userhash: bytes, realm: str, wall: float) -> Answer:
        """Return the credentials of the user whose USERHASH this is (RFC 8489 §14.4)."""
        return ()

    async def ask(self, username: str, realm: str, wall: float) -> LateAnswer:
        """Wait for the answer for which `find` returned ``PENDING``. Cancelled when it is not needed any more."""
        return _at_once(self.find(username, realm, wall))

    async def ask_by_hash(self, userhash: bytes, realm: str, wall: float) -> LateAnswer:
        """Wait for the answer for which `find_by_hash` returned ``PENDING``."""
        return _at_once(self.find_by_hash(userhash, realm, wall))

    def holds(self, credential: Credential, wall: float) -> bool | None:
        """Whether this source would accept a credential now; None if it cannot say so without asking elsewhere.

        The server asks after a change of the configuration, to find allocations of users who are not known any more.
        """
        return None

    def misread(self, username: str) -> str:
        """Why a name that `find` does not know may be one of this source all the same, in a few words for the operator.

        Empty if it looks like nobody's. The text must not repeat the name, which is untrusted.
        """
        return ""

    def forget(self, user_id: str) -> None:
        """Forget what is cached for a user who has just been revoked."""
        return

    async def close(self) -> None:
        """Close all resources. The source is not asked any more; calls of `ask` that still wait must end."""
        return


def _at_once(answer: Answer) -> LateAnswer:
    return Unavailable("the source is pending and cannot be asked") if isinstance(answer, Pending) else answer


class Nobody(CredentialSource):
    """A source without users."""

    __slots__ = ()

    def find(self, username: str, realm: str, wall: float) -> Sequence[Credential]:
        """Return nothing."""
        return ()

    def holds(self, credential: Credential, wall: float) -> bool:
        """False."""
        return False


class StaticUsers(CredentialSource):
    """A fixed table of names and passwords.

    Names are compared after OpaqueString preparation (RFC 8265 §4.2.3), and the key is made from the name as it was
    sent. ``keys`` are further users, whose password is not known: their long-term keys by password algorithm
    (`auth.keys.key_from_hex`), which fit one realm and one spelling of the name. Raises InvalidString if a name or a
    password is not an OpaqueString, or two names are the same after preparation. The message contains the name, never
    the password.
    """

    __slots__ = ("_hashes", "_hashes_realm", "_keys", "_passwords")

    def __init__(self, users: Mapping[str, str], keys: Mapping[str, Mapping[int, bytes]] | None = None) -> None:
        self._passwords: dict[str, str] = {}
        self._keys: dict[str, Mapping[int, bytes]] = {}
        for name, password in users.items():
            prepared = self._new_name(name)
            try:
                self._passwords[prepared] = opaque_string(password)
            except InvalidString:
                raise InvalidString(f"the password of {prepared!r} is not an OpaqueString") from None
        for name, known in (keys or {}).items():
            self._keys[self._new_name(name)] = dict(known)
        self._hashes: dict[bytes, str] = {}
        self._hashes_realm: str | None = None

    def __repr__(self) -> str:
        """Count the users; name none."""
        return f"StaticUsers({len(self._passwords) + len(self._keys)} users)"

    def _new_name(self, name: str) -> str:
        prepared = opaque_string(name)
        if prepared in self._passwords or prepared in self._keys:
            raise InvalidString(f"two users have the name {prepared!r}")
        return prepared

    @property
    def anonymous(self) -> bool:
        """True: every user can be found by hash."""
        return True

    def find(self, username: str, realm: str, wall: float) -> Sequence[Credential]:
        """Return the user's credential, which never expires, or nothing."""
        try:
            name = opaque_string(username)
            keys = self._keys.get(name)
            if keys is None:
                password = self._passwords.get(name)
                if password is None:
                    return ()
                keys = long_term_keys(username, realm, password)
            return (Credential(username, realm, name, keys),)
        except InvalidString:
            return ()

    def find_by_hash(self, userhash: bytes, realm: str, wall: float) -> Sequence[Credential]:
        """Return the credential of the user whose hash this is, or nothing."""
        if realm != self._hashes_realm:
            # A server has one realm; caching only one bounds the memory.
            try:
                self._hashes = {user_hash(name, realm): name for name in (*self._passwords, *self._keys)}
            except InvalidString:
                return ()
            self._hashes_realm = realm
        name = self._hashes.get(bytes(userhash))
        return () if name is None else self.find(name, realm, wall)

    def holds(self, credential: Credential, wall: float) -> bool:
        """Whether the table has the user, with the same password."""
        return any(credential.equals(each) for each in self.find(credential.username, credential.realm, wall))


class Chain(CredentialSource):
    """Several sources as one: they are asked in order, and the first that knows the user answers.

    A pending source is waited for before the next one is asked, so the order decides even if an answer is late. An
    unavailable source is skipped: users of later sources can still log in. If no source knows the user, the answer is
    that of the first unavailable source, since the user may be one of its own.

    A source of named users should therefore come before one that accepts any name of a certain form, and a source that
    has to be waited for should come last.
    """

    __slots__ = ("_sources",)

    def __init__(self, sources: Sequence[CredentialSource]) -> None:
        self._sources = tuple(sources)

    @property
    def anonymous(self) -> bool:
        """True when every source can be searched by hash; users of another source could not log in otherwise."""
        return bool(self._sources) and all(source.anonymous for source in self._sources)

    def find(self, username: str, realm: str, wall: float) -> Answer:
        """Return what the first source that knows the user answers, or ``PENDING`` if one before it has to be asked."""
        return self._first(lambda source: source.find(username, realm, wall))

    def find_by_hash(self, userhash: bytes, realm: str, wall: float) -> Answer:
        """Likewise."""
        return self._first(lambda source: source.find_by_hash(userhash, realm, wall))

    async def ask(self, username: str, realm: str, wall: float) -> LateAnswer:
        """Return what the first source that knows the user answers, waiting for each that is pending in its turn."""
        return await self._first_late(
            lambda source: source.find(username, realm, wall),
            lambda source: source.ask(username, realm, wall),
        )

    async def ask_by_hash(self, userhash: bytes, realm: str, wall: float) -> LateAnswer:
        """Likewise."""
        return await self._first_late(
            lambda source: source.find_by_hash(userhash, realm, wall),
            lambda source: source.ask_by_hash(userhash, realm, wall),
        )

    def holds(self, credential: Credential, wall: float) -> bool | None:
        """True if one source accepts it; None if none does and one cannot say."""
        answers = [source.holds(credential, wall) for source in self._sources]
        return True if True in answers else None if None in answers else False

    def misread(self, username: str) -> str:
        """What the first source says that recognizes the form of the name."""
        return next((why for source in self._sources if (why := source.misread(username))), "")

    def forget(self, user_id: str) -> None:
        """Tell every source."""
        for source in self._sources:
            source.forget(user_id)

    async def close(self) -> None:
        """Close every source."""
        for source in self._sources:
            await source.close()

    def _first(self, find: Callable[[CredentialSource], Answer]) -> Answer:
        unavailable: Unavailable | None = None
        for source in self._sources:
            answer = find(source)
            if isinstance(answer, Unavailable):
                unavailable = unavailable or answer
            elif answer:
                return answer
        return unavailable or ()

    async def _first_late(
        self,
        find: Callable[[CredentialSource], Answer],
        ask: Callable[[CredentialSource], Awaitable[LateAnswer]],
    ) -> LateAnswer:
        unavailable: Unavailable | None = None
        for source in self._sources:
            answer = find(source)
            late = await ask(source) if isinstance(answer, Pending) else answer
            if isinstance(late, Unavailable):
                unavailable = unavailable or late
            elif late:
                return late
        return unavailable or ()
