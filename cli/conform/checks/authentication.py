"""The long-term credential mechanism: RFC 8489 §9.2, in the order of its checks.

Servers slow down who guesses: this server answers 50 failures of one address at once. A run over four transports has
to stay below that, so not every wrong credential is tried with every kind of integrity.
"""

from auth.keys import user_hash
from auth.nonce import SecurityFeatures, nonce_features
from cli.conform.bench import Bench
from cli.conform.client import SHA1, SHA256, KitClient
from cli.conform.findings import Wrong
from cli.conform.judge import affordable, error, needed, present, said, succeeded
from cli.conform.registry import check
from cli.conform.wire import FINGERPRINT_SEAL, Draft, SeenMessage, sealed_sha1, sealed_sha256
from stun.attributes import (
    LIFETIME,
    MESSAGE_INTEGRITY,
    MESSAGE_INTEGRITY_SHA256,
    NONCE,
    PASSWORD_ALGORITHM,
    PASSWORD_ALGORITHMS,
    REALM,
    REQUESTED_TRANSPORT,
    USERHASH,
    USERNAME,
    XOR_MAPPED_ADDRESS,
)
from stun.client.authentication import Login
from stun.constants import Method, TransportProtocol

__all__: list[str] = []

_UDP = (REQUESTED_TRANSPORT, int(TransportProtocol.UDP))


async def _bare(bench: Bench, method: Method = Method.ALLOCATE) -> SeenMessage:
    """A request without integrity."""
    return await (await bench.client()).ask(Draft(method).add(*_UDP))


async def _allocate(tester: KitClient, draft: Draft) -> SeenMessage:
    reply = await tester.ask(draft)
    tester.took(reply)
    return reply


@check("auth-challenge")
async def challenge(bench: Bench) -> None:
    error(await _bare(bench), 401)


@check("auth-challenge-attributes")
async def challenge_attributes(bench: Bench) -> None:
    reply = await _bare(bench)
    needed(reply.code == 401, "The answer was not 401.")
    present(reply, REALM, NONCE)


@check("auth-challenge-unsigned")
async def challenge_unsigned(bench: Bench) -> None:
    reply = await _bare(bench)
    needed(reply.code == 401, "The answer was not 401.")
    if reply.has(MESSAGE_INTEGRITY) or reply.has(MESSAGE_INTEGRITY_SHA256) or reply.has(USERNAME):
        raise Wrong("The challenge has USERNAME or integrity.")


@check("auth-nonce-length")
async def nonce_length(bench: Bench) -> None:
    octets = (await _bare(bench)).octets(NONCE)
    needed(octets is not None, "There is no NONCE.")
    if octets is not None and len(octets) > 763:
        raise Wrong(f"NONCE has {len(octets)} bytes.")


@check("auth-realm-text")
async def realm_text(bench: Bench) -> None:
    reply = await _bare(bench)
    needed(reply.has(REALM), "There is no REALM.")
    if not reply.value(REALM):
        raise Wrong("REALM is empty, or not UTF-8 of at most 127 characters.")


@check("auth-realm-same")
async def realm_same(bench: Bench) -> None:
    realms = {(await _bare(bench)).octets(REALM) for _ in range(2)}
    if len(realms) > 1:
        raise Wrong("Two challenges had different realms.")


@check("auth-nonce-apart")
async def nonce_apart(bench: Bench) -> None:
    first, second = [(await _bare(bench)).octets(NONCE) for _ in range(2)]
    needed(first is not None and second is not None, "There is no NONCE.")
    if first == second:
        raise Wrong("Two sockets, with different ports, got the same nonce.")


@check("auth-nonce-cookie")
async def nonce_cookie(bench: Bench) -> None:
    """Without the cookie, PASSWORD-ALGORITHMS would be open to a bid-down."""
    reply = await _bare(bench)
    needed(reply.has(PASSWORD_ALGORITHMS), "The server offers no password algorithms (it is one of RFC 5389).")
    needed(reply.has(NONCE), "There is no NONCE.")
    features = nonce_features(reply.octets(NONCE) or b"")
    if features is None or SecurityFeatures.PASSWORD_ALGORITHMS not in features:
        raise Wrong("PASSWORD-ALGORITHMS is offered, and the nonce does not have the bit that says so.")


@check("auth-algorithms-announced")
async def algorithms_announced(bench: Bench) -> None:
    reply = await _bare(bench)
    features = nonce_features(reply.octets(NONCE) or b"")
    announced = features is not None and SecurityFeatures.PASSWORD_ALGORITHMS in features
    needed(announced, "The nonce does not announce password algorithms.")
    present(reply, PASSWORD_ALGORITHMS)


@check("auth-algorithms-offered")
async def algorithms_offered(bench: Bench) -> None:
    reply = await _bare(bench)
    needed(reply.code == 401, "The answer was not 401.")
    if not reply.has(PASSWORD_ALGORITHMS):
        raise Wrong("The challenge has no PASSWORD-ALGORITHMS: the server does not have SHA-256.")


async def _challenged(bench: Bench, method: Method) -> None:
    error(await (await bench.client()).ask(Draft(method)), 401)


@check("auth-refresh")
async def refresh(bench: Bench) -> None:
    await _challenged(bench, Method.REFRESH)


@check("auth-permission")
async def permission(bench: Bench) -> None:
    await _challenged(bench, Method.CREATE_PERMISSION)


@check("auth-channel")
async def channel(bench: Bench) -> None:
    await _challenged(bench, Method.CHANNEL_BIND)


@check("auth-on-allocation")
async def on_allocation(bench: Bench) -> None:
    """An allocation does not make up for missing credentials."""
    tester = await bench.relay()
    error(await tester.ask(Draft(Method.REFRESH).add(LIFETIME, 0)), 401)


@check("auth-accepted", modes=True)
async def accepted(bench: Bench) -> None:
    tester = await bench.client()
    reply = await tester.request(Method.ALLOCATE, _UDP)
    tester.took(reply)
    if reply.code in (400, 401, 438):
        raise Wrong(f"Right credentials were answered with {said(reply)}.")


@check("auth-answer-sealed", modes=True)
async def answer_sealed(bench: Bench) -> None:
    tester = await bench.client()
    reply = await tester.request(Method.ALLOCATE, _UDP)
    tester.took(reply)
    needed(reply.success, "Allocate was refused.")
    present(reply, MESSAGE_INTEGRITY if bench.mode == SHA1 else MESSAGE_INTEGRITY_SHA256)


@check("auth-answer-seal-right", modes=True)
async def answer_seal_right(bench: Bench) -> None:
    tester = await bench.client()
    reply = await tester.request(Method.ALLOCATE, _UDP)
    tester.took(reply)
    needed(reply.success, "Allocate was refused.")
    right = reply.sealed_by(tester.seal())
    needed(right is not None, "The answer has no integrity of the request's kind.")
    if not right:
        raise Wrong("The integrity of the answer is not the HMAC of the message before it with the user's key.")


@check("auth-answer-bare")
async def answer_bare(bench: Bench) -> None:
    tester = await bench.client(mode=SHA1)
    reply = await tester.request(Method.ALLOCATE, _UDP)
    tester.took(reply)
    needed(reply.success, "Allocate was refused.")
    for spec in (REALM, NONCE, USERNAME, USERHASH):
        if reply.has(spec):
            raise Wrong(f"The success response has {spec.name}.")


@check("auth-error-sealed", modes=True)
async def error_sealed(bench: Bench) -> None:
    tester = await bench.client()
    reply = await tester.request(Method.REFRESH, (LIFETIME, 600))
    needed(reply.code and reply.code not in (401, 438, 400), "There was no error of the kind.")
    if not reply.sealed_by(tester.seal()):
        raise Wrong(
            f"The error response {reply.code} to a user's request has no right integrity of the request's kind."
        )


@check("auth-answer-fingerprint", modes=True)
async def answer_fingerprint(bench: Bench) -> None:
    tester = await bench.client()
    reply = await tester.request(Method.REFRESH, (LIFETIME, 600), fingerprint=True)
    needed(reply.code not in (401, 438), "The credentials were refused.")
    if not reply.sealed_by(FINGERPRINT_SEAL):
        raise Wrong("The answer to a request with integrity and FINGERPRINT has no right FINGERPRINT.")


@check("auth-after-integrity", modes=True)
async def after_integrity(bench: Bench) -> None:
    """A comprehension-required attribute behind the integrity does not count."""
    tester = await bench.client()
    draft = (await tester.draft(Method.REFRESH, (LIFETIME, 600))).append((0x7FFE, b"1234"))
    reply = await tester.ask(draft)
    needed(reply.code not in (401, 438), "The credentials were refused.")
    if reply.code == 420:
        raise Wrong("An unknown attribute behind the integrity was answered with 420.")


@check("auth-unknown-attribute", modes=True)
async def unknown_attribute(bench: Bench) -> None:
    tester = await bench.client()
    reply = await _allocate(tester, await tester.draft(Method.ALLOCATE, _UDP, extra=((0x7FFE, b"1234"),)))
    error(reply, 420)


@check("auth-before-unknown")
async def before_unknown(bench: Bench) -> None:
    """Authentication comes first: without it 401, not 420."""
    error(await (await bench.client()).ask(Draft(Method.ALLOCATE).add(*_UDP).append((0x7FFE, b"1234"))), 401)


async def _without(bench: Bench, *specs: object) -> None:
    tester = await bench.client()
    draft = await tester.draft(Method.ALLOCATE, _UDP)
    seal = draft.items.pop()
    for spec in specs:
        draft.drop(spec)  # type: ignore[arg-type]
    error(await _allocate(tester, draft.append(seal)), 400)


@check("auth-no-username", modes=True)
async def no_username(bench: Bench) -> None:
    await _without(bench, USERNAME)


@check("auth-no-realm", modes=True)
async def no_realm(bench: Bench) -> None:
    await _without(bench, REALM)


@check("auth-no-nonce", modes=True)
async def no_nonce(bench: Bench) -> None:
    await _without(bench, NONCE)


@check("auth-incomplete-bare")
async def incomplete_bare(bench: Bench) -> None:
    tester = await bench.client()
    draft = await tester.draft(Method.ALLOCATE, _UDP)
    seal = draft.items.pop()
    reply = await _allocate(tester, draft.drop(USERNAME).append(seal))
    needed(reply.code == 400, "The answer was not 400.")
    if any(reply.has(spec) for spec in (USERNAME, NONCE, REALM, MESSAGE_INTEGRITY, MESSAGE_INTEGRITY_SHA256)):
        raise Wrong("The 400 has USERNAME, NONCE, REALM or integrity.")


@check("auth-wrong-password", modes=True)
async def wrong_password(bench: Bench) -> None:
    tester = await bench.client()
    assert bench.options.login is not None
    wrong = Login(bench.options.login.username, "not " + bench.options.login.password)
    error(await _allocate(tester, await tester.draft(Method.ALLOCATE, _UDP, login=wrong)), 401)


@check("auth-wrong-password-challenge")
async def wrong_password_challenge(bench: Bench) -> None:
    tester = await bench.client()
    assert bench.options.login is not None
    wrong = Login(bench.options.login.username, "not " + bench.options.login.password)
    reply = await _allocate(tester, await tester.draft(Method.ALLOCATE, _UDP, login=wrong))
    needed(reply.code == 401, "The answer was not 401.")
    present(reply, REALM, NONCE)


@check("auth-unknown-user")
async def unknown_user(bench: Bench) -> None:
    tester = await bench.client()
    stranger = Login("meshturn-conform-nobody", "secret")
    error(await _allocate(tester, await tester.draft(Method.ALLOCATE, _UDP, login=stranger)), 401)


@check("auth-unknown-user-algorithms")
async def unknown_user_algorithms(bench: Bench) -> None:
    tester = await bench.client()
    await _needs_sha256(tester)
    stranger = Login("meshturn-conform-nobody", "secret")
    reply = await _allocate(tester, await tester.draft(Method.ALLOCATE, _UDP, login=stranger))
    needed(reply.code == 401, "The answer was not 401.")
    present(reply, REALM, NONCE, PASSWORD_ALGORITHMS)


@check("auth-tampered")
async def tampered(bench: Bench) -> None:
    tester = await bench.client()
    data = bytearray((await tester.draft(Method.ALLOCATE, (LIFETIME, 700), _UDP)).encode())
    data[27] ^= 1  # the last byte of LIFETIME
    reply = await tester.ask(bytes(data))
    tester.took(reply)
    error(reply, 401)


@check("auth-tampered-id")
async def tampered_id(bench: Bench) -> None:
    tester = await bench.client()
    data = bytearray((await tester.draft(Method.ALLOCATE, _UDP)).encode())
    data[8] ^= 1
    reply = await tester.ask(bytes(data))
    tester.took(reply)
    error(reply, 401)


@check("auth-nonce-foreign", modes=True)
async def nonce_foreign(bench: Bench) -> None:
    tester = await bench.client()
    draft = await tester.draft(Method.ALLOCATE, _UDP)
    seal = draft.items.pop()
    nonce = bytearray(tester.challenge.nonce if tester.challenge else b"nonce")
    nonce[-1] = ord("A") if nonce[-1] != ord("A") else ord("B")
    error(await _allocate(tester, draft.put(NONCE, bytes(nonce)).append(seal)), 438)


@check("auth-stale-attributes")
async def stale_attributes(bench: Bench) -> None:
    tester = await bench.client()
    draft = await tester.draft(Method.ALLOCATE, _UDP)
    seal = draft.items.pop()
    reply = await _allocate(tester, draft.put(NONCE, b"0" * 24).append(seal))
    needed(reply.code == 438, "The answer was not 438.")
    present(reply, REALM, NONCE)


@check("auth-stale-algorithms")
async def stale_algorithms(bench: Bench) -> None:
    tester = await bench.client()
    await _needs_sha256(tester)
    draft = await tester.draft(Method.ALLOCATE, _UDP, mode=SHA1)
    seal = draft.items.pop()
    nonce = bytearray(tester.challenge.nonce if tester.challenge else b"nonce")
    nonce[-1] = ord("A") if nonce[-1] != ord("A") else ord("B")
    reply = await _allocate(tester, draft.put(NONCE, bytes(nonce)).append(seal))
    needed(reply.code == 438, "The answer was not 438.")
    present(reply, PASSWORD_ALGORITHMS)


@check("auth-stale-nonce-good")
async def stale_nonce_good(bench: Bench) -> None:
    tester = await bench.client()
    draft = await tester.draft(Method.ALLOCATE, _UDP)
    seal = draft.items.pop()
    reply = await _allocate(tester, draft.put(NONCE, b"0" * 24).append(seal))
    needed(reply.code == 438 and tester.learn(reply), "The answer was not 438 with a nonce.")
    again = await _allocate(tester, await tester.draft(Method.ALLOCATE, _UDP))
    if again.code == 438:
        raise Wrong("The nonce of a 438 was stale at once.")


@check("auth-fresh-nonce")
async def fresh_nonce(bench: Bench) -> None:
    tester = await bench.client()
    reply = await _allocate(tester, await tester.draft(Method.ALLOCATE, _UDP))
    if reply.code == 438:
        raise Wrong("The nonce of a 401 was stale at once.")


@check("auth-nonce-reused")
async def nonce_reused(bench: Bench) -> None:
    tester = await bench.relay()
    for _ in range(3):
        reply = await tester.ask(await tester.draft(Method.REFRESH, (LIFETIME, 600)))
        if reply.code == 438:
            raise Wrong("A nonce was stale after a few requests.")


@check("auth-integrity-before-nonce")
async def integrity_before_nonce(bench: Bench) -> None:
    """Wrong integrity is told before a stale nonce."""
    tester = await bench.client()
    assert bench.options.login is not None
    wrong = Login(bench.options.login.username, "not " + bench.options.login.password)
    draft = await tester.draft(Method.ALLOCATE, _UDP, login=wrong)
    draft.items.pop()
    draft.put(NONCE, b"0" * 24).append(tester.seal(login=wrong))
    error(await _allocate(tester, draft), 401)


@check("auth-username-not-utf8")
async def username_not_utf8(bench: Bench) -> None:
    tester = await bench.client()
    draft = await tester.draft(Method.ALLOCATE, _UDP)
    seal = draft.items.pop()
    error(await _allocate(tester, draft.put(USERNAME, b"\xff\xfe\xfd").append(seal)), 400, 401)


async def _needs_sha256(tester: KitClient) -> None:
    challenge = await tester.challenged()
    needed(SHA256 in challenge.modes, "The server offers no SHA-256.")


async def _bid_down(bench: Bench, spoil: str) -> None:
    tester = await bench.client(mode=SHA256)
    await _needs_sha256(tester)
    draft = await tester.draft(Method.ALLOCATE, _UDP)
    seal = draft.items.pop()
    if spoil == "no-algorithm":
        draft.drop(PASSWORD_ALGORITHM)
    elif spoil == "no-algorithms":
        draft.drop(PASSWORD_ALGORITHMS)
    elif spoil == "other-list":
        draft.put(PASSWORD_ALGORITHMS, bytes((0, 1, 0, 0)))
    else:
        draft.put(PASSWORD_ALGORITHM, bytes((0, 9, 0, 0)))
    error(await _allocate(tester, draft.append(seal)), 400)


@check("bid-down-no-algorithm")
async def no_algorithm(bench: Bench) -> None:
    await _bid_down(bench, "no-algorithm")


@check("bid-down-no-algorithms")
async def no_algorithms(bench: Bench) -> None:
    await _bid_down(bench, "no-algorithms")


@check("bid-down-other-list")
async def other_list(bench: Bench) -> None:
    await _bid_down(bench, "other-list")


@check("bid-down-other-algorithm")
async def other_algorithm(bench: Bench) -> None:
    await _bid_down(bench, "other-algorithm")


@check("sha256-truncated")
async def truncated(bench: Bench) -> None:
    tester = await bench.client(mode=SHA256)
    await _needs_sha256(tester)
    draft = await tester.draft(Method.ALLOCATE, _UDP)
    draft.items.pop()
    reply = await _allocate(tester, draft.append(sealed_sha256(tester.key(), 16)))
    if reply.success:
        raise Wrong("MESSAGE-INTEGRITY-SHA256 of 16 bytes was accepted; TURN uses all 32.")


@check("sha256-md5-key")
async def md5_key(bench: Bench) -> None:
    tester = await bench.client(mode=SHA256)
    await _needs_sha256(tester)
    draft = await tester.draft(Method.ALLOCATE, _UDP)
    draft.items.pop()
    draft.put(PASSWORD_ALGORITHM, bytes((0, 1, 0, 0))).append(sealed_sha256(tester.key(SHA1)))
    succeeded(affordable(await _allocate(tester, draft)))


@check("sha256-counts")
async def both(bench: Bench) -> None:
    """Of both attributes the stronger counts: a wrong MESSAGE-INTEGRITY beside it changes nothing."""
    tester = await bench.client(mode=SHA256)
    await _needs_sha256(tester)
    draft = await tester.draft(Method.ALLOCATE, _UDP)
    seal = draft.items.pop()
    draft.append((MESSAGE_INTEGRITY.number, bytes(20)), seal)
    reply = await _allocate(tester, draft)
    if reply.code == 401:
        raise Wrong("A right MESSAGE-INTEGRITY-SHA256 behind a wrong MESSAGE-INTEGRITY was refused with 401.")


@check("userhash-accepted", modes=True)
async def userhash(bench: Bench) -> None:
    tester = await bench.client()
    challenge = await tester.challenged()
    features = nonce_features(challenge.nonce)
    announced = features is not None and SecurityFeatures.USERNAME_ANONYMITY in features
    needed(announced, "The server does not announce username anonymity.")
    assert bench.options.login is not None
    draft = await tester.draft(Method.ALLOCATE, _UDP)
    seal = draft.items.pop()
    draft.drop(USERNAME).append((USERHASH.number, user_hash(bench.options.login.username, challenge.realm)), seal)
    reply = await _allocate(tester, draft)
    if reply.code in (400, 401, 420):
        succeeded(reply)


@check("userhash-unknown")
async def userhash_unknown(bench: Bench) -> None:
    tester = await bench.client()
    challenge = await tester.challenged()
    features = nonce_features(challenge.nonce)
    announced = features is not None and SecurityFeatures.USERNAME_ANONYMITY in features
    needed(announced, "The server does not announce username anonymity.")
    draft = await tester.draft(Method.ALLOCATE, _UDP)
    seal = draft.items.pop()
    error(await _allocate(tester, draft.drop(USERNAME).append((USERHASH.number, bytes(32)), seal)), 401)


@check("auth-guess-nothing-told")
async def nothing_told(bench: Bench) -> None:
    """An unknown user and a wrong password are told apart by nothing."""
    assert bench.options.login is not None
    seen = []
    for login in (
        Login(bench.options.login.username, "not " + bench.options.login.password),
        Login("meshturn-conform-nobody", "secret"),
    ):
        tester = await bench.client()
        reply = await _allocate(tester, await tester.draft(Method.ALLOCATE, _UDP, login=login))
        seen.append((reply.code, reply.octets(REALM), tuple(each.type for each in reply.attributes)))
        needed(reply.code == 401, "The answer was not 401.")
    if seen[0] != seen[1]:
        raise Wrong("The answers to an unknown user and to a wrong password differ.")


@check("answer-not-amplified", only="udp")
async def not_amplified(bench: Bench) -> None:
    """Unauthenticated answers over UDP say nothing that they need not: no SOFTWARE, no address."""
    reply = await _bare(bench)
    if reply.has(XOR_MAPPED_ADDRESS):
        raise Wrong("A challenge over UDP has XOR-MAPPED-ADDRESS.")
    if len(reply.raw) > 548:
        raise Wrong(f"A challenge over UDP has {len(reply.raw)} bytes; more than 548 may not fit through.")


@check("sealed-twice-wrong")
async def sealed_by_other_key(bench: Bench) -> None:
    tester = await bench.client()
    draft = await tester.draft(Method.ALLOCATE, _UDP, mode=SHA1)
    draft.items.pop()
    error(await _allocate(tester, draft.append(sealed_sha1(b""))), 401)
