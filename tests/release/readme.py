"""The README as its reader follows it: chapter by chapter, files that are written, commands that are typed."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, field

from tests.docs.blocks import read
from tests.processes import ROOT

_SERVES = re.compile(
    r"make run|honcho start.*|python (?:-m dash_app|app\.py)"
    r"|dash-ws-proxy(?: --config \S+)?|dash-ws-service(?: --\w+(?: \S+\.yaml)?)*"
)
"""Commands that go on until they are stopped; all others end."""


@dataclass
class Chapter:
    """A chapter. files: text by name. commands: lines to type, in order, without their comments."""

    title: str
    files: dict[str, str] = field(default_factory=dict)
    commands: list[str] = field(default_factory=list)

    @property
    def serving(self) -> list[str]:
        return [command for command in self.commands if serves(command)]


def serves(command: str) -> bool:
    return _SERVES.fullmatch(command) is not None


def chapters(page: str | None = None) -> list[Chapter]:
    """Return the chapters of the README that have something to do; the opening is the first. page: its text."""
    text = (ROOT / "README.md").read_text("utf-8") if page is None else page
    found = [_read(part) for part in re.split(r"^##+ ", text, flags=re.MULTILINE)]
    return [chapter for chapter in found if chapter.files or chapter.commands]


def _read(part: str) -> Chapter:
    chapter = Chapter(part.partition("\n")[0])
    for block in read("README.md", part):
        before = "".join(part.splitlines(keepends=True)[: block.line - 1])
        if block.kind == "sh":
            lines = (shlex.split(line, comments=True) for line in block.text.splitlines())
            chapter.commands += [shlex.join(words) for words in lines if words]
        elif name := _name(block.text, before):
            chapter.files[name] = block.text
    return chapter


def _name(text: str, before: str) -> str | None:
    """Return the file that a block is: a comment in its first line names it, or the sentence before, with a colon."""
    named = re.match(r"(?:#|//) (\w[\w/.-]*\.\w+)\n", text) or re.search(
        r"`(\w[\w/.-]*\.(?:py|js|yaml|css))`[^`]*:\s*(?:<!--.*-->\s*)?\Z", before
    )
    return named[1] if named else None
