"""The schema of ``signaling``: rooms, who may join them, and what participants are told about TURN."""

import re
from collections.abc import Iterator, Mapping
from ipaddress import IPv6Address
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, ValidationInfo, model_validator

from turnserver.config.context import Context, Finding, report, warn
from turnserver.config.secret import Secret
from turnserver.config.section import Section
from turnserver.config.values import LIVE, Boolean, FilePath, Rule, Sized, choice, duration, integer

__all__ = ["SHORT_KEY", "IceUrl", "KeyName", "KeysPath", "Origin", "SignalingConfig", "warn_of_rooms"]

Policy = Literal["all", "relay"]
RoomMode = Literal["mesh", "sfu", "auto"]

SHORT_KEY = 16
"""Characters below which a key can be found by trying."""

LEAST_KEY = 32
"""Bytes of a key for HS256 (RFC 7518 §3.2)."""

MAX_KEYS = 100
"""API keys, or admin keys: every one is compared with a client's key."""

MAX_PUBLIC_KEYS = 16
"""Files of public keys."""

MAX_URLS = 16
"""More than any client tries: browsers gather from every one at once."""

MAX_ORIGINS = 100

_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_NAME = rf"{_LABEL}(?:\.{_LABEL}){{0,20}}"
_V6 = r"\[[0-9A-Fa-f:.]{2,45}\]"
_ORIGIN = re.compile(
    rf"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]{{0,31}})://(?P<host>{_NAME}|{_V6})(?::(?P<port>[0-9]{{1,5}}))?", re.ASCII
)
_URL = re.compile(
    rf"(?P<scheme>stuns?|turns?):(?P<host>{_NAME}|{_V6})(?::(?P<port>[0-9]{{1,5}}))?(?:\?transport=(?P<transport>udp|tcp))?",
    re.ASCII,
)
_KEY_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
_DEFAULT_PORTS = {"http": "80", "https": "443"}


def _fits(match: re.Match[str] | None) -> bool:
    """Whether the host and the port of a match are valid."""
    if match is None:
        return False
    host, port = match["host"], match["port"]
    if host.startswith("["):
        try:
            IPv6Address(host[1:-1])
        except ValueError:
            return False
    return len(host) <= 253 and (port is None or 1 <= int(port) <= 65535)


def _read_origin(value: object, rule: Rule[str], _info: ValidationInfo) -> str:
    """Read an origin and write it as browsers do: in lower case, without the default port."""
    if value == "*":
        return "*"
    match = _ORIGIN.fullmatch(value) if isinstance(value, str) else None
    if match is None or not _fits(match):
        return rule.refuse(value)
    scheme, host = match["scheme"].lower(), match["host"].lower()
    port = str(int(match["port"])) if match["port"] else None
    return f"{scheme}://{host}" if port in {None, _DEFAULT_PORTS.get(scheme)} else f"{scheme}://{host}:{port}"


Origin = Annotated[
    str,
    Rule(
        "origin",
        'an origin as browsers send it: SCHEME://HOST or SCHEME://HOST:PORT and nothing after it, or "*" for every one',
        {"type": "string", "anyOf": [{"const": "*"}, {"pattern": "^[A-Za-z][A-Za-z0-9+.-]*://[^/?#@]+$"}]},
        _read_origin,
    ),
]
"""Where a page comes from (RFC 6454)."""


def _read_url(value: object, rule: Rule[str], _info: ValidationInfo) -> str:
    match = _URL.fullmatch(value) if isinstance(value, str) else None
    if match is None or not _fits(match):
        return rule.refuse(value)
    scheme, transport = match["scheme"], match["transport"]
    # One URL that a browser does not accept makes it refuse the whole list: stun: with a transport, TLS over UDP.
    if transport is not None and (scheme.startswith("stun") or (scheme, transport) == ("turns", "udp")):
        return rule.refuse(value)
    return match[0]


IceUrl = Annotated[
    str,
    Rule(
        "STUN or TURN URL",
        "stun:HOST[:PORT], stuns:HOST[:PORT], turn:HOST[:PORT][?transport=udp or tcp] or "
        "turns:HOST[:PORT][?transport=tcp], an IPv6 address in brackets",
        {
            "type": "string",
            "pattern": "^(stuns?:[^?]+|turn:[^?]+(\\?transport=(udp|tcp))?|turns:[^?]+(\\?transport=tcp)?)$",
        },
        _read_url,
    ),
]
"""A URL of an ICE server that browsers accept (RFC 7064, RFC 7065)."""


def _read_key_name(value: object, rule: Rule[str], _info: ValidationInfo) -> str:
    return value if isinstance(value, str) and _KEY_NAME.fullmatch(value) else rule.refuse(value)


KeyName = Annotated[
    str,
    Rule(
        "name",
        "a name of 1 to 64 letters, digits, dots, hyphens and underscores that starts with a letter or a digit",
        {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"},
        _read_key_name,
    ),
]
"""The name of a key in the log."""


def _read_keys_path(value: object, rule: Rule[Path], info: ValidationInfo) -> Path:
    if not isinstance(value, str | Path) or not str(value) or "\0" in str(value):
        return rule.refuse(value)
    directory = info.context.directory if isinstance(info.context, Context) else Path.cwd()
    return directory / str(value)


KeysPath = Annotated[
    Path,
    Rule(
        "path",
        "the path of the file that `meshturn keys` writes (relative paths start at the configuration file)",
        {"type": "string", "minLength": 1},
        _read_keys_path,
    ),
]
"""A file that need not be there yet: `meshturn keys create` makes it while the server runs."""


class SignalingConfig(Section):
    """Rooms for small calls: the WebSocket `/v1/ws`, the HTTP API and the call page `/call/ROOM`.

    Served on every `shared` listener. Joining a room needs a token (from `meshturn rooms token`, from
    `POST /v1/tokens` with an API key, or signed elsewhere with a key of `public_keys`), or only the room's name if
    `open` is true.
    """

    enabled: Boolean = Field(
        default=True,
        description="Whether `shared` listeners serve rooms. `false` leaves a plain STUN and TURN server.",
    )
    open: Annotated[Boolean, LIVE] = Field(
        default=False,
        description="Let anybody who knows the name of a room join it, without a token. Participants can relay through "
        "this server, so this is for private networks and for tests.",
    )
    origins: Annotated[tuple[Origin, ...], Sized(MAX_ORIGINS), LIVE] = Field(
        default=(),
        description="Origins of other pages that may use the rooms and the API (`https://app.example.org`), or "
        '`"*"` for every page. Pages of this server always may. Programs that send no origin are not restricted.',
    )
    frame_ancestors: Annotated[tuple[Origin, ...], Sized(MAX_ORIGINS), LIVE] = Field(
        default=(),
        description='Origins of pages that may show the call page in a frame, or `"*"` for every page. The frame needs '
        '`allow="camera; microphone; display-capture; fullscreen"`.',
    )
    key: Annotated[Secret | None, LIVE] = Field(
        default=None,
        description="The secret that signs room tokens (HS256), at least 32 bytes. Without one, keys are derived from "
        "`auth.shared_secrets`: the first one signs, all are accepted.",
    )
    public_keys: Annotated[tuple[FilePath, ...], Sized(MAX_PUBLIC_KEYS), LIVE] = Field(
        default=(),
        description="Files with public keys of other signers of room tokens: PEM, or a JSON Web Key Set (RFC 7517). "
        "RSA keys are for RS256, P-256 keys for ES256, Ed25519 keys for EdDSA; other algorithms are refused.",
    )
    api_keys: Annotated[Mapping[KeyName, Secret], Sized(MAX_KEYS, mapping=True), LIVE] = Field(
        default={},
        description="Keys of programs that may ask for TURN credentials (`GET /v1/turn`) and room tokens "
        "(`POST /v1/tokens`): name → secret. The name is logged, the secret is not. They are keys with the scopes "
        "`turn` and `tokens`.",
    )
    admin_keys: Annotated[Mapping[KeyName, Secret], Sized(MAX_KEYS, mapping=True), LIVE] = Field(
        default={},
        description="Keys that allow everything that the API can do (`meshturn rooms`, `meshturn drain`): name → "
        "secret. They are keys with the scope `admin`.",
    )
    keys_file: Annotated[KeysPath | None, LIVE] = Field(
        default=None,
        description="The file of the keys that `meshturn keys create` makes, each with its scopes (`turn`, `tokens`, "
        "`rooms`, `probe`, `admin:read`, `admin`); it has only their hashes. The server sees every change of it at "
        "once. It need not be there yet, and its directory has to be writable for whoever runs `meshturn keys`.",
    )
    mode: Annotated[RoomMode, choice(RoomMode)] = Field(
        default="mesh",
        description="How media go between participants. `mesh`: directly, each to all others. `sfu`: through this "
        "server, which decrypts them, so that each sends once only. `auto`: directly in rooms of up to "
        "`signaling.room_size` people, and through the server in larger ones, up to `media.room_size`.",
    )
    room_size: Annotated[int, integer(2, 8), LIVE] = Field(
        default=4,
        description="Participants in one room that is a mesh, at most. There each sends to all others: with more than "
        "4, home connections and phones are overloaded.",
    )
    rooms: Annotated[int, integer(1, 100_000), LIVE] = Field(
        default=1000,
        description="Rooms at once, at most.",
    )
    credential_lifetime: Annotated[int, duration(10, 86400), LIVE] = Field(
        default=600,
        description="Lifetime of the participants' TURN credentials, in which they can make allocations. They are "
        "replaced before they expire, and existing allocations continue, so a short time is safe.",
    )
    policy: Annotated[Policy, choice(Policy), LIVE] = Field(
        default="all",
        description="Which paths participants may use: `all`, or `relay` for relayed paths only, which hide their "
        "addresses from one another.",
    )
    urls: Annotated[tuple[IceUrl, ...], Sized(MAX_URLS), LIVE] = Field(
        default=(),
        description="The STUN and TURN URLs for participants. Without any, those of the listeners, with the host name "
        "that the participant used. Behind a proxy or a CDN, TURN has another host name: set this option.",
    )
    resume: Annotated[int, duration(5, 600), LIVE] = Field(
        default=60,
        description="How long a participant whose connection is lost stays in the room.",
    )
    heartbeat: Annotated[int, duration(1, 60), LIVE] = Field(
        default=15,
        description="Seconds between a client's pings.",
    )
    sockets_per_address: Annotated[int, integer(1, 10_000), LIVE] = Field(
        default=50,
        description="WebSockets at once from one IPv4 address or IPv6 /64 whose participants have not shown a room "
        "token. A school or an office may share one address: where rooms are open to all, set it higher for more "
        "people. Those with a token are not counted here: for them there are eight times as many, within "
        "`limits.connections_per_address`.",
    )

    @model_validator(mode="after")
    def _keys_are_good(self, info: ValidationInfo) -> Self:
        for finding in (*self._unfit_key(), *self._shared_keys()):
            report(info, "signaling", finding)
        keys = {f"signaling.api_keys.{name}": key for name, key in self.api_keys.items()}
        keys |= {f"signaling.admin_keys.{name}": key for name, key in self.admin_keys.items()}
        for path, key in keys.items():
            if len(key.get_secret_value()) < SHORT_KEY:
                warn(info, f"{path} is shorter than {SHORT_KEY} characters: it can be guessed.")
        return self

    def _unfit_key(self) -> Iterator[Finding]:
        """With one token, keys can be tried offline, so a short key can be found. A public key is known to all."""
        if self.key is None:
            return
        text = self.key.get_secret_value()
        if text.startswith(("{", "ssh-", "ecdsa-")):
            yield Finding(("key",), "a key of a pair (JWK or SSH)", "a secret text of this server's own")
        size = len(text.encode())
        if size < LEAST_KEY:
            yield Finding(("key",), f"a key of {size} bytes", f"at least {LEAST_KEY} bytes for HS256 (RFC 7518 §3.2)")

    def _shared_keys(self) -> Iterator[Finding]:
        """One secret under two names: an API key would be an admin key, and neither could be withdrawn alone."""
        seen: dict[Secret, str] = {} if self.key is None else {self.key: "signaling.key"}
        for section, keys in (("admin_keys", self.admin_keys), ("api_keys", self.api_keys)):
            for name, key in keys.items():
                if key in seen:
                    yield Finding((section, name), f"the secret of {seen[key]} again", "a secret of its own")
                seen.setdefault(key, f"signaling.{section}.{name}")

    @property
    def is_asked_for(self) -> bool:
        """Whether an option says who may join or use the API, which has an effect only where rooms are served."""
        by_key = self.api_keys or self.admin_keys or self.keys_file
        return self.enabled and bool(self.open or self.key or self.public_keys or by_key)


def warn_of_rooms(signaling: SignalingConfig, *, served: bool, shared_secrets: bool) -> Iterator[str]:
    """Yield a sentence for each thing that rooms lack; ``served`` says whether there is a listener for them."""
    if not signaling.enabled:
        return
    if not served:
        if signaling.is_asked_for:
            yield "There is no shared listener, so there are no rooms: signaling is served on shared listeners."
        return
    joinable = signaling.open or signaling.key is not None or bool(signaling.public_keys) or shared_secrets
    if joinable and not shared_secrets:
        yield (
            "There are no auth.shared_secrets: participants of rooms get no TURN credentials, and calls fail wherever "
            "there is no direct path."
        )
