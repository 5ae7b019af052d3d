"""The page's `stats.js` in headless Chromium: which way media go, what the network lets through, what may be shown."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from auth.ephemeral import SharedSecret, mint
from tests.support.browser import ADDRESS
from tests.support.certificates import issue
from tests.support.netns import NetworkNamespace
from tests.support.server import REALM, SHARED_SECRET, TurnServerProcess
from tests.support.signal_lab import LabPage, SignalLab, lab_page
from turnserver.signaling.protocol.fields import IceServer

if TYPE_CHECKING:
    from playwright.sync_api import Browser


FAR_FUTURE = 4_000_000_000


@pytest.fixture(scope="module")
def relay(inside: NetworkNamespace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[IceServer]:
    """A real TURN server, reached by UDP, TCP and TLS."""
    certificate = issue(tmp_path_factory.mktemp("certificate"))
    ways = [("udp", 3478), ("tcp", 3478), ("tls", 5349)]
    config = {
        "realm": REALM,
        "listeners": [{"transport": way, "address": ADDRESS, "port": port} for way, port in ways],
        "auth": {"shared_secrets": [SHARED_SECRET]},
        "tls": {"certificates": [certificate.config]},
    }
    with inside.entered():
        process = TurnServerProcess(config, tmp_path_factory.mktemp("server"))
        process.start()
    try:
        username, credential = mint(SharedSecret(SHARED_SECRET.encode()), "somebody", FAR_FUTURE)
        urls = (
            f"turn:{ADDRESS}:3478?transport=udp",
            f"turn:{ADDRESS}:3478?transport=tcp",
            f"turns:{ADDRESS}:5349?transport=tcp",
        )
        yield IceServer(urls=urls, username=username, credential=credential)
        process.stop()
    finally:
        process.kill()


# Which way

ICE = {"servers": [{"urls": ["turn:turn.example.org:3478?transport=udp"]}]}


def reports(local: dict[str, Any], remote: dict[str, Any], *, transport: bool = True, **pair: Any) -> list[Any]:
    found: list[dict[str, Any]] = [
        {"id": "L", "type": "local-candidate", **local},
        {"id": "R", "type": "remote-candidate", **remote},
        {"id": "old", "type": "candidate-pair", "state": "succeeded", "nominated": True, "bytesReceived": 1},
        {
            "id": "P",
            "type": "candidate-pair",
            "localCandidateId": "L",
            "remoteCandidateId": "R",
            "state": "succeeded",
            "nominated": True,
            "bytesReceived": 9,
            **pair,
        },
    ]
    if transport:
        found.append({"id": "T", "type": "transport", "selectedCandidatePairId": "P"})
    return [[each["id"], each] for each in found]


HOST = {"candidateType": "host", "protocol": "udp"}
TLS = {"candidateType": "relay", "protocol": "udp", "relayProtocol": "tls", "url": "turns:t.example:443?transport=tcp"}

WAYS = {
    "direct": (reports(HOST, {"candidateType": "srflx"}), None, ["direct", "udp", None, "direct UDP"]),
    "direct over TCP": (
        reports(HOST | {"protocol": "tcp"}, {"candidateType": "host"}),
        None,
        ["direct", "tcp", None, "direct TCP"],
    ),
    "our relay": (
        reports(TLS, {"candidateType": "prflx"}),
        None,
        ["relay", "tls", "t.example", "relay TLS via t.example"],
    ),
    "our relay, met before it was announced": (
        reports({"candidateType": "prflx", "relayProtocol": "tcp"}, HOST),
        None,
        ["relay", "tcp", "turn.example.org", "relay TCP via turn.example.org"],
    ),
    "our relay, known by its URL": (
        reports({"candidateType": "prflx", "url": "turn:[2001:db8::1]:3478?transport=tcp"}, HOST),
        None,
        ["relay", "tcp", "[2001:db8::1]", "relay TCP via [2001:db8::1]"],
    ),
    "their relay": (
        reports({"candidateType": "prflx"}, {"candidateType": "relay"}),
        None,
        ["relay", None, "turn.example.org", "relay via turn.example.org"],
    ),
    "their relay, whose transport the server knows": (
        reports({"candidateType": "prflx"}, {"candidateType": "relay"}),
        {"path": "relay", "proto": "tls", "by": "peer"},
        ["relay", "tls", "turn.example.org", "relay TLS via turn.example.org"],
    ),
    "their relay, hidden": (
        reports({"candidateType": "host"}, {"candidateType": "prflx"}),
        {"path": "relay", "proto": "udp", "by": "peer"},
        ["relay", "udp", "turn.example.org", "relay UDP via turn.example.org"],
    ),
    "direct, whatever the server remembers": (
        reports(HOST, {"candidateType": "srflx"}),
        {"path": "relay", "proto": "udp", "by": "you"},
        ["direct", "udp", None, "direct UDP"],
    ),
    "Firefox: selected, no URL": (
        reports({"candidateType": "relay", "relayProtocol": "udp"}, HOST, transport=False, selected=True),
        None,
        ["relay", "udp", "turn.example.org", "relay UDP via turn.example.org"],
    ),
    "no word of what is selected": (reports(HOST, HOST, transport=False), None, ["direct", "udp", None, "direct UDP"]),
    "nothing yet": ([], None, ["unknown", None, None, "not connected"]),
}


@pytest.mark.parametrize("what", WAYS)
def test_relay_or_direct(what: str, ann: LabPage) -> None:
    """Relayed if *either* candidate is `relay`, or has `relayProtocol`, or a `turn:` URL; else direct."""
    entries, server, expected = WAYS[what]
    script = (
        "async ([entries, server, ice]) => { const {pathOf} = await import('/call-assets/stats.js');"
        " const found = pathOf(new Map(entries), server ?? undefined, ice);"
        " return [found.path, found.transport, found.via, found.pathText]; }"
    )
    assert ann.run(script, [entries, server, ICE]) == expected


@pytest.mark.parametrize("way", ["udp", "tcp", "tls", "direct"])
def test_a_call_measured(way: str, ann: LabPage, ben: LabPage, lab: SignalLab, relay: IceServer) -> None:
    """Real calls: both ends know whether they are relayed; round trip, rates, frames and size are there."""
    if way != "direct":
        urls = [url for url in relay.urls if url.startswith("turns:") == (way == "tls")]
        urls = urls if way == "tls" else [url for url in urls if url.endswith(way)]
        lab.ice_servers = (IceServer(urls=tuple(urls), username=relay.username, credential=relay.credential),)
        lab.ice_policy = "relay"
    for page, who in ((ann, "ann"), (ben, "ben")):
        page.enter(who, "blue")
    for page, who in ((ann, "ann"), (ben, "ben")):
        page.connected(who)
        page.run("(who) => lab.runs[who].stats.start()", who)
    measured = []
    for page, who in ((ann, "ann"), (ben, "ben")):
        page.until(
            "(who) => { const {stats, peer} = lab.runs[who]; const found = stats.latest.get(peer().id);"
            " return found && found.framesDecoded > 20 && found.up > 20 && found.down > 20"
            " && found.rtt !== null && found.loss !== null; }",
            who,
        )
        measured.append(page.run("(who) => lab.runs[who].stats.latest.get(lab.runs[who].peer().id)", who))
        page.run("(who) => lab.runs[who].stats.stop()", who)
    for found in measured:
        assert found["path"] == ("direct" if way == "direct" else "relay"), found
        assert (found["width"], found["height"]) == (320, 180)
        assert 0 <= found["loss"] <= 100
        assert 0 <= found["rtt"] < 5000
        assert found["fps"] is not None
        assert found["limitation"] in {"none", "cpu", "bandwidth", "other"}
        assert found["audioLevel"] is not None
    if way == "direct":
        assert all(found["pathText"] == "direct UDP" for found in measured)
    else:
        ours = f"relay {way.upper()} via {ADDRESS}"
        assert {found["pathText"] for found in measured} <= {ours, f"relay via {ADDRESS}"}
        assert ours in {found["pathText"] for found in measured}


# The check in the lobby

CHECK = "async (ice) => (await import('/call-assets/stats.js')).checkNetwork(ice, {timeout: 15000})"


def as_json(server: IceServer, **changes: Any) -> dict[str, Any]:
    fields = {"urls": list(server.urls), "username": server.username, "credential": server.credential}
    return {"servers": [fields | changes], "exp": FAR_FUTURE, "policy": "all"}


def test_every_way_is_open(ann: LabPage, relay: IceServer) -> None:
    """Network check: UDP, TCP and TLS each give a relayed candidate."""
    found = ann.run(CHECK, as_json(relay))
    assert [found[way] for way in ("udp", "tcp", "tls", "host")] == ["ok", "ok", "ok", True]


def test_ways_that_are_closed(ann: LabPage, relay: IceServer) -> None:
    """Network check: wrong credentials and closed ports, with the browser's codes; ways not offered are null."""
    found = ann.run(CHECK, as_json(relay, credential="wrong", urls=[relay.urls[0]]))
    assert [found[way] for way in ("udp", "tcp", "tls")] == ["blocked", None, None]
    assert (found["errors"][0]["transport"], found["errors"][0]["code"]) == ("udp", 401)
    found = ann.run(CHECK, as_json(relay, urls=[f"turn:{ADDRESS}:9?transport=tcp"]))
    assert [found[way] for way in ("udp", "tcp", "tls")] == [None, "blocked", None]
    assert {error["transport"] for error in found["errors"]} <= {"tcp"}
    found = ann.run(CHECK, {"servers": [], "exp": 0, "policy": "all"})
    assert [found[way] for way in ("udp", "tcp", "tls", "errors")] == [None, None, None, []]


# Masking

MASK = "async (value) => (await import('/call-assets/mask.js')).maskAddresses(value)"

TEXTS = {
    "203.0.113.9": "public-ipv4-1",
    "turn:203.0.113.9:3478?transport=udp": "turn:public-ipv4-1:3478?transport=udp",
    "turns:[2001:db8::7]:443": "turns:[public-ipv6-1]:443",
    "https://192.168.1.4:8443/call/x": "https://private-ipv4-1:8443/call/x",
    "fe80::1%eth0": "private-ipv6-1",
    "::ffff:198.51.100.4": "public-ipv6-1",
    "from 10.0.0.1 to 10.0.0.2, back to 10.0.0.1.": "from private-ipv4-1 to private-ipv4-2, back to private-ipv4-1.",
    "8d3f2a10-77aa-4f0b-9c0d-1d2e3f405162.local": "mdns-1",
    "c=IN IP4 0.0.0.0": "c=IN IP4 0.0.0.0",
    "a=rtcp:9 IN IP4 127.0.0.1": "a=rtcp:9 IN IP4 127.0.0.1",
    "2026-11-22T22:13:02.123Z": "2026-11-22T22:13:02.123Z",
    "Mozilla/5.0 (X11) Chrome/156.0.0.0 Safari/537.36": "Mozilla/5.0 (X11) Chrome/156.0.0.0 Safari/537.36",
    "a=fingerprint:sha-256 4B:19:7C:FF:00:11:22:33:44:55": "a=fingerprint:sha-256 4B:19:7C:FF:00:11:22:33:44:55",
    "a=ice-pwd:asd88fgpdd777uzjYhagZg": "a=ice-pwd:hidden",
    "candidate:1 1 udp 2113937151 192.168.7.8 54321 typ srflx raddr 10.1.2.3 rport 5 ufrag EsAw": (
        "candidate:1 1 udp 2113937151 private-ipv4-1 54321 typ srflx raddr private-ipv4-2 rport 5 ufrag hidden"
    ),
    "300.1.2.3 and 1.2.3": "300.1.2.3 and 1.2.3",
}


@pytest.mark.parametrize("text", TEXTS)
def test_addresses_in_text(text: str, ann: LabPage) -> None:
    """Diagnostics: every address has a name that tells its kind, and nothing else is touched."""
    assert ann.run(MASK, text) == TEXTS[text]


def test_addresses_in_objects(ann: LabPage) -> None:
    """Diagnostics: the same address has the same name everywhere; what is secret is not there at all."""
    found = ann.run(
        MASK,
        {
            "pairs": [{"address": "10.0.0.1", "candidateType": "host"}, {"address": "203.0.113.9", "port": 7}],
            "text": "10.0.0.1",
            "servers": [{"urls": ["turn:203.0.113.9"], "username": "1700:x", "credential": "c2VjcmV0"}],
            "10.0.0.1": True,
            "nothing": None,
            "token": "eyJhbGciOi",
        },
    )
    assert found == {
        "pairs": [{"address": "private-ipv4-1", "candidateType": "host"}, {"address": "public-ipv4-1", "port": 7}],
        "text": "private-ipv4-1",
        "servers": [{"urls": ["turn:public-ipv4-1"], "username": "hidden", "credential": "hidden"}],
        "private-ipv4-1": True,
        "nothing": None,
        "token": "hidden",
    }


def test_nothing_of_a_real_call_shows_an_address(ann: LabPage, ben: LabPage) -> None:
    """Diagnostics: descriptions and statistics of a call, masked, hold no address of anybody's."""
    for page, who in ((ann, "ann"), (ben, "ben")):
        page.enter(who, "blue")
    ann.connected("ann")
    masked = ann.run(
        "async () => { const {maskAddresses} = await import('/call-assets/mask.js'); const {pc} = lab.runs.ann.peer();"
        " const whole = {sdp: pc.localDescription.sdp, stats: [...(await pc.getStats()).values()]};"
        " return [JSON.stringify(whole), JSON.stringify(maskAddresses(whole))]; }"
    )
    assert ADDRESS in masked[0]
    assert ADDRESS not in masked[1]
    assert " typ host" in masked[1]
    assert json.loads(masked[1])["stats"]


# Another page


def test_the_example_of_the_documentation(browser: "Browser", lab: SignalLab) -> None:
    """docs/client.md: the complete example, in two pages, makes a call."""
    text = (Path(__file__).resolve().parents[2] / "docs" / "client.md").read_text()
    example = text.partition("```html\n")[2].partition("```")[0]
    lab.serve("/example", example)
    with lab_page(browser, lab) as ann, lab_page(browser, lab) as ben:
        for page in (ann, ben):
            page.page.goto(f"{lab.url}/example#blue")
            page.page.click("button")
        for page in (ann, ben):
            page.until("() => document.querySelectorAll('figure video').length === 1")
            page.until("() => document.querySelector('figure video').videoWidth > 0")
            page.until("() => document.querySelector('figure figcaption').innerText.startsWith('Guest: connected')")
        ben.page.close()
        ann.until("() => document.querySelectorAll('figure').length === 0")
