"""The paths of the operator on the service's own listener: ``GET /metrics`` and ``GET /api/status``.

As for the hub's API, a request that came through a gateway is not for them: to it these paths are the app's, like any
other. ``/metrics`` needs no key, for it has no names of topics, users or clients in it; the status has them, and needs
the API's key. A page of another site, in a browser on this host, makes no work here: each answer asks all workers.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path

from starlette.types import Receive, Scope, Send

from ws_service.config.settings import Settings
from ws_service.errors import KeyFileError
from ws_service.handoff.protocol import MAX_WORKERS
from ws_service.hub.api_keys import NO_KEY, ApiKeys, is_forwarded
from ws_service.hub.assembly import Assembled, accepted_keys
from ws_service.hub.keys import load_keys
from ws_service.logs.limited_log import LimitedLog
from ws_service.metrics import exposition, status
from ws_service.metrics.process import METRICS, ProcessReport
from ws_service.metrics.siblings import Siblings
from ws_service.net.json_response import answer, answer_error
from ws_service.net.other_site import is_of_another_site
from ws_service.version import version
from ws_service.websocket.resources import Resources

log = logging.getLogger(__name__)
limited = LimitedLog(log)
"""For what a client can cause."""

METRICS_PATH, STATUS = "/metrics", "/api/status"

_MOST_WORKERS = 2 * MAX_WORKERS
"""While workers are replaced there may be two for one."""


class Reports:
    """An ASGI app for the paths that ``is_for_reports`` names.

    own: this process. keys: of the API. folder: of the processes that share the sockets; None: this one is alone.
    """

    def __init__(self, own: ProcessReport, keys: ApiKeys, folder: Path | None = None) -> None:
        self._own = own
        self._keys = keys
        self._siblings = Siblings(folder, own.answer)

    async def start(self, resources: Resources) -> None:
        """Begin. resources: of the connections of this process."""
        self._own.start(resources)
        try:
            await self._siblings.start(_MOST_WORKERS)
        except OSError as error:
            log.warning("metrics and status will be of one worker at a time, by chance: %s", error)
        self._own.worker = self._siblings.number

    async def close(self) -> None:
        """Measure nothing more, and answer other workers no more."""
        self._own.close()
        await self._siblings.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if _is_of_another_site(scope):
            await answer_error(send, 403, "This is not for pages of other sites; open it in a tab of its own.")
        elif scope["method"] not in ("GET", "HEAD"):
            await answer_error(send, 405, "This is got with GET.", (b"allow", b"GET, HEAD"))
        elif scope["path"] == METRICS_PATH:
            await self._metrics(scope, send)
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
        # A topic may be a large one in another worker.
        wanted = query._replace(topics=status.MOST) if self._siblings.are_several else query
        parts, missing = await self._siblings.ask(str(wanted).encode())
        await answer(send, 200, status.merged(map(json.loads, parts), missing, version(), query))

    async def _metrics(self, scope: Scope, send: Send) -> None:
        parts, missing = await self._siblings.ask(METRICS)
        accept = b",".join(value for name, value in scope["headers"] if name == b"accept").decode("latin-1")
        body, content_type = exposition.exposition(parts, missing, accept)
        fields = [
            (b"content-type", content_type.encode()),
            (b"content-length", b"%d" % len(body)),
            (b"cache-control", b"no-store"),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": fields})
        await send({"type": "http.response.body", "body": body})


def reports_of(settings: Settings, folder: Path, hub: Assembled | None, siblings: Path | None = None) -> Reports:
    """Make the reports of a process. folder: what the path of the key file starts from. siblings: as in ``Reports``.

    Without a hub the key is read for them alone; where it cannot be had, the status is refused.
    """
    if hub is not None:
        keys = hub.api_keys
    else:
        try:
            keys = ApiKeys(accepted_keys(settings.hub, load_keys(folder / settings.hub.key)))
        except KeyFileError:
            keys = ApiKeys(())
    return Reports(ProcessReport(hub), keys, siblings)


def _is_of_another_site(scope: Scope) -> bool:
    fields = dict(scope["headers"])
    return is_of_another_site(*map(fields.get, (b"sec-fetch-site", b"sec-fetch-mode", b"sec-fetch-dest")))


def is_for_reports(scope: Scope) -> bool:
    """Tell whether a scope is a request for the operator: its path, and no gateway on its way."""
    return scope["type"] == "http" and scope["path"] in (STATUS, METRICS_PATH) and not is_forwarded(scope)
