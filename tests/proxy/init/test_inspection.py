"""A module is imported in a process of its own; what is found there is described, or why it cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy.init.inspection import DashApp, InspectionError, inspect
from tests.proxy.init.test_scripts import TUTORIAL

pytestmark = pytest.mark.system

FASTAPI = """
import dash
from dash import html

site = dash.Dash(__name__, backend="fastapi", url_base_pathname="/desk/")
site.layout = html.Div("Hello")


@site.server.websocket("/ws")
async def endpoint(websocket): ...
"""

FLASK = """
from dash import Dash, html
from werkzeug.middleware.proxy_fix import ProxyFix

app = Dash(__name__, requests_pathname_prefix="/app/", routes_pathname_prefix="/")
server = app.server
server.wsgi_app = ProxyFix(server.wsgi_app)
"""


def test_the_app_of_the_tutorial_is_described(tmp_path: Path) -> None:
    (tmp_path / "trial_tutorial.py").write_text(TUTORIAL)
    app = inspect("trial_tutorial", tmp_path)
    assert app is not None
    assert app == DashApp("app", "flask", app.dash, "/", "/", None, (), has_proxy_fix=False)
    assert app.dash[0].isdigit()


def test_what_an_app_says_itself_is_read_from_it(tmp_path: Path) -> None:
    (tmp_path / "trial_fast.py").write_text(FASTAPI)
    app = inspect("trial_fast", tmp_path)
    assert app is not None
    assert (app.app, app.framework, app.prefix, app.routes) == ("site", "fastapi", "/desk/", "/desk/")
    assert app.endpoints == ("/ws",)


def test_a_server_with_proxy_fix_is_seen_with_its_name_and_both_prefixes(tmp_path: Path) -> None:
    (tmp_path / "trial_flask.py").write_text(FLASK)
    app = inspect("trial_flask", tmp_path)
    assert app is not None
    assert (app.server, app.has_proxy_fix, app.prefix, app.routes) == ("server", True, "/app/", "/")


def test_a_module_without_a_dash_app_has_none(tmp_path: Path) -> None:
    (tmp_path / "trial_none.py").write_text("from dash import Dash\n\n\ndef create():\n    return Dash()\n")
    assert inspect("trial_none", tmp_path) is None
    (tmp_path / "trial_other.py").write_text(TUTORIAL)
    assert inspect("trial_other", tmp_path, "application") is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import nosuch\n", "importing it failed: ModuleNotFoundError: No module named 'nosuch'"),
        (
            TUTORIAL.replace('if __name__ == "__main__"', "if True"),
            "it starts a server when it is imported, Dash.run at ",
        ),
        ("import os\nos._exit(7)\n", "importing it ended the process with exit code 7; put what waits"),
    ],
)
def test_a_module_that_cannot_be_imported_is_a_sentence(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "trial_fails.py").write_text(text)
    with pytest.raises(InspectionError, match="^" + message.replace(".", r"\.")):
        inspect("trial_fails", tmp_path)
