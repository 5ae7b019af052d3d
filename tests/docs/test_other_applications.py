"""The page about other applications: its configurations are valid, and clients of each application get relays."""

import base64
import hashlib
import hmac
import re
import secrets
import ssl
import time
import xml.etree.ElementTree as tree
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from meshturn import TurnClient
from tests.support.certificates import issue
from tests.support.server import TurnServerProcess, free_port
from turnserver.config import load

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "other-applications.md"
BLOCKS = dict(re.findall(r'^```\w+ title="([^"]+)"\n(.*?)^```$', PAGE.read_text(), re.MULTILINE | re.DOTALL))
SECRETS = {name: secrets.token_hex(32) for name in ("synapse.secret", "jitsi.secret", "homeassistant.password")}


def rest(secret: str, username: str) -> tuple[str, str]:
    """What back ends make of a shared secret: base64(HMAC-SHA1(secret, username))."""
    digest = hmac.new(secret.encode(), username.encode(), hashlib.sha1).digest()
    return username, base64.b64encode(digest).decode()


def credential(application: str) -> tuple[str, str]:
    """User name and password in the form of an application."""
    expiry = int(time.time()) + 86400
    return {
        "synapse": lambda: rest(SECRETS["synapse.secret"], f"{expiry}:@ann:example.org"),
        "nextcloud": lambda: rest(SECRETS["synapse.secret"], f"{expiry}:{secrets.token_urlsafe(12)}"),
        "jitsi": lambda: rest(SECRETS["jitsi.secret"], f"{expiry}"),
        "bigbluebutton": lambda: rest(SECRETS["synapse.secret"], f"{expiry}:w_{secrets.token_hex(6)}"),
        "homeassistant": lambda: ("homeassistant", SECRETS["homeassistant.password"]),
    }[application]()


def uris(application: str) -> list[str]:
    """The URIs that the page gives an application, as it will use them."""
    if application == "synapse":
        found = yaml.safe_load(BLOCKS["homeserver.yaml"])["turn_uris"]
    elif application == "homeassistant":
        (server,) = yaml.safe_load(BLOCKS["configuration.yaml"])["web_rtc"]["ice_servers"]
        assert set(server) == {"url", "username", "credential"}
        found = server["url"]
    elif application == "bigbluebutton":
        beans = tree.fromstring(BLOCKS["/etc/bigbluebutton/turn-stun-servers.xml"])
        found = [each.get("value") for each in beans.iter() if (each.get("value") or "").startswith("turn")]
    elif application == "jitsi":
        services = re.findall(r"\{ type = (.*?) \}", BLOCKS["/etc/prosody/conf.avail/meet.example.org.cfg.lua"])
        parts = [dict(re.findall(r'(\w+) = "?([\w.]+)"?', f"type = {service}")) for service in services]
        found = [f"{each['type']}:{each['host']}:{each['port']}?transport={each['transport']}" for each in parts[1:]]
    else:
        rows = re.findall(
            r"^\| `(turns?:)` only \| `([\w.]+:\d+)` \| SECRET \| (.*?) \|$", PAGE.read_text(), re.MULTILINE
        )
        found = [
            f"{scheme}{server}?transport={protocol}"
            for scheme, server, protocols in rows
            for protocol in re.findall("udp|tcp", protocols.lower())
        ]
    return [str(each) for each in found]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[TurnServerProcess, dict[int, int], Path]]:
    """The server with the page's configuration, at ports of its own, with a certificate for loopback."""
    directory = tmp_path_factory.mktemp("applications")
    pair = issue(directory)
    pair.certificate.rename(directory / "fullchain.pem")
    pair.key.rename(directory / "privkey.pem")
    for name, secret in SECRETS.items():
        (directory / name).write_text(f"{secret}\n")
        (directory / name).chmod(0o600)
    text = BLOCKS["/etc/meshturn/meshturn.yml"].replace("/etc/meshturn", str(directory))
    (directory / "shown.yml").write_text(text)
    assert load(directory / "shown.yml").warnings == ()
    first = free_port(2)
    ports = {3478: first, 443: first + 1}
    config = yaml.safe_load(text)
    for listener in config["listeners"]:
        listener |= {"address": "127.0.0.1", "port": ports[listener.get("port", 3478)]}
    config |= {"relay": {"addresses": ["127.0.0.1"]}, "peers": {"allow": ["127.0.0.0/8"]}}
    with TurnServerProcess(config, directory) as running:
        yield running, ports, directory / "fullchain.pem"


@pytest.mark.parametrize("application", ["synapse", "nextcloud", "jitsi", "bigbluebutton", "homeassistant"])
async def test_a_client_of_each_application_relays(
    application: str, server: tuple[TurnServerProcess, dict[int, int], Path]
) -> None:
    """With each URI that the page gives the application, and a credential made as the application makes it."""
    _, ports, roots = server
    given = uris(application)
    assert any(uri.startswith("turns:") and ":443" in uri for uri in given)
    assert any(":3478" in uri for uri in given)
    username, password = credential(application)
    trust = ssl.create_default_context(cafile=str(roots))
    for uri in given:
        scheme, port, transport = re.fullmatch(r"(turns?):turn\.example\.org:(\d+)(\?.*)?", uri).groups()
        here = f"{scheme}:127.0.0.1:{ports[int(port)]}{transport or ''}"
        async with (
            TurnClient(here, username, password, tls=trust) as one,
            TurnClient(here, *credential(application), tls=trust) as other,
        ):
            first, second = await one.allocate(), await other.allocate()
            await one.create_permission(second.address)
            await other.create_permission(first.address)
            one.send(second.address, b"through both")
            assert (await other.receive()).data == b"through both"


async def test_a_credential_of_another_secret_is_refused(
    server: tuple[TurnServerProcess, dict[int, int], Path],
) -> None:
    """The test above would fail if secrets did not count."""
    _, ports, _ = server
    username, password = rest("0" * 64, f"{int(time.time()) + 86400}:ann")
    async with TurnClient(f"turn:127.0.0.1:{ports[3478]}", username, password) as client:
        with pytest.raises(Exception, match="401"):
            await client.allocate()
