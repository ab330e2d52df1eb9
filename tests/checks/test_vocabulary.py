"""The check of words: what it finds, where, and what it lets pass."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.checks.__main__ import findings as all_findings
from tests.checks.vocabulary import findings, findings_in, names_of


def words(text: str, path: str = "a.py") -> list[tuple[int, str]]:
    return [(line, what.partition(":")[0]) for line, what in findings(path, text)]


def test_a_word_is_found_in_prose_and_in_every_spelling_of_a_name() -> None:
    text = "nobody waits\nclass RoomFull: ...\nPATIENCE = 1\nself._turn_away()\n"
    assert [line for line, _ in words(text)] == [1, 2, 3, 4]
    assert words("on the express\nway") == [(1, "express")]


def test_words_on_two_lines_are_found_at_the_first_also_in_a_comment() -> None:
    assert words("x\n# they are seen\n# off here") == [(2, "seen # off")]


def test_a_finding_says_what_to_write() -> None:
    assert findings("a.md", "a patience of 5 s") == [(1, "patience: write timeout")]


def test_a_part_of_a_word_is_not_the_word() -> None:
    assert words("outdoors, mushroom, expression, lawn, a storehouse, safeguard") == []


def test_a_word_is_let_pass_where_it_is_the_right_one() -> None:
    assert words("there is room for 5 connections; ws_service.hosting.import_guard") == []
    assert words("room for 5 in the room") == [(1, "room")]


def test_a_files_own_name_is_checked() -> None:
    assert words("", "tests/test_house.py") == [(1, "house")]


def test_of_a_test_only_the_names_are_checked() -> None:
    source = 'def test_a(nobody):\n    """Nobody."""\n\n\nclass Door:\n    pass\n'
    assert words(names_of(source)) == [(1, "nobody"), (5, "Door")]


def test_all_folders_of_the_repository_are_read(tmp_path: Path) -> None:
    for name in ("proxy/a.py", "docs/decisions/b.md", "tests/test_c.py", "README.md"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("def whoever(): ...\n", "utf-8")
    assert {path for path, _, _ in findings_in(tmp_path)} == {
        "proxy/a.py", "docs/decisions/b.md", "tests/test_c.py", "README.md",
    }  # fmt: skip


@pytest.mark.system
def test_the_repository_passes_all_checks() -> None:
    wrong = list(all_findings())
    if wrong:
        pytest.fail("\n".join(wrong))
