"""The service as one ASGI app: its two HTTP answers, its refusals, and the factory."""

from __future__ import annotations

import http.client
import json
from pathlib import Path

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.ws_service.live import modules, serving
from ws_service.app import CONFIG_VARIABLE, Service, create_app
from ws_service.config import Settings
from ws_service.errors import AppError, ConfigError

ECHO = """
    from fastapi import FastAPI, WebSocket

    app = FastAPI()
    seen = []

    @app.get("/page")
    async def page():
        seen.append("page")

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


def test_http_is_answered_by_the_service_alone(tmp_path: Path) -> None:
    with modules(tmp_path, echoes=ECHO) as folder, serving(create_app(Settings(app="echoes:app"), folder)) as at:
        for method, path in (("GET", "/page"), ("GET", "/"), ("POST", "/page"), ("POST", "/healthz")):
            status, headers, body = request(at, method, path)
            assert (status, headers["content-type"]) == (404, "application/json")
            assert "This is the WebSocket service" in json.loads(body)["message"]
            assert "server" not in headers
        import echoes  # type: ignore[import-not-found]

        assert echoes.seen == []
        with connect(f"ws://{at}/page") as client:
            assert client.recv() == "over the socket"


def test_the_health_probe_is_answered_with_and_without_a_body() -> None:
    with serving(create_app(Settings())) as at:
        assert request(at, "GET", "/healthz")[::2] == (200, b'{"status": "ok"}')
        assert request(at, "HEAD", "/healthz")[::2] == (200, b"")
        assert request(at, "HEAD", "/")[::2] == (404, b"")


def test_without_an_app_every_handshake_is_refused_and_the_log_says_what_to_write(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with serving(create_app(Settings())) as at, pytest.raises(InvalidStatus, match="403"):
        connect(f"ws://{at}/ws")
    (line,) = [record.getMessage() for record in caplog.records if record.name == "ws_service.app"]
    assert line.endswith("name your app in the config, for example ws_service: {app: 'app:app'}")


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
