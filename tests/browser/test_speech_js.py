"""The page's `speech.js` in Chromium: what descriptions say of Opus, and descriptions that are hostile."""

from typing import Any

import pytest

from tests.support.signal_lab import LabPage, SignalLab

HEAD = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n"
SOUND = "m=audio 9 UDP/TLS/RTP/SAVPF 111 0\r\na=rtpmap:111 opus/48000/2\r\n"
PICTURE = "m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=rtpmap:96 VP8/90000\r\na=fmtp:96 x=1\r\n"

LIKED = {
    "parameters that are there are kept": (
        HEAD + SOUND + "a=fmtp:111 minptime=10;useinbandfec=0; usedtx = 0\r\n" + PICTURE,
        HEAD + SOUND + "a=fmtp:111 minptime=10;useinbandfec=1;usedtx=1\r\n" + PICTURE,
    ),
    "none are there": (HEAD + SOUND, HEAD + SOUND + "a=fmtp:111 useinbandfec=1;usedtx=1\r\n"),
    "another codec": (
        HEAD + SOUND.replace("opus", "L16") + "a=fmtp:111 a=1\r\n",
        HEAD + SOUND.replace("opus", "L16") + "a=fmtp:111 a=1\r\n",
    ),
    "Opus as a picture": (HEAD + PICTURE.replace("VP8/90000", "opus/48000/2"),) * 2,
    "a type that is no number": (HEAD + "m=audio 9 X y\r\na=rtpmap:constructor opus/48000/2\r\na=fmtp:y z\r\n",) * 2,
    "nothing": ("",) * 2,
    "no lines": ("m=audio",) * 2,
    "other ends of lines": (HEAD.replace("\r\n", "\n") + "m=audio\na=rtpmap:1 opus/48000\n",) * 2,
}


def run(page: LabPage, what: str, *arguments: Any) -> Any:
    script = "async ([what, rest]) => (await import('/call-assets/speech.js'))[what](...rest)"
    return page.run(script, [what, list(arguments)])


@pytest.mark.parametrize("what", LIKED)
def test_what_we_would_like_to_be_sent(what: str, ann: LabPage) -> None:
    """RFC 7587 §6.1: repair, and next to nothing in silence; only of Opus, and only in sections of sound."""
    given, expected = LIKED[what]
    assert run(ann, "asWeLikeIt", given) == expected


PACKETS = {
    "none said": (HEAD + SOUND + PICTURE, 60, HEAD + SOUND + "a=ptime:60\r\n" + PICTURE),
    "another said": (HEAD + SOUND + "a=ptime:20\r\na=mid:0\r\n", 40, HEAD + SOUND + "a=mid:0\r\na=ptime:40\r\n"),
    "no more than they can take": (HEAD + SOUND + "a=maxptime:40\r\n", 60, HEAD + SOUND + "a=maxptime:40\r\n"),
    "as they ask for": (HEAD + SOUND + "a=ptime:20\r\n", 0, HEAD + SOUND + "a=ptime:20\r\n"),
    "no Opus": (HEAD + PICTURE, 60, HEAD + PICTURE),
    "nothing": ("", 60, ""),
}


@pytest.mark.parametrize("what", PACKETS)
def test_longer_packets(what: str, ann: LabPage) -> None:
    """RFC 8866 §6.4: `ptime` is said once, within their `maxptime`."""
    given, time, expected = PACKETS[what]
    assert run(ann, "inLongerPackets", given, time) == expected


DIRECTIONS = {
    "taken": ("sendrecv", "sendonly"),
    "only taken": ("recvonly", "inactive"),
    "only sent": ("sendonly", "sendonly"),
    "neither": ("inactive", "inactive"),
    "something else": ("sendrecv x", "sendrecv x"),
}


@pytest.mark.parametrize("what", DIRECTIONS)
def test_no_picture_is_taken(what: str, ann: LabPage) -> None:
    """RFC 3264 §6.1: only sections of pictures change, and only so that nothing is sent to them."""
    given, expected = (f"a={direction}\r\n" for direction in DIRECTIONS[what])
    head = HEAD + SOUND + "a=sendrecv\r\n" + PICTURE
    assert run(ann, "withoutPicture", head + given + PICTURE + given) == head + expected + PICTURE + expected


def test_a_description_of_many_lines_takes_no_time(ann: LabPage) -> None:
    """Hostile: as much as the server lets through, of what looks most like ours."""
    for line in ("m=audio ", "a=fmtp:111 ", "a=fmtp:1 " + ";" * 400, "a=rtpmap:1 opus/48000"):
        long = f"{line}\r\n" * (56 * 1024 // (len(line) + 2))
        for each in ("asWeLikeIt", "inLongerPackets", "outline", "withoutPicture"):
            run(ann, each, long, 60)


SPEECH = """async (who) => {
  const {pc} = lab.runs[who].peer();
  const sum = {packets: 0, at: performance.now()};
  for (const report of (await pc.getStats()).values()) {
    if (report.type === 'outbound-rtp' && report.kind === 'audio') sum.packets = report.packetsSent;
  }
  return sum;
}"""


def test_speech_in_longer_packets_needs_nothing_on_the_wire(ann: LabPage, ben: LabPage, lab: SignalLab) -> None:
    """Both ends, one of which has offered: the packets get fewer and more again, and nothing is negotiated for it."""
    for page, who in ((ann, "ann"), (ben, "ben")):
        page.enter(who, "blue")
    for page, who in ((ann, "ann"), (ben, "ben")):
        page.connected(who)
        page.until("(who) => lab.steady(who)", who)
    lab.erase()
    for page, who in ((ann, "ann"), (ben, "ben")):
        for packet_time, least, most in ((60, 10, 25), (40, 20, 35), (0, 35, 1000)):
            page.run("([who, packetTime]) => lab.runs[who].peer().setLimits({packetTime})", [who, packet_time])
            page.until("([who, packetTime]) => lab.runs[who].peer().packetTime === packetTime", [who, packet_time])
            # So many packets a second, between two looks that are as far apart as it takes.
            page.until(
                f"""async ([who, least, most]) => {{
                  const look = {SPEECH};
                  const first = await look(who);
                  await lab.until(async () => (await look(who)).packets > first.packets + 15);
                  const last = await look(who);
                  const rate = (last.packets - first.packets) * 1000 / (last.at - first.at);
                  return rate >= least && rate <= most;
                }}""",
                [who, least, most],
            )
    for who in ("ann", "ben"):
        assert lab.of(who, "server", "desc", "cand", "reset") == []
    for page, who in ((ann, "ann"), (ben, "ben")):
        page.frames(who)
