"""The words of the verdicts: for each code, and each case of it, one sentence that says what is wrong and what to try.

They are written for a person in a call, who may know nothing of networks: no acronym but those that are on the buttons
of routers and in the settings of browsers.
"""

import re
from collections.abc import Sequence
from enum import StrEnum
from typing import Final, NamedTuple

__all__ = ["TEXTS", "Verdict", "VerdictCode", "case_of", "say"]


class VerdictCode(StrEnum):
    """What a verdict can say; a client shows the text and may act on the code."""

    MEDIA_FLOWS = "media_flows"
    PEER_GAP = "peer_gap"
    NO_CANDIDATES = "no_candidates"
    PEER_DENIED = "peer_denied"
    TURN_401 = "turn_401"
    TURN_QUOTA = "turn_quota"
    TURN_FULL = "turn_full"
    RELAY_ENDED = "relay_ended"
    TURN_UNREACHABLE = "turn_unreachable"
    STILL_TRYING = "still_trying"
    BOTH_SYMMETRIC_NO_TURN = "both_symmetric_no_turn"
    NO_RELAY_CANDIDATE = "no_relay_candidate"
    ONE_RELAY = "one_relay"
    UDP_BLOCKED = "udp_blocked"
    UNKNOWN = "unknown"


class Verdict(NamedTuple):
    """A code and one sentence for the person who asked.

    ``case`` says which of the code's sentences it is, and ``tried`` over which transports a relay was tried: so that a
    client can say the same in another language.
    """

    code: VerdictCode
    text: str
    case: str
    tried: tuple[str, ...] = ()


TEXTS: Final[dict[VerdictCode, dict[str, str]]] = {
    VerdictCode.MEDIA_FLOWS: {
        "connected": "The connection stands at both ends: if you hear or see nothing, check that the other microphone "
        "and camera are on, and your own volume.",
        "relayed": "Sound and picture do pass through the relay server: wait a few seconds, and reload the page if you "
        "still hear nothing.",
    },
    VerdictCode.PEER_GAP: {
        "you": "Your own connection to this site is interrupted: check your network; the page reconnects by itself.",
        "they": "The other person's connection to this site is interrupted: they often return within a minute; if not, "
        "ask them to check their network or to reload the page.",
        "both": "Both of you have lost the connection to this site: wait a minute, then reload the page.",
    },
    VerdictCode.NO_CANDIDATES: {
        "you": "Your browser has found no network path at all: switch off extensions or a VPN that block WebRTC, or "
        "try another browser.",
        "they": "The other person's browser has found no network path at all: ask them to switch off extensions or a "
        "VPN that block WebRTC, or to try another browser.",
        "both": "Neither browser has found a network path: switch off extensions or a VPN that block WebRTC, or "
        "try another browser.",
    },
    VerdictCode.PEER_DENIED: {
        "relays": "The relay server is set up so that its relays may not reach each other: please tell the person who "
        "runs this site to allow the relay's own address as a peer.",
        "you": "The relay server is not allowed to reach the address that you come from: try another network, or tell "
        "the person who runs this site to allow it as a peer.",
        "they": "The relay server is not allowed to reach the address that the other person comes from: ask them to "
        "try another network, or tell the person who runs this site to allow it as a peer.",
    },
    VerdictCode.TURN_401: {
        "expired, you": "Your access to the relay server has run out: reload the page to get a new one.",
        "expired, they": "The other person's access to the relay server has run out: ask them to reload the page.",
        "expired, both": "The access of both of you to the relay server has run out: reload the page at both ends.",
        "401, you": "The relay server did not accept your access: reload the page; if that does not help, tell the "
        "person who runs this site.",
        "401, they": "The relay server did not accept the other person's access: ask them to reload the page; if that "
        "does not help, tell the person who runs this site.",
        "401, both": "The relay server accepts neither of you: reload the page at both ends; if that does not help, "
        "tell the person who runs this site that its credentials do not fit.",
    },
    VerdictCode.TURN_QUOTA: {
        "quota, you": "You have too many connections open on the relay server: close other tabs with this call, wait a "
        "minute, and reload the page.",
        "quota, they": "The other person has too many connections open on the relay server: ask them to close other "
        "tabs with this call, to wait a minute, and to reload the page.",
        "quota, both": "Both of you have too many connections open on the relay server: close other tabs with this "
        "call, wait a minute, and reload the page.",
    },
    VerdictCode.TURN_FULL: {
        f"full, {who}": "The relay server has no room for another connection: try again in a few minutes, or tell the "
        "person who runs this site."
        for who in ("you", "they", "both")
    },
    VerdictCode.RELAY_ENDED: {
        "revoked, you": "The server has ended your relay, as it does when somebody leaves or is removed: join again.",
        "revoked, they": "The server has ended the other person's relay, as it does when somebody leaves or is "
        "removed: ask them to join again.",
        "revoked, both": "The server has ended the relays of both of you: join again.",
        "ended, you": "Your relay has ended, which happens when a network changes or a device sleeps: reconnect, or "
        "reload the page.",
        "ended, they": "The other person's relay has ended, which happens when a network changes or a device sleeps: "
        "reconnect, or ask them to reload the page.",
        "ended, both": "The relays at both ends have ended: reconnect, or reload the page.",
    },
    VerdictCode.TURN_UNREACHABLE: {
        "unreachable, you": "Your network lets nothing through to the relay server {tried}: try another network, such "
        "as a phone's hotspot, or ask its administrator to allow this site.",
        "unreachable, they": "The other person's network lets nothing through to the relay server {tried}: ask them to "
        "try another network, such as a phone's hotspot.",
        "unreachable, both": "Neither of you can reach the relay server {tried}: tell the person who runs this site "
        "that its relay may be down or its ports closed, or try other networks.",
    },
    VerdictCode.STILL_TRYING: {
        "no answer": "The other person's page has not answered yet: wait a few seconds, then ask them to reload it.",
        "trying": "The two devices are still looking for a way to each other: wait a few seconds.",
    },
    VerdictCode.BOTH_SYMMETRIC_NO_TURN: {
        "both": "Your two networks do not let each other in, and this call has no relay server to go around that: try "
        "another network at one end, or tell the person who runs this site that it needs TURN.",
    },
    VerdictCode.NO_RELAY_CANDIDATE: {
        "both": "Neither of you got a relay, and there is no direct way between your networks: try another network at "
        "one end, or tell the person who runs this site.",
    },
    VerdictCode.ONE_RELAY: {
        "you": "Only the other person has a relay, and your network does not reach it: try another network, such as a "
        "phone's hotspot.",
        "they": "Only you have a relay, and the other person's network does not reach it: ask them to try another "
        "network, such as a phone's hotspot.",
    },
    VerdictCode.UDP_BLOCKED: {
        "you": "Your network blocks UDP, so the call has to take the slower way over TCP: reconnect, or try another "
        "network for a better call.",
        "they": "The other person's network blocks UDP, so the call has to take the slower way over TCP: reconnect, or "
        "ask them to try another network.",
        "both": "Both of your networks block UDP, so the call has to take the slower way over TCP: reconnect, or try "
        "another network at one end for a better call.",
    },
    VerdictCode.UNKNOWN: {
        "nothing": "Both of you reach the relay server, yet nothing gets through: reconnect or reload the page, and "
        "send the copied diagnostics to the person who runs this site if it goes on.",
    },
}


def say(code: VerdictCode, key: str, tried: Sequence[str] = ()) -> Verdict:
    """The verdict of a code, in the words for one case of it; ``tried`` names transports, as in ``UDP``."""
    text = TEXTS[code][key].format(tried=_over(tried))
    return Verdict(code, text, case_of(key), tuple(tried) if "{tried}" in TEXTS[code][key] else ())


def case_of(key: str) -> str:
    """The name of a case in the protocol: ``expired_you``."""
    return re.sub("[^a-z0-9]+", "_", key)


def _over(tried: Sequence[str]) -> str:
    if not tried:
        return "in any way that was tried"
    return "over " + (tried[0] if len(tried) == 1 else f"{', '.join(tried[:-1])} or {tried[-1]}")
