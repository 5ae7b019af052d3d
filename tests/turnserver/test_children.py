"""What a process that the server starts gets of its environment."""

import os
import subprocess
import sys

import pytest

from turnserver.children import child_environment


@pytest.mark.process
def test_modules_are_found_and_nothing_else_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MESHTURN_AUTH__SHARED_SECRETS", "hush")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush")
    monkeypatch.setenv("TZ", "UTC")
    variables = child_environment()
    assert "hush" not in str(variables)
    assert (variables["PATH"], variables["TZ"]) == (os.environ["PATH"], "UTC")
    code = "import os, turnserver; print('hush' in os.environ.values())"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], env=variables, capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("False\n", "")
