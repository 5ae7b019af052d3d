"""``meshturn check``: is a configuration good, and what would it do here."""

import json
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

Run = Callable[..., "subprocess.CompletedProcess[str]"]
Write = Callable[[str], Path]

GOOD = """
listeners:
  - {address: 127.0.0.1, port: 3500}
relay:
  addresses: [127.0.0.1]
  external: {127.0.0.1: 198.51.100.1}
auth:
  shared_secrets: [a-secret-of-the-test-0123456789]
"""


def test_a_good_configuration(run: Run, write: Write) -> None:
    """Listeners, relays and counts of secrets are shown; secrets are not; exit code 0."""
    result = run("check", "-c", write(GOOD))
    assert result.returncode == 0, result.stderr
    for words in ("is valid", "udp 127.0.0.1:3500", "127.0.0.1 (clients are told 198.51.100.1)", "shared secrets"):
        assert words in result.stdout
    assert "turn:198.51.100.1:3500?transport=udp" in result.stdout
    assert "a-secret" not in result.stdout + result.stderr


TLS = """
listeners:
  - {{transport: udp, address: 127.0.0.1}}
  - {{transport: tcp, address: 127.0.0.1, proxies: [10.0.0.0/8, "fd00::1"]}}
  - {{transport: tls, address: "::1"}}
  - {{transport: shared, address: 127.0.0.1}}
  - {{transport: shared, tls: false, address: 127.0.0.1}}
auth: {{users: {{alice: secret}}}}
tls: {{certificates: [{}]}}
"""


def pair(*certified: Any) -> str:
    return ", ".join(f"{{certificate: {one.certificate}, key: {one.key}}}" for one in certified)


def test_every_kind_of_listener(run: Run, write: Write, certify: Callable[..., Any]) -> None:
    """RFC 8656 §3.1: each with its transport and default port, and the certificates with their facts."""
    one, other = certify("turn.example.org", "192.0.2.1"), certify("turn.example.org", kind="rsa")
    path = write(TLS.format(pair(one, other)))
    found = json.loads(run("check", "--json", "-c", path).stdout)
    assert found["listeners"] == [
        "udp 127.0.0.1:3478",
        "tcp 127.0.0.1:3478 (proxies in 10.0.0.0/8, fd00::1/128)",
        "tls [::1]:5349",
        "shared, with TLS, 127.0.0.1:443",
        "shared, without TLS, 127.0.0.1:80",
    ]
    assert [(each["file"], each["key"], each["names"]) for each in found["certificates"]] == [
        (str(one.certificate), "ECDSA P-256", ["turn.example.org", "192.0.2.1"]),
        (str(other.certificate), "RSA 2048", ["turn.example.org"]),
    ]
    assert found["warnings"] == []
    assert found["uris"] == [
        "turn:turn.example.org:3478?transport=udp",
        "turns:turn.example.org:443?transport=tcp",
        "turns:turn.example.org:5349?transport=tcp",
    ]
    people = run("check", "-c", path)
    assert (people.returncode, people.stderr) == (0, "")
    assert f"{one.certificate}: for turn.example.org, 192.0.2.1; ECDSA P-256; until " in people.stdout


def test_the_host_of_the_urls(run: Run, write: Write) -> None:
    """Kind: a URL that names what its readers cannot use."""
    path = write(GOOD)
    assert json.loads(run("check", "--json", "--host", "[2001:DB8::1]", "-c", path).stdout)["uris"] == [
        "turn:[2001:db8::1]:3500?transport=udp"
    ]
    for text in ("a b", "turn:x", "", "1.2.3", "x" * 300, "\x1b[2J"):
        refused = run("check", "--host", text, "-c", path)
        assert (refused.returncode, refused.stdout, "\x1b" in refused.stderr) == (2, "", False)


def test_a_certificate_that_ends_soon_is_a_warning(run: Run, write: Write, certify: Callable[..., Any]) -> None:
    """Rule 26: said while there is still time; exit code 0."""
    for days, words in ((13.5, "expires in 13 days"), (15, "")):
        made = certify("localhost", days=days)
        result = run("check", "-c", write(TLS.format(pair(made))))
        assert result.returncode == 0
        assert (f"Warning: The certificate {made.certificate} expires" in result.stderr) == bool(words)
        assert words in result.stderr


def test_certificates_that_would_be_refused(run: Run, write: Write, certify: Callable[..., Any]) -> None:
    """Each is a problem with exit code 2, as it would be when the server starts; keys are not shown."""
    good, expired, early = certify("a"), certify("b", age=3, days=-1, kind="rsa"), certify("c", age=-2)
    mixed = f"{{certificate: {good.certificate}, key: {early.key}}}"
    swapped = f"{{certificate: {good.key}, key: {good.certificate}}}"
    text = TLS.format(", ".join([pair(good, expired, early), mixed, swapped]))
    result = run("check", "--json", "-c", write(text))
    assert result.returncode == 2
    problems = json.loads(result.stdout)["problems"]
    assert [
        (problem["key"], words in problem["found"])
        for problem, words in zip(
            problems,
            [
                "expired on",
                "not valid before",
                "does not belong",
                "not a chain of certificates",
            ],
            strict=True,
        )
    ] == [(f"tls.certificates[{index}]", True) for index in range(1, 5)]
    assert "PRIVATE KEY" not in result.stdout
    assert run("check", "-c", write(text)).returncode == 2


def test_certificates_for_two_names(run: Run, write: Write, certify: Callable[..., Any]) -> None:
    """Two hosts on one port, both with ECDSA keys; one that nobody would be shown is a warning."""
    one, other = certify("turn.example.org"), certify("meet.example.net")
    found = json.loads(run("check", "--json", "-c", write(TLS.format(pair(one, other)))).stdout)
    assert ([each["names"] for each in found["certificates"]], found["warnings"]) == (
        [["turn.example.org"], ["meet.example.net"]],
        [],
    )
    again = run("check", "-c", write(TLS.format(pair(one, other, one))))
    assert again.returncode == 0
    assert " ".join(again.stderr.split()).count("is never shown") == 1


def test_a_chain_without_its_intermediate_is_a_warning(run: Run, write: Write, certify: Callable[..., Any]) -> None:
    """certbot's cert.pem instead of fullchain.pem: wrong for clients only, and visible here; exit code 0."""
    between = certify(by=certify(label="root"), label="between")
    lone, whole = certify("a.org", by=between), certify("b.org", by=between, chain=(between,))
    found = json.loads(run("check", "--json", "-c", write(TLS.format(pair(lone, whole)))).stdout)
    (warning,) = found["warnings"]
    assert str(lone.certificate) in warning
    assert "fullchain.pem" in warning


def test_urls_without_a_certificate_are_a_warning(run: Run, write: Write, certify: Callable[..., Any]) -> None:
    """The kind: wrong for clients only, and visible here. Wildcards count, and turn: needs none."""
    urls = [
        "turns:turn.example.org",
        "turns:a.example.net",
        "stuns:192.0.2.1",
        "turn:plain.example.com",
        "turns:no.org",
    ]
    text = TLS.format(pair(certify("turn.example.org", "192.0.2.1"), certify("*.example.net")))
    found = json.loads(run("check", "--json", "-c", write(f"{text}signaling: {{urls: {json.dumps(urls)}}}\n")).stdout)
    assert [warning for warning in found["warnings"] if "No certificate" in warning] == [
        "No certificate is for no.org, which signaling.urls names: clients refuse it, unless a proxy shows another."
    ]


def test_certificates_that_are_not_there(run: Run, write: Write) -> None:
    """The line and the key of what is missing, and both keys for a listener without any."""
    path = write(TLS.format("{certificate: a.pem, key: b.pem}"))
    found = json.loads(run("check", "--json", "-c", path).stdout)
    assert [(item["key"], item["line"]) for item in found["problems"]] == [
        ("tls.certificates[0].certificate", 9),
        ("tls.certificates[0].key", 9),
    ]
    none = json.loads(run("check", "--json", "-c", write(TLS.format(""))).stdout)
    assert [item["key"] for item in none["problems"]] == ["listeners[2].transport", "listeners[3].transport"]
    assert all("tls.certificates" in item["allowed"] for item in none["problems"])


def test_nothing_is_bound(run: Run, write: Write, free_port: Callable[[], int]) -> None:
    """It can be run beside the running server whose ports it names."""
    port = free_port()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", port))
        result = run("check", "-c", write(GOOD.replace("3500", str(port))))
    assert (result.returncode, result.stderr) == (0, "")


def test_for_programs(run: Run, write: Write) -> None:
    """--json: the same as one document."""
    found = json.loads(run("check", "--json", "-c", write(GOOD)).stdout)
    assert found["ok"] is True
    assert found["listeners"] == ["udp 127.0.0.1:3500"]
    assert found["relay_ports"] == "49152-65535"
    assert (found["users"], found["shared_secrets"], found["warnings"]) == (0, 1, [])


def test_no_credentials_is_a_warning(run: Run, write: Write) -> None:
    """Rule 3: a server without credentials relays for nobody, and says so."""
    result = run("check", "-c", write("listeners: [{address: 127.0.0.1}]\n"))
    assert result.returncode == 0
    assert "only STUN Binding works" in result.stderr


def test_a_public_address_for_an_address_of_somebody_else(run: Run, write: Write) -> None:
    """The server would refuse it, because the mapping would not be used and clients would get a private address."""
    wrong = GOOD.replace("addresses: [127.0.0.1]", "addresses: []").replace("{127.0.0.1:", "{203.0.113.77:")
    result = run("check", "--json", "-c", write(wrong))
    assert result.returncode == 2
    (problem,) = json.loads(result.stdout)["problems"]
    assert problem["key"] == "relay.external.'203.0.113.77'"
    assert "not an address of this machine" in problem["found"]


def test_one_public_address_and_one_that_is_asked_for(run: Run, write: Write) -> None:
    """Nothing is sent, so what the STUN server says is not known here."""
    one = GOOD.replace("{127.0.0.1: 198.51.100.1}", "198.51.100.1")
    found = json.loads(run("check", "--json", "-c", write(one)).stdout)
    assert found["relays"] == ["127.0.0.1 (clients are told 198.51.100.1)"]
    asked = GOOD.replace("{127.0.0.1: 198.51.100.1}", "auto\n  stun_server: stun.example.org")
    found = json.loads(run("check", "--json", "-c", write(asked)).stdout)
    assert found["relays"] == ["127.0.0.1 (clients are told what stun:stun.example.org:3478 says)"]


def test_a_private_relay_address_is_a_warning(run: Run, write: Write) -> None:
    """As in a cloud without ``relay.external``: everything looks well, and no call comes about."""
    private = GOOD.replace("addresses: [127.0.0.1]", "addresses: [10.99.0.5]")
    found = json.loads(run("check", "--json", "-c", write(private.replace("{127.0.0.1: 198.51.100.1}", "{}"))).stdout)
    (warning,) = [warning for warning in found["warnings"] if "is private" in warning]
    assert "10.99.0.5" in warning
    told = json.loads(
        run("check", "--json", "-c", write(private.replace("{127.0.0.1: 198.51.100.1}", "198.51.100.1"))).stdout
    )
    assert not [warning for warning in told["warnings"] if "is private" in warning]


def test_an_address_that_programs_may_use_is_none_of_somebody_else(run: Run, write: Write) -> None:
    """On Linux that is all of 127/8, of which no interface has more than one."""
    result = run("check", "-c", write(GOOD.replace("address: 127.0.0.1", "address: 127.0.0.2")))
    assert result.returncode == 0
    assert "127.0.0.2 is not an address of this machine" not in result.stderr


def test_an_address_of_somebody_else_is_a_warning(run: Run, write: Write) -> None:
    """The file may be meant for another machine, so it is no error."""
    result = run("check", "-c", write(GOOD.replace("address: 127.0.0.1", "address: 203.0.113.77")))
    assert result.returncode == 0
    assert "203.0.113.77 is not an address of this machine" in result.stderr


def test_problems(run: Run, write: Write) -> None:
    """All problems at once, with exit code 2, for people and for programs."""
    path = write("realm: 7\nlog: {level: loud}\n")
    people = run("check", "-c", path)
    assert people.returncode == 2
    assert people.stdout == ""
    assert f"{path}:1: realm" in people.stderr
    assert f"{path}:2: log.level" in people.stderr
    programs = run("check", "--json", "-c", path)
    assert programs.returncode == 2
    found = json.loads(programs.stdout)
    assert found["ok"] is False
    assert [(item["key"], item["line"]) for item in found["problems"]] == [("realm", 1), ("log.level", 2)]


def test_the_environment_is_checked_too(run: Run) -> None:
    """A variable in our way of writing that means nothing is a problem of line null; of another way, a warning."""
    result = run("check", "--json", env={"MESHTURN_LOG__LEVELS": "x"})
    found = json.loads(result.stdout)
    assert (result.returncode, found["problems"][0]["key"], found["problems"][0]["line"]) == (
        2,
        "MESHTURN_LOG__LEVELS",
        None,
    )
    result = run("check", "--json", env={"MESHTURN_REALMS": "x", "MESHTURN_SERVICE_HOST": "10.96.7.7"})
    assert result.returncode == 0
    assert [line for line in json.loads(result.stdout)["warnings"] if "MESHTURN_" in line] == [
        "The environment variable MESHTURN_REALMS is not an option of meshturn and is ignored "
        "(did you mean MESHTURN_REALM?)."
    ]


ROOMS = """
listeners: [{transport: shared, tls: false, address: 127.0.0.1, port: 8080}]
auth: %s
signaling: %s
"""
SHARED = "{shared_secrets: [a-secret-of-the-test-0123456789]}"


def rooms_of(run: Run, path: Path) -> dict[str, Any]:
    result = run("check", "--json", "-c", path)
    assert result.returncode == 0, result.stdout
    found: dict[str, Any] = json.loads(result.stdout)["rooms"]
    return found


def test_who_may_join_rooms(run: Run, write: Write) -> None:
    """A server with rooms that nobody can enter is fine, and says so."""
    derived = "holders of a token signed with a key derived from auth.shared_secrets"
    own = "holders of a token signed with signaling.key"
    for auth, signaling, ways in (
        ("{}", "{}", []),
        (SHARED, "{}", [derived]),
        (SHARED, "{open: true}", ["anybody who knows the name of a room", derived]),
        (SHARED, "{key: 0123456789abcdef0123456789abcdef}", [own]),
    ):
        found = rooms_of(run, write(ROOMS % (auth, signaling)))
        assert (found["served"], found["who"]) == (True, ways)
        assert found["turn_credentials"] == (auth == SHARED)
    text = run("check", "-c", write(ROOMS % ("{}", "{}"))).stdout
    assert "nobody: signaling.open is false, and there is no key for tokens" in text


def test_keys_of_rooms_by_name(run: Run, write: Write) -> None:
    """Who may ask is said by name; the keys are not."""
    keys = "{admin_keys: {support: support-key-0123456789}, api_keys: {website: website-key-0123456789}, room_size: 3}"
    result = run("check", "-c", write(ROOMS % (SHARED, keys)))
    assert result.returncode == 0, result.stderr
    assert "support (admin), website" in result.stdout
    assert "for 3 people each" in result.stdout
    assert "key-0123456789" not in result.stdout + result.stderr


def test_what_participants_of_rooms_are_told(run: Run, write: Write) -> None:
    """Behind a proxy, the ports of its inner side are nothing to them; what is configured is told as it is."""
    path = "listeners: [%s]\nauth: {shared_secrets: [a-secret-of-the-test-0123456789]}\n"
    shared = "{transport: shared, tls: false, address: 127.0.0.1, port: 8080}"
    found = run("check", "-c", write(path % f"{{address: 127.0.0.1}}, {shared}"))
    assert "TURN for rooms" in found.stdout
    assert "none but on this machine" in found.stdout
    assert "signaling.urls" in found.stdout
    outside = "{address: 0.0.0.0, port: 3400}, {transport: tcp, address: 0.0.0.0, port: 3401, proxies: [10.0.0.1]}"
    assert rooms_of(run, write(path % f"{outside}, {shared}"))["urls"] == [
        "turn:HOST:3400?transport=udp",
        "stun:HOST:3400",
    ]
    urls = "signaling: {urls: ['turn:turn.example.org']}\n"
    assert rooms_of(run, write(path % shared + urls))["urls"] == ["turn:turn.example.org"]


def test_why_there_are_no_rooms(run: Run, write: Write) -> None:
    """Rooms need a listener that HTTP comes in by."""
    assert rooms_of(run, write(GOOD))["why_not"] == "there is no shared listener"
    assert rooms_of(run, write(ROOMS % (SHARED, "{enabled: false}")))["why_not"] == "signaling.enabled is false"
    result = run("check", "-c", write(GOOD + "signaling: {open: true}"))
    assert "there are no rooms" in result.stderr


def test_a_public_key_that_is_none(run: Run, execute: Run, write: Write, tmp_path: Path) -> None:
    """The server would not start with it, so it is told here, too."""
    (tmp_path / "issuer.pem").write_text("not a key")
    path = write(ROOMS % (SHARED, f"{{public_keys: [{tmp_path / 'issuer.pem'}]}}"))
    result = run("check", "-c", path)
    assert result.returncode == 2
    assert "signaling.public_keys" in result.stderr
    assert "no public key for room tokens" in result.stderr
    result = execute("serve", "-c", path)
    assert result.returncode in {2, 3}
    assert "Traceback" not in result.stderr


def test_a_listener_whose_clients_may_use_tls_or_not(run: Run, write: Write, certify: Callable[..., Any]) -> None:
    """``tls: auto`` has both URLs, on one port; without a certificate it is an error like any other TLS."""
    kinds = (f"{{transport: {kind}, tls: auto, address: 127.0.0.1}}" for kind in ("tcp", "shared"))
    listeners = f"listeners: [{', '.join(kinds)}]"
    users = "auth: {users: {alice: secret}}"
    path = write(f"{listeners}\n{users}\ntls: {{certificates: [{pair(certify('turn.example.org'))}]}}\n")
    found = json.loads(run("check", "--json", "-c", path).stdout)
    assert found["listeners"] == [
        "tcp, with TLS and without, 127.0.0.1:3478",
        "shared, with TLS and without, 127.0.0.1:443",
    ]
    assert found["uris"] == [
        "turns:turn.example.org:3478?transport=tcp",
        "turn:turn.example.org:3478?transport=tcp",
        "turns:turn.example.org:443?transport=tcp",
        "turn:turn.example.org:443?transport=tcp",
    ]
    refused = run("check", "-c", write(f"{listeners}\n{users}\n"))
    assert refused.returncode == 2
    assert "a tcp listener with tls: auto, and nothing in tls.certificates" in refused.stderr
    assert "listeners[].tls: false" in refused.stderr
