"""Public keys that sign room tokens: what is taken, and with which one algorithm."""

import json
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from turnserver.errors import StartupError
from turnserver.signaling.edge.keys import MAX_KEY_FILE, MAX_KEYS, UnusableKey, load_public_keys, read_public_keys

patient = settings(deadline=None)

RSA = rsa.generate_private_key(65537, 2048)
P256 = ec.generate_private_key(ec.SECP256R1())
ED25519 = ed25519.Ed25519PrivateKey.generate()
ALGORITHMS: dict[str, Any] = {
    "RS256": jwt.algorithms.RSAAlgorithm,
    "ES256": jwt.algorithms.ECAlgorithm,
    "EdDSA": jwt.algorithms.OKPAlgorithm,
}


def pem(key: Any) -> bytes:
    public: bytes = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return public


def private_pem(key: Any) -> bytes:
    private: bytes = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private


def jwk(algorithm: str, key: Any, **more: Any) -> dict[str, Any]:
    return {**ALGORITHMS[algorithm].to_jwk(key.public_key(), as_dict=True), **more}


def keyset(*keys: dict[str, Any]) -> bytes:
    return json.dumps({"keys": keys}).encode()


@pytest.mark.parametrize(("algorithm", "key"), [("RS256", RSA), ("ES256", P256), ("EdDSA", ED25519)])
def test_a_kind_of_key_has_one_algorithm(algorithm: str, key: Any) -> None:
    """RFC 8725 §3.1: a key is used with exactly one algorithm."""
    for data in (pem(key), keyset(jwk(algorithm, key)), json.dumps(jwk(algorithm, key)).encode()):
        (found,) = read_public_keys(data)
        assert (found.algorithm, found.kid) == (algorithm, None)


def test_a_file_may_have_several_keys() -> None:
    assert [key.algorithm for key in read_public_keys(pem(RSA) + b"\n# the other\n" + pem(P256))] == ["RS256", "ES256"]
    found = read_public_keys(keyset(jwk("RS256", RSA, kid="one"), jwk("ES256", P256, kid="two")))
    assert [(key.algorithm, key.kid) for key in found] == [("RS256", "one"), ("ES256", "two")]


def test_a_certificate_is_its_key(certificate_pem: bytes) -> None:
    (found,) = read_public_keys(certificate_pem)
    assert found.algorithm == "ES256"


@pytest.fixture
def certificate_pem() -> bytes:
    from datetime import UTC, datetime, timedelta

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes

    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "issuer")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(P256.public_key())
    builder = builder.serial_number(1).not_valid_before(now).not_valid_after(now + timedelta(days=1))
    return builder.sign(P256, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def test_keys_for_something_else_are_passed_over() -> None:
    """RFC 7517 §5: keys of a set that are not understood are ignored."""
    others = [
        {"kty": "new"},
        jwk("RS256", RSA, use="enc"),
        jwk("RS256", RSA, alg="PS256"),
        jwk("ES256", ec.generate_private_key(ec.SECP384R1())),
    ]
    (found,) = read_public_keys(keyset(*others, jwk("EdDSA", ED25519, use="sig", alg="EdDSA")))
    assert found.algorithm == "EdDSA"
    with pytest.raises(UnusableKey, match="no public key"):
        read_public_keys(keyset(*others))


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "no public key"),
        (b"hello", "no public key"),
        (b"{", "broken JSON"),
        (b'{"keys": 7}', "not a JSON Web Key Set"),
        (b'{"keys": [7, null]}', "no public key"),
        (b"{}", "no public key"),
        (private_pem(P256), "a private key"),
        (keyset(ALGORITHMS["ES256"].to_jwk(P256, as_dict=True)), "a private key"),
        (keyset({"kty": "oct", "k": "AAAA"}), "a symmetric key"),
        (keyset({"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}), "an invalid JSON Web Key"),
        (keyset({"kty": "OKP", "crv": "Ed25519", "x": 7}), "an invalid JSON Web Key"),
        (keyset({"kty": "RSA", "n": "AQAB", "e": "AQAB"}), "RSA key of|invalid JSON Web Key"),
        (keyset(jwk("RS256", RSA, kid=7)), "a kid that is not a string"),
        (pem(ec.generate_private_key(ec.SECP384R1())), "not RSA, P-256 or Ed25519"),
        (pem(ed448.Ed448PrivateKey.generate()), "not RSA, P-256 or Ed25519"),
        (pem(rsa.generate_private_key(65537, 1024)), "1024 bits; the minimum is 2048"),
        (pem(P256).replace(b"\nM", b"\nN"), "not a public key or a certificate"),
        (b" " * MAX_KEY_FILE + b"{", "more than"),
        (keyset(*[jwk("EdDSA", ED25519)] * (MAX_KEYS + 1)), "more than"),
        (pem(ED25519) * (MAX_KEYS + 1), "more than"),
    ],
)
def test_what_cannot_verify_is_refused(data: bytes, why: str) -> None:
    with pytest.raises(UnusableKey, match=why):
        read_public_keys(data)


@patient
@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: b"{" + text.encode()))
def test_nothing_but_unusable_key_comes_of_other_files(data: bytes) -> None:
    with pytest.raises(UnusableKey):
        read_public_keys(data)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.sampled_from(["RSA", "EC", "OKP", "P-256"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["kty", "crv", "n", "e", "x", "y", "alg", "use", "kid"]), inner, max_size=9)
    ),
    max_leaves=12,
)


@patient
@given(st.lists(json_values, max_size=3))
def test_nothing_but_unusable_key_comes_of_other_key_sets(keys: list[Any]) -> None:
    with pytest.raises(UnusableKey):
        read_public_keys(json.dumps({"keys": keys}).encode())


def test_repr_shows_no_key_material() -> None:
    (found,) = read_public_keys(keyset(jwk("RS256", RSA, kid="one")))
    assert repr(found) == "PublicKey(algorithm='RS256', kid='one')"


def test_files_that_cannot_be_used(tmp_path: Path) -> None:
    """One sentence that names the file."""
    gone, broken, good = tmp_path / "gone.pem", tmp_path / "broken.pem", tmp_path / "good.pem"
    broken.write_text("nothing\n")
    good.write_bytes(pem(P256))
    for path in (gone, broken):
        with pytest.raises(StartupError, match=path.name):
            load_public_keys(path)
    assert load_public_keys(good) == read_public_keys(pem(P256))
