"""Hooks of the documentation site (properdocs.yml), which adapt Markdown files of the repository to the site.

In the repository, a link may lead to any file. The site has pages only. So the hooks add the pages of the repository's
root to the site, and replace links to other files by their text. A link to a file that does not exist is a warning,
which fails a strict build.
"""

import logging
import re
from pathlib import Path

from properdocs.config.defaults import ProperDocsConfig
from properdocs.structure.files import File, Files
from properdocs.structure.pages import Page

__all__ = ["ROOT_PAGES", "on_files", "on_page_markdown"]

ROOT_PAGES = ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")
"""Pages of the repository's root that are added to the site, under their names in lower case."""

LINK = re.compile(r"(?<!!)\[(?P<text>[^\]]+)\]\((?P<target>[^)\s]+)\)")

log = logging.getLogger("properdocs.hooks.meshturn")


def on_files(files: Files, *, config: ProperDocsConfig) -> Files:
    """Add the pages of the repository's root."""
    root = Path(config.docs_dir).parent
    for name in ROOT_PAGES:
        text = (root / name).read_text(encoding="utf-8")
        files.append(File.generated(config, name.lower(), content=_as_in_docs(text)))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: ProperDocsConfig, files: Files) -> str:
    """Replace links to files that are in the repository but not on the site by their text."""
    docs = Path(config.docs_dir).resolve()
    folder = (docs / page.file.src_uri).parent

    def replaced(link: re.Match[str]) -> str:
        target = link["target"].partition("#")[0]
        if not target or re.match(r"[a-z]+:", target):
            return link[0]
        path = (folder / target).resolve()
        if path.is_relative_to(docs):
            return link[0]
        if path.parent == docs.parent and path.name in ROOT_PAGES:
            up = "../" * (len(folder.relative_to(docs).parts))
            return f"[{link['text']}]({up}{path.name.lower()})"
        if not path.exists():
            log.warning("Doc file '%s' links to '%s', which the repository does not have.", page.file.src_uri, target)
        return link["text"]

    return LINK.sub(replaced, markdown)


def _as_in_docs(text: str) -> str:
    """The text of a file of the root, with its links changed as if the file were in docs/."""

    def moved(link: re.Match[str]) -> str:
        target = link["target"]
        if target.startswith("#") or re.match(r"[a-z]+:", target):
            return link[0]
        return f"[{link['text']}]({target[5:] if target.startswith('docs/') else '../' + target})"

    return LINK.sub(moved, text)
