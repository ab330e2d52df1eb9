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
def patterns() -> list[re.Pattern[str]]:
    """Return an expression for each text of the programs, and of uvicorn's reloader, which writes into the same log."""
    modules = [path for package in ("proxy", "ws_service") for path in (ROOT / package).rglob("*.py")]
    modules += Path(uvicorn.__file__).parent.glob("supervisors/*.py")
    found = {text for path in modules for text in _texts(path)}
    return [_pattern(text) for text in sorted(found) if len(text.replace("\0", "").strip()) >= _FEW]


def _texts(path: Path) -> Iterator[str]:
    """Yield the strings of a module; what is put into an f-string or a ``%s`` is a NUL."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "\0" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and "\n\n" not in node.value:
            yield _PLACE.sub("\0", node.value).replace("%%", "%")


def _pattern(text: str) -> re.Pattern[str]:
    """Return what a text can become; at its beginning or end, a value is all that is there."""
    first, last = text.startswith("\0"), text.endswith("\0")
    inside = ".*?".join(re.escape(part) for part in text.strip("\0").split("\0"))
    return re.compile(f"{'^.*?' if first else ''}{inside}{'.*$' if last else ''}")


def is_written(line: str) -> bool:
    """Tell whether one of the programs writes such a line: texts of theirs make up nearly all of it, but its level."""
    line = re.sub(r"^(?:DEBUG|INFO|WARNING|ERROR) ", "", line.strip())
    spans = [match.span() for pattern in patterns() if (match := pattern.search(line))]
    covered = {place for start, end in spans for place in range(start, end)}
    return len(covered) >= 0.9 * len(line)
