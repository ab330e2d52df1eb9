"""The HTTP API on the service's own listener: ``POST /api/<method>`` with ``X-API-Key``.

The gateway never reaches it. A request that came through a gateway has forwarding fields, which every gateway writes
and no client can take off; to it these paths are the app's, like any other.
"""

from __future__ import annotations

import logging

from starlette.types import Receive, Scope, Send

from ws_service.hub.api_keys import NO_KEY, ApiKeys, is_forwarded
from ws_service.hub.api_methods import Methods
from ws_service.hub.codes import BAD_REQUEST, LIMIT_EXCEEDED, UNAUTHORIZED
from ws_service.hub.protocol import UnreadableMessage, read_json
from ws_service.logs.limited_log import LimitedLog
from ws_service.net.json_response import answer_error

log = logging.getLogger(__name__)
limited = LimitedLog(log)
"""For what a client can cause."""

METHODS = "publish broadcast batch presence presence_stats history channels disconnect unsubscribe info".split()

ENVELOPE = 64 << 10
"""Bytes of a request beside the data that is published: names, tags, keys."""


class Api:
    """An ASGI app for the paths that ``is_for_api`` names.

    methods: what it calls. keys: of requests that it takes. max_body: bytes of a request.
    """

    def __init__(self, methods: Methods, keys: ApiKeys, max_body: int) -> None:
        self._methods = methods
        self._keys = keys
        self._max_body = max_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request. The key is checked before anything of the body is read."""
        if scope["method"] != "POST":
            await answer_error(send, 405, "The API takes POST.", (b"allow", b"POST"))
        elif not self._keys.has(scope):
            limited.say("api key", logging.WARNING, "refused a request to the API of the hub: no key, or a wrong one")
            self._methods.refuse(_method(scope), UNAUTHORIZED)
            await answer_error(send, 401, NO_KEY)
        else:
            await self._answer(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await _body(receive, self._max_body)
        if body is None:
            self._methods.refuse(_method(scope), LIMIT_EXCEEDED)
            await answer_error(send, 413, f"The request has more than {self._max_body} bytes (ws_service.hub).")
            return
        try:
            values = read_json(body) if body.strip() else {}
        except UnreadableMessage:
            self._methods.refuse(_method(scope), BAD_REQUEST)
            await answer_error(send, 400, "The body is no JSON.")
            return
        await _send(send, await self._methods.answer(_method(scope), values))


def is_for_api(scope: Scope) -> bool:
    """Tell whether a scope is a request to the API: its path, and no gateway on its way."""
    if scope["type"] != "http":
        return False
    folder, _, method = scope["path"].rpartition("/")
    return folder == "/api" and method in METHODS and not is_forwarded(scope)


def _method(scope: Scope) -> str:
    return str(scope["path"].rpartition("/")[2])


async def _body(receive: Receive, most: int) -> bytes | None:
    """Return the body; None when it is larger than ``most`` bytes, or its client has gone."""
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return None
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > most:
            return None
        if not message.get("more_body", False):
            return b"".join(parts)


async def _send(send: Send, body: bytes) -> None:
    fields = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": fields})
    await send({"type": "http.response.body", "body": body})
