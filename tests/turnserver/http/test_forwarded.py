"""What proxies say in headers: as they write it, as clients forge it, and as nobody should."""

from ipaddress import ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from multidict import CIMultiDict

from stun.address import Address
from turnserver.http.forwarded import MAX_HOPS, MAX_VALUE, Told, is_forwarded, read_told
from turnserver.proxies import Networks

PROXY = Address.parse("127.0.0.1", 0)
PROXIES = Networks(map(ip_network, ("127.0.0.0/8", "10.0.0.0/8", "fd00::/8")))
CLIENT = "203.0.113.9"


def told(*fields: tuple[str, str]) -> Told:
    return read_told(CIMultiDict(fields), PROXY, PROXIES)


def client_of(*fields: tuple[str, str]) -> str | None:
    found = told(*fields).client
    return None if found is None else found.host


def for_list(*values: str) -> list[tuple[str, str]]:
    return [("X-Forwarded-For", value) for value in values]


SETS = {
    "nginx, as the how-to page has it": [
        ("Host", "meet.example.org"),
        ("X-Forwarded-For", f"6.6.6.6, {CLIENT}"),
        ("X-Forwarded-Proto", "https"),
    ],
    "HAProxy": [("X-Forwarded-For", "6.6.6.6"), ("X-Forwarded-For", CLIENT), ("X-Forwarded-Proto", "https")],
    "Caddy": [
        ("X-Forwarded-For", CLIENT),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Host", "meet.example.org"),
        ("Via", "2.0 Caddy"),
    ],
    "Traefik": [
        ("X-Forwarded-For", CLIENT),
        ("X-Forwarded-Host", "meet.example.org"),
        ("X-Forwarded-Port", "443"),
        ("X-Forwarded-Proto", "wss"),
        ("X-Forwarded-Server", "c0ffee"),
        ("X-Real-Ip", CLIENT),
    ],
    "an Azure gateway, with ports": [("X-Forwarded-For", f"{CLIENT}:51234"), ("X-Forwarded-Proto", "https")],
    "a CDN in front of nginx": [
        ("X-Forwarded-For", f"6.6.6.6, {CLIENT}, 10.0.0.3"),
        ("X-Forwarded-Proto", "https, http"),
    ],
    "RFC 7239": [("Forwarded", f'for=6.6.6.6, for="{CLIENT}:4711";proto=https;host=meet.example.org;by=10.0.0.3')],
    "RFC 7239, two fields and two proxies": [
        ("Forwarded", f"for={CLIENT};proto=https;host=meet.example.org"),
        ("Forwarded", "FOR=10.0.0.3 ; Proto=http"),
    ],
    "both, which agree": [("Forwarded", f"for={CLIENT};proto=https"), ("X-Forwarded-For", CLIENT)],
}


@pytest.mark.parametrize("fields", SETS.values(), ids=SETS)
def test_what_proxies_send(fields: list[tuple[str, str]]) -> None:
    """The last address that is no proxy's is the client's, whatever the client has written before it."""
    assert is_forwarded(CIMultiDict(fields))
    found = told(*fields)
    assert (found.client, found.scheme, found.disputed) == (Address.parse(CLIENT, 0), "https", False)
    assert found.host in {"", "meet.example.org"}


def test_nothing_is_nothing() -> None:
    assert told(("Host", "x"), ("X-Real-IP", "6.6.6.6"), ("Via", "x")) == Told()
    assert not is_forwarded(CIMultiDict([("Host", "x"), ("X-Real-IP", "6.6.6.6")]))


@pytest.mark.parametrize(
    ("node", "host"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("192.0.2.1:4711", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("[2001:DB8:0::1]:4711", "2001:db8::1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("unknown", None),
        ("_hidden", None),
        ("_hidden:_port", None),
        ("192.0.2.01", None),
        ("192.0.2.1:port", None),
        ("192.0.2", None),
        ("fe80::1%eth0", None),
        ("[::1", None),
        ("meet.example.org", None),
        ("\u0661.2.3.4", None),
        ("1" * 4000, None),
    ],
)
def test_names_of_clients(node: str, host: str | None) -> None:
    """RFC 7239 §6: addresses with ports or without; what hides a client, or is none, leaves the proxy in its place."""
    assert client_of(*for_list(node)) == host
    assert client_of(*for_list(f"6.6.6.6, {node}")) == host, "not what stands further left"
    if '"' not in node and node.isascii():
        assert client_of(("Forwarded", f'for=6.6.6.6, for="{node}"')) == host


def test_where_a_proxy_hides_its_client_the_proxy_stands_for_it() -> None:
    """The last one that is known: clients of other proxies are not affected by what this one's do."""
    assert client_of(*for_list("6.6.6.6, unknown, 10.0.0.3")) == "10.0.0.3"
    assert client_of(*for_list("unknown, 10.0.0.3, 10.0.0.4")) == "10.0.0.3"


def test_a_client_inside_is_the_first_of_the_list() -> None:
    assert client_of(*for_list("10.0.0.9, 10.0.0.3")) == "10.0.0.9"


@pytest.mark.parametrize(
    "forged",
    [
        'for="6.6.6.6',
        'for=6.6.6.6;x="',
        'for="6.6.6.6\\',
        "for=6.6.6.6;for=7.7.7.7",
        "for=6.6.6.6 7.7.7.7",
        "6.6.6.6",
        "for",
        "=",
        'for="6.6.6.6"x',
        "for=6.6.6.6;\u00e4=1",
    ],
)
@pytest.mark.parametrize("real", [f"for={CLIENT};proto=https", 'for="[2001:db8::1]:7";proto=https'])
def test_a_client_cannot_hide_what_its_proxy_adds(forged: str, real: str) -> None:
    """An open quotation mark would make the proxy's element a part of the client's: such a field is not believed."""
    assert client_of(("Forwarded", f"{forged}, {real}")) is None
    expected = CLIENT if CLIENT in real else "2001:db8::1"
    assert client_of(("Forwarded", forged), ("Forwarded", real)) == expected, "a field of its own is whole"


def test_two_headers_that_differ_are_believed_neither() -> None:
    """Most proxies write one of them, and pass the other on: any client could choose its address there."""
    for forged, real in (
        (("Forwarded", "for=6.6.6.6"), ("X-Forwarded-For", CLIENT)),
        (("X-Forwarded-For", "6.6.6.6"), ("Forwarded", f"for={CLIENT}")),
        (("Forwarded", "for=6.6.6.6"), ("X-Forwarded-Proto", "https")),
    ):
        found = told(forged, real)
        assert (found.client, found.disputed) == (None, True)
    schemes = (
        ("Forwarded", f"for={CLIENT};proto=http;host=a"),
        ("X-Forwarded-For", CLIENT),
        ("X-Forwarded-Proto", "https"),
    )
    assert told(*schemes).scheme == ""
    assert told(*schemes).host == "a"


def test_scheme_and_host_are_those_of_the_outermost_proxy() -> None:
    """Of those that are trusted: what stands further left is the client's own word."""
    chain = for_list(f"6.6.6.6, {CLIENT}, 10.0.0.3")
    found = told(
        *chain, ("X-Forwarded-Proto", "ftp, https, http"), ("X-Forwarded-Host", "evil, meet.example.org:8443, inner")
    )
    assert (found.scheme, found.host) == ("https", "meet.example.org:8443")
    found = told(("Forwarded", f"for=6.6.6.6;host=evil, for={CLIENT};host=outer, for=10.0.0.3;proto=http;host=inner"))
    assert (found.scheme, found.host) == ("http", "outer")
    assert told(*chain, ("X-Forwarded-Proto", "https")).scheme == "https", "some proxies replace it"


@pytest.mark.parametrize("value", ["", "ftp", "https://", "http s", "javascript", "x" * 5000])
def test_other_schemes_and_hosts_are_none(value: str) -> None:
    found = told(("X-Forwarded-Proto", value), ("X-Forwarded-Host", f"{value}/ {value}"), ("X-Forwarded-Port", value))
    assert (found.scheme, found.host, found.port) == ("", "", 0)


@pytest.mark.parametrize(
    ("text", "port"), [("8443", 8443), ("0", 0), ("65536", 0), ("99999", 0), ("-1", 0), ("8443, 80", 80)]
)
def test_ports(text: str, port: int) -> None:
    assert told(("X-Forwarded-Port", text)).port == port


def test_lists_of_any_length_cost_little_and_end_the_same() -> None:
    """The end of a list is the proxies'; how much a client puts before it makes no difference."""
    many = ", ".join(["6.6.6.6"] * 1000)
    assert client_of(*for_list(many, f"{many}, {CLIENT}")) == CLIENT
    assert client_of(*[("X-Forwarded-For", "6.6.6.6")] * 90, *for_list(CLIENT)) == CLIENT
    trusted = ",".join(["10.0.0.3"] * (MAX_VALUE // 9 + 1))
    assert client_of(*for_list(f"{CLIENT}, {trusted}")) == "10.0.0.3"
    cut = f"1{CLIENT}{',' * (MAX_VALUE - len(CLIENT))}"
    assert client_of(*for_list(cut)) is None, "an entry that is cut off is another address"
    assert client_of(("Forwarded", "x" * MAX_VALUE), ("Forwarded", f"for={CLIENT}")) == CLIENT
    assert client_of(("Forwarded", f"for=6.6.6.6;x={'x' * MAX_VALUE}, for={CLIENT}")) is None
    assert client_of(*[("Forwarded", "for=10.0.0.3")] * (MAX_HOPS + 5)) == "10.0.0.3"


def test_empty_entries_do_not_count() -> None:
    """RFC 9110 §5.6.1.2."""
    assert client_of(*for_list("", f" ,{CLIENT}, ,\t", "")) == CLIENT
    assert client_of(("Forwarded", f",;, for={CLIENT};;, ,"), ("Forwarded", "")) == CLIENT


TEXT = st.text(st.sampled_from('for=by;proto,host"\\[]:._1236 \tabc'), max_size=60) | st.text(max_size=30)


@settings(deadline=None)
@given(st.lists(TEXT, max_size=4), st.sampled_from(["Forwarded", "X-Forwarded-For"]))
def test_whatever_comes_before_a_proxys_own_field(forged: list[str], name: str) -> None:
    """No text raises, and none of it is believed before the field that the proxy has added."""
    own = f"for={CLIENT};proto=https" if name == "Forwarded" else CLIENT
    assert client_of(*((name, text) for text in forged), (name, own)) == CLIENT
    assert client_of(*((name, text) for text in forged), (name, f"{''.join(forged)},{own}")) in {CLIENT, None}
