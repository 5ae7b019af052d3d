"""Which certificates a client is shown: those for the host that it names (SNI, RFC 6066 §3), one of each kind of key.

Of one kind, a certificate that has the name itself comes before one with a wildcard for it, and an earlier one in the
configuration before a later one. OpenSSL chooses among the kinds, by what the client can verify.
"""

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from cryptography import x509
from cryptography.x509.oid import NameOID

__all__ = ["ServerCertificate", "ServerNames", "names_of", "spelled"]

_UNREADABLE: Final = (x509.ExtensionNotFound, x509.DuplicateExtension, x509.UnsupportedGeneralNameType, ValueError)


class ServerCertificate(NamedTuple):
    """A certificate: its number, the kind of its key, and its names as `spelled`, wildcards among them."""

    number: int
    kind: str
    names: frozenset[str]


class ServerNames:
    """The choice among certificates; earlier ones come first."""

    def __init__(self, candidates: Iterable[ServerCertificate]) -> None:
        self._candidates = tuple(candidates)
        self._by_name: dict[str, tuple[int, ...]] = {}
        found: dict[str, list[ServerCertificate]] = {}
        for candidate in self._candidates:
            for name in candidate.names:
                found.setdefault(name, []).append(candidate)
        self._named = found
        self._default = _one_of_each_kind(self._without_name())

    def of(self, name: str | None, address: str = "") -> tuple[int, ...]:
        """The numbers of the certificates for a client that names the host ``name``, None if it names none.

        A client that reaches the server by its ``address`` names no host (RFC 6066 §3): a certificate for the address
        is for it. Where no certificate fits, the first one is shown, with those for the same names.
        """
        wanted = spelled(address if name is None else name)
        return self._chosen(wanted) or self._default

    def knows(self, name: str) -> bool:
        """Whether a certificate is for a host, or an address."""
        return bool(self._chosen(spelled(name)))

    @property
    def choices(self) -> list[tuple[int, ...]]:
        """Every choice that `of` may return, each once."""
        # A name that only a wildcard covers gets what the wildcard itself would.
        return list(dict.fromkeys([self._default, *(self._chosen(name) for name in self._named)]))

    @property
    def unused(self) -> list[int]:
        """The numbers of the certificates that no client is ever shown."""
        used = {number for choice in self.choices for number in choice}
        return [candidate.number for candidate in self._candidates if candidate.number not in used]

    def _chosen(self, name: str) -> tuple[int, ...]:
        found = self._by_name.get(name)
        if found is None:
            _, dot, above = name.partition(".")
            wildcards = self._named.get(f"*.{above}", []) if dot and not name.startswith("*.") else []
            found = _one_of_each_kind([*self._named.get(name, []), *wildcards])
            if name in self._named:
                self._by_name[name] = found
        return found

    def _without_name(self) -> Sequence[ServerCertificate]:
        """For clients that name no host, or one that no certificate is for."""
        if not self._candidates:
            return ()
        first = self._candidates[0]
        return [first, *(one for one in self._candidates[1:] if _are_alike(first, one))]


def spelled(name: str) -> str:
    """A name as it is compared: case does not matter, nor does the dot of a fully qualified one."""
    return name.removesuffix(".").lower()


def names_of(certificate: x509.Certificate) -> frozenset[str]:
    """The hosts and addresses that a certificate is for, as `spelled`.

    The common name counts where there are no others: clients that are lenient enough to accept it may name it.
    """
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        names = [*found.get_values_for_type(x509.DNSName), *map(str, found.get_values_for_type(x509.IPAddress))]
    except _UNREADABLE:
        names = []
    if not names:
        try:
            names = [str(each.value) for each in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
        except ValueError:
            names = []
    return frozenset(map(spelled, names))


def _one_of_each_kind(candidates: Iterable[ServerCertificate]) -> tuple[int, ...]:
    chosen: dict[str, int] = {}
    for candidate in candidates:
        chosen.setdefault(candidate.kind, candidate.number)
    return tuple(chosen.values())


def _are_alike(one: ServerCertificate, other: ServerCertificate) -> bool:
    """Whether two certificates are for the same host, as an ECDSA and an RSA one usually are."""
    return not one.names or not other.names or bool(one.names & other.names)
