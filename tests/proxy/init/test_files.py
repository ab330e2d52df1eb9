"""Templates are filled whole; a file that is there is never changed."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from types import SimpleNamespace

import pytest
from dash import Dash, html
from flask import Flask

from proxy.config import load_settings
from proxy.init.files import Planned, plan, render, write
from proxy.init.values import values
from tests.proxy.init.test_project import FLASK, PROJECT


@pytest.mark.parametrize("framework", ["flask", "fastapi"])
def test_no_template_is_left_with_a_place_to_fill(framework: str) -> None:
    project = replace(PROJECT, app=replace(FLASK, framework=framework))
    for planned in plan(project):
        text = render(planned.template, values(project, None))
        assert not re.search(r"\{\{|\}\}(?!\})", text.replace("}}}", "")) or planned.path.endswith(".yaml")
        assert not re.search(r"\{\{\w+\}\}", text), planned.path
        assert text.endswith("\n"), planned.path


def test_every_template_is_used() -> None:
    folder = Path(str(files("proxy.init") / "templates"))
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert there == {planned.template for planned in plan(PROJECT)} | {"systemd/sandbox"}


def test_the_settings_are_the_defaults_but_for_what_a_proxy_in_front_needs(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(render("config.yaml", values(PROJECT, None)))
    settings = load_settings(path, {})
    changed = settings.model_dump(exclude_defaults=True, mode="json")
    assert changed == {"trusted_proxies": ["127.0.0.1/32"]}


def test_an_app_on_flask_has_a_module_for_gunicorn_and_one_on_fastapi_needs_none() -> None:
    assert "wsgi.py" in [planned.path for planned in plan(PROJECT)]
    fast = replace(PROJECT, app=replace(FLASK, framework="fastapi"))
    assert "wsgi.py" not in [planned.path for planned in plan(fast)]


def test_gunicorn_gets_an_app_that_is_set_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a page that is a worker's first request, and its scripts on other threads, get some 500s of Dash 4.4."""
    app = Dash("slow", server=Flask("slow"))
    app.layout = html.Div
    monkeypatch.setitem(sys.modules, "slow_app", SimpleNamespace(app=app))
    project = replace(PROJECT, module="slow_app")
    assert not app.registered_paths
    exec(render("wsgi.txt", values(project, None)), {})
    assert app.registered_paths["dash"]


def test_a_file_that_is_there_and_a_link_that_leads_nowhere_stay(tmp_path: Path) -> None:
    planned = Planned("deploy/a.conf", "nginx.conf", "")
    assert write(tmp_path, planned, "new")
    assert not write(tmp_path, planned, "newer")
    assert (tmp_path / planned.path).read_text() == "new"
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    assert not write(tmp_path, replace(planned, path="link"), "new")
    assert not (tmp_path / "elsewhere").exists()
