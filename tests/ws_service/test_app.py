"""The service as one ASGI app: the health probe, what it says without an app, and the factory."""

from __future__ import annotations

import http.client
import json
import logging
from pathlib import Path

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.ws_service.live import modules, serving
from ws_service.app import Service, create_app
from ws_service.config.file import CONFIG_VARIABLE
from ws_service.config.settings import Settings
from ws_service.errors import AppError, ConfigError

ECHO = """
    from fastapi import FastAPI, Request, WebSocket

    app = FastAPI()

    @app.get("/page")
    async def page():
        return "of the app"

    @app.post("/page")
    async def take(request: Request):
        return len(await request.body())

    @app.get("/healthz")
    async def health():
        raise AssertionError("the service's own")

    @app.websocket("/page")
    async def echo(websocket: WebSocket):
        await websocket.accept()
        await websocket.send_text("over the socket")
"""


def request(address: str, method: str, path: str) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection(address, timeout=20)
    try:
        connection.request(method, path, body=b"x" * 70000 if method == "POST" else None)
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def test_http_is_served_by_the_app_but_for_the_health_probe(tmp_path: Path) -> None:
    with modules(tmp_path, echoes=ECHO) as folder, serving(create_app(Settings(app="echoes:app"), folder)) as at:
        assert request(at, "GET", "/page")[::2] == (200, b'"of the app"')
        assert request(at, "POST", "/page")[::2] == (200, b"70000")
        assert request(at, "PUT", "/page")[0] == 405
        status, headers, body = request(at, "GET", "/nowhere")
        assert (status, json.loads(body)) == (404, {"detail": "Not Found"}), "the app's own answer"
        assert "server" not in headers
        assert request(at, "GET", "/healthz")[::2] == (200, b'{"status": "ok"}')
        with connect(f"ws://{at}/page") as client:
            assert client.recv() == "over the socket"


def test_the_health_probe_is_answered_with_and_without_a_body() -> None:
    with serving(create_app(Settings())) as at:
        assert request(at, "GET", "/healthz")[::2] == (200, b'{"status": "ok"}')
        assert request(at, "HEAD", "/healthz")[::2] == (200, b"")
        assert request(at, "HEAD", "/")[::2] == (404, b"")
        status, _, body = request(at, "POST", "/healthz")
        assert (status, json.loads(body)["message"][:53]) == (
            404,
            "This is the WebSocket service, and no app is named: s",
        )


def test_without_an_app_every_handshake_is_refused_and_the_log_says_what_to_write(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with serving(create_app(Settings())) as at, pytest.raises(InvalidStatus, match="404") as refused:
        connect(f"ws://{at}/ws")
    assert b"no app is named: set ws_service.app" in (refused.value.response.body or b"")
    first, second = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert first.endswith("name your app in the config, for example ws_service: {app: 'app:app'}")
    assert second == "refused a WebSocket at /ws: ws_service.app names no app"


def test_the_factory_reads_the_file_that_the_environment_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config.yaml").write_text("ws_service: {app: 'fromenv:app'}\n")
    monkeypatch.setenv(CONFIG_VARIABLE, str(tmp_path / "config.yaml"))
    with modules(tmp_path, fromenv=ECHO), serving(create_app()) as at, connect(f"ws://{at}/page") as client:
        assert client.recv() == "over the socket"


def test_the_factory_without_the_variable_takes_every_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(CONFIG_VARIABLE, raising=False)
    with serving(create_app()) as at:
        assert request(at, "GET", "/healthz")[0] == 200


def test_the_factory_raises_every_mistake_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config.yaml").write_text("ws_service: {ap: 1, listen: 2}\n")
    monkeypatch.setenv(CONFIG_VARIABLE, str(tmp_path / "config.yaml"))
    with pytest.raises(ConfigError) as caught:
        create_app()
    assert [m.key for m in caught.value.mistakes] == ["ws_service.ap", "ws_service.listen"]


def test_an_app_that_cannot_be_served_is_an_error_of_the_factory(tmp_path: Path) -> None:
    with modules(tmp_path), pytest.raises(AppError, match="there is no module nowhere"):
        create_app(Settings(app="nowhere:app"), tmp_path)


def test_without_a_name_the_factory_reads_the_file_of_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(CONFIG_VARIABLE, raising=False)
    assert isinstance(create_app(), Service)
    (tmp_path / "config.yaml").write_text("ws_service: {ap: 1}\n")
    with pytest.raises(ConfigError, match=r"config\.yaml:1:14: ws_service\.ap: is not a setting; did you mean app\?"):
        create_app()
