"""A whole probe: resolve the server's name, then run the steps."""

from collections.abc import Awaitable, Callable
from dataclasses import replace

from cli.probe.conversation import Conversation
from cli.probe.opener import LinkOpener, check_transport
from cli.probe.opener import opener as open_links
from cli.probe.outside import OpenOutside, open_outside
from cli.probe.reaching import Places
from cli.probe.report import Report, Step
from cli.probe.security import Trust
from cli.probe.steps import StepFailed, binding, relay
from cli.probe.trouble import LinkError
from stun.address import Address
from stun.client.authentication import Login
from stun.constants import AddressFamily
from stun.uri import StunUri
from turnserver.text import one_line
from turnserver.turnclient.resolve import NameNotResolved, resolve

__all__ = ["run_probe"]


async def run_probe(
    uri: StunUri,
    login: Login | None,
    patience: float,
    family: AddressFamily | None = None,
    *,
    trust: Trust | None = None,
    opener: LinkOpener | None = None,
    outside: OpenOutside = open_outside,
) -> Report:
    """Probe the server that ``uri`` names and report what was found; what fails is in the report, not raised.

    ``patience`` is how long one transaction may take, in seconds; ``family`` that of the relayed address asked for.
    ``trust`` says which certificates are accepted (None: those that lead to the system's roots), ``opener`` how links
    are opened, and ``outside`` the socket that sends to the relay from outside. Raises `cli.probe.opener.Unsupported`
    for a transport that the probe does not support.
    """
    check_transport(uri)
    open_link = opener or open_links(trust or Trust(), patience)
    report = Report(str(uri))
    clients: list[Conversation] = []

    async def talk(address: Address) -> Conversation:
        opened = await open_link(uri, address)
        if not clients:
            report.steps += opened.steps
            report.tls = opened.tls
        clients.append(Conversation(opened, patience, login))
        return clients[-1]

    try:
        first, places = await _first_that_answers(await _resolve(uri, patience, report), talk, report)
        if login is not None and uri.is_turn:
            places = replace(places, over_udp=uri.protocol in {"udp", "dtls"})
            await relay((first, await talk(places.server)), report, family, places, outside)
    except StepFailed:
        pass  # It is in the report.
    except LinkError as error:
        report.steps += [*error.opened, Step(error.step, False, str(error), error.hint)]
        report.tls = report.tls or error.tls
    finally:
        for client in clients:
            await client.close()
    return report


async def _resolve(uri: StunUri, patience: float, report: Report) -> list[Address]:
    """The addresses of the host, in the order the system prefers them. Raises `StepFailed`."""
    try:
        return await resolve(uri, patience)
    except NameNotResolved as error:
        sentence = f"The name {one_line(uri.host, 80)} cannot be resolved: {one_line(error.why, 80)}."
        report.steps.append(Step("resolve", False, sentence, "Check its spelling and this machine's DNS."))
        raise StepFailed(sentence) from error


async def _first_that_answers(
    addresses: list[Address], talk: Callable[[Address], Awaitable[Conversation]], report: Report
) -> tuple[Conversation, Places]:
    """Try Binding with one address after the other; only the last failure fails the probe."""
    silent: list[str] = []
    for address in addresses:
        report.server = str(address)
        try:
            client = await talk(address)
            reflexive = await binding(client, report)
        except (StepFailed, LinkError):
            if address is addresses[-1]:
                raise
            silent.append(str(address))
            report.steps.clear()
            continue
        if silent:
            report.steps.append(
                Step("resolve", True, f"Other addresses of the name did not work: {', '.join(silent)}.")
            )
        return client, Places(address, reflexive)
    raise AssertionError("there is at least one address")
