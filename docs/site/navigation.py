"""The navigation of the site: docs/navigation.yaml becomes toctrees, which the pages do not show on GitHub."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import yaml
from sphinx.application import Sphinx

FILE = "docs/navigation.yaml"


def toctrees(text: str, documents: set[str], home: str) -> dict[str, str]:
    """Return the directives for a navigation file, by the page that holds them.

    text: of the file. documents: all pages; those that "x/*" stands for are taken in order. home: the page that holds
    the directives of the top.
    """
    listed = yaml.safe_load(text)
    named = set(_names([page for pages in listed.values() for page in pages]))
    found: dict[str, list[str]] = {}

    def entries(pages: list[str | dict[str, list[str]]]) -> Iterator[str]:
        for page in pages:
            if isinstance(page, dict):
                for parent, children in page.items():
                    found[parent] = [_directive(entries(children), "hidden", "titlesonly")]
                    yield parent
            elif "*" in page:
                yield from sorted(each for each in documents - named if fnmatch(each, page))
            else:
                yield page

    top = [_directive(entries(pages), f"caption: {caption}", "hidden") for caption, pages in listed.items() if pages]
    return {page: "\n".join(blocks) for page, blocks in {**found, home: top}.items()}


def _names(pages: list[str | dict[str, list[str]]]) -> Iterator[str]:
    for page in pages:
        if isinstance(page, dict):
            yield from page
        else:
            yield page


def _directive(pages: Iterator[str], *options: str) -> str:
    lines = [*(f":{option}" if ":" in option else f":{option}:" for option in options), ""]
    return "\n".join(["```{toctree}", *lines, *(f"/{page}" for page in pages), "```", ""])


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the extension."""

    def add(app: Sphinx, name: str, source: list[str]) -> None:
        text = (Path(app.srcdir) / FILE).read_text("utf-8")
        added = toctrees(text, set(app.env.found_docs), app.config.root_doc).get(name)
        if added:
            source[0] += f"\n\n{added}\n"
            app.env.note_dependency(FILE)

    app.connect("source-read", add)
    return {"parallel_read_safe": True}
