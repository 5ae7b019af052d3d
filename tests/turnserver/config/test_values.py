"""Every kind of value: what it takes, what it refuses, what it says."""

from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from turnserver.config import Config
from turnserver.config.values import (
    AddressOption,
    Boolean,
    NetworkOption,
    PortRangeOption,
    RealmText,
    SeparatorText,
    SoftwareText,
    UnicastAddress,
    UserName,
    choice,
    describe,
    duration,
    integer,
    kind_of,
)
from turnserver.core.types import PortRange

NOT_EVEN_CLOSE = [None, [], {}, object(), b"1", 1.5]


def read(kind: Any, value: object) -> Any:
    return TypeAdapter(kind).validate_python(value)


def rule(made: Any) -> Any:
    from typing import Annotated

    return Annotated[Any, made]


def refuses(kind: Any, values: list[Any]) -> None:
    for value in values:
        with pytest.raises(ValidationError) as caught:
            read(kind, value)
        (error,) = caught.value.errors()
        assert error["type"] == "refused"
        assert error["ctx"]["allowed"]


def test_integer() -> None:
    kind = rule(integer(1, 10))
    assert [read(kind, value) for value in (1, 10)] == [1, 10]
    refuses(kind, [0, 11, -1, True, False, "5", 10**400, float("nan"), *NOT_EVEN_CLOSE])


@pytest.mark.parametrize(
    ("text", "seconds"),
    [(60, 60), ("60", 60), ("60s", 60), ("10m", 600), ("1h", 3600), ("1h30m", 5400), ("1d", 86400), ("1w", 604800)],
)
def test_duration(text: object, seconds: int) -> None:
    assert read(rule(duration(1, 604800)), text) == seconds


def test_duration_refuses() -> None:
    kind = rule(duration(60, 3600))
    refuses(
        kind, [59, 3601, "59s", "2h", "", "m", "10 m", "-5m", "1.5h", "10M", "1\u0660m", "9" * 5000, "9" * 10 + "s"]
    )
    refuses(kind, [True, 600.0, *NOT_EVEN_CLOSE])


def test_choice_and_boolean() -> None:
    from typing import Literal

    kind = rule(choice(Literal["a", "b"]))
    assert read(kind, "a") == "a"
    refuses(kind, ["", "A", "ab", 1, *NOT_EVEN_CLOSE])
    assert read(Boolean, True) is True
    refuses(Boolean, [0, 1, "true", "yes", *NOT_EVEN_CLOSE])


def test_realm() -> None:
    """RFC 8489 §14.9: fewer than 128 characters, a quoted-string without the quotes, an OpaqueString."""
    assert read(RealmText, "example.org") == "example.org"
    assert read(RealmText, "cafe\u0301") == "caf\u00e9"
    assert read(RealmText, "r" * 127) == "r" * 127
    refuses(RealmText, ["", "r" * 128, 'a"b', "a\\b", " a", "a ", "a\nb", "\ud800", 1234, *NOT_EVEN_CLOSE])


def test_software() -> None:
    """RFC 8489 §14.14: fewer than 128 characters; empty sends none."""
    assert [read(SoftwareText, text) for text in ("", "mesh turn", "s" * 127)] == ["", "mesh turn", "s" * 127]
    refuses(SoftwareText, ["s" * 128, "a\nb", "\ud800", 7, *NOT_EVEN_CLOSE])


def test_separator() -> None:
    """Rule 24: a separator that is empty or holds a digit could not be told from the expiry."""
    assert [read(SeparatorText, text) for text in (":", "-", "::", "|")] == [":", "-", "::", "|"]
    refuses(SeparatorText, ["", "1", "a1", "\u0661", "\n", "-" * 9, 1, *NOT_EVEN_CLOSE])


def test_user_name() -> None:
    """RFC 8489 §14.3: an OpaqueString of at most 508 bytes."""
    assert read(UserName, "cafe\u0301") == "caf\u00e9"
    assert read(UserName, "u" * 508) == "u" * 508
    refuses(UserName, ["", "u" * 509, "\u00e9" * 255, "a\x00", "\udfff", 1234, *NOT_EVEN_CLOSE])


def test_addresses() -> None:
    for kind in (AddressOption, UnicastAddress):
        for text in ("192.0.2.1", "2001:db8::1", "127.0.0.1", "::1"):
            assert read(kind, text) == ip_address(text)
            assert read(kind, ip_address(text)) == ip_address(text)
        refuses(kind, ["", "localhost", "1.2.3", "1.2.3.256", "01.2.3.4", "224.0.0.1", "ff02::1", "255.255.255.255"])
        refuses(kind, ["fe80::1%eth0", "1.2.3.4/32", "x" * 10_000, 16909060, True, *NOT_EVEN_CLOSE])
    for wildcard in ("0.0.0.0", "::"):
        assert read(AddressOption, wildcard) == ip_address(wildcard)
        refuses(UnicastAddress, [wildcard])


def test_mapped_address_is_told_as_what_it_is() -> None:
    """Rule 23: addresses of IPv4 are plain IPv4."""
    with pytest.raises(ValidationError, match=r"allowed: the IPv4 address itself: 192\.0\.2\.1"):
        read(AddressOption, "::ffff:192.0.2.1")


def test_networks() -> None:
    for text in ("10.0.0.0/8", "fd00::/8", "10.1.2.3", "::1", "10.0.0.0/255.0.0.0"):
        assert read(NetworkOption, text) == ip_network(text)
        assert read(NetworkOption, ip_network(text)) == ip_network(text)
    refuses(NetworkOption, ["", "10.0.0.0/33", "banana", "10.0.0.0/", "fe80::%1/64", "1" * 10_000, 10, *NOT_EVEN_CLOSE])


@pytest.mark.parametrize(("text", "meant"), [("10.1.2.3/8", "10.0.0.0/8"), ("fd00::1/8", "fd00::/8")])
def test_network_with_host_bits_says_the_network(text: str, meant: str) -> None:
    with pytest.raises(ValidationError) as caught:
        read(NetworkOption, text)
    assert meant in caught.value.errors()[0]["ctx"]["allowed"]


def test_ports() -> None:
    """RFC 8656 §7.2: unprivileged ports, and at least a pair."""
    assert read(PortRangeOption, "49152-65535") == PortRange(49152, 65535)
    assert read(PortRangeOption, "1024 - 1025") == PortRange(1024, 1025)
    assert read(PortRangeOption, PortRange(50000, 50001)) == PortRange(50000, 50001)
    assert str(PortRange(1, 2)) == "1-2"
    refuses(PortRangeOption, ["1023-2000", "5000-5000", "6000-5000", "60000-65536", "5000", "", "a-b", "1024-99999999"])
    refuses(PortRangeOption, [5000, PortRange(1, 2), (5000, 6000), "\u0665000-6000", *NOT_EVEN_CLOSE])


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists, max_leaves=3))
def test_anything_is_described_in_a_few_printable_words(value: object) -> None:
    assert 0 < len(describe(value)) <= 130
    assert describe(value).isprintable()
    assert kind_of(value) in {"nothing", "a list", "a text", "a number or a boolean"}


def test_kind_says_nothing_of_the_value() -> None:
    assert [kind_of(value) for value in ("hush", 1234, {"hush": 1}, ["hush"], b"hush")] == [
        "a text",
        "a number or a boolean",
        "a mapping",
        "a list",
        "a value of type bytes",
    ]


@pytest.mark.parametrize("text", ["192.0.2.1:3478", "[2001:db8::1]:443", "[::ffff:192.0.2.1]:1"])
def test_endpoints_read_as_they_are_written(text: str) -> None:
    assert Config.model_validate({"alternate_servers": [text]}).alternate_servers[0].port in {3478, 443, 1}


@pytest.mark.parametrize(
    "text", ["192.0.2.1", "192.0.2.1:0", "192.0.2.1:65536", "2001:db8::1:443", "[::1]", "a:1", 7, None]
)
def test_what_is_no_endpoint_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="ADDRESS:PORT"):
        Config.model_validate({"alternate_servers": [text]})


def test_alternate_servers_are_one_per_family() -> None:
    with pytest.raises(ValueError, match="at most one IPv4"):
        Config.model_validate({"alternate_servers": ["192.0.2.1:1", "192.0.2.2:1"]})
