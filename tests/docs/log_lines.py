"""Whether a line that a document shows is one that the programs write: it is compared with the texts in the source."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import uvicorn

from tests.processes import ROOT

_PLACE = re.compile(r"%(?:\(\w+\))?[-+ #0]*\d*(?:\.\d+)?[sdrfgx]")


_FEW = 7
"""Characters; a text with fewer of its own says nothing."""


@cache
def texts() -> set[str]:
    """Return the texts of the programs, and of uvicorn's reloader, which writes into the same log."""
    modules = [path for package in ("proxy", "ws_service") for path in (ROOT / package).rglob("*.py")]
    modules += Path(uvicorn.__file__).parent.glob("supervisors/*.py")
    return {text for path in modules for text in _texts(path)}


@cache
def patterns() -> list[re.Pattern[str]]:
    """Return an expression for each text that is long enough."""
    return [_pattern(text) for text in sorted(texts()) if len(text.replace("\0", "").strip()) >= _FEW]


def _texts(path: Path) -> Iterator[str]:
    """Yield the strings of a module; what is put into an f-string or a ``%s`` is a NUL."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "\0" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and "\n\n" not in node.value:
            yield _PLACE.sub("\0", node.value).replace("%%", "%")


@cache
def words() -> set[str]:
    """Return the words of all of these texts."""
    return {word for text in texts() for word in re.findall(r"[A-Za-z]+", text)}


def _pattern(text: str) -> re.Pattern[str]:
    """Return what a text can become; at its beginning or end, a value is all that is there."""
    first, last = text.startswith("\0"), text.endswith("\0")
    inside = "(.*?)".join(re.escape(part) for part in text.strip("\0").split("\0"))
    return re.compile(f"{'^(.*?)' if first else ''}{inside}{'(.*)$' if last else ''}")


def is_written(line: str) -> bool:
    """Tell whether one of the programs writes such a line: texts of theirs make up nearly all of it, but its level."""
    line = re.sub(r"^(?:DEBUG|INFO|WARNING|ERROR) ", "", line.strip())
    matches = [match for pattern in patterns() if (match := pattern.search(line))]
    covered = {place for match in matches for place in _places(match)}
    return len(covered) >= 0.9 * len(line)


def _places(match: re.Match[str]) -> set[int]:
    """Return the places of a line that a text explains: its own, and values; a value has no word that is in no text."""
    found = set(range(*match.span()))
    for group in range(1, match.re.groups + 1):
        said = [word.rstrip(",.;:") for word in match[group].split()]
        if len(said) > 1 and not {word for word in said if word.isalpha() and word.islower()} <= words():
            found -= set(range(*match.span(group)))
    return found
