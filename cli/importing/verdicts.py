"""What becomes of each option of coturn: the table.

The names are those of the file, coturn's long options. Options that have a meaning here are translated by
`cli.importing.coturn`; the others have the sentence that is said about them.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

__all__ = ["ALREADY", "CANNOT", "KNOWN", "TRANSLATED"]

TRANSLATED: Final[Mapping[str, str]] = MappingProxyType(
    {
        "listening-port": "listeners",
        "tls-listening-port": "listeners",
        "listening-ip": "listeners",
        "aux-server": "listeners",
        "no-udp": "listeners",
        "no-tcp": "listeners",
        "no-tls": "listeners",
        "no-dtls": "listeners",
        "cert": "tls.certificates",
        "pkey": "tls.certificates",
        "cipher-list": "tls.ciphers",
        "relay-ip": "relay.addresses",
        "external-ip": "relay.external",
        "min-port": "relay.ports",
        "max-port": "relay.ports",
        "no-tcp-relay": "relay.tcp",
        "mobility": "relay.mobility",
        "allocation-default-address-family": "relay.default_family",
        "realm": "realm",
        "lt-cred-mech": "auth",
        "use-auth-secret": "auth.shared_secrets",
        "static-auth-secret": "auth.shared_secrets",
        "rest-api-separator": "auth.separator",
        "user": "auth.users",
        "stun-only": "auth.sources",
        "stale-nonce": "auth.nonce_lifetime",
        "allowed-peer-ip": "peers.allow",
        "denied-peer-ip": "peers.deny",
        "allow-loopback-peers": "peers.allow",
        "user-quota": "limits.allocations_per_user",
        "total-quota": "limits.allocations",
        "max-allocate-lifetime": "limits.max_lifetime",
        "alternate-server": "alternate_servers",
        "no-stun-backward-compatibility": "stun",
        "no-software-attribute": "software",
        "prod": "software",
        "prometheus": "metrics.port",
        "prometheus-port": "metrics.port",
        "Verbose": "log.level",
        "max-bps": "",
        "bps-capacity": "",
        "channel-lifetime": "",
        "permission-lifetime": "",
    }
)
"""Options that depend on their value or on others, with the option of meshturn; it is empty where one value only
is that of meshturn."""

_PROCESS = "a matter of the service manager: the unit for systemd has the user, the restart and the log"
_NO_TELNET = "there is no telnet console and no page of that kind; `meshturn rooms`, and HTTP with an API key"
_JOURNAL = "the log goes to standard error, and from there where the service manager puts it"
_DATABASE = (
    "there is no database of users: list users in auth.users, or have a program answer for them (auth.hook). "
    "`turnadmin -l` lists those in the database, `turnadmin -S` the shared secrets"
)
_TLS_1_2 = "nothing older than TLS 1.2 and DTLS 1.2 is offered"
_ELLIPTIC = "keys are exchanged with elliptic curves only, and OpenSSL chooses the curve"

ALREADY: Final[Mapping[str, str]] = MappingProxyType(
    {
        "no-cli": "there is no telnet console",
        "no-multicast-peers": "multicast peers are refused",
        "no-sslv2": _TLS_1_2,
        "no-sslv3": _TLS_1_2,
        "no-tlsv1": _TLS_1_2,
        "no-tlsv1_1": _TLS_1_2,
        "no-rfc5780": "behavior discovery is off unless behavior_discovery has addresses",
        "response-origin-only-with-rfc5780": "RESPONSE-ORIGIN is sent with behavior discovery only",
        "verbose": "log.level is info, which has a line for each allocation",
        "fingerprint": "answers have FINGERPRINT when the request has it, as RFC 8489 §14.7 says",
        "no-auth-pings": "there is no database to ask",
        "no-dynamic-ip-list": "the peer ACL is in the configuration; a reload (SIGHUP) takes it",
        "no-dynamic-realms": "there is one realm",
        "dh566": _ELLIPTIC,
        "dh1066": _ELLIPTIC,
        "dh2066": _ELLIPTIC,
        "dh-file": _ELLIPTIC,
        "ec-curve-name": _ELLIPTIC,
        "relay-threads": "one process serves with one thread",
        "ne": "the datapath is chosen by relay.datapath: auto",
        "new-log-timestamp": "the time has the form of RFC 3339",
        "no-stdout-log": _JOURNAL,
        "simple-log": _JOURNAL,
        "secret-ts-exp-time": "coturn ignores it, too: the expiry is in the user name",
        "daemon": "it stays in the foreground, as service managers want it",
        "pidfile": "a service manager knows the process",
        "keep-address-family": "relay.default_family: auto gives IPv4 where there is an address of it, else IPv6",
        "prometheus-username-labels": "no label of a metric can be chosen by a user",
    }
)
"""Options that change nothing here, and why."""

CANNOT: Final[Mapping[str, str]] = MappingProxyType(
    {
        "listening-device": "name the addresses of the interface in listeners",
        "relay-device": "name the addresses of the interface in relay.addresses",
        "alt-listening-port": "behavior_discovery takes two addresses with two ports (primary, alternate)",
        "alt-tls-listening-port": "behavior discovery is over UDP only",
        "tcp-proxy-port": "add a tcp listener for the port, with the addresses of the load balancer in its proxies: "
        "PROXY headers are taken from named addresses only",
        "udp-self-balance": "run several servers, and give clients the URLs of all",
        "no-udp-relay": "UDP relays cannot be switched off",
        "no-auth": "everybody would relay through this server; give clients credentials (auth.users or "
        "auth.shared_secrets)",
        "oauth": "there are no tokens of RFC 7635; time-limited credentials (auth.shared_secrets) do the same",
        "server-name": "it belongs to oauth",
        "check-origin-consistency": "ORIGIN is ignored; browsers do not send it",
        "userdb": _DATABASE,
        "db": _DATABASE,
        "psql-userdb": _DATABASE,
        "sql-userdb": _DATABASE,
        "mysql-userdb": _DATABASE,
        "mongo-userdb": _DATABASE,
        "redis-userdb": _DATABASE,
        "secret-key-file": _DATABASE,
        "redis-statsdb": "metrics for Prometheus (metrics.port) and the HTTP API have the numbers",
        "pkey-pwd": "keys have no passphrase here: openssl pkey -in KEY -out NEWKEY, mode 0600",
        "CA-file": "clients are not asked for certificates",
        "no-tlsv1_2": "TLS 1.2 cannot be switched off; clients with TLS 1.3 use that",
        "tls-alternate-server": "alternate_servers is for all transports",
        "secure-stun": "Binding is answered without credentials, within limits.reflection_burst",
        "no-stun": "Binding is always answered, within limits.reflection_burst",
        "max-allocate-timeout": "it is fixed: a relay that is not open within ten seconds is refused",
        "server-relay": "peers need a permission (RFC 8656 §9); nothing switches that off",
        "acme-redirect": "have certbot use a web server on port 80, or DNS",
        "log-file": _JOURNAL,
        "syslog": _JOURNAL,
        "syslog-facility": _JOURNAL,
        "new-log-timestamp-format": "the time has the form of RFC 3339",
        "log-binding": "Binding requests have no line; the metrics count them",
        "proc-user": _PROCESS,
        "proc-group": _PROCESS,
        "cli-ip": _NO_TELNET,
        "cli-port": _NO_TELNET,
        "cli-password": _NO_TELNET,
        "cli-max-output-sessions": _NO_TELNET,
        "web-admin": _NO_TELNET,
        "web-admin-ip": _NO_TELNET,
        "web-admin-port": _NO_TELNET,
        "web-admin-listen-on-workers": _NO_TELNET,
    }
)
"""Options that have no counterpart, and what to do instead."""

KNOWN: Final = frozenset(TRANSLATED) | frozenset(ALREADY) | frozenset(CANNOT)
"""Every option of coturn's file."""
