"""The peer ACL (RFC 8656 §21.2.2, §21.4): canonical addresses, every network denied by default, the server's own."""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

import pytest

from stun.address import Address
from turnserver.config import load_mapping
from turnserver.core.policy import PeerPolicy, canonical
from turnserver.core.settings import OwnAddresses, RelayAddress
from turnserver.core.special_purpose import DEFAULT_DENY
from turnserver.core.types import IpNetwork

# Written out again on purpose: the rule, not the code, says what is in it.
DENIED = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "168.63.129.16/32",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",
    "240.0.0.0/4",
    "::/128",
    "::1/128",
    "fe80::/10",
    "fc00::/7",
    "fec0::/10",
    "ff00::/8",
    "2002::/16",
    "2001::/32",
    "64:ff9b:1::/48",
    "2001:db8::/32",
    "3fff::/20",
    "2001::/23",
    "2001:2::/48",
    "2001:10::/28",
    "100::/64",
    "100:0:0:1::/64",
    "5f00::/16",
    "::ffff:0:0:0/96",
    "192.88.99.0/24",
]
DENIED_IPV4 = [text for text in DENIED if "." in text]

WRAPPERS = ["::ffff:0:0", "::", "64:ff9b::"]
"""IPv4-mapped, IPv4-compatible (deprecated), and the well-known NAT64 prefix; each /96."""

OPEN = PeerPolicy.build()


def packed(text: str) -> bytes:
    return ip_address(text).packed


def wrapped(prefix: str, address: IPv4Address) -> bytes:
    return packed(prefix)[:12] + address.packed


def inside(address: IPv4Address | IPv6Address, text: str) -> bool:
    network = ip_network(text)
    return network.version == address.version and address in network


def just_outside(network: IpNetwork) -> list[IPv4Address | IPv6Address]:
    """The addresses on either side of a network, where there are any and no other denied network has them."""
    kind = type(network.network_address)
    top = 2**network.max_prefixlen - 1
    around = (int(network.network_address) - 1, int(network.broadcast_address) + 1)
    found = [kind(number) for number in around if 0 <= number <= top]
    others = [ip_network(text) for text in DENIED]
    return [ip for ip in found if not any(ip in other for other in others if other.version == ip.version)]


def test_the_default_list_is_the_rules() -> None:
    """Rule 16: exactly the networks that the rule names."""
    assert sorted(map(str, DEFAULT_DENY)) == sorted(DENIED)


@pytest.mark.parametrize("text", DENIED)
def test_every_default_network_is_denied_from_end_to_end(text: str) -> None:
    """Rule 16, RFC 8656 §21.2.2: first, last and middle address of each network; the reason names the smallest one."""
    network = ip_network(text)
    middle = network.network_address + network.num_addresses // 2
    for address in (network.network_address, middle, network.broadcast_address):
        for port in (None, 1, 443, 50000):
            smallest = max(
                (other for other in DENIED if inside(address, other)), key=lambda other: ip_network(other).prefixlen
            )
            assert OPEN.refusal(address.packed, port) == f"default deny {smallest}"


def test_next_to_a_denied_network_is_allowed() -> None:
    """Rule 16: and not one address more."""
    around = [address for text in DENIED for address in just_outside(ip_network(text))]
    public = [address for address in around if canonical(address.packed) == address]
    assert len(public) > 30
    assert [str(address) for address in public if OPEN.refusal(address.packed) is not None] == []


@pytest.mark.parametrize("prefix", WRAPPERS)
@pytest.mark.parametrize("text", DENIED_IPV4)
def test_wrapping_hides_nothing(text: str, prefix: str) -> None:
    """Rule 16: ::ffff:0:0/96, ::/96 and 64:ff9b::/96 are unwrapped before anything is compared."""
    network = IPv4Network(text)
    for address in (network.network_address, network.broadcast_address):
        ip = wrapped(prefix, address)
        if ip in (packed("::"), packed("::1")):
            continue  # unspecified and loopback, denied by their own names
        assert OPEN.refusal(ip, 443) == f"default deny {text}"


@pytest.mark.parametrize("prefix", WRAPPERS)
def test_public_addresses_stay_public_when_wrapped(prefix: str) -> None:
    """Rule 16: unwrapping only says where the packets go."""
    assert OPEN.refusal(wrapped(prefix, IPv4Address("8.8.8.8")), 443) is None


@pytest.mark.parametrize("text", ["8.8.8.8", "1.1.1.1", "2a00::8", "2606:4700::1111", "100.128.0.1", "172.32.0.1"])
def test_public_addresses_are_allowed(text: str) -> None:
    """Rule 16: what is not denied is allowed."""
    assert OPEN.refusal(packed(text)) is None
    assert OPEN.refusal(packed(text), 443) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("::192.0.2.1", "192.0.2.1"),
        ("64:ff9b::192.0.2.1", "192.0.2.1"),
        ("::", "::"),
        ("::1", "::1"),
        ("::2", "0.0.0.2"),
        ("64:ff9b:1::192.0.2.1", "64:ff9b:1::c000:201"),
        ("2002:c000:201::", "2002:c000:201::"),
        ("::fffe:192.0.2.1", "::fffe:c000:201"),
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::1"),
    ],
)
def test_the_canonical_address(text: str, expected: str) -> None:
    """Rule 16: three prefixes are unwrapped, others are what they are; :: and ::1 are not IPv4-compatible."""
    assert canonical(packed(text)) == ip_address(expected)


def test_own_listeners_are_refused_whatever_else_is_said() -> None:
    """Rule 16: the server's own listeners, and its admin addresses; even where the network is allowed by name."""
    listener = Address.parse("8.8.4.4", 3478)
    admin = Address.parse("::1", 9090)
    policy = PeerPolicy.build(
        allow=[IPv4Network("0.0.0.0/0"), IPv6Network("::/0")], listeners=[listener, admin], relays=[listener.ip]
    )
    assert policy.refusal(listener.ip, 3478) == "own listener"
    assert policy.refusal(wrapped("::ffff:0:0", IPv4Address("8.8.4.4")), 3478) == "own listener"
    assert policy.refusal(admin.ip, 9090) == "own listener"
    assert policy.refusal(listener.ip, 3479) is None
    assert policy.refusal(listener.ip) is None, "a permission is for an address; the port is asked for when it is known"


def test_own_relays_are_allowed_where_a_live_one_stands() -> None:
    """Rule 16: relay to relay is how a mesh behind two symmetric NATs works; nothing else of the server is a peer."""
    relay = packed("10.0.0.5")
    policy = PeerPolicy.build(relays=[relay])
    assert policy.refusal(relay) is None
    for port in (1, 22, 3478, 49152, 50000, 65535):
        for ip in (relay, wrapped("::ffff:0:0", IPv4Address("10.0.0.5"))):
            assert policy.refusal(ip, port) == "own address, not a relay port"
            assert policy.refusal(ip, port, relayed=True) is None
    assert policy.refusal(packed("10.0.0.6"), 50000) == "default deny 10.0.0.0/8"


EVERYTHING = [IPv4Network("0.0.0.0/0"), IPv6Network("::/0")]


@pytest.mark.parametrize("spelling", ["0.0.0.0", "::", "::ffff:0.0.0.0", "64:ff9b::0.0.0.0"])
def test_the_unspecified_address_is_no_peer_whatever_is_allowed(spelling: str) -> None:
    """Rule 16: the system would take it for this host, and every service of it."""
    policy = PeerPolicy.build(allow=EVERYTHING, listeners=[Address.parse("192.0.2.1", 3478)])
    for port in (None, 22, 3478):
        assert policy.refusal(packed(spelling), port) is not None


@pytest.mark.parametrize(
    "spelling",
    [
        "192.0.2.1",
        "::ffff:192.0.2.1",
        "::192.0.2.1",
        "64:ff9b::192.0.2.1",
        "::ffff:0:192.0.2.1",
        "64:ff9b:1::192.0.2.1",
        "2002:c000:201::1",
    ],
)
def test_own_listeners_are_refused_in_every_spelling(spelling: str) -> None:
    """Rule 16: mapped, compatible, NAT64, SIIT and 6to4; under an allow for everything."""
    policy = PeerPolicy.build(allow=EVERYTHING, listeners=[Address.parse("192.0.2.1", 3478)])
    assert policy.refusal(packed(spelling), 3478) == "own listener"
    assert policy.depends_on_port(packed(spelling))
    assert policy.refusal(packed(spelling), 3479) is None


@pytest.mark.parametrize("wildcard", ["0.0.0.0", "::"])
def test_a_listener_on_every_address_is_refused_on_every_local_one(wildcard: str) -> None:
    """Rule 16: loopback, the addresses of relays and all others of the host."""
    relay, local, elsewhere = packed("192.0.2.1"), packed("192.0.2.2"), packed("192.0.2.3")
    policy = PeerPolicy.build(
        allow=EVERYTHING, listeners=[Address.parse(wildcard, 3478)], relays=[relay], local=[local]
    )
    for ip in (relay, local, packed("127.0.0.1"), packed("127.9.9.9"), packed("::ffff:127.0.0.1")):
        assert policy.refusal(ip, 3478) == "own listener"
        assert policy.depends_on_port(ip)
    assert policy.refusal(elsewhere, 3478) is None
    assert policy.refusal(local, 3479) is None
    assert policy.refusal(packed("::1"), 3478) == ("own listener" if wildcard == "::" else None)


def test_deny_comes_before_allow() -> None:
    """Rule 16: what the operator denies is denied, however it is also allowed, or the server's own."""
    own = packed("9.9.9.9")
    policy = PeerPolicy.build(
        allow=[IPv4Network("8.0.0.0/8")], deny=[IPv4Network("8.8.8.8/32"), IPv4Network("9.9.9.9/32")], relays=[own]
    )
    assert policy.refusal(packed("8.8.8.8")) == "deny 8.8.8.8/32"
    assert policy.refusal(packed("8.8.8.9")) is None
    assert policy.refusal(own, 50000) == "deny 9.9.9.9/32"
    assert policy.refusal(wrapped("64:ff9b::", IPv4Address("8.8.8.8"))) == "deny 8.8.8.8/32"


def test_allow_comes_before_the_defaults() -> None:
    """Rule 16: an office that relays into its own network allows that network, and no other."""
    policy = PeerPolicy.build(allow=[IPv4Network("10.1.0.0/16"), IPv6Network("fd00:1::/32")])
    assert policy.refusal(packed("10.1.2.3"), 80) is None
    assert policy.refusal(wrapped("::ffff:0:0", IPv4Address("10.1.2.3")), 80) is None
    assert policy.refusal(packed("fd00:1::5"), 80) is None
    assert policy.refusal(packed("10.2.0.1"), 80) == "default deny 10.0.0.0/8"
    assert policy.refusal(packed("fd00:2::5"), 80) == "default deny fc00::/7"


def test_which_addresses_depend_on_the_port() -> None:
    """Rule 16: for the server's own addresses a permission is not enough; every packet is asked about."""
    policy = PeerPolicy.build(listeners=[Address.parse("8.8.4.4", 3478)], relays=[packed("9.9.9.9")])
    assert policy.depends_on_port(packed("8.8.4.4"))
    assert policy.depends_on_port(packed("::ffff:8.8.4.4"))
    assert policy.depends_on_port(packed("9.9.9.9"))
    assert not policy.depends_on_port(packed("8.8.8.8"))


def test_the_policy_of_a_configuration() -> None:
    """Rule 16: own listeners refused, own relays (bound and external) allowed where a live relay stands."""
    chosen = load_mapping(
        {"relay": {"ports": "50000-50100"}, "peers": {"allow": ["10.0.0.0/8"], "deny": ["8.8.8.0/24"]}}
    )
    loopback, public = packed("127.0.0.1"), packed("203.0.113.9")
    own = OwnAddresses((RelayAddress(loopback, public),), (Address.parse("10.1.1.1", 3478),))
    policy = PeerPolicy.of(chosen.config, own)
    assert policy.refusal(packed("10.1.1.1"), 3478) == "own listener"
    assert policy.refusal(packed("10.1.1.1"), 3479) is None
    for relay in (loopback, public):
        assert policy.refusal(relay, 50050, relayed=True) is None
        assert policy.refusal(relay, 50050) is not None
    assert policy.refusal(packed("8.8.8.8")) == "deny 8.8.8.0/24"
    assert policy.refusal(packed("9.9.9.9")) is None


def test_a_listener_behind_nat_is_refused_by_its_public_address() -> None:
    """Rules 16 and 23: 1:1 NAT keeps ports, so it is the same listener."""
    chosen = load_mapping({"relay": {"external": {"10.1.1.1": "203.0.113.9"}}, "peers": {"allow": ["0.0.0.0/0"]}})
    policy = PeerPolicy.of(chosen.config, OwnAddresses((), (Address.parse("10.1.1.1", 3478),)))
    for text in ("10.1.1.1", "203.0.113.9", "::ffff:203.0.113.9"):
        assert policy.refusal(packed(text), 3478) == "own listener"
