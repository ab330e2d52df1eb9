"""The check of references: a file, a link or a heading that is not there is found, and one that is there is not."""

from __future__ import annotations

from pathlib import Path

from tests.checks.documents import anchors, findings


def test_what_leads_nowhere_is_found_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "README.md").write_text(
        "# A\n[a](docs/a.md#one-two) [b](docs/b.md)\n[c](docs/a.md#three) [here](#a) [web](https://example.org/#x)\n"
        "`proxy/gone.py`, docs/a.md, other/proxy/gone.py\n",
        "utf-8",
    )
    (tmp_path / "docs" / "a.md").write_text("# One: `two`\n```\n# three\n```\n[up](../README.md)\n", "utf-8")
    (tmp_path / "proxy").mkdir()
    (tmp_path / "proxy" / "a.py").write_text('"""See docs/b.md, docs/a.md#three, docs/a.md#one-two."""\n', "utf-8")
    (tmp_path / "docs" / "how-to").mkdir()
    (tmp_path / "docs" / "how-to" / "c.md").write_text("[a](../a.md#four)\n", "utf-8")
    assert list(findings(tmp_path)) == [
        ("README.md", 2, "there is no docs/b.md"),
        ("README.md", 4, "there is no proxy/gone.py"),
        ("README.md", 2, "there is no docs/b.md"),
        ("README.md", 3, "docs/a.md has no heading #three"),
        ("docs/how-to/c.md", 1, "../a.md has no heading #four"),
        ("proxy/a.py", 1, "there is no docs/b.md"),
        ("proxy/a.py", 1, "docs/a.md has no heading #three"),
    ]


def test_an_anchor_is_made_of_the_words_of_a_heading() -> None:
    page = "## Other sites' pages: `origins`\n### What `a_b` does, and *why*\n"
    assert anchors(page) == {"other-sites-pages-origins", "what-a_b-does-and-why"}
