"""The words of this project are the field's words: a list of those that are not, and what to write instead.

Checked are the text of the code (names, comments, docstrings, log lines) and of the documents, and in tests the names.
``git grep`` finds nothing for a reader who knows reverse proxies and looks for "retry" where the code says "patience".
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

TEXTS = (
    "proxy",
    "ws_service",
    "dash_app",
    "docs",
    "examples",
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "config.yaml",
    "pyproject.toml",
    "Makefile",
    "Procfile",
)
"""Files and folders whose whole text is checked."""

NAMES = ("tests",)
"""Folders of which only the names are checked: of files, classes, functions, arguments and variables."""

SUFFIXES = (".py", ".md", ".yaml", ".toml", ".js", ".css")


FOREIGN = ("ws_service/dash/js/centrifuge.js",)
"""Files of other authors, kept as they were released."""


@dataclass(frozen=True)
class Word:
    """A word, or words, that this project does not use.

    pattern: an expression for the word in lower case; a space stands for white space, a hyphen or an underscore.
    instead: what to write. allowed: expressions for the places where the word is the right one.
    """

    pattern: str
    instead: str
    allowed: tuple[str, ...] = ()

    @cached_property
    def expression(self) -> re.Pattern[str]:
        return _expression(self.pattern)

    @cached_property
    def exceptions(self) -> tuple[re.Pattern[str], ...]:
        return tuple(map(_expression, self.allowed))


def _expression(pattern: str) -> re.Pattern[str]:
    spaced = pattern.replace(" ", r"[\s#_-]+")
    return re.compile(rf"(?<![a-z])(?:{spaced})(?![a-z])", re.IGNORECASE)


WORDS = (
    Word("houses?", "module, project"),
    Word("rooms?", "module, request queue", allowed=("room for", "makes? room", "join room")),
    Word("doors?", "listener, acceptor, interface"),
    Word("streets?|floors?|laws?", "layer, rule"),
    Word("patience|patient", "timeout"),
    Word("express", "fast path"),
    Word("(?:see|sees|seen|seeing) off", "drain, close"),
    Word("farewells?|goodbyes?", "close frame, closing handshake, lingering close"),
    Word("last calls?", "accept the backlog"),
    Word("last words", "bytes received before a reset"),
    Word("turn(?:s|ed)? away", "reject"),
    Word("tally|tallies", "counter"),
    Word("entrances?", "connection limiter"),
    Word("guards?", "auth rule, check", allowed=("import guard",)),
    Word("hijack(?:s|ed|ing)?", "take the socket"),
    Word("ways? out|our own ways?", "upstream, path; of a function: return, exit"),
    Word("whoever|whomever", "the client, the upstream, the operator"),
    Word(
        "somebody|anybody|everybody|nobody",
        "the client, the upstream, no client, all clients",
        allowed=("notify everybody",),  # an example's name; these are people
    ),
    Word("unwell", "degraded"),
    Word("(?:is|was|are|be|upstreams?|health) away", "unreachable"),
    Word("believe(?:s|d)?", "trust"),
    Word("plain (?:exchange|request|message|answer|response)s?", "simple"),
    Word("(?:a|its|the|cached) yes", "a 2xx, allowed"),
)


def findings(path: str, text: str) -> list[tuple[int, str]]:
    """Return (line, the word and what to write instead) for each word in a text that does not belong there.

    path: of the file; its own words are checked too, and are at line 1.
    """
    lines = "\n".join([path, text]).splitlines()
    # A CamelCase name is a row of words. A new line stays one, so that lines can be counted.
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", "\n".join(lines))
    found = []
    for word in WORDS:
        taken = [range(*match.span()) for allowed in word.exceptions for match in allowed.finditer(spaced)]
        for match in word.expression.finditer(spaced):
            if not any(match.start() in span for span in taken):
                line = max(1, spaced.count("\n", 0, match.start()))
                found.append((line, f"{' '.join(match[0].split())}: write {word.instead}"))
    return sorted(found)


def names_of(source: str) -> str:
    """Return the names that a Python module gives, each on its line."""
    lines = [""] * (source.count("\n") + 2)
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            lines[node.lineno] += f" {node.name}"
        elif isinstance(node, ast.arg):
            lines[node.lineno] += f" {node.arg}"
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            lines[node.lineno] += f" {node.id}"
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            lines[node.lineno] += f" {node.attr}"
    return "\n".join(lines[1:])


def findings_in(root: Path) -> Iterator[tuple[str, int, str]]:
    """Yield (file, line, what is wrong) for all files of the repository that are checked."""
    for path in (path for name in (*TEXTS, *NAMES) for path in _files(root / name)):
        name, text = path.relative_to(root).as_posix(), path.read_text("utf-8")
        if name.startswith("tests/checks/") or name in FOREIGN:
            continue  # the words are the subject of the first
        if name.startswith(NAMES):
            text = names_of(text) if path.suffix == ".py" else ""
        for line, what in findings(name, text):
            yield name, line, what


def _files(place: Path) -> list[Path]:
    if place.is_file():
        return [place]
    return sorted(path for path in place.rglob("*") if path.suffix in SUFFIXES)
