"""The likeliest script of a Dash app is found from the text of the files alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy.init.scripts import Script, find, read

TUTORIAL = """
from dash import Dash, html

app = Dash()
app.layout = [html.Div(children="Hello World")]

if __name__ == "__main__":
    app.run(debug=True)
"""


def test_the_script_of_dashs_tutorial_makes_an_app_and_runs_it() -> None:
    assert read(TUTORIAL, "app") == Script("app", makes_dash=True, runs=True)


@pytest.mark.parametrize(
    ("written", "port"),
    [("port=8051", 8051), ('port="8052"', 8052), ("port=int(os.environ['PORT'])", None), ("port=0", None)],
)
def test_the_port_is_read_where_it_is_a_number(written: str, port: int | None) -> None:
    assert read(TUTORIAL.replace("debug=True", written), "app").port == port


@pytest.mark.parametrize(
    "text",
    [
        "import subprocess, dash\nsubprocess.run(['ls'])\n",
        "import uvicorn\nfrom dash import html\nuvicorn.run('app:app')\n",
        "from flask import Flask\nsite = Flask('a')\nsite.run()\n",
    ],
)
def test_what_runs_other_things_runs_no_dash_app(text: str) -> None:
    assert not read(text, "a").runs


def test_a_script_that_runs_an_app_of_another_file_comes_before_that_file(tmp_path: Path) -> None:
    """The layout is put together there: ``python index.py`` is how such a site is started."""
    (tmp_path / "app.py").write_text("import dash\napp = dash.Dash(__name__)\n")
    (tmp_path / "index.py").write_text("from app import app\nif __name__ == '__main__':\n    app.run()\n")
    assert [script.module for script in find(tmp_path)] == ["index", "app"]


def test_of_several_scripts_the_one_with_the_usual_name_is_first(tmp_path: Path) -> None:
    for name in ("zebra", "main", "app", "another"):
        (tmp_path / f"{name}.py").write_text(TUTORIAL)
    assert [script.module for script in find(tmp_path)] == ["app", "main", "another", "zebra"]


def test_packages_are_looked_into_and_environments_are_not(tmp_path: Path) -> None:
    for folder in ("site", "venv", "tests"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "__init__.py").touch()
        (tmp_path / folder / "app.py").write_text(TUTORIAL)
    assert [script.module for script in find(tmp_path)] == ["site.app"]


def test_a_file_that_is_not_python_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(TUTORIAL)
    (tmp_path / "broken.py").write_text("def (")
    (tmp_path / "latin.py").write_bytes(b"# caf\xe9\nDash()\n")
    assert [script.module for script in find(tmp_path)] == ["app"]


def test_websocket_routes_are_found_by_the_variable_that_has_them() -> None:
    text = """
@app.server.websocket("/ws")
async def one(websocket): ...
@router.websocket("/two")
async def two(websocket): ...
@router.get("/three")
async def three(): ...
"""
    assert read(text, "live").holders == ("app", "router")
