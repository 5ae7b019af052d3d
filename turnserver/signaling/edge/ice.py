"""ICE servers for participants: the URLs that a client can use, and a time-limited credential."""

import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, Literal, NamedTuple

from auth.ephemeral import SharedSecret, mint
from stun.address import Address
from turnserver.core.types import ClientTransport
from turnserver.signaling.edge.sections import Configuration
from turnserver.signaling.protocol.fields import Ice, IceServer
from turnserver.signaling.rooms.settings import Doorway

__all__ = ["Credentials", "IceServers", "UrlsByHost", "valid_host"]

_NAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,251}[A-Za-z0-9_])?", re.ASCII)
_HTTPS: Final = 443

_SPOKEN: Final = (ClientTransport.UDP, ClientTransport.TCP, ClientTransport.TLS)
"""What browsers speak to a TURN server, in the order of the URLs: no DTLS."""
"""The TLS port to prefer, because the most restrictive networks allow it."""


class Credentials(NamedTuple):
    """A time-limited TURN credential: valid for Allocate requests until ``expires`` (Unix time, seconds)."""

    username: str
    password: str
    expires: int


def valid_host(text: str) -> str | None:
    """A name or an address as the host of a URL, IPv6 without brackets; None for other text. ``text`` is untrusted."""
    try:
        return str(ipaddress.ip_address(text)) if "%" not in text else None
    except ValueError:
        pass
    if not _NAME.fullmatch(text) or ".." in text or not text.strip("0123456789.").strip():
        return None
    return text.lower()


class UrlsByHost:
    """The URLs of the listeners for a client, depending on the host by which it reached the server.

    Listeners on loopback addresses are only for clients that came by a loopback address. A listener on the address that
    the client used is preferred. There is at most one URL of each kind, because browsers gather from all of them at
    once and warn about five or more. A stream listener that the client reached through another port, a proxy's or that
    of a port forwarding, has no URL: whether TURN comes through there is not known. Nor has one with DTLS, which no
    browser speaks to a TURN server.

    ``listening`` has the transports and bound addresses in the order of the configuration; ``external`` maps addresses
    behind 1:1 NAT to their public ones.
    """

    def __init__(
        self, listening: Iterable[tuple[ClientTransport, Address]], external: Mapping[bytes, bytes] | None = None
    ) -> None:
        self._listening = tuple(listening)
        self._external = dict(external or {})
        self._is_open = any(not address.is_loopback for _, address in self._listening)

    def __call__(self, host: str, inner: int = 0) -> tuple[str, ...]:
        """Return the URLs for a client that came by ``host`` ("" if that is not known).

        ``inner`` is the port of the stream listener that it knows by another port, 0 if there is none.
        """
        found = valid_host(host) or ""
        urls = []
        for kind in _SPOKEN:
            usable = [each for each in self._usable(kind, found) if not kind.stream or each.port != inner]
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
            # A client on this machine reaches every listener, but possibly by another host than the one it used.
            return sorted(
                bound, key=lambda address: (address.host != host, not address.is_loopback, ":" in address.host)
            )
        open_to_others = [address for address in bound if not address.is_loopback or not (host or self._is_open)]
        exact = [address for address in open_to_others if host in {address.host, self._public(address)}]
        family = [address for address in open_to_others if (":" in address.host) == (":" in host)]
        return exact or (family if _is_address(host) else []) or open_to_others

    def _shown(self, host: str, address: Address) -> str:
        """The host for the URL: the one that the client used, unless the listener cannot be reached by it."""
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

    ``secret`` is the secret shared with the TURN server; without it, clients get STUN only. ``lifetime`` is in seconds.
    ``urls`` returns the URLs for a client that came by a `Doorway`: for its host and its inner port.
    """

    def __init__(
        self,
        secret: SharedSecret | None,
        separator: str,
        lifetime: int,
        policy: Literal["all", "relay"],
        urls: Callable[[str, int], Sequence[str]],
    ) -> None:
        self._secret = secret
        self._separator = separator
        self._policy: Literal["all", "relay"] = policy
        self._urls = urls
        self.lifetime = lifetime

    @classmethod
    def from_config(cls, config: Configuration, listening: Sequence[tuple[ClientTransport, Address]]) -> "IceServers":
        """Build it from the configuration: with its URLs or, if there are none, those of the listeners."""
        signaling, auth = config.signaling, config.auth
        secret = None
        for first in auth.shared_secrets[:1]:
            secret = SharedSecret(first.secret.get_secret_value().encode(), first.hash)
        external = {private.packed: public.packed for private, public in config.relay.external.items()}
        configured = signaling.urls
        urls = UrlsByHost(listening, external) if not configured else lambda host, inner: configured
        return cls(secret, auth.separator, signaling.credential_lifetime, signaling.policy, urls)

    def __repr__(self) -> str:
        """Show no secret."""
        return f"IceServers({self.lifetime} s)"

    @property
    def has_credentials(self) -> bool:
        """Whether clients are given TURN credentials."""
        return self._secret is not None

    def mint(self, user_id: str, wall: float, doorway: Doorway) -> Ice:
        """Return the ICE servers from ``wall`` (Unix time, seconds) on of a participant that came by ``doorway``."""
        made = self.credentials(user_id, self.lifetime, wall)
        urls = self.urls(doorway)
        expires = int(wall) + self.lifetime
        username, password = (made.username, made.password) if made is not None else ("", "")
        server = IceServer(urls=urls, username=username, credential=password)
        return Ice(servers=(server,) if urls else (), exp=expires, policy=self._policy)

    def urls(self, doorway: Doorway) -> tuple[str, ...]:
        """The URLs for a client that came by ``doorway``; without a secret only those that need no credential."""
        return tuple(url for url in self._urls(*doorway) if self._secret is not None or url.startswith("stun"))

    def credentials(self, user_id: str, ttl: int, wall: float) -> Credentials | None:
        """A credential for ``ttl`` seconds from ``wall``; None without a shared secret.

        Raises `auth.errors.InvalidCredential` for a user id that cannot be part of a user name.
        """
        if self._secret is None:
            return None
        expires = int(wall) + ttl
        return Credentials(*mint(self._secret, user_id, expires, self._separator), expires)
