"""For tests of your own Dash app after the gateway: ``from proxy.testing import dash_gateway`` (docs/testing.md).

The Dash app is served in a thread of the test's process, so that it can be an object of the test; the gateway and the
WebSocket service are programs of their own. All of them listen on free ports of 127.0.0.1.
"""

from __future__ import annotations

import inspect
import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from proxy.output_reader import OutputReader
from ws_service.hub.keys import KEY_VARIABLE
from ws_service.publisher.hub_address import URL_VARIABLE

__all__ = ["GatewayRunner", "RunningApp", "dash_gateway", "dash_thread_server", "run_app"]

Config = Mapping[str, Mapping[str, Any]]
"""Settings as in ``config.yaml``: the sections ``gateway`` and ``ws_service``."""

_START = 60.0
"""Seconds for each program to start: a busy machine that runs several tests at once takes that long."""

_STOP = 10.0
"""Seconds for each program to stop, before it is killed."""


class RunningApp:
    """A Dash app after the gateway.

    url: of the gateway; what a user of the app opens. dash_url: of Dash itself, to compare with.
    """

    def __init__(self, url: str, dash_url: str, programs: tuple[_Program, ...]) -> None:
        self.url = url
        self.dash_url = dash_url
        self._programs = programs

    def websocket_url(self, path: str) -> str:
        """Return the URL of a WebSocket through the gateway. path: begins with a slash."""
        return "ws" + self.url.removeprefix("http") + path

    @property
    def log(self) -> str:
        """What the gateway and the service have printed so far."""
        return "".join(program.output for program in self._programs)


@contextmanager
def run_app(app: Any, *, websockets: str | None = None, config: Config | None = None) -> Iterator[RunningApp]:
    """Run a Dash app after the gateway for the length of a ``with`` block.

    app: a ``dash.Dash``, or its server (Flask, FastAPI, Quart).
    websockets: what the service serves, as ``ws_service.app`` names it (``module:attribute``); it is imported in the
    service's process. None: the hub alone.
    config: further settings. ``gateway.listen`` and ``upstreams`` are set here, unless they are in it.

    ``publish()`` and ``Live`` in the test's process use this service. Raises RuntimeError with the output of a program
    that does not start.
    """
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="dash-ws-"))  # short: a socket file's path has 107 bytes at most
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        port = _service_port()
        stack.enter_context(_environment({URL_VARIABLE: f"http://127.0.0.1:{port}", KEY_VARIABLE: _key()}))
        dash_url = stack.enter_context(_serving(getattr(app, "server", app)))
        path = folder / "config.yaml"
        path.write_text(json.dumps(_settings(dash_url, port, websockets, config or {})))  # JSON is YAML
        service = stack.enter_context(_Program("ws_service", path))
        gateway = stack.enter_context(_Program("proxy", path))
        service.wait_for(r"ws service ready on ")
        url = gateway.wait_for(r"gateway ready on (\S+?)[, ]")[1]
        yield RunningApp(url, dash_url, (gateway, service))


@pytest.fixture
def dash_gateway() -> Iterator[Callable[..., RunningApp]]:
    """Start Dash apps after the gateway, for one test: ``dash_gateway(app)``, with the arguments of ``run_app``."""
    with ExitStack() as stack:
        yield lambda app, **options: stack.enter_context(run_app(app, **options))


class GatewayRunner:
    """A runner for ``dash.testing`` whose ``url`` is the gateway's: what ``dash_duo`` opens comes through it.

    websockets, config: as for ``run_app``.
    """

    def __init__(self, *, websockets: str | None = None, config: Config | None = None) -> None:
        self._options: dict[str, Any] = {"websockets": websockets, "config": config}
        self._stack = ExitStack()
        self._running: RunningApp | None = None

    def start(self, app: Any, *, debug: bool = False, **dev_tools: Any) -> None:
        """Start an app; one that was started before is stopped.

        debug, dev_tools: as for ``app.run``; of its other arguments none makes sense here.
        """
        unknown = [name for name in dev_tools if not name.startswith("dev_tools_")]
        if unknown:
            raise TypeError(f"GatewayRunner knows debug and dev_tools_..., and not {', '.join(unknown)}")
        self.stop()
        app.scripts.config.serve_locally = app.css.config.serve_locally = True
        app.enable_dev_tools(debug=debug, **{"dev_tools_disable_version_check": True, **dev_tools})
        self._running = self._stack.enter_context(run_app(app, **self._options))

    __call__ = start

    def stop(self) -> None:
        """Stop what was started."""
        self._running = None
        self._stack.close()

    @property
    def url(self) -> str:
        """The gateway's URL."""
        return self._app.url

    @property
    def log(self) -> str:
        """What the gateway and the service have printed so far."""
        return self._app.log

    @property
    def _app(self) -> RunningApp:
        if self._running is None:
            raise RuntimeError("nothing runs yet; start an app first")
        return self._running

    def __enter__(self) -> GatewayRunner:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


@pytest.fixture
def dash_thread_server() -> Iterator[GatewayRunner]:
    """Take the place of the fixture of ``dash.testing`` with this name: ``dash_duo`` goes through the gateway then."""
    with GatewayRunner() as runner:
        yield runner


def _settings(dash_url: str, port: int, websockets: str | None, config: Config) -> dict[str, Any]:
    """Return the configuration. port: of the service."""
    unknown = config.keys() - {"gateway", "ws_service"}
    if unknown:
        raise ValueError(f"config has the sections gateway and ws_service, and not {', '.join(sorted(unknown))}")
    address = f"127.0.0.1:{port}"
    given = dict(config.get("gateway", {}))
    gateway: dict[str, Any] = {
        "listen": "127.0.0.1:0",
        "admin": "off",
        "handoff": "ws.sock",
        **given,
        "upstreams": {"dash": dash_url, "ws": f"http://{address}", **given.get("upstreams", {})},
        "timeouts": {"drain": "1s", "drain_window": "500ms", **given.get("timeouts", {})},
    }
    app = {} if websockets is None else {"app": websockets}
    return {
        "gateway": gateway,
        "ws_service": {"listen": address, "handoff": "ws.sock", "drain": "1s", **app, **config.get("ws_service", {})},
    }


@cache
def _key() -> str:
    """Return the hub's key of this process: ``Live`` and ``publish`` remember the one that they have found."""
    return secrets.token_urlsafe(32)


@cache
def _usual_port() -> int:
    return _free_port()


def _service_port() -> int:
    """Return the service's port: the same for one after the other, because ``publish`` remembers it too."""
    port = _usual_port()
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:  # another one runs at the same time
            return _free_port()
    return port


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _serving(server: Any) -> Any:
    """Return what serves an app in a thread for the length of a ``with`` block, and gives its URL."""
    if not callable(server):
        raise TypeError(f"{server!r} is no Dash app, and no server of one")
    return _asgi(server) if inspect.iscoroutinefunction(type(server).__call__) else _wsgi(server)


@contextmanager
def _wsgi(app: Any) -> Iterator[str]:
    from werkzeug.serving import make_server

    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, name="Dash", daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join(_STOP)
        server.server_close()


@contextmanager
def _asgi(app: Any) -> Iterator[str]:
    import uvicorn

    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1))
        thread = threading.Thread(target=server.run, args=([listener],), name="Dash", daemon=True)
        thread.start()
        try:
            while not server.started:
                if not thread.is_alive():
                    raise RuntimeError("Dash did not start; its log says why")
                time.sleep(0.01)
            yield "http://{}:{}".format(*listener.getsockname())
        finally:
            server.should_exit = True
            thread.join(_STOP)


class _Program:
    """A program of this package, started with a config file."""

    def __init__(self, module: str, config: Path) -> None:
        self._name = {"proxy": "dash-ws-proxy", "ws_service": "dash-ws-service"}[module]
        path = os.pathsep.join(filter(None, sys.path))  # what the test can import, the service can
        self._child = subprocess.Popen(
            [sys.executable, "-m", module, "--config", config],
            env={**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        assert self._child.stdout is not None
        self._output = OutputReader(self._child.stdout, self._name)

    @property
    def output(self) -> str:
        return self._output.text

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Wait until its output matches. Raises RuntimeError with the output when it ends before, or takes too long."""
        match = self._output.wait(lambda lines: re.search(pattern, "".join(lines)), _START)
        if match is None:
            raise RuntimeError(f"{self._name} did not start:\n{self.output}")
        return match

    def __enter__(self) -> _Program:
        return self

    def __exit__(self, *_: object) -> None:
        self._child.terminate()
        try:
            self._child.wait(_STOP)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        self._output.close(_STOP)
