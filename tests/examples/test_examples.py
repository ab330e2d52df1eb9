"""Every example has what its reader needs, a line in the table, and a test that starts it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.examples.example import EXAMPLES
from tests.processes import ROOT

FOLDERS = sorted(path.parent for path in EXAMPLES.glob("*/README.md"))


def test_the_table_has_every_example_once() -> None:
    table = (EXAMPLES / "README.md").read_text("utf-8")
    told = re.findall(r"^\| \[([\w-]+)\]\((.*?)/\) \| .+ \| .+ \|$", table, re.MULTILINE)
    assert all(name == link for name, link in told)
    folders = sorted(path.name for path in EXAMPLES.iterdir() if path.is_dir() and any(path.glob("*.*")))
    assert sorted(name for name, _ in told) == folders == [folder.name for folder in FOLDERS]


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_an_example_is_started_by_one_command_and_has_its_test(folder: Path) -> None:
    readme = (folder / "README.md").read_text("utf-8")
    assert "\nhoncho start" in readme
    assert f"cd examples/{folder.name}\n" in readme
    assert len(readme.splitlines()) <= 45, "half a page"
    assert (folder / "Procfile").exists()
    assert (ROOT / "tests" / "examples" / f"test_{folder.name.replace('-', '_')}.py").exists()
