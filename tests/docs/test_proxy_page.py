"""The configurations on the page about proxies; ``tests/browser/test_proxies.py`` runs those of nginx and HAProxy."""

import re
from pathlib import Path

import pytest
import yaml

from turnserver.config import load_mapping

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "behind-a-proxy.md"
BLOCKS = dict(re.findall(r'^```yaml title="([^"]+)"\n(.*?)^```$', PAGE.read_text(), re.MULTILINE | re.DOTALL))
OURS = [title for title in BLOCKS if title.startswith("meshturn.yml")]


@pytest.mark.parametrize("title", OURS)
def test_the_server_takes_its_configuration(title: str) -> None:
    """And trusts somebody, without whom the proxy could tell nothing."""
    config = load_mapping(yaml.safe_load(BLOCKS[title])).config
    assert config.proxies
    assert config.serves_rooms


def test_there_is_one_for_each_way() -> None:
    assert len(OURS) == 3
    assert isinstance(yaml.safe_load(BLOCKS["dynamic.yml"]), dict)
