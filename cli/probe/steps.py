"""The steps of a probe, in order: each adds what it found to the report, and says in a sentence how it went.

The echo goes from one allocation of the probe to another one on the same server, relay to relay: that is the path of a
call between two clients behind symmetric NATs, and safe peer rules allow it. It does not leave the server, though, so a
socket of the probe itself is a peer, too (`cli.probe.reaching`).
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from cli.probe.conversation import Conversation
from cli.probe.hints import advise
from cli.probe.outside import OpenOutside
from cli.probe.reaching import Places, Reach, compare, is_closed, try_outside, without_permission
from cli.probe.report import EchoResult, Report, Step
from cli.probe.trouble import LinkError, Trouble
from stun.address import Address
from stun.attributes import (
    ALTERNATE_SERVER,
    ERROR_CODE,
    LIFETIME,
    MAPPED_ADDRESS,
    REQUESTED_ADDRESS_FAMILY,
    REQUESTED_TRANSPORT,
    SOFTWARE,
    XOR_MAPPED_ADDRESS,
    XOR_PEER_ADDRESS,
    XOR_RELAYED_ADDRESS,
    AttributeType,
    ErrorValue,
)
from stun.client.events import PeerData
from stun.client.requests import FinalResponse
from stun.constants import CHANNEL_MIN, AddressFamily, ErrorCode, MessageClass, Method, TransportProtocol
from stun.errors import MalformedMessage
from turnserver.text import one_line

__all__ = ["ECHOES", "StepFailed", "binding", "relay"]

T = TypeVar("T")

ECHOES = 5
"""Datagrams echoed each way of sending; enough for a median, few enough not to trip a rate limit."""

_UNSIGNED = frozenset({ErrorCode.BAD_REQUEST, ErrorCode.UNAUTHENTICATED, ErrorCode.STALE_NONCE})
"""Errors that come before the server knows a key to sign with (RFC 8489 §9.2.4)."""

_ECHO_PATIENCE = 1.0
"""Seconds to wait for one echo before it counts as lost."""


class StepFailed(Exception):
    """A step failed and has been reported; the steps after it are skipped."""


@dataclass(frozen=True, slots=True)
class _Side:
    """One of the two clients, and the address that the server relays from for it."""

    client: Conversation
    relayed: Address


async def binding(client: Conversation, report: Report) -> Address:
    """Ask for the reflexive address (RFC 8489 §3). Raises `StepFailed`."""
    answer = await _ask(client, report, "binding", Method.BINDING)
    reflexive = _value(report, "binding", answer, XOR_MAPPED_ADDRESS) or _value(
        report, "binding", answer, MAPPED_ADDRESS
    )
    if reflexive is None:
        raise _failed(
            report,
            Step("binding", False, "The answer does not contain this machine's address.", "Is it a STUN server?"),
        )
    report.reflexive = str(reflexive)
    sentence = f"The server answers; this machine's reflexive address is {reflexive}."
    report.steps.append(_worked("binding", answer, sentence))
    return reflexive


async def relay(
    clients: tuple[Conversation, Conversation],
    report: Report,
    family: AddressFamily | None,
    places: Places,
    open_outside: OpenOutside,
) -> None:
    """Allocate twice, echo through both relays and from outside; delete the allocations in any case."""
    sides: list[_Side] = []
    reach: Reach | None = None
    denied = False
    try:
        try:
            for client in clients:
                sides.append(_Side(client, await _allocate(client, report, family, again=bool(sides))))
            places = replace(places, relayed=tuple(side.relayed for side in sides))
            strange = compare(places)
            if strange is not None:
                report.steps.append(strange)
            await _permissions(sides[0], sides[1], report)
            failures = [
                await _echo_step(report, "send", _echo_by_send, sides[0], sides[1]),
                await _channel_step(report, sides[0], sides[1]),
            ]
            if not all(failures):
                raise StepFailed
            reach = await _reach(sides[0].relayed, report, open_outside)
            denied = reach is not None and await _outside_step(sides[0].client, reach, report, places)
        finally:
            await _release(sides, report)
        if denied and reach is not None:
            await without_permission(reach, report, places)
    finally:
        if reach is not None:
            await reach.outside.close()


async def _reach(relayed: Address, report: Report, open_outside: OpenOutside) -> Reach | None:
    """A socket towards a relayed address; None, and reported, if there is no way there."""
    try:
        reach = Reach(await open_outside(relayed), relayed)
    except OSError as error:
        reason = one_line(error.strerror or type(error).__name__, 80)
        sentence = f"This machine cannot send to the relayed address {relayed}: {reason}."
        hint = "Run the probe on a machine that has the relay's address family, or ask for another with --relay-family."
        report.steps.append(Step("outside", False, sentence, hint))
        return None
    report.local = reach.local
    return reach


async def _outside_step(client: Conversation, reach: Reach, report: Report, places: Places) -> bool:
    """Send from the probe's own socket; True, and nothing reported yet, if the server takes nothing from it."""
    peer = Address(places.peer(reach.outside.source).ip, reach.outside.source.port)
    try:
        answer = await client.ask(Method.CREATE_PERMISSION, (XOR_PEER_ADDRESS, peer))
    except Trouble as trouble:
        report.steps.append(Step("outside", False, str(trouble), trouble.hint))
        return False
    if answer.message.message_class is MessageClass.SUCCESS:
        return not await try_outside(client, reach, report, places)
    error = _value(report, "outside", answer, ERROR_CODE) or ErrorValue(0, "")
    if error.code == ErrorCode.FORBIDDEN:
        # While the relay is there, only a firewall says that its port is closed.
        reach.rejected = not reach.local and await is_closed(reach.outside, tries=1)
        return True
    advice = advise(Method.CREATE_PERMISSION, error.code, error.reason)
    report.steps.append(Step("outside", False, advice.sentence, advice.hint, code=error.code or None))
    return False


async def _allocate(client: Conversation, report: Report, family: AddressFamily | None, *, again: bool) -> Address:
    """One allocation (RFC 8656 §7.1); without ``family`` the server chooses, which means IPv4 (§7.2)."""
    name = "allocate-second" if again else "allocate"
    wanted = [(REQUESTED_TRANSPORT, int(TransportProtocol.UDP))]
    if family is not None:
        wanted.append((REQUESTED_ADDRESS_FAMILY, int(family)))
    answer = await _ask(client, report, name, Method.ALLOCATE, *wanted)
    relayed, lifetime = _value(report, name, answer, XOR_RELAYED_ADDRESS), _value(report, name, answer, LIFETIME)
    if relayed is None or lifetime is None:
        sentence = "The answer to Allocate lacks the relayed address or the lifetime (RFC 8656 §7.3)."
        raise _failed(report, Step(name, False, sentence, "The server does not follow the standard."))
    report.relayed.append(str(relayed))
    report.lifetime = lifetime
    if client.session is None:
        report.steps.append(
            Step("open-relay", False, "The server relays without any credentials.", "Anyone can use it: set a secret.")
        )
    which = "A second relayed address" if again else "The relayed address"
    report.steps.append(_worked(name, answer, f"{which} is {relayed}, for {lifetime} s."))
    return relayed


async def _permissions(first: _Side, second: _Side, report: Report) -> None:
    """Let each relayed address reach the other client (RFC 8656 §10.1)."""
    for side, peer in ((first, second), (second, first)):
        answer = await _ask(
            side.client, report, "permission", Method.CREATE_PERMISSION, (XOR_PEER_ADDRESS, peer.relayed)
        )
    report.steps.append(_worked("permission", answer, "Each relayed address may send to the other."))


async def _channel_step(report: Report, first: _Side, second: _Side) -> bool:
    """Bind a channel on either side (RFC 8656 §12.1) and echo through them; False when that failed."""
    try:
        for number, side, peer in ((CHANNEL_MIN, first, second), (CHANNEL_MIN + 1, second, first)):
            asked = side.client.bind(number, peer.relayed)
            bound = await _judged(side.client, report, "channel-bind", Method.CHANNEL_BIND, asked)
    except StepFailed:
        return False
    report.steps.append(_worked("channel-bind", bound, "A channel is bound on each side."))
    return await _echo_step(report, "channel", _echo_by_channel, first, second)


async def _echo_by_send(first: _Side, second: _Side, data: bytes) -> bool:
    """There and back in Send and Data indications (RFC 8656 §11)."""

    def indicated(item: PeerData) -> bool:
        return item.data == data and item.channel is None

    first.client.send(second.relayed, data)
    if not await _until(second.client, indicated):
        return False
    second.client.send(first.relayed, data)
    return await _until(first.client, indicated)


async def _echo_by_channel(first: _Side, second: _Side, data: bytes) -> bool:
    """There and back in ChannelData messages (RFC 8656 §12.4–12.6)."""
    first.client.send_channel(CHANNEL_MIN, data)
    if not await _until(second.client, lambda item: item.data == data and item.channel == CHANNEL_MIN + 1):
        return False
    second.client.send_channel(CHANNEL_MIN + 1, data)
    return await _until(first.client, lambda item: item.data == data and item.channel == CHANNEL_MIN)


async def _until(client: Conversation, wanted: Callable[[PeerData], bool]) -> bool:
    """Wait for one relayed datagram and ignore others; False when it did not come in time."""
    clock = asyncio.get_running_loop().time
    deadline = clock() + _ECHO_PATIENCE
    while (left := deadline - clock()) > 0:
        item = await client.incoming(left)
        if item is not None and wanted(item):
            return True
    return False


async def _echo_step(
    report: Report,
    name: str,
    once: Callable[[_Side, _Side, bytes], Awaitable[bool]],
    first: _Side,
    second: _Side,
) -> bool:
    """Echo a few datagrams, one at a time, and report how many came back; False when none did."""
    clock = asyncio.get_running_loop().time
    times = []
    try:
        for _ in range(ECHOES):
            # Unguessable, so that nothing but our own datagram can be taken for it.
            data = b"meshturn probe " + secrets.token_bytes(17)
            started = clock()
            if await once(first, second, data):
                times.append(clock() - started)
    except LinkError as error:
        report.steps.append(Step(name, False, str(error), error.hint))
        return False
    echo = EchoResult(ECHOES, tuple(times))
    way = "in ChannelData" if name == "channel" else "in Send and Data indications"
    sentence = f"{len(times) or 'None'} of {ECHOES} datagrams came back through both relays {way}."
    hint = ""
    if not times:
        hint = (
            "The relay takes datagrams but none comes back: a firewall in front of its relay ports (usually UDP "
            "49152-65535), a NAT that does not send its own address back in, or a wrong external address."
        )
    elif len(times) < ECHOES:
        hint = "Datagrams are lost; a call would have gaps."
    report.steps.append(Step(name, bool(times), sentence, hint, seconds=echo.median, echo=echo))
    return bool(times)


async def _release(sides: list[_Side], report: Report) -> None:
    """Delete the allocations (RFC 8656 §8.1); a failure is reported only if nothing else has failed."""
    was_ok = report.ok
    try:
        for side in sides:
            answer = await _ask(side.client, report, "release", Method.REFRESH, (LIFETIME, 0))
    except StepFailed:
        if not was_ok:
            report.steps.pop()
        return
    if sides and was_ok:
        report.steps.append(_worked("release", answer, "The allocations were deleted."))


async def _ask(
    client: Conversation, report: Report, name: str, method: Method, *attributes: tuple[AttributeType[Any], Any]
) -> FinalResponse:
    """Send a request; any answer but a success is a failed step. Raises `StepFailed`."""
    return await _judged(client, report, name, method, client.ask(method, *attributes))


async def _judged(
    client: Conversation, report: Report, name: str, method: Method, asked: Awaitable[FinalResponse]
) -> FinalResponse:
    """Wait for an answer; any answer but a success is a failed step. Raises `StepFailed`."""
    try:
        answer = await asked
    except Trouble as trouble:
        raise _failed(report, Step(name, False, str(trouble), trouble.hint)) from trouble
    if client.session is not None:
        report.realm, report.integrity = one_line(client.session.realm, 120), client.session.name
    software = _value(report, name, answer, SOFTWARE)
    if software is not None and report.software is None:
        report.software = one_line(software, 120)
    if answer.message.message_class is MessageClass.SUCCESS:
        return answer
    error = _value(report, name, answer, ERROR_CODE) or ErrorValue(0, "")
    advice = advise(method, error.code, error.reason)
    hint = advice.hint
    if error.code == ErrorCode.TRY_ALTERNATE:
        other = _value(report, name, answer, ALTERNATE_SERVER)
        hint = hint if other is None else f"Probe {other} instead."
    if client.session is not None and not answer.signed and error.code not in _UNSIGNED:
        hint += " (The answer had no MESSAGE-INTEGRITY, so a device on the path may have made it.)"
    raise _failed(report, Step(name, False, advice.sentence, hint, code=error.code or None))


def _value(report: Report, name: str, answer: FinalResponse, spec: AttributeType[T]) -> T | None:
    """One attribute of an answer. Raises `StepFailed` when its value is malformed."""
    try:
        return answer.message.first(spec)
    except MalformedMessage as trouble:
        sentence = f"The server's answer cannot be read: {one_line(str(trouble))}."
        raise _failed(report, Step(name, False, sentence, "The server does not follow the standard.")) from trouble


def _worked(name: str, answer: FinalResponse, sentence: str) -> Step:
    return Step(name, True, sentence, seconds=answer.seconds, transmissions=answer.transmissions)


def _failed(report: Report, step: Step) -> StepFailed:
    report.steps.append(step)
    return StepFailed(step.sentence)
