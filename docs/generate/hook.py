"""What mkdocs does to a page: generated tables, included documents, links into the repository, and roles of Sphinx.

A page holds ``<!-- generate: settings -->`` or ``<!-- generate: commands -->`` where a table belongs, and
``<!-- include: plugins/README.md -->`` where a document of the repository belongs, which has one source only.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

import commands
import settings

ROOT = Path(__file__).resolve().parent.parent.parent
REPOSITORY = "https://github.com/synthreal/synthreal"
GENERATED = {"settings": settings.page, "commands": commands.page}
COMMENT = re.compile(r"^<!-- (generate|include): (\S+) -->$", re.MULTILINE)
LINK = re.compile(r"(\]\()([^)#\s]+)([^)]*\))")
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
ROLE = re.compile(r":(?:mod|class|func|meth|attr|data):<code>~?(.*?)</code>")


def on_page_markdown(markdown: str, *, page: Any, config: Any, files: Any) -> str:
    """Fill in generated tables and included documents, and point links at the site or at the repository."""
    here = posixpath.dirname(page.file.src_uri)
    sources = {f"docs/{file.src_uri}" for file in files}
    included = pages_of(files, config)

    def fill(found: re.Match[str]) -> str:
        if found[1] == "generate":
            return GENERATED[found[2]]()
        text = (ROOT / found[2]).read_text(encoding="utf-8")
        return relinked(text, posixpath.dirname(found[2]), here, sources, included)

    own = relinked(markdown, posixpath.join("docs", here), here, sources, included)
    return COMMENT.sub(fill, own)


def pages_of(files: Any, config: Any) -> dict[str, str]:
    """The page of the site that holds a document of the repository."""
    found = {}
    for file in files.documentation_pages():
        text = (Path(config.docs_dir) / file.src_uri).read_text(encoding="utf-8")
        for kind, name in COMMENT.findall(text):
            if kind == "include":
                found[name] = f"docs/{file.src_uri}"
    return found


def relinked(text: str, folder: str, here: str, sources: set[str], included: dict[str, str]) -> str:
    """A document of a folder of the repository, with links that work on a page in ``docs/here``."""

    def link(found: re.Match[str]) -> str:
        target = found[2]
        if "://" in target or target.startswith("mailto:"):
            return found[0]
        path = posixpath.normpath(posixpath.join(folder, target))
        path = included.get(path, path)
        if path in sources:
            return found[1] + posixpath.relpath(path, posixpath.join("docs", here)) + found[3]
        kind = "tree" if (ROOT / path).is_dir() else "blob"
        return f"{found[1]}{REPOSITORY}/{kind}/main/{path}{found[3]}"

    parts, end = [], 0
    for fence in FENCE.finditer(text):
        parts += [LINK.sub(link, text[end : fence.start()]), fence[0]]
        end = fence.end()
    return "".join([*parts, LINK.sub(link, text[end:])])


def on_page_content(html: str, **_: Any) -> str:
    """Show the roles of Sphinx in docstrings as code."""
    return ROLE.sub(r"<code>\1</code>", html)
