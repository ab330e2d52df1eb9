"""The service as one ASGI app: the user's WebSocket endpoints, and ``/healthz``.

Plain uvicorn can run it, with the config file named by an environment variable::

    DASH_WS_PROXY_CONFIG=config.yaml uvicorn ws_service.app:create_app --factory
"""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path

from starlette.types import ASGIApp, Receive, Scope, Send

from ws_service import hosting
from ws_service.config import Settings, load_settings
from ws_service.configfile import find

log = logging.getLogger(__name__)

CONFIG_VARIABLE = "DASH_WS_PROXY_CONFIG"
"""Names the config file where there is no command line; unset means ``config.yaml``, if there is one."""

NOT_HTTP = "This is the WebSocket service: it answers WebSocket handshakes. Pages come from the Dash server."


class Service:
    """Sends each scope where it belongs: WebSockets and lifespan to the user's app, HTTP to our two answers.

    hosted: the user's app; None refuses every handshake.
    """

    def __init__(self, hosted: ASGIApp | None) -> None:
        self._hosted = hosted

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one scope."""
        if scope["type"] == "http":
            await _answer(scope, send)
        elif self._hosted is not None:
            await self._hosted(scope, receive, send)
        elif scope["type"] == "lifespan":
            await _bare_lifespan(receive, send)
        else:
            await send({"type": "websocket.close", "code": 1008})  # before an accept: a 403 for the client


def create_app(settings: Settings | None = None, folder: Path | None = None) -> Service:
    """Make the service.

    settings: None reads the file that ``DASH_WS_PROXY_CONFIG`` names, or
        ``config.yaml`` of the working directory when it is not set, and takes
        every default when there is none.
    folder: where the user's module is looked for first. None: the folder of
        that file, or the working directory.

    Raises ConfigError with every mistake in the file, and AppError when the
    app that it names cannot be served.
    """
    if settings is None:
        named = os.environ.get(CONFIG_VARIABLE)
        path, which = find(Path(named) if named else None)
        if which:
            log.info("%s", which)
        settings = load_settings(path)
        folder = folder or (path.parent if path else None)
    if settings.app is None:
        log.warning(
            "there is nothing to serve, so every WebSocket handshake is refused: "
            "name your app in the config, for example ws_service: {app: 'app:app'}"
        )
        return Service(None)
    return Service(hosting.load(settings.app, folder or Path.cwd()))


async def _answer(scope: Scope, send: Send) -> None:
    is_probe = scope["path"] == "/healthz" and scope["method"] in ("GET", "HEAD")
    status, content = (200, {"status": "ok"}) if is_probe else (404, {"error": "not found", "message": NOT_HTTP})
    body = json.dumps(content).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})


async def _bare_lifespan(receive: Receive, send: Send) -> None:
    for _ in ("startup", "shutdown"):
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
