"""The demo as a Dash app: its pages, and its size. ``test_main`` serves it on either backend."""

from __future__ import annotations

from pathlib import Path

import dash

from dash_app import app as demo
from dash_app.publishers import job


def test_every_page_is_there_and_shows_the_lines_that_do_it() -> None:
    layouts = {page["path"]: str(page["layout"]()) for page in dash.page_registry.values()}
    assert sorted(layouts) == ["/", "/job", "/presence", "/recovery", "/stream", "/table"]
    assert all("The lines that do it" in layout for layout in layouts.values())
    assert job.__doc__ and job.__doc__ in layouts["/job"], "the lines are those that run"
    assert '<html lang="en">' in demo.app.index_string


def test_the_demo_is_under_500_lines() -> None:
    files = Path(demo.__file__).parent.rglob("*.py")
    assert sum(len(file.read_text("utf-8").splitlines()) for file in files) < 500
