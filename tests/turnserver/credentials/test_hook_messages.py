"""What the hook is asked and what it answers."""

import hashlib
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auth.keys import long_term_keys, opaque_string, user_hash
from auth.types import Credential
from turnserver.credentials.hook_messages import InvalidReply, Question, is_username, read_reply

REALM = "example.org"
ALICE = Question("alice", b"", REALM)
HUSH = "hush, a password"


def read(reply: Any, question: Question = ALICE) -> Credential:
    return read_reply(json.dumps(reply).encode(), question)


@given(st.text(min_size=1).filter(is_username))
@settings(deadline=None)
def test_a_question_says_exactly_who_is_meant(name: str) -> None:
    """Whatever a stranger calls itself: plain ASCII, two keys, and the name as it came."""
    body = Question(name, b"", REALM).encode()
    assert body.isascii()
    assert json.loads(body) == {"username": name, "realm": REALM}


def test_a_question_by_hash() -> None:
    assert json.loads(Question("", b"\x00\xff" * 16, REALM).encode()) == {"userhash": "00ff" * 16, "realm": REALM}


@pytest.mark.parametrize("name", ["", "a\x00", "a\nb", "\ud800", "a" * 509, "\u00e9" * 255, "a" * 1_000_000])
def test_names_that_nobody_can_have(name: str) -> None:
    """RFC 8489 §14.3: fewer than 509 bytes of an OpaqueString."""
    assert not is_username(name)


@pytest.mark.parametrize("name", ["alice", "a" * 508, "\u00e9" * 254, '"}{', "1700000000:alice"])
def test_names_that_somebody_can_have(name: str) -> None:
    assert is_username(name)


def test_a_password() -> None:
    """Both keys are made of it; the user id is the name."""
    assert read({"password": "wonderland"}) == Credential(
        "alice", REALM, "alice", long_term_keys("alice", REALM, "wonderland")
    )
    assert read({"password": "wonderland"}).keys == long_term_keys("alice", REALM, "wonderland")


def test_keys() -> None:
    """RFC 8489 §18.5.1: a back end need not know the password; one key is enough."""
    text = f"alice:{REALM}:wonderland".encode()
    md5, sha256 = hashlib.md5(text), hashlib.sha256(text)
    found = read({"keys": {"md5": md5.hexdigest(), "sha256": sha256.hexdigest().upper()}})
    assert found.keys == {1: md5.digest(), 2: sha256.digest()}
    assert read({"keys": {"sha256": sha256.hexdigest()}}).keys == {2: sha256.digest()}


def test_all_that_may_be_said() -> None:
    """A user id for quotas and revocation, the end of the credential in Unix time; what we do not know is let be."""
    found = read({"password": "p", "user": "cafe\u0301", "expires": 1_700_000_000, "more": [{}]})
    assert (found.username, found.user_id, found.expires_at) == ("alice", "caf\u00e9", 1_700_000_000.0)


def test_an_answer_by_hash_says_whose_it_is() -> None:
    """RFC 8489 §14.4: and the hash has to be that of the name."""
    question = Question("", user_hash("alice", REALM), REALM)
    assert read({"password": "p", "username": "alice"}, question) == Credential(
        "alice", REALM, "alice", long_term_keys("alice", REALM, "p")
    )
    for name in (None, "", "bob", "a\n", 7, "a" * 600):
        with pytest.raises(InvalidReply, match="username"):
            read({"password": "p", "username": name}, question)


@pytest.mark.parametrize(
    ("reply", "complaint"),
    [
        ({}, "exactly one of password and keys"),
        ({"password": HUSH, "keys": {"md5": "0" * 32}}, "exactly one of password and keys"),
        ({"password": None, "keys": None}, "exactly one of password and keys"),
        ({"password": ""}, "password"),
        ({"password": 7}, "password"),
        ({"password": [HUSH]}, "password"),
        ({"password": HUSH * 1000}, "password"),
        ({"password": f"{HUSH}\n"}, "password"),
        ({"keys": {}}, "keys"),
        ({"keys": HUSH}, "keys"),
        ({"keys": {"md5": "0" * 31}}, "keys.md5"),
        ({"keys": {"md5": "g" * 32}}, "keys.md5"),
        ({"keys": {"md5": "0" * 32 + "\n"}}, "keys.md5"),
        ({"keys": {"sha256": "0" * 32}}, "keys.sha256"),
        ({"keys": {"sha1": "0" * 40}}, "keys"),
        ({"password": HUSH, "user": ""}, "user"),
        ({"password": HUSH, "user": "a\x00"}, "user"),
        ({"password": HUSH, "user": "\u00e9" * 255}, "user"),
        ({"password": HUSH, "user": 7}, "user"),
        ({"password": HUSH, "expires": "tomorrow"}, "expires"),
        ({"password": HUSH, "expires": True}, "expires"),
        ({"password": HUSH, "expires": 0}, "expires"),
        ({"password": HUSH, "expires": -1}, "expires"),
        ({"password": HUSH, "expires": 1e300}, "expires"),
        ({"password": HUSH, "expires": float("nan")}, "expires"),
        (None, "json"),
        ([HUSH], "json"),
        (HUSH, "json"),
    ],
)
def test_other_answers_are_refused_without_being_repeated(reply: Any, complaint: str) -> None:
    with pytest.raises(InvalidReply) as caught:
        read(reply)
    assert str(caught.value) == complaint
    assert "hush" not in repr(caught.value)


@pytest.mark.parametrize(
    "body",
    [b"", b"hush", b"\xff\xfe", b'{"password": "hush"', b"[" * 16_000, b'{"a":' * 3_000, b'{"password": "hush\xff"}'],
)
def test_what_is_no_json(body: bytes) -> None:
    with pytest.raises(InvalidReply) as caught:
        read_reply(body, ALICE)
    assert str(caught.value) == "json"
    assert "hush" not in repr(caught.value)


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(
                st.sampled_from(["password", "keys", "md5", "sha256", "user", "username", "expires", "x"]), inner
            )
        ),
    )
)
@settings(deadline=None)
def test_nothing_else_is_raised(reply: Any) -> None:
    try:
        found = read(reply)
    except InvalidReply:
        return
    assert found.keys
    assert opaque_string(found.user_id) == found.user_id
