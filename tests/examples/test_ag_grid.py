"""``examples/ag-grid``: rows change in place; what the visitor has sorted stays."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.examples.example import running_example
from tests.system.browser import Tab

pytestmark = pytest.mark.browser

ROWS = """() => {
    const rows = [];
    if (document.querySelector("#machines .ag-row"))
        dash_ag_grid.getApi("machines").forEachNodeAfterFilterAndSort(node => rows.push({...node.data}));
    return rows;
}"""
"""What the grid has, in the order in which it shows it."""


def test_rows_change_in_place_and_a_page_has_all_of_them_from_the_start(tmp_path: Path, tab: Tab) -> None:
    page = tab.page
    with running_example("ag-grid", tmp_path) as example:
        page.goto(example.url)
        page.wait_for_function(f"({ROWS})().length === 40 && ({ROWS})().every(row => row.temperature)")
        page.click(".ag-header-cell[col-id=temperature]")
        before = page.evaluate(ROWS)
        page.wait_for_function(f"before => JSON.stringify(({ROWS})()) !== JSON.stringify(before)", arg=before)
        shown = [row["temperature"] for row in page.evaluate(ROWS)]
        assert shown == sorted(shown)
