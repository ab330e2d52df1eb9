"""The catalogue: ids that stay, and a part of docs/checks.md for each of them."""

from __future__ import annotations

import re
from pathlib import Path

from proxy.doctor.catalogue import CATALOGUE
from tests.processes import ROOT

PARTS = re.split(r"^### (?=DW)", (ROOT / "docs" / "checks.md").read_text("utf-8"), flags=re.MULTILINE)[1:]


def test_ids_have_three_digits_and_are_in_order() -> None:
    assert all(re.fullmatch(r"DW\d{3}", identifier) for identifier in CATALOGUE)
    assert list(CATALOGUE) == sorted(CATALOGUE)


def test_every_id_has_a_part_of_the_documentation_with_the_same_words() -> None:
    documented = {}
    for part in PARTS:
        identifier, _, text = part.partition("\n")
        documented[identifier] = " ".join(text.split())
    assert list(documented) == list(CATALOGUE)
    for identifier, kind in CATALOGUE.items():
        assert documented[identifier].startswith(f"**{kind.title}** ({kind.severity.value}). {kind.why}"), identifier


def test_sentences_end_as_sentences_and_titles_do_not() -> None:
    for identifier, kind in CATALOGUE.items():
        assert kind.why.endswith("."), identifier
        assert not kind.title.endswith("."), identifier
        assert kind.title[0].isupper() and kind.why[0].isupper(), identifier


def test_every_id_is_found_in_a_test() -> None:
    files = [path for path in (ROOT / "tests").rglob("test_*.py") if path != Path(__file__)]
    texts = "".join(path.read_text("utf-8") for path in files)
    assert [identifier for identifier in CATALOGUE if f'"{identifier}"' not in texts] == []
