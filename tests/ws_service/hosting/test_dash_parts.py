"""Dash's own middleware and routes are taken out of an app, and nothing of the user's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fastapi import WebSocket
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.ws_service.live import ask, forget, modules, serving
from ws_service.hosting import dash_parts
from ws_service.hosting.dash_parts import is_dash
from ws_service.hosting.loader import load
from ws_service.hosting.routes import tree

DASH = """
    import dash
    from dash import html
    from fastapi import WebSocket

    app = dash.Dash(__name__, backend="fastapi")
    app.layout = html.Div("Hello")
    server = app.server

    @app.server.websocket("/ws")
    async def ws(websocket: WebSocket):
        await websocket.accept()
        names = []
        layer = websocket.app.middleware_stack
        while layer is not None:
            names.append(type(layer).__name__)
            layer = getattr(layer, "app", None)
        await websocket.send_json(names)

    if __name__ == "__main__":
        raise AssertionError("nothing runs on import")
"""


@pytest.mark.parametrize("name", ["board:app", "board:server", "board:app.server"])
def test_of_a_dash_app_only_its_own_middleware_is_left_out(tmp_path: Path, name: str) -> None:
    pytest.importorskip("dash.backends")
    with modules(tmp_path, board=DASH) as folder:
        hosted = load(name, folder)
        with serving(hosted) as address, connect(f"ws://{address}/ws") as client:
            names = json.loads(client.recv())
    assert "DashMiddleware" not in names
    assert names[0] == "ServerErrorMiddleware"
    assert "ExceptionMiddleware" in names


def test_the_middleware_of_a_dash_app_is_left_out_of_a_stack_that_was_built_already(tmp_path: Path) -> None:
    pytest.importorskip("dash.backends")
    built = DASH + "\n    server.middleware_stack = server.build_middleware_stack()\n"
    with modules(tmp_path, board=built) as folder, serving(load("board:app", folder)) as address:
        with connect(f"ws://{address}/ws") as client:
            assert "DashMiddleware" not in json.loads(client.recv())


def test_a_dash_app_that_is_mounted_loses_its_middleware_too(tmp_path: Path) -> None:
    pytest.importorskip("dash.backends")
    outer = """
        from fastapi import FastAPI

        from board import app as board

        app = FastAPI()
        app.mount("/board", board.server)
        app.mount("/object", board)
    """
    with modules(tmp_path, board=DASH, outer=outer) as folder, serving(load("outer:app", folder)) as address:
        for path in ("board", "object"):
            with connect(f"ws://{address}/{path}/ws") as client:
                assert "DashMiddleware" not in json.loads(client.recv())


def test_a_middleware_of_the_users_by_the_same_name_stays(tmp_path: Path) -> None:
    source = """
        from fastapi import FastAPI, WebSocket

        class DashMiddleware:
            def __init__(self, app):
                self.app = app

            async def __call__(self, scope, receive, send):
                scope["seen"] = "mine"
                await self.app(scope, receive, send)

        app = FastAPI()
        app.add_middleware(DashMiddleware)

        @app.websocket("/ws")
        async def ws(websocket: WebSocket):
            await websocket.accept()
            await websocket.send_text(websocket.scope["seen"])
    """
    with modules(tmp_path, mine=source) as folder, serving(load("mine:app", folder)) as address:
        with connect(f"ws://{address}/ws") as client:
            assert client.recv() == "mine"


def test_the_callback_socket_of_dash_is_refused_and_the_log_says_why(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("dash.backends")
    forget(monkeypatch, dash_parts.limited)
    with modules(tmp_path, board=DASH) as folder, serving(load("board:app", folder)) as address:
        for _ in range(3):
            with pytest.raises(InvalidStatus, match="404") as refused:
                connect(f"ws://{address}/_dash-ws-callback", origin=f"http://{address}")  # type: ignore[arg-type]
            assert b"It is Dash's own socket" in (refused.value.response.body or b"")
    assert caplog.text.count("it is Dash's own socket and belongs to the Dash process") == 1, "once a minute"


def test_an_endpoint_whose_path_ends_like_dashs_keeps_it(tmp_path: Path) -> None:
    """Its own code tells Dash's socket, not the end of a path (issue 9)."""
    source = """
        from fastapi import FastAPI, WebSocket

        app = FastAPI()

        @app.websocket("/room/{name}")
        async def room(websocket: WebSocket, name: str):
            await websocket.accept()
            await websocket.send_text(name)
    """
    with modules(tmp_path, rooms=source) as folder, serving(load("rooms:app", folder)) as address:
        with connect(f"ws://{address}/room/_dash-ws-callback") as client:
            assert client.recv() == "_dash-ws-callback"


ROUTES_OF_THE_USER = (
    DASH
    + """
    @server.get("/late")
    async def late():
        return "mine"

    @server.api_route("/_dash-mine", methods=["GET", "POST"])
    async def mine():
        return "mine too"
"""
)


@pytest.mark.parametrize("name", ["board:app", "board:server"])
def test_of_a_dash_app_the_users_http_routes_are_served_and_dashs_pages_are_not(tmp_path: Path, name: str) -> None:
    pytest.importorskip("dash.backends")
    (tmp_path / "assets").mkdir()
    (tmp_path / "assets" / "style.css").write_text("body {}")
    with modules(tmp_path, board=ROUTES_OF_THE_USER) as folder, serving(load(name, folder)) as address:
        assert ask(address, "GET", "/late") == (200, "mine")
        assert ask(address, "POST", "/_dash-mine") == (200, "mine too")
        for method, path in [
            ("GET", "/"),
            ("GET", "/some/page"),
            ("GET", "/_dash-layout"),
            ("GET", "/_dash-dependencies"),
            ("POST", "/_dash-update-component"),
            ("GET", "/_favicon.ico"),
            ("GET", "/assets/style.css"),
        ]:
            status, said = ask(address, method, path)
            assert status == 404, path
            assert said["message"] == (
                f"This is the WebSocket service. {name} has no route for {path}, and Dash's own pages come from the "
                "Dash server: check where the gateway's routes send this path."
            )


async def endpoint(websocket: WebSocket) -> None: ...


async def page(request: object) -> None: ...


def test_dashs_own_parts_are_told_by_whose_code_they_are() -> None:
    dash = pytest.importorskip("dash")
    pytest.importorskip("dash.backends")
    app = dash.Dash("x", backend="fastapi")
    app.layout = dash.html.Div()
    server = app.server
    dashs = len([part for part in server.routes if is_dash(part)])
    assert dashs > 5
    assert is_dash(server)
    server.add_api_route("/_dash-mine", page)
    server.add_api_websocket_route("/_dash-ws-callback-mine", endpoint)
    assert len([part for part in server.routes if is_dash(part)]) == dashs
    assert not any(map(is_dash, tree(Starlette(routes=[Mount("/files", StaticFiles(directory="."))]))))
