"""Errors of listeners in words."""

import errno
import os

import pytest

from stun.address import Address
from turnserver.transports.startup import startup_error

V4 = Address.parse("192.0.2.1", 443)
V6 = Address.parse("2001:db8::1", 3478)


@pytest.mark.parametrize(
    ("number", "address", "message", "hint"),
    [
        (errno.EADDRINUSE, V4, "TCP 192.0.2.1:443 is already in use.", "sport = :443"),
        (errno.EACCES, V4, "privileged port", "1024"),
        (errno.EACCES, V6, "cannot be used: Permission denied", "address and port"),
        (errno.EADDRNOTAVAIL, V4, "192.0.2.1 is not an address of this machine", "external"),
        (errno.EAFNOSUPPORT, V6, "this machine has no IPv6", "IPv6 listeners"),
        (errno.EINVAL, V6, "TCP [2001:db8::1]:3478 cannot be used: Invalid argument.", "address and port"),
    ],
)
def test_every_failure_says_what_to_do(number: int, address: Address, message: str, hint: str) -> None:
    """A start that fails is a sentence and a hint, not a traceback."""
    error = startup_error("TCP", address, OSError(number, errno_text(number)))
    assert message in str(error)
    assert hint in error.hint


def errno_text(number: int) -> str:
    return os.strerror(number)
