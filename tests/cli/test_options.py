"""The parameter types that commands share."""

import click
import pytest

from cli.options import parse_duration, parse_ip


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("1s", 1),
        ("15m", 900),
        ("1h", 3600),
        ("1h30m", 5400),
        ("1d", 86400),
        ("2w", 1209600),
        (" 1H ", 3600),
        ("366d", 31622400),
    ],
)
def test_durations(text: str, seconds: int) -> None:
    """Rule 24: the lifetime of a credential, in the units people use."""
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "0", "0h", "-1h", "1.5h", "1x", "h", "1h x", "367d", "9999999999", "١h", "1h\n2"])
def test_what_is_no_duration(text: str) -> None:
    """Rule 24: a lifetime that is none, negative, or longer than a year is a usage error."""
    with pytest.raises(click.BadParameter):
        parse_duration(text)


def test_addresses() -> None:
    """Rule 23: listeners and relays are named by address, in either family."""
    assert (parse_ip("127.0.0.1"), parse_ip("2001:DB8::0:1")) == ("127.0.0.1", "2001:db8::1")


@pytest.mark.parametrize("text", ["", "localhost", "127.0.0.1:80", "1.2.3", "[::1]", "127.0.0.1/8"])
def test_what_is_no_address(text: str) -> None:
    """Rule 23: names, networks and ports are usage errors."""
    with pytest.raises(click.BadParameter):
        parse_ip(text)
