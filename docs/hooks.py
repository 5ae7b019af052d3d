"""Hooks of the documentation site (properdocs.yml): what a page of the site needs and a page on GitHub does not.

The Markdown files are read in two places: in the repository, where a link may lead to any file, and on the site, which
has the pages only. The hooks bring the files of the repository's root into the site and turn links that leave it into
plain text. A link that leads nowhere in either place is a warning, which fails a strict build.
"""

import logging
import re
from pathlib import Path

from properdocs.config.defaults import ProperDocsConfig
from properdocs.structure.files import File, Files
from properdocs.structure.pages import Page

__all__ = ["ROOT_PAGES", "on_files", "on_page_markdown"]

ROOT_PAGES = ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")
"""Pages of the repository's root that the site has as well, under their names in small letters."""

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
    """The text of a file of the root, with its links as if it stood in docs/."""

    def moved(link: re.Match[str]) -> str:
        target = link["target"]
        if target.startswith("#") or re.match(r"[a-z]+:", target):
            return link[0]
        return f"[{link['text']}]({target[5:] if target.startswith('docs/') else '../' + target})"

    return LINK.sub(moved, text)
