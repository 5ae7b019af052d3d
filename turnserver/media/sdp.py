"""Session descriptions (RFC 8866) as browsers exchange them (RFC 8829): read without trust, and written.

What is read is reduced to what an SFU uses: one BUNDLE group (RFC 9143), RTP and RTCP on one port (RFC 5761), DTLS-SRTP
(RFC 5763), payload formats with their feedback and RTX (RFC 4588), header extensions (RFC 8285), and simulcast by rids
(RFC 8851, RFC 8853). Lines that are not known are skipped, as RFC 8866 §5.13 wants.

What is written comes from `turnserver.media.negotiation`: an answer to what somebody publishes, or an offer of what
somebody may watch.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, cast

from meshturn.root import MeshturnError
from stun.address import Address
from turnserver.media.dtls import DtlsRole, Fingerprint
from turnserver.media.ice import IceCredentials

__all__ = [
    "MAX_DESCRIPTION",
    "MOST_SECTIONS",
    "Direction",
    "LocalTransport",
    "MediaDescription",
    "PayloadFormat",
    "RtpStream",
    "SdpError",
    "SectionKind",
    "SessionDescription",
    "read_description",
    "write_description",
]

MAX_DESCRIPTION: Final = 256 * 1024
"""Bytes of a description. A browser's answer for thirty people has 60 KB; one offer with every codec, 10 KB."""

MOST_SECTIONS: Final = 256
"""Media sections: sound, camera and screen of thirty people are 90, and ended ones stay in their place."""

_MOST_LINES: Final = 16_384
_MOST_FORMATS: Final = 128
"""Payload types have seven bits."""

_MOST_STREAMS: Final = 32
"""SSRCs of a section: three layers, each with its RTX and FEC, are nine."""

_MOST_RIDS: Final = 16
_MOST_EXTENSIONS: Final = 64
_MOST_FINGERPRINTS: Final = 8
_MAX_TOKEN: Final = 256
"""Bytes of a mid, an id of a stream, a name: browsers use up to 36 for most, and Chromium 16 for rids."""

_MAX_PARAMETERS: Final = 1024

Direction = Literal["sendrecv", "sendonly", "recvonly", "inactive"]
SectionKind = Literal["audio", "video"]

_DIRECTIONS: Final = frozenset({"sendrecv", "sendonly", "recvonly", "inactive"})
_TOKEN: Final = re.compile(r"[!#$%&'*+\-.0-9A-Z^_`a-z{|}~]+", re.ASCII)
_NAME: Final = re.compile(r"[!-~]+", re.ASCII)
_ICE_CHARS: Final = re.compile(r"[A-Za-z0-9+/]+", re.ASCII)
_RID: Final = re.compile(r"[A-Za-z0-9_-]{1,32}", re.ASCII)
_HEX: Final = re.compile(r"[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){15,63}", re.ASCII)
_SPELLING: Final = {name.lower(): name for name in ("VP8", "VP9", "H264", "AV1")}
"""Names of encodings as they are registered; they are the same in any case (RFC 8866 §6.6), but not for everybody."""

_DIGITS: Final = re.compile(r"[0-9]{1,10}", re.ASCII)


class SdpError(MeshturnError):
    """The description cannot be used; the text says in a few words why."""


class PayloadFormat(NamedTuple):
    """What a payload type stands for: ``a=rtpmap``, ``a=fmtp`` and ``a=rtcp-fb``; ``encoding`` is in lower case."""

    payload_type: int
    encoding: str
    clock_rate: int
    channels: int = 1
    parameters: str = ""
    feedback: tuple[str, ...] = ()

    def parameter(self, name: str) -> str | None:
        """The value of one parameter of ``a=fmtp``, such as ``apt``."""
        for part in self.parameters.split(";"):
            key, _, value = part.strip().partition("=")
            if key.lower() == name:
                return value.strip()
        return None


class RtpStream(NamedTuple):
    """One stream that a description names by SSRC, with that of its RTX if it has one (``a=ssrc-group:FID``)."""

    ssrc: int
    rtx: int | None = None


@dataclass(frozen=True, slots=True)
class MediaDescription:
    """One media section. ``kind`` is None for what an SFU has no use for, such as data channels."""

    kind: SectionKind | None
    mid: str
    direction: Direction = "sendrecv"
    formats: tuple[PayloadFormat, ...] = ()
    extensions: tuple[tuple[int, str], ...] = ()
    """Ids and URIs of header extensions."""
    rids: tuple[str, ...] = ()
    """The layers of simulcast that the side which sends has, in its order: usually the smallest first."""
    streams: tuple[RtpStream, ...] = ()
    stream_id: str = ""
    track_id: str = ""
    cname: str = ""
    rejected: bool = False
    """Whether its port is zero: the section only keeps its place."""
    reduced_size: bool = False
    """Whether RTCP packets may stand alone (RFC 5506)."""
    head: tuple[str, str] = ("", "")
    """The medium, and protocol with formats, as they were read, for the answer that rejects it."""

    def extension(self, uri: str) -> int:
        """The id of a header extension; 0 without it."""
        return next((number for number, known in self.extensions if known == uri), 0)


@dataclass(frozen=True, slots=True)
class SessionDescription:
    """A whole description of the other side."""

    credentials: IceCredentials
    fingerprints: tuple[Fingerprint, ...]
    setup: Literal["actpass", "active", "passive"]
    media: tuple[MediaDescription, ...]
    lite: bool = False

    @property
    def our_role(self) -> DtlsRole:
        """This side's role in DTLS (RFC 5763 §5): the server, unless the other side wants to be that."""
        return "client" if self.setup == "passive" else "server"


@dataclass(frozen=True, slots=True)
class LocalTransport:
    """What this side's descriptions say of the transport. ``setup``: ``actpass`` in an offer (RFC 8842 §5.2)."""

    credentials: IceCredentials
    fingerprint: Fingerprint
    candidates: tuple[Address, ...]
    setup: Literal["actpass", "active", "passive"]
    session: int
    """The number of the session in ``o=``: the same in all its descriptions."""
    version: int
    """One more in each of its descriptions (RFC 8829 §5.2.1)."""


# Reading


class _Section:
    """The lines of one section, or of the session: attributes by name, and the ``m=`` line."""

    def __init__(self, head: str) -> None:
        self.head = head
        self.attributes: dict[str, list[str]] = {}

    def all(self, name: str, most: int) -> list[str]:
        """The values of an attribute; raises `SdpError` if there are too many."""
        values = self.attributes.get(name, [])
        if len(values) > most:
            raise SdpError(f"more than {most} a={name}")
        return values

    def one(self, name: str) -> str | None:
        """The value of an attribute that occurs once; the first one counts."""
        values = self.attributes.get(name)
        return values[0] if values else None


def read_description(text: str) -> SessionDescription:
    """Read an offer or an answer. Raises `SdpError`."""
    session, *sections = _sections(text)
    if not sections:
        raise SdpError("no media section")
    media = tuple(_media(section) for section in sections)
    mids = [each.mid for each in media]
    if len(set(mids)) != len(mids):
        raise SdpError("a mid twice")
    bundled = _bundle(session)
    for each in media:
        if not each.rejected and each.mid not in bundled:
            raise SdpError("a media section outside of BUNDLE")
    at = next((number for number, each in enumerate(media) if not each.rejected), 0)
    first = sections[mids.index(bundled[0])] if bundled and bundled[0] in mids else sections[at]
    return SessionDescription(
        _credentials(first, session),
        _fingerprints(first, session),
        _setup(first, session),
        media,
        lite="ice-lite" in session.attributes,
    )


def _sections(text: str) -> list[_Section]:
    """Split into the session and its media sections (RFC 8866 §5)."""
    if len(text) > MAX_DESCRIPTION:
        raise SdpError("too long")
    lines = text.replace("\r\n", "\n").split("\n")
    if len(lines) > _MOST_LINES:
        raise SdpError("too many lines")
    if lines[0] != "v=0":
        raise SdpError("it does not begin with v=0")
    found = [_Section("")]
    for line in lines[1:]:
        if line.startswith("m="):
            if len(found) > MOST_SECTIONS:
                raise SdpError(f"more than {MOST_SECTIONS} media sections")
            found.append(_Section(line[2:]))
        elif line.startswith("a="):
            name, _, value = line[2:].partition(":")
            found[-1].attributes.setdefault(name, []).append(value)
        elif line and line[1:2] != "=":
            raise SdpError("a line that is none")
    return found


def _bundle(session: _Section) -> list[str]:
    for value in session.all("group", 8):
        semantics, *mids = value.split() or [""]
        if semantics == "BUNDLE":
            return mids[:MOST_SECTIONS]
    return []


def _either(name: str, section: _Section, session: _Section) -> str | None:
    """An attribute of the section, or else of the session."""
    return section.one(name) or session.one(name)


def _credentials(section: _Section, session: _Section) -> IceCredentials:
    """RFC 8839 §5.4: 4 to 256 and 22 to 256 characters."""
    ufrag, pwd = _either("ice-ufrag", section, session), _either("ice-pwd", section, session)
    if ufrag is None or pwd is None:
        raise SdpError("no ICE credentials")
    if not (4 <= len(ufrag) <= 256 and 22 <= len(pwd) <= 256 and _ICE_CHARS.fullmatch(ufrag + pwd)):
        raise SdpError("ICE credentials that are none")
    return IceCredentials(ufrag, pwd)


def _fingerprints(section: _Section, session: _Section) -> tuple[Fingerprint, ...]:
    found = []
    values = section.all("fingerprint", _MOST_FINGERPRINTS) or session.all("fingerprint", _MOST_FINGERPRINTS)
    for value in values:
        algorithm, _, digits = value.partition(" ")
        if not _HEX.fullmatch(digits.strip()):
            raise SdpError("a fingerprint that is none")
        found.append(Fingerprint(algorithm.lower(), bytes.fromhex(digits.strip().replace(":", ""))))
    if not any(each.algorithm in {"sha-256", "sha-384", "sha-512"} for each in found):
        raise SdpError("no fingerprint by SHA-256, SHA-384 or SHA-512")
    return tuple(found)


def _setup(section: _Section, session: _Section) -> Literal["actpass", "active", "passive"]:
    value = _either("setup", section, session)
    if value not in {"actpass", "active", "passive"}:
        raise SdpError("no a=setup of DTLS")
    return cast(Literal["actpass", "active", "passive"], value)


def _media(section: _Section) -> MediaDescription:
    medium, port, protocol, *numbers = [*section.head.split(), "", "", ""][: 3 + _MOST_FORMATS]
    mid = section.one("mid") or ""
    if not _NAME.fullmatch(section.head.replace(" ", "")) or not _TOKEN.fullmatch(mid) or len(mid) > _MAX_TOKEN:
        raise SdpError("a media section without a mid")
    rejected = port == "0" and "bundle-only" not in section.attributes
    head = medium, " ".join([protocol, *filter(None, numbers)])
    known = medium in {"audio", "video"} and protocol in {"UDP/TLS/RTP/SAVPF", "UDP/TLS/RTP/SAVP"}
    if rejected or not known:
        kind = cast(SectionKind, medium) if known else None
        return MediaDescription(kind, mid, "inactive", rejected=rejected, head=head)
    if "rtcp-mux" not in section.attributes:
        raise SdpError("a media section without rtcp-mux")
    stream_id, track_id = _msid(section)
    return MediaDescription(
        cast(SectionKind, medium),
        mid,
        cast(Direction, next((name for name in section.attributes if name in _DIRECTIONS), "sendrecv")),
        tuple(_formats(section, [number for number in numbers if number])),
        tuple(_extensions(section)),
        _rids(section),
        tuple(_streams(section)),
        stream_id,
        track_id,
        _cname(section),
        reduced_size="rtcp-rsize" in section.attributes,
        head=head,
    )


def _integer(text: str, most: int) -> int:
    if not _DIGITS.fullmatch(text) or int(text) > most:
        raise SdpError("a number out of range")
    return int(text)


def _formats(section: _Section, numbers: Sequence[str]) -> Iterator[PayloadFormat]:
    """In the order of preference; payload types without ``a=rtpmap``, which nobody uses today, are left out."""
    maps = dict(_numbered(section, "rtpmap"))
    parameters = dict(_numbered(section, "fmtp"))
    feedback: dict[str, list[str]] = {}
    for number, value in _numbered(section, "rtcp-fb", 16 * _MOST_FORMATS):
        feedback.setdefault(number, []).append(value)
    for number in dict.fromkeys(numbers):
        payload_type = _integer(number, 127)
        encoding, *rest = maps.get(number, "").split("/")
        if not rest or not _TOKEN.fullmatch(encoding):
            continue
        channels = _integer(rest[1], 255) if len(rest) > 1 else 1
        clock = _integer(rest[0], 1_000_000)
        spoken = tuple(feedback.get(number, []) + feedback.get("*", []))
        yield PayloadFormat(payload_type, encoding.lower(), clock, channels, parameters.get(number, ""), spoken)


def _numbered(section: _Section, name: str, most: int = 2 * _MOST_FORMATS) -> Iterator[tuple[str, str]]:
    for value in section.all(name, most):
        number, _, rest = value.partition(" ")
        if len(rest) > _MAX_PARAMETERS or not rest.isprintable():
            raise SdpError(f"an a={name} that is too long, or not text")
        yield number, rest.strip()


def _extensions(section: _Section) -> Iterator[tuple[int, str]]:
    """RFC 8285 §5: ``<id>[/<direction>] <URI>``; ids beyond 14 need two bytes, those from 256 stand in offers only."""
    for value in section.all("extmap", _MOST_EXTENSIONS):
        number, _, uri = value.partition(" ")
        uri = uri.partition(" ")[0]
        identity = _integer(number.partition("/")[0], 4095)
        if 1 <= identity <= 255 and _NAME.fullmatch(uri) and len(uri) <= _MAX_TOKEN:
            yield identity, uri


def _rids(section: _Section) -> tuple[str, ...]:
    """The rids of ``a=simulcast`` (RFC 8853 §5.1): of alternatives the first, and ``~`` only says that it is paused."""
    declared = set()
    for value in section.all("rid", _MOST_RIDS):
        rid, _, _ = value.partition(" ")
        if _RID.fullmatch(rid):
            declared.add(rid)
    words = (section.one("simulcast") or "").split()
    named = dict(zip(words[::2], words[1::2], strict=False))
    chosen = named.get("send") or named.get("recv") or ""
    rids = [part.split(",")[0].removeprefix("~") for part in chosen.split(";")]
    return tuple(dict.fromkeys(rid for rid in rids if rid in declared))


def _streams(section: _Section) -> Iterator[RtpStream]:
    """The SSRCs of a section in their order, RTX beside what it repeats (RFC 5576 §4.2, RFC 4588 §8.6)."""
    pairs: dict[int, int] = {}
    for value in section.all("ssrc-group", _MOST_STREAMS):
        semantics, *numbers = value.split()[:3] or [""]
        if semantics == "FID" and len(numbers) == 2:
            pairs[_integer(numbers[0], 0xFFFFFFFF)] = _integer(numbers[1], 0xFFFFFFFF)
    found: dict[int, None] = {}
    for value in section.all("ssrc", 8 * _MOST_STREAMS):
        found[_integer(value.partition(" ")[0], 0xFFFFFFFF)] = None
    if len(found) > _MOST_STREAMS:
        raise SdpError(f"more than {_MOST_STREAMS} SSRCs")
    repeats = set(pairs.values())
    for ssrc in found:
        if ssrc not in repeats:
            yield RtpStream(ssrc, pairs.get(ssrc))


def _msid(section: _Section) -> tuple[str, str]:
    """RFC 8830 §2; aiortc says it in ``a=ssrc`` lines only when asked for an old form, so those are not read."""
    parts = (section.one("msid") or "").split()[:2]
    stream, track = [*parts, "", ""][:2]
    if len(stream) > _MAX_TOKEN or len(track) > _MAX_TOKEN or not (stream + track).isprintable():
        raise SdpError("an a=msid that is none")
    return stream, track


def _cname(section: _Section) -> str:
    for value in section.all("ssrc", 8 * _MOST_STREAMS):
        _, _, attribute = value.partition(" ")
        if attribute.startswith("cname:") and attribute.isprintable():
            return attribute[6 : 6 + _MAX_TOKEN]
    return ""


# Writing


def write_description(media: Sequence[MediaDescription], transport: LocalTransport) -> str:
    """An offer or an answer with these sections. The texts in them are as they were read, or our own."""
    mids = " ".join(each.mid for each in media if not each.rejected)
    lines = [
        "v=0",
        f"o=- {transport.session} {transport.version} IN IP4 0.0.0.0",
        "s=-",
        "t=0 0",
        *([f"a=group:BUNDLE {mids}"] if mids else []),
        "a=extmap-allow-mixed",
        "a=msid-semantic: WMS *",
        "a=ice-lite",
    ]
    # All sections go along with the first one (RFC 9143 §7.1.3), and sixty times the same would fill the offer; but of
    # several sections on one transport, aiortc takes the candidates of the last.
    taken = [each for each in media if not each.rejected]
    ends = {each.mid for each in taken[:1] + taken[-1:]}
    for each in media:
        lines += _rejected(each) if each.rejected else _written(each, transport)
        lines += _candidates(transport) if not each.rejected and each.mid in ends else []
    return "\r\n".join(lines) + "\r\n"


def _rejected(media: MediaDescription) -> list[str]:
    medium, rest = media.head if media.head[0] else (media.kind, "UDP/TLS/RTP/SAVPF 0")
    return [f"m={medium} 0 {rest}", "c=IN IP4 0.0.0.0", "a=inactive", f"a=mid:{media.mid}"]


def _written(media: MediaDescription, transport: LocalTransport) -> list[str]:
    first = transport.candidates[0] if transport.candidates else Address(bytes(4), 9)
    numbers = " ".join(str(each.payload_type) for each in media.formats)
    lines = [
        f"m={media.kind} {first.port} UDP/TLS/RTP/SAVPF {numbers}",
        f"c=IN IP{4 if len(first.ip) == 4 else 6} {first.host}",
        "a=rtcp-mux",
        *(["a=rtcp-rsize"] if media.reduced_size else []),
        f"a=mid:{media.mid}",
        f"a=ice-ufrag:{transport.credentials.ufrag}",
        f"a=ice-pwd:{transport.credentials.pwd}",
        f"a=fingerprint:{transport.fingerprint}",
        f"a=setup:{transport.setup}",
        f"a={media.direction}",
        *(f"a=extmap:{number} {uri}" for number, uri in media.extensions),
    ]
    for each in media.formats:
        lines += _format(each)
    lines += _simulcast(media)
    lines += _sources(media)
    return lines


def _candidates(transport: LocalTransport) -> list[str]:
    lines = []
    for number, candidate in enumerate(transport.candidates):
        priority = 126 << 24 | (0xFFFF - number) << 8 | 0xFF
        lines.append(f"a=candidate:{number + 1} 1 udp {priority} {candidate.host} {candidate.port} typ host")
    return [*lines, "a=end-of-candidates"]


def _format(each: PayloadFormat) -> Iterator[str]:
    channels = f"/{each.channels}" if each.channels > 1 else ""
    encoding = _SPELLING.get(each.encoding, each.encoding)
    yield f"a=rtpmap:{each.payload_type} {encoding}/{each.clock_rate}{channels}"
    if each.parameters:
        yield f"a=fmtp:{each.payload_type} {each.parameters}"
    for feedback in each.feedback:
        yield f"a=rtcp-fb:{each.payload_type} {feedback}"


def _simulcast(media: MediaDescription) -> list[str]:
    if not media.rids:
        return []
    way = "recv" if media.direction == "recvonly" else "send"
    return [*(f"a=rid:{rid} {way}" for rid in media.rids), f"a=simulcast:{way} {';'.join(media.rids)}"]


def _sources(media: MediaDescription) -> Iterator[str]:
    if media.stream_id:
        yield f"a=msid:{media.stream_id} {media.track_id}"
    for stream in media.streams:
        if stream.rtx is not None:
            yield f"a=ssrc-group:FID {stream.ssrc} {stream.rtx}"
        for ssrc in (stream.ssrc, stream.rtx):
            if ssrc is not None:
                yield f"a=ssrc:{ssrc} cname:{media.cname}"
