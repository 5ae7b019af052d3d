"""Two computers with a browser each, the server between them, and who takes part in a call."""

import json
import ssl
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from http.client import HTTPSConnection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.net.browsers import SIZE, TONES, Participant, browser_on
from tests.net.lab import ADDRESS, Firewall, Gate, Host, Lab, Nat
from tests.net.public_server import PORTS, PublicServer

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Playwright

__all__ = ["ADMIN_KEY", "Cast", "Stage", "rooms_config", "stage_on"]

ADMIN_KEY = "an administrator of the laboratory"
PLACES = ("ann", "bob")


def rooms_config(**changes: Any) -> dict[str, Any]:
    """A section ``signaling`` that lets everybody in."""
    return {"open": True, "admin_keys": {"laboratory": ADMIN_KEY}} | changes


class Stage:
    """The server, hosts and browsers, for the tests of a module: these are what takes long to start.

    ``hosts`` and ``browsers`` belong together. Between tests `arrange` connects the hosts to gates of another kind.
    """

    def __init__(self, lab: Lab, server: PublicServer, hosts: "list[Host]", browsers: "list[Browser]") -> None:
        self.lab = lab
        self.server = server
        self.hosts = hosts
        self.browsers = browsers
        self._gates: dict[tuple[Nat, int], Gate] = {
            (host.gate.nat, number): host.gate for number, host in enumerate(hosts)
        }

    def arrange(self, nat: Nat, firewall: Firewall = Firewall.OPEN) -> None:
        """Put every host behind a NAT of its own of this kind, proven, with this firewall."""
        for number, host in enumerate(self.hosts):
            gate = self._gates.get((nat, number)) or self.lab.gate(nat)
            self._gates[nat, number] = gate
            if host.gate is not gate:
                host.move(gate)
            host.block(firewall)

    def admin(self, method: str, path: str) -> Any:
        """What the HTTP API answers to an administrator; None for nothing."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        with self.lab.public.entered():
            connection = HTTPSConnection(ADDRESS, PORTS["shared"], context=context, timeout=90)
            connection.connect()
        try:
            connection.request(method, path, headers={"Authorization": f"Bearer {ADMIN_KEY}"})
            answer = connection.getresponse()
            body = answer.read()
            assert answer.status in (200, 204), f"{method} {path}: {answer.status} {body!r}"
            return json.loads(body) if body else None
        finally:
            connection.close()

    def room(self, room: str) -> Mapping[str, Any]:
        """What the server knows of a room."""
        view: Mapping[str, Any] = self.admin("GET", f"/v1/rooms/{room}")
        return view


@contextmanager
def stage_on(lab: Lab, server: PublicServer, playwright: "Playwright", directory: Path) -> Iterator[Stage]:
    """Hosts behind symmetric NATs with a browser each, which say one of `TONES` each."""
    with ExitStack() as stack:
        hosts = [lab.host(name) for name in PLACES]
        browsers = []
        for host, tone in zip(hosts, TONES, strict=True):
            home = directory / host.name
            home.mkdir()
            browsers.append(stack.enter_context(browser_on(playwright, host, home, tone)))
        yield Stage(lab, server, hosts, browsers)


class Cast:
    """Those who take part in one test, in the order in which they came."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self.members: list[Participant] = []

    def __call__(
        self, place: int, name: str = "", *, size: Mapping[str, int] = SIZE, expected: Sequence[str] = ()
    ) -> Participant:
        """Somebody new, at the browser with this number; ``expected`` are words of console errors that are none."""
        made = Participant(self._stage.browsers[place], name or PLACES[place].title(), size=size, expected=expected)
        self.members.append(made)
        return made

    def pair(self, room: str, *, expected: Sequence[str] = ()) -> tuple[Participant, Participant]:
        """Ann and Bob, in a room and connected."""
        ann, bob = (self(place, expected=expected) for place in range(2))
        for each in (ann, bob):
            each.join(room)
        for each in (ann, bob):
            each.meet(1)
        return ann, bob

    def close(self) -> None:
        """Close all pages."""
        for member in self.members:
            member.close()

    def check(self) -> None:
        """Nothing has gone wrong in any page."""
        for member in self.members:
            member.check()
