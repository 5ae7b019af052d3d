"""A proxy of Debian's in front of the server, in a network namespace, with the configurations of the how-to page."""

import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from tests.support.browser import ADDRESS
from tests.support.certificates import CertificatePair
from tests.support.netns import NetworkNamespace
from tests.support.process import wait_until
from tests.support.server import SHARED_SECRET, TurnServerProcess
from tests.support.tools import require_tool

__all__ = ["API_KEY", "FRONTS", "Front", "in_front"]

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "behind-a-proxy.md"
API_KEY = "api-key-of-the-test-0123456789"
START = 60.0


class Front(NamedTuple):
    """One way of the how-to: the titles of the proxy's configuration and of the server's, and what runs the first."""

    title: str
    server: str
    program: Callable[[str, Path, CertificatePair], list[str]]


def block(title: str) -> str:
    """The block of the how-to page with that title, for a host that is an address: there is no DNS in the namespace."""
    found = re.findall(rf'^```[a-z]+ title="{re.escape(title)}"\n(.*?)^```$', PAGE.read_text(), re.M | re.S)
    assert len(found) == 1, f"{len(found)} blocks {title!r} on {PAGE.name}"
    return re.sub(r"(?<=[ :])meet\.example\.org\b", ADDRESS, found[0])


def put(text: str, **paths: Path) -> str:
    """The text with other files; each must have been there, so that the page and this stay together."""
    for pattern, path in paths.items():
        text, count = re.subn(rf"/\S+/{pattern.replace('_', '.')}", str(path), text)
        assert count == 1, f"{pattern} is {count} times in {text}"
    return text


def nginx(text: str, directory: Path, certificate: CertificatePair) -> list[str]:
    """The command; the page's part is a file that the distribution's own configuration includes."""
    site, main = directory / "site.conf", directory / "nginx.conf"
    site.write_text(put(text, fullchain_pem=certificate.certificate, privkey_pem=certificate.key))
    scratch = "".join(
        f"{kind}_temp_path {directory / kind}; " for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    main.write_text(
        f"user root; daemon off; pid {directory / 'pid'}; events {{}}\n"
        f"http {{ access_log off; {scratch}include {site}; }}\n"
    )
    return [require_tool("nginx"), "-p", str(directory), "-e", "stderr", "-c", str(main)]


def haproxy(text: str, directory: Path, certificate: CertificatePair) -> list[str]:
    """The command; certificate and key are one file."""
    both, main = directory / "both.pem", directory / "haproxy.cfg"
    both.write_bytes(certificate.certificate.read_bytes() + certificate.key.read_bytes())
    main.write_text(put(text, **{"meet.example.org_pem": both}))
    return [require_tool("haproxy"), "-db", "-f", str(main)]


FRONTS = {
    "nginx": Front("/etc/nginx/conf.d/meshturn.conf", "meshturn.yml", nginx),
    "haproxy": Front("/etc/haproxy/haproxy.cfg", "meshturn.yml", haproxy),
    "haproxy-tcp": Front("/etc/haproxy/haproxy.cfg, TCP mode", "meshturn.yml, TCP mode", haproxy),
}


@contextmanager
def in_front(
    front: Front,
    inside: NetworkNamespace,
    directory: Path,
    certificate: CertificatePair,
    edit: Callable[[str], str] = lambda text: text,
) -> Iterator[TurnServerProcess]:
    """The server of the how-to, with rooms for everybody, and a proxy before it; ``edit`` changes its configuration."""
    config: dict[str, Any] = yaml.safe_load(block(front.server))
    for listener in config["listeners"]:
        listener.setdefault("port", 3478)
    config["auth"] = {"shared_secrets": [SHARED_SECRET]}
    config["signaling"] = {"open": True, "api_keys": {"website": API_KEY}, **config.get("signaling", {})}
    command = front.program(edit(block(front.title)), directory, certificate)
    with inside.entered(), TurnServerProcess(config, directory) as server:
        log = (directory / "proxy.log").open("w+b")
        proxy = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            wait_until(lambda: proxy.poll() is not None or listens(443), "a proxy on port 443", START)
            assert proxy.poll() is None, (directory / "proxy.log").read_text(errors="replace")
            yield server
        finally:
            proxy.terminate()
            proxy.wait(START)
            log.close()


def listens(port: int) -> bool:
    """Whether a TCP socket of this namespace listens on that port."""
    return f":{port:04X} 00000000:0000 0A " in Path("/proc/thread-self/net/tcp").read_text()
