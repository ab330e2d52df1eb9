"""References in documents and comments: files of this repository, links, and headings of other documents."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

DOCUMENTS = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/**/*.md", "examples/**/README.md")
SOURCES = ("proxy/**/*.py", "proxy/**/*.html", "ws_service/**/*.py", "dash_app/**/*.py", "benchmarks/**/*.py")

_FILE = re.compile(
    r"(?<![\w/.])((?:proxy|ws_service|dash_app|tests|docs|benchmarks)/[\w/.-]*\w\.(?:py|md|js|json|svg))\b"
    r"(?:#([\w-]+))?"
)
_LINK = re.compile(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)")
_CODE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


def anchors(document: str) -> set[str]:
    """Return the anchors of a document's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", _CODE.sub("", document), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", re.sub(r"[`*]", "", title).lower()).replace(" ", "-") for title in titles}


def findings(root: Path) -> Iterator[tuple[str, int, str]]:
    """Yield (file, line, what is wrong) for what leads nowhere."""
    for path in (path for pattern in (*DOCUMENTS, *SOURCES) for path in sorted(root.glob(pattern))):
        name, text = path.relative_to(root).as_posix(), path.read_text("utf-8")
        for match in _FILE.finditer(text):
            line = text.count("\n", 0, match.start()) + 1
            if not (root / match[1]).exists():
                yield name, line, f"there is no {match[1]}"
            elif path.suffix != ".md" and match[2] and match[2] not in anchors((root / match[1]).read_text("utf-8")):
                yield name, line, f"{match[1]} has no heading #{match[2]}"
        if path.suffix == ".md":
            for match in _LINK.finditer(text):
                target = (path.parent / match[1]).resolve() if match[1] else path
                line = text.count("\n", 0, match.start()) + 1
                if not target.exists():
                    yield name, line, f"there is no {match[1]}"
                elif match[2] and match[2] not in anchors(target.read_text("utf-8")):
                    yield name, line, f"{match[1] or name} has no heading #{match[2]}"
