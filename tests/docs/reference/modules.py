"""The page with a line for every module: the first paragraph of its docstring."""

from __future__ import annotations

import ast
import re
from itertools import groupby
from pathlib import Path

from tests.processes import ROOT

HEAD = """\
# Modules

What each module is for, as its docstring says it. [Architecture](../architecture.md) shows how they belong together.
"""

THIRD_PARTY = "centrifuge.js"


def summary(path: Path) -> str:
    """Return the first paragraph of a module's docstring, or the comment that a script begins with, as Markdown."""
    text = path.read_text("utf-8")
    if path.suffix == ".py":
        told = ast.get_docstring(ast.parse(text)) or ""
    else:
        told = re.sub(r"\A(\"use strict\";\s*)?(/\*|//) ?", "", text).partition("*/")[0]
        told = told.partition('\n"')[0].partition("\nconst")[0].partition("\n(")[0].replace("\n//", "\n")
    told = told.partition("\n\n")[0]
    return " ".join(told.split()).replace("``", "`").replace("|", "\\|")


def modules(package: str) -> list[Path]:
    """Return the modules of a package and the scripts of its pages, folder by folder."""
    files = [
        *(path for path in (ROOT / package).rglob("*.py") if path.name != "__init__.py"),
        *(path for path in (ROOT / package).rglob("*.js") if path.name != THIRD_PARTY),
    ]
    return sorted(files, key=lambda path: (path.parent, path.name))


def page() -> str:
    """Return the page."""
    blocks = [HEAD]
    for package in ("proxy", "ws_service"):
        for folder, paths in groupby(modules(package), key=lambda path: path.parent):
            name = folder.relative_to(ROOT).as_posix()
            init = folder / "__init__.py"
            about = f"{summary(init)}\n\n" if init.exists() else ""
            rows = [f"| [`{path.name}`](../../{name}/{path.name}) | {summary(path)} |\n" for path in paths]
            blocks.append(f"\n## `{name}/`\n\n{about}| module | |\n|---|---|\n{''.join(rows)}")
    return "".join(blocks)
