"""Links to folders: GitHub shows the README.md of a folder, so the site links to that."""

from __future__ import annotations

import re
from pathlib import Path

from sphinx.application import Sphinx

_FOLDER = re.compile(r"(?<=\]\()(?!\w+:)([^()#\s]+/)(?=\))")


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the extension."""

    def rewrite(app: Sphinx, name: str, source: list[str]) -> None:
        page = Path(app.srcdir, name).parent

        def linked(match: re.Match[str]) -> str:
            return f"{match[1]}README.md" if (page / match[1] / "README.md").is_file() else match[1]

        source[0] = _FOLDER.sub(linked, source[0])

    app.connect("source-read", rewrite)
    return {"parallel_read_safe": True}
