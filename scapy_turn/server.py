# SPDX-License-Identifier: GPL-2.0-or-later
"""An answering machine that is a tiny STUN server, for tests of clients."""

import contextlib
import socket
import threading
import time
from types import TracebackType
from typing import Any, Self

from scapy.ansmachine import AnsweringMachine
from scapy.layers.inet import UDP
from scapy.packet import Packet
from scapy.supersocket import SuperSocket

from scapy_turn.datagrams import Peer, datagram
from scapy_turn.demultiplex import Turn
from scapy_turn.integrity import sign, verify
from scapy_turn.message import StunMessage
from scapy_turn.registry import COOKIE, ERRORS, REQUEST
from scapy_turn.stun_attributes import (
    StunChangedAddress,
    StunChangeRequest,
    StunErrorCode,
    StunFingerprint,
    StunMappedAddress,
    StunMessageIntegrity,
    StunMessageIntegritySha256,
    StunOtherAddress,
    StunResponseOrigin,
    StunResponsePort,
    StunSoftware,
    StunSourceAddress,
    StunUnknownAttributes,
    StunUsername,
    StunXorMappedAddress,
)

__all__ = ["PortSocket", "StunServer"]

BINDING = 1
KNOWN = {StunUsername.attribute_type, StunMessageIntegrity.attribute_type, StunMessageIntegritySha256.attribute_type}
"""Types below 0x8000 that it understands, besides CHANGE-REQUEST."""


class PortSocket(SuperSocket):
    """A UDP port of this host. What it receives and sends are packets of IP and UDP; no privilege is needed."""

    desc = "send and receive from a UDP port of this host"

    def __init__(self, address: Peer) -> None:
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        bound = self.ins = self.outs = socket.socket(family, socket.SOCK_DGRAM)
        try:
            bound.bind(address)
        except BaseException:
            bound.close()
            raise
        self.address: Peer = bound.getsockname()[:2]
        self._bound = bound

    def recv(self, x: int | None = None, **kwargs: Any) -> Packet | None:
        """The next datagram; None for an error that an earlier one has caused."""
        try:
            data, source = self._bound.recvfrom(65535 if x is None else x)
        except OSError:
            return None
        packet = datagram(source[:2], self.address, data, Turn)
        packet.time = time.time()
        return packet

    def send(self, x: Packet) -> int:
        """Send the payload of a packet's UDP layer to its destination; the source is this port, whatever it says."""
        found = x[UDP]
        with contextlib.suppress(ConnectionRefusedError, BlockingIOError):
            return self._bound.sendto(bytes(found.payload), (found.underlayer.dst, found.dport))
        return 0


class StunServer(AnsweringMachine[Packet]):
    """Answer Binding requests at an address of this host: ``StunServer(address=("127.0.0.1", 3478))()``.

    Port 0 is any; ``address`` has the port once it listens. ``with StunServer(…) as server:`` answers in the
    background, and so does ``bg()`` until ``close()``.

    With ``other``, a second address and a second port, it is a server for NAT discovery (RFC 5780) and listens on all
    four. With ``key`` requests have to be signed (RFC 8489 §9.1), and be of ``username`` if that is given. Clients of
    RFC 3489 get MAPPED-ADDRESS. It never answers another address than the sender's. A class that derives from it can
    give other answers by overriding `attributes`.
    """

    function_name = "stun_server"

    def __init__(self, **options: Any) -> None:
        self._sockets: dict[Peer, PortSocket] = {}
        super().__init__(**options)

    def parse_options(
        self,
        address: Peer = ("127.0.0.1", 3478),
        other: Peer | None = None,
        software: str = "scapy-turn",
        key: bytes | None = None,
        username: str | None = None,
    ) -> None:
        """Take the options."""
        self.address, self.other = address, other
        self.software, self.key, self.username = software, key, username

    def __enter__(self) -> Self:
        self.bg()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def sniff(self) -> None:
        """Answer until it is interrupted."""
        self._open()
        try:
            super().sniff()
        finally:
            self._shut()

    def sniff_bg(self) -> None:
        """Answer in a thread."""
        self._open()
        started = threading.Event()
        self.optsniff["started_callback"] = started.set
        super().sniff_bg()
        started.wait(10)

    def close(self) -> None:
        """End what `bg` has begun."""
        if self._sockets:
            self.sniffer.stop()
            self._shut()

    def _open(self) -> None:
        """Bind the ports: one, or every address with every port."""
        try:
            self.address = self._bind(self.address)
            if self.other is not None:
                self.other = self._bind(self.other)
                self._bind((self.address[0], self.other[1]))
                self._bind((self.other[0], self.address[1]))
        except BaseException:
            self._shut()
            raise
        self.optsniff["opened_socket"] = list(self._sockets.values())

    def _bind(self, address: Peer) -> Peer:
        bound = PortSocket(address)
        self._sockets[bound.address] = bound
        return bound.address

    def _shut(self) -> None:
        for one in self._sockets.values():
            one.close()
        self._sockets = {}

    def is_request(self, req: Packet) -> int:
        """Whether it is a Binding request, and its FINGERPRINT is right if it has one. All else gets no answer."""
        message = req.getlayer(StunMessage)
        if message is None or UDP not in req or (message.method, message.msgclass) != (BINDING, REQUEST):
            return 0
        return int(verify(message).fingerprint is not False)

    def make_reply(self, req: Packet) -> Packet:
        """The response, from the address that the request asks for."""
        request, found = req[StunMessage], req[UDP]
        client, local = (found.underlayer.src, found.sport), (found.underlayer.dst, found.dport)
        answered = request.attribute(StunResponsePort)
        code, more = self._refusal(request)
        source = local if code else self._source(request, local)
        parts = more if code else self.attributes(request, client, local, source)
        if self.software:
            # Clients of RFC 3489 take nothing whose length is not a multiple of four (§11.2.10).
            odd = 0 if request.cookie == COOKIE else len(self.software.encode()) % 4
            parts.append(StunSoftware(software=self.software + " " * (-odd % 4)))
        message = StunMessage(
            method="Binding",
            msgclass="error" if code else "success",
            cookie=request.cookie,
            transaction_id=request.transaction_id,
            attributes=parts,
        )
        fingerprint = request.attribute(StunFingerprint) is not None
        if self.key is not None and code not in {400, 401}:
            sha256 = request.attribute(StunMessageIntegritySha256) is not None
            message = sign(message, self.key, sha256=sha256, fingerprint=fingerprint)
        elif fingerprint:
            message.attributes.append(StunFingerprint())
        network: Packet = type(found.underlayer)(src=source[0], dst=client[0])
        port = client[1] if code or answered is None else answered.port
        return network / UDP(sport=source[1], dport=port) / message

    def attributes(self, request: StunMessage, client: Peer, local: Peer, source: Peer) -> list[Packet]:
        """What a success response says: where the request came from and, with ``other``, what RFC 5780 adds."""
        old = request.cookie != COOKIE
        mapped = StunMappedAddress if old else StunXorMappedAddress
        parts: list[Packet] = [mapped(address=client[0], port=client[1])]
        if old:
            parts.append(StunSourceAddress(address=source[0], port=source[1]))
        if self.other is not None:
            opposite = self._elsewhere(local, True, True)
            if not old:
                parts.append(StunResponseOrigin(address=source[0], port=source[1]))
            parts.append((StunChangedAddress if old else StunOtherAddress)(address=opposite[0], port=opposite[1]))
        return parts

    def send_reply(self, reply: Packet, send_function: Any = None) -> None:
        """Send it from the port that it says; as any answering machine does where that is none of these."""
        found = reply[UDP]
        port = self._sockets.get((found.underlayer.src, found.sport))
        if port is not None:
            port.send(reply)
        else:
            super().send_reply(reply, send_function)

    def _refusal(self, request: StunMessage) -> tuple[int, list[Packet]]:
        """The code of an error response with its attributes, or 0 (RFC 8489 §9.1.3, §6.3.1)."""
        if self.key is not None:
            seals, name = verify(request, self.key), request.attribute(StunUsername)
            if seals.sha1 is None and seals.sha256 is None:
                return 400, [_error(400)]
            known = self.username is None or (name is not None and name.username == self.username.encode())
            if not (seals.ok and known):
                return 401, [_error(401)]
        types = [part.type for part in request.attributes if hasattr(part, "type")]
        change = request.attribute(StunChangeRequest)
        known_types = set(KNOWN)
        # Without flags CHANGE-REQUEST asks for nothing, and many clients send it so.
        if self.other is not None:
            known_types |= {StunChangeRequest.attribute_type, StunResponsePort.attribute_type}
        elif change is not None and not (change.change_ip or change.change_port):
            known_types.add(StunChangeRequest.attribute_type)
        unknown = [code for code in types if code < 0x8000 and code not in known_types]
        return (420, [_error(420), StunUnknownAttributes(types=unknown[:32])]) if unknown else (0, [])

    def _source(self, request: StunMessage, local: Peer) -> Peer:
        """Whence the answer is sent (RFC 5780 §6.1)."""
        change = request.attribute(StunChangeRequest)
        if change is None or self.other is None:
            return local
        return self._elsewhere(local, bool(change.change_ip), bool(change.change_port))

    def _elsewhere(self, local: Peer, ip: bool, port: bool) -> Peer:
        """The other address, the other port, seen from where a request has come in."""
        (first, first_port), (second, second_port) = self.address, self.other or self.address
        host = (second if local[0] == first else first) if ip else local[0]
        return host, (second_port if local[1] == first_port else first_port) if port else local[1]


def _error(code: int) -> StunErrorCode:
    return StunErrorCode(code=code, reason=ERRORS[code])
