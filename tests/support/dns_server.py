"""A DNS server of a few lines on loopback, for names that a test makes up."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import cast

import dns.flags
import dns.message
import dns.rcode
import dns.rrset

__all__ = ["answering"]


class _Zone(asyncio.DatagramProtocol):
    def __init__(self, records: Mapping[tuple[str, str], list[str]], silent: bool) -> None:
        self.records, self.silent = records, silent

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Not checked: the selector loop's transport is a DatagramTransport in all but its base class (Python 3.11).
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if self.silent:
            return
        query = dns.message.from_wire(data)
        (question,) = query.question
        name, kind = question.name.to_text(omit_final_dot=True), question.rdtype.name
        answer = dns.message.make_response(query)
        answer.flags |= dns.flags.RA
        found = self.records.get((name, kind))
        if found is not None:
            answer.answer.append(dns.rrset.from_text(question.name, 60, "IN", kind, *found))
        elif not any(known == name for known, _ in self.records):
            answer.set_rcode(dns.rcode.NXDOMAIN)
        self.transport.sendto(answer.to_wire(), addr)


@asynccontextmanager
async def answering(records: Mapping[tuple[str, str], list[str]], *, silent: bool = False) -> AsyncIterator[int]:
    """Answer for ``records``, by name and type; any other name does not exist. The value is the UDP port."""
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: _Zone(records, silent), local_addr=("127.0.0.1", 0))
    try:
        yield int(transport.get_extra_info("sockname")[1])
    finally:
        transport.close()
