"""The navigation of the site: docs/navigation.yaml becomes toctrees, which the pages do not show on GitHub."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import yaml
from sphinx.application import Sphinx

FILE = "docs/navigation.yaml"

Pages = list[str | dict[str, str | list[str]]]
"""Pages in order. A page alone, with what it is called in the navigation, or with the pages below it."""


def toctrees(text: str, documents: set[str], home: str) -> dict[str, str]:
    """Return the directives for a navigation file, by the page that holds them.

    text: of the file. documents: all pages; those that "x/*" stands for are taken in order. home: the page that holds
    the directives of the top.
    """
    listed = yaml.safe_load(text)
    named = set(_names([page for pages in listed.values() for page in pages]))
    found: dict[str, list[str]] = {}

    def entries(pages: Pages) -> Iterator[str]:
        for page in pages:
            if isinstance(page, dict):
                for name, value in page.items():
                    if isinstance(value, str):
                        yield f"{value} </{name}>"
                    else:
                        found[name] = [_directive(entries(value), "hidden", "titlesonly")]
                        yield f"/{name}"
            elif "*" in page:
                yield from (f"/{each}" for each in sorted(documents - named) if fnmatch(each, page))
            else:
                yield f"/{page}"

    top = [_directive(entries(pages), f"caption: {caption}", "hidden") for caption, pages in listed.items() if pages]
    return {page: "\n".join(blocks) for page, blocks in {**found, home: top}.items()}


def _names(pages: Pages) -> Iterator[str]:
    for page in pages:
        if isinstance(page, dict):
            yield from page
        else:
            yield page


def _directive(pages: Iterator[str], *options: str) -> str:
    lines = [*(f":{option}" if ":" in option else f":{option}:" for option in options), ""]
    return "\n".join(["```{toctree}", *lines, *pages, "```", ""])


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
