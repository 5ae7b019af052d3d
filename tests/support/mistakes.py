"""The mistakes that the conformance kit has to find, each with the checks that find it."""

import secrets
from collections.abc import Callable, Sequence
from typing import Any, Final

from cli.conform.wire import Draft, Raw, Seal, sealed_sha1, sealed_sha256
from stun.address import Address
from stun.attributes import (
    ADDITIONAL_ADDRESS_FAMILY,
    ADDRESS_ERROR_CODE,
    CHANNEL_NUMBER,
    CONNECTION_ID,
    DATA,
    DONT_FRAGMENT,
    ERROR_CODE,
    EVEN_PORT,
    FINGERPRINT,
    ICMP,
    LIFETIME,
    MAPPED_ADDRESS,
    MESSAGE_INTEGRITY,
    MESSAGE_INTEGRITY_SHA256,
    MOBILITY_TICKET,
    NONCE,
    PASSWORD_ALGORITHM,
    PASSWORD_ALGORITHMS,
    REALM,
    REQUESTED_ADDRESS_FAMILY,
    REQUESTED_TRANSPORT,
    RESERVATION_TOKEN,
    SOFTWARE,
    UNKNOWN_ATTRIBUTES,
    USERNAME,
    XOR_MAPPED_ADDRESS,
    XOR_PEER_ADDRESS,
    XOR_RELAYED_ADDRESS,
    AttributeType,
    ErrorValue,
)
from stun.constants import MAGIC_COOKIE, MessageClass, Method
from tests.support.broken_server import DROP, KEYS, Line, Mistake
from tests.support.server import USERNAME as USER

__all__ = ["MISTAKES"]

MISTAKES: Final[list[Mistake]] = []

Predicate = Callable[[Draft], bool]
SHA1, SHA256 = MESSAGE_INTEGRITY.number, MESSAGE_INTEGRITY_SHA256.number
REQUIRED, OPTIONAL = 0x7FFE, 0xBFFE


def has(draft: Draft, *specs: AttributeType[Any]) -> bool:
    present = {item[0] for item in draft.items}
    return all(spec.number in present for spec in specs)


def raw(draft: Draft, spec: AttributeType[Any]) -> bytes:
    """The value of an attribute that is no seal; empty if there is none."""
    return next((item[1] for item in draft.items if item[0] == spec.number and not isinstance(item, Seal)), b"")  # type: ignore[misc]


def sealed(draft: Draft) -> bool:
    """Whether it has an integrity that is right."""
    return any(isinstance(item, Seal) and item.number in (SHA1, SHA256) for item in draft.items)


def bare(draft: Draft) -> bool:
    return not any(item[0] in (SHA1, SHA256) for item in draft.items)


def code_of(draft: Draft) -> int:
    value = raw(draft, ERROR_CODE)
    return value[2] * 100 + value[3] if draft.message_class is MessageClass.ERROR and len(value) > 3 else 0


def before_seal(draft: Draft, *items: Raw) -> Draft:
    """Add attributes where they count."""
    at = next((at for at, item in enumerate(draft.items) if isinstance(item, Seal)), len(draft.items))
    draft.items[at:at] = items
    return draft


def replaced(draft: Draft, spec: AttributeType[Any], value: bytes) -> Draft:
    return draft.put(spec, value)


def is_request(method: Method, *specs: AttributeType[Any]) -> Predicate:
    return lambda draft: draft.method == method and draft.message_class is MessageClass.REQUEST and has(draft, *specs)


def on_answer(
    name: str, found: Sequence[str], change: Callable[[Draft, Draft], Draft | bytes | None], transport: str = "udp"
) -> None:
    """A mistake in answers: ``change`` gets the request and the answer."""

    def answer(line: Line, draft: Draft) -> Draft | bytes | None:
        request = line.requests.get(draft.transaction_id)
        return None if request is None or draft.message_class < 2 else change(request, draft)

    MISTAKES.append(Mistake(name, frozenset(found), transport, answer=answer))


def on_request(
    name: str, found: Sequence[str], change: Callable[[Line, Draft], Draft | bytes | None], transport: str = "udp"
) -> None:
    MISTAKES.append(Mistake(name, frozenset(found), transport, request=change))


def answered_with(name: str, found: Sequence[str], when: Predicate, old: int, new: int, transport: str = "udp") -> None:
    """An answer with another code; 0 is a success."""

    def change(request: Draft, draft: Draft) -> Draft | None:
        right = draft.message_class is MessageClass.SUCCESS if old == 0 else code_of(draft) == old
        if not right or not when(request):
            return None
        seals = [item for item in draft.items if isinstance(item, Seal)]
        draft.items = []
        draft.message_class = MessageClass.ERROR if new else MessageClass.SUCCESS
        if new:
            draft.add(ERROR_CODE, ErrorValue(new, "No"))
        elif request.method == Method.REFRESH:
            draft.add(LIFETIME, 600)
        return draft.append(*seals)

    on_answer(name, found, change, transport)


def binding(request: Draft) -> bool:
    return request.method == Method.BINDING


# Binding


def _without(spec: AttributeType[Any], method: Method, kind: MessageClass) -> Callable[[Draft, Draft], Draft | None]:
    return lambda request, draft: draft.drop(spec) if (draft.method, draft.message_class) == (method, kind) else None


OK, BAD = MessageClass.SUCCESS, MessageClass.ERROR

on_answer("Binding without XOR-MAPPED-ADDRESS", ["binding-mapped"], _without(XOR_MAPPED_ADDRESS, Method.BINDING, OK))


def _wrong_port(request: Draft, draft: Draft) -> Draft | None:
    if binding(draft) and has(draft, XOR_MAPPED_ADDRESS):
        value = raw(draft, XOR_MAPPED_ADDRESS)
        return draft.put(XOR_MAPPED_ADDRESS, value[:2] + bytes((value[2] ^ 0x55,)) + value[3:])
    return None


def _port_of_its_own(request: Draft, draft: Draft) -> Draft | None:
    if binding(draft) and has(draft, XOR_MAPPED_ADDRESS):
        return draft.put(XOR_MAPPED_ADDRESS, raw(draft, XOR_MAPPED_ADDRESS)[:2] + secrets.token_bytes(6))
    return None


on_answer("Binding tells another port", ["binding-mapped-right"], _wrong_port)
on_answer(
    "Binding tells a new address each time",
    ["binding-mapped-right", "binding-same-address", "binding-again"],
    _port_of_its_own,
)
on_answer(
    "MAPPED-ADDRESS beside XOR-MAPPED-ADDRESS, and another",
    ["binding-legacy-mapped"],
    lambda request, draft: (
        before_seal(draft, (1, MAPPED_ADDRESS.encode(Address.parse("192.0.2.1", 9), b"")))
        if has(draft, XOR_MAPPED_ADDRESS) and binding(draft)
        else None
    ),
)
on_answer(
    "an attribute that no RFC has",
    ["answer-no-unknown"],
    lambda request, draft: before_seal(draft, (0x7ABC, b"")) if binding(draft) and draft.message_class is OK else None,
)
on_answer(
    "SOFTWARE twice",
    ["answer-no-double"],
    lambda request, draft: (
        before_seal(draft, (SOFTWARE.number, b"x"), (SOFTWARE.number, b"x"))
        if binding(draft) and draft.message_class is OK
        else None
    ),
)
on_answer(
    "SOFTWARE that is not UTF-8",
    ["answer-software"],
    lambda request, draft: (
        before_seal(draft, (SOFTWARE.number, b"\xff\xfe")) if binding(draft) and draft.message_class is OK else None
    ),
)


def _padded(request: Draft, draft: Draft) -> Draft | None:
    draft.padding = 0xA5
    return draft if code_of(draft) == 420 and binding(draft) else None


def _unpadded(request: Draft, draft: Draft) -> bytes | None:
    if (
        not binding(draft)
        or draft.message_class is not OK
        or has(request, FINGERPRINT)
        or request.cookie != MAGIC_COOKIE
    ):
        return None
    data = draft.append((SOFTWARE.number, b"abc")).encode()[:-1]
    return data[:2] + (len(data) - 20).to_bytes(2, "big") + data[4:]


on_answer("padding that is not zero", ["answer-padding"], _padded)
on_answer("an attribute without padding", ["answer-well-formed", "answer-length"], _unpadded)
on_answer(
    "another magic cookie in answers",
    ["answer-well-formed"],
    lambda request, draft: (
        draft.encode()[:4] + b"\1\2\3\4" + draft.encode()[8:]
        if binding(draft) and draft.message_class is OK and not request.items and request.cookie == MAGIC_COOKIE
        else None
    ),
)
on_answer(
    "no FINGERPRINT for a FINGERPRINT",
    ["fingerprint-answered"],
    _without(FINGERPRINT, Method.BINDING, OK),
)
on_answer("no FINGERPRINT in errors", ["fingerprint-error"], _without(FINGERPRINT, Method.BINDING, BAD))
on_answer(
    "a wrong FINGERPRINT",
    ["fingerprint-right"],
    lambda request, draft: (
        draft.drop(FINGERPRINT).append((FINGERPRINT.number, b"1234"))
        if binding(draft) and draft.message_class is OK and has(draft, FINGERPRINT)
        else None
    ),
)
on_answer(
    "SOFTWARE behind FINGERPRINT",
    ["fingerprint-last"],
    lambda request, draft: (
        draft.add(SOFTWARE, "x") if binding(draft) and draft.message_class is OK and has(draft, FINGERPRINT) else None
    ),
)


def _forgive_fingerprint(line: Line, draft: Draft) -> Draft | None:
    last = draft.items[-1] if draft.items else (0, b"")
    wrong = last[0] == FINGERPRINT.number and not isinstance(last, Seal)
    return draft.drop(FINGERPRINT) if wrong else None


def _forgive_order(line: Line, draft: Draft) -> Draft | None:
    misplaced = has(draft, FINGERPRINT) and draft.items[-1][0] != FINGERPRINT.number
    return draft.drop(FINGERPRINT) if misplaced else None


on_request("a wrong FINGERPRINT is ignored", ["fingerprint-wrong"], _forgive_fingerprint)
on_request("FINGERPRINT need not be last", ["fingerprint-then-more"], _forgive_order)


def _strip_required(line: Line, draft: Draft) -> Draft | None:
    left = [item for item in draft.items if item[0] not in (REQUIRED, REQUIRED - 1)]
    if not binding(draft) or draft.message_class is not MessageClass.REQUEST or left == draft.items:
        return None
    draft.items = left
    return draft


on_request("unknown attributes are ignored", ["unknown-required"], _strip_required)
on_answer("420 without UNKNOWN-ATTRIBUTES", ["unknown-listed"], _without(UNKNOWN_ATTRIBUTES, Method.BINDING, BAD))
on_answer(
    "420 lists an optional attribute",
    ["unknown-only-required"],
    lambda request, draft: (
        draft.put(UNKNOWN_ATTRIBUTES, raw(draft, UNKNOWN_ATTRIBUTES) + OPTIONAL.to_bytes(2, "big"))
        if OPTIONAL in {item[0] for item in request.items} and binding(draft)
        else None
    ),
)


def _mind_optional(line: Line, draft: Draft) -> Draft | None:
    if not binding(draft) or [item[0] for item in draft.items] != [OPTIONAL]:
        return None
    return draft.insert((REQUIRED, b""))


on_request("an optional attribute is refused", ["unknown-optional"], _mind_optional)
on_request(
    "padding has to be zero",
    ["padding-ignored"],
    lambda line, draft: before_seal(draft, (REQUIRED, b"")) if draft.padding else None,
)


def _as_request(*kinds: MessageClass, attributes: bool) -> Callable[[Line, Draft], Draft | None]:
    def change(line: Line, draft: Draft) -> Draft | None:
        if binding(draft) and draft.message_class in kinds and bool(draft.items) is attributes:
            draft.message_class = MessageClass.REQUEST
            return draft
        return None

    return change


INDICATION = MessageClass.INDICATION
on_request("a Binding indication is answered", ["binding-indication"], _as_request(INDICATION, attributes=False))
on_request(
    "an indication with an unknown attribute is answered",
    ["binding-indication-unknown"],
    _as_request(INDICATION, attributes=True),
)
on_request("a success response is answered", ["response-ignored"], _as_request(OK, attributes=False))
on_request("an error response is answered", ["error-response-ignored"], _as_request(BAD, attributes=False))
on_answer(
    "a reason phrase that is not UTF-8",
    ["error-phrase"],
    lambda request, draft: (
        draft.put(ERROR_CODE, raw(draft, ERROR_CODE)[:4] + b"\xff\xfe") if binding(draft) and code_of(draft) else None
    ),
)
on_answer(
    "a reason phrase of 200 characters",
    ["error-phrase"],
    lambda request, draft: (
        draft.put(ERROR_CODE, raw(draft, ERROR_CODE)[:4] + b"x" * 200) if binding(draft) and code_of(draft) else None
    ),
)
on_answer(
    "reserved bits of ERROR-CODE",
    ["error-class"],
    lambda request, draft: (
        draft.put(ERROR_CODE, b"\1" + raw(draft, ERROR_CODE)[1:]) if binding(draft) and code_of(draft) else None
    ),
)
answered_with(
    "Binding needs credentials",
    ["binding-answered", "binding-no-credentials"],
    lambda request: binding(request) and not request.items,
    0,
    401,
)


def _unknown_method(line: Line, draft: Draft) -> bytes | None:
    if draft.method != 0x0FE:
        return None
    line.to_client(Draft(0x0FE, OK, [], draft.transaction_id).encode())
    return DROP


on_request("another method is served", ["method-unknown"], _unknown_method)

# Credentials

answered_with(
    "Allocate without integrity gets 400 once it has an unknown attribute",
    ["auth-before-unknown"],
    lambda request: bare(request) and REQUIRED in {item[0] for item in request.items},
    401,
    420,
)
for _method, _check in (
    (Method.REFRESH, "auth-refresh"),
    (Method.CREATE_PERMISSION, "auth-permission"),
    (Method.CHANNEL_BIND, "auth-channel"),
):
    answered_with(
        f"{_method.name} without integrity gets 437",
        [_check],
        lambda request, method=_method: request.method == method and bare(request) and not request.items,  # type: ignore[misc]
        401,
        437,
    )
answered_with(
    "an allocation makes up for credentials",
    ["auth-on-allocation"],
    lambda request: request.method == Method.REFRESH and bare(request) and has(request, LIFETIME),
    401,
    0,
)


def _challenge(change: Callable[[Draft], Draft]) -> Callable[[Draft, Draft], Draft | None]:
    """A change to the 401 to a request without integrity."""
    return lambda request, draft: change(draft) if code_of(draft) == 401 and bare(request) else None


on_answer("a challenge without NONCE", ["auth-challenge-attributes"], _challenge(lambda draft: draft.drop(NONCE)))
on_answer("a challenge without REALM", ["auth-challenge-attributes"], _challenge(lambda draft: draft.drop(REALM)))
on_answer(
    "a challenge with integrity",
    ["auth-challenge-unsigned"],
    _challenge(lambda draft: draft.append(sealed_sha1(KEYS[0]))),
)
on_answer(
    "a nonce announces algorithms, and there are none",
    ["auth-algorithms-offered", "auth-algorithms-announced"],
    _challenge(lambda draft: draft.drop(PASSWORD_ALGORITHMS)),
)


def _uncooked(line: Line, draft: Draft) -> Draft | None:
    """Give the nonce its cookie back."""
    nonce = raw(draft, NONCE)
    return draft.put(NONCE, b"obMatJos2" + nonce[9:]) if nonce.startswith(b"plainJos2") else None


MISTAKES.append(
    Mistake(
        "algorithms without the nonce's cookie",
        frozenset(["auth-nonce-cookie"]),
        request=_uncooked,
        answer=lambda line, draft: (
            draft.put(NONCE, b"plainJos2" + raw(draft, NONCE)[9:]) if has(draft, NONCE) else None
        ),
    )
)
LONG = b"x" * 800


def _shorter_nonce(line: Line, draft: Draft) -> Draft | None:
    nonce = raw(draft, NONCE)
    if len(nonce) <= len(LONG):
        return None
    own = nonce[: -len(LONG)]
    return draft.put(NONCE, own if nonce.endswith(LONG) else own[:-1] + (b"B" if own.endswith(b"A") else b"A"))


MISTAKES.append(
    Mistake(
        "a nonce of 850 bytes",
        frozenset(["auth-nonce-length", "answer-not-amplified"]),
        request=_shorter_nonce,
        answer=lambda line, draft: draft.put(NONCE, raw(draft, NONCE) + LONG) if has(draft, NONCE) else None,
    )
)


def _realms(request: Draft, draft: Draft) -> Draft | None:
    if code_of(draft) == 401 and bare(request) and request.method == Method.ALLOCATE:
        return draft.put(REALM, b"") if has(draft, REALM) else None
    return None


on_answer("an empty realm", ["auth-realm-text"], _realms)

_allocated = is_request(Method.ALLOCATE, REQUESTED_TRANSPORT)


def _success_of(
    method: Method, change: Callable[[Draft, Draft], Draft | None]
) -> Callable[[Draft, Draft], Draft | None]:
    return lambda request, draft: (
        change(request, draft) if draft.method == method and draft.message_class is OK else None
    )


on_answer(
    "answers to users without integrity",
    ["auth-answer-sealed"],
    _success_of(Method.ALLOCATE, lambda request, draft: draft.drop(MESSAGE_INTEGRITY, MESSAGE_INTEGRITY_SHA256)),
)
on_answer(
    "answers with the integrity of another key",
    ["auth-answer-seal-right"],
    _success_of(
        Method.ALLOCATE,
        lambda request, draft: (
            draft.drop(MESSAGE_INTEGRITY).append(sealed_sha1(b"other")) if has(draft, MESSAGE_INTEGRITY) else None
        ),
    ),
)
on_answer(
    "SHA-1 for SHA-256",
    ["auth-answer-sealed"],
    _success_of(
        Method.ALLOCATE,
        lambda request, draft: (
            draft.drop(MESSAGE_INTEGRITY_SHA256).append(sealed_sha1(KEYS[1]))
            if has(draft, MESSAGE_INTEGRITY_SHA256)
            else None
        ),
    ),
)
on_answer(
    "errors without integrity",
    ["auth-error-sealed"],
    lambda request, draft: (
        draft.drop(MESSAGE_INTEGRITY, MESSAGE_INTEGRITY_SHA256)
        if code_of(draft) == 437 and request.method == Method.REFRESH
        else None
    ),
)
on_answer(
    "no FINGERPRINT beside integrity",
    ["auth-answer-fingerprint"],
    lambda request, draft: draft.drop(FINGERPRINT) if request.method == Method.REFRESH else None,
)


def _behind(line: Line, draft: Draft) -> Draft | None:
    """Move what stands behind the integrity in front of it."""
    behind = [item for item in draft.items if item[0] == REQUIRED]
    if not sealed(draft) or not behind or draft.items[-1] != behind[0]:
        return None
    draft.items.remove(behind[0])
    return before_seal(draft, (REQUIRED, b"1234"))


on_request("what stands behind the integrity counts", ["auth-after-integrity"], _behind)


def _ignore_for_users(line: Line, draft: Draft) -> Draft | None:
    if not sealed(draft) or REQUIRED not in {item[0] for item in draft.items} or draft.items[-1][0] == REQUIRED:
        return None
    draft.items = [item for item in draft.items if item[0] != REQUIRED]
    return draft


on_request("users may send unknown attributes", ["auth-unknown-attribute"], _ignore_for_users)


def _lacks(spec: AttributeType[Any]) -> Predicate:
    return lambda request: request.method == Method.ALLOCATE and not bare(request) and not has(request, spec)


answered_with("401 for a missing USERNAME", ["auth-no-username"], _lacks(USERNAME), 400, 401)
answered_with("401 for a missing REALM", ["auth-no-realm"], _lacks(REALM), 400, 401)
answered_with("438 for a missing NONCE", ["auth-no-nonce"], _lacks(NONCE), 400, 438)
on_answer(
    "400 with REALM and NONCE",
    ["auth-incomplete-bare"],
    lambda request, draft: (
        draft.add(REALM, "example.org").add(NONCE, b"nonce") if code_of(draft) == 400 and not bare(request) else None
    ),
)


def _trusting(line: Line, draft: Draft) -> Draft | None:
    """Seal anew whatever has a wrong integrity of the user."""
    if bare(draft) or sealed(draft) or raw(draft, USERNAME) != USER.encode():
        return None
    draft.items = [item for item in draft.items if item[0] not in (SHA1, SHA256, FINGERPRINT.number)]
    if has(draft, PASSWORD_ALGORITHM):
        return draft.append(sealed_sha256(KEYS[1]))
    return draft.append(sealed_sha1(KEYS[0]))


on_request(
    "any password is right",
    [
        "auth-wrong-password",
        "auth-tampered",
        "auth-tampered-id",
        "auth-integrity-before-nonce",
        "sealed-twice-wrong",
        "sha256-truncated",
    ],
    _trusting,
)


def _stranger(draft: Draft) -> bool:
    return raw(draft, USERNAME).startswith(b"meshturn-conform")


def _unproven(draft: Draft) -> bool:
    return not bare(draft) and not sealed(draft)


on_answer(
    "401 to a wrong password without NONCE",
    ["auth-wrong-password-challenge", "auth-unknown-user-algorithms"],
    lambda request, draft: draft.drop(NONCE) if _unproven(request) and code_of(draft) == 401 else None,
)
answered_with("403 for a user that is unknown", ["auth-unknown-user"], _stranger, 401, 403)
on_answer(
    "an unknown user gets another answer",
    ["auth-guess-nothing-told"],
    lambda request, draft: draft.add(SOFTWARE, "x") if _stranger(request) else None,
)
answered_with(
    "403 for a wrong password",
    ["auth-wrong-password"],
    lambda request: (
        _unproven(request)
        and not _stranger(request)
        and has(request, PASSWORD_ALGORITHM)
        and raw(request, REQUESTED_TRANSPORT) != b""
        and not has(request, LIFETIME)
    ),
    401,
    403,
)


def _any_nonce(line: Line, draft: Draft) -> Draft | None:
    """Put the nonce in that the client was given, if the user is right."""
    known = line.notes.get("nonce", b"")
    return draft.put(NONCE, known) if sealed(draft) and known and raw(draft, NONCE) != known else None


def _note_nonce(line: Line, draft: Draft) -> None:
    if has(draft, NONCE):
        line.notes["nonce"] = raw(draft, NONCE)


MISTAKES.append(Mistake("any nonce is good", frozenset(["auth-nonce-foreign"]), request=_any_nonce, answer=_note_nonce))
on_answer(
    "438 without NONCE",
    ["auth-stale-attributes"],
    lambda request, draft: draft.drop(NONCE) if code_of(draft) == 438 else None,
)


def _stale(line: Line, draft: Draft) -> bytes:
    """Answer 438 with the nonce that the client has, which is good the next time."""
    answer = Draft(draft.method, BAD, [], draft.transaction_id).add(ERROR_CODE, ErrorValue(438, "Stale Nonce"))
    answer.append((REALM.number, raw(draft, REALM)), (NONCE.number, raw(draft, NONCE)))
    line.to_client(answer.encode())
    return DROP


def _fresh_is_stale(line: Line, draft: Draft) -> bytes | None:
    """The first request of a user with SHA-1."""
    if not sealed(draft) or draft.message_class is not MessageClass.REQUEST or "seen" in line.notes:
        return None
    line.notes["seen"] = b"yes"
    wanted = [REQUESTED_TRANSPORT.number, USERNAME.number, REALM.number, NONCE.number, SHA1]
    plain = [item[0] for item in draft.items] == wanted and raw(draft, USERNAME) == USER.encode()
    return _stale(line, draft) if plain and line.notes.get("nonce") == raw(draft, NONCE) else None


MISTAKES.append(
    Mistake(
        "438 for a fresh nonce",
        frozenset(["auth-fresh-nonce"]),
        request=_fresh_is_stale,
        answer=lambda line, draft: _note_nonce(line, draft) if code_of(draft) == 401 else None,
    )
)


def _stale_again(line: Line, draft: Draft) -> bytes | None:
    if not sealed(draft) or line.notes.get("stale") != raw(draft, NONCE) or "seen" in line.notes:
        return None
    line.notes["seen"] = b"yes"
    return _stale(line, draft)


def _note_stale(line: Line, draft: Draft) -> None:
    if code_of(draft) == 438:
        line.notes["stale"] = raw(draft, NONCE)


MISTAKES.append(
    Mistake(
        "438 for the nonce of a 438", frozenset(["auth-stale-nonce-good"]), request=_stale_again, answer=_note_stale
    )
)


def _once(line: Line, draft: Draft) -> bytes | None:
    """Each nonce is good for two requests."""
    if draft.method != Method.REFRESH or not sealed(draft) or raw(draft, LIFETIME) == bytes(4):
        return None
    count = line.notes.get("count", b"")
    line.notes["count"] = count + b"x"
    return _stale(line, draft) if len(count) == 2 else None


on_request("a nonce is good for a few requests only", ["auth-nonce-reused"], _once)
answered_with(
    "a stale nonce is told before wrong integrity",
    ["auth-integrity-before-nonce"],
    lambda request: _unproven(request) and raw(request, NONCE) == b"0" * 24,
    401,
    438,
)
answered_with(
    "500 for a name that is not UTF-8",
    ["auth-username-not-utf8"],
    lambda request: raw(request, USERNAME) == b"\xff\xfe\xfd",
    400,
    500,
)

OFFERED = bytes.fromhex("0002000000010000")


def _algorithms(algorithm: bytes | None, offered: bytes | None) -> Predicate:
    return lambda request: (
        sealed(request)
        and (
            (raw(request, PASSWORD_ALGORITHM) or None, raw(request, PASSWORD_ALGORITHMS) or None)
            == (algorithm, offered)
        )
    )


_SHA256_VALUE = bytes((0, 2, 0, 0))
answered_with("a bid-down unnoticed: no algorithm", ["bid-down-no-algorithm"], _algorithms(None, OFFERED), 400, 437)
answered_with("a bid-down unnoticed: no list", ["bid-down-no-algorithms"], _algorithms(_SHA256_VALUE, None), 400, 437)
answered_with(
    "a bid-down unnoticed: another list",
    ["bid-down-other-list"],
    _algorithms(_SHA256_VALUE, bytes((0, 1, 0, 0))),
    400,
    437,
)
answered_with(
    "a bid-down unnoticed: another algorithm",
    ["bid-down-other-algorithm"],
    _algorithms(bytes((0, 9, 0, 0)), OFFERED),
    400,
    437,
)
answered_with(
    "MESSAGE-INTEGRITY-SHA256 may be short",
    ["sha256-truncated"],
    lambda request: any(
        item[0] == SHA256 and not isinstance(item, Seal) and len(item[1]) == 16 for item in request.items
    ),
    401,
    0,
)
answered_with("no MD5 key with SHA-256", ["sha256-md5-key"], _algorithms(bytes((0, 1, 0, 0)), OFFERED), 0, 400)
answered_with(
    "of two integrities, SHA-1 counts",
    ["sha256-counts"],
    lambda request: {SHA1, SHA256} <= {item[0] for item in request.items},
    0,
    401,
)

# Allocations

on_answer(
    "Allocate without XOR-RELAYED-ADDRESS",
    ["allocate-relayed"],
    _success_of(Method.ALLOCATE, lambda request, draft: draft.drop(XOR_RELAYED_ADDRESS)),
)
on_answer(
    "Allocate without LIFETIME",
    ["allocate-lifetime-told"],
    _success_of(Method.ALLOCATE, lambda request, draft: draft.drop(LIFETIME)),
)
on_answer(
    "Allocate without XOR-MAPPED-ADDRESS",
    ["allocate-mapped"],
    _success_of(Method.ALLOCATE, lambda request, draft: draft.drop(XOR_MAPPED_ADDRESS)),
)
on_answer(
    "Allocate tells another address",
    ["allocate-mapped-right"],
    _success_of(
        Method.ALLOCATE,
        lambda request, draft: draft.put(XOR_MAPPED_ADDRESS, raw(draft, XOR_MAPPED_ADDRESS)[:-1] + b"\x00"),
    ),
)
on_answer(
    "IPv4 clients are shown ::ffff:0:0/96",
    ["allocate-mapped-right", "mapped-not-embedded"],
    _success_of(
        Method.ALLOCATE,
        lambda request, draft: draft.put(
            XOR_MAPPED_ADDRESS, XOR_MAPPED_ADDRESS.encode(Address.parse("::ffff:127.0.0.1", 9), draft.transaction_id)
        ),
    ),
)
on_answer(
    "RESERVATION-TOKEN for everybody",
    ["allocate-no-token-unasked", "even-port-no-token"],
    _success_of(
        Method.ALLOCATE,
        lambda request, draft: (
            None if has(draft, RESERVATION_TOKEN) else before_seal(draft, (RESERVATION_TOKEN.number, b"12345678"))
        ),
    ),
)
on_answer(
    "no RESERVATION-TOKEN for R=1",
    ["even-port-token"],
    _success_of(Method.ALLOCATE, lambda request, draft: draft.drop(RESERVATION_TOKEN)),
)
on_answer(
    "two relayed addresses for one",
    ["allocate-one-address"],
    _success_of(
        Method.ALLOCATE,
        lambda request, draft: (
            None
            if has(request, ADDITIONAL_ADDRESS_FAMILY)
            else before_seal(draft, (XOR_RELAYED_ADDRESS.number, raw(draft, XOR_RELAYED_ADDRESS)))
        ),
    ),
)


def _one_of_two(request: Draft, draft: Draft) -> Draft | None:
    value = raw(draft, XOR_RELAYED_ADDRESS)
    if not has(request, ADDITIONAL_ADDRESS_FAMILY) or not value:
        return None
    return draft.drop(XOR_RELAYED_ADDRESS, ADDRESS_ERROR_CODE).insert((XOR_RELAYED_ADDRESS.number, value))


on_answer("one address for two, without a word", ["dual-answer"], _success_of(Method.ALLOCATE, _one_of_two))


def _granted(value: int, when: Callable[[bytes], bool]) -> Callable[[Draft, Draft], Draft | None]:
    return lambda request, draft: (
        draft.put(LIFETIME, value.to_bytes(4, "big"))
        if draft.message_class is OK and has(draft, LIFETIME) and when(raw(request, LIFETIME))
        else None
    )


def _only(method: Method, change: Callable[[Draft, Draft], Draft | None]) -> Callable[[Draft, Draft], Draft | None]:
    return lambda request, draft: change(request, draft) if draft.method == method else None


for _method, _prefix in ((Method.ALLOCATE, "allocate"), (Method.REFRESH, "refresh")):
    on_answer(
        f"{_prefix}: a default of 300 s",
        [f"{_prefix}-lifetime-default"],
        _only(_method, _granted(300, lambda asked: asked == b"")),
    )
    on_answer(
        f"{_prefix}: a minute if asked for",
        [f"{_prefix}-lifetime-short"],
        _only(_method, _granted(60, lambda asked: asked == (60).to_bytes(4, "big"))),
    )
    on_answer(
        f"{_prefix}: a week if asked for",
        [f"{_prefix}-lifetime-long"],
        _only(_method, _granted(604_800, lambda asked: asked == b"\xff" * 4)),
    )
on_answer(
    "an Allocate of 0 s gets 0 s",
    ["allocate-lifetime-zero"],
    _only(Method.ALLOCATE, _granted(0, lambda asked: asked == bytes(4))),
)
on_answer(
    "more than was asked for",
    ["allocate-lifetime-between"],
    _only(Method.ALLOCATE, _granted(3600, lambda asked: asked == (777).to_bytes(4, "big"))),
)
on_answer(
    "Refresh without LIFETIME",
    ["refresh-lifetime-told"],
    _only(Method.REFRESH, lambda request, draft: draft.drop(LIFETIME) if raw(request, LIFETIME) != bytes(4) else None),
)
on_answer(
    "a Refresh with 0 without LIFETIME",
    ["refresh-zero-told"],
    _only(Method.REFRESH, lambda request, draft: draft.drop(LIFETIME) if raw(request, LIFETIME) == bytes(4) else None),
)
on_answer(
    "a Refresh with 0 is told 600",
    ["refresh-zero"],
    _only(Method.REFRESH, _granted(600, lambda asked: asked == bytes(4))),
)

_V4 = bytes((1, 0, 0, 0))
_EVEN, _TOKEN = is_request(Method.ALLOCATE, EVEN_PORT), is_request(Method.ALLOCATE, RESERVATION_TOKEN)


def _both(*specs: AttributeType[Any]) -> Predicate:
    return is_request(Method.ALLOCATE, *specs)


def _transport(value: bytes) -> Predicate:
    return lambda request: request.method == Method.ALLOCATE and raw(request, REQUESTED_TRANSPORT) == value


answered_with("a second Allocate gets 400", ["allocate-again"], _transport(b"\x11\0\0\0"), 437, 400)
answered_with(
    "442 for no transport",
    ["allocate-no-transport"],
    lambda request: request.method == Method.ALLOCATE and sealed(request) and not has(request, REQUESTED_TRANSPORT),
    400,
    442,
)
answered_with(
    "the transport before the 5-tuple",
    ["allocate-order-437-first"],
    lambda request: request.method == Method.ALLOCATE and sealed(request) and not has(request, REQUESTED_TRANSPORT),
    437,
    400,
)
answered_with("442 for a malformed transport", ["allocate-transport-malformed"], _transport(b"\x11"), 400, 442)
answered_with("400 for another transport", ["allocate-transport-unknown"], _transport(b"\x84\0\0\0"), 442, 400)
answered_with(
    "reserved bytes have to be zero", ["allocate-transport-reserved-bits"], _transport(b"\x11\xff\xff\xff"), 0, 400
)
answered_with(
    "440 for two families",
    ["allocate-family-both"],
    _both(REQUESTED_ADDRESS_FAMILY, ADDITIONAL_ADDRESS_FAMILY),
    400,
    440,
)
answered_with(
    "440 for IPv4 in addition",
    ["allocate-additional-ipv4"],
    lambda request: raw(request, ADDITIONAL_ADDRESS_FAMILY) == _V4,
    400,
    440,
)
answered_with(
    "508 for a pair in addition",
    ["allocate-additional-reserving"],
    _both(ADDITIONAL_ADDRESS_FAMILY, EVEN_PORT),
    400,
    508,
)
answered_with(
    "400 for another family",
    ["allocate-family-unknown"],
    lambda request: raw(request, REQUESTED_ADDRESS_FAMILY)[:1] == b"\x07",
    440,
    400,
)
answered_with("508 for a token with EVEN-PORT", ["allocate-token-even"], _both(RESERVATION_TOKEN, EVEN_PORT), 400, 508)
answered_with(
    "508 for a token with a family",
    ["allocate-token-family"],
    _both(RESERVATION_TOKEN, REQUESTED_ADDRESS_FAMILY),
    400,
    508,
)
answered_with(
    "508 for a token with another family",
    ["allocate-token-additional"],
    _both(RESERVATION_TOKEN, ADDITIONAL_ADDRESS_FAMILY),
    400,
    508,
)
answered_with(
    "404 for a token of nothing",
    ["allocate-token-unknown"],
    lambda request: raw(request, RESERVATION_TOKEN) == b"\xab" * 8,
    508,
    404,
)
answered_with("tokens are not good", ["reservation-accepted"], _TOKEN, 0, 508)
answered_with(
    "a token is good twice",
    ["reservation-once"],
    lambda request: _TOKEN(request) and raw(request, RESERVATION_TOKEN) != b"\xab" * 8,
    508,
    0,
)
answered_with("DONT-FRAGMENT gets 400", ["dont-fragment-known"], _both(DONT_FRAGMENT), 0, 400)


def _odd(request: Draft, draft: Draft) -> Draft | None:
    if draft.message_class is not OK or not has(request, EVEN_PORT) or raw(request, EVEN_PORT)[:1] == b"\x80":
        return None
    value = raw(draft, XOR_RELAYED_ADDRESS)
    return draft.put(XOR_RELAYED_ADDRESS, value[:3] + bytes((value[3] ^ 1,)) + value[4:])


on_answer("EVEN-PORT gets an odd port", ["even-port"], _odd)


answered_with(
    "a permission without an allocation gets 400",
    ["permission-mismatch"],
    is_request(Method.CREATE_PERMISSION),
    437,
    400,
)
answered_with(
    "a channel without an allocation gets 400", ["channel-mismatch"], is_request(Method.CHANNEL_BIND), 437, 400
)
answered_with(
    "a Refresh without an allocation gets 400",
    ["refresh-mismatch", "five-tuple-apart"],
    lambda request: (
        request.method == Method.REFRESH
        and raw(request, LIFETIME) == (600).to_bytes(4, "big")
        and has(request, USERNAME)
        and not has(request, PASSWORD_ALGORITHM)
        and not has(request, FINGERPRINT)
        and REQUIRED not in {item[0] for item in request.items}
    ),
    437,
    400,
)
answered_with(
    "a Refresh with 0 without an allocation gets 400",
    ["refresh-mismatch-zero"],
    lambda request: request.method == Method.REFRESH and raw(request, LIFETIME) == bytes(4),
    437,
    400,
)
answered_with(
    "a Refresh of another family gets 400",
    ["refresh-family"],
    is_request(Method.REFRESH, REQUESTED_ADDRESS_FAMILY),
    443,
    400,
)
answered_with(
    "a Refresh with a family is refused",
    ["refresh-family-right", "dual-half"],
    is_request(Method.REFRESH, REQUESTED_ADDRESS_FAMILY),
    0,
    443,
)
answered_with(
    "a malformed LIFETIME is ignored", ["refresh-malformed"], lambda request: raw(request, LIFETIME) == b"\1", 400, 0
)


def _undead(line: Line, draft: Draft) -> Draft | None:
    """A Refresh with 0 does not delete."""
    if draft.method == Method.REFRESH and raw(draft, LIFETIME) == bytes(4):
        line.notes[draft.transaction_id.hex()] = b"zero"
        return draft.put(LIFETIME, (600).to_bytes(4, "big"))
    return None


MISTAKES.append(
    Mistake(
        "a Refresh with 0 does not delete",
        frozenset(["refresh-zero-deletes", "allocate-after-delete", "send-after-delete", "dual-half"]),
        request=_undead,
        answer=lambda line, draft: (
            draft.put(LIFETIME, bytes(4))
            if line.notes.get(draft.transaction_id.hex()) and has(draft, LIFETIME)
            else None
        ),
    )
)

# Permissions


def _open_to_all(line: Line, draft: Draft) -> None:
    """Give every allocation a permission for everybody on this machine."""
    if draft.method == Method.ALLOCATE and draft.message_class is OK:
        request = line.requests[draft.transaction_id]
        wanted = Draft(Method.CREATE_PERMISSION).add(XOR_PEER_ADDRESS, Address.parse("127.0.0.1", 9))
        for spec in (USERNAME, REALM, NONCE):
            wanted.append((spec.number, raw(request, spec)))
        line.inject(wanted.append(sealed_sha1(KEYS[0])))


MISTAKES.append(
    Mistake(
        "no permission is needed",
        frozenset(
            [
                "permission-needed-in",
                "permission-needed-out",
                "permission-own-allocation",
                "permission-ends-with-allocation",
            ]
        ),
        answer=_open_to_all,
    )
)
answered_with(
    "a permission for nobody",
    ["permission-no-peer"],
    lambda request: (
        request.method == Method.CREATE_PERMISSION and sealed(request) and not has(request, XOR_PEER_ADDRESS)
    ),
    400,
    0,
)
answered_with(
    "a malformed peer is ignored",
    ["permission-malformed"],
    lambda request: request.method == Method.CREATE_PERMISSION and raw(request, XOR_PEER_ADDRESS) == b"\0\1\0",
    400,
    0,
)
answered_with("400 for a peer of another family", ["permission-family"], is_request(Method.CREATE_PERMISSION), 443, 400)
answered_with("400 for a channel of another family", ["channel-family"], is_request(Method.CHANNEL_BIND), 443, 400)


def _peers(request: Draft) -> int:
    return sum(item[0] == XOR_PEER_ADDRESS.number for item in request.items)


answered_with("one peer at a time", ["permission-several"], lambda request: _peers(request) == 2, 0, 400)
answered_with(
    "any peer is allowed: multicast",
    ["peer-multicast"],
    lambda request: (
        request.method == Method.CREATE_PERMISSION
        and raw(request, XOR_PEER_ADDRESS)[4:]
        == bytes(a ^ b for a, b in zip((224, 0, 0, 251), b"\x21\x12\xa4\x42", strict=True))
    ),
    403,
    0,
)
answered_with(
    "any peer is allowed: 0.0.0.0",
    ["peer-any-address"],
    lambda request: (
        request.method == Method.CREATE_PERMISSION and raw(request, XOR_PEER_ADDRESS)[4:] == b"\x21\x12\xa4\x42"
    ),
    403,
    0,
)
answered_with(
    "any channel's peer is allowed",
    ["channel-peer-multicast", "channel-peer-any"],
    is_request(Method.CHANNEL_BIND),
    403,
    0,
)

# Indications


def _send(line: Line, draft: Draft) -> bool:
    return draft.method == Method.SEND and draft.message_class is INDICATION


def _on_send(
    name: str, found: Sequence[str], when: Callable[[Draft], bool], change: Callable[[Draft], Draft | bytes]
) -> None:
    on_request(name, found, lambda line, draft: change(draft) if _send(line, draft) and when(draft) else None)


_on_send(
    "an empty Send is dropped",
    ["send-empty"],
    lambda draft: has(draft, DATA) and raw(draft, DATA) == b"",
    lambda draft: DROP,
)
_on_send(
    "a Send without DATA is an empty one",
    ["send-no-data"],
    lambda draft: not has(draft, DATA),
    lambda draft: draft.add(DATA, b""),
)
_on_send(
    "Send minds no unknown attribute",
    ["send-unknown-attribute"],
    lambda draft: REQUIRED in {item[0] for item in draft.items},
    lambda draft: Draft(Method.SEND, INDICATION, [item for item in draft.items if item[0] != REQUIRED]),
)
_on_send(
    "Send minds an optional attribute",
    ["send-optional-attribute"],
    lambda draft: OPTIONAL in {item[0] for item in draft.items},
    lambda draft: DROP,
)
_on_send(
    "Send rounds up to four bytes",
    ["send-lengths"],
    lambda draft: 0 < len(raw(draft, DATA)) < 4,
    lambda draft: draft.put(DATA, raw(draft, DATA).ljust(4, b"\0")),
)
_on_send(
    "Send with DONT-FRAGMENT is dropped",
    ["send-dont-fragment"],
    lambda draft: has(draft, DONT_FRAGMENT),
    lambda draft: DROP,
)


def _on_data(name: str, found: Sequence[str], change: Callable[[Line, Draft], Draft | bytes | None]) -> None:
    MISTAKES.append(
        Mistake(
            name,
            frozenset(found),
            answer=lambda line, draft: change(line, draft) if draft.method == Method.DATA else None,
        )
    )


_on_data(
    "Data names another port",
    ["data-peer-address"],
    lambda line, draft: draft.put(
        XOR_PEER_ADDRESS, raw(draft, XOR_PEER_ADDRESS)[:3] + b"\0" + raw(draft, XOR_PEER_ADDRESS)[4:]
    ),
)


def _same_id(line: Line, draft: Draft) -> Draft | None:
    """The same transaction id always, so that the address is spelled anew."""
    if not has(draft, DATA):
        return None
    peer = XOR_PEER_ADDRESS.decode(raw(draft, XOR_PEER_ADDRESS), draft.transaction_id)
    return Draft(Method.DATA, INDICATION, [], bytes(12)).add(XOR_PEER_ADDRESS, peer).add(DATA, raw(draft, DATA))


_on_data("Data always has one transaction id", ["data-transactions-differ"], _same_id)
_on_data("Data has an attribute that no RFC has", ["data-well-formed"], lambda line, draft: draft.append((0x7ABC, b"")))
_on_data(
    "an empty datagram brings a byte",
    ["data-empty"],
    lambda line, draft: draft.put(DATA, b"\0") if raw(draft, DATA) == b"" else None,
)
_on_data(
    "Data cuts the last byte of short ones",
    ["data-indication"],
    lambda line, draft: draft.put(DATA, b"") if len(raw(draft, DATA)) == 1 else None,
)


def _send_request(line: Line, draft: Draft) -> bytes | None:
    if draft.method != Method.SEND or draft.message_class is not MessageClass.REQUEST:
        return None
    line.to_client(Draft(Method.SEND, OK, [], draft.transaction_id).encode())
    return DROP


on_request("a Send request is served", ["send-request"], _send_request)

# Channels


def _number(low: int, high: int) -> Predicate:
    return lambda request: (
        request.method == Method.CHANNEL_BIND
        and low <= int.from_bytes(raw(request, CHANNEL_NUMBER)[:2] or b"\0", "big") <= high
    )


answered_with(
    "a channel without a number",
    ["channel-no-number"],
    lambda request: request.method == Method.CHANNEL_BIND and sealed(request) and not has(request, CHANNEL_NUMBER),
    400,
    0,
)
answered_with(
    "a channel without a peer",
    ["channel-no-peer"],
    lambda request: request.method == Method.CHANNEL_BIND and sealed(request) and not has(request, XOR_PEER_ADDRESS),
    400,
    0,
)
answered_with("channel numbers below", ["channel-below"], _number(1, 0x3FFF), 400, 0)
answered_with(
    "the channel 0", ["channel-zero"], lambda request: _number(0, 0)(request) and has(request, CHANNEL_NUMBER), 400, 0
)
answered_with("the channels of RFC 5766", ["channel-above"], _number(0x5000, 0x7FFF), 400, 0)
answered_with("channel numbers of RTP", ["channel-rtp-range"], _number(0x8000, 0xFFFF), 400, 0)
answered_with("not the last channel", ["channel-last"], _number(0x4FFF, 0x4FFF), 0, 400)
answered_with(
    "reserved bytes of CHANNEL-NUMBER",
    ["channel-reserved-bits"],
    lambda request: raw(request, CHANNEL_NUMBER)[2:] == b"\xff\xff",
    0,
    400,
)
answered_with(
    "437 for a channel that has a peer",
    ["channel-second-peer", "channel-second-number"],
    lambda request: _number(0x4000, 0x4FFF)(request) and has(request, XOR_PEER_ADDRESS),
    400,
    437,
)


def _on_channel_data(
    name: str,
    found: Sequence[str],
    *,
    out: Callable[[bytes], bytes | None] = lambda frame: None,
    into: Callable[[bytes], bytes | None] = lambda frame: None,
    transport: str = "udp",
) -> None:
    MISTAKES.append(
        Mistake(
            name,
            frozenset(found),
            transport,
            data_out=lambda line, frame: out(frame),
            data_in=lambda line, frame: into(frame),
        )
    )


_on_channel_data(
    "empty ChannelData is dropped", ["channel-empty-to-peer"], out=lambda frame: DROP if len(frame) == 4 else None
)
_on_channel_data(
    "empty datagrams bring no ChannelData",
    ["channel-empty-to-client"],
    into=lambda frame: DROP if len(frame) == 4 else None,
)
_on_channel_data(
    "ChannelData of odd lengths is rounded",
    ["channel-lengths-to-peer"],
    out=lambda frame: frame[:2] + b"\0\4" + frame[4:].ljust(4, b"\0") if 4 < len(frame) < 8 else None,
)
_on_channel_data(
    "ChannelData of short datagrams is rounded",
    ["channel-lengths-to-client"],
    into=lambda frame: frame[:2] + b"\0\4" + frame[4:].ljust(4, b"\0") if 4 < len(frame) < 8 else None,
)
_on_channel_data(
    "ChannelData over UDP is sent on with its padding",
    ["channel-trailing"],
    out=lambda frame: (
        frame[:2] + (len(frame) - 4).to_bytes(2, "big") + frame[4:]
        if int.from_bytes(frame[2:4], "big") < len(frame) - 4
        else None
    ),
)
_on_channel_data(
    "ChannelData longer than its datagram",
    ["channel-length-beyond"],
    out=lambda frame: (
        frame[:2] + (len(frame) - 4).to_bytes(2, "big") + frame[4:]
        if int.from_bytes(frame[2:4], "big") > len(frame) - 4
        else None
    ),
)
_on_channel_data(
    "ChannelData of any channel",
    ["channel-unbound", "channel-reserved-number"],
    out=lambda frame: b"\x40\x07" + frame[2:] if frame[:2] in (b"\x40\x10", b"\x50\x00") else None,
)


def _wrong_channel(frame: bytes) -> bytes:
    return frame[:1] + bytes((frame[1] ^ 1,)) + frame[2:]


_on_channel_data(
    "another channel's number to the client",
    ["channel-to-client", "channel-lengths-to-client", "channel-empty-to-client"],
    into=_wrong_channel,
)

# Streams

_on_channel_data(
    "ChannelData on a stream without padding",
    ["stream-channel-padded", "channel-lengths-to-client"],
    into=lambda frame: frame[: 4 + int.from_bytes(frame[2:4], "big")],
    transport="tcp",
)
_on_channel_data(
    "padding is relayed",
    ["stream-channel-unpadded-length", "channel-lengths-to-peer"],
    out=lambda frame: frame[:2] + (len(frame) - 4).to_bytes(2, "big") + frame[4:] if len(frame) < 16 else None,
    transport="tcp",
)
answered_with(
    "Connect without an allocation gets 403", ["connect-mismatch"], is_request(Method.CONNECT), 437, 403, "tcp"
)
answered_with(
    "Connect to nobody gets 403",
    ["connect-no-peer"],
    lambda request: request.method == Method.CONNECT and not has(request, XOR_PEER_ADDRESS),
    400,
    403,
    "tcp",
)
answered_with("a second Connect gets 447", ["connect-twice"], is_request(Method.CONNECT), 446, 447, "tcp")
answered_with("a refused Connect gets 446", ["connect-refused"], is_request(Method.CONNECT), 447, 446, "tcp")
answered_with(
    "ConnectionBind to nothing gets 437",
    ["connection-bind-unknown", "connection-bind-twice"],
    is_request(Method.CONNECTION_BIND, CONNECTION_ID),
    400,
    437,
    "tcp",
)
answered_with(
    "a TCP allocation with EVEN-PORT",
    ["tcp-even-port"],
    lambda request: raw(request, REQUESTED_TRANSPORT)[:1] == b"\6" and has(request, EVEN_PORT),
    400,
    0,
    "tcp",
)
on_answer(
    "Connect without CONNECTION-ID",
    ["connect-success"],
    _success_of(Method.CONNECT, lambda request, draft: draft.drop(CONNECTION_ID)),
    "tcp",
)
answered_with(
    "ConnectionBind without integrity gets 400",
    ["connection-bind-challenged"],
    lambda request: request.method == Method.CONNECTION_BIND and bare(request),
    401,
    400,
    "tcp",
)
MISTAKES.append(
    Mistake(
        "ConnectionAttempt without the peer",
        frozenset(["connection-attempt"]),
        "tcp",
        answer=lambda line, draft: draft.drop(XOR_PEER_ADDRESS) if draft.method == Method.CONNECTION_ATTEMPT else None,
    )
)
MISTAKES.append(
    Mistake(
        "no ConnectionAttempt",
        frozenset(["connection-attempt"]),
        "tcp",
        answer=lambda line, draft: DROP if draft.method == Method.CONNECTION_ATTEMPT else None,
    )
)

# What RFC 8489 §9.2.4 says of single answers

_SAME = b"the same for everybody"


def _own_nonce(line: Line, draft: Draft) -> Draft | None:
    nonce = raw(draft, NONCE)
    return draft.put(NONCE, nonce[:13] + line.notes["own"]) if nonce[13:] == _SAME and "own" in line.notes else None


def _common_nonce(line: Line, draft: Draft) -> Draft | None:
    nonce = raw(draft, NONCE)
    if not nonce:
        return None
    line.notes["own"] = nonce[13:]
    return draft.put(NONCE, nonce[:13] + _SAME)


MISTAKES.append(
    Mistake("one nonce for everybody", frozenset(["auth-nonce-apart"]), request=_own_nonce, answer=_common_nonce)
)
on_answer(
    "438 without PASSWORD-ALGORITHMS",
    ["auth-stale-algorithms"],
    lambda request, draft: draft.drop(PASSWORD_ALGORITHMS) if code_of(draft) == 438 else None,
)
on_answer(
    "401 to wrong credentials without PASSWORD-ALGORITHMS",
    ["auth-unknown-user-algorithms"],
    lambda request, draft: draft.drop(PASSWORD_ALGORITHMS) if _unproven(request) and code_of(draft) == 401 else None,
)
on_answer(
    "REALM in a success response",
    ["auth-answer-bare"],
    _success_of(Method.ALLOCATE, lambda request, draft: before_seal(draft, (REALM.number, b"example.org"))),
)
_on_data("ICMP is not told", ["icmp-told"], lambda line, draft: DROP if has(draft, ICMP) else None)


def _both_halves(line: Line, draft: Draft) -> Draft | None:
    if draft.method != Method.REFRESH or raw(draft, LIFETIME) != bytes(4):
        return None
    return draft.drop(REQUESTED_ADDRESS_FAMILY)


on_request("half of two relays is both", ["dual-half"], _both_halves)

# Mobility

_ticket = is_request(Method.ALLOCATE, MOBILITY_TICKET)
_moving = is_request(Method.REFRESH, MOBILITY_TICKET)
answered_with("400 where mobility is asked for", ["mobility-asked"], _ticket, 0, 400)
on_answer(
    "a ticket for everybody",
    ["mobility-unasked"],
    _success_of(
        Method.ALLOCATE,
        lambda request, draft: (
            None if has(draft, MOBILITY_TICKET) else before_seal(draft, (MOBILITY_TICKET.number, b"ticket"))
        ),
    ),
)
answered_with("405 for a ticket that is not empty", ["mobility-not-empty"], _ticket, 400, 405)
answered_with("437 for a ticket", ["mobility-moves"], _moving, 0, 437)
on_answer(
    "no new ticket",
    ["mobility-new-ticket"],
    _success_of(Method.REFRESH, lambda request, draft: draft.drop(MOBILITY_TICKET)),
)
answered_with("437 for a ticket of nobody", ["mobility-forged"], _moving, 400, 437)


def _not_from_there(line: Line, draft: Draft) -> bytes | None:
    """A client that has moved sends nothing."""
    if draft.method == Method.REFRESH and has(draft, MOBILITY_TICKET):
        line.notes["moved"] = b"yes"
    return DROP if draft.method == Method.SEND and "moved" in line.notes else None


on_request("an allocation that has moved is of no use", ["mobility-relay-moves"], _not_from_there)


def _note_life(line: Line, draft: Draft) -> None:
    if draft.message_class is OK and draft.method in (Method.ALLOCATE, Method.REFRESH):
        line.notes["alive"] = b"" if raw(draft, LIFETIME) == bytes(4) else b"yes"


MISTAKES.append(
    Mistake(
        "an allocation outlives its connection",
        frozenset(["stream-close-ends"]),
        "tcp",
        answer=_note_life,
        lingers=lambda line: bool(line.notes.get("alive")),
    )
)
answered_with(
    "TCP allocations are refused",
    ["tcp-allocate"],
    lambda request: raw(request, REQUESTED_TRANSPORT)[:1] == b"\6",
    0,
    400,
    "tcp",
)
answered_with(
    "right credentials are refused",
    ["auth-accepted"],
    lambda request: (
        has(request, PASSWORD_ALGORITHM)
        and sealed(request)
        and len(request.items) == 7
        and raw(request, PASSWORD_ALGORITHM) == _SHA256_VALUE
        and raw(request, REQUESTED_TRANSPORT) == b"\x11\0\0\0"
    ),
    0,
    400,
)

# Malformed messages


def _forgive_length(line: Line, draft: Draft) -> Draft | None:
    data = line.notes["raw"]
    return draft if binding(draft) and int.from_bytes(data[2:4], "big") != len(data) - 20 else None


def _forgive_attribute(line: Line, draft: Draft) -> Draft | None:
    data = line.notes["raw"]
    beyond = len(data) > 24 and int.from_bytes(data[22:24], "big") > len(data) - 24
    return draft if binding(draft) and beyond else None


on_request(
    "length fields are ignored",
    ["malformed-length-odd", "malformed-length-short", "malformed-length-long"],
    _forgive_length,
)
on_request("an attribute may end behind the message", ["malformed-attribute-long"], _forgive_attribute)

# What is done a second time, and beside a channel


def _second_time(method: Method, name: str, found: Sequence[str]) -> None:
    """The same request (but for its transaction) is refused when it comes again."""

    def change(line: Line, draft: Draft) -> Draft | None:
        request = line.requests.get(draft.transaction_id)
        if request is None or draft.method != method or draft.message_class is not OK:
            return None
        peer = XOR_PEER_ADDRESS.decode(raw(request, XOR_PEER_ADDRESS), draft.transaction_id)
        key = f"{method}{peer}{raw(request, CHANNEL_NUMBER).hex()}"
        if key not in line.notes:
            line.notes[key] = draft.transaction_id
        if line.notes[key] == draft.transaction_id:
            return None
        draft.message_class = BAD
        return draft.insert((ERROR_CODE.number, b"\0\0\4\0No"))

    MISTAKES.append(Mistake(name, frozenset(found), answer=change))


_second_time(Method.CHANNEL_BIND, "a channel cannot be refreshed", ["channel-again"])
_second_time(Method.CREATE_PERMISSION, "a permission cannot be refreshed", ["permission-again"])
answered_with("not the first channel", ["channel-first"], _number(0x4000, 0x4000), 0, 400)


def _note_channel(line: Line, draft: Draft) -> None:
    if draft.method == Method.CHANNEL_BIND and draft.message_class is OK:
        line.notes["bound"] = b"yes"


MISTAKES.append(
    Mistake(
        "a channel ends Send indications",
        frozenset(["channel-send-too", "channel-permits"]),
        request=lambda line, draft: DROP if draft.method == Method.SEND and "bound" in line.notes else None,
        answer=_note_channel,
    )
)
MISTAKES.append(
    Mistake(
        "a channel ends STUN",
        frozenset(["channel-still-stun"]),
        request=lambda line, draft: DROP if binding(draft) and "bound" in line.notes else None,
        answer=_note_channel,
    )
)
answered_with(
    "Allocate without integrity gets 437",
    ["auth-challenge", "auth-before-unknown"],
    lambda request: request.method == Method.ALLOCATE and bare(request),
    401,
    437,
)
answered_with(
    "Refresh gets 508",
    ["refresh-success", "allocate-again-harmless", "dual-half"],
    lambda request: (
        request.method == Method.REFRESH
        and raw(request, LIFETIME) == (600).to_bytes(4, "big")
        and not has(request, REQUESTED_ADDRESS_FAMILY)
        and not has(request, MOBILITY_TICKET)
    ),
    0,
    508,
)
