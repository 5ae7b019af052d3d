"""Every attribute of STUN and TURN: one table, number → name, RFC, decoder, encoder.

Values are decoded on access. A decoder raises `MalformedMessage` and nothing else; an encoder `EncodeError`. Bits and
bytes that the RFCs reserve are ignored when read and zero when written.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, Generic, NamedTuple, TypeVar

from stun.address import Address
from stun.constants import AddressFamily
from stun.errors import EncodeError, MalformedMessage

__all__ = [
    "ACCESS_TOKEN",
    "ADDITIONAL_ADDRESS_FAMILY",
    "ADDRESS_ERROR_CODE",
    "ALTERNATE_DOMAIN",
    "ALTERNATE_SERVER",
    "CACHE_TIMEOUT",
    "CHANGED_ADDRESS",
    "CHANGE_REQUEST",
    "CHANNEL_NUMBER",
    "CONNECTION_ID",
    "DATA",
    "DONT_FRAGMENT",
    "ERROR_CODE",
    "EVEN_PORT",
    "FINGERPRINT",
    "ICMP",
    "LIFETIME",
    "MAPPED_ADDRESS",
    "MESSAGE_INTEGRITY",
    "MESSAGE_INTEGRITY_SHA256",
    "MOBILITY_TICKET",
    "NONCE",
    "OTHER_ADDRESS",
    "PADDING",
    "PASSWORD_ALGORITHM",
    "PASSWORD_ALGORITHMS",
    "REALM",
    "REGISTRY",
    "REQUESTED_ADDRESS_FAMILY",
    "REQUESTED_TRANSPORT",
    "RESERVATION_TOKEN",
    "RESPONSE_ADDRESS",
    "RESPONSE_ORIGIN",
    "RESPONSE_PORT",
    "SOFTWARE",
    "SOURCE_ADDRESS",
    "THIRD_PARTY_AUTHORIZATION",
    "TRANSACTION_TRANSMIT_COUNTER",
    "UNKNOWN_ATTRIBUTES",
    "USERHASH",
    "USERNAME",
    "XOR_MAPPED_ADDRESS",
    "XOR_PEER_ADDRESS",
    "XOR_RELAYED_ADDRESS",
    "AddressErrorValue",
    "AlgorithmValue",
    "AttributeType",
    "ErrorValue",
    "IcmpValue",
    "TransmitCounterValue",
]

T = TypeVar("T")

MAX_USERNAME: Final = 508
"""Bytes (RFC 8489 §14.3: fewer than 509)."""

MAX_TEXT: Final = 763
"""Bytes of REALM, NONCE, SOFTWARE and reason phrases: fewer than 128 characters (RFC 8489 §14.8–14.10, §14.14)."""


class ErrorValue(NamedTuple):
    """ERROR-CODE: the code, from 300 to 699, and the reason phrase."""

    code: int
    reason: str


class AddressErrorValue(NamedTuple):
    """ADDRESS-ERROR-CODE: which family of a dual allocation failed, and why (RFC 8656 §18.12)."""

    family: int
    code: int
    reason: str


class AlgorithmValue(NamedTuple):
    """A password algorithm and its parameters (RFC 8489 §14.11)."""

    number: int
    parameters: bytes = b""


class IcmpValue(NamedTuple):
    """ICMP: type, code, and the 32-bit error data (RFC 8656 §18.13)."""

    type: int
    code: int
    data: int


class TransmitCounterValue(NamedTuple):
    """TRANSACTION_TRANSMIT_COUNTER: how often request and response were sent (RFC 7982 §3.1)."""

    request: int
    response: int


class AttributeType(Generic[T]):
    """One row of the table. ``decode`` and ``encode`` also take the transaction id, which XORed addresses need."""

    __slots__ = ("_decode", "_encode", "comprehension_required", "name", "number", "rfc")

    def __init__(
        self,
        number: int,
        name: str,
        rfc: str,
        decode: Callable[[bytes, bytes], T],
        encode: Callable[[T, bytes], bytes],
    ) -> None:
        self.number = number
        self.name = name
        self.rfc = rfc
        self.comprehension_required = number < 0x8000
        self._decode = decode
        self._encode = encode

    def __repr__(self) -> str:
        """Name and number."""
        return f"<{self.name} 0x{self.number:04x}>"

    def decode(self, value: bytes, transaction_id: bytes) -> T:
        """The value's meaning. Raises `MalformedMessage` if it has none."""
        return self._decode(value, transaction_id)

    def encode(self, value: T, transaction_id: bytes) -> bytes:
        """The bytes of a value. Raises `EncodeError` if it cannot be sent."""
        encoded = self._encode(value, transaction_id)
        if len(encoded) > 0xFFFF:
            raise EncodeError(f"{self.name} is too long")
        return encoded


_table: dict[int, AttributeType[Any]] = {}


def _row(number: int, name: str, rfc: str, codec: "_Codec[T]") -> AttributeType[T]:
    row = AttributeType(number, name, rfc, codec.decode, codec.encode)
    _table[number] = row
    return row


class _Codec(NamedTuple, Generic[T]):
    decode: Callable[[bytes, bytes], T]
    encode: Callable[[T, bytes], bytes]


def _text(most: int, characters: int | None = None) -> _Codec[str]:
    """UTF-8 of at most ``most`` bytes, and of at most ``characters`` characters when written."""

    def decode(value: bytes, transaction_id: bytes) -> str:
        if len(value) > most:
            raise MalformedMessage(f"a text of more than {most} bytes")
        try:
            return str(value, "utf-8")
        except UnicodeDecodeError:
            raise MalformedMessage("a text that is not UTF-8") from None

    def encode(value: str, transaction_id: bytes) -> bytes:
        try:
            encoded = value.encode()
        except UnicodeEncodeError:
            raise EncodeError("a text that is not Unicode") from None
        if len(encoded) > most or (characters is not None and len(value) > characters):
            raise EncodeError(f"a text of more than {characters or most} characters or {most} bytes")
        return encoded

    return _Codec(decode, encode)


def _octets(least: int = 0, most: int = 0xFFFF, multiple: int = 1) -> _Codec[bytes]:
    def fits(value: bytes) -> bool:
        return least <= len(value) <= most and len(value) % multiple == 0

    def decode(value: bytes, transaction_id: bytes) -> bytes:
        if not fits(value):
            raise MalformedMessage(f"a value of {len(value)} bytes")
        return value

    def encode(value: bytes, transaction_id: bytes) -> bytes:
        if not fits(value):
            raise EncodeError(f"a value of {len(value)} bytes")
        return bytes(value)

    return _Codec(decode, encode)


def _integer(size: int, reserved: int = 0) -> _Codec[int]:
    """A big-endian number of ``size`` bytes with ``reserved`` bytes after it."""

    def decode(value: bytes, transaction_id: bytes) -> int:
        if len(value) != size + reserved:
            raise MalformedMessage(f"a number of {len(value)} bytes")
        return int.from_bytes(value[:size], "big")

    def encode(value: int, transaction_id: bytes) -> bytes:
        try:
            return value.to_bytes(size, "big") + bytes(reserved)
        except OverflowError:
            raise EncodeError(f"{value} does not fit in {size} bytes") from None

    return _Codec(decode, encode)


_SHORT: Final = _integer(2)


def _decode_flag(value: bytes, transaction_id: bytes) -> bool:
    if value:
        raise MalformedMessage("a flag with a value")
    return True


def _encode_flag(value: bool, transaction_id: bytes) -> bytes:
    if not value:
        raise EncodeError("a flag has no value for False: leave the attribute out")
    return b""


def _decode_even_port(value: bytes, transaction_id: bytes) -> bool:
    if len(value) != 1:
        raise MalformedMessage("EVEN-PORT is one byte")
    return value[0] & 0x80 != 0


def _encode_even_port(value: bool, transaction_id: bytes) -> bytes:
    return b"\x80" if value else b"\x00"


def _decode_address(value: bytes, transaction_id: bytes) -> Address:
    return Address.unpack(value)


def _encode_address(value: Address, transaction_id: bytes) -> bytes:
    return value.pack()


def _decode_error(value: bytes, transaction_id: bytes) -> ErrorValue:
    if len(value) < 4:
        raise MalformedMessage("ERROR-CODE is at least four bytes")
    hundreds, number = value[2] & 7, value[3]
    if not 3 <= hundreds <= 6 or number > 99:
        raise MalformedMessage("ERROR-CODE out of range")
    return ErrorValue(hundreds * 100 + number, _REASON.decode(value[4:], transaction_id))


def _encode_error(value: ErrorValue, transaction_id: bytes) -> bytes:
    if not 300 <= value.code <= 699:
        raise EncodeError(f"no error code: {value.code}")
    return bytes((0, 0, *divmod(value.code, 100))) + _REASON.encode(value.reason, transaction_id)


def _decode_address_error(value: bytes, transaction_id: bytes) -> AddressErrorValue:
    if len(value) < 4:
        raise MalformedMessage("ADDRESS-ERROR-CODE is at least four bytes")
    return AddressErrorValue(value[0], *_decode_error(value, transaction_id))


def _encode_address_error(value: AddressErrorValue, transaction_id: bytes) -> bytes:
    if value.family not in tuple(AddressFamily):
        raise EncodeError(f"no address family: {value.family}")
    encoded = _encode_error(ErrorValue(value.code, value.reason), transaction_id)
    return bytes((value.family,)) + encoded[1:]


def _decode_numbers(value: bytes, transaction_id: bytes) -> tuple[int, ...]:
    if len(value) % 2:
        raise MalformedMessage("UNKNOWN-ATTRIBUTES is a list of 16-bit numbers")
    return tuple(int.from_bytes(value[at : at + 2], "big") for at in range(0, len(value), 2))


def _encode_numbers(value: tuple[int, ...], transaction_id: bytes) -> bytes:
    return b"".join(_SHORT.encode(number, transaction_id) for number in value)


def _decode_algorithms(value: bytes, transaction_id: bytes) -> tuple[AlgorithmValue, ...]:
    """RFC 8489 §14.11: for each algorithm its number, the length of its parameters, and these padded to four bytes."""
    found = []
    at = 0
    while at < len(value):
        if at + 4 > len(value):
            raise MalformedMessage("a password algorithm cut short")
        size = int.from_bytes(value[at + 2 : at + 4], "big")
        padded = size + -size % 4
        if at + 4 + size > len(value):
            raise MalformedMessage("a password algorithm cut short")
        found.append(AlgorithmValue(int.from_bytes(value[at : at + 2], "big"), value[at + 4 : at + 4 + size]))
        at += 4 + padded
    if not found:
        raise MalformedMessage("no password algorithm")
    return tuple(found)


def _encode_algorithms(value: tuple[AlgorithmValue, ...], transaction_id: bytes) -> bytes:
    if not value:
        raise EncodeError("no password algorithm")
    parts = []
    for number, parameters in value:
        head = _SHORT.encode(number, transaction_id) + _SHORT.encode(len(parameters), transaction_id)
        parts.append(head + parameters + bytes(-len(parameters) % 4))
    return b"".join(parts)


def _decode_algorithm(value: bytes, transaction_id: bytes) -> AlgorithmValue:
    found = _decode_algorithms(value, transaction_id)
    if len(found) != 1:
        raise MalformedMessage("PASSWORD-ALGORITHM is one algorithm")
    return found[0]


def _encode_algorithm(value: AlgorithmValue, transaction_id: bytes) -> bytes:
    return _encode_algorithms((value,), transaction_id)


def _decode_icmp(value: bytes, transaction_id: bytes) -> IcmpValue:
    """RFC 8656 §18.13: 16 reserved bits, type (7 bits), code (9 bits), 32 bits of error data."""
    if len(value) != 8:
        raise MalformedMessage("ICMP is eight bytes")
    return IcmpValue(value[2] >> 1, (value[2] & 1) << 8 | value[3], int.from_bytes(value[4:], "big"))


def _encode_icmp(value: IcmpValue, transaction_id: bytes) -> bytes:
    if not (0 <= value.type < 1 << 7 and 0 <= value.code < 1 << 9 and 0 <= value.data < 1 << 32):
        raise EncodeError("an ICMP type, code or data out of range")
    return (value.type << 9 | value.code).to_bytes(4, "big") + value.data.to_bytes(4, "big")


def _decode_counter(value: bytes, transaction_id: bytes) -> TransmitCounterValue:
    if len(value) != 4:
        raise MalformedMessage("TRANSACTION_TRANSMIT_COUNTER is four bytes")
    return TransmitCounterValue(value[2], value[3])


def _encode_counter(value: TransmitCounterValue, transaction_id: bytes) -> bytes:
    if not (0 <= value.request <= 0xFF and 0 <= value.response <= 0xFF):
        raise EncodeError("a counter out of range")
    return bytes((0, 0, value.request, value.response))


_REASON: Final = _text(MAX_TEXT, 127)
_ADDRESS: Final = _Codec(_decode_address, _encode_address)
_XOR_ADDRESS: Final = _Codec(Address.unpack_xor, Address.pack_xor)
_FLAG: Final = _Codec(_decode_flag, _encode_flag)
_ANY: Final = _octets()
_TEXT: Final = _text(MAX_TEXT, 127)
_INTEGRITY_SHA256: Final = _octets(16, 32, 4)

# Comprehension-required: 0x0000–0x7FFF
MAPPED_ADDRESS = _row(0x0001, "MAPPED-ADDRESS", "RFC 8489 §14.1", _ADDRESS)
RESPONSE_ADDRESS = _row(0x0002, "RESPONSE-ADDRESS", "RFC 3489 §11.2.2", _ADDRESS)
CHANGE_REQUEST = _row(0x0003, "CHANGE-REQUEST", "RFC 5780 §7.2", _integer(4))
SOURCE_ADDRESS = _row(0x0004, "SOURCE-ADDRESS", "RFC 3489 §11.2.5", _ADDRESS)
CHANGED_ADDRESS = _row(0x0005, "CHANGED-ADDRESS", "RFC 3489 §11.2.3", _ADDRESS)
USERNAME = _row(0x0006, "USERNAME", "RFC 8489 §14.3", _text(MAX_USERNAME))
MESSAGE_INTEGRITY = _row(0x0008, "MESSAGE-INTEGRITY", "RFC 8489 §14.5", _octets(20, 20))
ERROR_CODE = _row(0x0009, "ERROR-CODE", "RFC 8489 §14.8", _Codec(_decode_error, _encode_error))
UNKNOWN_ATTRIBUTES = _row(0x000A, "UNKNOWN-ATTRIBUTES", "RFC 8489 §14.13", _Codec(_decode_numbers, _encode_numbers))
CHANNEL_NUMBER = _row(0x000C, "CHANNEL-NUMBER", "RFC 8656 §18.1", _integer(2, reserved=2))
LIFETIME = _row(0x000D, "LIFETIME", "RFC 8656 §18.2", _integer(4))
XOR_PEER_ADDRESS = _row(0x0012, "XOR-PEER-ADDRESS", "RFC 8656 §18.3", _XOR_ADDRESS)
DATA = _row(0x0013, "DATA", "RFC 8656 §18.4", _ANY)
REALM = _row(0x0014, "REALM", "RFC 8489 §14.9", _TEXT)
NONCE = _row(0x0015, "NONCE", "RFC 8489 §14.10", _octets(0, MAX_TEXT))
XOR_RELAYED_ADDRESS = _row(0x0016, "XOR-RELAYED-ADDRESS", "RFC 8656 §18.5", _XOR_ADDRESS)
REQUESTED_ADDRESS_FAMILY = _row(0x0017, "REQUESTED-ADDRESS-FAMILY", "RFC 8656 §18.6", _integer(1, reserved=3))
EVEN_PORT = _row(0x0018, "EVEN-PORT", "RFC 8656 §18.7", _Codec(_decode_even_port, _encode_even_port))
REQUESTED_TRANSPORT = _row(0x0019, "REQUESTED-TRANSPORT", "RFC 8656 §18.8", _integer(1, reserved=3))
DONT_FRAGMENT = _row(0x001A, "DONT-FRAGMENT", "RFC 8656 §18.9", _FLAG)
ACCESS_TOKEN = _row(0x001B, "ACCESS-TOKEN", "RFC 7635 §6.2", _ANY)
MESSAGE_INTEGRITY_SHA256 = _row(0x001C, "MESSAGE-INTEGRITY-SHA256", "RFC 8489 §14.6", _INTEGRITY_SHA256)
PASSWORD_ALGORITHM = _row(0x001D, "PASSWORD-ALGORITHM", "RFC 8489 §14.12", _Codec(_decode_algorithm, _encode_algorithm))
USERHASH = _row(0x001E, "USERHASH", "RFC 8489 §14.4", _octets(32, 32))
XOR_MAPPED_ADDRESS = _row(0x0020, "XOR-MAPPED-ADDRESS", "RFC 8489 §14.2", _XOR_ADDRESS)
RESERVATION_TOKEN = _row(0x0022, "RESERVATION-TOKEN", "RFC 8656 §18.10", _octets(8, 8))
PADDING = _row(0x0026, "PADDING", "RFC 5780 §7.6", _ANY)
RESPONSE_PORT = _row(0x0027, "RESPONSE-PORT", "RFC 5780 §7.5", _integer(2, reserved=2))
CONNECTION_ID = _row(0x002A, "CONNECTION-ID", "RFC 6062 §6.2.1", _integer(4))

# Comprehension-optional: 0x8000–0xFFFF
ADDITIONAL_ADDRESS_FAMILY = _row(0x8000, "ADDITIONAL-ADDRESS-FAMILY", "RFC 8656 §18.11", _integer(1, reserved=3))
ADDRESS_ERROR_CODE = _row(
    0x8001, "ADDRESS-ERROR-CODE", "RFC 8656 §18.12", _Codec(_decode_address_error, _encode_address_error)
)
PASSWORD_ALGORITHMS = _row(
    0x8002, "PASSWORD-ALGORITHMS", "RFC 8489 §14.11", _Codec(_decode_algorithms, _encode_algorithms)
)
ALTERNATE_DOMAIN = _row(0x8003, "ALTERNATE-DOMAIN", "RFC 8489 §14.16", _text(255))
ICMP = _row(0x8004, "ICMP", "RFC 8656 §18.13", _Codec(_decode_icmp, _encode_icmp))
SOFTWARE = _row(0x8022, "SOFTWARE", "RFC 8489 §14.14", _TEXT)
ALTERNATE_SERVER = _row(0x8023, "ALTERNATE-SERVER", "RFC 8489 §14.15", _ADDRESS)
TRANSACTION_TRANSMIT_COUNTER = _row(
    0x8025, "TRANSACTION_TRANSMIT_COUNTER", "RFC 7982 §3.1", _Codec(_decode_counter, _encode_counter)
)
CACHE_TIMEOUT = _row(0x8027, "CACHE-TIMEOUT", "RFC 5780 §9.2", _integer(4))
FINGERPRINT = _row(0x8028, "FINGERPRINT", "RFC 8489 §14.7", _integer(4))
RESPONSE_ORIGIN = _row(0x802B, "RESPONSE-ORIGIN", "RFC 5780 §7.3", _ADDRESS)
OTHER_ADDRESS = _row(0x802C, "OTHER-ADDRESS", "RFC 5780 §7.4", _ADDRESS)
THIRD_PARTY_AUTHORIZATION = _row(0x802E, "THIRD-PARTY-AUTHORIZATION", "RFC 7635 §6.1", _text(MAX_TEXT))
MOBILITY_TICKET = _row(0x8030, "MOBILITY-TICKET", "RFC 8016 §3.3", _ANY)

REGISTRY: Final[Mapping[int, AttributeType[Any]]] = MappingProxyType(_table)
"""Every attribute by its number."""
