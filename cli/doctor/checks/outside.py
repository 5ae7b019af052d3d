"""What another server sees of this one: its address, its ports through every firewall, its relays, its clock."""

import asyncio
import contextlib
import time
from collections.abc import Iterator

from cli.doctor.checks.firewall import Needed, allowing
from cli.doctor.elsewhere import Elsewhere, NotAsked
from cli.doctor.findings import HostFinding, not_checked, ok, warning, wrong
from cli.doctor.host import Host
from stun.address import Address
from stun.attributes import XOR_MAPPED_ADDRESS
from stun.constants import MessageClass, Method
from stun.errors import MalformedMessage
from stun.message import Message, MessageBuilder
from turnserver.net import from_sockaddr
from turnserver.signaling.edge.answers import ProbeAnswer

__all__ = ["Responder", "outside"]

_MOST_ADDRESSES = 4
_MOST_PORTS = 14
"""Of listeners; two more are those of relays."""
_SKEW = 2.0
"""Seconds between two clocks that are worth a word."""
_PEERS = "Clients and peers elsewhere get nothing there."


class Responder(asyncio.DatagramProtocol):
    """Answers Binding requests in the place of a relay: a relay port has no socket until somebody allocates it."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio once the socket is there."""
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """Answer a Binding request (RFC 8489 §6); anything else is dropped."""
        try:
            message = Message.decode(data)
        except MalformedMessage:
            return
        if message.method != Method.BINDING or message.message_class is not MessageClass.REQUEST:
            return
        answer = MessageBuilder(Method.BINDING, MessageClass.SUCCESS, message.transaction_id)
        answer.add(XOR_MAPPED_ADDRESS, from_sockaddr(addr))
        sendto = getattr(self._transport, "sendto", None)
        if sendto is not None:
            sendto(answer.build(), addr)


async def outside(host: Host) -> list[HostFinding]:
    """Ask the server that ``--from`` names to send requests back, by each address of the listeners."""
    if host.elsewhere is None:
        return [
            not_checked(
                "What others see of this server cannot be known from here.",
                "meshturn doctor --from https://OTHER --from-key-file FILE    # another meshturn probes back",
            )
        ]
    own = dict.fromkeys(door.address.ip for door in host.doors if not door.behind and not door.address.is_loopback)
    found: list[HostFinding] = []
    for ip in list(own)[:_MOST_ADDRESSES]:
        found += await _by(host, host.elsewhere, ip)
    return found or [not_checked("No listener is reached directly from elsewhere.")]


async def _by(host: Host, elsewhere: Elsewhere, ip: bytes) -> list[HostFinding]:
    """What is seen of one of the host's addresses."""
    needed = {
        (door.uri.protocol, door.address.port): Needed(
            "udp" if door.uri.protocol == "udp" else "tcp", door.address.port, door.address.port, door.uri.protocol
        )
        for door in host.doors
        if door.address.ip == ip and not door.behind and door.uri.protocol != "dtls"
    }
    needed = dict(list(needed.items())[:_MOST_PORTS])
    async with contextlib.AsyncExitStack() as stack:
        if any(pair.bound == ip for pair in host.relays):
            for port in await _answering(stack, host, ip):
                ports = host.config.relay.ports
                needed["udp", port] = Needed("udp", ports.first, ports.last, "relays")
        name = host.names[0] if host.names else ""
        before = time.time()
        try:
            answer = await elsewhere.probe(Address(ip, 0), list(needed), name)
        except NotAsked as error:
            return [not_checked(str(error), "meshturn keys create NAME --scope probe    # on that server")]
        return [*_address(host, ip, answer), *_ports(host, answer, needed), *_clock(answer, before, time.time())]


async def _answering(stack: contextlib.AsyncExitStack, host: Host, ip: bytes) -> list[int]:
    """Open the lowest and the highest port of the relays that is free, until the stack is left."""
    ports, found = host.config.relay.ports, list[int]()
    numbers = range(ports.first, ports.last + 1)
    for candidates in (numbers[:8], numbers[:-9:-1]):
        for port in candidates:
            try:
                transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
                    Responder, local_addr=(Address(ip, 0).host, port)
                )
            except OSError:
                continue
            stack.callback(transport.close)
            found.append(port)
            break
    return found


def _address(host: Host, ip: bytes, answer: ProbeAnswer) -> Iterator[HostFinding]:
    told, own = Address(host.public(ip), 0).host, Address(ip, 0).host
    if answer.client == told or host.config.relay.external.asked:
        yield ok(f"{own} is seen from elsewhere as {answer.client}.")
    else:
        yield wrong(
            f"{own} is seen from elsewhere as {answer.client}, and clients are told {told}.",
            "Peers send to the address that clients are told: with another one, calls over the relay fail.",
            f"relay: {{external: '{answer.client}'}}",
        )


def _ports(host: Host, answer: ProbeAnswer, needed: dict[tuple[str, int], Needed]) -> Iterator[HostFinding]:
    reached: list[str] = []
    shut: dict[Needed, None] = {}
    for each in answer.ports:
        place = needed.get((each.protocol, each.port))
        where = f"{each.protocol} {answer.client} port {each.port}"
        if place is None:
            continue
        if each.outcome == "answered":
            reached.append(f"{each.protocol} {each.port}")
        elif each.outcome == "untrusted":
            yield wrong(
                f"{where}: the certificate is not trusted elsewhere: {each.detail}.",
                "Clients refuse it.",
                "meshturn doctor --only certificate",
            )
        else:
            shut[place] = None
            yield wrong(
                f"{where} is not reached from elsewhere: {each.detail or each.outcome}.",
                _PEERS,
                *allowing(host, [place]),
                "# and the same in the firewall or NAT in front of this host",
            )
    if reached:
        yield ok(f"Reached from elsewhere: {', '.join(reached)}.")


def _clock(answer: ProbeAnswer, before: float, after: float) -> Iterator[HostFinding]:
    """The other server's time is taken as it answers, so between the two of this host."""
    off = before - answer.time if answer.time < before else max(0.0, answer.time - after)
    if off > _SKEW:
        yield warning(
            f"The clock of this host and that of the other server are {off:.0f} s apart.",
            "Credentials, tokens and certificates carry times: with a wrong clock they are refused.",
            "timedatectl set-ntp true",
        )
