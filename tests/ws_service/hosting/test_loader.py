"""What a user may name in ``ws_service.app``, and how each mistake is worded."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from websockets.sync.client import connect

from tests.ws_service.live import modules, serving
from ws_service.errors import AppError
from ws_service.hosting.loader import load
from ws_service.hosting.user_errors import explain

ROUTERS = """
    from contextlib import asynccontextmanager

    from fastapi import APIRouter, WebSocket
    from starlette.applications import Starlette
    from starlette.routing import Mount, Router, WebSocketRoute

    @asynccontextmanager
    async def lifespan(app):
        yield {"where": "lifespan"}

    async def hello(websocket: WebSocket):
        await websocket.accept()
        await websocket.send_text(getattr(websocket.state, "where", "nowhere"))

    api = APIRouter(prefix="/api", lifespan=lifespan)
    api.add_api_websocket_route("/ws", hello)
    routes = [Mount("/api", routes=[WebSocketRoute("/ws", hello)])]
    plain = Router(routes, lifespan=lifespan)
    star = Starlette(routes=routes, lifespan=lifespan)
"""


@pytest.mark.parametrize("attr", ["api", "plain", "star"])
def test_routers_and_starlette_apps_are_served_with_their_lifespan(tmp_path: Path, attr: str) -> None:
    with modules(tmp_path, routers=ROUTERS) as folder, serving(load(f"routers:{attr}", folder)) as address:
        with connect(f"ws://{address}/api/ws") as client:
            assert client.recv() == "lifespan"


def test_a_module_in_a_package_beside_the_config_is_found(tmp_path: Path) -> None:
    with modules(tmp_path, pages__live=ROUTERS) as folder:
        assert load("pages.live:star", folder).name == "pages.live:star"


def refusal(folder: Path, name: str, **sources: str) -> AppError:
    with modules(folder, **sources), pytest.raises(AppError) as caught:
        load(name, folder)
    assert "\n" not in str(caught.value)
    return caught.value


def test_a_module_that_is_not_there_is_named_with_the_folder(tmp_path: Path) -> None:
    error = refusal(tmp_path, "nolive:app")
    assert str(error) == (
        f"ws_service.app is nolive:app, but there is no module nolive in {tmp_path} or among the installed "
        "packages; write the name of your script without .py, and keep the config file beside it"
    )
    assert explain(error) == str(error)


def test_a_module_missing_from_a_package_names_the_package(tmp_path: Path) -> None:
    error = refusal(tmp_path, "pkg.live:app", pkg____init__="")
    assert f"but pkg ({tmp_path}/pkg/__init__.py) has no module live" in str(error)


def test_a_package_that_is_a_module_names_the_module(tmp_path: Path) -> None:
    error = refusal(tmp_path, "flat.live:app", flat="")
    assert f"but flat ({tmp_path}/flat.py) has no module live" in str(error)


def test_an_exception_at_import_is_one_sentence_with_the_users_traceback_under_it(tmp_path: Path) -> None:
    error = refusal(tmp_path, "broken:app", broken="def half():\n    return 1 / 0\n\nhalf()\n")
    sentence, *below = explain(error).splitlines()
    assert sentence == (
        f"ws_service.app is broken:app, but importing broken ({tmp_path}/broken.py) failed: "
        "ZeroDivisionError: division by zero"
    )
    assert below[0] == "Traceback (most recent call last):"
    assert below[1] == f'  File "{tmp_path}/broken.py", line 4, in <module>'


def test_a_package_that_fails_is_named_itself_and_is_imported_once(tmp_path: Path) -> None:
    package = f"with open({str(tmp_path / 'imports')!r}, 'a') as file:\n    file.write('x')\nraise RuntimeError('no')\n"
    error = refusal(tmp_path, "around.live:app", around____init__=package, around__live="app = 1\n")
    assert f"importing around ({tmp_path}/around/__init__.py) failed: RuntimeError: no" in str(error)
    assert (tmp_path / "imports").read_text() == "x"


def test_a_missing_dependency_of_the_module_is_not_taken_for_the_module(tmp_path: Path) -> None:
    error = refusal(tmp_path, "needy:app", needy="import nobody_has_this\n")
    assert "failed: ModuleNotFoundError: No module named 'nobody_has_this'" in str(error)
    assert "line 1, in <module>" in explain(error)


def test_a_syntax_error_shows_its_line(tmp_path: Path) -> None:
    error = refusal(tmp_path, "torn:app", torn="app = (\n")
    assert f"importing torn ({tmp_path}/torn.py) failed: SyntaxError" in str(error)
    assert explain(error).splitlines()[1] == f'  File "{tmp_path}/torn.py", line 1'


def test_a_module_that_exits_is_told_what_to_write(tmp_path: Path) -> None:
    error = refusal(tmp_path, "leaves:app", leaves="import sys\nsys.exit(3)\n")
    assert "failed: it ended in sys.exit(3); put what runs the program under if __name__" in str(error)


def test_a_missing_attribute_is_answered_with_the_nearest_one(tmp_path: Path) -> None:
    error = refusal(tmp_path, "typo:ap", typo="app = 1\n")
    assert str(error) == (f"ws_service.app is typo:ap, but typo ({tmp_path}/typo.py) has no ap; did you mean app?")


def test_a_missing_attribute_of_an_attribute_names_both(tmp_path: Path) -> None:
    error = refusal(tmp_path, "typo2:app.sever", typo2="class app:\n    server = 1\n")
    assert f"but app in typo2 ({tmp_path}/typo2.py) has no sever; did you mean server?" in str(error)


def test_a_module_that_hides_the_users_own_is_named_with_both_files(tmp_path: Path) -> None:
    error = refusal(tmp_path, "json:app", json="app = 1\n")
    assert f"json ({json.__file__}, which hides your {tmp_path}/json.py: rename that one) has no app" in str(error)


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("app = 5", "is of type int; name a Dash app on FastAPI, a FastAPI, Starlette or other ASGI app, or a router"),
        ("def app(): pass", "is a function; name the variable that holds the app it makes"),
        ("from fastapi import FastAPI as app", "is a class; name the variable that holds the app it makes"),
        ("import flask\napp = flask.Flask('x')", "is a Flask app, which has no WebSocket routes that this"),
        ("import dash\napp = dash.Dash('x')", "is a Dash app on Flask, which has no WebSocket routes that this"),
        ("from fastapi import FastAPI\napp = FastAPI()", 'no WebSocket route; add one with @app.websocket("/ws")'),
        (
            "import dash\napp = dash.Dash('x', backend='fastapi')",
            'has no WebSocket route; add one with @app.server.websocket("/ws"), or leave ws_service.app out',
        ),
        ("from fastapi import APIRouter\napp = APIRouter()", "has no WebSocket route"),
        (
            "from starlette.applications import Starlette\n"
            "from starlette.routing import Mount\n"
            "from starlette.staticfiles import StaticFiles\n"
            "app = Starlette(routes=[Mount('/a', StaticFiles(directory='.')), Mount('/b', Starlette())])",
            "has no WebSocket route",
        ),
    ],
)
def test_an_object_that_cannot_be_served_is_one_sentence(tmp_path: Path, source: str, sentence: str) -> None:
    assert sentence in str(refusal(tmp_path, "odd:app", odd=source))


def test_a_mounted_app_of_another_framework_is_served(tmp_path: Path) -> None:
    source = """
        from starlette.applications import Starlette

        class SocketIO:
            async def __call__(self, scope, receive, send):
                await send({"type": "websocket.accept"})
                await send({"type": "websocket.send", "text": scope["path"]})

        app = Starlette()
        app.mount("/socket.io", SocketIO())
    """
    with modules(tmp_path, socketio_like=source) as folder:
        with serving(load("socketio_like:app", folder)) as address:
            with connect(f"ws://{address}/socket.io/x") as client:
                assert str(client.recv()).endswith("/x")


def test_an_endpoint_is_no_app(tmp_path: Path) -> None:
    source = "async def endpoint(websocket):\n    await websocket.accept()\n"
    assert "is a function; name the variable" in str(refusal(tmp_path, "apps:endpoint", apps=source))
