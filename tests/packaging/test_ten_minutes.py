"""The page "A server on port 443 in ten minutes", line by line: the wheel, certbot, and a certificate authority.

Each command runs as it is printed, on a host of its own: the file system is this machine's with a layer above it that
goes away, the network is a namespace. Let's Encrypt is its own test server, pebble.
"""

import json
import os
import re
import shlex
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.packaging.conftest import Built, pip_environment
from tests.support.certificates import issue
from tests.support.netns import NetworkNamespace
from tests.support.process import wait_until
from tests.support.tools import require_tool

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "how-to" / "ten-minutes.md").read_text(encoding="utf-8").partition("## Behind NAT")[0]
SERVER, CLIENT = "45.0.0.5", "45.0.0.9"
"""Public addresses, which the server lets its clients reach; no packet leaves the namespaces."""

BLOCK = re.compile(r'^```(?P<kind>\w+)(?: title="(?P<title>[^"]+)")?\n(?P<text>.*?)^```$', re.MULTILINE | re.DOTALL)

AS_SERVICE = """
set -- $(sed -n 's/^ExecStart=//p' /etc/systemd/system/meshturn.service)
cd /; env -i PATH=/usr/bin:/bin setpriv --reuid=meshturn --regid=meshturn --init-groups --no-new-privs \\
    --inh-caps=-all,+net_bind_service --ambient-caps=+net_bind_service --bounding-set=-all,+net_bind_service \\
    "$@" 2>"$SCRATCH/log" >"$SCRATCH/output" &
echo $! >"$SCRATCH/pid"
for _ in $(seq 600); do curl -sf http://127.0.0.1:9641/readyz && break; sleep 0.1; done
cd "$SCRATCH"
"""
"""What systemd does with the unit, as far as it can be done without systemd as the first process: its user, its
capability, its command. `tests/interop/test_systemd.py` and the units' own tests have the rest."""

OTHERWISE = {
    "ufw ": "",  # the namespace has no firewall
    "apt install ": "",  # CI has installed them
    "systemctl daemon-reload": "",
    "systemctl status ": "",
    "systemctl enable --now meshturn": AS_SERVICE,
}
"""Lines that are run in another way, by their beginning."""

PRELUDE = """
for folder in /etc /opt /usr/local/bin /var/lib /var/log; do
    layer=$LAYERS$folder
    mkdir -p "$layer/above" "$layer/work"
    mount -t overlay overlay -o "lowerdir=$folder,upperdir=$layer/above,workdir=$layer/work" "$folder"
done
grep -v turn.example.org /etc/hosts >"$SCRATCH/hosts"; echo "45.0.0.5 turn.example.org" >>"$SCRATCH/hosts"
cp "$SCRATCH/hosts" /etc/hosts
cd "$SCRATCH"
"""

AFTER = """
echo "== once more"
certbot renew --force-renewal --no-random-sleep-on-renew
for _ in $(seq 600); do grep -q "certificate replaced" "$SCRATCH/log" && break; sleep 0.1; done
kill "$(cat "$SCRATCH/pid")"; wait
"""


def script(wheel: Path) -> tuple[str, str]:
    """The page as two scripts: up to the installation, which needs the package index, and the rest."""
    parts: list[str] = []
    for block in BLOCK.finditer(PAGE):
        if block["title"]:
            parts.append(f"cat >{shlex.quote(block['title'])} <<'END OF FILE'\n{block['text']}END OF FILE")
        elif block["kind"] == "console":
            for line in re.findall(r"^\$ (.*)$", block["text"], re.MULTILINE):
                other = [text for begin, text in OTHERWISE.items() if line.startswith(begin)]
                shown = f"echo {shlex.quote(f'== {line}')}"
                parts.append(f"{shown}\n{other[0] if other else line}")
    whole = "\n".join(parts).replace("pip install meshturn\n", f"pip install --quiet {shlex.quote(str(wheel))}\n", 1)
    first, middle, rest = whole.partition("echo '== adduser")
    return f"set -eu\n{PRELUDE}{first}", f"set -eu\n{middle}{rest}\n{AFTER}"


@contextmanager
def authority(server: NetworkNamespace, scratch: Path) -> Iterator[dict[str, str]]:
    """pebble, and the names that it resolves; what certbot and clients have in their environment to believe it."""
    pair = issue(scratch, "authority")
    settings = {
        "listenAddress": "127.0.0.1:14000",
        "managementListenAddress": "127.0.0.1:15000",
        "certificate": str(pair.certificate),
        "privateKey": str(pair.key),
        "httpPort": 80,
        "tlsPort": 443,
        "ocspResponderURL": "",
        "externalAccountBindingRequired": False,
    }
    (scratch / "pebble.json").write_text(json.dumps({"pebble": settings}))
    names = [
        require_tool("pebble-challtestsrv"),
        "-defaultIPv4",
        SERVER,
        "-defaultIPv6",
        "",
        "-dns01",
        "127.0.0.1:8053",
    ]
    names += ["-http01", "", "-https01", "", "-tlsalpn01", "", "-management", "127.0.0.1:8055"]
    pebble = [require_tool("pebble"), "-config", str(scratch / "pebble.json"), "-dnsserver", "127.0.0.1:8053"]
    roots = scratch / "roots.pem"
    with ExitStack() as stack:
        for command in (names, pebble):
            output = stack.enter_context((scratch / f"{Path(command[0]).name}.log").open("wb"))
            env = {**os.environ, "PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": "0"}
            with server.entered():
                process = subprocess.Popen(command, env=env, stdout=output, stderr=output)
            stack.callback(process.wait)
            stack.callback(process.kill)

        def asked() -> bool:
            with server.entered():
                command = ["curl", "-skf", "https://127.0.0.1:15000/roots/0", "-o", str(roots)]
                return subprocess.run(command, check=False).returncode == 0

        wait_until(asked, "pebble gives its root")
        yield {"REQUESTS_CA_BUNDLE": str(pair.certificate), "SSL_CERT_FILE": str(roots)}


@pytest.fixture
def hosts() -> Iterator[tuple[NetworkNamespace, NetworkNamespace]]:
    """The server's host and a client's, on one network."""
    with NetworkNamespace() as server, NetworkNamespace() as client:
        server.ip(f"link add eth0 type veth peer name eth0 netns {client.name}")
        for host, address in ((server, SERVER), (client, CLIENT)):
            host.ip(f"address add {address}/24 dev eth0")
            host.ip("link set eth0 up")
        yield server, client


def test_the_page_works_line_by_line(
    hosts: tuple[NetworkNamespace, NetworkNamespace],
    built: Built,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    """From a fresh host to a server with a certificate, a relay that was probed, metrics, and a renewed certificate."""
    for tool in ("adduser", "certbot", "curl", "nsenter", "setpriv", "unshare"):
        require_tool(tool)
    server, client = hosts
    began = time.monotonic()
    before, after = script(built.wheel)
    # The probe is run on another machine.
    elsewhere = f"nsenter --net=/run/netns/{client.name} /opt/meshturn/bin/meshturn probe "
    assert after.count("\nmeshturn probe ") == 1
    after = after.replace("\nmeshturn probe ", f"\n{elsewhere}")
    (tmp_path / "before.sh").write_text(
        f"{before}\nexec nsenter --net=/run/netns/{server.name} bash {tmp_path}/after.sh\n"
    )
    with authority(server, tmp_path) as believed:
        place = tmp_path / "config" / "letsencrypt" / "cli.ini"
        place.parent.mkdir(parents=True)
        place.write_text("server = https://localhost:14000/dir\n")
        exports = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in believed.items())
        (tmp_path / "after.sh").write_text(exports + after)
        (tmp_path / "layers").mkdir()
        layers = f"mount -t tmpfs none {tmp_path}/layers && exec bash {tmp_path}/before.sh"
        env = {
            **pip_environment(),
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": str(tmp_path),
            "XDG_CONFIG_HOME": str(tmp_path / "config"),
            "LC_ALL": "C.UTF-8",
            "SCRATCH": str(tmp_path),
            "LAYERS": str(tmp_path / "layers"),
            "PIP_CONSTRAINT": str(ROOT / "conf" / "constraints.txt"),
        }
        done = subprocess.run(
            ["unshare", "-m", "bash", "-c", layers],
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=570,
            check=False,
        )
    (tmp_path / "shown").write_text(done.stdout)
    log = (tmp_path / "log").read_text() if (tmp_path / "log").exists() else ""
    assert done.returncode == 0, f"{done.stdout[-8000:]}\n{log[-4000:]}"
    record_property("seconds", time.monotonic() - began)
    assert re.search(r"^  link +https://turn\.example\.org/call/hello#token=", done.stdout, re.MULTILINE)
    assert re.search(r"^meshturn_allocate_requests_total\{.*outcome=\"success\".*\} [1-9]", done.stdout, re.MULTILINE)
    assert re.search(r"^meshturn_certificate_expiry_timestamp_seconds\{", done.stdout, re.MULTILINE)
    assert "certificate replaced" in log
    assert "Traceback" not in log
    assert not Path("/etc/meshturn").exists(), "the layer above was not there"
