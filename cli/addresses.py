"""The addresses at which clients reach this machine, and the URIs with them."""

import ipaddress
import socket
from collections.abc import Iterable
from dataclasses import replace

from stun.address import Address
from stun.uri import StunUri
from turnserver.config import Config, External, Listener
from turnserver.core.settings import RelayAddress
from turnserver.core.types import ClientTransport
from turnserver.proxies import is_behind
from turnserver.signaling.edge.ice import valid_host

__all__ = [
    "as_told",
    "certified_host",
    "client_uris",
    "free_local_port",
    "is_for_pages",
    "is_free_locally",
    "local_loopbacks",
    "page_url",
    "page_urls",
    "primary_addresses",
    "public_uris",
    "reach",
    "relay_text",
    "stun_uri",
]

_ELSEWHERE = ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1"))
"""Addresses set aside for documentation (RFC 5737, RFC 3849): only the default route leads there."""


def primary_addresses() -> list[str]:
    """The source address of this machine towards the Internet, of each family that has one.

    Connecting a UDP socket sends nothing; it only asks the routing table. Without any route: the loopback address.
    """
    found = []
    for family, elsewhere in _ELSEWHERE:
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as asking:
                asking.connect((elsewhere, 9))
                host = str(asking.getsockname()[0]).partition("%")[0]
        except OSError:
            continue
        if not ipaddress.ip_address(host).is_link_local:
            found.append(host)
    return found or ["127.0.0.1"]


def reach(hosts: Iterable[str]) -> str:
    """A sentence that says which clients can reach these addresses; empty when all clients can."""
    addresses = [ipaddress.ip_address(host) for host in hosts]
    if all(address.is_loopback for address in addresses):
        return "Only programs on this machine can use these addresses."
    if not any(address.is_global for address in addresses):
        return (
            "Only machines on this network can use these addresses, because they are private. Behind 1:1 NAT, give the "
            "public one as relay.external in a configuration file (meshturn serve -c FILE)."
        )
    return ""


def local_loopbacks() -> list[str]:
    """The addresses of ``localhost`` on this machine; containers often have no IPv6."""
    return ["127.0.0.1", *(["::1"] if _is_free("::1", 0) else [])]


def is_free_locally(port: int) -> bool:
    """Whether no program listens on that TCP port of localhost."""
    return all(_is_free(host, port) for host in local_loopbacks())


def free_local_port() -> int:
    """A TCP port that is free on every loopback address."""
    while True:
        with socket.create_server(("127.0.0.1", 0)) as asking:
            port = int(asking.getsockname()[1])
        if is_free_locally(port):
            return port


def _is_free(host: str, port: int) -> bool:
    try:
        with socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET):
            return True
    except OSError:
        return False


def public_uris(config: Config, host: str = "") -> list[StunUri]:
    """The TURN URIs to hand to others, with the host that they can use.

    This is ``host`` if it is given, or the one of `signaling.urls`, which also know the ports in front of this machine,
    or the one of the certificate, which clients insist on. Without these, the addresses.
    """
    configured = [uri for uri in map(StunUri.parse, config.signaling.urls) if uri.is_turn]
    if configured:
        return list(dict.fromkeys(replace(uri, host=host or uri.host) for uri in configured))
    if host:
        uris = client_uris(config)
        # A port of a loopback address is not one of a host that others reach.
        alike = [uri for uri in uris if _is_local(uri.host) == _is_local(host)] or uris
        return list(dict.fromkeys(replace(uri, host=host) for uri in alike))
    return client_uris(config, name=certified_host(config))


def certified_host(config: Config) -> str:
    """The name of one host that a certificate is for, names before addresses; empty if there is none.

    Of several certificates, the first counts. IPv6 addresses have no brackets.
    """
    from turnserver.certificates import CertificateFacts, UnreadableCertificate  # noqa: PLC0415  it loads cryptography

    for pair in config.tls.certificates:
        try:
            names = CertificateFacts.from_pem(pair.certificate.read_bytes()).names
        except (OSError, UnreadableCertificate):
            continue
        hosts = [host for host in map(valid_host, names) if host is not None]
        if hosts:
            return min(hosts, key=lambda host: (_is_local(host), _is_address(host)))
    return ""


def as_told(config: Config, relays: Iterable[RelayAddress]) -> Config:
    """The configuration with the public addresses that a running server has found, if it had to ask for them."""
    if not config.relay.external.asked:
        return config
    found = {ipaddress.ip_address(relay.bound): ipaddress.ip_address(relay.external) for relay in relays}
    return config.model_copy(update={"relay": config.relay.model_copy(update={"external": External(found)})})


def client_uris(
    config: Config, listening: Iterable[tuple[ClientTransport, Address]] | None = None, *, name: str = ""
) -> list[StunUri]:
    """The TURN URIs of the listeners. ``name`` takes the place of addresses that others reach, if it is given.

    For a wildcard listener, the URIs have the machine's primary addresses; for an address behind 1:1 NAT, its public
    one (``relay.external``). ``listening`` are the bound addresses of a running server, whose ports are used. Without
    it, the ports are those of the configuration, and listeners with port 0 are left out. Listeners for pages on this
    machine are left out too: they would serve TURN clients, but the other listeners serve them better. So are those
    that clients reach only through proxies, whose ports they know instead.
    """
    offered = [listener for listener in config.listeners if not _is_hidden(listener, config)]
    inner = {
        (host, listener.port)
        for listener in config.listeners
        if _is_hidden(listener, config)
        for host in _hosts(listener)
    }
    bound = _configured(config) if listening is None else list(listening)
    bound = [(kind, address) for kind, address in bound if not kind.stream or (address.host, address.port) not in inner]
    hosts = [host for listener in offered for host in _hosts(listener)]
    shown = {host: str(config.relay.external.of(ipaddress.ip_address(host))) for host in hosts}
    if name:
        # Others cannot reach a loopback address, so a name for them stands for it only if there is nothing else.
        alike = [host for host in hosts if _is_local(host) == _is_local(name)] or hosts
        shown |= dict.fromkeys(alike, name)
    found = [
        StunUri(transport.uri[0], shown[host], address.port, transport.uri[1])
        for host in dict.fromkeys(hosts)
        for transport, address in bound
        if address.host == host and address.port
    ]
    return list(dict.fromkeys(found))


def stun_uri(uri: StunUri) -> StunUri:
    """The STUN URI of the same listener (RFC 7064)."""
    return StunUri("stuns" if uri.secure else "stun", uri.host, uri.port, uri.transport)


def page_url(uri: StunUri) -> str:
    """The URL of a page, if the listener of a TURN URI is a shared one with TLS."""
    host = f"[{uri.host}]" if ":" in uri.host else uri.host
    return f"https://{host}:{uri.port}/"


def is_for_pages(listener: Listener) -> bool:
    """Whether a listener is for browsers on this machine only: HTTP without TLS, on a loopback address."""
    return listener.kind.http and not listener.tls and listener.address.is_loopback


def _is_hidden(listener: Listener, config: Config) -> bool:
    """Whether TURN clients are not told of a listener: it is for pages, or its port is one behind a proxy."""
    return is_for_pages(listener) or (listener.kind.stream and is_behind(listener, config))


def page_urls(config: Config, uris: Iterable[StunUri]) -> list[str]:
    """The URLs of a page: first the one with ``localhost``, which browsers trust without TLS, then the others."""
    ports = dict.fromkeys(listener.port for listener in config.listeners if is_for_pages(listener) and listener.port)
    shared = {listener.port for listener in config.listeners if listener.kind.http and listener.tls}
    secure = [uri for uri in uris if uri.secure and (uri.port in shared or 0 in shared)]
    return [*(f"http://localhost:{port}/" for port in ports), *(page_url(uri) for uri in secure)]


def relay_text(relay: RelayAddress, asked: str = "") -> str:
    """A relay address as text; behind NAT, the private and the public one, or the STUN server that will be asked."""
    bound, external = Address(relay.bound, 0).host, Address(relay.external, 0).host
    if asked:
        return f"{bound} (clients are told what {asked} says)"
    return bound if bound == external else f"{bound} (clients are told {external})"


def _is_address(host: str) -> bool:
    return ":" in host or host.replace(".", "").isdigit()


def _is_local(host: str) -> bool:
    """Whether a host is this machine wherever it is used."""
    if _is_address(host):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost" or host.endswith(".localhost")


def _primary(version: int) -> list[str]:
    return [host for host in primary_addresses() if ipaddress.ip_address(host).version == version]


def _configured(config: Config) -> list[tuple[ClientTransport, Address]]:
    return [
        (kind, Address.parse(host, listener.port))
        for listener in config.listeners
        if not listener.kind.local
        for host in _hosts(listener)
        for kind in listener.client_transports
    ]


def _hosts(listener: Listener) -> list[str]:
    """The addresses of a listener that clients may know."""
    return _primary(listener.address.version) if listener.address.is_unspecified else [str(listener.address)]
