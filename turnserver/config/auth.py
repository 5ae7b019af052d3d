"""The schema of ``auth``: who may relay, and where their credentials come from."""

import re
from collections.abc import Iterator, Mapping
from ipaddress import ip_address
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, GetJsonSchemaHandler, ValidationInfo, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from auth.ephemeral import NameOrder
from turnserver.config.context import Finding, refuse, report, warn
from turnserver.config.secret import FORMS, SCHEMA, Secret
from turnserver.config.section import Section
from turnserver.config.user_secret import UserSecret
from turnserver.config.values import (
    LIVE,
    MAX_ITEMS,
    Boolean,
    Named,
    Rule,
    SeparatorText,
    Sized,
    UserName,
    choice,
    duration,
    integer,
    kind_of,
)
from turnserver.core.types import IpAddress, OnRemoval
from turnserver.credentials.private import is_private
from turnserver.credentials.registry import SOURCES
from turnserver.credentials.signature import signing_key

__all__ = ["AuthConfig", "HookConfig", "HookUrl", "SharedSecretConfig", "warn_of_credentials"]

Hash = Literal["sha1", "sha256"]

MAX_SHARED_SECRETS = 16
"""Each one costs a hash per unauthenticated request."""

MAX_SOURCES = 16

MAX_URL = 2000

MAX_HOST = 253
"""RFC 1035 §2.3.4."""

SHORT_SECRET = 16
"""Characters below which a shared secret can be found by trying (an attacker can test guesses offline)."""


class SharedSecretConfig(Section):
    """A secret shared with the back end that issues time-limited credentials; a text alone has `hash: sha1`."""

    secret: Secret = Field(description="The secret itself: a text, `{file: PATH}` or `{env: NAME}`.")
    hash: Annotated[Hash, choice(Hash)] = Field(
        default="sha1",
        description="The hash of the HMAC that makes passwords. coturn and all back ends support `sha1` (which is "
        "still secure in an HMAC); use `sha256` if both sides support it.",
    )

    @model_validator(mode="before")
    @classmethod
    def _secret_alone(cls, data: Any) -> Any:
        """Accept a secret by itself. Errors do not name unknown keys, because one may be the secret."""
        if isinstance(data, SharedSecretConfig):
            return data
        keys = set(data) if isinstance(data, Mapping) else set()
        if isinstance(data, str | Secret) or keys in ({"file"}, {"env"}):
            return {"secret": data}
        if keys not in ({"secret"}, {"secret", "hash"}):
            refuse(kind_of(data), f"{FORMS}, or a mapping of secret and hash")
        return data

    @model_validator(mode="after")
    def _long_enough(self, info: ValidationInfo) -> Self:
        if len(self.secret.get_secret_value()) < SHORT_SECRET:
            warn(
                info,
                f"A shared secret is shorter than {SHORT_SECRET} characters: clients with a credential can guess it.",
            )
        return self

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Allow the secret alone as well."""
        return {"anyOf": [SCHEMA, handler(schema)]}


_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_HOST = re.compile(rf"{_LABEL}(?:\.{_LABEL}){{0,20}}", re.ASCII)
_PRINTABLE = re.compile(r"[!-~]+", re.ASCII)


def _read_hook_url(value: object, rule: Rule[str], _info: ValidationInfo) -> str:
    """Read a URL. Errors never repeat it, because it may contain a password."""
    if value == "":
        return ""
    if not isinstance(value, str) or len(value) > MAX_URL or not _PRINTABLE.fullmatch(value):
        refuse(kind_of(value), rule.allowed)
    try:
        parts = urlsplit(value)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        refuse("a text that is not a URL", rule.allowed)
    if parts.scheme not in {"http", "https"} or port == 0:
        refuse("a URL with another scheme", rule.allowed)
    if "@" in parts.netloc or "#" in value:
        refuse("a URL with a user, a password or a fragment", rule.allowed)
    address = _address_of(host)
    if address is None and not (_HOST.fullmatch(host) and len(host) <= MAX_HOST):
        refuse("a URL without a usable host", rule.allowed)
    if parts.scheme == "http" and address is not None and not is_private(address):
        refuse("http to a public address", "https, because http shows the passwords to the network")
    return value


HookUrl = Annotated[
    str,
    Rule(
        "URL",
        "https://HOST[:PORT][/PATH], http:// for this host and private networks; an IPv6 address in brackets",
        {"type": "string", "maxLength": MAX_URL, "pattern": "^(https?://[^@#]+)?$"},
        _read_hook_url,
    ),
]
"""The URL of a credential hook."""


def _address_of(host: str) -> IpAddress | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


def _leaves_the_host(url: str) -> bool:
    """Whether requests to that URL cross a network in clear text."""
    host = urlsplit(url).hostname or ""
    address = _address_of(host)
    return urlsplit(url).scheme == "http" and host != "localhost" and not (address is not None and address.is_loopback)


class HookConfig(Section):
    """A program of yours that looks up users: the server asks it for their credentials over HTTP.

    [credential-hook.md](credential-hook.md) describes the protocol, with an example.
    """

    url: Annotated[HookUrl, LIVE] = Field(
        default="",
        description="The URL of the program, with `https`. `http` is for a program on this host or in a private "
        "network: such requests go to loopback and private addresses only, even if the name resolves to others. "
        "Empty: there is no hook. The URL must not contain secrets, because it is shown.",
    )
    secret: Annotated[Secret | None, LIVE] = Field(
        default=None,
        description="The key that signs every request (HMAC-SHA256), so that the program can refuse other clients. "
        "`whsec_…` in the form of Standard Webhooks, or any text.",
    )
    timeout: Annotated[int, duration(1, 4), LIVE] = Field(
        default=3,
        description="How long a response may take. After that the client gets 500, which means: try again. "
        "No client waits for more than 5 seconds.",
    )
    cache: Annotated[int, duration(0, 3600), LIVE] = Field(
        default=60,
        description="How long a response is cached. After a password has changed, the old one is accepted and the new "
        "one refused for at most this time. Revoking a user removes its entries; reading the configuration again "
        "empties the cache.",
    )
    cache_unknown: Annotated[int, duration(0, 300), LIVE] = Field(
        default=5,
        description="How long it is cached that a name is unknown. A new user may be refused for at most this time.",
    )
    connections: Annotated[int, integer(1, 256), LIVE] = Field(
        default=16,
        description="The largest number of simultaneous requests, each on its own connection. Further requests wait; "
        "the wait is part of the timeout.",
    )
    userhash: Annotated[Boolean, LIVE] = Field(
        default=False,
        description="The program can also find users by the hash of their name (USERHASH, RFC 8489 §14.4). The server "
        "offers USERHASH to clients only if all credential sources can.",
    )

    @model_validator(mode="after")
    def _usable(self, info: ValidationInfo) -> Self:
        if self.url and self.secret is None:
            allowed = "a secret shared with the program; without it, anybody else could ask the program for passwords"
            report(info, "auth", Finding(("hook", "secret"), "nothing", allowed))
        if self.secret is not None:
            text = self.secret.get_secret_value()
            try:
                key = signing_key(text)
            except ValueError:
                refuse("whsec_ without valid base64 after it", FORMS, ("secret",))
            if len(key) < SHORT_SECRET:
                warn(info, f"auth.hook.secret is shorter than {SHORT_SECRET} characters: it can be guessed.")
            if not self.url:
                warn(info, "There is an auth.hook.secret but no auth.hook.url: the hook is not used.")
        if _leaves_the_host(self.url):
            warn(
                info,
                "auth.hook.url is http: anybody who can read that network can read the passwords; use https.",
            )
        return self


def _once(sources: tuple[str, ...]) -> tuple[str, ...]:
    for index, name in enumerate(sources):
        if name in sources[:index]:
            refuse(f"{name} again", "each source once", (index,))
    return sources


class AuthConfig(Section):
    """Who may relay. Without users, shared secrets and a hook, the server answers STUN Binding requests only."""

    sources: Annotated[tuple[Annotated[str, Named(SOURCES)], ...], AfterValidator(_once), Sized(MAX_SOURCES), LIVE] = (
        Field(
            default=("users", "shared_secrets", "hook"),
            description="The credential sources, in the order in which they are searched; the first one that has the "
            "user counts. Each is configured by the option with its name, and is not used without it. `nobody` has no "
            "users.",
        )
    )

    users: Annotated[Mapping[UserName, UserSecret], Sized(MAX_ITEMS, mapping=True), LIVE] = Field(
        default={},
        description="Users with a password that does not expire: name → secret. Instead of the password, `{key: …}` "
        "has the long-term key that was made from it, in hexadecimal digits, as a text, `{file: PATH}` or "
        "`{env: NAME}`: the MD5 of `NAME:REALM:PASSWORD` has 32 (what coturn's `turnadmin -k` prints, without `0x`), "
        "the SHA-256 (RFC 8489 §18.5.1.2) 64. A key is for one realm, and a client that chooses the other algorithm is "
        "refused: browsers use MD5.",
    )
    shared_secrets: Annotated[tuple[SharedSecretConfig, ...], Sized(MAX_SHARED_SECRETS), LIVE] = Field(
        default=(),
        description="Secrets for time-limited credentials, as `meshturn credentials issue` and coturn's TURN REST "
        "scheme make them. All are accepted. To replace one, add the new one, change the back end, and remove the "
        "old one when its last credential has expired.",
    )
    separator: Annotated[SeparatorText, LIVE] = Field(
        default=":",
        description="The text between the expiry and the user in a time-limited username.",
    )
    username_order: Annotated[NameOrder, choice(NameOrder), LIVE] = Field(
        default="any",
        description="Where a time-limited username has its expiry. `any`: `EXPIRY:USER`, as the draft and `meshturn "
        "credentials issue` have it, or `USER:EXPIRY`, as some back ends do (coturn takes both); what begins with a "
        "number is of the first kind. `expiry-first`: only the first kind. Back ends of the second kind must not let "
        "people choose user names that begin with a number and the separator, because that would be their expiry.",
    )
    nonce_lifetime: Annotated[int, duration(60, 3600)] = Field(
        default=600,
        description="How long a nonce is valid, in seconds. A shorter time leaves less time to replay a captured "
        "request, a longer one saves clients round trips (438, RFC 8489 §9.2.4).",
    )
    strict_expiry: Annotated[Boolean, LIVE] = Field(
        default=False,
        description="Refuse to refresh an allocation with a time-limited credential that has expired. Browsers refresh "
        "with the credential of the Allocate, so this ends every call when its credential expires.",
    )
    on_removal: Annotated[OnRemoval, choice(OnRemoval), LIVE] = Field(
        default="expire",
        description="What becomes of allocations when a reload removes their user or their shared secret, or changes "
        "the password: `end` ends them at once; `expire` lets them live until their present lifetime is over, without "
        "a refresh and without new permissions, channels and connections; `keep` lets them go on. The log says how "
        "many there are. Of participants of rooms, who get new credentials at once, only `end` ends allocations.",
    )
    hook: HookConfig = Field(default_factory=HookConfig, description="A program of yours that looks up users.")


def warn_of_credentials(auth: AuthConfig) -> Iterator[str]:
    """Warnings about settings of users that are probably a mistake."""
    configured = {
        "users": bool(auth.users),
        "shared_secrets": bool(auth.shared_secrets),
        "hook": bool(auth.hook.url),
        "nobody": False,
    }
    if not any(configured.get(name, True) for name in auth.sources):
        yield "There are no auth.users, auth.shared_secrets or auth.hook: nobody can relay, only STUN Binding works."
    for name, there in configured.items():
        if there and name not in auth.sources:
            yield f"There is auth.{name}, but auth.sources does not name it: it is not used."
