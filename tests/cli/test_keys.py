"""``meshturn keys``: what is written, what is shown, and a running server that follows."""

import json
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cli.exit_codes import ExitCode
from turnserver.signaling.edge.key_file import MAX_STORED, KeyFile

Run = Callable[..., "subprocess.CompletedProcess[str]"]
Start = Callable[..., Any]
Write = Callable[[str], Path]

CONFIG = """
listeners:
  - {transport: shared, tls: false, address: 127.0.0.1, port: %d}
auth: {shared_secrets: [a-secret-of-this-test-0123456789]}
signaling:
  keys_file: keys.json
  admin_keys: {ops: an-admin-key-of-this-test}
"""


def create(run: Run, *arguments: object) -> dict[str, Any]:
    result = run("keys", "create", *arguments, "--json")
    assert result.returncode == 0, result.stderr
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_only_the_key_is_on_standard_output(run: Run, tmp_path: Path) -> None:
    """So that it can be redirected into a file; the rest is for people."""
    path = tmp_path / "keys.json"
    result = run(
        "keys", "create", "website", "--scope", "turn", "--scope", "tokens", "--ttl", "30d", "--keys-file", path
    )
    assert result.returncode == 0
    (secret,) = result.stdout.splitlines()
    assert secret.startswith("mtk_")
    assert "website, allows turn, tokens until" in result.stderr
    assert secret not in result.stderr
    assert secret not in path.read_text()
    (key,) = KeyFile(path).read()
    assert (key.name, sorted(key.scopes)) == ("website", ["tokens", "turn"])
    assert key.expires == key.created + 30 * 86400
    assert f"keys revoke {key.id}" in result.stderr


def test_a_running_server_follows(start: Start, run: Run, write: Write, free_port: Callable[[], int]) -> None:
    """Created, used, revoked and refused, without a signal; the log has the name and never the key."""
    port = free_port()
    path = write(CONFIG % port)
    server = start("serve", "-c", path)
    server.until("ready")

    def asks(key: str, where: str = "rooms") -> int:
        request = urllib.request.Request(f"http://127.0.0.1:{port}/v1/{where}")
        request.add_header("Authorization", f"Bearer {key}")
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code

    made = create(run, "backup", "--scope", "admin:read", "-c", path)
    second = create(run, "backup", "--scope", "turn", "-c", path)
    assert (asks(made["key"]), asks(second["key"]), asks(second["key"], "turn")) == (200, 403, 200)
    assert run("keys", "revoke", made["id"], "-c", path).returncode == 0
    assert (asks(made["key"]), asks(second["key"], "turn")) == (401, 200)
    assert asks("an-admin-key-of-this-test") == 200
    key_file = path.parent / "a.key"
    key_file.write_text(create(run, "reader", "--scope", "rooms", "-c", path)["key"] + "\n")
    listed = run("rooms", "list", "--url", f"http://127.0.0.1:{port}", "--key-file", key_file)
    assert (listed.returncode, listed.stdout) == (0, "There are no rooms now.\n")
    refused = run("drain", "--url", f"http://127.0.0.1:{port}", "--key-file", key_file)
    assert refused.returncode == ExitCode.FAILED
    assert "needs a key with the scope admin; the one given has the scope rooms" in " ".join(refused.stderr.split())
    code, log = server.stop()
    assert code == 0
    assert "API keys read" in log
    assert "key=backup" in log
    assert "mtk_" not in log


def test_lists(run: Run, write: Write) -> None:
    """Those of the file and of the configuration, by name and never themselves."""
    path = write(CONFIG % 8080)
    made = create(run, "website", "--scope", "turn", "-c", path)
    result = run("keys", "list", "-c", path)
    assert result.returncode == 0
    for word in (made["id"], "website", "turn", "ops", "admin", "signaling.admin_keys"):
        assert word in result.stdout
    found = json.loads(run("keys", "list", "-c", path, "--json").stdout)
    assert found["file"] == str(path.parent / "keys.json")
    mine, configured = found["keys"]
    assert (mine["id"], mine["scopes"], mine["expires_at"], mine["expired"]) == (made["id"], ["turn"], None, False)
    assert (configured["id"], configured["name"], configured["scopes"]) == (None, "ops", ["admin"])
    for secret in (made["key"], made["key"][4:], "an-admin-key-of-this-test"):
        assert secret not in result.stdout + json.dumps(found)


def test_what_is_over_says_so(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    create(run, "website", "--scope", "turn", "--ttl", "1s", "--keys-file", path)
    KeyFile(path).change(lambda present: [key._replace(expires=1) for key in present])
    assert "1970-01-01 00:00 UTC (over)" in run("keys", "list", "--keys-file", path).stdout
    assert json.loads(run("keys", "list", "--keys-file", path, "--json").stdout)["keys"][0]["expired"]


def test_revoking_by_name(run: Run, tmp_path: Path) -> None:
    """Only where it is clear which is meant."""
    path = tmp_path / "keys.json"
    where = ("--keys-file", path)
    first = create(run, "website", "--scope", "turn", *where)
    assert run("keys", "revoke", "website", *where).stdout == f"The key {first['id']}, website, is revoked.\n"
    ids = [create(run, "website", "--scope", "turn", *where)["id"] for _ in range(2)]
    result = run("keys", "revoke", "website", *where)
    assert result.returncode == ExitCode.USAGE
    assert all(each in result.stderr for each in ids)
    assert len(KeyFile(path).read()) == 2
    found = json.loads(run("keys", "revoke", "website", "--all", *where, "--json").stdout)
    assert [each["id"] for each in found["revoked"]] == ids
    assert KeyFile(path).read() == ()
    result = run("keys", "revoke", "website", *where)
    assert (result.returncode, "There is no key website" in result.stderr) == (ExitCode.FAILED, True)
    assert json.loads(run("keys", "revoke", "website", "--json", *where).stdout)["error"]["code"] == "not_found"


def test_for_meshturn_up(run: Run, home: Path) -> None:
    """Without a configuration it is a file that `meshturn up` names."""
    from cli.state import StateDirectory

    state = StateDirectory(home / "state")
    create(run, "me", "--scope", "admin", "--state-dir", state.path)
    assert [key.name for key in KeyFile(state.keys_path).read()] == ["me"]
    listed = run("keys", "list", env={"MESHTURN_STATE_DIR": str(state.path)})
    assert " me " in listed.stdout


@pytest.mark.parametrize(
    "arguments",
    [["a b", "--scope", "turn"], ["x" * 65, "--scope", "turn"], ["a"], ["a", "--scope", "root"], ["--scope", "turn"],
     ["a", "--scope", "turn", "--ttl", "0"], ["a", "--scope", "turn", "--ttl", "never"]],
)  # fmt: skip
def test_what_is_no_key(run: Run, tmp_path: Path, arguments: list[str]) -> None:
    result = run("keys", "create", *arguments, "--keys-file", tmp_path / "keys")
    assert (result.returncode, result.stdout) == (ExitCode.USAGE, "")
    assert not (tmp_path / "keys").exists()


def test_a_configuration_that_names_no_file(run: Run, write: Write) -> None:
    result = run("keys", "create", "a", "--scope", "turn", "-c", write("{}"))
    assert result.returncode == ExitCode.USAGE
    assert "signaling.keys_file" in result.stderr


def test_a_file_that_cannot_be_used(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_text("{")
    for arguments in (["create", "a", "--scope", "turn"], ["list"], ["revoke", "a"]):
        result = run("keys", *arguments, "--keys-file", path)
        assert (result.returncode, result.stdout) == (ExitCode.CANNOT_START, "")
        assert "it is not JSON" in result.stderr
    assert path.read_text() == "{"


def test_a_full_file(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "keys"
    create(run, "a", "--scope", "turn", "--keys-file", path)
    KeyFile(path).change(lambda present: [present[0]] * MAX_STORED)
    result = run("keys", "create", "b", "--scope", "turn", "--keys-file", path)
    assert (result.returncode, result.stdout) == (ExitCode.CANNOT_START, "")
    assert f"{MAX_STORED} keys" in result.stderr


def test_check_shows_the_names(run: Run, write: Write) -> None:
    path = write(CONFIG % 8080)
    create(run, "website", "--scope", "turn", "--scope", "rooms", "-c", path)
    assert "ops (admin), website (turn, rooms)" in run("check", "-c", path).stdout
    (path.parent / "keys.json").write_text("{")
    result = run("check", "-c", path)
    assert result.returncode == ExitCode.USAGE
    assert "signaling.keys_file" in result.stderr
