"""Who takes part when the core is tested: users, credential sources, peers, policies, configurations."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from ipaddress import ip_network
from typing import Final

from auth.ephemeral import SharedSecret, TimeLimitedCredentials, password_for
from auth.keys import long_term_keys, user_hash
from auth.source import Chain, CredentialSource, StaticUsers
from auth.types import PENDING, Answer, Credential
from stun.address import Address
from tests.support.core_world import REALM
from tests.support.limits import limits
from turnserver.config import LimitsConfig
from turnserver.core.types import IpNetwork, PortRange

__all__ = [
    "ACCOUNTS",
    "BOUND",
    "BY_HASH",
    "DENIED_IPS",
    "FAR_FUTURE",
    "LISTENER_IPS",
    "NEVER_IPS",
    "OWN_IPS",
    "PEERS",
    "POLICIES",
    "PRIVATE_IPS",
    "REAL",
    "Account",
    "MixedSource",
    "Setup",
]

WALL: Final = 1_700_000_000
"""When the world begins, by the wall clock."""

FAR_FUTURE: Final = WALL + 1e9
"""Later than any clock or credential here."""

BOUND: Final = Address.parse("10.0.0.1", 0).ip
"""Where relays are bound in the variant behind 1:1 NAT; the world knows them by ``RELAY``."""


# Who there is


@dataclass(frozen=True)
class Account:
    """One username with its password; ``user_id`` is what quota and revocation go by."""

    username: str
    password: str
    user_id: str
    expires_at: float | None = None
    slow: bool = False

    @cached_property
    def keys(self) -> Mapping[int, bytes]:
        """The long-term keys by password algorithm."""
        return long_term_keys(self.username, REALM, self.password)

    @property
    def credential(self) -> Credential:
        """What a source would find for it."""
        return Credential(self.username, REALM, self.user_id, self.keys, self.expires_at)


_SECRETS = (SharedSecret(b"the new secret"), SharedSecret(b"the old secret"))


def _minted(expires_at: int, user: str, secret: SharedSecret) -> Account:
    username = f"{expires_at}:{user}"
    return Account(username, password_for(secret, username), user, float(expires_at))


ACCOUNTS: Final = (
    Account("alice", "secret", "alice"),
    Account("bob", "hunter2", "bob"),
    Account("slow", "patience", "slow", slow=True),
    _minted(WALL + 100, "carol", _SECRETS[0]),
    _minted(WALL + 100_000, "carol", _SECRETS[1]),
    Account("alice", "wrong password", "alice"),
    Account("nobody", "anything", "nobody"),
)
"""The last two are impostors."""

REAL: Final = {account.username: account for account in ACCOUNTS[:-2]}
BY_HASH: Final = {
    user_hash(account.username, REALM): account for account in REAL.values() if account.expires_at is None
}


class MixedSource(CredentialSource):
    """Static users, time-limited ones of two secrets, and one user who has to be asked for."""

    def __init__(self) -> None:
        static = {account.username: account.password for account in ACCOUNTS[:2]}
        self._chain = Chain([StaticUsers(static), TimeLimitedCredentials(_SECRETS)])

    @property
    def anonymous(self) -> bool:
        """Static users can be found by hash."""
        return True

    def find(self, username: str, realm: str, wall: float) -> Answer:
        """Pending for the slow user."""
        return PENDING if username == "slow" else self._chain.find(username, realm, wall)

    def find_by_hash(self, userhash: bytes, realm: str, wall: float) -> Answer:
        """Likewise; only the static users are known by hash."""
        return (
            PENDING
            if userhash in BY_HASH and BY_HASH[userhash].slow
            else self._chain.find_by_hash(userhash, realm, wall)
        )


# Where peers are


def _networks(*texts: str) -> tuple[IpNetwork, ...]:
    return tuple(ip_network(text) for text in texts)


POLICIES: Final[Mapping[str, Mapping[str, tuple[IpNetwork, ...]]]] = {
    "default": {},
    "deny": {"deny": _networks("8.8.8.0/24")},
    "allow": {"allow": _networks("10.0.0.0/8")},
}


def _ips(*hosts: str) -> frozenset[bytes]:
    return frozenset(Address.parse(host, 0).ip for host in hosts)


_PUBLIC = ("8.8.8.8", "8.8.4.4", "9.9.9.9", "2a00::8", "2a00::9", "::ffff:8.8.8.8")
_DENIED = ("8.8.8.8", "::ffff:8.8.8.8")
_PRIVATE = ("10.0.0.5", "::ffff:10.0.0.5", "64:ff9b::a00:5")
_NEVER = ("127.0.0.1", "192.168.1.1", "::1", "fe80::1", "2002:808:808::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1")
_OWN = ("198.51.100.1", "2001:db8::1", "::ffff:198.51.100.1")

DENIED_IPS, PRIVATE_IPS, NEVER_IPS, OWN_IPS = _ips(*_DENIED), _ips(*_PRIVATE), _ips(*_NEVER), _ips(*_OWN)
LISTENER_IPS = _ips("198.51.100.1", "::ffff:198.51.100.1")

PEERS: Final = (
    *[Address.parse(host, port) for host in _PUBLIC for port in (5000, 5001)],
    *[Address.parse(host, 5000) for host in (*_PRIVATE, *_NEVER)],
    *[Address.parse(host, port) for host in _OWN for port in (50_001, 3478, 80)],
    Address(BOUND, 50_001),
)


@dataclass(frozen=True)
class Setup:
    """How a world is configured."""

    strict: bool = False
    mapped: bool = False
    dual: bool = True
    tight: bool = False
    """Few ports, so that they run out."""
    automatic: bool = True
    """The shell opens relays at once."""
    thrifty: bool = False
    """Next to no reflection budget."""
    swallow: bool = False
    """Clients are not told which peers are refused."""
    mobility: bool = False
    """Allocations may move."""
    limits: LimitsConfig = field(
        default_factory=lambda: limits(
            allocations=4, allocations_per_user=2, permissions_per_allocation=4, channels_per_allocation=3
        )
    )

    @property
    def ports(self) -> PortRange:
        """The relay ports."""
        return PortRange(50_001, 50_006) if self.tight else PortRange(50_000, 51_000)
