"""Room tokens: signed permissions to enter rooms (JWT, RFC 7519), minted here or by an issuer with a known public key.

PyJWT checks signatures. Times are compared here, because the current time is an argument.
"""

import hashlib
import hmac
import json
import re
from collections.abc import Collection, Iterator, Sequence
from typing import Annotated, Any, Final, Literal

import jwt
from jwt.exceptions import PyJWTError
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, StringConstraints, ValidationError

from meshturn.root import MeshturnError
from turnserver.signaling.edge.keys import PublicKey, UnusableKey, load_public_keys
from turnserver.signaling.edge.sections import SharedSecretSection, SignalingSection
from turnserver.signaling.protocol.errors import Denial, SignalCode
from turnserver.signaling.protocol.fields import MAX_USES, Cap
from turnserver.signaling.rooms.settings import ALL_CAPS, Grant

__all__ = ["AUDIENCE", "LEEWAY", "MAX_TOKEN", "Claims", "TokenError", "TokenKeys", "derived_key"]

AUDIENCE: Final = "meshturn"
"""The required value of ``aud``, or in it: a token for another purpose is not a room token (RFC 8725 §3.9)."""

MAX_TOKEN: Final = 4096
"""Maximum number of characters of a token."""

LEEWAY: Final = 10.0
"""Tolerance for the clock of the signer, in seconds."""

LEAST_KEY: Final = 32
"""Minimum number of bytes of a key for HS256 (RFC 7518 §3.2)."""

ANY_ROOM: Final = "*"

_COMPACT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+", re.ASCII)
_LABEL: Final = b"meshturn room tokens"
_SHOWN: Final = 120
_MEANT: Final = {
    "room": "1 to 64 letters, digits, dots, hyphens and underscores, no dot or mark first; or * for every room",
    "name": "1 to 64 characters, no control characters",
}

RoomClaim = Annotated[str, StringConstraints(pattern=r"^([A-Za-z0-9][A-Za-z0-9._-]{0,63}|\*)$")]
ShortText = Annotated[str, StringConstraints(min_length=1, max_length=255)]
NameText = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[^\u0000-\u001f\u007f]*$")]


class TokenError(MeshturnError, ValueError):
    """A token cannot be minted; the message is a sentence for a person."""


class Claims(BaseModel):
    """The claims of a token; unknown claims are ignored (RFC 7519 §4)."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore", hide_input_in_errors=True)

    room: RoomClaim
    exp: FiniteFloat
    aud: str | list[str]
    role: Literal["host", "member"] = "member"
    nbf: FiniteFloat | None = None
    iat: FiniteFloat | None = None
    sub: ShortText | None = None
    name: NameText | None = None
    caps: list[Cap] | None = None
    max: Annotated[int, Field(ge=2, le=100)] | None = None
    jti: ShortText | None = None
    once: bool = False
    shared: bool = False
    uses: Annotated[int, Field(ge=1, le=MAX_USES)] | None = None


def derived_key(shared_secret: bytes) -> bytes:
    """The key of a server that has none of its own, from a shared secret: HMAC-SHA256(secret, "meshturn room tokens").

    A holder of the shared secret can mint credentials and tokens; a holder of the derived key can mint only tokens.
    """
    return hmac.digest(shared_secret, _LABEL, "sha256")


class TokenKeys:
    """The keys that verify tokens, and the one of them that signs new tokens.

    ``own`` has HS256 keys; the first one signs. Raises `turnserver.signaling.edge.keys.UnusableKey` for a key that is
    too short or looks like a public key.
    """

    __slots__ = ("_own", "_public")

    def __init__(self, own: Sequence[bytes] = (), public: Sequence[PublicKey] = ()) -> None:
        self._own = tuple(own)
        self._public = tuple(public)
        for key in self._own:
            if len(key) < LEAST_KEY:
                raise UnusableKey(f"a key of {len(key)} bytes; HS256 takes at least {LEAST_KEY} (RFC 7518 §3.2)")
            try:
                jwt.api_jws.encode(b"{}", key, "HS256")
            except PyJWTError:
                raise UnusableKey("a public key or a JSON Web Key; HS256 takes a secret") from None

    @classmethod
    def from_config(cls, signaling: SignalingSection, shared_secrets: Sequence[SharedSecretSection]) -> "TokenKeys":
        """The keys of the configuration: the configured one or, without it, those derived from the shared secrets.

        Raises `turnserver.errors.StartupError` for a file of keys that cannot be used.
        """
        if signaling.key is not None:
            own = [signaling.key.get_secret_value().encode()]
        else:
            own = [derived_key(entry.secret.get_secret_value().encode()) for entry in shared_secrets]
        return cls(own, [key for path in signaling.public_keys for key in load_public_keys(path)])

    def __repr__(self) -> str:
        """Show the number of keys, but no key."""
        return f"TokenKeys({len(self._own)} of its own, {len(self._public)} public)"

    @property
    def can_mint(self) -> bool:
        """Whether there is a key to sign with."""
        return bool(self._own)

    def admit(self, token: str, wall: float) -> Grant:
        """Return what a token allows at ``wall`` (Unix time, seconds).

        Raises `turnserver.signaling.protocol.errors.Denial`: ``bad_token`` for an invalid token, ``token_expired`` and
        ``token_not_yet`` for a token that is not valid at this time.
        """
        if len(token) > MAX_TOKEN:
            raise Denial(SignalCode.BAD_TOKEN, f"the token is longer than {MAX_TOKEN} characters")
        if not _COMPACT.fullmatch(token):
            raise Denial(SignalCode.BAD_TOKEN, "this is not a token (a JWT: three parts with dots between them)")
        claims = _claims_of(self._payload(token))
        _check_time(claims, wall)
        return Grant(
            room=None if claims.room == ANY_ROOM else claims.room,
            role=claims.role,
            subject=claims.sub or "",
            name=claims.name,
            caps=ALL_CAPS if claims.caps is None else frozenset(claims.caps),
            max=claims.max,
            token_id=claims.jti or _fingerprint(token),
            once=claims.once,
            shared=claims.shared and not claims.once,
            uses=0 if claims.once else claims.uses or 0,
            expires=claims.exp
            + LEEWAY,  # with the leeway, until which the token is accepted: records of a used token must last as long
        )

    def mint(
        self,
        room: str,
        role: str,
        ttl: int,
        wall: float,
        *,
        token_id: str,
        name: str | None = None,
        subject: str | None = None,
        caps: Collection[str] | None = None,
        maximum: int | None = None,
        once: bool = False,
        shared: bool = False,
        uses: int | None = None,
    ) -> str:
        """Sign a room token that is valid for ``ttl`` seconds from ``wall``.

        ``token_id`` is unique to the token; ``shared`` says that it is to be given to several people; it opens ``uses``
        sessions, if that is said. Raises
        `TokenError` for claims that no token may have, or without a signing key.
        """
        if not self._own:
            raise TokenError("There is no key to sign room tokens with: set signaling.key or auth.shared_secrets.")
        said: dict[str, Any] = {
            "aud": AUDIENCE,
            "room": room,
            "role": role,
            "iat": int(wall),
            "exp": int(wall) + ttl,
            "jti": token_id,
            "name": name,
            "sub": subject,
            "caps": None if caps is None else sorted(caps),
            "max": maximum,
            "once": once or None,
            "shared": shared or None,
            "uses": uses,
        }
        claims = {claim: value for claim, value in said.items() if value is not None}
        try:
            Claims.model_validate(claims)
        except ValidationError as error:
            raise TokenError(f"The token would not be valid: {_complaint(error)}.") from None
        if once and (shared or uses is not None):
            raise TokenError("A token that opens one session only cannot be shared, nor have another number of uses.")
        if ttl <= 0:
            raise TokenError("A token must be valid for at least one second.")
        token = jwt.api_jws.encode(json.dumps(claims, separators=(",", ":")).encode(), self._own[0], "HS256")
        if len(token) > MAX_TOKEN:
            raise TokenError(f"The token would be longer than {MAX_TOKEN} characters.")
        return token

    def invite(self, room: str, host: Grant, ttl: int, uses: int, wall: float, *, token_id: str) -> tuple[str, int]:
        """Sign a token for those whom a host invites, and return it with its expiry (Unix time).

        It allows no more than the host's does: not longer, not more people, no other capabilities. Raises `Denial`.
        """
        left = int(min(host.expires - LEEWAY, wall + ttl)) - int(wall)
        if left <= 0:
            raise Denial(SignalCode.TOKEN_EXPIRED, "your token has expired, so it cannot invite others")
        caps = None if host.caps == ALL_CAPS else host.caps
        try:
            token = self.mint(
                room, "member", left, wall, token_id=token_id, caps=caps, maximum=host.max, shared=uses > 1, uses=uses
            )
        except TokenError as error:
            raise Denial(SignalCode.FORBIDDEN, f"This server cannot sign invitations. {error}") from None
        return token, int(wall) + left

    def _payload(self, token: str) -> bytes:
        """The payload of a token with a valid signature."""
        try:
            header = jwt.get_unverified_header(token)
        except (PyJWTError, ValueError):
            raise Denial(SignalCode.BAD_TOKEN, "the token has no readable header") from None
        if "crit" in header or "b64" in header:
            raise Denial(
                SignalCode.BAD_TOKEN, "the token requires an extension that this server does not support (crit)"
            )
        for key, algorithm in self._fitting(header.get("alg"), header.get("kid")):
            try:
                payload = jwt.api_jws.decode(token, key, [algorithm])
            except (PyJWTError, ValueError):
                continue
            assert isinstance(payload, bytes)
            return payload
        raise Denial(SignalCode.BAD_TOKEN, "the token is not signed with a key that this server accepts")

    def _fitting(self, algorithm: object, kid: object) -> Iterator[tuple[Any, str]]:
        """The keys to try: the header can exclude keys, but cannot choose the algorithm of a key."""
        if algorithm == "HS256":
            yield from ((key, "HS256") for key in self._own)
            return
        named = [each for each in self._public if each.kid == kid and kid is not None]
        for each in named or [each for each in self._public if each.kid is None or kid is None]:
            if each.algorithm == algorithm:
                yield each.key, each.algorithm


def _claims_of(payload: bytes) -> Claims:
    try:
        found = json.loads(payload)
        claims = Claims.model_validate(found)
    except ValidationError as error:
        raise Denial(SignalCode.BAD_TOKEN, f"the token is signed, but {_complaint(error)}") from None
    except (ValueError, RecursionError):
        raise Denial(SignalCode.BAD_TOKEN, "the token is signed, but its payload is not JSON") from None
    if AUDIENCE not in ([claims.aud] if isinstance(claims.aud, str) else claims.aud):
        raise Denial(SignalCode.BAD_TOKEN, f'the token is for something else: its claim "aud" is not "{AUDIENCE}"')
    return claims


def _complaint(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    claim = first["loc"][0] if first["loc"] else ""
    if first["type"] == "missing":
        return f'it has no claim "{claim}"'
    meant = _MEANT.get(str(claim), first["msg"][:_SHOWN])
    return f'its claim "{claim}" is not valid ({meant})' if claim else "it has no claims"


def _check_time(claims: Claims, wall: float) -> None:
    if claims.exp + LEEWAY <= wall:
        raise Denial(SignalCode.TOKEN_EXPIRED, "the token has expired: ask for a new one")
    begins = max(claims.nbf or 0.0, claims.iat or 0.0)
    if begins - LEEWAY > wall:
        raise Denial(SignalCode.TOKEN_NOT_YET, "the token is not valid yet")


def _fingerprint(token: str) -> str:
    """Identifies a token without an id, by its signed part, because one payload can have several valid signatures."""
    return hashlib.sha256(token.rpartition(".")[0].encode()).hexdigest()[:32]
