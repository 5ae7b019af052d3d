"""Allocate: RFC 8656 §7.2."""

from cli.conform.bench import QUOTA_MOST, Bench
from cli.conform.client import KitClient
from cli.conform.findings import Wrong
from cli.conform.judge import affordable, error, needed, no_answer, present, succeeded
from cli.conform.registry import check
from cli.conform.wire import SeenMessage
from stun.attributes import (
    ADDITIONAL_ADDRESS_FAMILY,
    ADDRESS_ERROR_CODE,
    DONT_FRAGMENT,
    EVEN_PORT,
    LIFETIME,
    REQUESTED_ADDRESS_FAMILY,
    REQUESTED_TRANSPORT,
    RESERVATION_TOKEN,
    XOR_MAPPED_ADDRESS,
    XOR_RELAYED_ADDRESS,
)
from stun.client.requests import Attribute
from stun.constants import AddressFamily, Method, TransportProtocol

__all__: list[str] = []

_UDP = (REQUESTED_TRANSPORT, int(TransportProtocol.UDP))
_V4, _V6 = int(AddressFamily.IPV4), int(AddressFamily.IPV6)


async def _ask(tester: KitClient, *attributes: Attribute) -> SeenMessage:
    reply = await tester.request(Method.ALLOCATE, *attributes)
    tester.took(reply)
    return reply


async def _refused(bench: Bench, code: int, *attributes: Attribute) -> None:
    error(await _ask(await bench.client(), *attributes), code)


async def _granted(bench: Bench, *attributes: Attribute) -> SeenMessage:
    reply = await _ask(await bench.client(), _UDP, *attributes)
    needed(reply.success, f"Allocate was refused: error {reply.code}.")
    return reply


@check("allocate-success")
async def success(bench: Bench) -> None:
    succeeded(affordable(await _ask(await bench.client(), _UDP)))


@check("allocate-relayed")
async def relayed(bench: Bench) -> None:
    present(await _granted(bench), XOR_RELAYED_ADDRESS)


@check("allocate-lifetime-told")
async def lifetime_told(bench: Bench) -> None:
    present(await _granted(bench), LIFETIME)


@check("allocate-mapped")
async def allocate_mapped(bench: Bench) -> None:
    present(await _granted(bench), XOR_MAPPED_ADDRESS)


@check("allocate-mapped-right")
async def mapped_right(bench: Bench) -> None:
    tester = await bench.client()
    reply = await _ask(tester, _UDP)
    needed(reply.success and reply.has(XOR_MAPPED_ADDRESS), "There is no XOR-MAPPED-ADDRESS.")
    address = reply.value(XOR_MAPPED_ADDRESS)
    if address is None:
        raise Wrong("XOR-MAPPED-ADDRESS cannot be read.")
    if not bench.target.address.is_loopback:
        needed(address.host == tester.pipe.local.host, "A NAT is in between, so that only it knows what is right.")
    if address != tester.pipe.local:
        raise Wrong(f"XOR-MAPPED-ADDRESS is {address}; the request came from {tester.pipe.local}.")


@check("allocate-port-range")
async def port_range(bench: Bench) -> None:
    address = (await _granted(bench)).value(XOR_RELAYED_ADDRESS)
    needed(address, "There is no relayed address.")
    if address is not None and address.port < 49152:
        raise Wrong(f"The relayed port is {address.port}, outside of 49152 to 65535.")


@check("allocate-port-random")
async def port_random(bench: Bench) -> None:
    ports = []
    for _ in range(3):
        address = (await _granted(bench)).value(XOR_RELAYED_ADDRESS)
        ports.append(address.port if address else 0)
    if 1 <= ports[1] - ports[0] <= 2 and 1 <= ports[2] - ports[1] <= 2:
        raise Wrong(f"The relayed ports were {ports}, one after the other.")


@check("allocate-ports-differ")
async def ports_differ(bench: Bench) -> None:
    first, second = await bench.relay(), await bench.relay()
    if first.relay == second.relay:
        raise Wrong(f"Two allocations have the relayed address {first.relay}.")


@check("allocate-no-token-unasked")
async def no_token_unasked(bench: Bench) -> None:
    if (await _granted(bench)).has(RESERVATION_TOKEN):
        raise Wrong("The answer has RESERVATION-TOKEN, which was not asked for.")


@check("allocate-one-address")
async def one_address(bench: Bench) -> None:
    reply = await _granted(bench)
    count = sum(each.type == XOR_RELAYED_ADDRESS.number for each in reply.attributes)
    needed(count, "There is no relayed address.")
    if count > 1:
        raise Wrong(f"The answer has {count} relayed addresses; one was asked for.")


@check("allocate-again")
async def again(bench: Bench) -> None:
    error(await _ask(await bench.relay(), _UDP), 437)


@check("allocate-again-harmless")
async def again_harmless(bench: Bench) -> None:
    tester = await bench.relay()
    second = await tester.request(Method.ALLOCATE, _UDP)
    needed(not second.success, "The second Allocate was not refused.")
    succeeded(await tester.request(Method.REFRESH, (LIFETIME, 600)))


@check("allocate-retransmitted")
async def retransmitted(bench: Bench) -> None:
    tester = await bench.client()
    data = (await tester.draft(Method.ALLOCATE, _UDP)).encode()
    first = await tester.ask(data)
    tester.took(first)
    needed(first.success, "Allocate was refused.")
    second = await tester.ask(data)
    succeeded(second)
    if second.value(XOR_RELAYED_ADDRESS) != first.value(XOR_RELAYED_ADDRESS):
        raise Wrong("The same Allocate, sent again, got another relayed address.")


@check("allocate-after-delete")
async def after_delete(bench: Bench) -> None:
    tester = await bench.relay()
    await tester.prepare("A Refresh with lifetime 0", Method.REFRESH, (LIFETIME, 0))
    succeeded(await _ask(tester, _UDP))


@check("allocate-no-transport")
async def no_transport(bench: Bench) -> None:
    await _refused(bench, 400)


@check("allocate-transport-malformed")
async def transport_malformed(bench: Bench) -> None:
    tester = await bench.client()
    reply = await tester.request(Method.ALLOCATE, extra=((REQUESTED_TRANSPORT.number, b"\x11"),))
    tester.took(reply)
    error(reply, 400)


@check("allocate-transport-unknown")
async def transport_unknown(bench: Bench) -> None:
    await _refused(bench, 442, (REQUESTED_TRANSPORT, 132))


@check("allocate-transport-reserved-bits")
async def transport_reserved(bench: Bench) -> None:
    """The three bytes behind the protocol are ignored."""
    tester = await bench.client()
    reply = await tester.request(Method.ALLOCATE, extra=((REQUESTED_TRANSPORT.number, b"\x11\xff\xff\xff"),))
    tester.took(reply)
    succeeded(affordable(reply))


@check("allocate-family-both")
async def family_both(bench: Bench) -> None:
    await _refused(bench, 400, _UDP, (REQUESTED_ADDRESS_FAMILY, _V6), (ADDITIONAL_ADDRESS_FAMILY, _V6))


@check("allocate-additional-ipv4")
async def additional_ipv4(bench: Bench) -> None:
    await _refused(bench, 400, _UDP, (ADDITIONAL_ADDRESS_FAMILY, _V4))


@check("allocate-family-unknown")
async def family_unknown(bench: Bench) -> None:
    await _refused(bench, 440, _UDP, (REQUESTED_ADDRESS_FAMILY, 7))


@check("allocate-additional-reserving")
async def additional_reserving(bench: Bench) -> None:
    await _refused(bench, 400, _UDP, (ADDITIONAL_ADDRESS_FAMILY, _V6), (EVEN_PORT, True))


@check("allocate-token-even")
async def token_even(bench: Bench) -> None:
    await _refused(bench, 400, _UDP, (RESERVATION_TOKEN, b"12345678"), (EVEN_PORT, False))


@check("allocate-token-family")
async def token_family(bench: Bench) -> None:
    await _refused(bench, 400, _UDP, (RESERVATION_TOKEN, b"12345678"), (REQUESTED_ADDRESS_FAMILY, _V4))


@check("allocate-token-additional")
async def token_additional(bench: Bench) -> None:
    await _refused(bench, 400, _UDP, (RESERVATION_TOKEN, b"12345678"), (ADDITIONAL_ADDRESS_FAMILY, _V6))


@check("allocate-token-unknown")
async def token_unknown(bench: Bench) -> None:
    await _refused(bench, 508, _UDP, (RESERVATION_TOKEN, b"\xab" * 8))


@check("even-port")
async def even_port(bench: Bench) -> None:
    for _ in range(3):
        address = (await _granted(bench, (EVEN_PORT, False))).value(XOR_RELAYED_ADDRESS)
        needed(address, "There is no relayed address.")
        if address is not None and address.port % 2:
            raise Wrong(f"EVEN-PORT was asked for, and the relayed port is {address.port}.")


@check("even-port-no-token")
async def even_port_no_token(bench: Bench) -> None:
    if (await _granted(bench, (EVEN_PORT, False))).has(RESERVATION_TOKEN):
        raise Wrong("EVEN-PORT with R=0 got RESERVATION-TOKEN.")


@check("even-port-token")
async def even_port_token(bench: Bench) -> None:
    present(await _granted(bench, (EVEN_PORT, True)), RESERVATION_TOKEN)


async def _reserved(bench: Bench) -> tuple[KitClient, bytes]:
    tester = await bench.client()
    reply = await _ask(tester, _UDP, (EVEN_PORT, True))
    token = reply.value(RESERVATION_TOKEN)
    needed(reply.success and token, "There was no RESERVATION-TOKEN.")
    return tester, token or b""


@check("reservation-next-port")
async def reservation_next_port(bench: Bench) -> None:
    first, token = await _reserved(bench)
    second = await bench.client()
    reply = await _ask(second, _UDP, (RESERVATION_TOKEN, token))
    needed(reply.success and second.relays, "The token was refused.")
    if second.relay.port != first.relay.port + 1 or second.relay.ip != first.relay.ip:
        raise Wrong(f"The reserved address is {second.relay}; the first was {first.relay}.")


@check("reservation-accepted")
async def reservation_accepted(bench: Bench) -> None:
    _, token = await _reserved(bench)
    succeeded(await _ask(await bench.client(), _UDP, (RESERVATION_TOKEN, token)))


@check("reservation-once")
async def reservation_once(bench: Bench) -> None:
    _, token = await _reserved(bench)
    reply = await _ask(await bench.client(), _UDP, (RESERVATION_TOKEN, token))
    needed(reply.success, "The token was refused.")
    error(await _ask(await bench.client(), _UDP, (RESERVATION_TOKEN, token)), 508)


@check("dont-fragment-known")
async def dont_fragment(bench: Bench) -> None:
    reply = affordable(await _ask(await bench.client(), _UDP, (DONT_FRAGMENT, True)))
    if not reply.success and reply.code != 420:
        raise Wrong(f"DONT-FRAGMENT got error {reply.code}; a server that does not have it answers 420.")


@check("allocate-lifetime-default")
async def lifetime_default(bench: Bench) -> None:
    lifetime = (await _granted(bench)).value(LIFETIME)
    needed(lifetime is not None, "There is no LIFETIME.")
    if lifetime is not None and lifetime < 600:
        raise Wrong(f"The lifetime is {lifetime} s; the default is 600 s.")


@check("allocate-lifetime-short")
async def lifetime_short(bench: Bench) -> None:
    lifetime = (await _granted(bench, (LIFETIME, 60))).value(LIFETIME)
    needed(lifetime is not None, "There is no LIFETIME.")
    if lifetime is not None and lifetime < 600:
        raise Wrong(f"60 s were asked for and {lifetime} s granted; less than the default is not granted.")


@check("allocate-lifetime-long")
async def lifetime_long(bench: Bench) -> None:
    lifetime = (await _granted(bench, (LIFETIME, 0xFFFFFFFF))).value(LIFETIME)
    needed(lifetime is not None, "There is no LIFETIME.")
    if lifetime is not None and lifetime > 86400:
        raise Wrong(f"A lifetime of {lifetime} s was granted; there has to be a maximum.")


@check("allocate-lifetime-between")
async def lifetime_between(bench: Bench) -> None:
    lifetime = (await _granted(bench, (LIFETIME, 777))).value(LIFETIME)
    needed(lifetime is not None, "There is no LIFETIME.")
    if lifetime is not None and lifetime not in (777, 600) and not 600 <= lifetime <= 777:
        raise Wrong(f"777 s were asked for and {lifetime} s granted.")


@check("allocate-lifetime-zero")
async def lifetime_zero(bench: Bench) -> None:
    lifetime = (await _granted(bench, (LIFETIME, 0))).value(LIFETIME)
    needed(lifetime is not None, "There is no LIFETIME.")
    if lifetime is not None and lifetime < 600:
        raise Wrong(f"0 s were asked for in Allocate and {lifetime} s granted; less than the default is not granted.")


@check("allocate-indication")
async def indication(bench: Bench) -> None:
    tester = await bench.client()
    draft = await tester.draft(Method.ALLOCATE, _UDP)
    draft.message_class = draft.message_class.INDICATION
    seal = draft.items.pop()
    no_answer(await tester.reaction(draft.append(seal).encode()))


@check("allocate-order-437-first")
async def order_mismatch_first(bench: Bench) -> None:
    """Step 2 comes before step 3: on a 5-tuple in use, a request without REQUESTED-TRANSPORT gets 437."""
    error(await (await bench.relay()).request(Method.ALLOCATE), 437)


@check("dual-answer")
async def dual(bench: Bench) -> None:
    reply = await _granted(bench, (ADDITIONAL_ADDRESS_FAMILY, _V6))
    families = [
        each.value[1:2] for each in reply.attributes if each.type == XOR_RELAYED_ADDRESS.number and len(each.value) > 1
    ]
    needed(families, "There is no relayed address.")
    if sorted(families) == [b"\x01", b"\x02"]:
        return
    if len(families) != 1 or not reply.has(ADDRESS_ERROR_CODE):
        raise Wrong("ADDITIONAL-ADDRESS-FAMILY got neither two relayed addresses nor one with ADDRESS-ERROR-CODE.")


@check("quota", intrusive=True)
async def quota(bench: Bench) -> None:
    """Up to the user's limit: 486, or 508 of a full server; at most forty allocations."""
    for _ in range(QUOTA_MOST):
        tester = await bench.client()
        reply = await _ask(tester, _UDP)
        if not reply.success:
            error(reply, 486, 508)
            return
    needed(False, "Forty allocations were granted; there may be a limit above.")
