"""What ``meshturn check`` says of the SFU: which rooms go through it, its ports, and the libraries that it needs."""

from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from turnserver.config import Config
    from turnserver.core.settings import RelayAddress

__all__ = ["media_facts", "media_rows", "media_warnings"]

_LIBRARIES = {"pyOpenSSL": "DTLS", "pylibsrtp": "SRTP", "av": "recordings mixed into one file"}
"""The libraries, and what each is for."""

_MODES = {
    "mesh": "directly from each participant to each",
    "sfu": "through the SFU of this server",
    "auto": "directly in rooms of up to {room_size} people, through the SFU of this server in larger ones",
}


def media_facts(config: "Config", relays: "Sequence[RelayAddress]") -> dict[str, Any]:
    """The SFU that a server with this configuration would have on this machine.

    ``problem`` is why its ports cannot be bound at present; that is tried for an instant. Without a fixed port there is
    nothing to try: one of the relays' is taken that is free. ``ports_of_relays`` are fixed ones that relays may have.
    """
    from turnserver.sfu import processes_of  # noqa: PLC0415  keeps --help quick

    mode = config.signaling.mode
    facts: dict[str, Any] = {"mode": mode, "libraries": {name: _version(name) for name in _LIBRARIES}}
    if mode == "mesh":
        nothing: dict[str, Any] = {"ports": None, "addresses": [], "processes": 0, "room_size": None, "problem": None}
        return facts | nothing | {"ports_of_relays": []}
    processes, ports, relayed = processes_of(config.media), list(config.media.ports), config.relay.ports
    own = list({len(relay.bound): relay for relay in reversed(relays)}.values())
    return facts | {
        "ports": ports or str(relayed),
        "ports_of_relays": [port for port in ports if relayed.first <= port <= relayed.last],
        "addresses": [_host(relay.external) for relay in own],
        "processes": processes,
        "room_size": config.media.room_size,
        "problem": _problem([relay.bound for relay in own], ports),
    }


def media_rows(media: dict[str, Any], mesh_size: int) -> list[tuple[str, str]]:
    """The same for people; ``mesh_size`` is how many a mesh is for."""
    rows = [("media of rooms", _MODES[media["mode"]].format(room_size=mesh_size))]
    if media["mode"] == "mesh":
        return rows
    ports = media["ports"]
    where = f"a free one of {ports}" if isinstance(ports, str) else ", ".join(map(str, ports))
    hosts = ", ".join(media["addresses"]) or "no address"
    how = f"child processes: {media['processes']} at most" if media["processes"] else "in the server's own process"
    libraries = [f"{name} {found or 'missing'} ({_LIBRARIES[name]})" for name, found in media["libraries"].items()]
    state = "" if isinstance(ports, str) else "; in use" if media["problem"] else "; free"
    return [
        *rows,
        ("SFU", f"UDP port {where}, where clients reach {hosts}{state}; rooms of up to {media['room_size']}; {how}"),
        ("SFU, libraries", ", ".join(libraries)),
    ]


def media_warnings(media: dict[str, Any]) -> list[str]:
    """What rooms would lack."""
    if media["mode"] == "mesh":
        return []
    warnings = [
        f"The SFU needs {name}, which is not installed: rooms cannot go through it."
        for name in ("pyOpenSSL", "pylibsrtp")
        if media["libraries"][name] is None
    ]
    if media["ports_of_relays"]:
        which = ", ".join(map(str, media["ports_of_relays"]))
        warnings.append(
            f"media.port: {which} is also among relay.ports, so a relay may have it when a room needs it. "
            "Take another, or none."
        )
    if media["problem"]:
        warnings.append(f"{media['problem']} If this server is running already, that is why.")
    return warnings


def _problem(ips: Sequence[bytes], ports: Sequence[int]) -> str | None:
    from stun.address import Address  # noqa: PLC0415
    from turnserver.errors import StartupError  # noqa: PLC0415
    from turnserver.media.edge import bind_media  # noqa: PLC0415

    if not ips:
        return "The SFU has no address: the server relays from none."
    try:
        for port in ports:
            for sock in bind_media([Address(ip, port) for ip in ips]):
                sock.close()
    except StartupError as error:
        return str(error)
    return None


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _host(ip: bytes) -> str:
    from stun.address import Address  # noqa: PLC0415

    return Address(ip, 0).host
