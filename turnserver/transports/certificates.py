"""Certificates for TLS listeners: checked before they are used, and replaced while the server runs.

The files are checked every few seconds. A pair that has changed is verified in full and then used for new handshakes;
existing connections keep the pair that they began with. A pair that cannot be used is refused with one line in the
log, and the old one stays in use. Without an old one the pair is left out, and used as soon as its files are good.
`turnserver.transports.server_names` chooses those that a client is shown.
"""

import asyncio
import logging
import os
import ssl
import stat
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

from meshturn.root import MeshturnError
from turnserver.certificates import CertificateFacts, UnreadableCertificate, chain_faults
from turnserver.errors import StartupError
from turnserver.faults import Faults
from turnserver.transports.server_names import ServerCertificate, ServerNames, names_of

__all__ = [
    "CertificateError",
    "CertificatePair",
    "CertificateSection",
    "CertificateSource",
    "Inspected",
    "TlsSection",
    "as_file",
    "inspect_pair",
    "uncertified",
    "unused_pairs",
]

CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""TLS 1.2: forward secrecy and AEAD only, RFC 9325 §4.2. TLS 1.3 has no others."""

_KINDS: Final = frozenset({"EC", "RSA", "Ed25519", "Ed448"})
"""Kinds of keys that TLS can use."""

_EXPIRES_SOON: Final = 7 * 86400
"""Seconds; a certificate that expires sooner causes a warning."""

_MAX_FILE: Final = 1024 * 1024
"""The most bytes of a certificate chain or key; real ones are far smaller."""

_logger = logging.getLogger("meshturn.tls")


class CertificatePair(NamedTuple):
    """The files of one certificate: the chain in PEM, the server's own first, and its private key, not encrypted."""

    certificate: Path
    key: Path


class CertificateError(MeshturnError):
    """A pair that cannot be used; the text says why. ``early`` if it is only not valid yet."""

    def __init__(self, reason: str, *, early: bool = False) -> None:
        self.early = early
        super().__init__(reason)


class Inspected(NamedTuple):
    """A pair that can be used: its facts, the names that it is chosen by, and what its clients may object to."""

    facts: CertificateFacts
    names: frozenset[str]
    faults: tuple[str, ...]


class _Loaded(NamedTuple):
    found: Inspected
    pair: CertificatePair
    content: tuple[bytes, bytes]

    @property
    def facts(self) -> CertificateFacts:
        return self.found.facts


_Stamp = tuple[int, int, int] | None


def inspect_pair(pair: CertificatePair, wall: float) -> Inspected:
    """Check a pair as the server would, at the Unix time ``wall``. Raises `CertificateError`."""
    return _inspect(pair, wall).found


def unused_pairs(found: Sequence[Inspected | None]) -> list[int]:
    """The indices of the pairs that no client would be shown, since others are for the same names; None is left out."""
    return _choice(found).unused


def uncertified(hosts: Iterable[str], found: Sequence[Inspected | None]) -> list[str]:
    """Those of the hosts, names or addresses, that none of the certificates is for; each once."""
    names = _choice(found)
    return [host for host in dict.fromkeys(hosts) if not names.knows(host)]


def _choice(found: Sequence[Inspected | None]) -> ServerNames:
    return ServerNames(
        ServerCertificate(number, each.facts.kind, each.names) for number, each in enumerate(found) if each is not None
    )


class CertificateSection(Protocol):
    """One certificate in the configuration: an item of ``tls.certificates``."""

    @property
    def certificate(self) -> Path:
        """The file of the chain."""

    @property
    def key(self) -> Path:
        """The file of the private key."""


class TlsSection(Protocol):
    """The configuration's section ``tls``."""

    @property
    def certificates(self) -> Sequence[CertificateSection]:
        """The certificates, in the order in which they are preferred."""

    @property
    def ciphers(self) -> str:
        """The cipher list of TLS 1.2; empty for `CIPHERS`."""

    @property
    def reload_interval(self) -> float:
        """Seconds between two checks of the files."""


class CertificateSource:
    """The certificates of all TLS listeners: of those for the host that a client names, one of each kind of key.

    ``reload_interval`` is in seconds; 0, the default, means never; ``wall`` gives Unix time. ``ciphers`` is a cipher
    list of OpenSSL for TLS 1.2 that it accepts.
    """

    def __init__(
        self,
        pairs: Sequence[CertificatePair | tuple[Path, Path]],
        *,
        reload_interval: float = 0.0,
        ciphers: str = CIPHERS,
        wall: Callable[[], float] = time.time,
        faults: Faults | None = None,
    ) -> None:
        self._pairs = tuple(CertificatePair(*pair) for pair in pairs)
        self._interval = reload_interval
        self.ciphers: Final = ciphers
        """The cipher list of TLS 1.2 and DTLS 1.2."""
        self._wall = wall
        self._faults = Faults() if faults is None else faults
        self._loaded: list[_Loaded | None] = [None] * len(self._pairs)
        """What each pair has in use; None for one that has never been usable."""
        self._stamps: list[tuple[_Stamp, _Stamp]] = []
        self._early = False
        self.on_change: Callable[[], None] = lambda: None
        """Called after other certificates have been taken into use."""
        self._names = ServerNames(())
        self._contexts: dict[tuple[str, ...], dict[tuple[int, ...], ssl.SSLContext]] = {}
        """By the protocols for ALPN and the certificates, of which there are as many choices as `ServerNames` knows."""
        self._timer: asyncio.TimerHandle | None = None

    @classmethod
    def from_config(cls, section: TlsSection, faults: Faults | None = None) -> "CertificateSource":
        """The certificates that the configuration names, not read yet."""
        pairs = [CertificatePair(entry.certificate, entry.key) for entry in section.certificates]
        ciphers = section.ciphers or CIPHERS
        return cls(pairs, reload_interval=section.reload_interval, ciphers=ciphers, faults=faults)

    @property
    def facts(self) -> tuple[CertificateFacts, ...]:
        """The certificates in use, in the order of the pairs."""
        return tuple(loaded.facts for loaded in self._loaded if loaded is not None)

    @property
    def in_use(self) -> tuple[tuple[Path, CertificateFacts], ...]:
        """The same, each with the file of its chain."""
        return tuple((loaded.pair.certificate, loaded.facts) for loaded in self._loaded if loaded is not None)

    @property
    def ready(self) -> bool:
        """Whether there is a certificate for handshakes."""
        return any(loaded is not None for loaded in self._loaded)

    def load(self) -> None:
        """Read every pair, and use those that are good; the others are an error in the log.

        Raises `StartupError` with a hint when there is none to use. `check` finds one that comes later.
        """
        if not self._pairs:
            hint = "Name the files under tls.certificates, or remove the listener."
            raise StartupError("TLS needs a certificate and there is none.", hint)
        self._stamps = self._look()
        loaded: list[_Loaded | None] = []
        refused: list[tuple[CertificatePair, CertificateError]] = []
        for pair in self._pairs:
            try:
                loaded.append(_inspect(pair, self._wall()))
            except CertificateError as error:
                loaded.append(None)
                refused.append((pair, error))
        if len(refused) == len(self._pairs):
            pair, reason = refused[0]
            raise StartupError(f"The certificate {pair.certificate} cannot be used: {reason}.", _HINT) from reason
        try:
            self._adopt(loaded)
        except CertificateError as error:
            raise StartupError(f"The certificates cannot be used: {error}.", _HINT) from error
        for pair, reason in refused:
            self._refuse(pair, reason, old=None)
        for entry in loaded:
            if entry is not None:
                self._log(entry, "certificate loaded")

    def start(self) -> None:
        """Watch the files, inside the running loop; loads them first if necessary. Raises `StartupError`."""
        if not self.ready:
            self.load()
        self.watch()

    def watch(self) -> None:
        """Watch the files, inside the running loop, whether or not there is a certificate yet."""
        if self._interval and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._interval, self._tick)

    def close(self) -> None:
        """Stop watching; the certificates stay usable."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def context(self, protocols: Sequence[str], name: str | None = None, address: str = "") -> ssl.SSLContext:
        """The TLS context for a new handshake; ``protocols`` are accepted by ALPN, the preferred first.

        ``name`` is the host that the client asks for, ``address`` that of the listener (see `ServerNames.of`). Raises
        RuntimeError unless the certificates have been loaded.
        """
        key = tuple(protocols)
        contexts = self._contexts.get(key)
        if contexts is None:
            if not self.ready:
                raise RuntimeError("the certificates have not been loaded")
            contexts = self._contexts[key] = self._build_all(self._loaded, self._names, key)
        return contexts[self._names.of(name, address)]

    def shown(self, name: str | None = None, address: str = "") -> tuple[tuple[bytes, bytes], ...]:
        """The same choice for a handshake that ``ssl`` does not make: chain and key of each, in PEM.

        Empty while there is no certificate.
        """
        chosen = [self._loaded[number] for number in self._names.of(name, address)]
        return tuple(entry.content for entry in chosen if entry is not None)

    def check(self, *, force: bool = False) -> bool:
        """Check the files once and use valid new ones; True if any was taken.

        With ``force`` they are read even if they look unchanged, and one that cannot be used is said to be so again.
        """
        stamps = self._look()
        if stamps == self._stamps and not self._early and None not in self._loaded and not force:
            return False
        known = stamps == self._stamps and not force
        self._stamps = stamps
        self._early = False
        fresh: list[_Loaded | None] = []
        for pair, old in zip(self._pairs, self._loaded, strict=True):
            try:
                fresh.append(_inspect(pair, self._wall()))
            except CertificateError as error:
                self._early = self._early or error.early
                if not known:
                    self._refuse(pair, error, old=old)
                fresh.append(old)
        changed = [
            (new, old)
            for new, old in zip(fresh, self._loaded, strict=True)
            if new is not None and (old is None or new.content != old.content)
        ]
        if not changed:
            return False
        try:
            self._adopt(fresh)
        except CertificateError as error:
            if not known:
                self._refuse(changed[0][0].pair, error, old=changed[0][1])
            return False
        for new, old in changed:
            self._log(new, "certificate loaded" if old is None else "certificate replaced")
        self.on_change()
        return True

    def _tick(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._interval, self._tick)
        try:
            self.check()
        except Exception as error:  # the old certificates stay in use, and the files are checked again
            self._faults.note("certificates", error)

    def _look(self) -> list[tuple[_Stamp, _Stamp]]:
        return [(_stamp(pair.certificate), _stamp(pair.key)) for pair in self._pairs]

    def _adopt(self, loaded: list[_Loaded | None]) -> None:
        """Use these from now on, if they can be used together. Raises `CertificateError` and changes nothing if not."""
        names = _choice([entry and entry.found for entry in loaded])
        contexts = {key: self._build_all(loaded, names, key) for key in self._contexts or ((),)}
        self._contexts, self._names, self._loaded = contexts, names, loaded
        for number in names.unused:
            self._warn(loaded[number], "certificate is never shown", "one before it has the same names and kind of key")

    def _build_all(
        self, loaded: Sequence[_Loaded | None], names: ServerNames, protocols: tuple[str, ...]
    ) -> dict[tuple[int, ...], ssl.SSLContext]:
        """A context for each choice of certificates."""
        return {
            choice: _context([loaded[number] for number in choice], protocols, self.ciphers) for choice in names.choices
        }

    def _refuse(self, pair: CertificatePair, error: CertificateError, *, old: _Loaded | None) -> None:
        fields = {"certificate": str(pair.certificate), "key": str(pair.key), "reason": str(error)}
        message = "certificate refused, the old one stays in use" if old is not None else "certificate refused"
        _logger.error(message, extra={"fields": fields})

    def _warn(self, entry: _Loaded | None, message: str, reason: str) -> None:
        if entry is not None:
            fields = {"certificate": str(entry.pair.certificate), "reason": reason}
            _logger.warning(message, extra={"fields": fields})

    def _log(self, entry: _Loaded, message: str) -> None:
        facts = entry.facts
        left = facts.not_after.timestamp() - self._wall()
        fields = {
            "certificate": str(entry.pair.certificate),
            "subject": facts.plain_subject,
            "names": ",".join(facts.names),
            "kind": facts.kind,
            "until": facts.not_after.astimezone(UTC).isoformat(),
            "sha256": facts.sha256,
        }
        _logger.log(logging.WARNING if left < _EXPIRES_SOON else logging.INFO, message, extra={"fields": fields})
        for fault in entry.found.faults:
            self._warn(entry, "clients may refuse the certificate", fault)


_HINT: Final = (
    "See tls.certificates: the chain in PEM with the server's own certificate first, and the private key that belongs "
    "to it, without a passphrase."
)


def _stamp(path: Path) -> _Stamp:
    """What changes when a file is written or replaced, symbolic links followed; None without the file."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


@contextmanager
def as_file(content: bytes) -> Iterator[str]:
    """A file for OpenSSL with the verified bytes, since the real file may have changed since."""
    if hasattr(os, "memfd_create") and os.path.isdir("/proc/self/fd"):
        with os.fdopen(os.memfd_create("certificate"), "wb") as memory:
            memory.write(content)
            memory.flush()
            yield f"/proc/self/fd/{memory.fileno()}"
    else:
        with tempfile.NamedTemporaryFile() as file:
            file.write(content)
            file.flush()
            yield file.name


def _no_password() -> bytes:
    raise ValueError("the key is encrypted")


def _context(loaded: Sequence[_Loaded | None], protocols: tuple[str, ...], ciphers: str = CIPHERS) -> ssl.SSLContext:
    """A context with these certificates, one of each kind of key. Raises `CertificateError`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION | ssl.OP_IGNORE_UNEXPECTED_EOF
    context.set_ciphers(ciphers)
    if protocols:
        context.set_alpn_protocols(list(protocols))
    for entry in loaded:
        if entry is None:
            continue
        try:
            with as_file(entry.content[0]) as certificate, as_file(entry.content[1]) as key:
                context.load_cert_chain(certificate, key, password=_no_password)
        except (OSError, ValueError) as error:
            raise CertificateError(f"OpenSSL does not accept it: {error}") from error
    return context


def _inspect(pair: CertificatePair, wall: float) -> _Loaded:
    certificate = _read(pair.certificate)
    key = certificate if pair.key == pair.certificate else _read(pair.key)
    chain = _parse_chain(certificate)
    leaf = chain[0]
    public = _public_key(key)
    if public != _spki(leaf.public_key()):
        raise CertificateError("the key does not belong to the certificate (the server's own has to come first)")
    before, after = leaf.not_valid_before_utc.timestamp(), leaf.not_valid_after_utc.timestamp()
    if wall >= after:
        raise CertificateError(f"it expired on {leaf.not_valid_after_utc:%Y-%m-%d %H:%M} UTC")
    if wall < before:
        raise CertificateError(f"it is not valid before {leaf.not_valid_before_utc:%Y-%m-%d %H:%M} UTC", early=True)
    try:
        facts = CertificateFacts.of(leaf)
    except UnreadableCertificate as error:
        raise CertificateError("its contents are not valid") from error
    if facts.kind not in _KINDS:
        raise CertificateError("its key is of a type that TLS does not support")
    found = Inspected(facts, names_of(leaf), tuple(chain_faults(chain, datetime.fromtimestamp(wall, UTC))))
    loaded = _Loaded(found, pair, (certificate, key))
    _context([loaded], ())  # so that one that OpenSSL refuses does not take the others along
    return loaded


def _read(path: Path) -> bytes:
    try:
        # Not blocking: a named pipe is not waited for.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise CertificateError(f"{path} is not a regular file")
            data = file.read(_MAX_FILE + 1)
    except OSError as error:
        raise CertificateError(f"{path} cannot be read ({error.strerror or error})") from error
    if len(data) > _MAX_FILE:
        raise CertificateError(f"{path} is too large")
    return data


def _parse_chain(data: bytes) -> list[x509.Certificate]:
    """The certificates, at least one; all have to parse."""
    try:
        return x509.load_pem_x509_certificates(data)
    except ValueError as error:
        raise CertificateError("it is not a chain of certificates in PEM") from error


def _public_key(data: bytes) -> bytes:
    try:
        key = serialization.load_pem_private_key(data, None)
    except TypeError as error:
        raise CertificateError("the key is encrypted; keys with a passphrase are not supported") from error
    except ValueError as error:
        raise CertificateError("the key is not a private key in PEM") from error
    return _spki(key.public_key())


def _spki(key: PublicKeyTypes) -> bytes:
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
