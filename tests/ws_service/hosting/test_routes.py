"""An app's tree: what is below what, and where its WebSockets are."""

from __future__ import annotations

from fastapi import APIRouter, FastAPI, WebSocket
from starlette.applications import Starlette
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import Host, Route, Router, WebSocketRoute
from starlette.staticfiles import StaticFiles

from ws_service.hosting.routes import tree, websocket_paths


async def endpoint(websocket: WebSocket) -> None: ...


async def page(request: object) -> None: ...


async def another_make(scope: object, receive: object, send: object) -> None: ...


def router(*paths: str, prefix: str = "") -> APIRouter:
    made = APIRouter(prefix=prefix)
    for path in paths:
        made.add_api_websocket_route(path, endpoint)
    return made


def test_the_paths_of_websockets_are_told_as_a_client_writes_them() -> None:
    app = FastAPI()
    app.include_router(router("/{room}", prefix="/rooms"), prefix="/api")
    outer = APIRouter(prefix="/outer")
    outer.include_router(router("/deep"), prefix="/inner")
    app.include_router(outer)
    app.mount("/below", Starlette(routes=[WebSocketRoute("/ws", endpoint), Route("/page", page)]))
    app.mount("/around", CORSMiddleware(Router([WebSocketRoute("/ws", endpoint)]), allow_origins=["*"]))
    app.mount("/socket.io", another_make)
    app.mount("/files", StaticFiles(directory="."))
    app.router.routes.append(Host("example.com", Router([WebSocketRoute("/hosted", endpoint)])))
    app.add_api_websocket_route("/", endpoint)
    assert websocket_paths(app) == [
        "/",
        "/api/rooms/{room}",
        "/around/ws",
        "/below/ws",
        "/hosted",
        "/outer/inner/deep",
        "/socket.io/*",
    ]


def test_an_app_that_another_make_wraps_is_found() -> None:
    class Around:
        def __init__(self, other: object) -> None:
            self.other_asgi_app = other

    inner = Starlette(routes=[WebSocketRoute("/ws", endpoint)])
    assert inner in list(tree(Around(inner)))
    assert websocket_paths(Around(Around(inner).other_asgi_app)) == ["/ws"]


def test_what_holds_itself_is_walked_once() -> None:
    app = Starlette(routes=[WebSocketRoute("/ws", endpoint)])
    app.mount("/again", app)
    assert websocket_paths(app) == ["/ws"]
