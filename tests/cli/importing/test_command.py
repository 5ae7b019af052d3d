"""``meshturn import``: files in the styles of well-known guides become configurations that the loader takes."""

import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from turnserver.config import Config, load

Run = Callable[..., "subprocess.CompletedProcess[str]"]

FILES = Path(__file__).parent / "files"
SECRETS = {
    "synapse.conf": "n0t+a/real=secret==for-matrix",
    "nextcloud.conf": "3f9c1c4e5a7b8d2e6f0a1b2c3d4e5f60718293a4b5c6d7e8f9a0b1c2d3e4f506",
    "jitsi.conf": "JitsiSharedSecret=0123",
    "bigbluebutton.conf": "0123456789abcdef0123456789abcdef",
    "home-assistant.conf": "corr3ct:horse=battery",
    "eturnal.yml": "long-and-cryptic-for-eturnal",
}


def kind(name: str) -> str:
    return "eturnal" if name.endswith(".yml") else "coturn"


def imported(run: Run, home: Path, name: str, *options: object) -> tuple[Config, "subprocess.CompletedProcess[str]"]:
    result = run("import", kind(name), FILES / name, *options)
    assert result.returncode == 0, result.stderr
    path = home / "imported.yml"
    path.write_text(result.stdout)
    return load(path).config, result


@pytest.mark.parametrize("name", SECRETS)
def test_files_of_guides(run: Run, home: Path, name: str) -> None:
    """What is printed is a valid configuration; the secret is in a file for the user alone, and nowhere else."""
    config, result = imported(run, home, name)
    assert SECRETS[name] not in result.stdout + result.stderr
    known = [item.secret.get_secret_value() for item in config.auth.shared_secrets]
    known += [secret.get_secret_value() for secret in config.auth.users.values()]
    assert SECRETS[name] in known
    written = [path for path in home.iterdir() if path.suffix in {".secret", ".password", ".key"}]
    assert len(written) == len(known)
    assert {stat.S_IMODE(path.stat().st_mode) for path in written} == {0o600}
    for heading in ("Taken (", "Already so (", "Cannot be expressed, or is different ("):
        assert heading in result.stderr
    assert not list(home.glob(".meshturn-*")), "nothing else is left behind"


@pytest.mark.parametrize("name", SECRETS)
def test_what_is_printed_passes_the_check(run: Run, home: Path, name: str) -> None:
    """`meshturn check` takes it, apart from the certificates, which are not on this machine."""
    config, _ = imported(run, home, name)
    result = run("check", "-c", home / "imported.yml")
    if config.tls.certificates:
        assert "tls.certificates" in result.stderr
        plain = without_tls(yaml.safe_load((home / "imported.yml").read_text()))
        (home / "imported.yml").write_text(yaml.safe_dump(plain))
        result = run("check", "-c", home / "imported.yml")
    # An own address of another machine is the one thing that is left to say.
    assert result.returncode == 0 or "10.0.0.5" in result.stderr, result.stderr


def without_tls(data: dict[str, object]) -> dict[str, object]:
    """The same configuration without TLS."""
    listeners = [item for item in data["listeners"] if item["transport"] in {"udp", "tcp"}]  # type: ignore[attr-defined]
    return {**data, "tls": None, "listeners": [{**item, "tls": False} for item in listeners]}


def test_the_matrix_guide(run: Run, home: Path) -> None:
    """The deny list of the guide is what is closed anyway, except for NAT64; relays of the server itself are open."""
    config, result = imported(run, home, "synapse.conf")
    assert (config.realm, str(config.relay.ports)) == ("turn.matrix.example.org", "49160-49260")
    assert not config.relay.tcp
    assert [str(network) for network in config.peers.allow] == ["203.0.113.20/32"]
    assert [str(network) for network in config.peers.deny] == ["64:ff9b::/96"]
    assert (config.limits.allocations_per_user, config.limits.allocations) == (12, 1200)
    assert "lines 10, 11, 12, 14" in result.stderr


def test_a_static_user_and_one_with_a_key(run: Run, home: Path) -> None:
    """A password may have colons and equals signs; coturn's 0x key stays a key."""
    config, _ = imported(run, home, "home-assistant.conf")
    users = {name: (secret.get_secret_value(), secret.hashed) for name, secret in config.auth.users.items()}
    assert users == {
        "homeassistant": ("corr3ct:horse=battery", False),
        "doorbell": ("cef419042e26acb7c5c773a864138c54", True),
    }
    assert config.relay.mobility


def test_the_debian_example_with_every_option(run: Run, home: Path) -> None:
    """coturn's own example, with every option switched on that does not switch all transports off."""
    example = Path("/etc/turnserver.conf")
    if not example.exists():
        pytest.skip("coturn is not installed")
    lines = []
    for line in example.read_text(errors="replace").splitlines():
        option = line.removeprefix("#")
        if line.startswith("#") and option[:1].isalpha() and option not in {"no-udp", "no-tcp", "no-tls", "no-dtls"}:
            lines.append(option)
    file = home / "turnserver.conf"
    file.write_text("\n".join(lines))
    result = run("import", "coturn", file)
    assert result.returncode == 0, result.stderr
    spoken_of = result.stderr
    for option in lines:
        name = option.split("=")[0].split()[0]
        assert f": {name}: " in spoken_of, name


def test_output_into_a_file(run: Run, home: Path) -> None:
    """With -o nothing is printed, secrets are beside the file with relative paths, and nothing is overwritten."""
    folder = home / "etc"
    folder.mkdir()
    output = folder / "meshturn.yml"
    result = run("import", "coturn", FILES / "nextcloud.conf", "-o", output)
    assert (result.returncode, result.stdout) == (0, ""), result.stderr
    assert "{file: turn.secret}" in output.read_text()
    assert load(output).config.realm == "cloud.example.org"
    before = output.read_text()
    again = run("import", "coturn", FILES / "nextcloud.conf", "-o", output)
    assert again.returncode == 3
    assert "not overwritten" in again.stderr
    assert output.read_text() == before


def test_secrets_elsewhere(run: Run, home: Path) -> None:
    """With --secrets the configuration names the files by their whole path."""
    folder = home / "secret place"
    folder.mkdir()
    config, result = imported(run, home, "nextcloud.conf", "--secrets", folder)
    assert str(folder / "turn.secret") in result.stdout
    assert config.auth.shared_secrets[0].secret.get_secret_value() == SECRETS["nextcloud.conf"]


def test_secrets_are_not_overwritten(run: Run, home: Path) -> None:
    """The same secret again is no conflict; another one is, and nothing is printed then."""
    for _ in range(2):
        imported(run, home, "nextcloud.conf")
    result = run("import", "coturn", FILES / "synapse.conf")
    assert (result.returncode, result.stdout) == (3, "")
    assert "not overwritten" in result.stderr
    assert (home / "turn.secret").read_text() == SECRETS["nextcloud.conf"] + "\n"


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"realm=a\nlistening-port=abc\n", ":2: listening-port"),
        (b"listening-port=70000", ":1: listening-port"),
        (b"realm=a\n\xff\xfe=1\n", ":2"),
        (b"user=nocolon", ":1: user"),
        (b"user=alice:0x1234", ":1: user"),
        (b"no-udp\nno-tcp", "switches every transport off"),
        (b"no-udp=maybe", ":1: no-udp"),
        (b"denied-peer-ip=10.0.0.9-10.0.0.1", ":1: denied-peer-ip"),
        (b"realm=" + b"a" * 2000, ":1"),
        (b"\x00realm=a", ":1"),
        (b"#" * 2**21, "a larger file"),
    ],
)
def test_broken_files(run: Run, home: Path, content: bytes, found: str) -> None:
    """An error of the file is named with its line; nothing is printed and nothing written."""
    file = home / "turnserver.conf"
    file.write_bytes(content)
    result = run("import", "coturn", file)
    assert (result.returncode, result.stdout) == (2, "")
    assert found in result.stderr
    assert list(home.iterdir()) == [file]


def test_files_that_cannot_be_read(run: Run, home: Path) -> None:
    """One that is not there, and a folder, are errors; neither is waited for."""
    for path in (home / "missing", home):
        assert run("import", "coturn", path).returncode == 2


def test_hostile_names_cannot_steer_the_terminal(run: Run, home: Path) -> None:
    """Option names and user names are text of somebody else."""
    file = home / "turnserver.conf"
    file.write_text("\x1b[31mred=1\nuser=a\u202eb\x1b[2J:password\nrealm=r\n")
    result = run("import", "coturn", file)
    assert "\x1b" not in result.stdout + result.stderr
    assert "\u202e" not in result.stdout + result.stderr
