"""A probe's link over DTLS (RFC 7350): one handshake, whose certificate is shown whether or not it is trusted."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime

from cryptography.hazmat.primitives.serialization import Encoding

from cli.probe.link import Opened
from cli.probe.report import Step
from cli.probe.security import TlsFacts, Trust, distrusted
from cli.probe.trouble import LinkError, unreachable
from stun.address import Address
from stun.client.errors import ServerUnreachable
from stun.uri import StunUri
from turnserver.certificates import CertificateFacts, UnreadableCertificate
from turnserver.turnclient.dtls import Shown, open_association
from turnserver.turnclient.links import LinkBroken

__all__ = ["open_datagrams"]

_SILENT = (
    "Nothing listens there, it does not speak DTLS on this port, or a firewall drops the packets; check the address, "
    "the port, and that UDP is let through both ways."
)
_REFUSED = "It may offer no DTLS 1.2, have no certificate, or allow only obsolete ciphers. Its log may say which."


async def open_datagrams(uri: StunUri, address: Address, trust: Trust, patience: float) -> Opened:
    """A link to the server of ``uri`` at ``address``; the handshake may take ``patience`` seconds.

    Raises `LinkError`. Without --insecure, nothing but the handshake is sent to a server that is not trusted.
    """
    clock = asyncio.get_running_loop().time
    started = clock()
    try:
        async with asyncio.timeout(patience):
            link, shown = await open_association(uri.host, address, trust.context())
    except TimeoutError:
        raise LinkError(f"The DTLS handshake did not complete in {patience:g} s.", _SILENT, step="dtls") from None
    except LinkBroken as error:
        raise LinkError(str(error), _REFUSED, step="dtls") from error
    except ServerUnreachable as error:
        raise unreachable(error) from error
    seconds = clock() - started
    facts = _facts(shown)
    said, hint = "The certificate is trusted.", ""
    if shown.distrust is not None:
        trouble = distrusted(*shown.distrust, uri.host, facts.certificate)
        facts = replace(facts, trouble=trouble.sentence)
        if not trust.insecure:
            await link.close()
            raise LinkError(*trouble, step="dtls", tls=facts)
        said, hint = f"Not trusted: {trouble.sentence}", "With --insecure the probe continues; other clients would not."
    elif facts.certificate is not None:
        expiry = facts.certificate.expiry(datetime.now(UTC))
        hint = f"The certificate {expiry}; it should have been renewed by now." if expiry else ""
    step = Step("dtls", True, f"The handshake is done: {facts.summary}. {said}", hint, seconds=seconds)
    return Opened(link, [step], facts)


def _facts(shown: Shown) -> TlsFacts:
    certificate = None
    if shown.certificate is not None:
        try:
            certificate = CertificateFacts.from_der(shown.certificate.public_bytes(Encoding.DER))
        except UnreadableCertificate:
            certificate = None
    return TlsFacts(shown.version, shown.cipher, shown.bits, None, certificate)
