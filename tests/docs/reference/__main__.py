"""``python -m tests.docs.reference``: write the pages anew."""

from __future__ import annotations

from tests.docs.reference import FOLDER, PAGES

for name, page in PAGES.items():
    (FOLDER / f"{name}.md").write_text(page(), "utf-8")
