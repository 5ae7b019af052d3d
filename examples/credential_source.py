"""A custom credential source: users and their passwords are rows of a database, which answers late.

Only the client's own request waits for the answer. When the database is unavailable, the client gets 500 and may
try again; an unknown user gets 401.
"""

import asyncio
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

from meshturn import ClientOptions, Server, TurnClient
from meshturn.credentials import PENDING, Answer, Credential, CredentialSource, LateAnswer, Unavailable, long_term_keys
from meshturn.errors import ErrorResponse

OPTIONS = {"realm": "example.org", "listeners": [{"address": "127.0.0.1", "port": 0}]}


class DatabaseUsers(CredentialSource):
    """The users in a table ``users (name, password)``."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def find(self, username: str, realm: str, wall: float) -> Answer:
        """Never answers at once, because this method must not wait."""
        return PENDING

    async def ask(self, username: str, realm: str, wall: float) -> LateAnswer:
        """Ask the database, in a thread because sqlite3 blocks; ``username`` is unchecked text from a client."""
        try:
            row = await asyncio.to_thread(self._row, username)
        except sqlite3.Error as error:
            return Unavailable(f"the database of users: {error}")
        if row is None:
            return ()
        return (Credential(username, realm, user_id=username, keys=long_term_keys(username, realm, row[0])),)

    def _row(self, username: str) -> tuple[str] | None:
        with closing(sqlite3.connect(f"file:{self._path}?mode=ro", uri=True)) as database:
            query = "SELECT password FROM users WHERE name = ?"
            found: tuple[str] | None = database.execute(query, (username,)).fetchone()
            return found


async def attempt(server: Server, user: str, password: str) -> str:
    """The result of an Allocate."""
    _, address = server.snapshot().listening[0]
    # A 500 is not signed, because the server has no key. By default clients ignore it, as RFC 8489 §9.2.5 says.
    options = ClientOptions(unsigned_errors=True)
    async with TurnClient(f"turn:{address}", user, password, options=options) as client:
        try:
            allocation = await client.allocate()
        except ErrorResponse as error:
            return str(error.code)
        return f"a relay on {allocation.address.host}"


async def main(folder: Path) -> None:
    """A server whose users are in a database that is then removed."""
    path = folder / "users.sqlite"
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE users (name TEXT PRIMARY KEY, password TEXT NOT NULL)")
        database.execute("INSERT INTO users VALUES ('alice', 'wonderland')")
    async with Server(OPTIONS, credentials=DatabaseUsers(path)) as server:
        print("alice gets", await attempt(server, "alice", "wonderland"))
        print("mallory gets", await attempt(server, "mallory", "guess"))
        path.unlink()
        print("without the database, alice gets", await attempt(server, "alice", "wonderland"))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(main(Path(folder)))
