"""What a reload that removes users or shared secrets means for the allocations that they have.

An allocation is checked with the credential that created it, so without this a removed user could refresh for ever.
Each credential in use that the sources before the reload held, and those after it do not, counts as removed. Sources
that cannot say what they hold, such as the hook, remove nothing. ``auth.on_removal`` says what follows.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final, Protocol

from auth.errors import InvalidString
from auth.keys import opaque_string
from auth.source import CredentialSource
from auth.types import Credential
from turnserver.config import Config, Secret

__all__ = ["CredentialHolder", "remove_withdrawn"]

SLICE: Final = 16
"""Credentials judged per turn of the loop: a keyed hash for each shared secret, about a millisecond."""

MAX_NAMED: Final = 20
"""Removed users with a line of their own in the log."""

_logger = logging.getLogger("meshturn")


class CredentialHolder(Protocol):
    """What has the allocations: `turnserver.engine.Engine`."""

    def credentials_in_use(self) -> Mapping[Credential, bool]:
        """Every credential that an allocation was created with, and whether it has been removed since."""

    def credential_removed(self, credential: Credential) -> int:
        """A credential does not count any more; returns the number of its live allocations."""

    def credential_restored(self, credential: Credential) -> None:
        """A credential counts again."""


async def remove_withdrawn(
    holder: CredentialHolder,
    before: tuple[Config, CredentialSource],
    after: tuple[Config, CredentialSource],
    *,
    kept: Collection[str],
    wall: Callable[[], float],
) -> None:
    """Tell ``holder`` which credentials have been removed, and the log how many allocations they have.

    A few are judged per turn of the loop. ``before`` and ``after`` are the configurations and the credential sources.
    Users in ``kept`` (user ids), who get credentials from the server itself, are not affected unless allocations are
    to end. ``wall`` gives Unix time.
    """
    config = after[0]
    names = _names(before[0])
    spared = frozenset() if config.auth.on_removal == "end" else frozenset(kept)
    of_users: Counter[str] = Counter()
    of_secrets = 0
    for at, (credential, removed) in enumerate(holder.credentials_in_use().items()):
        if at % SLICE == SLICE - 1:
            await asyncio.sleep(0)
        if after[1].holds(credential, wall()):
            if removed:
                holder.credential_restored(credential)
        elif removed or (before[1].holds(credential, wall()) and credential.user_id not in spared):
            count = holder.credential_removed(credential)
            if removed and config.auth.on_removal != "end":
                continue  # it has been counted when it was removed
            if credential.user_id in names and _prepared(credential.username) == credential.user_id:
                of_users[credential.user_id] += count
            else:
                of_secrets += count
    _say_users(names, _names(config), of_users, config.auth.on_removal)
    _say_secrets(before[0], config, of_secrets)


def _names(config: Config) -> Mapping[str, Secret]:
    """The users of a configuration, by their prepared names, with their passwords or keys."""
    if "users" not in config.auth.sources:
        return {}
    return {_prepared(name): secret for name, secret in config.auth.users.items()}


def _prepared(name: str) -> str:
    try:
        return opaque_string(name)
    except InvalidString:
        return name


def _say_users(before: Mapping[str, Secret], after: Mapping[str, Secret], counts: Mapping[str, int], then: str) -> None:
    """Name the users that are gone or have another password, those with the most allocations first."""
    changed = [name for name, password in before.items() if after.get(name) != password]
    changed.sort(key=lambda name: -counts.get(name, 0))
    for name in changed[:MAX_NAMED]:
        message = "user has another password" if name in after else "user removed"
        _say(message, {"user": name, "allocations": counts.get(name, 0)}, then)
    _say_rest(changed[MAX_NAMED:], counts, then)


def _say_rest(rest: Sequence[str], counts: Mapping[str, int], then: str) -> None:
    if rest:
        allocations = sum(counts.get(name, 0) for name in rest)
        _say("further users removed or with another password", {"users": len(rest), "allocations": allocations}, then)


def _say_secrets(before: Config, after: Config, count: int) -> None:
    left = _secrets(after)
    withdrawn = sum(secret not in left for secret in _secrets(before))
    if withdrawn or count:
        _say("shared secret removed", {"secrets": withdrawn, "allocations": count}, after.auth.on_removal)


def _secrets(config: Config) -> list[tuple[str, str]]:
    if "shared_secrets" not in config.auth.sources:
        return []
    return [(entry.secret.get_secret_value(), entry.hash) for entry in config.auth.shared_secrets]


def _say(message: str, fields: dict[str, object], then: str) -> None:
    """At warning if there are allocations: the operator may have expected that they end, or that they go on."""
    level = logging.WARNING if fields["allocations"] else logging.INFO
    _logger.log(level, message, extra={"fields": {**fields, "on_removal": then}})
