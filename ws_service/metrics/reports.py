"""The paths of the operator on the service's own listener: ``GET /metrics`` and ``GET /api/status``.

As for the hub's API, a request that came through a gateway is not for them: to it these paths are the app's, like any
other. ``/metrics`` needs no key, for it has no names of topics, users or clients in it; the status has them, and needs
the API's key.
"""

from __future__ import annotations

import logging
from importlib.metadata import version
from pathlib import Path

from starlette.types import Receive, Scope, Send

from ws_service.config.settings import Settings
from ws_service.errors import KeyFileError
from ws_service.hub.api_keys import NO_KEY, ApiKeys, is_forwarded
from ws_service.hub.assembly import Assembled, accepted_keys
from ws_service.hub.keys import load_keys
from ws_service.logs.limited_log import LimitedLog
from ws_service.metrics import status
from ws_service.metrics.process import ProcessReport
from ws_service.net.json_response import answer, answer_error
from ws_service.websocket.resources import Resources

log = logging.getLogger(__name__)
limited = LimitedLog(log)
"""For what a client can cause."""

STATUS = "/api/status"


class Reports:
    """An ASGI app for the paths that ``is_for_reports`` names.

    own: this process. keys: of the API.
    """

    def __init__(self, own: ProcessReport, keys: ApiKeys) -> None:
        self._own = own
        self._keys = keys

    async def start(self, resources: Resources) -> None:
        """Begin. resources: of the connections of this process."""
        self._own.resources = resources

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["method"] not in ("GET", "HEAD"):
            await answer_error(send, 405, "This is got with GET.", (b"allow", b"GET, HEAD"))
        elif not self._keys.has(scope):
            limited.say("status key", logging.WARNING, "refused a request for the status: no key, or a wrong one")
            await answer_error(send, 401, NO_KEY)
        else:
            await self._status(scope, send)

    async def _status(self, scope: Scope, send: Send) -> None:
        try:
            query = status.read_query(scope["query_string"].decode("latin-1"))
        except status.BadQuery as error:
            await answer_error(send, 400, f"{error}.")
            return
        await answer(send, 200, status.merged([self._own.status(query)], [], version("dash-ws-proxy"), query))


def reports_of(settings: Settings, folder: Path, hub: Assembled | None, worker: int = 0) -> Reports:
    """Make the reports of a process. folder: what the path of the key file starts from.

    Without a hub the key is read for them alone; where it cannot be had, the status is refused.
    """
    if hub is not None:
        keys = hub.api_keys
    else:
        try:
            keys = ApiKeys(accepted_keys(settings.hub, load_keys(folder / settings.hub.key)))
        except KeyFileError:
            keys = ApiKeys(())
    return Reports(ProcessReport(worker, hub), keys)


def is_for_reports(scope: Scope) -> bool:
    """Tell whether a scope is a request for the operator: its path, and no gateway on its way."""
    return scope["type"] == "http" and scope["path"] == STATUS and not is_forwarded(scope)
