"""`make docs`: the site builds strictly, in the order of its four parts, and fetches nothing from anywhere else."""

import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
READ = ("docs", "auth", "meshturn", "stun", "turnserver")
"""Folders that a build reads: the pages, and the sources whose docstrings the reference shows."""


def build(project: Path, site: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "properdocs", "build", "--site-dir", str(site)]
    return subprocess.run(command, cwd=project, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    result = build(ROOT, folder)
    assert result.returncode == 0, result.stderr
    assert "WARNING" not in result.stderr
    return folder


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy that a test can break."""
    for path in (*ROOT.glob("*.md"), ROOT / "properdocs.yml"):
        shutil.copy(path, tmp_path)
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    shutil.copytree(ROOT / "tests" / "turnserver" / "signaling", tmp_path / "tests" / "turnserver" / "signaling")
    for folder in READ[1:]:
        if (ROOT / folder).exists():
            (tmp_path / folder).symlink_to(ROOT / folder)
    return tmp_path


class Page(HTMLParser):
    """What one built page loads by itself, its links, and its navigation's captions."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.captions: list[str] = []
        self._in_caption = False
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if values.get("src"):
            self.loads.append(values["src"] or "")
        if tag == "link" and values.get("rel") != "canonical":
            self.loads.append(values.get("href") or "")
        self._in_caption = values.get("class") == "caption" or (self._in_caption and tag == "span")

    def handle_data(self, data: str) -> None:
        if self._in_caption and data.strip():
            self.captions.append(data.strip())
            self._in_caption = False


def test_the_parts_stand_in_order(site: Path) -> None:
    assert Page(site / "index.html").captions == ["Tutorial", "How-to", "Reference", "Explanation"]


def test_every_page_of_the_repository_is_on_the_site(site: Path) -> None:
    pages = {path.relative_to(ROOT / "docs") for path in (ROOT / "docs").rglob("*.md")}
    pages |= {Path(name) for name in ("changelog.md", "contributing.md", "security.md")}
    assert [page for page in sorted(pages) if not (site / page.with_suffix(".html")).is_file()] == []
    assert list(site.rglob("*.py")) == []


def test_pages_load_nothing_from_elsewhere(site: Path) -> None:
    """Neither by an element nor by a style sheet; and what they load is there."""
    for path in site.rglob("*.html"):
        loads = Page(path).loads
        assert loads
        for target in loads:
            assert not re.match(r"(https?:)?//", target), f"{path.name} loads {target}"
            if path.name != "404.html" and not target.startswith("data:"):
                assert (path.parent / target.partition("?")[0].partition("#")[0]).exists(), f"{path.name}: {target}"
    for path in site.rglob("*.css"):
        assert not re.search(r"(url\(|@import)\s*['\"]?(https?:)?//", path.read_text(encoding="utf-8")), path


def test_what_leads_nowhere_fails_the_build(project: Path, tmp_path: Path) -> None:
    """A link to a page, an anchor, a file or an object that does not exist, and a page that is in no part."""
    broken = "[a](gone.md) [b](api.md#gone) [c](../gone.py) [d](/absolute.md) [e][stun.message.Gone]"
    with (project / "docs" / "index.md").open("a", encoding="utf-8") as page:
        page.write(f"\n\n{broken}\n")
    (project / "docs" / "lost.md").write_text("# Lost\n", encoding="utf-8")
    result = build(project, tmp_path / "site")
    assert result.returncode != 0
    complaints = ("'gone.md'", "'#gone'", "'../gone.py'", "'/absolute.md'", "'stun.message.Gone'", "lost.md")
    assert [what for what in complaints if what not in result.stderr] == []
    assert result.stderr.count("WARNING") == len(complaints)
    assert f"Aborted with {len(complaints)} warnings in strict mode" in result.stdout + result.stderr


def test_documentation_of_what_does_not_exist_fails_the_build(project: Path, tmp_path: Path) -> None:
    with (project / "docs" / "index.md").open("a", encoding="utf-8") as page:
        page.write("\n\n::: stun.message.Gone\n")
    result = build(project, tmp_path / "site")
    assert result.returncode != 0
    assert "stun.message.Gone could not be found" in result.stderr


def test_links_out_of_the_site_are_text(site: Path) -> None:
    """The transcripts are in the repository and not on the site."""
    page = (site / "signaling.html").read_text(encoding="utf-8")
    assert "tests/turnserver/signaling/transcripts/" in page
    assert "../tests/" not in page
