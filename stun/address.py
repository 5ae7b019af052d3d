"""Transport addresses: packed IP and port, plain and XORed on the wire, text only at the edges (RFC 8489 §14.1–2)."""

from ipaddress import ip_address
from typing import Final, NamedTuple

from stun.constants import MAGIC_COOKIE, AddressFamily
from stun.errors import EncodeError, MalformedMessage

__all__ = ["Address"]

_COOKIE: Final = MAGIC_COOKIE.to_bytes(4, "big")
_COOKIE_PORT: Final = MAGIC_COOKIE >> 16
_MAPPED: Final = bytes(10) + b"\xff\xff"
_VALUE_SIZES: Final[dict[int, int]] = {AddressFamily.IPV4: 8, AddressFamily.IPV6: 20}


class Address(NamedTuple):
    """A transport address: ``ip`` packed (4 or 16 bytes, in network order) and ``port``."""

    ip: bytes
    port: int

    @classmethod
    def parse(cls, host: str, port: int) -> "Address":
        """From text. Raises ValueError if ``host`` is not an IP address or ``port`` not from 0 to 65535."""
        if not 0 <= port <= 0xFFFF:
            raise ValueError(f"not a port: {port}")
        return cls(ip_address(host).packed, port)

    @property
    def family(self) -> AddressFamily:
        """IPv4 or IPv6."""
        return AddressFamily.IPV4 if len(self.ip) == 4 else AddressFamily.IPV6

    @property
    def host(self) -> str:
        """The IP address as text."""
        return str(ip_address(self.ip))

    @property
    def is_loopback(self) -> bool:
        """True for 127.0.0.0/8, for ::1, and for 127.0.0.0/8 mapped into IPv6."""
        return ip_address(self.canonical().ip).is_loopback

    def canonical(self) -> "Address":
        """The same address with IPv4 unwrapped from ::ffff:0:0/96."""
        if len(self.ip) == 16 and self.ip[:12] == _MAPPED:
            return Address(self.ip[12:], self.port)
        return self

    def __str__(self) -> str:
        """``192.0.2.1:3478`` or ``[2001:db8::1]:3478``."""
        return f"{self.host}:{self.port}" if len(self.ip) == 4 else f"[{self.host}]:{self.port}"

    def pack(self) -> bytes:
        """The value of MAPPED-ADDRESS and its like (RFC 8489 §14.1)."""
        self._check()
        return bytes((0, self.family)) + self.port.to_bytes(2, "big") + self.ip

    def pack_xor(self, transaction_id: bytes) -> bytes:
        """The value of XOR-MAPPED-ADDRESS and its like (RFC 8489 §14.2)."""
        self._check()
        port = (self.port ^ _COOKIE_PORT).to_bytes(2, "big")
        return bytes((0, self.family)) + port + _xor(self.ip, transaction_id)

    @classmethod
    def unpack(cls, value: bytes) -> "Address":
        """From the value of MAPPED-ADDRESS and its like; the first byte is ignored. Raises `MalformedMessage`."""
        _check_value(value)
        return cls(bytes(value[4:]), value[2] << 8 | value[3])

    @classmethod
    def unpack_xor(cls, value: bytes, transaction_id: bytes) -> "Address":
        """From the value of XOR-MAPPED-ADDRESS and its like. Raises `MalformedMessage`."""
        _check_value(value)
        return cls(_xor(value[4:], transaction_id), (value[2] << 8 | value[3]) ^ _COOKIE_PORT)

    def _check(self) -> None:
        if len(self.ip) not in (4, 16) or not 0 <= self.port <= 0xFFFF:
            raise EncodeError("an address is 4 or 16 bytes and a port from 0 to 65535")


def _check_value(value: bytes) -> None:
    size = len(value)
    if size < 4 or size != _VALUE_SIZES.get(value[1]):
        raise MalformedMessage("an address of an unknown family, or of the wrong length for its family")


def _xor(ip: bytes, transaction_id: bytes) -> bytes:
    if len(ip) == 4:
        return (int.from_bytes(ip, "big") ^ MAGIC_COOKIE).to_bytes(4, "big")
    mask = int.from_bytes(_COOKIE + transaction_id, "big")
    return (int.from_bytes(ip, "big") ^ mask).to_bytes(16, "big")
