"""``Forwarded`` and ``X-Forwarded-For``: whatever a client writes into them, it is not taken for another one."""

from collections.abc import Iterator
from ipaddress import ip_network

from multidict import CIMultiDict

from stun.address import Address
from tests.turnserver.http.test_forwarded import SETS
from turnserver.http.forwarded import MAX_VALUE, is_forwarded, read_told
from turnserver.proxies import Networks

__all__ = ["MAX_LENGTH", "WORDS", "run", "seeds"]

MAX_LENGTH = 2 * MAX_VALUE
WORDS = (b"Forwarded: ", b"X-Forwarded-For: ", b"for=", b'for="[', b"proto=https", b"host=", b";", b", ", b'\\"', b'"')
_PROXY = Address.parse("127.0.0.1", 0)
_PROXIES = Networks(map(ip_network, ("127.0.0.0/8", "10.0.0.0/8", "fd00::/8")))
_CLIENT = "203.0.113.9"


def seeds() -> Iterator[bytes]:
    """Headers as proxies and forgers write them."""
    for fields in SETS.values():
        yield "\n".join(f"{name}: {value}" for name, value in fields).encode()


def run(data: bytes) -> None:
    """Nothing is raised; and an address that the proxy has added at the end is the client's, or nobody is."""
    headers: CIMultiDict[str] = CIMultiDict()
    for line in data.decode("utf-8", "surrogateescape").split("\n"):
        name, _, value = line.partition(":")
        headers.add(name, value.strip())
    told = read_told(headers, _PROXY, _PROXIES)
    assert told == read_told(headers, _PROXY, _PROXIES)
    assert is_forwarded(headers) or told.client is None
    assert told.host.isascii()
    assert 0 <= told.port <= 0xFFFF
    # Proxies write into the same field, or into one more, and they drop headers of the kind that they do not write.
    for kind, entry in (("X-Forwarded-For", _CLIENT), ("Forwarded", f"for={_CLIENT}")):
        own = headers.getall(kind, [])
        joined = read_told(CIMultiDict([(kind, ", ".join([*own, entry]))]), _PROXY, _PROXIES)
        added = read_told(CIMultiDict([*((kind, value) for value in own), (kind, entry)]), _PROXY, _PROXIES)
        for found in (joined, added):
            assert found.client is None or found.client.host == _CLIENT, (kind, found)
        assert added.client is not None
