"""Rooms on a terminal. Text from a server is hostile: nothing in it may control the terminal."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from cli.console import facts, out_console, say, title
from turnserver.text import amount, one_line

__all__ = ["show_room", "show_rooms", "show_token"]

_LONGEST = 48
"""Characters of a name that are shown."""

_PATHS = {"relay": "through the relay", "direct": "directly", "unknown": "not known"}


def show_token(token: str, link: str, expires: int) -> None:
    """Show a room token and the link that it opens."""
    console = out_console()
    rows = [("token", token), ("good until", _moment(expires))]
    facts(console, [("link", link), *rows] if link else rows)


def show_rooms(found: Any) -> None:
    """Show a list of rooms."""
    console = out_console()
    rooms = _dicts(_get(found, "rooms"))
    if not rooms:
        say(console, "There are no rooms now.")
        return
    table = _table("room", "people", "door", "since")
    for room in rooms:
        people = f"{_word(room.get('count'))} of {_word(room.get('max'))}"
        table.add_row(*_cells(_word(room.get("id")), people, _door(room), _moment(room.get("created"))))
    console.print(table)


def show_room(found: Any) -> None:
    """Show one room: its participants, and the path of each pair."""
    console = out_console()
    room = found if isinstance(found, dict) else {}
    peers = _dicts(room.get("peers"))
    names = {str(peer.get("id")): _word(peer.get("name")) for peer in peers}
    people = f"{len(peers)} of {_word(room.get('max'))}"
    media = room.get("media") if isinstance(room.get("media"), dict) else None
    title(console, _word(room.get("id")))
    rows = [("people", people), ("door", _door(room)), ("since", _moment(room.get("created")))]
    if room.get("recorded") is not None:
        rows.append(("recorded since", _moment(room.get("recorded"))))
    facts(console, [*rows, ("media", _way(room, media, names))])
    if not peers:
        return
    table = _table("participant", "name", "role", "media", "since", "signaling")
    for peer in peers:
        there = "connected" if peer.get("connected") else "lost, may return"
        moment = _moment(peer.get("joined"))
        row = (_word(peer.get("id")), names[str(peer.get("id"))], _word(peer.get("role")), _media(peer), moment, there)
        table.add_row(*_cells(*row))
    console.print()
    console.print(table)
    if media is not None:
        _show_media(media, names)
    # Through an SFU, only pairs of a room that has just changed, or is about to, have a path of their own.
    pairs = [pair for pair in _dicts(room.get("pairs")) if room.get("mode") != "sfu" or pair.get("path") != "unknown"]
    if pairs:
        table = _table("pair", "path", "carried → / ←", "candidates", "round trip")
        for pair in pairs:
            table.add_row(*_cells(*_pair(pair, names)))
        console.print()
        console.print(table)


def _show_media(media: Mapping[str, Any], names: Mapping[str, str]) -> None:
    """What the SFU gets of each participant, and what it sends to each."""
    console = out_console()
    peers = _dicts(media.get("peers"))
    sent = _table("sends", "source", "codec", "layer", "height", "bit rate", "packets", "lost", "NACKs", "PLIs")
    received = _table("receives", "sound", "pictures", "paused", "bit rate", "estimate", "NACKs", "sent again")
    for peer in peers:
        name = names.get(str(peer.get("id")), _word(peer.get("id")))
        for track in _dicts(peer.get("tracks")):
            source = _word(track.get("source")) + (", muted" if track.get("muted") else "")
            for layer in _dicts(track.get("layers")):
                counted = [_word(layer.get(each)) for each in ("packets", "lost", "nacks", "plis")]
                height = _word(layer.get("height") or None)
                rate = _rate(layer.get("bitrate"))
                codec, rid = _word(track.get("codec")), _word(layer.get("rid") or None)
                sent.add_row(*_cells(name, source, codec, rid, height, rate, *counted))
        received.add_row(*_cells(name, *_received(peer)))
    for table in (sent, received):
        if table.row_count:
            console.print()
            console.print(table)


def _received(peer: Mapping[str, Any]) -> tuple[str, str, str, str, str, str, str]:
    streams = _dicts(peer.get("forwarded"))
    voices = [each for each in streams if str(each.get("source")).endswith("audio")]
    pictures = [each for each in streams if each not in voices]
    shown = [each for each in pictures if each.get("rid") is not None]
    return (
        str(len(voices)),
        str(len(shown)),
        str(len(pictures) - len(shown)),
        _rate(peer.get("sending")),
        _rate(peer.get("estimate")),
        str(_sum(streams, "nacked")),
        str(_sum(streams, "repeated")),
    )


def _way(room: Mapping[str, Any], media: Mapping[str, Any] | None, names: Mapping[str, str]) -> str:
    """How the media of a room go."""
    if room.get("mode") != "sfu":
        return "from each to each" if media is None else "from each to each; the SFU has the room, too"
    if media is None:
        return "through the SFU, which is not there"
    speaker = media.get("speaker")
    words = f"through the SFU, packets: {_word(media.get('packets_in'))} in, {_word(media.get('packets_out'))} out"
    return words if speaker is None else f"{words}; {names.get(str(speaker), _word(speaker))} speaks"


def _sum(entries: Sequence[Mapping[str, Any]], key: str) -> int:
    return sum(value for each in entries if isinstance(value := each.get(key), int))


def _rate(value: Any) -> str:
    value = _number(value)
    if value is None:
        return "–"
    return f"{value / 1e6:.1f} Mbit/s" if value >= 1e6 else f"{value / 1000:.0f} kbit/s"


def _table(*columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _cells(*texts: str) -> list[Text]:
    return [Text(one_line(text)) for text in texts]


def _pair(pair: Mapping[str, Any], names: Mapping[str, str]) -> tuple[str, str, str, str, str]:
    ends = [str(pair.get(end)) for end in ("a", "b")]
    who = " ↔ ".join(names.get(end, end) for end in ends)
    path = _PATHS.get(str(pair.get("path")), "not known")
    proto, relay_of = pair.get("proto"), pair.get("relay_of")
    if pair.get("path") == "relay":
        whose = {"a": names.get(ends[0], ends[0]), "b": names.get(ends[1], ends[1]), "both": "both"}.get(str(relay_of))
        path += f", {_word(proto).upper()}" if proto else ""
        path += f" ({whose})" if whose else ""
    if pair.get("seen_by") == "clients":
        path += ", they say"
    carried = _get(pair, "bytes")
    amount = f"{_bytes(_get(carried, 'a_to_b'))} / {_bytes(_get(carried, 'b_to_a'))}"
    kinds = _get(pair, "candidates")
    listed = " / ".join(_kinds(_get(kinds, end)) for end in ("a", "b"))
    stats = _get(pair, "reports")
    times = [_get(_get(stats, end), "rtt") for end in ("a", "b")]
    known = [float(time) for time in times if isinstance(time, int | float) and not isinstance(time, bool)]
    return who, path, amount, listed, f"{max(known):.0f} ms" if known else "–"


def _get(value: Any, key: str) -> Any:
    return value.get(key) if isinstance(value, dict) else None


def _dicts(value: Any) -> Sequence[Mapping[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _word(value: Any) -> str:
    return "–" if value is None else one_line(str(value), _LONGEST)


def _door(room: Mapping[str, Any]) -> str:
    if not room.get("locked"):
        return "open"
    return "knock first" if room.get("knock") else "locked"


def _media(peer: Mapping[str, Any]) -> str:
    media = peer.get("media")
    on = [word for key, word in (("a", "microphone"), ("v", "camera"), ("s", "screen")) if _get(media, key)]
    return ", ".join(on) or "none"


def _kinds(value: Any) -> str:
    return ", ".join(_word(each) for each in value[:8]) if isinstance(value, list) and value else "–"


def _number(value: Any) -> float | None:
    """A number as such; None for anything else, and for what no counter of bytes can be."""
    known = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 2**64
    return float(value) if known else None


def _bytes(value: Any) -> str:
    value = _number(value)
    return "–" if value is None else amount(value)


def _moment(value: Any) -> str:
    try:
        return datetime.fromtimestamp(float(value), UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (TypeError, ValueError, OverflowError, OSError):
        return "–"
