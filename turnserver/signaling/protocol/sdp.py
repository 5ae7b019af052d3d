"""Whether a session description would send audio or video (RFC 8866 §5, §6.7)."""

from typing import Final

__all__ = ["sends_media"]

_DIRECTIONS: Final = {"sendrecv": True, "sendonly": True, "recvonly": False, "inactive": False}
_MEDIA: Final = ("audio", "video")


def sends_media(sdp: str) -> bool:
    """True if an audio or video section is not refused and its direction includes sending, which is the default."""
    whole = True
    sending: list[bool] = []
    in_section = counts = False
    for raw in sdp.split("\n"):
        line = raw.strip()
        if line.startswith("m="):
            fields = line[2:].split()
            in_section = True
            counts = len(fields) > 1 and fields[0] in _MEDIA and fields[1].partition("/")[0].strip("0") != ""
            if counts:
                sending.append(whole)
        elif line.startswith("a=") and (direction := _DIRECTIONS.get(line[2:])) is not None:
            if not in_section:
                whole = direction
            elif counts:
                sending[-1] = direction
    return any(sending)
