"""Binding and what holds for every answer: RFC 8489 §5, §6.3, §14."""

import secrets

from cli.conform.bench import Bench
from cli.conform.findings import Wrong
from cli.conform.judge import error, needed, no_answer, present, succeeded
from cli.conform.registry import check
from cli.conform.wire import FINGERPRINT_SEAL, Draft, SeenMessage, sealed_sha1
from stun.attributes import (
    FINGERPRINT,
    MAPPED_ADDRESS,
    PASSWORD_ALGORITHM,
    PASSWORD_ALGORITHMS,
    REGISTRY,
    SOFTWARE,
    UNKNOWN_ATTRIBUTES,
    USERNAME,
    XOR_MAPPED_ADDRESS,
)
from stun.constants import HEADER_LENGTH, MessageClass, Method

__all__: list[str] = []

_OPTIONAL = 0xBFFE
"""A comprehension-optional type that nobody has."""

_REQUIRED = 0x7FFE
"""A comprehension-required one."""


async def _ask(bench: Bench, draft: Draft | None = None) -> SeenMessage:
    return await (await bench.client()).ask(draft or Draft(Method.BINDING))


async def _binding(bench: Bench, draft: Draft | None = None) -> SeenMessage:
    """A success response, which another check is about."""
    reply = await _ask(bench, draft)
    needed(reply.success, f"Binding was refused: error {reply.code}.")
    return reply


@check("binding-answered", login=False)
async def answered(bench: Bench) -> None:
    succeeded(await _ask(bench))


@check("binding-mapped", login=False)
async def mapped(bench: Bench) -> None:
    present(await _binding(bench), XOR_MAPPED_ADDRESS)


@check("binding-mapped-right", login=False)
async def mapped_right(bench: Bench) -> None:
    tester = await bench.client()
    reply = await tester.ask(Draft(Method.BINDING))
    needed(reply.has(XOR_MAPPED_ADDRESS), "There is no XOR-MAPPED-ADDRESS.")
    address = reply.value(XOR_MAPPED_ADDRESS)
    if address is None:
        raise Wrong("XOR-MAPPED-ADDRESS cannot be read.")
    if not bench.target.address.is_loopback:
        needed(address.host == tester.pipe.local.host, "A NAT is in between, so that only it knows what is right.")
    if address != tester.pipe.local:
        raise Wrong(f"XOR-MAPPED-ADDRESS is {address}; the request came from {tester.pipe.local}.")


@check("binding-same-address", login=False)
async def same_address(bench: Bench) -> None:
    tester = await bench.client()
    values = [(await tester.ask(Draft(Method.BINDING))).value(XOR_MAPPED_ADDRESS) for _ in range(3)]
    if len(set(values)) > 1:
        raise Wrong(f"Three requests of one socket got {', '.join(map(str, values))}.")


@check("binding-transaction", login=False)
async def transaction(bench: Bench) -> None:
    tester = await bench.client()
    drafts = [Draft(Method.BINDING) for _ in range(5)]
    for draft in drafts:
        tester.send(draft.encode())
    for draft in drafts:
        if not tester.answers_waiting(draft.transaction_id) and await tester.attempt(draft) is None:
            raise Wrong(f"The request {draft.transaction_id.hex()} of five at once was not answered.")


@check("binding-no-credentials", login=False)
async def no_credentials(bench: Bench) -> None:
    reply = await (await bench.client()).ask(Draft(Method.BINDING))
    if reply.code == 401:
        raise Wrong("Binding was answered with 401.")


@check("binding-legacy-mapped", login=False)
async def legacy_mapped(bench: Bench) -> None:
    """An answer to a request with the cookie may have MAPPED-ADDRESS for middleboxes only if it is right."""
    reply = await _binding(bench)
    plain, xored = reply.value(MAPPED_ADDRESS), reply.value(XOR_MAPPED_ADDRESS)
    if reply.has(MAPPED_ADDRESS) and plain != xored:
        raise Wrong(f"MAPPED-ADDRESS is {plain}, XOR-MAPPED-ADDRESS is {xored}.")


@check("answer-well-formed", login=False)
async def well_formed(bench: Bench) -> None:
    reply = await _binding(bench)
    if reply.fault:
        raise Wrong(f"The answer is not well formed: {reply.fault}.")


@check("answer-length", login=False)
async def length(bench: Bench) -> None:
    reply = await _binding(bench, Draft(Method.BINDING).add(SOFTWARE, "12345"))
    if (len(reply.raw) - HEADER_LENGTH) % 4:
        raise Wrong(f"The answer has {len(reply.raw)} bytes, and its attributes are not padded.")


@check("answer-no-unknown", login=False)
async def no_unknown(bench: Bench) -> None:
    reply = await _binding(bench)
    strange = [each.type for each in reply.attributes if each.type < 0x8000 and each.type not in REGISTRY]
    if strange:
        raise Wrong(f"The answer has comprehension-required attributes that no RFC has: 0x{strange[0]:04x}.")


@check("answer-no-double", login=False)
async def no_double(bench: Bench) -> None:
    types = [each.type for each in (await _binding(bench)).attributes]
    double = sorted({each for each in types if types.count(each) > 1})
    if double:
        raise Wrong(f"The answer has the attribute 0x{double[0]:04x} more than once.")


@check("answer-padding", login=False)
async def padding(bench: Bench) -> None:
    draft = Draft(Method.BINDING).append((_REQUIRED, b""))
    reply = await (await bench.client()).ask(draft)
    if any(each.padding.strip(b"\0") for each in reply.attributes):
        raise Wrong("The padding of an attribute is not zero.")


@check("answer-software", login=False)
async def software(bench: Bench) -> None:
    reply = await _binding(bench)
    octets = reply.octets(SOFTWARE)
    needed(octets is not None, "The answer has no SOFTWARE.")
    if octets is not None and (len(octets) > 763 or reply.value(SOFTWARE) is None):
        raise Wrong("SOFTWARE is not UTF-8 of at most 127 characters.")


@check("fingerprint-answered", login=False)
async def fingerprint_answered(bench: Bench) -> None:
    present(await _binding(bench, Draft(Method.BINDING).append(FINGERPRINT_SEAL)), FINGERPRINT)


@check("fingerprint-right", login=False)
async def fingerprint_right(bench: Bench) -> None:
    reply = await _binding(bench, Draft(Method.BINDING).append(FINGERPRINT_SEAL))
    needed(reply.has(FINGERPRINT), "The answer has no FINGERPRINT.")
    if not reply.sealed_by(FINGERPRINT_SEAL):
        raise Wrong("FINGERPRINT is not the CRC-32 of the message before it.")


@check("fingerprint-last", login=False)
async def fingerprint_last(bench: Bench) -> None:
    reply = await _binding(bench, Draft(Method.BINDING).append(FINGERPRINT_SEAL))
    needed(reply.has(FINGERPRINT), "The answer has no FINGERPRINT.")
    if reply.attributes[-1].type != FINGERPRINT.number:
        raise Wrong("FINGERPRINT is not the last attribute.")


@check("fingerprint-error", login=False)
async def fingerprint_error(bench: Bench) -> None:
    reply = await (await bench.client()).ask(Draft(Method.BINDING).append((_REQUIRED, b"1234"), FINGERPRINT_SEAL))
    needed(reply.code, "There was no error response.")
    present(reply, FINGERPRINT)


@check("fingerprint-wrong", login=False)
async def fingerprint_wrong(bench: Bench) -> None:
    data = Draft(Method.BINDING).append((FINGERPRINT.number, b"\xde\xad\xbe\xef")).encode()
    no_answer(await (await bench.client()).reaction(data))


@check("unknown-required", login=False)
async def unknown_required(bench: Bench) -> None:
    error(await (await bench.client()).ask(Draft(Method.BINDING).append((_REQUIRED, b"1234"))), 420)


@check("unknown-listed", login=False)
async def unknown_listed(bench: Bench) -> None:
    reply = await (await bench.client()).ask(Draft(Method.BINDING).append((_REQUIRED, b"1234"), (_REQUIRED - 1, b"")))
    needed(reply.code == 420, "The answer was not 420.")
    present(reply, UNKNOWN_ATTRIBUTES)
    octets = reply.octets(UNKNOWN_ATTRIBUTES) or b""
    listed = {int.from_bytes(octets[at : at + 2], "big") for at in range(0, len(octets), 2)}
    if listed != {_REQUIRED, _REQUIRED - 1}:
        raise Wrong(f"UNKNOWN-ATTRIBUTES is {octets.hex()}, and not the two types that were sent.")


@check("unknown-optional", login=False)
async def unknown_optional(bench: Bench) -> None:
    succeeded(await _ask(bench, Draft(Method.BINDING).append((_OPTIONAL, secrets.token_bytes(7)))))


@check("unknown-only-required", login=False)
async def unknown_only_required(bench: Bench) -> None:
    reply = await (await bench.client()).ask(Draft(Method.BINDING).append((_OPTIONAL, b""), (_REQUIRED, b"")))
    needed(reply.code == 420, "The answer was not 420.")
    octets = reply.octets(UNKNOWN_ATTRIBUTES) or b""
    if _OPTIONAL.to_bytes(2, "big") in (octets[at : at + 2] for at in range(0, len(octets), 2)):
        raise Wrong("UNKNOWN-ATTRIBUTES lists a comprehension-optional attribute.")


@check("padding-ignored", login=False)
async def padding_ignored(bench: Bench) -> None:
    succeeded(await _ask(bench, Draft(Method.BINDING, padding=0xA5).add(SOFTWARE, "12345")))


@check("binding-credentials-ignored", login=False)
async def credentials_ignored(bench: Bench) -> None:
    """What only the long-term mechanism knows does not keep an open Binding from being answered."""
    draft = Draft(Method.BINDING).add(SOFTWARE, "meshturn conform").append(FINGERPRINT_SEAL)
    succeeded(await _ask(bench, draft))


@check("method-unknown", login=False)
async def method_unknown(bench: Bench) -> None:
    reply = await (await bench.client()).reaction(Draft(0x0FE).encode())
    if reply is not None and reply.success:
        raise Wrong("A request of a method that no RFC has got a success response.")


@check("response-ignored", login=False)
async def response_ignored(bench: Bench) -> None:
    no_answer(await (await bench.client()).reaction(Draft(Method.BINDING, MessageClass.SUCCESS).encode()))


@check("error-response-ignored", login=False)
async def error_response_ignored(bench: Bench) -> None:
    no_answer(await (await bench.client()).reaction(Draft(Method.BINDING, MessageClass.ERROR).encode()))


@check("binding-indication", login=False)
async def indication(bench: Bench) -> None:
    no_answer(await (await bench.client()).reaction(Draft(Method.BINDING, MessageClass.INDICATION).encode()))


@check("binding-indication-unknown", login=False)
async def indication_unknown(bench: Bench) -> None:
    draft = Draft(Method.BINDING, MessageClass.INDICATION).append((_REQUIRED, b"1234"))
    no_answer(await (await bench.client()).reaction(draft.encode()))


@check("binding-again", login=False)
async def again(bench: Bench) -> None:
    tester = await bench.client()
    data = Draft(Method.BINDING).encode()
    first, second = await tester.ask(data), await tester.ask(data)
    if (first.message_class, first.value(XOR_MAPPED_ADDRESS)) != (
        second.message_class,
        second.value(XOR_MAPPED_ADDRESS),
    ):
        raise Wrong("The second answer to the same request differs from the first.")


@check("error-class", login=False)
async def error_class(bench: Bench) -> None:
    reply = await (await bench.client()).ask(Draft(Method.BINDING).append((_REQUIRED, b"1234")))
    needed(reply.message_class is MessageClass.ERROR, "There was no error response.")
    octets = next((each.value for each in reply.attributes if each.type == 0x0009), None)
    if octets is None or len(octets) < 4:
        raise Wrong("An error response has no ERROR-CODE.")
    if octets[:2] != b"\0\0" or not 3 <= octets[2] & 7 <= 6 or octets[3] > 99:
        raise Wrong(f"ERROR-CODE begins with {octets[:4].hex()}: the class is 3 to 6, the number 0 to 99.")


@check("error-phrase", login=False)
async def error_phrase(bench: Bench) -> None:
    reply = await (await bench.client()).ask(Draft(Method.BINDING).append((_REQUIRED, b"1234")))
    needed(reply.code, "There was no error response.")
    phrase = next(each.value for each in reply.attributes if each.type == 0x0009)[4:]
    try:
        text = phrase.decode()
    except UnicodeDecodeError:
        raise Wrong("The reason phrase is not UTF-8.") from None
    if len(text) > 127:
        raise Wrong(f"The reason phrase has {len(text)} characters; at most 127 are right.")


@check("integrity-short-term-ignored", login=False)
async def short_term(bench: Bench) -> None:
    """An open Binding with credentials that the server does not know: an answer, whatever it is."""
    draft = Draft(Method.BINDING).add(USERNAME, "nobody:here").append(sealed_sha1(b"secret"))
    await (await bench.client()).ask(draft.drop(PASSWORD_ALGORITHM, PASSWORD_ALGORITHMS))
