"""What a user may name in ``ws_service.app``, what keeps working of it, and how each mistake is worded."""

from __future__ import annotations

import asyncio
import http.client
import json
import textwrap
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from tests.ws_service.live import modules, serving
from ws_service.config.settings import Settings
from ws_service.errors import AppError
from ws_service.hosting import loader as hosting
from ws_service.hosting.loader import explain, load

EVERYTHING = """
    from contextlib import asynccontextmanager
    from typing import Annotated

    from fastapi import APIRouter, Depends, FastAPI, Query, WebSocket, WebSocketException
    from starlette.middleware.base import BaseHTTPMiddleware

    events = []

    @asynccontextmanager
    async def lifespan(app):
        app.state.opened = "by lifespan"
        events.append("up")
        yield {"pool": "from lifespan"}
        events.append("down")

    app = FastAPI(lifespan=lifespan)
    app.state.made = "at import"

    class Marks:
        def __init__(self, app, mark):
            self.app, self.mark = app, mark

        async def __call__(self, scope, receive, send):
            scope.setdefault("marks", []).append((self.mark, scope["type"]))
            await self.app(scope, receive, send)

    class HttpOnly(BaseHTTPMiddleware):
        async def dispatch(self, request, call_next):
            events.append("http")
            return await call_next(request)

    app.add_middleware(Marks, mark="inner")
    app.add_middleware(HttpOnly)
    app.add_middleware(Marks, mark="outer")

    class Refused(Exception):
        pass

    @app.exception_handler(Refused)
    async def refused(websocket, error):
        await websocket.close(4321, str(error))

    async def user(token: str | None = None):
        if token == "bad":
            raise WebSocketException(1008, "bad token")
        return token

    async def resource():
        events.append("open")
        try:
            yield "resource"
        finally:
            events.append("close")

    @app.websocket("/items/{item}")
    async def items(
        websocket: WebSocket,
        item: int,
        tags: Annotated[list[str], Query()],
        user: Annotated[str | None, Depends(user)],
        resource: Annotated[str, Depends(resource)],
    ):
        await websocket.accept()
        await websocket.send_json([item, tags, user, resource])
        await websocket.close(3001, "bye")

    @app.websocket("/state")
    async def state(websocket: WebSocket):
        await websocket.accept()
        seen = websocket.app.state
        await websocket.send_json([seen.made, seen.opened, websocket.state.pool, websocket.scope["marks"]])

    @app.websocket("/chosen")
    async def chosen(websocket: WebSocket):
        await websocket.accept(subprotocol=websocket.scope["subprotocols"][-1], headers=[(b"x-kind", b"Mixed")])
        await websocket.send_text("")
        await websocket.send_bytes(b"")
        await websocket.send_bytes(await websocket.receive_bytes())

    @app.websocket("/refused")
    async def refuses(websocket: WebSocket):
        await websocket.accept()
        raise Refused("as agreed")

    @app.websocket("/denied")
    async def denies(websocket: WebSocket):
        from starlette.responses import JSONResponse

        await websocket.send_denial_response(JSONResponse({"why": "not today"}, status_code=418))

    @app.websocket("/client")
    async def client(websocket: WebSocket):
        await websocket.accept()
        await websocket.send_json([websocket.client.host, websocket.url.scheme])

    @app.get("/page")
    async def page():
        events.append("page")

    router = APIRouter(prefix="/inner")

    @router.websocket("/echo")
    async def echo(websocket: WebSocket):
        await websocket.accept()
        async for message in websocket.iter_text():
            await websocket.send_text(message)

    app.include_router(router, prefix="/outer")

    below = FastAPI()

    @below.websocket("/deep/{name}")
    async def deep(websocket: WebSocket, name: str):
        await websocket.accept()
        await websocket.send_text(name)

    app.mount("/mounted", below)
"""


def forget(monkeypatch: pytest.MonkeyPatch) -> None:
    """Begin with a limited log that has said nothing yet."""
    monkeypatch.setattr(hosting.limited, "_last", {})
    monkeypatch.setattr(hosting.limited, "_unsaid", {})


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a service that hosts one app with everything an endpoint can use."""
    with modules(tmp_path_factory.mktemp("user"), everything=EVERYTHING) as folder:
        hosted = load("everything:app", folder)
        with serving(hosted) as address:
            yield address
        assert hosted.app.state.opened == "by lifespan"
        import everything  # type: ignore[import-not-found]

        assert everything.events[0] == "up"
        assert everything.events[-1] == "down"
        assert "http" not in everything.events, "nobody has asked"


def test_path_query_and_dependencies_reach_the_endpoint(everything: str) -> None:
    with connect(f"ws://{everything}/items/7?tags=a&tags=b&token=me") as client:
        assert json.loads(client.recv()) == [7, ["a", "b"], "me", "resource"]
        with pytest.raises(ConnectionClosed) as closed:
            client.recv()
    assert closed.value.rcvd is not None
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (3001, "bye")


def test_a_parameter_that_does_not_fit_refuses_the_handshake(everything: str) -> None:
    with pytest.raises(InvalidStatus, match="403"):
        connect(f"ws://{everything}/items/seven?tags=a")


def test_a_websocket_exception_of_a_dependency_refuses_the_handshake(everything: str) -> None:
    with pytest.raises(InvalidStatus, match="403"):
        connect(f"ws://{everything}/items/7?tags=a&token=bad")


def test_app_state_lifespan_state_and_middleware_are_there(everything: str) -> None:
    with connect(f"ws://{everything}/state") as client:
        made, opened, pool, marks = json.loads(client.recv())
    assert (made, opened, pool) == ("at import", "by lifespan", "from lifespan")
    assert marks == [["outer", "websocket"], ["inner", "websocket"]]


def test_subprotocol_headers_and_empty_messages_arrive(everything: str) -> None:
    with connect(f"ws://{everything}/chosen", subprotocols=["a", "b"]) as client:  # type: ignore[list-item]
        assert client.subprotocol == "b"
        assert client.response is not None
        assert client.response.headers["x-kind"] == "Mixed"
        assert client.recv() == ""
        assert client.recv() == b""
        client.send(b"\x00\xff")
        assert client.recv() == b"\x00\xff"


def test_an_exception_handler_closes_with_its_own_code(everything: str) -> None:
    with connect(f"ws://{everything}/refused") as client, pytest.raises(ConnectionClosed) as closed:
        client.recv()
    assert closed.value.rcvd is not None
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4321, "as agreed")


def test_a_denial_response_arrives_with_its_body(everything: str) -> None:
    with pytest.raises(InvalidStatus) as refused:
        connect(f"ws://{everything}/denied")
    assert refused.value.response.status_code == 418
    assert json.loads(refused.value.response.body or b"") == {"why": "not today"}


def test_an_included_router_keeps_its_prefixes(everything: str) -> None:
    with connect(f"ws://{everything}/outer/inner/echo") as client:
        client.send("héllo")
        assert client.recv() == "héllo"


def test_a_mounted_app_is_served(everything: str) -> None:
    with connect(f"ws://{everything}/mounted/deep/sea") as client:
        assert client.recv() == "sea"


@pytest.mark.parametrize("path", ["/nowhere", "/outer/inner/nowhere", "/mounted/nowhere", "/page"])
def test_a_path_without_an_endpoint_is_a_404_that_names_it_and_those_that_there_are(
    everything: str, path: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    forget(monkeypatch)
    for _ in range(3):
        with pytest.raises(InvalidStatus) as refused:
            connect(f"ws://{everything}{path}?token=secret")
    answer = refused.value.response
    assert (answer.status_code, answer.headers["content-type"].partition(";")[0]) == (404, "text/plain")
    assert (answer.body or b"").decode().splitlines() == [
        f"There is no endpoint for a WebSocket at {path}.",
        "everything:app has:",
        "  /chosen",
        "  /client",
        "  /denied",
        "  /items/{item}",
        "  /mounted/deep/{name}",
        "  /outer/inner/echo",
        "  /refused",
        "  /state",
        "This is an answer of the WebSocket service, dash-ws-service.",
    ]
    (line,) = caplog.messages
    assert line == (
        f"no endpoint for a WebSocket at {path}: answered with 404; everything:app has /chosen, /client, /denied, "
        "/items/{item}, /mounted/deep/{name}, /outer/inner/echo, /refused, /state"
    )


@pytest.mark.parametrize(
    ("path", "status"), [("/denied", 418), ("/items/seven?tags=a", 403), ("/items/7?tags=a&token=bad", 403)]
)
def test_an_endpoint_that_refuses_has_its_own_answer_and_a_line(
    everything: str, path: str, status: int, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    forget(monkeypatch)
    caplog.set_level("INFO", "ws_service")
    for _ in range(3):
        with pytest.raises(InvalidStatus, match=str(status)):
            connect(f"ws://{everything}{path}")
    assert [record.getMessage() for record in caplog.records if record.name.startswith(("ws_service", "uvicorn"))] == [
        f"{path.partition('?')[0]}: refused by its endpoint with {status}"
    ]


def test_an_endpoint_sees_the_browser_behind_the_gateway(everything: str) -> None:
    forwarded = {"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "https"}
    with connect(f"ws://{everything}/client", additional_headers=forwarded) as client:
        assert json.loads(client.recv()) == ["203.0.113.9", "wss"]


def test_a_message_of_16_mib_passes_compressed(everything: str) -> None:
    message = "0123456789abcdef" * (1 << 20)
    with connect(f"ws://{everything}/outer/inner/echo", max_size=None) as client:
        assert client.response is not None
        assert "permessage-deflate" in client.response.headers["Sec-WebSocket-Extensions"]
        client.send(message)
        assert client.recv() == message


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
    forget(monkeypatch)
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


def ask(address: str, method: str, path: str) -> tuple[int, Any]:
    with closing(http.client.HTTPConnection(address, timeout=20)) as connection:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())


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


def test_a_module_that_exits_is_told_about_the_guard(tmp_path: Path) -> None:
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


def test_a_mounted_app_of_another_make_is_believed(tmp_path: Path) -> None:
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


SOCKETIO = """
    import socketio
    from fastapi import FastAPI, WebSocket

    sio = socketio.AsyncServer(async_mode="asgi", ping_interval=0.2, ping_timeout=0.2)
    api = FastAPI()
    mounted = FastAPI()

    @sio.event
    async def shout(sid, text):
        return text.upper()

    @api.get("/page")
    async def page():
        return "of the app"

    @api.websocket("/ws")
    async def ws(websocket: WebSocket):
        await websocket.accept()
        await websocket.send_text("beside it")

    mounted.mount("/socket.io", socketio.ASGIApp(sio, socketio_path=None))
    wrapped = socketio.ASGIApp(sio, other_asgi_app=api)
    alone = socketio.ASGIApp(sio)
"""


@pytest.mark.parametrize("name", ["mounted", "wrapped", "alone"])
def test_socketio_is_served_by_http_and_by_websocket(tmp_path: Path, name: str) -> None:
    pytest.importorskip("socketio")
    with modules(tmp_path, chat=SOCKETIO) as folder, serving(load(f"chat:{name}", folder)) as address:
        asyncio.run(shouts(address))
        if name == "wrapped":
            assert ask(address, "GET", "/page") == (200, "of the app")
            with connect(f"ws://{address}/ws") as client:
                assert client.recv() == "beside it"
            with pytest.raises(InvalidStatus, match="404") as refused:
                connect(f"ws://{address}/nowhere")
            assert b"chat:wrapped has:\n  /ws\n" in (refused.value.response.body or b"")


async def shouts(address: str) -> None:
    """Talk as Socket.IO's client does by default: it polls first, and goes on by a WebSocket."""
    import socketio

    client = socketio.AsyncClient()
    await client.connect(f"http://{address}", wait_timeout=20)
    assert client.transport() == "websocket"
    assert await client.call("shout", "hello", timeout=20) == "HELLO"
    await client.disconnect()
    polling = socketio.AsyncClient()
    await polling.connect(f"http://{address}", transports=["polling"], wait_timeout=20)
    assert await polling.call("shout", "again", timeout=20) == "AGAIN"
    await polling.disconnect()


APPS = """
    class Odd:
        async def __call__(self, scope, receive, send):
            if scope["type"] == "lifespan":
                raise ValueError("no such thing")
            assert (await receive())["type"] == "websocket.connect"
            await send({"type": "websocket.accept"})
            await send({"type": "websocket.send", "text": scope["path"]})

    odd = Odd()

    async def bare(scope, receive, send):
        if scope["type"] == "websocket":
            await odd(scope, receive, send)

    async def endpoint(websocket, room, user):
        pass
"""


@pytest.mark.parametrize("name", ["odd", "bare"])
def test_any_asgi_app_is_served_also_without_a_lifespan(tmp_path: Path, name: str) -> None:
    with modules(tmp_path, apps=APPS) as folder, serving(load(f"apps:{name}", folder)) as address:
        with connect(f"ws://{address}/x") as client:
            assert client.recv() == "/x"


def test_an_endpoint_is_no_app(tmp_path: Path) -> None:
    assert "is a function; name the variable" in str(refusal(tmp_path, "apps:endpoint", apps=textwrap.dedent(APPS)))


SLOW = """
    import asyncio

    from fastapi import FastAPI, WebSocket

    app = FastAPI()
    began = asyncio.Event()

    @app.get("/slow")
    async def slow():
        began.set()
        await asyncio.Event().wait()

    @app.websocket("/ws")
    async def ws(websocket: WebSocket):
        await websocket.accept()
        await began.wait()
        await websocket.send_text("it has begun")
"""


def test_a_request_that_does_not_end_before_the_stop_is_a_503_and_a_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    quick = Settings(drain="200ms")  # type: ignore[arg-type]
    with modules(tmp_path, slow=SLOW) as folder, serving(load("slow:app", folder), quick) as address:
        connection = http.client.HTTPConnection(address, timeout=20)
        connection.request("GET", "/slow")
        with connect(f"ws://{address}/ws") as client:
            assert client.recv() == "it has begun"
    with closing(connection):
        assert connection.getresponse().status == 503
    assert "the request for /slow did not end in time and was cancelled" in caplog.text
    assert "Traceback" not in caplog.text
