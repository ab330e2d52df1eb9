"""Servers for the tests of this folder: a real uvicorn in a thread, and modules written as a user writes them."""

from __future__ import annotations

import http.client
import json
import sys
import textwrap
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from starlette.types import ASGIApp

from ws_service import server
from ws_service.config.addresses import split_listen
from ws_service.config.settings import Settings
from ws_service.logs.limited_log import LimitedLog
from ws_service.net.listening import bind_tcp, find


class Threaded(server.Server):
    """The service's own server, which a test waits for."""

    def __init__(self, app: ASGIApp, settings: Settings, **parts: Any) -> None:
        address = server.spoken(settings.listen)
        super().__init__(
            server.server_config(app, settings),
            address=address,
            drain=settings.drain,
            memory_per_client=settings.memory_per_client,
            handshake=settings.handshake,
            **parts,
        )
        self.is_settled = threading.Event()

    async def startup(self, sockets: object = None) -> None:
        try:
            await super().startup(sockets)  # type: ignore[arg-type]
        finally:
            self.is_settled.set()


@contextmanager
def serving(app: ASGIApp, settings: Settings | None = None, **parts: Any) -> Iterator[str]:
    """Serve an ASGI app on a free port for the length of a ``with`` block; yields ``host:port``.

    parts: of the server, such as its hub.
    """
    settings = settings or Settings()
    host, _ = split_listen(settings.listen)
    (bound,) = bind_tcp(find(str(host), 0)).sockets
    threaded = Threaded(app, settings, **parts)
    thread = threading.Thread(target=threaded.run, args=([bound],), name="service under test")
    address = "{}:{}".format(*bound.getsockname())
    thread.start()
    try:
        assert threaded.is_settled.wait(20), "the service did not start"
        assert threaded.started, "the app's lifespan failed"
        yield address
    finally:
        threaded.should_exit = True
        thread.join(20)
        assert not thread.is_alive()


@contextmanager
def modules(folder: Path, **sources: str) -> Iterator[Path]:
    """Write modules into a folder; forget them, and what loading put on ``sys.path``, at the end of the block."""
    for name, source in sources.items():
        path = folder.joinpath(*name.split("__", 1)).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(source))
    path_before, modules_before = list(sys.path), set(sys.modules)
    try:
        yield folder
    finally:
        sys.path[:] = path_before
        for name, module in list(sys.modules.items()):
            if name not in modules_before and str(getattr(module, "__file__", "")).startswith(str(folder)):
                del sys.modules[name]


def ask(address: str, method: str, path: str) -> tuple[int, Any]:
    with closing(http.client.HTTPConnection(address, timeout=20)) as connection:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())


def forget(monkeypatch: pytest.MonkeyPatch, log: LimitedLog) -> None:
    """Let a limited log begin as if it had written nothing yet."""
    monkeypatch.setattr(log, "_last", {})
    monkeypatch.setattr(log, "_skipped", {})
