"""coturn's realm, users and shared secrets."""

import re
from typing import Final

from cli.importing.coturn_file import boolean
from cli.importing.options import Options
from cli.importing.outcome import FoundSecret, Given

__all__ = ["users"]

_KEY: Final = re.compile(r"[0-9A-Fa-f]{32}", re.ASCII)


def users(options: Options) -> None:
    """``realm`` and ``auth``."""
    plan = options.plan
    realm = options.last("realm")
    if realm is not None:
        plan.take(("realm",), realm.value, realm)
    shared = _shared_secrets(options)
    stun_only = options.last("stun-only")
    if stun_only is not None:
        path, otherwise = ("auth", "sources"), "everybody with a credential may relay"
        options.switch(stun_only, path, ["nobody"], otherwise, on=boolean(stun_only, plan))
    known = _users(options, shared=shared, realm=realm is not None)
    mechanism = options.last("lt-cred-mech")
    if mechanism is not None and boolean(mechanism, plan):
        if shared or known:
            plan.same(mechanism, "every client has to prove a long-term credential")
        else:
            advice = "there are no users in this file: list them in auth.users, or have a program answer (auth.hook)"
            plan.refuse(mechanism, advice)


def _shared_secrets(options: Options) -> bool:
    """Whether credentials are time-limited, in which case coturn asks for no user's password."""
    plan = options.plan
    flag, secrets = options.last("use-auth-secret"), options.all("static-auth-secret")
    usable = [given for given in secrets if given.value]
    for given in secrets:
        if not given.value:
            plan.wrong(given, "nothing", "the secret")
    if usable:
        values = [FoundSecret(_numbered("turn", index, ".secret"), each.value) for index, each in enumerate(usable)]
        plan.take(("auth", "shared_secrets"), values, *usable)
    if flag is not None:
        if usable:
            plan.same(flag, "auth.shared_secrets are for time-limited credentials")
        else:
            advice = "the secret is in coturn's database: `turnadmin -S` shows it, auth.shared_secrets takes it"
            plan.refuse(flag, advice)
    separator = options.last("rest-api-separator")
    if separator is not None:
        if separator.value[:1] in {"", ":"}:
            plan.same(separator, 'auth.separator is ":"')
        else:
            plan.take(("auth", "separator"), separator.value[:1], separator)
    return bool(usable) or flag is not None


def _numbered(name: str, index: int, suffix: str) -> str:
    return f"{name}-{index + 1}{suffix}" if index else f"{name}{suffix}"


def _users(options: Options, *, shared: bool, realm: bool) -> bool:
    """Whether there are users, of whom the last line of each name counts."""
    plan = options.plan
    found: dict[str, tuple[Given, str]] = {}
    for given in options.all("user"):
        name, colon, proof = given.value.partition(":")
        if not colon or not name or not proof:
            plan.wrong(given, "a value of another form", "NAME:PASSWORD, or NAME:0xKEY")
            continue
        if shared:
            plan.refuse(
                given, "coturn asks for no user beside a shared secret; auth.users would let this one relay, too"
            )
            continue
        if name in found:
            plan.same(found.pop(name)[0], f"line {given.line} has another password, which counts")
        found[name] = given, proof
    for number, (name, (given, proof)) in enumerate(found.items(), 1):
        if not proof.startswith("0x"):
            plan.take(("auth", "users", name), FoundSecret(f"user-{number}.password", proof), given)
        elif not _KEY.fullmatch(proof[2:]):
            plan.wrong(given, "a key of another form", "32 hexadecimal digits after 0x, as `turnadmin -k` prints them")
        else:
            plan.take(("auth", "users", name), FoundSecret(f"user-{number}.key", proof[2:], hashed=True), given)
            if not realm:
                advice = "the key was made for coturn's default realm, which is the host's domain: set realm to it"
                plan.refuse(given, advice)
    return bool(found)
