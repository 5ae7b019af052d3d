"""Room tokens: who gets in, and that nobody else does, whatever they show."""

import hashlib
import hmac
import json
import math
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from hypothesis import given, settings
from hypothesis import strategies as st

from turnserver.config import Config, load_mapping
from turnserver.signaling.edge.keys import PublicKey, UnusableKey
from turnserver.signaling.edge.tokens import LEEWAY, MAX_TOKEN, TokenError, TokenKeys, derived_key
from turnserver.signaling.protocol.errors import Denial, SignalCode
from turnserver.signaling.rooms.settings import ALL_CAPS, Grant

patient = settings(deadline=None)

KEY = b"0123456789abcdef0123456789abcdef"
NOW = 1_700_000_000.0
RSA = rsa.generate_private_key(65537, 2048)
P256 = ec.generate_private_key(ec.SECP256R1())
ED25519 = ed25519.Ed25519PrivateKey.generate()
PRIVATE: dict[str, Any] = {"RS256": RSA, "ES256": P256, "EdDSA": ED25519}
PUBLIC = tuple(PublicKey(algorithm, key.public_key()) for algorithm, key in PRIVATE.items())
KEYS = TokenKeys([KEY], PUBLIC)
GOOD: dict[str, Any] = {"room": "demo", "aud": "meshturn", "exp": NOW + 60}


def signed(claims: Any = None, key: Any = KEY, algorithm: str = "HS256", **headers: Any) -> str:
    payload = claims if isinstance(claims, bytes) else json.dumps(GOOD if claims is None else claims).encode()
    return jwt.api_jws.encode(payload, key, algorithm, headers)


def with_claims(**changes: Any) -> str:
    claims = {**GOOD, **changes}
    return signed({name: value for name, value in claims.items() if value is not ...})


def refusal(token: str, keys: TokenKeys = KEYS, wall: float = NOW) -> Denial:
    with pytest.raises(Denial) as caught:
        keys.admit(token, wall)
    assert len(caught.value.msg) <= 256
    return caught.value


def b64(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def test_a_token_of_ours() -> None:
    token = KEYS.mint("demo", "host", 3600, NOW, token_id="id-1", name="Ann", subject="ann@example.org", once=True)
    assert KEYS.admit(token, NOW) == Grant(
        room="demo",
        role="host",
        subject="ann@example.org",
        name="Ann",
        caps=ALL_CAPS,
        max=None,
        token_id="id-1",
        once=True,
        expires=NOW + 3600 + LEEWAY,
    )


def test_a_token_of_ours_is_a_jwt_that_others_can_read() -> None:
    token = KEYS.mint("demo", "member", 60, NOW, token_id="id-1", caps={"message"}, maximum=3)
    said = jwt.decode(token, KEY, ["HS256"], audience="meshturn", options={"verify_exp": False})
    expected = {"room": "demo", "role": "member", "aud": "meshturn", "iat": NOW, "exp": NOW + 60, "jti": "id-1"}
    assert said == {**expected, "caps": ["message"], "max": 3}


@pytest.mark.parametrize("algorithm", list(PRIVATE))
def test_a_token_of_somebody_whose_public_key_we_have(algorithm: str) -> None:
    token = signed(key=PRIVATE[algorithm], algorithm=algorithm)
    assert KEYS.admit(token, NOW).room == "demo"
    others = TokenKeys([KEY], [key for key in PUBLIC if key.algorithm != algorithm])
    assert refusal(token, others).code is SignalCode.BAD_TOKEN


def test_what_a_token_does_not_say() -> None:
    grant = KEYS.admit(signed(), NOW)
    assert grant._replace(token_id=None) == Grant(room="demo", role="member", expires=NOW + 60 + LEEWAY)


def test_what_a_token_says() -> None:
    token = with_claims(
        role="host", sub="ann", name="Ann", caps=["message"], max=3, jti="x", once=True, aud=["a", "meshturn"], more=1
    )
    expected = Grant("demo", "host", "ann", "Ann", frozenset({"message"}), 3, "x", True, NOW + 60 + LEEWAY)
    assert KEYS.admit(token, NOW) == expected


def test_a_token_that_several_people_have() -> None:
    """Of one that opens a single session, only one has any use."""
    assert KEYS.admit(with_claims(shared=True), NOW).shared
    assert not KEYS.admit(with_claims(shared=True, once=True), NOW).shared


def test_a_token_for_every_room() -> None:
    assert KEYS.admit(with_claims(room="*"), NOW).room is None


def test_no_caps_are_no_caps() -> None:
    assert KEYS.admit(with_claims(caps=[]), NOW).caps == frozenset()


@pytest.mark.parametrize(
    ("claim", "value"),
    [
        ("room", ...),
        ("room", ""),
        ("room", "a/b"),
        ("room", "a" * 65),
        ("room", "room\n"),
        ("room", ["demo"]),
        ("room", None),
        ("exp", ...),
        ("exp", None),
        ("exp", str(NOW + 60)),
        ("exp", True),
        ("exp", 10**400),
        ("aud", ...),
        ("aud", "other"),
        ("aud", ["other"]),
        ("aud", []),
        ("aud", {"meshturn": 1}),
        ("aud", "meshturn "),
        ("role", "admin"),
        ("role", None),
        ("nbf", "soon"),
        ("iat", []),
        ("sub", 7),
        ("sub", ""),
        ("sub", "s" * 256),
        ("name", "n" * 65),
        ("name", "a\u0000b"),
        ("caps", "publish"),
        ("caps", ["publish", "everything"]),
        ("max", 1),
        ("max", 101),
        ("max", 2.5),
        ("max", True),
        ("jti", 7),
        ("jti", "j" * 256),
        ("once", 1),
        ("once", "true"),
        ("shared", 1),
    ],
)
def test_claims_are_what_they_should_be(claim: str, value: Any) -> None:
    """A good signature under nonsense is a mistake of whoever signs; the message says where it is."""
    found = refusal(with_claims(**{claim: value}))
    assert found.code is SignalCode.BAD_TOKEN
    assert claim in found.msg


@pytest.mark.parametrize(
    "payload",
    [b"", b"{", b"[]", b"null", b'"demo"', b"\xff", b"[" * 2000, b'{"exp": NaN, "room": "demo", "aud": "meshturn"}'],
)
def test_signed_nonsense(payload: bytes) -> None:
    assert refusal(signed(payload)).code is SignalCode.BAD_TOKEN


@pytest.mark.parametrize("number", ["Infinity", "-Infinity", "NaN", "1e999"])
def test_a_token_ends(number: str) -> None:
    payload = json.dumps(GOOD).replace(str(NOW + 60), number).encode()
    assert refusal(signed(payload)).code is SignalCode.BAD_TOKEN


def test_a_token_is_good_for_its_time_and_a_little_more() -> None:
    """RFC 7519 §4.1.4, §4.1.5: some leeway for clocks that differ."""
    token = with_claims(nbf=NOW, iat=NOW - 5)
    for wall in (NOW - LEEWAY, NOW, NOW + 60, NOW + 60 + LEEWAY - 0.1):
        assert KEYS.admit(token, wall).room == "demo"
    assert refusal(token, wall=NOW - LEEWAY - 0.1).code is SignalCode.TOKEN_NOT_YET
    assert refusal(token, wall=NOW + 60 + LEEWAY).code is SignalCode.TOKEN_EXPIRED


def test_what_is_remembered_of_a_token_lasts_as_long_as_it_is_taken() -> None:
    """A token for once, used up until its expiry only, would be good again in the leeway."""
    token = with_claims(once=True)
    expires = KEYS.admit(token, NOW).expires
    assert KEYS.admit(token, math.nextafter(expires, 0)).once
    assert refusal(token, wall=expires).code is SignalCode.TOKEN_EXPIRED


def test_a_token_from_the_future() -> None:
    assert refusal(with_claims(iat=NOW + 100)).code is SignalCode.TOKEN_NOT_YET


def test_an_expired_token_of_a_stranger_is_not_even_expired() -> None:
    """What a token says counts for nothing before its signature is good."""
    token = signed({**GOOD, "exp": 1}, b"another key, of at least 32 bytes")
    assert refusal(token).code is SignalCode.BAD_TOKEN


# Algorithm confusion (RFC 8725 §2.1)


def unsigned(header: dict[str, Any], signature: bytes = b"") -> str:
    return f"{b64(json.dumps(header).encode())}.{b64(json.dumps(GOOD).encode())}.{b64(signature)}"


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "", "HS256", "RS256", "ES256", "EdDSA", "PS256"])
def test_no_signature_is_no_token(algorithm: str) -> None:
    assert refusal(unsigned({"alg": algorithm})).code is SignalCode.BAD_TOKEN
    assert refusal(unsigned({"alg": algorithm}, b"x")).code is SignalCode.BAD_TOKEN
    assert refusal(unsigned({"alg": algorithm}, bytes(64))).code is SignalCode.BAD_TOKEN


@pytest.mark.parametrize("algorithm", list(PRIVATE))
def test_a_public_key_is_no_secret(algorithm: str) -> None:
    """The public key as the key of an HMAC: the header never chooses what a key is used for."""
    public = PRIVATE[algorithm].public_key()
    for encoding, form in (
        (serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo),
        (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo),
    ):
        secret = public.public_bytes(encoding, form)
        for name, digest in (("HS256", "sha256"), ("HS384", "sha384"), ("HS512", "sha512"), (algorithm, "sha256")):
            head = f"{b64(json.dumps({'alg': name}).encode())}.{b64(json.dumps(GOOD).encode())}"
            token = f"{head}.{b64(hmac.digest(secret, head.encode(), digest))}"
            assert refusal(token).code is SignalCode.BAD_TOKEN
            assert refusal(token, TokenKeys([], PUBLIC)).code is SignalCode.BAD_TOKEN


@pytest.mark.parametrize("algorithm", ["HS384", "HS512"])
def test_our_key_is_for_one_algorithm(algorithm: str) -> None:
    long = KEY * 2
    assert refusal(signed(key=long, algorithm=algorithm), TokenKeys([long])).code is SignalCode.BAD_TOKEN
    assert TokenKeys([long]).admit(signed(key=long), NOW)


@pytest.mark.parametrize("algorithm", ["RS384", "RS512", "PS256"])
def test_their_key_is_for_one_algorithm(algorithm: str) -> None:
    assert refusal(signed(key=RSA, algorithm=algorithm)).code is SignalCode.BAD_TOKEN


def test_keys_in_a_header_are_nothing_to_us() -> None:
    """RFC 7515 §4.1.2 to 4.1.6: whoever writes the header could bring any key along."""
    mine = ec.generate_private_key(ec.SECP256R1())
    own = jwt.algorithms.ECAlgorithm.to_jwk(mine.public_key(), as_dict=True)
    for header in ({"jwk": own}, {"jku": "https://evil.example"}, {"x5u": "https://evil.example"}):
        assert refusal(signed(key=mine, algorithm="ES256", **header)).code is SignalCode.BAD_TOKEN


@pytest.mark.parametrize("header", [{"crit": ["exp"], "exp": 1}, {"crit": []}, {"b64": True, "crit": ["b64"]}])
def test_extensions_that_must_be_understood_are_not(header: dict[str, Any]) -> None:
    """RFC 7515 §4.1.11."""
    head = f"{b64(json.dumps({'alg': 'HS256', **header}).encode())}.{b64(json.dumps(GOOD).encode())}"
    assert refusal(f"{head}.{b64(hmac.digest(KEY, head.encode(), 'sha256'))}").code is SignalCode.BAD_TOKEN


@pytest.mark.parametrize(
    "header",
    [b"", b"{", b"[]", b"7", b"null", b'{"alg": []}', b'{"alg": {}}', b'{"alg": "HS256", "kid": 7}', b"[" * 2000],
)
def test_strange_headers(header: bytes) -> None:
    token = f"{b64(header)}.{b64(json.dumps(GOOD).encode())}.{b64(bytes(32))}"
    assert refusal(token).code is SignalCode.BAD_TOKEN


# Key ids


def test_a_kid_picks_the_key() -> None:
    one, two = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    keys = TokenKeys([], [PublicKey("ES256", one.public_key(), "one"), PublicKey("ES256", two.public_key(), "two")])
    assert keys.admit(signed(key=two, algorithm="ES256", kid="two"), NOW)
    assert keys.admit(signed(key=two, algorithm="ES256"), NOW), "without a kid every key is tried"
    assert refusal(signed(key=two, algorithm="ES256", kid="one"), keys).code is SignalCode.BAD_TOKEN
    assert refusal(signed(key=two, algorithm="ES256", kid="three"), keys).code is SignalCode.BAD_TOKEN


def test_a_kid_is_nothing_to_keys_without_one() -> None:
    """PEM files have no ids, and those who sign often write one."""
    assert KEYS.admit(signed(key=P256, algorithm="ES256", kid="whatever"), NOW)
    assert KEYS.admit(signed(kid="whatever"), NOW)


# Ids of tokens


def test_two_tokens_without_an_id_are_two() -> None:
    assert KEYS.admit(with_claims(), NOW).token_id != KEYS.admit(with_claims(name="x"), NOW).token_id


def test_another_signature_does_not_make_another_token() -> None:
    """Of an ECDSA signature (r, s) anybody can make a second one, (r, n - s): a token for once stays one token."""
    token = signed({**GOOD, "once": True}, P256, "ES256")
    head, _, signature = token.rpartition(".")
    raw = urlsafe_b64decode(signature + "==")
    r, s = int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big")
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    assert decode_dss_signature(encode_dss_signature(r, order - s)) == (r, order - s)
    other = f"{head}.{b64(r.to_bytes(32, 'big') + (order - s).to_bytes(32, 'big'))}"
    assert other != token
    assert KEYS.admit(other, NOW) == KEYS.admit(token, NOW)


# Texts that are no tokens


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "..",
        "...",
        "a.b",
        "a.b.c.d",
        " a.b.c",
        "a.b.c\n",
        "a.b.ç",
        "a=.b.c",
        "a" * (MAX_TOKEN + 1),
        "\ud800.b.c",
    ],
)
def test_texts_that_are_no_tokens(text: str) -> None:
    assert refusal(text).code is SignalCode.BAD_TOKEN


@patient
@given(st.data())
def test_a_mangled_token_is_no_token(data: st.DataObject) -> None:
    """One character changed, dropped, doubled or swapped: never admitted, and nothing but a refusal comes of it."""
    algorithm = data.draw(st.sampled_from(["HS256", *PRIVATE]))
    token = signed(key=KEY if algorithm == "HS256" else PRIVATE[algorithm], algorithm=algorithm)
    place = data.draw(st.integers(0, len(token) - 1))
    kind = data.draw(st.sampled_from(["change", "drop", "double", "cut", "insert"]))
    char = data.draw(st.sampled_from("ABab01-_.=") | st.characters())
    mangled = {
        "change": token[:place] + char + token[place + 1 :],
        "drop": token[:place] + token[place + 1 :],
        "double": token[:place] + token[place] + token[place:],
        "cut": token[:place],
        "insert": token[:place] + char + token[place:],
    }[kind]
    if mangled != token:
        assert refusal(mangled).code is SignalCode.BAD_TOKEN


@patient
@given(st.text(max_size=300))
def test_no_text_is_a_token(text: str) -> None:
    assert refusal(text).code is SignalCode.BAD_TOKEN


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@patient
@given(st.dictionaries(st.sampled_from([*GOOD, "nbf", "iat", "caps", "max", "once", "jti"]), json_values))
def test_whatever_is_signed_is_granted_or_refused(claims: dict[str, Any]) -> None:
    """Claims of any kind, with a good signature: a grant that is whole, or a refusal."""
    token = signed({**GOOD, **claims})
    try:
        grant = KEYS.admit(token, NOW)
    except Denial:
        kinds = {SignalCode.BAD_TOKEN, SignalCode.TOKEN_EXPIRED, SignalCode.TOKEN_NOT_YET}
        assert refusal(token).code in kinds
    else:
        assert grant.caps <= ALL_CAPS
        assert grant.role in {"host", "member"}
        assert math.isfinite(grant.expires)
        assert grant.token_id


# Keys and minting


def test_all_own_keys_count_and_the_first_signs() -> None:
    """So that a shared secret can be replaced while tokens are about."""
    old, new = derived_key(b"the old secret"), derived_key(b"the new secret")
    both = TokenKeys([new, old])
    assert both.admit(signed(key=old), NOW)
    made = both.mint("demo", "member", 60, NOW, token_id="x")
    assert TokenKeys([new]).admit(made, NOW)
    assert refusal(made, TokenKeys([old])).code is SignalCode.BAD_TOKEN


def test_the_derived_key_is_what_the_documentation_says() -> None:
    assert derived_key(b"secret") == hmac.new(b"secret", b"meshturn room tokens", hashlib.sha256).digest()


def test_no_keys_admit_nobody_and_sign_nothing() -> None:
    none = TokenKeys()
    assert not none.can_mint
    assert refusal(signed(), none).code is SignalCode.BAD_TOKEN
    with pytest.raises(TokenError, match="no key"):
        none.mint("demo", "member", 60, NOW, token_id="x")


@pytest.mark.parametrize("key", [b"", b"x" * 31])
def test_short_keys_are_refused(key: bytes) -> None:
    """RFC 7518 §3.2."""
    with pytest.raises(UnusableKey, match="at least 32"):
        TokenKeys([key])


def test_a_public_key_is_not_taken_for_a_secret() -> None:
    public = P256.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    with pytest.raises(UnusableKey, match="takes a secret"):
        TokenKeys([public])


@pytest.mark.parametrize(
    "wrong",
    [
        {"room": "a b"},
        {"role": "admin"},
        {"ttl": 0},
        {"ttl": -60},
        {"name": "n" * 65},
        {"name": ""},
        {"subject": "s" * 256},
        {"caps": ["fly"]},
        {"maximum": 1},
        {"token_id": ""},
    ],
)
def test_what_no_token_can_say(wrong: dict[str, Any]) -> None:
    given = {"room": "demo", "role": "member", "ttl": 60, "wall": NOW, "token_id": "x", **wrong}
    with pytest.raises(TokenError):
        KEYS.mint(**given)


def test_repr_shows_no_key() -> None:
    assert repr(KEYS) == "TokenKeys(1 of its own, 3 public)"


def config(**options: Any) -> Config:
    return load_mapping(options).config


def keys_of(made: Config) -> TokenKeys:
    return TokenKeys.from_config(made.signaling, made.auth.shared_secrets)


def test_room_tokens_are_signed_with_the_key_or_what_is_derived_from_the_secret() -> None:
    """A key of its own counts alone; without one every shared secret does, so that they can be replaced in turn."""
    old, new = "an older secret, long enough", "a newer secret, long enough"
    one = keys_of(config(auth={"shared_secrets": [old]}))
    both = keys_of(config(auth={"shared_secrets": [new, old]}))
    keyed = keys_of(config(auth={"shared_secrets": [old]}, signaling={"key": "k" * 32}))
    token = one.mint("x", "host", 60, 1000.0, token_id="a")
    assert both.admit(token, 1010.0).role == "host"
    with pytest.raises(Denial):
        keyed.admit(token, 1010.0)
    assert not keys_of(config()).can_mint


# Invitations

HOST = Grant(room="demo", role="host", subject="ann", expires=NOW + 600 + LEEWAY)


def test_an_invitation_is_for_members_of_that_room() -> None:
    """It is to be given to several people, so its id names nobody; no other claim of the host's token is in it."""
    token, expires = KEYS.invite("demo", HOST, 60, 20, NOW, token_id="i1")
    assert expires == NOW + 60
    assert KEYS.admit(token, NOW) == Grant(
        room="demo", role="member", token_id="i1", expires=NOW + 60 + LEEWAY, shared=True, uses=20
    )
    assert not KEYS.admit(KEYS.invite("demo", HOST, 60, 1, NOW, token_id="i2")[0], NOW).shared


def test_an_invitation_allows_no_more_than_the_token_of_the_host() -> None:
    """Kind: a short permission that makes long ones. Its time, its capabilities and its size are bounds."""
    host = HOST._replace(caps=frozenset({"message"}), max=3)
    token, expires = KEYS.invite("demo", host, 86_400, 5, NOW, token_id="i1")
    grant = KEYS.admit(token, NOW)
    assert (expires, grant.caps, grant.max) == (NOW + 600, {"message"}, 3)
    with pytest.raises(Denial) as caught:
        KEYS.invite("demo", host, 60, 5, NOW + 600, token_id="i1")
    assert caught.value.code is SignalCode.TOKEN_EXPIRED


def test_an_open_servers_host_has_no_end() -> None:
    """Without a token there is no bound but the one that was asked for."""
    assert KEYS.invite("demo", Grant(role="host"), 60, 5, NOW, token_id="i1")[1] == NOW + 60


def test_without_a_key_nobody_is_invited() -> None:
    with pytest.raises(Denial) as caught:
        TokenKeys((), PUBLIC).invite("demo", HOST, 60, 5, NOW, token_id="i1")
    assert caught.value.code is SignalCode.FORBIDDEN


@pytest.mark.parametrize("uses", [0, 101, "3", True])
def test_uses_are_a_number(uses: object) -> None:
    assert refusal(with_claims(uses=uses)).code is SignalCode.BAD_TOKEN


def test_a_token_for_once_has_no_other_number_of_uses() -> None:
    assert KEYS.admit(with_claims(once=True, uses=5), NOW).uses == 0
    with pytest.raises(TokenError):
        KEYS.mint("demo", "member", 60, NOW, token_id="x", once=True, uses=2)
