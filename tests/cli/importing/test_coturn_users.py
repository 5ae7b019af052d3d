"""coturn's realm, users and shared secrets."""

from cli.importing.coturn import import_coturn
from cli.importing.outcome import FoundSecret, tree

KEY = "bc807ee29df3c9ffa736523fb2c4e8ee"


def imported(text: str) -> tuple[dict[str, object], set[int]]:
    """``auth`` with the secrets as they are, and the lines that cannot be expressed."""
    plan = import_coturn(text)
    assert plan.problems == []
    options = tree(plan.entries, lambda secret: secret)
    return options.get("auth", {}), {note.line for note in plan.cannot if note.line}


def test_users() -> None:
    """The first colon ends the name; 0x is a key; the last line of a name counts."""
    text = f"realm=r\nuser=a:b:c=d\nuser=k:0x{KEY}\nuser=a:e\nlt-cred-mech"
    auth, cannot = imported(text)
    assert auth["users"] == {
        "k": FoundSecret("user-1.key", KEY, hashed=True),
        "a": FoundSecret("user-2.password", "e"),
    }
    assert cannot == set()


def test_a_key_needs_its_realm() -> None:
    """Without a realm the key is of a realm that the file does not name."""
    assert imported(f"user=k:0x{KEY}")[1] == {1}


def test_shared_secrets() -> None:
    """Several are all accepted; users beside them are not asked by coturn, so they are left out and named."""
    auth, cannot = imported("static-auth-secret=one\nstatic-auth-secret=two=\nuser=a:b\nrest-api-separator=|")
    assert auth == {
        "shared_secrets": [FoundSecret("turn.secret", "one"), FoundSecret("turn-2.secret", "two=")],
        "separator": "|",
    }
    assert cannot == {3}


def test_secrets_that_are_elsewhere() -> None:
    """In coturn's database, or nowhere."""
    assert imported("use-auth-secret") == ({}, {1})
    assert imported("lt-cred-mech") == ({}, {1})
    assert imported("no-auth") == ({}, {1})


def test_stun_only() -> None:
    """Nobody may relay then."""
    assert imported("stun-only") == ({"sources": ["nobody"]}, set())
    assert imported("stun-only=no\nrest-api-separator=:") == ({}, set())


def test_errors_do_not_show_secrets() -> None:
    """A line without a colon may be a password alone."""
    plan = import_coturn("user=hush-hush\nstatic-auth-secret=\nuser=a:0xhush-hush")
    assert [problem.line for problem in plan.problems] == [2, 1, 3]
    assert "hush" not in str(plan.problems)
