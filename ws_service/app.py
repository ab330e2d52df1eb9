"""The service as one ASGI app: the user's WebSocket endpoints and HTTP routes, and ``/healthz``.

Plain uvicorn can run it, with the config file named by an environment variable::

    DASH_WS_PROXY_CONFIG=config.yaml uvicorn ws_service.app:create_app --factory

Then the limits and deadlines are uvicorn's, and those of its WebSocket library: 8 KiB for a field, unless
``WEBSOCKETS_MAX_LINE_LENGTH`` says otherwise.
"""

from __future__ import annotations

import logging
from pathlib import Path

from starlette.types import ASGIApp, Receive, Scope, Send

from ws_service.config.file import find
from ws_service.config.settings import Settings, load_settings
from ws_service.errors import AppError
from ws_service.hosting.broken_app import BrokenApp
from ws_service.hosting.hosted_app import empty_lifespan
from ws_service.hosting.not_found import refuse
from ws_service.hub.api import is_for_api
from ws_service.hub.assembly import Assembled
from ws_service.hub.paths import is_event_stream
from ws_service.logs.limited_log import LimitedLog
from ws_service.metrics.reports import Reports, is_for_reports
from ws_service.net.json_response import answer, answer_error

log = logging.getLogger(__name__)
limited = LimitedLog(log)
"""For what a client can cause."""

NO_APP = "This is the WebSocket service, and no app is named: set ws_service.app. Pages come from the Dash server."


class Service:
    """Sends each scope to the user's app, but for the health probe and what is the hub's.

    hosted: the user's app; None refuses everything. hub: of this process; None: there is none. reports: what the
    operator is told; None: nothing.
    """

    def __init__(self, hosted: ASGIApp | None, hub: Assembled | None = None, reports: Reports | None = None) -> None:
        self._hosted = hosted
        self._hub = hub
        self._reports = reports

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one scope."""
        if scope["type"] == "http" and scope["path"] == "/healthz" and scope["method"] in ("GET", "HEAD"):
            await self._health(send)
        elif self._reports is not None and is_for_reports(scope):
            await self._reports(scope, receive, send)
        elif self._hub is not None and is_for_api(scope):
            await self._hub.api(scope, receive, send)
        elif self._hub is not None and scope["type"] == "http" and is_event_stream(scope["path"]):
            await self._hub.streams(scope, receive, send)
        elif self._hosted is not None:
            await self._hosted(scope, receive, send)
        elif scope["type"] == "lifespan":
            await receive()
            await empty_lifespan(receive, send)
        elif scope["type"] == "http":
            await answer_error(send, 404, NO_APP)
        else:
            limited.say(
                "no app", logging.WARNING, "refused a WebSocket at %s: ws_service.app names no app", scope["path"]
            )
            await refuse(scope, send, f"{NO_APP}\n")

    async def _health(self, send: Send) -> None:
        if isinstance(self._hosted, BrokenApp):
            await answer_error(send, 503, self._hosted.problem)
        else:
            await answer(send, 200, {"status": "ok"})


def create_app(
    settings: Settings | None = None,
    folder: Path | None = None,
    place: str = "",
    hub: Assembled | None = None,
    reports: Reports | None = None,
) -> Service:
    """Make the service.

    settings: None reads the file that ``DASH_WS_PROXY_CONFIG`` names, or ``config.yaml`` of the working directory when
        it is not set, and takes every default when there is none.
    folder: where the user's module is looked for first. None: the folder of that file, or the working directory.
    hub: of this process, which its server starts and closes. None: there is none; plain uvicorn has none.
    reports: of this process, the same.
    place: file, line and key of ``ws_service.app``, for the message about an app that cannot be served. Empty: unknown.

    Raises ConfigError with every mistake in the file, and AppError when the app that it names cannot be served.
    """
    if settings is None:
        path, which = find(None)
        if which:
            log.info("%s", which)
        settings = load_settings(path)
        folder = folder or (path.parent if path else None)
    if settings.app is None:
        level, served, refused = (
            (logging.WARNING, "nothing", "every") if hub is None else (logging.INFO, "the hub alone", "every other")
        )
        log.log(
            level,
            "there is %s to serve, so %s WebSocket handshake is refused: "
            "name your app in the config, for example ws_service: {app: 'app:app'}",
            served,
            refused,
        )
        return Service(None, hub, reports)
    from ws_service.hosting import loader  # here: the hub alone, and what supervises workers, need no FastAPI

    try:
        return Service(loader.load(settings.app, folder or Path.cwd()), hub, reports)
    except AppError as error:
        if not place:
            raise
        raise AppError(place + str(error).removeprefix("ws_service.app ")) from error.__cause__
