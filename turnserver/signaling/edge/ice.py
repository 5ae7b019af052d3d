"""ICE servers for participants: which URLs a client can use, and a credential that is good for a few minutes."""

import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, Literal, NamedTuple

from auth.ephemeral import SharedSecret, mint
from stun.address import Address
from turnserver.core.types import ClientTransport
from turnserver.signaling.edge.sections import Configuration
from turnserver.signaling.protocol.fields import Ice, IceServer

__all__ = ["Credentials", "IceServers", "UrlsByHost", "valid_host"]

_NAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,251}[A-Za-z0-9_])?", re.ASCII)
_HTTPS: Final = 443
"""Of several ports with TLS, the one that the strictest networks let through."""


class Credentials(NamedTuple):
    """A time-limited TURN credential: good for allocating until ``expires`` (Unix time, seconds)."""

    username: str
    password: str
    expires: int


def valid_host(text: str) -> str | None:
    """A host as it can stand in a URL, IPv6 without brackets: a name, or an address in its usual form; None if it is
    neither. ``text`` is what a client says about itself."""
    try:
        return str(ipaddress.ip_address(text)) if "%" not in text else None
    except ValueError:
        pass
    if not _NAME.fullmatch(text) or ".." in text or not text.strip("0123456789.").strip():
        return None
    return text.lower()


class UrlsByHost:
    """The URLs of the listeners, as seen by a client that reached the server by a certain host.

    A listener is of use to a client if it is where the client already is: a listener on a loopback address to clients
    that came by one, and to nobody else; one on the very address that the client came by rather than another. At most
    one URL of each kind: browsers gather from all of them at once, and complain of five.

    ``listening`` are the transports and addresses that are bound, in the order of the configuration; ``external`` maps
    addresses behind 1:1 NAT to their public ones.
    """

    def __init__(
        self, listening: Iterable[tuple[ClientTransport, Address]], external: Mapping[bytes, bytes] | None = None
    ) -> None:
        self._listening = tuple(listening)
        self._external = dict(external or {})
        self._is_open = any(not address.is_loopback for _, address in self._listening)

    def __call__(self, host: str) -> tuple[str, ...]:
        """Return the URLs for a client that came by ``host`` ("" if that is not known)."""
        found = valid_host(host) or ""
        urls = []
        for kind in ClientTransport:
            usable = self._usable(kind, found)
            if not usable:
                continue
            best = next((each for each in usable if kind.secure and each.port == _HTTPS), usable[0])
            scheme, transport = kind.uri
            shown = self._shown(found, best)
            urls.append(f"{scheme}:{shown}:{best.port}?transport={transport}")
            if kind is ClientTransport.UDP:
                urls.append(f"stun:{shown}:{best.port}")
        return tuple(urls)

    def _usable(self, kind: ClientTransport, host: str) -> list[Address]:
        """The listeners of a kind that a client can reach, the best first."""
        bound = [address for each, address in self._listening if each is kind and address.port]
        if _is_loopback(host):
            # Whoever is on this machine reaches every listener, if not always by the name it used.
            return sorted(
                bound, key=lambda address: (address.host != host, not address.is_loopback, ":" in address.host)
            )
        open_to_others = [address for address in bound if not address.is_loopback or not self._is_open]
        exact = [address for address in open_to_others if host in {address.host, self._public(address)}]
        family = [address for address in open_to_others if (":" in address.host) == (":" in host)]
        return exact or (family if _is_address(host) else []) or open_to_others

    def _shown(self, host: str, address: Address) -> str:
        """The host that goes into the URL: the client's own, unless that leads nowhere."""
        shown = host if host and not _is_loopback(host) else self._public(address)
        if _is_loopback(host) and not address.is_loopback:
            shown = address.host
        return f"[{shown}]" if ":" in shown else shown

    def _public(self, address: Address) -> str:
        return Address(self._external.get(address.ip, address.ip), 0).host


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    return _is_address(host) and ipaddress.ip_address(host).is_loopback


class IceServers:
    """Makes the ICE servers of a client.

    ``secret`` is the shared secret that the TURN server knows, too; without one clients are given STUN only.
    ``lifetime`` is in seconds. ``urls`` turns the host by which a client came into URLs.
    """

    def __init__(
        self,
        secret: SharedSecret | None,
        separator: str,
        lifetime: int,
        policy: Literal["all", "relay"],
        urls: Callable[[str], Sequence[str]],
    ) -> None:
        self._secret = secret
        self._separator = separator
        self._policy: Literal["all", "relay"] = policy
        self._urls = urls
        self.lifetime = lifetime

    @classmethod
    def from_config(cls, config: Configuration, listening: Sequence[tuple[ClientTransport, Address]]) -> "IceServers":
        """What the configuration says: its URLs or, without any, those of what is listened on."""
        signaling, auth = config.signaling, config.auth
        secret = None
        for first in auth.shared_secrets[:1]:
            secret = SharedSecret(first.secret.get_secret_value().encode(), first.hash)
        external = {private.packed: public.packed for private, public in config.relay.external.items()}
        configured = signaling.urls
        urls = UrlsByHost(listening, external) if not configured else lambda _: configured
        return cls(secret, auth.separator, signaling.credential_lifetime, signaling.policy, urls)

    def __repr__(self) -> str:
        """Show no secret."""
        return f"IceServers({self.lifetime} s)"

    @property
    def has_credentials(self) -> bool:
        """Whether clients are given TURN credentials."""
        return self._secret is not None

    def mint(self, user_id: str, wall: float, host: str) -> Ice:
        """Return what a participant needs from ``wall`` (Unix time, seconds) on; ``host`` is how it came here."""
        made = self.credentials(user_id, self.lifetime, wall)
        urls = self.urls(host)
        expires = int(wall) + self.lifetime
        username, password = (made.username, made.password) if made is not None else ("", "")
        server = IceServer(urls=urls, username=username, credential=password)
        return Ice(servers=(server,) if urls else (), exp=expires, policy=self._policy)

    def urls(self, host: str) -> tuple[str, ...]:
        """The URLs for a client that came by ``host``; without a secret only those that need no credential."""
        return tuple(url for url in self._urls(host) if self._secret is not None or url.startswith("stun"))

    def credentials(self, user_id: str, ttl: int, wall: float) -> Credentials | None:
        """A credential for ``ttl`` seconds from ``wall``; None without a shared secret.

        Raises `auth.errors.InvalidCredential` for a user id that cannot be part of a user name.
        """
        if self._secret is None:
            return None
        expires = int(wall) + ttl
        return Credentials(*mint(self._secret, user_id, expires, self._separator), expires)
