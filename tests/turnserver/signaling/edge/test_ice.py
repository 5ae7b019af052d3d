"""ICE servers: URLs that the client can reach, and credentials that the TURN server takes."""

import base64
import hashlib
import hmac
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auth.ephemeral import SharedSecret, TimeLimitedCredentials, mint
from auth.errors import InvalidCredential
from stun.address import Address
from stun.uri import StunUri
from turnserver.config import load_mapping
from turnserver.core.types import ClientTransport
from turnserver.signaling.edge.ice import IceServers, UrlsByHost, valid_host
from turnserver.signaling.rooms.settings import Doorway

patient = settings(deadline=None)

UDP, TCP, TLS = ClientTransport.UDP, ClientTransport.TCP, ClientTransport.TLS
SECRET = SharedSecret(b"0123456789abcdef")
NOW = 1_700_000_000.5
PUBLIC = "198.51.100.7"


def at(*where: tuple[ClientTransport, str, int]) -> list[tuple[ClientTransport, Address]]:
    return [(kind, Address.parse(host, port)) for kind, host, port in where]


EVERYWHERE = at(
    *(
        (kind, host, port)
        for kind, port in ((UDP, 3478), (TCP, 3478), (TLS, 5349), (TLS, 443))
        for host in ("127.0.0.1", PUBLIC, "::1", "2001:db8::7")
    )
)
URLS = UrlsByHost(EVERYWHERE)


def test_browsers_get_no_url_of_dtls() -> None:
    """They do not speak it to TURN servers (RFC 7350)."""
    dtls = (ClientTransport.DTLS, PUBLIC, 5349)
    assert urls_of((TLS, PUBLIC, 5349), dtls, host=PUBLIC) == (f"turns:{PUBLIC}:5349?transport=tcp",)
    assert urls_of(dtls, host=PUBLIC) == ()


def urls_of(*where: tuple[ClientTransport, str, int], host: str) -> tuple[str, ...]:
    return UrlsByHost(at(*where))(host)


@pytest.mark.parametrize(
    ("host", "shown"),
    [
        ("turn.example.org", "turn.example.org"),
        ("TURN.example.ORG", "turn.example.org"),
        (PUBLIC, PUBLIC),
        ("2001:db8::7", "[2001:db8::7]"),
        ("2001:DB8:0::7", "[2001:db8::7]"),
        ("192.0.2.99", "192.0.2.99"),
        ("127.0.0.1", "127.0.0.1"),
        ("::1", "[::1]"),
        ("localhost", "127.0.0.1"),
        ("demo.localhost", "127.0.0.1"),
        ("", PUBLIC),
    ],
)
def test_one_url_of_each_kind_by_the_name_that_the_client_used(host: str, shown: str) -> None:
    """At most four, for browsers gather from all at once; 443 for TLS, which the strictest networks let through."""
    assert URLS(host) == (
        f"turn:{shown}:3478?transport=udp",
        f"stun:{shown}:3478",
        f"turn:{shown}:3478?transport=tcp",
        f"turns:{shown}:443?transport=tcp",
    )


def test_what_listens_on_loopback_is_nothing_to_others() -> None:
    """The call page's own port on localhost is no TURN server to a guest."""
    where = ((UDP, PUBLIC, 3478), (TCP, "127.0.0.1", 8080))
    assert urls_of(*where, host="turn.example.org") == (
        "turn:turn.example.org:3478?transport=udp",
        "stun:turn.example.org:3478",
    )


def test_who_is_on_this_machine_reaches_everything_on_it() -> None:
    where = ((UDP, PUBLIC, 3478), (TCP, "127.0.0.1", 8080), (TLS, "2001:db8::7", 5349))
    assert urls_of(*where, host="localhost") == (
        f"turn:{PUBLIC}:3478?transport=udp",
        f"stun:{PUBLIC}:3478",
        "turn:127.0.0.1:8080?transport=tcp",
        "turns:[2001:db8::7]:5349?transport=tcp",
    )


def test_a_server_on_loopback_only() -> None:
    assert urls_of((UDP, "127.0.0.1", 3478), host="localhost") == (
        "turn:127.0.0.1:3478?transport=udp",
        "stun:127.0.0.1:3478",
    )
    assert urls_of((UDP, "127.0.0.1", 3478), host="")[0] == "turn:127.0.0.1:3478?transport=udp"
    assert urls_of((UDP, "127.0.0.1", 3478), host="myhost") == ()


def test_the_port_behind_a_proxy_is_in_no_url() -> None:
    """Of TCP and TLS, that is: a UDP listener with the same number is another one, and no proxy is in front of it."""
    where = at((UDP, PUBLIC, 8080), (TCP, PUBLIC, 8080), (TCP, PUBLIC, 3478), (TLS, PUBLIC, 8443))
    assert UrlsByHost(where)("meet.example.org", 8080) == (
        "turn:meet.example.org:8080?transport=udp",
        "stun:meet.example.org:8080",
        "turn:meet.example.org:3478?transport=tcp",
        "turns:meet.example.org:8443?transport=tcp",
    )
    assert len(UrlsByHost(where)("meet.example.org", 8443)) == 3
    assert not any(":8080?transport=tcp" in url for url in UrlsByHost(where)("localhost", 8080))


def test_a_listener_on_the_very_address_counts_more_than_another() -> None:
    where = ((UDP, "192.0.2.1", 3478), (UDP, "192.0.2.2", 3479))
    assert urls_of(*where, host="192.0.2.2")[0] == "turn:192.0.2.2:3479?transport=udp"
    assert urls_of(*where, host="192.0.2.1")[0] == "turn:192.0.2.1:3478?transport=udp"
    assert urls_of(*where, host="turn.example.org")[0] == "turn:turn.example.org:3478?transport=udp"


def test_a_listener_of_the_same_family_counts_more_than_another() -> None:
    where = ((UDP, "2001:db8::7", 3478), (UDP, "10.0.0.5", 3479))
    assert urls_of(*where, host=PUBLIC)[0] == f"turn:{PUBLIC}:3479?transport=udp"


def test_behind_one_to_one_nat_the_public_address_is_told() -> None:
    private, public = Address.parse("10.0.0.5", 0).ip, Address.parse(PUBLIC, 0).ip
    urls = UrlsByHost(at((UDP, "10.0.0.5", 3478), (UDP, "10.0.0.6", 3479)), {private: public})
    assert urls(PUBLIC)[0] == f"turn:{PUBLIC}:3478?transport=udp"
    assert urls("")[0] == f"turn:{PUBLIC}:3478?transport=udp"


def test_no_listener_no_url() -> None:
    assert urls_of(host="localhost") == ()
    assert urls_of((UDP, PUBLIC, 0), host=PUBLIC) == ()


@pytest.mark.parametrize(
    "text",
    [
        "a b", "a/b", "a?b", "a#b", "a@b", "user@host", "host:80", "[::1]", "fe80::1%eth0", "-", "a..b", "a.", ".a",
        "1.2.3", "1.2.3.4.5", "999.1.1.1", "ä", "a\n", "a\r\nb", "\u202e", "x" * 254, "a'b", 'a"b', "a\\b", "%61",
    ],
)  # fmt: skip
def test_hosts_that_are_none(text: str) -> None:
    """What a client writes in its Host header does not end up in a URL unless it is a host."""
    assert valid_host(text) is None
    assert URLS(text) == URLS("")


@patient
@given(st.text(max_size=300) | st.from_regex(r"\A[a-z0-9.:\[\]%_-]{1,60}\Z"))
def test_whatever_the_host_the_urls_are_urls(host: str) -> None:
    for url in URLS(host):
        assert str(StunUri.parse(url)) == url
        assert re.fullmatch(r"[!-~]+", url)


def servers(*, secret: SharedSecret | None = SECRET, separator: str = ":") -> IceServers:
    return IceServers(secret, separator, 600, "all", URLS)


def test_the_credential_is_that_of_draft_uberti() -> None:
    """``<expiry>:<user>`` and base64(HMAC-SHA1(secret, username)): coturn takes it, too."""
    ice = servers().mint("4f5e6d7c8b.abcdefghij", NOW, Doorway("turn.example.org"))
    (server,) = ice.servers
    assert ice.exp == 1_700_000_600
    assert ice.policy == "all"
    assert server.username == "1700000600:4f5e6d7c8b.abcdefghij"
    expected = hmac.new(b"0123456789abcdef", server.username.encode(), hashlib.sha1).digest()
    assert base64.b64decode(server.credential) == expected
    assert server.urls == URLS("turn.example.org")


@pytest.mark.parametrize("separator", [":", "+", "::"])
@pytest.mark.parametrize("algorithm", ["sha1", "sha256"])
def test_our_turn_server_knows_the_user(separator: str, algorithm: str) -> None:
    secret = SharedSecret(b"0123456789abcdef", "sha1" if algorithm == "sha1" else "sha256")
    store = TimeLimitedCredentials([secret], separator)
    made = servers(secret=secret, separator=separator).credentials("room.peer", 600, NOW)
    assert made is not None
    (known,) = store.find(made.username, "example.org", NOW)
    assert (known.user_id, known.expires_at) == ("room.peer", 1_700_000_600.0)


def test_without_a_shared_secret_there_is_stun() -> None:
    bare = servers(secret=None)
    assert not bare.has_credentials
    assert bare.credentials("room.peer", 600, NOW) is None
    (server,) = bare.mint("room.peer", NOW, Doorway("localhost")).servers
    assert server.urls == ("stun:127.0.0.1:3478",)
    assert (server.username, server.credential) == ("", "")


def test_without_urls_there_are_no_servers() -> None:
    assert (
        IceServers(SECRET, ":", 600, "relay", lambda host, inner: ())
        .mint("room.peer", NOW, Doorway("localhost"))
        .servers
        == ()
    )


def test_a_user_that_no_username_can_hold() -> None:
    with pytest.raises(InvalidCredential):
        servers().credentials("a\nb", 600, NOW)


def test_repr_shows_no_secret() -> None:
    assert repr(servers()) == "IceServers(600 s)"
    ice = servers().mint("room.peer", NOW, Doorway("localhost"))
    assert ice.servers[0].credential not in repr(ice)


def test_participants_are_told_of_the_listeners_or_of_what_is_configured() -> None:
    """With the first shared secret, as every other credential; behind NAT by the public address."""
    private = Address.parse("10.0.0.5", 3478)
    listening = [(ClientTransport.UDP, private)]
    options = {
        "auth": {"shared_secrets": ["the first secret of this test", "another secret of this test"]},
        "relay": {"external": {"10.0.0.5": "203.0.113.5"}},
        "signaling": {"credential_lifetime": 120, "policy": "relay"},
    }
    made = IceServers.from_config(load_mapping(options).config, listening)
    ice = made.mint("hash.peer", 1000.0, Doorway())
    assert ice.servers[0].urls[0] == "turn:203.0.113.5:3478?transport=udp"
    secret = SharedSecret(b"the first secret of this test")
    assert (ice.servers[0].username, ice.servers[0].credential) == mint(secret, "hash.peer", 1120)
    assert (ice.exp, ice.policy) == (1120, "relay")
    options["signaling"] = {"urls": ["turns:elsewhere.example.org"]}
    configured = IceServers.from_config(load_mapping(options).config, listening).mint("u", 1000.0, Doorway("x"))
    assert configured.servers[0].urls == ("turns:elsewhere.example.org",)
    assert not IceServers.from_config(load_mapping({}).config, listening).has_credentials
