"""The schema: every option, its default, its bounds, its meaning.

This is the only list of options. The reference page, the JSON Schema and the environment variables are made from it,
and a test compares ``conf/meshturn.yml`` with it.
"""

from collections.abc import Iterator, Mapping
from ipaddress import ip_address
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import AfterValidator, Field, ValidationInfo, model_validator

from stun.address import Address
from stun.constants import TransportProtocol
from turnserver.config.auth import AuthConfig, warn_of_credentials
from turnserver.config.ciphers import CiphersOption
from turnserver.config.clients import ClientsConfig
from turnserver.config.context import Context, Finding, refuse, report, warn
from turnserver.config.external import External, ExternalOption, StunServerOption
from turnserver.config.listeners import Listener, ProxyUse, all_addresses, collide, no_duplicates
from turnserver.config.media import MediaConfig
from turnserver.config.quotas import quota
from turnserver.config.section import Section
from turnserver.config.signaling import SignalingConfig, warn_of_rooms
from turnserver.config.stun import BehaviorDiscoveryConfig, StunConfig, discovery_listeners
from turnserver.config.values import (
    LIVE,
    MAX_ITEMS,
    AddressOption,
    Boolean,
    CertificatePath,
    Named,
    NetworkOption,
    PortRangeOption,
    PrivateFilePath,
    RealmText,
    ServerEndpoint,
    Sized,
    SoftwareText,
    UnicastAddress,
    choice,
    duration,
    integer,
)
from turnserver.core.types import DefaultFamily, IpAddress, PeerRefusal, PortRange
from turnserver.observers.registry import OBSERVERS
from turnserver.relay.registry import AUTO, DATAPATHS

__all__ = [
    "CertificateConfig",
    "Config",
    "HealthConfig",
    "LimitsConfig",
    "Listener",
    "LogConfig",
    "MetricsConfig",
    "PeersConfig",
    "RelayConfig",
    "Section",
    "TlsConfig",
]

T = TypeVar("T")

Tos = Literal["copy", "clear"]
Level = Literal["debug", "info", "warning", "error"]
Format = Literal["text", "json"]

MAX_LISTENERS = 64
"""More than any host has addresses."""

MAX_CERTIFICATES = 64
"""Each choice among them has a TLS context of its own, of some tens of kilobytes."""

MAX_OBSERVERS = 16
"""More than there are names."""


def _one_per_family(endpoints: tuple[Address, ...]) -> tuple[Address, ...]:
    if len({endpoint.family for endpoint in endpoints}) < len(endpoints):
        refuse(", ".join(map(str, endpoints)), "at most one IPv4 and one IPv6 address")
    return endpoints


def _distinct(items: tuple[T, ...]) -> tuple[T, ...]:
    for index, item in enumerate(items):
        if item in items[:index]:
            refuse(f"{item} again", "each one once", (index,))
    return items


class CertificateConfig(Section):
    """A certificate and its key, in two files; a relative path starts at the configuration file.

    Both are read again when they change (`tls.reload_interval`). A pair that fits is used for new connections. One
    that does not is reported in the log, and the old one stays in use.
    """

    certificate: CertificatePath = Field(
        description="The certificate, PEM, followed by the intermediate certificates (certbot's `fullchain.pem`).",
    )
    key: PrivateFilePath = Field(
        description="Its private key, PEM, without a passphrase. It should be readable by the server's user only.",
    )


class TlsConfig(Section):
    """Certificates, and how often their files are read again, for `tls` and `shared` listeners."""

    certificates: Annotated[tuple[CertificateConfig, ...], Sized(MAX_CERTIFICATES)] = Field(
        default=(),
        description="Certificates with their keys. A client is shown one for the host that it asks for (SNI): one that "
        "has the name itself, else one with a wildcard for it (`*.example.org`). Of several, the first one listed is "
        "shown; with an ECDSA and an RSA certificate, each client gets the one that it supports. Clients that ask for "
        "no host, or for one that no certificate has, get the first certificate of the list.",
    )
    ciphers: CiphersOption = Field(
        default="",
        description="The ciphers of TLS 1.2 and DTLS 1.2, as a cipher list of OpenSSL. Empty: those with forward "
        "secrecy and authenticated encryption (`ECDHE+AESGCM:ECDHE+CHACHA20`), which all browsers have. TLS 1.3 has "
        "a list of its own, and older versions are not offered.",
    )
    reload_interval: Annotated[int, duration(1, 86400)] = Field(
        default=10,
        description="How often, in seconds, the files are checked for a change. A renewed certificate is in use after "
        "this time at the latest, without a signal and without dropping connections. If there is no certificate that "
        "can be used at the start, listeners with TLS are opened when there is one; the others do not wait.",
    )


class RelayConfig(Section):
    """The addresses and ports that peers see, and how packets move between them and the clients."""

    addresses: Annotated[tuple[UnicastAddress, ...], AfterValidator(_distinct), Sized(MAX_LISTENERS)] = Field(
        default=(),
        description="The host's addresses to relay from. Without any, the addresses of the listeners. Allocations of "
        "an address family need an address of that family.",
    )
    external: Annotated[ExternalOption, LIVE] = Field(
        default_factory=External,
        description="For a server behind NAT (most clouds): the public address that peers send to. Sockets are bound "
        "to the server's own, private address, and clients get the public one; without it, they would get an address "
        "that peers cannot reach. One address (`203.0.113.5`) is the public one of whatever address the server has in "
        "that family. `auto` asks `relay.stun_server` for it, at the start and every few minutes. A server with "
        "several public addresses needs a mapping, own address → public address; an own address that the host does "
        "not have is an error. The NAT has to map the relay ports one to one.",
    )
    stun_server: Annotated[StunServerOption, LIVE] = Field(
        default="",
        description="The STUN server outside of the NAT that `relay.external: auto` asks, over UDP "
        "(`stun:stun.example.org`). Clients are told what it says, so it should be one that you trust.",
    )
    default_family: Annotated[DefaultFamily, choice(DefaultFamily), LIVE] = Field(
        default="auto",
        description="The family of the relay when a client asks for none, as no browser does. RFC 8656 §7.2 says IPv4. "
        "`auto`: IPv4 if the server relays from an IPv4 address, else IPv6, so that an IPv6-only server has relays for "
        "browsers. With `ipv4` or `ipv6`, a server without an address of that family refuses these clients (440).",
    )
    ports: PortRangeOption = Field(
        default=PortRange(49152, 65535),
        description="The ports to relay from, both ends included. The default is the dynamic range that RFC 8656 §7.2 "
        "asks for. Each allocation takes one on each of its addresses. The firewall must allow incoming UDP on all.",
    )
    datapath: Annotated[str, Named(DATAPATHS, besides=(AUTO,))] = Field(
        default=AUTO,
        description=f"What moves the packets. `{AUTO}`: the fastest that works here; "
        + "; ".join(f"`{name}`: {DATAPATHS[name].about}" for name in DATAPATHS.offered)
        + ".",
    )
    tos: Annotated[Tos, choice(Tos)] = Field(
        default="copy",
        description="DSCP and ECN, the marks for priority and congestion (RFC 8656 §14): `copy` copies them from "
        "received to relayed packets where the platform can, `clear` sends zeroes, for networks where clients must "
        "not choose their priority.",
    )

    tcp: Annotated[Boolean, LIVE] = Field(
        default=True,
        description="TCP relays (RFC 6062), for clients that are connected over TCP or TLS. With `false`, an Allocate "
        "for one, Connect and ConnectionBind get 442. Data connections that are open stay open.",
    )

    legacy_channels: Annotated[Boolean, LIVE] = Field(
        default=False,
        description="Accept channel numbers from 0x5000 to 0x7FFF too, which RFC 5766 allowed and RFC 8656 §12 "
        "reserves. Browsers count up from 0x4000; coturn 4.6's test client does not.",
    )

    mobility: Annotated[Boolean, LIVE] = Field(
        default=False,
        description="Let clients take an allocation along when their address changes (RFC 8016): those that ask get a "
        "ticket, and a Refresh with it from another address or over another transport moves the allocation there. "
        "Without it, they get 405.",
    )

    @model_validator(mode="before")
    @classmethod
    def _null_needs_quotes(cls, data: Any) -> Any:
        """Refuse an unquoted ``null``, which YAML reads as no value; it would silently mean the default."""
        if isinstance(data, Mapping) and "datapath" in data and data["datapath"] is None:
            known = ", ".join((AUTO, *DATAPATHS.offered))
            refuse("nothing", f'{known} or "null" (in quotes)', ("datapath",))
        return data

    @model_validator(mode="after")
    def _external_fits(self, info: ValidationInfo) -> Self:
        for finding in self._external_findings():
            report(info, "relay", finding)
        return self

    def _external_findings(self) -> Iterator[Finding]:
        if self.external.asked and not self.stun_server:
            yield Finding(("external",), "auto", "auto together with relay.stun_server, the STUN server to ask")
        public = self.external.public
        if public is not None and self.addresses:
            alike = [address for address in self.addresses if address.version == public.version]
            if len(alike) != 1:
                listed = ", ".join(map(str, alike)) or "none"
                found = f"one IPv{public.version} address for several in relay.addresses, or for none ({listed})"
                yield Finding(("external",), found, "a mapping with a public address for each of them")
        taken: dict[IpAddress, IpAddress] = {}
        for bound, shown in self.external.items():
            path = ("external", str(bound))
            if bound.version != shown.version:
                yield Finding(path, f"{bound} → {shown}", f"an address of the same family, IPv{bound.version}")
            if self.addresses and bound not in self.addresses:
                listed = ", ".join(map(str, self.addresses))
                yield Finding(path, f"{bound}, which is not in relay.addresses", f"one of {listed}")
            if shown in taken:
                yield Finding(path, f"{shown} again (as for {taken[shown]})", "a public address for each, not shared")
            taken[shown] = bound


class PeersConfig(Section):
    """Which addresses clients may reach through the server (RFC 8656 §21).

    Networks that are not public (private, loopback, link-local, documentation, multicast and the like) and the
    server's own listeners are refused without being listed.
    """

    allow: Annotated[tuple[NetworkOption, ...], Sized(MAX_ITEMS), LIVE] = Field(
        default=(),
        description="Networks that are allowed although they are not public. Careful: every user with a credential can "
        "reach every host there by UDP, through this server.",
    )
    deny: Annotated[tuple[NetworkOption, ...], Sized(MAX_ITEMS), LIVE] = Field(
        default=(),
        description="Further networks that are refused. An address in both lists is refused.",
    )
    refusal: Annotated[PeerRefusal, choice(PeerRefusal), LIVE] = Field(
        default="error",
        description="What a client gets that wants a permission or a channel for a refused peer. `error`: 403, as RFC "
        "8656 says; browsers, libnice, libjuice, pion, linphone and Janus go on without that peer. `swallow`: success, "
        "and every datagram to and from the peer is dropped and counted. baresip (libre) needs it, because it throws "
        "its allocation away after a 403 for a private candidate of the other end.",
    )
    strict_permissions: Annotated[Boolean, LIVE] = Field(
        default=False,
        description="Let permissions expire after 300 seconds unless they are refreshed, exactly as RFC 8656 §9 says. "
        "Otherwise a channel binding keeps its peer's permission alive, which aioice and aiortc need.",
    )


class LimitsConfig(Section):
    """Limits of one process, so that no client can take everything."""

    allocations: Annotated[int, quota(1_000_000), LIVE] = Field(
        default=12_000,
        description="Allocations held at once. Each takes a socket, a port and a few kilobytes; beyond it, 508. "
        "`unlimited` (or 0): as many as there are ports and descriptors, at most 1,000,000.",
    )
    allocations_per_user: Annotated[int, quota(1_000_000), LIVE] = Field(
        default=64,
        description="Allocations held at once by one user. A browser in a four-person call makes up to a dozen; "
        "beyond it, 486. `unlimited` (or 0): one user can take all that there are.",
    )
    permissions_per_allocation: Annotated[int, integer(1, 65536), LIVE] = Field(
        default=256,
        description="Peer addresses with a permission in one allocation; beyond it, 508.",
    )
    channels_per_allocation: Annotated[int, integer(1, 4096), LIVE] = Field(
        default=256,
        description="Channels in one allocation; there are 4,096 numbers (RFC 8656 §12). Beyond it, 508.",
    )
    default_lifetime: Annotated[int, duration(60, 86400), LIVE] = Field(
        default=600,
        description="Lifetime of an allocation, in seconds, if the client asks for none or less (RFC 8656 §7.2).",
    )
    max_lifetime: Annotated[int, duration(60, 86400), LIVE] = Field(
        default=3600,
        description="Longest lifetime of an allocation between refreshes, in seconds. A client that has disappeared "
        "holds its port for so long.",
    )
    reflection_burst: Annotated[int, integer(0, 2**30, "bytes"), LIVE] = Field(
        default=65_536,
        description="Bytes by which answers to one source prefix without credentials may exceed the bytes received "
        "from there, at once. Sources can be forged: without a budget the server would amplify attacks.",
    )
    reflection_rate: Annotated[int, integer(0, 2**30, "bytes per second"), LIVE] = Field(
        default=4096,
        description="Bytes per second by which this budget is refilled.",
    )
    pending_lookups: Annotated[int, integer(1, 1_000_000), LIVE] = Field(
        default=1024,
        description="Pending look-ups in credential sources that answer later; beyond it, 500.",
    )

    connections: Annotated[int, integer(1, 1_000_000), LIVE] = Field(
        default=10_000,
        description="Connections (TCP, TLS and DTLS) held at once, by all listeners together. Each takes a few "
        "kilobytes, with TLS or DTLS some tens; those of TCP and TLS take a file descriptor. When all are taken, the "
        "connection that has been idle longest is closed to make room: never one with an allocation, a data "
        "connection, a participant of a room, or a request that the server works on. The network (IPv4 /24, IPv6 /48) "
        "with the most idle connections gives first.",
    )
    connections_per_address: Annotated[int, integer(1, 1_000_000), LIVE] = Field(
        default=200,
        description="Of these, the connections of one client: an IPv4 address, or an IPv6 /64. An office or a mobile "
        "network may share one IPv4 address. Further connections are closed at once. Those of a trusted proxy count "
        "for the client that it names in a PROXY header, or at the start of a WebSocket; otherwise in total only.",
    )
    handshake_timeout: Annotated[int, duration(1, 300), LIVE] = Field(
        default=10,
        description="Seconds that a connection has for its PROXY header and its TLS or DTLS handshake.",
    )
    first_message_timeout: Annotated[int, duration(1, 300), LIVE] = Field(
        default=10,
        description="Seconds that a connection then has for its first complete message.",
    )
    idle_timeout: Annotated[int, duration(5, 86400), LIVE] = Field(
        default=60,
        description="Seconds after which a connection that is silent and has no allocation is closed.",
    )
    send_queue: Annotated[int, integer(65_540, 2**26, "bytes"), LIVE] = Field(
        default=262_144,
        description="Bytes queued for a connection whose client does not read as fast as its peers send. When the "
        "queue is full, the newest relayed data is dropped, as with UDP; answers to requests are not. A longer queue "
        "adds latency. The minimum is one message of the largest size.",
    )
    stall_timeout: Annotated[int, duration(1, 3600), LIVE] = Field(
        default=30,
        description="Seconds without progress after which a connection with queued data is closed.",
    )
    tcp_connections_per_allocation: Annotated[int, integer(1, 4096), LIVE] = Field(
        default=32,
        description="Connections to and from peers in one TCP allocation (RFC 6062); beyond it, 508.",
    )

    @model_validator(mode="after")
    def _lifetimes_in_order(self, info: ValidationInfo) -> Self:
        if self.default_lifetime > self.max_lifetime:
            found = f"{self.max_lifetime} seconds, less than limits.default_lifetime"
            report(info, "limits", Finding(("max_lifetime",), found, f"at least {self.default_lifetime} seconds"))
        return self


class HealthConfig(Section):
    """A listener for health checks: `GET /healthz` and `GET /readyz` over plain HTTP, and nothing else.

    Every `shared` listener answers both, too, so this is for servers without one, and for checks that must not go
    through TLS. [The how-to](how-to/production.md#health-checks) says what they answer.
    """

    address: AddressOption = Field(
        default=ip_address("127.0.0.1"),
        description="The address to listen on. It need not be public: the checks come from this host, from a load "
        "balancer, or from the orchestrator.",
    )
    port: Annotated[int, integer(0, 65535)] = Field(
        default=0,
        description="The TCP port; 0: there is no such listener.",
    )


class MetricsConfig(Section):
    """A listener for Prometheus: `GET /metrics` over plain HTTP.

    Every `shared` listener of a server with rooms has it as well, for API keys with the scope `admin:read`.
    [The how-to](how-to/metrics.md) says what there is to see, and has alerts and a dashboard.
    """

    address: AddressOption = Field(
        default=ip_address("127.0.0.1"),
        description="The address to listen on: that of an internal network if Prometheus runs on another host. "
        "No key is asked for here.",
    )
    port: Annotated[int, integer(0, 65535)] = Field(
        default=0,
        description="The TCP port; 0: there is no such listener. 9641 is usual for TURN servers.",
    )
    allow: Annotated[tuple[NetworkOption, ...], Sized(MAX_ITEMS)] = Field(
        default=(),
        description="Networks that may ask, such as `[10.0.0.0/8]`; others get 403. Empty: everybody who can reach "
        "the address.",
    )


class LogConfig(Section):
    """What is written to standard error."""

    level: Annotated[Level, choice(Level), LIVE] = Field(
        default="info",
        description="The lowest level that is written. `debug` includes every refused peer.",
    )
    format: Annotated[Format, choice(Format), LIVE] = Field(
        default="text",
        description="Lines for people, or one JSON object a line for programs.",
    )


class Config(Section):
    """A configuration of meshturn."""

    realm: RealmText = Field(
        default="meshturn",
        description="The realm of the credentials (RFC 8489 §14.9); usually a domain. It is part of every key, so "
        "changing it invalidates keys that are stored elsewhere.",
    )
    software: Annotated[SoftwareText, LIVE] = Field(
        default="meshturn",
        description='SOFTWARE in answers to authenticated requests (RFC 8489 §14.14); empty (`""`) sends none. Other '
        "answers never have it.",
    )
    listeners: Annotated[
        tuple[Listener, ...],
        AfterValidator(no_duplicates),
        Sized(MAX_LISTENERS, least=1),
    ] = Field(
        default_factory=all_addresses,
        description="The sockets for clients.",
    )
    proxies: Annotated[tuple[NetworkOption, ...], Sized(MAX_ITEMS)] = Field(
        default=(),
        description="Networks of trusted proxies and load balancers in front of `tcp`, `tls` and `shared` listeners: "
        "who may tell the client's address, and the scheme, host and port that it used. A proxy tells them in a PROXY "
        "header (version 1 or 2, with its TLS extension), or to a `shared` listener in `Forwarded` (RFC 7239) or "
        "`X-Forwarded-For`, `-Proto`, `-Host` and `-Port`. The client is the last address in the list that is not a "
        "trusted proxy's. From other addresses a PROXY header is refused and the others are ignored, because they can "
        "be forged. A proxy that passes on what clients send as it is must send a PROXY header itself.",
    )
    proxy_protocol: Annotated[ProxyUse, choice(ProxyUse)] = Field(
        default="optional",
        description="Whether connections of trusted proxies must begin with a PROXY header. With `optional`, one "
        "without it is served, and its client is the proxy until HTTP headers say more.",
    )
    tls: TlsConfig = Field(
        default_factory=TlsConfig, description="The certificates of `tls`, `dtls` and `shared` listeners."
    )
    alternate_servers: Annotated[
        tuple[ServerEndpoint, ...],
        AfterValidator(_one_per_family),
        Sized(2),
        LIVE,
    ] = Field(
        default=(),
        description="Redirect every Allocate to another server (300 Try Alternate, RFC 8489 §10), one for IPv4 clients "
        "and one for IPv6 clients, to take this server out of service. Existing allocations continue.",
    )
    drain_timeout: Annotated[int, duration(1, 604_800), LIVE] = Field(
        default=3600,
        description="Longest time, in seconds, for which a drain (`SIGUSR1`, `meshturn drain`) waits for calls to end "
        "before the server stops. A change counts for the next drain.",
    )
    relay: RelayConfig = Field(default_factory=RelayConfig, description="Addresses and ports towards peers.")
    auth: AuthConfig = Field(default_factory=AuthConfig, description="Who may relay.")
    clients: ClientsConfig = Field(default_factory=ClientsConfig, description="From where clients may come.")
    peers: PeersConfig = Field(default_factory=PeersConfig, description="Which peers may be reached.")
    stun: StunConfig = Field(default_factory=StunConfig, description="Binding.")
    behavior_discovery: BehaviorDiscoveryConfig = Field(
        default_factory=BehaviorDiscoveryConfig,
        description="NAT behavior discovery (RFC 5780), for tools that ask which kind of NAT they are behind.",
    )
    signaling: SignalingConfig = Field(default_factory=SignalingConfig, description="Rooms for calls.")
    media: MediaConfig = Field(default_factory=MediaConfig, description="The SFU, for rooms too large for a mesh.")
    limits: LimitsConfig = Field(default_factory=LimitsConfig, description="Limits.")
    health: HealthConfig = Field(default_factory=HealthConfig, description="A listener for health checks.")
    metrics: MetricsConfig = Field(default_factory=MetricsConfig, description="A listener for Prometheus.")
    log: LogConfig = Field(default_factory=LogConfig, description="The log.")
    observers: Annotated[
        tuple[Annotated[str, Named(OBSERVERS)], ...], AfterValidator(_distinct), Sized(MAX_OBSERVERS), LIVE
    ] = Field(
        default=("log",),
        description="What gets every event of relays and rooms: `log` writes it to the log; `recorder` keeps the last "
        "1,000 events in memory, for programs that embed a server. Without `log`, the log has only lines about the "
        "server itself.",
    )

    @property
    def has_streams(self) -> bool:
        """Whether clients can have connections over TCP."""
        return any(listener.kind.stream for listener in self.listeners)

    @property
    def serves_http(self) -> bool:
        """Whether a listener serves HTTP."""
        return any(listener.kind.http for listener in self.listeners)

    @property
    def serves_rooms(self) -> bool:
        """Whether there is signaling: rooms, their API and the call page."""
        return self.signaling.enabled and self.serves_http

    @model_validator(mode="after")
    def _tls_has_certificates(self, info: ValidationInfo) -> Self:
        for index, listener in enumerate(self.listeners):
            if listener.tls and not self.tls.certificates:
                mode = " with tls: auto" if listener.tls == "auto" else ""
                found = f"a {listener.transport} listener{mode}, and nothing in tls.certificates"
                allowed = "a certificate and its key in tls.certificates"
                allowed += ", or listeners[].tls: false" if listener.kind.plain is not None else ""
                report(info, "listeners", Finding((index, "transport"), found, allowed))
        return self

    @property
    def discovery_listeners(self) -> tuple[Listener, ...]:
        """The UDP listeners for behavior discovery; some of them may be among ``listeners``, too."""
        return discovery_listeners(self.behavior_discovery)

    @model_validator(mode="after")
    def _discovery_has_ports_of_its_own(self, info: ValidationInfo) -> Self:
        for implied in self.discovery_listeners:
            for index, listener in enumerate(self.listeners):
                if listener.transport != implied.transport and collide(listener, implied):
                    found = (
                        f"{implied.address} port {implied.port}, which listeners[{index}] has for {listener.transport}"
                    )
                    report(
                        info, "behavior_discovery", Finding((), found, "ports that are free, or those of udp listeners")
                    )
        return self

    @model_validator(mode="after")
    def _side_listeners_have_ports_of_their_own(self, info: ValidationInfo) -> Self:
        taken: list[tuple[str, IpAddress, int]] = [
            (f"listeners[{index}]", listener.address, listener.port)
            for index, listener in enumerate(self.listeners)
            if listener.kind.port_space is TransportProtocol.TCP
        ]
        for name, section in (("health", self.health), ("metrics", self.metrics)):
            for other, address, port in taken:
                same_family = address.version == section.address.version
                overlap = address == section.address or address.is_unspecified or section.address.is_unspecified
                if section.port == port != 0 and same_family and overlap:
                    found = f"port {port}, which {other} has"
                    report(info, name, Finding(("port",), found, "another TCP port"))
            taken.append((name, section.address, section.port))
        return self

    @model_validator(mode="after")
    def _metrics_are_not_public(self, info: ValidationInfo) -> Self:
        metrics = self.metrics
        if metrics.port and not metrics.allow and (metrics.address.is_unspecified or metrics.address.is_global):
            warn(
                info,
                f"metrics.address is {metrics.address}, and metrics.allow is empty: everybody on the internet may be "
                "able to read the metrics.",
            )
        return self

    @model_validator(mode="after")
    def _media_have_ports_of_their_own(self, info: ValidationInfo) -> Self:
        if self.signaling.mode == "mesh":
            return self
        own = set(self.relay.addresses) or {listener.address for listener in self.listeners}
        for index, listener in enumerate(self.listeners):
            over_udp = listener.kind.port_space is TransportProtocol.UDP and not listener.kind.local
            there = listener.address.is_unspecified or listener.address in own
            if over_udp and there and listener.port in self.media.ports:
                found = f"port {listener.port} for the SFU, which listeners[{index}] has for {listener.transport}"
                report(info, "media", Finding(("port",), found, "UDP ports that are free, one for each process"))
        return self

    @model_validator(mode="after")
    def _somebody_may_relay(self, info: ValidationInfo) -> Self:
        if isinstance(info.context, Context) and info.context.own_credentials:
            return self
        for sentence in warn_of_credentials(self.auth):
            warn(info, sentence)
        return self

    @model_validator(mode="after")
    def _rooms_work(self, info: ValidationInfo) -> Self:
        for sentence in warn_of_rooms(
            self.signaling, served=self.serves_http, shared_secrets=bool(self.auth.shared_secrets)
        ):
            warn(info, sentence)
        return self
