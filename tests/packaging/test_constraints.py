"""``pip install -c conf/constraints.txt``: it resolves, and leaves no version to chance."""

import json

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.packaging.conftest import ROOT, Environment


def test_everything_installed_is_of_the_version_that_is_named(environment: Environment) -> None:
    """What dependencies need in turn is among it, or a release of theirs could break a server that nobody changed."""
    lines = (ROOT / "conf" / "constraints.txt").read_text(encoding="utf-8").splitlines()
    named = {}
    for line in lines:
        if line and not line.lstrip().startswith("#"):
            pin = Requirement(line)
            if pin.marker is None or pin.marker.evaluate():
                (named[canonicalize_name(pin.name)],) = (one.version for one in pin.specifier)
    listed = json.loads(environment.pip("list", "--format", "json"))
    installed = {canonicalize_name(one["name"]): one["version"] for one in listed}
    assert {name: version for name, version in installed.items() if name != "meshturn"} == named
    environment.pip("check")
