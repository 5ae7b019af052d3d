"""Whether the SFU of a server can be reached, as somebody who joins a room there would.

A room has to go through the SFU for that. Where nobody is in it and it would be a mesh, the probe brings further
participants of its own, as many as a mesh is too small for; a mesh in which others are is left alone. It publishes
a track on which nothing is ever sent, so nobody hears it.
"""

import asyncio
import secrets
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from aiortc import MediaStreamTrack
from av.frame import Frame

from cli.probe.report import Report, Step
from turnserver.client import SignalClient, SignalError, Timing
from turnserver.client.ice import IceChoice, answers, candidates_of, chosen_pair, read_candidate
from turnserver.client.media import EchoTrack, Listen
from turnserver.client.sfu import SFU, SfuConnections
from turnserver.client.state import PairState, PairTiming
from turnserver.signaling.protocol.base import ClientMessage, ServerMessage
from turnserver.signaling.protocol.client_messages import Join
from turnserver.signaling.protocol.fields import RELAY_TRANSPORTS, MediaSource
from turnserver.signaling.protocol.server_messages import Joined, PeerDesc, PeerReset, RoomUpdate
from turnserver.text import one_line

__all__ = ["RoomTarget", "probe_room"]

_COMPANIONS: Final = 8
"""Further participants of the probe, at most: meshes are for four by default, and for hardly more."""

_STEPS: Final = 3
"""What one connection waits for: the SFU's answer, which may have to start, a path, and the handshake."""

_NAME: Final = "meshturn probe"
_SHOWN: Final = 3
"""Addresses of the SFU in a sentence."""


@dataclass(frozen=True, slots=True)
class RoomTarget:
    """A room of a server: ``url`` is any of the server's, ``tls`` says how its certificate is checked."""

    url: str
    room: str
    link: str
    token: str | None = None
    tls: ssl.SSLContext | None = None


class _Mute(Listen):
    """Sound that never comes."""

    def outgoing(self) -> list[MediaStreamTrack]:
        return [EchoTrack("audio")]


class _Guest:
    """A participant of the probe, and `SfuLink` for its connections: each is tried over ``choice``."""

    def __init__(self, target: RoomTarget, patience: float) -> None:
        timing = Timing(connect=patience, answer=patience)
        self.signal = SignalClient(target.url, token=target.token, tls=target.tls, name=_NAME, timing=timing)
        self.mode = ""
        self.why = ""
        self.choice = IceChoice()
        self.offered = False
        self.sfu: SfuConnections | None = None
        self.news = asyncio.Event()
        self.signal.subscribe(self._heard)

    async def join(self, target: RoomTarget) -> Joined:
        """Take a seat. Raises `SignalError`."""
        await self.signal.open()
        mode = "auto" if "sfu" in self.signal.features else "mesh"
        joined = await self.signal.request(Join(room=target.room, name=_NAME, mode=mode))
        if not isinstance(joined, Joined):
            raise SignalError("unreadable", f"The server answers {joined.t!r} to 'join'.")
        return joined

    def send(self, message: ClientMessage) -> None:
        self.offered = True
        self.signal.send(message)

    def ice(self) -> IceChoice:
        return self.choice

    def new_id(self) -> str:
        return secrets.token_hex(4)

    def ready(self) -> bool:
        return True

    def others_send(self) -> bool:
        return False

    def changed(self) -> None:
        self.news.set()

    def take(self, peer: str, source: MediaSource, origin: object, frame: Frame) -> None:
        """Nothing is received."""

    def _heard(self, said: ServerMessage) -> None:
        if isinstance(said, Joined):
            self.mode = said.room.mode
        elif isinstance(said, RoomUpdate):
            self.mode, self.why = said.mode, said.why or ""
        elif isinstance(said, PeerDesc | PeerReset) and said.from_ == SFU and self.sfu is not None:
            if isinstance(said, PeerReset) or said.desc.type == "answer":
                self.sfu.deliver(said)
        self.news.set()


async def probe_room(target: RoomTarget, patience: float) -> Report:
    """Join a room, and try to reach the SFU directly and through the relay; what fails is in the report, not raised.

    ``patience`` is how long one answer may take, in seconds.
    """
    report = Report(target.link)
    guests = [_Guest(target, patience)]
    clock = asyncio.get_running_loop().time
    try:
        started = clock()
        joined = await guests[0].join(target)
        report.steps.append(Step("signaling", True, _entered(joined), seconds=clock() - started))
        if "sfu" not in guests[0].signal.features:
            report.steps.append(
                Step("sfu", False, "The server has no SFU: all its rooms are meshes.", "meshturn: signaling.mode.")
            )
        elif "publish" not in joined.you.caps:
            hint = "Give a token of a member who may send."
            report.steps.append(Step("sfu", False, "The token allows sending nothing, so nothing can be tried.", hint))
        elif await _through_sfu(target, guests, joined, patience, report):
            await _both(guests[0], joined, target, patience, report)
    except SignalError as error:
        name = "sfu" if report.steps else "signaling"
        report.steps.append(Step(name, False, one_line(error.message, 200), _hint(error.code)))
    finally:
        await asyncio.gather(*(guest.signal.bye() for guest in guests), return_exceptions=True)
    return report


def _entered(joined: Joined) -> str:
    others = len(joined.peers)
    who = "nobody else is" if not others else f"{others} other{' is' if others == 1 else 's are'}"
    return f"The server lets this machine into the room {one_line(joined.room.id, 64)}, in which {who}."


def _hint(code: str) -> str:
    if code in {"auth_required", "bad_token", "token_expired"}:
        return "Give a token with --token-file FILE; `meshturn rooms token` makes one."
    if code == "untrusted":
        return "--ca-file FILE trusts the authority; --insecure skips the check of the certificate."
    return "Is the address right, and are rooms on (signaling.enabled)?" if code in {"unreachable", "handshake"} else ""


async def _through_sfu(
    target: RoomTarget, guests: list[_Guest], joined: Joined, patience: float, report: Report
) -> bool:
    """Have the room go through the SFU, if nobody is disturbed by that; False, and reported, if it does not."""
    first = guests[0]
    if first.mode != "sfu" and joined.peers:
        sentence = "Others are in the room, and it is a mesh at present; it was left alone."
        report.steps.append(Step("sfu", False, sentence, "Name a room in which nobody is."))
        return False
    while first.mode != "sfu" and len(guests) <= _COMPANIONS:
        guests.append(_Guest(target, patience))
        await guests[-1].join(target)
        await _until(first, lambda: first.mode == "sfu", 0.2)
    if first.mode == "sfu":
        return True
    sentence = f"The room is a mesh even with {len(guests)} in it, so the SFU could not be tried."
    report.steps.append(Step("sfu", False, sentence, "meshturn: signaling.mode sfu, or a smaller signaling.room_size."))
    return False


async def _both(guest: _Guest, joined: Joined, target: RoomTarget, patience: float, report: Report) -> None:
    """Directly, and through the relay: over UDP, else over what firewalls let through."""
    direct = None
    if joined.ice.policy == "relay":
        report.steps.append(Step("sfu-direct", True, "The server wants everything relayed, so this was not tried."))
    else:
        direct = await _try(guest, IceChoice(), patience)
    relayed = None
    for via in RELAY_TRANSPORTS:
        relay = IceChoice.of(joined.ice, via=via, relay_only=True, tls=target.tls)
        if relay.url and (relayed is None or not relayed.ok):
            tried = await _try(guest, relay, patience)
            relayed = tried if relayed is None or tried.ok else relayed
    if direct is not None:
        if not direct.ok and relayed is not None and relayed.ok:
            direct = _with_hint(direct, "Calls go through the relay from here, which takes more time and bandwidth. ")
        report.steps.append(direct)
    if relayed is None:
        sentence = "The server names no TURN server: who is behind a firewall cannot take part."
        relayed = Step("sfu-relay", False, sentence, "meshturn: auth.shared_secrets, and listeners.")
    report.steps.append(relayed)


def _with_hint(step: Step, words: str) -> Step:
    return Step(step.name, step.ok, step.sentence, words + step.hint, step.seconds)


async def _try(guest: _Guest, choice: IceChoice, patience: float) -> Step:
    """A connection with the SFU, of its own, and a check that it answers."""
    name = "sfu-relay" if choice.relay_only else "sfu-direct"
    clock = asyncio.get_running_loop().time
    started = clock()
    limit = _STEPS * patience
    guest.choice, guest.offered = choice, False
    sfu = guest.sfu = SfuConnections(guest, _Mute(), PairTiming(connect=2 * limit))
    try:
        await _until(guest, lambda: sfu.state is PairState.CONNECTED or bool(sfu.errors), limit)
        pc = sfu.sending
        if sfu.state is not PairState.CONNECTED or pc is None:
            return _failure(name, sfu, guest, limit)
        took, asked = clock() - started, clock()
        if not await _answers(sfu, patience):
            hint = "A firewall lets the beginning through only, or it is a very bad network."
            return Step(name, False, "The SFU took the handshake, and answers no checks after it.", hint)
        chosen = chosen_pair(pc)
        where = "" if chosen is None else f" at {_shown(chosen.remote_address)}"
        way = f" through {one_line(choice.url, 120)}" if choice.relay_only else ""
        sentence = f"The SFU{where} is reached{way}: ICE and the DTLS handshake took {took * 1000:.0f} ms."
        return Step(name, True, sentence, seconds=clock() - asked)
    finally:
        guest.sfu = None
        await sfu.close()


async def _answers(sfu: SfuConnections, patience: float) -> bool:
    try:
        async with asyncio.timeout(patience):
            return sfu.sending is not None and await answers(sfu.sending)
    except TimeoutError:
        return False


def _failure(name: str, sfu: SfuConnections, guest: _Guest, limit: float) -> Step:
    """How far it came."""
    pc, choice, why = sfu.sending, guest.choice, guest.why
    remote = None if pc is None else pc.remoteDescription
    relay_hint = "`meshturn probe` with the TURN server's URI says whether the relay works."
    if not guest.offered and choice.relay_only:
        sentence = f"The relay {one_line(choice.url, 120)} has given no address in {limit:g} s."
        return Step(name, False, sentence, relay_hint)
    if remote is None or pc is None:
        reason = f": {one_line(sfu.errors[-1], 120)}" if sfu.errors else f" ({one_line(why, 40)})" if why else ""
        sentence = f"The SFU has answered nothing through the server in {limit:g} s{reason}."
        return Step(name, False, sentence, "Its process may not start. The server's log says why.")
    places = dict.fromkeys(f"{each.ip} {each.port}" for each in map(read_candidate, candidates_of(remote.sdp)) if each)
    where = " and ".join(_shown(each) for each in list(places)[:_SHOWN]) or "no address"
    if pc.iceConnectionState == "completed":
        sentence = f"The SFU at {where} answers, and the DTLS handshake did not come about in {limit:g} s."
        return Step(name, False, sentence, "Large datagrams may be lost on the way, or a device changes them.")
    if choice.relay_only:
        sentence = f"Nothing comes back from the SFU, {where} over UDP, through {one_line(choice.url, 120)}."
        return Step(name, False, sentence, relay_hint)
    sentence = f"Nothing comes back from the SFU, {where} over UDP, in {limit:g} s."
    hint = (
        "It is a firewall in front of that port (meshturn: media.port), a wrong public address (relay.external), or "
        "this machine's network, if it lets no UDP out."
    )
    return Step(name, False, sentence, hint)


def _shown(address: str) -> str:
    host, _, port = address.rpartition(" ")
    return f"[{host}]:{port}" if ":" in host else f"{one_line(host, 64)}:{port}"


async def _until(guest: _Guest, condition: Callable[[], bool], seconds: float) -> None:
    """Wait for something that the server says, for so long."""
    try:
        async with asyncio.timeout(seconds):
            while not condition():
                guest.news.clear()
                await guest.news.wait()
    except TimeoutError:
        return
