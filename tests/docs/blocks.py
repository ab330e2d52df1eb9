"""The blocks of code in the documents, each with its kind, and with what a comment before it says of it.

The kind is the word after the three backticks; ``test_blocks.py`` runs each by its kind. A comment in the line before a
block, which no reader sees, says more:

``<!-- tested by: tests/system/test_auth.py::test_name -->``
    That test runs the block; its kind alone would not do.
``<!-- given: user = "ada" -->``
    Python that stands before a block of Python, because the page tells it in words.
``<!-- not run: why -->``
    It cannot be run.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from tests.processes import ROOT

NOTES = ("tested by", "given", "not run")

_BLOCK = re.compile(
    r"(?:^[ ]*<!-- (?P<notes>(?:(?!-->).)*) -->\n\n?)?"
    r"^(?P<indent>[ ]*)```(?P<kind>[^\n`]*)\n(?P<text>.*?)^(?P=indent)```[ ]*$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Block:
    """A block. document: its path from the root. line: of its first backticks. notes: what the comment says."""

    document: str
    line: int
    kind: str
    text: str
    notes: dict[str, str]

    def __str__(self) -> str:
        return f"{self.document}:{self.line}"


def documents() -> list[str]:
    """Return the documents whose blocks are run."""
    pages = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md"))
    examples = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "examples").rglob("*.md"))
    return ["README.md", "CONTRIBUTING.md", *pages, *examples]


def read(document: str, source: str | None = None) -> Iterator[Block]:
    """Yield the blocks of a document. source: its text; None: that of the file."""
    text = (ROOT / document).read_text("utf-8") if source is None else source
    for match in _BLOCK.finditer(text):
        indent = match["indent"]
        lines = [line.removeprefix(indent) for line in match["text"].splitlines(keepends=True)]
        line = text.count("\n", 0, match.end("indent")) + 1
        yield Block(document, line, match["kind"].strip(), "".join(lines), _notes(match["notes"] or ""))


def _notes(comment: str) -> dict[str, str]:
    name, colon, value = comment.partition(": ")
    return {name: value} if colon and name in NOTES else {}


def blocks(document: str, kind: str) -> list[str]:
    """Return the texts of a document's blocks of one kind."""
    return [block.text for block in read(document) if block.kind == kind]


def all_blocks(*kinds: str) -> list[Block]:
    """Return the blocks of all documents; with kinds, those that are run by one of these kinds alone."""
    found = [block for document in documents() for block in read(document)]
    return [
        block for block in found if not kinds or (block.kind in kinds and not {"tested by", "not run"} & {*block.notes})
    ]
