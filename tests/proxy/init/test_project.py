"""An app is found, or one sentence says why not; what follows from it is what the files are written with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from proxy.init import project as module
from proxy.init.inspection import DashApp
from proxy.init.project import NoApp, Project, explore, owner
from proxy.init.scripts import Script
from tests.proxy.init.test_scripts import TUTORIAL

FLASK = DashApp("app", "flask", "4.4.1", "/", "/", None, (), has_proxy_fix=False)

PROJECT = Project(Path("/srv/My Dash.board"), "app", Script("app", makes_dash=True, runs=True), FLASK)

SOCKETS = """
from fastapi import APIRouter, WebSocket

router = APIRouter()


@router.websocket("/ws")
async def endpoint(websocket: WebSocket): ...
"""


def quiet(text: str) -> None:
    pass


@pytest.mark.system
def test_endpoints_beside_an_app_on_flask_are_found_where_they_can_be_served(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(TUTORIAL)
    (tmp_path / "broken.py").write_text(SOCKETS.replace("router = APIRouter()", "router = nosuch"))
    (tmp_path / "sockets.py").write_text(SOCKETS)
    said: list[str] = []
    found = explore(tmp_path, None, said.append)
    assert (found.module, found.live) == ("app", "sockets:router")
    assert said[0] == "importing app ..."
    assert found.versions["dash"] == found.app.dash


@pytest.mark.system
def test_of_several_apps_the_others_are_told_and_one_can_be_named(tmp_path: Path) -> None:
    for name in ("app", "sales"):
        (tmp_path / f"{name}.py").write_text(TUTORIAL)
    assert explore(tmp_path, None, quiet).others == ("sales",)
    named = explore(tmp_path, "sales:app", quiet)
    assert (named.module, named.others) == ("sales", ("app",))


@pytest.mark.system
@pytest.mark.parametrize(
    ("text", "named", "message"),
    [
        ("x = 1\n", None, "no Dash app was found in its Python files"),
        (
            "from dash import Dash\ndef make():\n    return Dash()\n",
            None,
            "no variable of app holds a Dash app; where a",
        ),
        ("x = 1\n", "app:x", "app:x: there is no Dash app in it; write module:attribute"),
        (
            "from dash import Dash\nimport nosuch\nDash()\n",
            None,
            "No module named 'nosuch'\ninit imports the app to find",
        ),
    ],
)
def test_what_is_no_app_is_one_sentence(tmp_path: Path, text: str, named: str | None, message: str) -> None:
    (tmp_path / "app.py").write_text(text)
    with pytest.raises(NoApp, match=message):
        explore(tmp_path, named, quiet)


def test_names_of_units_and_containers_have_the_letters_that_all_of_them_take() -> None:
    assert PROJECT.name == "my-dash-board"
    assert replace(PROJECT, folder=Path("/")).name == "dashboard"


@pytest.mark.parametrize(
    ("app", "server", "target"),
    [
        (FLASK, "gunicorn", "wsgi:server"),
        (replace(FLASK, server="server"), "gunicorn", "wsgi:server"),
        (replace(FLASK, server="application", has_proxy_fix=True), "gunicorn", "app:application"),
        (replace(FLASK, framework="fastapi"), "uvicorn", "app:app.server"),
        (replace(FLASK, framework="quart"), "uvicorn", "app:app.server"),
        (replace(FLASK, framework=""), "uvicorn", "app:app.server"),
    ],
)
def test_what_serves_the_app_follows_from_its_framework(app: DashApp, server: str, target: str) -> None:
    found = replace(PROJECT, app=app)
    assert (found.server, found.target) == (server, target)


def test_the_port_is_the_scripts_own() -> None:
    assert PROJECT.port == 8050
    assert replace(PROJECT, script=Script("app", port=8051)).port == 8051


def test_the_user_of_a_folder_is_the_user_of_the_units_unless_it_is_root(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, expected in (("ada", "ada"), ("root", "www-data")):
        monkeypatch.setattr(Path, "owner", lambda self, name=name: name)
        assert owner(Path("/srv/app")) == expected


def test_it_says_where_this_package_was_installed_from() -> None:
    source = module.installed_from()
    assert source is None or "://" in source


@pytest.mark.parametrize("name", ["my-app.py", "a;touch x.py", "a b.py", "class.py"])
def test_a_script_that_no_import_statement_can_name_is_not_imported(tmp_path: Path, name: str) -> None:
    """Its name would stand in commands, in settings and in wsgi.py."""
    (tmp_path / name).write_text(TUTORIAL)
    with pytest.raises(NoApp, match=r"is no name that Python can import; rename the file"):
        explore(tmp_path, None, quiet)
    for named in (name.removesuffix(".py"), "app:a;b"):
        with pytest.raises(NoApp, match="is no name that Python can import; write module:attribute"):
            explore(tmp_path, named, quiet)


@pytest.mark.parametrize("name", ["a\nExecStartPre=x", "a\\"])
def test_a_folder_that_a_unit_file_cannot_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(NoApp, match="cannot be written in a unit file"):
        explore(tmp_path / name, None, quiet)


@pytest.mark.parametrize(
    ("folder", "name"),
    [("2026 sales", "dash-2026-sales"), ("Ünter", "nter"), ("__", "dashboard"), ("a" * 200, "a" * 50)],
)
def test_what_is_called_after_the_folder_has_a_name_that_all_of_them_take(folder: str, name: str) -> None:
    assert replace(PROJECT, folder=Path("/srv") / folder).name == name
