"""Certificates: the files as the server would load them, and what clients are shown by a running server."""

import asyncio
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from cryptography import x509

from cli.doctor.findings import HostFinding, not_checked, ok, warning, wrong
from cli.doctor.host import Host, ServedSocket
from cli.probe.securing import open_stream
from cli.probe.security import TlsFacts
from cli.probe.trouble import LinkError
from stun.uri import StunUri
from turnserver.certificates import chain_faults
from turnserver.text import one_line
from turnserver.transports.certificates import (
    CertificateError,
    CertificatePair,
    Inspected,
    inspect_pair,
    uncertified,
    unused_pairs,
)

__all__ = ["certificate"]

_RENEW = "certbot renew    # and see: systemctl list-timers"
_MOST_SHOWN = 8
"""Names with which a running server is asked for its certificate."""


async def certificate(host: Host) -> list[HostFinding]:
    """Dates, chain and names of each file; then a handshake for each name, checked as browsers do."""
    pairs = host.config.tls.certificates
    if not pairs:
        if any(door.transport.secure for door in host.doors):
            return [
                wrong(
                    "Listeners with TLS have no certificate.",
                    "Nothing answers there.",
                    "tls: {certificates: [{certificate: fullchain.pem, key: privkey.pem}]}",
                )
            ]
        return [ok("No listener has TLS.")]
    inspected: list[Inspected | None] = []
    found: list[HostFinding] = []
    for pair in pairs:
        each, findings = await asyncio.to_thread(_file, host, CertificatePair(pair.certificate, pair.key))
        inspected.append(each)
        found += findings
    found += [
        warning(
            f"{pairs[index].certificate} is never shown: one before it has the same names and kind of key.",
            "A renewed certificate that is listed later is not used.",
            "tls: {certificates: [...]}    # remove one",
        )
        for index in unused_pairs(inspected)
        if inspected[index] is not None
    ]
    uris = [uri for uri in map(StunUri.parse, host.config.signaling.urls) if uri.secure]
    found += [
        wrong(
            f"No certificate is for {name}, which signaling.urls names.",
            "Clients refuse it, unless a proxy in front shows another.",
            f"certbot certonly -d {name}",
        )
        for name in uncertified([uri.host for uri in uris], inspected)
    ]
    return found + await _shown(host, inspected)


def _file(host: Host, pair: CertificatePair) -> tuple[Inspected | None, list[HostFinding]]:
    """One pair of files, and what is to be said of it."""
    now = host.wall()
    shown = one_line(str(pair.certificate), 200)
    try:
        found = inspect_pair(pair, now.timestamp())
    except CertificateError as error:
        why = "The server does not use it: listeners with TLS show another, or do not open."
        return None, [wrong(f"{shown}: {error}", why, *_mended(pair.certificate, str(error)))]
    findings = [
        wrong(f"{shown}: {fault}", "Clients do not connect over TLS.", *_chain(shown))
        for fault in _faults(host, pair, found, now)
    ]
    expiry = found.facts.expiry(now)
    if expiry:
        findings.append(
            warning(f"{shown} {expiry}.", "It should have been renewed by now; then clients refuse it.", _RENEW)
        )
    if not findings:
        names = ", ".join(one_line(name, 80) for name in found.facts.names[:4])
        findings.append(
            ok(f"{shown}: for {names}, valid until {found.facts.not_after:%Y-%m-%d}, and its chain is complete.")
        )
    return found, findings


def _faults(host: Host, pair: CertificatePair, found: Inspected, now: datetime) -> Sequence[str]:
    """What clients object to. They trust an authority of --ca-file, so its own certificate is not missed."""
    if host.trust.ca_file is None:
        return found.faults
    files = (pair.certificate, host.trust.ca_file)
    return chain_faults([each for file in files for each in x509.load_pem_x509_certificates(file.read_bytes())], now)


def _mended(path: Path, why: str) -> Iterator[str]:
    if "expired" in why:
        yield _RENEW
    else:
        yield f"openssl x509 -noout -subject -dates -ext subjectAltName -in {shlex.quote(str(path))}"


def _chain(shown: str) -> Iterator[str]:
    yield f"openssl x509 -noout -ext subjectAltName,extendedKeyUsage -in {shlex.quote(shown)}"
    yield "tls: {certificates: [{certificate: fullchain.pem, key: privkey.pem}]}"


async def _shown(host: Host, inspected: list[Inspected | None]) -> list[HostFinding]:
    """What a running server shows for each of its names, at the first socket with TLS."""
    door = next((each for each in host.doors if each.uri.protocol == "tls" and not each.behind), None)
    if door is None:
        return [not_checked("No listener with TLS is reached directly, so no handshake was tried.")]
    if not host.names:
        return [not_checked("The configuration has no name of this server, so no handshake was tried.")]
    files = {each.facts.sha256 for each in inspected if each is not None}
    return [await _handshake(host, door, name, files) for name in host.names[:_MOST_SHOWN]]


async def _handshake(host: Host, door: ServedSocket, name: str, files: set[str]) -> HostFinding:
    uri = replace(door.uri, host=name)
    try:
        opened = await open_stream(uri, door.address, host.trust, host.patience)
    except LinkError as error:
        if error.step != "tls":
            return not_checked(f"What clients of {name} are shown is not known: {error}")
        return wrong(
            f"Clients that connect to {name} refuse the certificate they are shown: {error}",
            "Browsers and TURN clients give up without a message to their users.",
            error.hint,
        )
    await opened.link.close()
    return _in_use(name, opened.tls, files)


def _in_use(name: str, tls: TlsFacts | None, files: set[str]) -> HostFinding:
    shown = None if tls is None else tls.certificate
    if shown is not None and shown.sha256 not in files:
        return warning(
            f"For {name}, the running server shows a certificate that is in none of the files "
            f"(valid until {shown.not_after:%Y-%m-%d}).",
            "A renewed certificate that is not in use does not help; it is read again every tls.reload_interval.",
            "journalctl -u meshturn -g certificate",
        )
    return ok(f"Clients that connect to {name} trust the certificate they are shown.")
