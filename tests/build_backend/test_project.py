"""Version and project description, taken from the files that have them."""

from pathlib import Path

import pytest

from build_backend.project import description, version
from turnserver import __version__


def test_the_version_is_that_of_the_package() -> None:
    assert version() == __version__


@pytest.mark.parametrize("text", ["", "__version__ = str(1)\n", "VERSION = '1.0'\n"])
def test_no_version(tmp_path: Path, text: str) -> None:
    (tmp_path / "turnserver").mkdir()
    (tmp_path / "turnserver" / "__init__.py").write_text(text)
    with pytest.raises(ValueError, match="__version__"):
        version(tmp_path)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("[the reference](docs/configuration.md)", "the reference (`docs/configuration.md`)"),
        ("[its part](docs/api.md#tokens)", "its part (`docs/api.md`)"),
        ("[`conf/meshturn.yml`](conf/meshturn.yml)", "`conf/meshturn.yml`"),
        ("[two\nlines](docs/a.md)", "two\nlines (`docs/a.md`)"),
        ("[below](#install)", "below"),
        (
            "[RFC](https://example.org/a) [mail](mailto:a@example.org)",
            "[RFC](https://example.org/a) [mail](mailto:a@example.org)",
        ),
        ("`a[b](c)` [d](e)", "`a[b](c)` d (`e`)"),
        ("```js\nf[0](x)\n```\n[d](e)", "```js\nf[0](x)\n```\nd (`e`)"),
        ("call[0] (or not)", "call[0] (or not)"),
    ],
)
def test_links(tmp_path: Path, before: str, after: str) -> None:
    """Links into the repository become names of files; others, and code, stay."""
    (tmp_path / "README.md").write_text(before)
    text = description(tmp_path)
    assert text.startswith(after + "\n")
    assert "source distribution" in text.removeprefix(after)
