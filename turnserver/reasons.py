"""Why something is refused: one stable code for each cause, with what it means and what to do about it.

The code stands in the log (``cause=``), in events, and in the reason phrase of answers to authenticated clients. Others
get the standard phrase only, so that a guesser cannot tell a wrong password from an unknown user (RFC 8489 §9.2.4).
``docs/reasons.md`` is generated from here. A code is never renamed, because programs look for it.
"""

from enum import StrEnum
from typing import Final, Self

from stun.constants import ErrorCode

__all__ = ["CLOSED", "DROPPED", "Reason", "phrase"]

CLOSED: Final = "the connection is closed"
DROPPED: Final = "no answer"
"""What becomes of something that gets no error answer."""

_MAX_PHRASE: Final = 127
"""Characters of a reason phrase (RFC 8489 §14.8: fewer than 128)."""


class Reason(StrEnum):
    """The cause of a refusal.

    ``errors`` are the codes of the answers that it leads to; without any, ``answer`` says what happens instead.
    """

    errors: tuple[ErrorCode, ...]
    answer: str
    meaning: str
    remedy: str

    def __new__(cls, code: str, result: ErrorCode | tuple[ErrorCode, ...] | str, meaning: str, remedy: str) -> Self:
        """One cause; ``result`` is the error code of the answer, several of them, or what happens instead."""
        member = str.__new__(cls, code)
        member._value_ = code
        member.errors = () if isinstance(result, str) else (result,) if isinstance(result, ErrorCode) else result
        member.answer = result if isinstance(result, str) else ", ".join(str(int(error)) for error in member.errors)
        member.meaning = meaning
        member.remedy = remedy
        return member

    # Authentication

    NO_CREDENTIALS = (
        "no-credentials",
        ErrorCode.UNAUTHENTICATED,
        "The request has no credential yet. Every client begins like this (RFC 8489 §9.2.3).",
        "Nothing. A client that stays there has no user name and password for this server.",
    )
    WRONG_PASSWORD = (
        "wrong-password",
        ErrorCode.UNAUTHENTICATED,
        "The user is known, and the password or the shared secret is not the right one.",
        "Compare the client's password with `auth.users`, or the secret of the back end with `auth.shared_secrets`. "
        "Many of them are guesses: see the how-to about failed logins.",
    )
    WRONG_REALM = (
        "wrong-realm",
        ErrorCode.UNAUTHENTICATED,
        "The client made its key with another realm than this server's, so the password could not be checked.",
        "Give the client the realm of this server (`realm`); most clients take it from the server by themselves.",
    )
    UNKNOWN_USER = (
        "unknown-user",
        ErrorCode.UNAUTHENTICATED,
        "No credential source knows the user name.",
        "Add the user to `auth.users`, or look at the back end that issues the credentials.",
    )
    MALFORMED_TIME = (
        "malformed-time",
        ErrorCode.UNAUTHENTICATED,
        "The name looks like one of a time-limited credential, and its time cannot be read.",
        "The name is `EXPIRY:USER` with Unix time in seconds, or with `auth.username_order: any` also `USER:EXPIRY`; "
        "`auth.separator` is between them.",
    )
    EXPIRED = (
        "expired",
        ErrorCode.UNAUTHENTICATED,
        "The credential is right, but its time is over.",
        "Have the client get a new one, or issue credentials with a longer life. If they are new, compare the clocks "
        "of both hosts.",
    )
    REVOKED = (
        "revoked",
        ErrorCode.UNAUTHENTICATED,
        "The user was sent away, or has left its room; credentials that were issued before do not count any more.",
        "Nothing, if that was meant. The user needs a credential that was issued later.",
    )
    CREDENTIAL_REMOVED = (
        "credential-removed",
        (ErrorCode.UNAUTHENTICATED, ErrorCode.FORBIDDEN),
        "The user, the password or the shared secret is not in the configuration any more, so the allocation gets "
        "nothing new and is not refreshed.",
        "Nothing, if that was meant; `auth.on_removal` says what becomes of such allocations.",
    )
    STALE_NONCE = (
        "stale-nonce",
        ErrorCode.STALE_NONCE,
        "The nonce is too old. The client repeats its request with the new one in the answer.",
        "Nothing. It belongs to every long session (`auth.nonce_lifetime`).",
    )
    FOREIGN_NONCE = (
        "foreign-nonce",
        ErrorCode.STALE_NONCE,
        "The nonce was not made for this address and port, or by this server.",
        "Nothing, once: the client has moved or the server was restarted. If it goes on, something between client and "
        "server changes the client's port with each packet.",
    )
    TOO_MANY_FAILURES = (
        "too-many-failures",
        DROPPED,
        "Too many wrong credentials came from one source or for one user, so a further one gets no answer (UDP) or "
        "ends the connection. Right credentials are accepted all the same.",
        "See who it is by `many failed logins`. Block the source, or repair the client with the old password.",
    )
    REFLECTION_BUDGET = (
        "reflection-budget",
        DROPPED,
        "A source without a credential got more bytes than it sent, beyond its budget. Such sources are mostly forged.",
        "Nothing. If clients behind a large NAT suffer, raise `limits.reflection_burst` and `limits.reflection_rate`.",
    )
    SOURCE_UNAVAILABLE = (
        "source-unavailable",
        ErrorCode.SERVER_ERROR,
        "A credential source could not say whether it knows the user. The client should try again.",
        "Look at the program behind `auth.hook`; the line `credentials unavailable` says what is wrong with it.",
    )
    LOOKUPS_FULL = (
        "lookups-full",
        ErrorCode.SERVER_ERROR,
        "Too many requests wait for the credential source, in total or of one client.",
        "Make the source faster, or raise `limits.pending_lookups`.",
    )

    # The form of a request

    MISSING_ATTRIBUTE = (
        "missing-attribute",
        ErrorCode.BAD_REQUEST,
        "An attribute that the method needs is missing; the reason phrase names it.",
        "Repair the client.",
    )
    MALFORMED_ATTRIBUTE = (
        "malformed-attribute",
        ErrorCode.BAD_REQUEST,
        "The value of an attribute cannot be read.",
        "Repair the client.",
    )
    CONTRADICTING_ATTRIBUTES = (
        "contradicting-attributes",
        ErrorCode.BAD_REQUEST,
        "Two attributes exclude each other; the reason phrase names them.",
        "Repair the client.",
    )
    BID_DOWN = (
        "bid-down",
        ErrorCode.BAD_REQUEST,
        "The password algorithms are not those that the server offered: somebody may have changed them on the way.",
        "Repair the client; if it is right, somebody on the path tampers with its requests.",
    )
    UNKNOWN_ATTRIBUTE = (
        "unknown-attribute",
        ErrorCode.UNKNOWN_ATTRIBUTE,
        "The request has an attribute that must be understood, and this server does not.",
        "Nothing. The client tries without it, or needs a server with that extension.",
    )
    UNSUPPORTED_TRANSPORT = (
        "unsupported-transport",
        ErrorCode.UNSUPPORTED_TRANSPORT_PROTOCOL,
        "The client wants a relay that is neither UDP nor TCP, or a TCP relay where `relay.tcp` is false.",
        "Repair the client, or set `relay.tcp: true`.",
    )
    NEEDS_STREAM = (
        "needs-stream",
        ErrorCode.BAD_REQUEST,
        "TCP relays and their data connections (RFC 6062) are for clients that are connected over TCP or TLS.",
        "Have the client use a `turn:…?transport=tcp` or `turns:` URL.",
    )
    ADDITIONAL_FAMILY = (
        "additional-family",
        ErrorCode.BAD_REQUEST,
        "ADDITIONAL-ADDRESS-FAMILY is for IPv6 only (RFC 8656 §7.2).",
        "Repair the client.",
    )

    # Allocations

    ALLOCATION_EXISTS = (
        "allocation-exists",
        ErrorCode.ALLOCATION_MISMATCH,
        "The client has an allocation on this 5-tuple already.",
        "Nothing, once: the client uses another port. A client that does not was restarted on the same port.",
    )
    NO_ALLOCATION = (
        "no-allocation",
        ErrorCode.ALLOCATION_MISMATCH,
        "The client has no allocation on this 5-tuple: it has expired, was ended, or the server was restarted.",
        "Nothing, once: the client allocates again. If it repeats, the client's NAT changes its port, or the client "
        "refreshes too late.",
    )
    NOT_A_UDP_ALLOCATION = (
        "not-a-udp-allocation",
        ErrorCode.ALLOCATION_MISMATCH,
        "Channels are for UDP relays; the client has a TCP relay.",
        "Repair the client.",
    )
    NOT_A_TCP_ALLOCATION = (
        "not-a-tcp-allocation",
        ErrorCode.ALLOCATION_MISMATCH,
        "Connect is for TCP relays (RFC 6062); the client has a UDP relay.",
        "Repair the client.",
    )
    OTHER_USER = (
        "other-user",
        ErrorCode.WRONG_CREDENTIALS,
        "The allocation belongs to another user name than the one of the request.",
        "Have the client go on with the credential that it allocated with, or allocate again with the new one.",
    )
    UNSUPPORTED_FAMILY = (
        "unsupported-family",
        ErrorCode.ADDRESS_FAMILY_NOT_SUPPORTED,
        "The server has no relay address of the family that the client wants, or none at the moment.",
        "Give the host such an address, and list it in `relay.addresses` if that is set.",
    )
    NO_RELAY_OF_FAMILY = (
        "no-relay-of-family",
        ErrorCode.PEER_ADDRESS_FAMILY_MISMATCH,
        "The peer or the Refresh is of another address family than the client's relay.",
        "Nothing. The client needs a relay of that family too.",
    )
    RELAY_PORTS = (
        "relay-ports",
        ErrorCode.INSUFFICIENT_CAPACITY,
        "No port of `relay.ports` is free: allocations hold them, or other programs of this host do.",
        "Widen `relay.ports` and the firewall's rule for it, or add addresses.",
    )
    RELAY_ADDRESS = (
        "relay-address",
        ErrorCode.INSUFFICIENT_CAPACITY,
        "The host does not have the relay address (any more).",
        "Look at the host's addresses and at `relay.addresses`; the line `no relay can be opened` has the error.",
    )
    RELAY_SOCKET = (
        "relay-socket",
        ErrorCode.INSUFFICIENT_CAPACITY,
        "The system gave no socket: it has no memory or no descriptors left, or forbids it.",
        "Read the line `no relay can be opened` or `no connection with a peer can be made`; raise the limit of open "
        "files, or look at the sandbox of the service.",
    )
    RELAY_TIMEOUT = (
        "relay-timeout",
        ErrorCode.INSUFFICIENT_CAPACITY,
        "The datapath did not open the relay in time.",
        "Look for faults and for overload in the log.",
    )
    SERVER_FULL = (
        "server-full",
        ErrorCode.INSUFFICIENT_CAPACITY,
        "The server has as many allocations as `limits.allocations` allows.",
        "Raise `limits.allocations`, or add a server.",
    )
    USER_QUOTA = (
        "user-quota",
        ErrorCode.ALLOCATION_QUOTA_REACHED,
        "The user has as many allocations or reserved ports as `limits.allocations_per_user` allows.",
        "Raise it, or give each person a user name of their own.",
    )
    NO_DESCRIPTORS = (
        "no-descriptors",
        ErrorCode.INSUFFICIENT_CAPACITY,
        "The process has no file descriptor left for another socket.",
        "Raise its limit of open files (`LimitNOFILE=` of systemd, `ulimit -n`).",
    )
    USER_DESCRIPTORS = (
        "user-descriptors",
        ErrorCode.INSUFFICIENT_CAPACITY,
        "File descriptors are short, and this user holds more than a fair share of them.",
        "Raise the limit of open files, or look at what the user does.",
    )
    UNKNOWN_RESERVATION = (
        "unknown-reservation",
        ErrorCode.INSUFFICIENT_CAPACITY,
        "RESERVATION-TOKEN names no port that is reserved for this user; a reservation lasts 30 seconds.",
        "Nothing. The client allocates without it.",
    )
    DRAINING = (
        "draining",
        ErrorCode.INSUFFICIENT_CAPACITY,
        "The server is about to stop and takes nothing new.",
        "Nothing, if that was meant. Name another server in `alternate_servers` to send clients there.",
    )
    REDIRECTED = (
        "redirected",
        ErrorCode.TRY_ALTERNATE,
        "`alternate_servers` sends new allocations to another server.",
        "Nothing, if that was meant.",
    )
    FAULT = (
        "fault",
        ErrorCode.SERVER_ERROR,
        "An error of the server that nobody foresaw.",
        "The log has its cause, once for each part; please report it.",
    )

    # Peers, permissions and channels

    PEER_NOT_PUBLIC = (
        "peer-not-public",
        ErrorCode.FORBIDDEN,
        "The peer's address is not public (private, loopback, link-local and the like). Browsers ask for each "
        "candidate of the other end, so that it belongs to most calls and is logged at level debug.",
        "Nothing. If clients are to reach hosts in that network, put it in `peers.allow`. For clients that give up "
        "after it (baresip), see `peers.refusal`.",
    )
    PEER_DENIED = (
        "peer-denied",
        ErrorCode.FORBIDDEN,
        "The peer's address is in a network of `peers.deny`.",
        "Nothing, if that was meant.",
    )
    PEER_OWN_LISTENER = (
        "peer-own-listener",
        ErrorCode.FORBIDDEN,
        "The peer is a listener of this server.",
        "Nothing. No option allows it, since requests would come back with the server's own address.",
    )
    PEER_OWN_ADDRESS = (
        "peer-own-address",
        ErrorCode.FORBIDDEN,
        "The peer is on the server's relay address, on a port where no relay stands.",
        "Nothing, once: the other end's relay has just ended. A service of this host cannot be reached by its relay "
        "address unless `peers.allow` has it.",
    )
    PEER_SWALLOWED = (
        "peer-swallowed",
        DROPPED,
        "`peers.refusal: swallow`: the peer is refused as above, but the client was told that it has its permission or "
        "channel. Every datagram to and from the peer is dropped and counted.",
        "Nothing, if that was meant.",
    )
    CHANNEL_NUMBER = (
        "channel-number",
        ErrorCode.BAD_REQUEST,
        "The channel number is not in the range of RFC 8656 §12.",
        "Repair the client, or set `relay.legacy_channels` for an old one.",
    )
    PEER_HAS_CHANNEL = (
        "peer-has-channel",
        ErrorCode.BAD_REQUEST,
        "The client binds a second channel to one peer (RFC 8656 §12.2). libnice does at each ICE restart.",
        "Nothing. The first channel goes on working.",
    )
    CHANNEL_HAS_PEER = (
        "channel-has-peer",
        ErrorCode.BAD_REQUEST,
        "The client binds a channel that it has bound to another peer (RFC 8656 §12.2).",
        "Repair the client.",
    )
    PERMISSIONS_FULL = (
        "permissions-full",
        ErrorCode.INSUFFICIENT_CAPACITY,
        "The allocation has as many permissions as `limits.permissions_per_allocation` allows.",
        "Raise it if the client really has so many peers.",
    )
    CHANNELS_FULL = (
        "channels-full",
        ErrorCode.INSUFFICIENT_CAPACITY,
        "The allocation has as many channels as `limits.channels_per_allocation` allows.",
        "Raise it if the client really has so many peers.",
    )

    # Connections with peers (RFC 6062)

    CONNECTION_EXISTS = (
        "connection-exists",
        ErrorCode.CONNECTION_ALREADY_EXISTS,
        "The client has a connection to this peer already, or one is being made.",
        "Repair the client.",
    )
    PEER_UNREACHABLE = (
        "peer-unreachable",
        ErrorCode.CONNECTION_TIMEOUT_OR_FAILURE,
        "The peer did not accept the connection within 30 seconds, refused it, or there is no route to it.",
        "See whether the peer listens, and whether a firewall lets this server reach it.",
    )
    PEER_CONNECTIONS_FULL = (
        "peer-connections-full",
        ErrorCode.INSUFFICIENT_CAPACITY,
        "The allocation has as many connections with peers as `limits.tcp_connections_per_allocation` allows.",
        "Raise it if the client really has so many.",
    )
    UNKNOWN_CONNECTION = (
        "unknown-connection",
        ErrorCode.BAD_REQUEST,
        "CONNECTION-ID names no connection that waits; it waits for 30 seconds.",
        "Nothing, once: the client was too late, or the peer has gone.",
    )

    # Mobility

    MOBILITY_OFF = (
        "mobility-off",
        ErrorCode.MOBILITY_FORBIDDEN,
        "The client wants to take its allocation along when its address changes, and `relay.mobility` is off.",
        "Set `relay.mobility`, if clients may. Without it, they have to allocate anew.",
    )
    TICKET_ASKED_WITH = (
        "ticket-asked-with",
        ErrorCode.BAD_REQUEST,
        "An Allocate has a MOBILITY-TICKET that is not empty, and so does not ask for one.",
        "Repair the client.",
    )
    TICKET_INVALID = (
        "ticket-invalid",
        ErrorCode.BAD_REQUEST,
        "The MOBILITY-TICKET was not made by this server since its start, has been used, or is too old.",
        "Nothing, once: the client was restarted, or the server. If it goes on, the client keeps old tickets.",
    )
    TICKET_NOT_NEEDED = (
        "ticket-not-needed",
        ErrorCode.BAD_REQUEST,
        "A Refresh has a MOBILITY-TICKET, although it comes from where the allocation is.",
        "Repair the client, which must not send one as long as its address is the same.",
    )

    # Connections of clients

    CONNECTIONS_PER_ADDRESS = (
        "connections-per-address",
        CLOSED,
        "The client's address has as many connections as `limits.connections_per_address` allows.",
        "Raise it if many clients are behind one address; behind a load balancer, set `proxies`, so that each client "
        "counts for itself.",
    )
    CLIENT_DENIED = (
        "client-denied",
        CLOSED,
        "The client's address is in `clients.deny`, or `clients.allow` does not have it.",
        "Nothing, if it is meant. Over UDP such clients get no answer, and there is no line about them.",
    )
    CONNECTIONS_FULL = (
        "connections-full",
        CLOSED,
        "All connections are taken and in use: by `limits.connections`, or by the limit of open files (RLIMIT_NOFILE), "
        "as the line says.",
        "Raise the limit that the line names.",
    )
    PROXY_HEADER_MISSING = (
        "proxy-header-missing",
        CLOSED,
        "The connection comes from a network of `proxies` and does not begin with a PROXY header, which "
        "`proxy_protocol: required` asks for.",
        "Have the proxy send one (HAProxy `send-proxy-v2`, nginx `proxy_protocol on`), or take the option away.",
    )
    PROXY_HEADER_MALFORMED = (
        "proxy-header-malformed",
        CLOSED,
        "The connection begins with a PROXY header that cannot be read; the line says what is wrong with it.",
        "Look at the proxy; versions 1 and 2 for TCP are understood.",
    )
    PROXY_HEADER_UNEXPECTED = (
        "proxy-header-unexpected",
        CLOSED,
        "The connection begins with a PROXY header and comes from an address that is not in `proxies`. Whoever could "
        "send one could claim any address.",
        "Add the proxy's address to `proxies`, or turn the PROXY protocol off there.",
    )
    TLS_ALERT = (
        "tls-alert",
        CLOSED,
        "The client ended the TLS handshake with an alert, mostly because it does not accept the certificate: the line "
        "names the alert.",
        "For `unknown ca`, `bad certificate` or `certificate unknown`: see that the certificate has its intermediate, "
        "the right names, and an issuer that the client trusts (`meshturn check`, `meshturn probe`).",
    )
    TLS_FAILED = (
        "tls-failed",
        CLOSED,
        "The TLS handshake failed on this side: no common version, cipher or signature, or malformed records.",
        "See what the client speaks; TLS 1.2 and 1.3 are offered.",
    )
    TLS_NO_PROTOCOL = (
        "tls-no-protocol",
        CLOSED,
        "The client offers protocols by ALPN, and none that this listener speaks.",
        "Repair the client, or send it to a `shared` listener if it wants HTTP.",
    )
    NO_CERTIFICATE = (
        "no-certificate",
        CLOSED,
        "A client wants TLS on a listener with `tls: auto`, and there is no certificate that can be used at present.",
        "See the line about the certificate, and `meshturn check`.",
    )
    NOT_TLS = (
        "not-tls",
        CLOSED,
        "A client speaks something else on a port for TLS; the line says what.",
        "Have it use the URL in the line, or set `tls: auto` on the listener.",
    )
    TLS_UNEXPECTED = (
        "tls-unexpected",
        CLOSED,
        "A client speaks TLS on a port without it.",
        "Have it use the URL in the line, or set `tls: auto` on the listener.",
    )
    HTTP_UNEXPECTED = (
        "http-unexpected",
        CLOSED,
        "A client speaks HTTP on a port for TURN only.",
        "Have it use the URL in the line; a `shared` listener serves both on one port.",
    )
    TURN_UNEXPECTED = (
        "turn-unexpected",
        CLOSED,
        "A client speaks TURN on a port for HTTP only (`health`).",
        "Have it use the URL in the line.",
    )
    DTLS_UNEXPECTED = (
        "dtls-unexpected",
        DROPPED,
        "A client speaks DTLS on a `udp` listener.",
        "Have it use the URL in the line, or add a `dtls` listener.",
    )
    NOT_DTLS = (
        "not-dtls",
        DROPPED,
        "A client speaks TURN without DTLS on a `dtls` listener.",
        "Have it use the URL in the line.",
    )
    NOT_TURN = (
        "not-turn",
        CLOSED,
        "The first bytes belong to no protocol of this port.",
        "Nothing, for scanners. `meshturn probe` shows whether an ordinary client gets through.",
    )
    CONNECTION_BROKEN = (
        "connection-broken",
        CLOSED,
        "The connection ended, or failed, before its first message was complete.",
        "Nothing, for scanners and health checks.",
    )
    TOO_SLOW = (
        "too-slow",
        CLOSED,
        "The PROXY header, the TLS handshake or the first message was not complete in time.",
        "If the network is slow, raise `limits.handshake_timeout` or `limits.first_message_timeout`.",
    )


def phrase(code: ErrorCode, cause: Reason, detail: str = "") -> str:
    """The reason phrase of an answer to an authenticated client: the standard one, the cause, and what it is about."""
    text = f"{code.reason} ({cause})"
    return f"{text}: {detail}"[:_MAX_PHRASE] if detail else text
