"""Forward authentication: Dash is asked whether a request may pass, before anything of it is passed on.

The subrequest is a GET to a path on Dash with the client's own fields, so
that Dash sees whose session it is. 2xx lets the request through, with the
fields of the response that the rule names; every other response is relayed to the
client. Without a response no request passes.

Precedents: nginx's auth_request, Caddy's forward_auth, Traefik's ForwardAuth;
the names X-Forwarded-Method and X-Forwarded-Uri are those of the last two.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import time
from collections import OrderedDict
from typing import NamedTuple

from proxy.access.auth_rules import AuthRule
from proxy.config import Timeouts
from proxy.errors import ProxyError, UpstreamError, UpstreamTimeout
from proxy.exchange.record import Exchange
from proxy.http1.headers import Fields, Head, folded, request_head
from proxy.http1.response_reader import Response
from proxy.upstream.connection import UpstreamConnection
from proxy.upstream.retry import retry, send_request
from proxy.upstream.upstream import Upstream

_MAX_BODY = 65536
"""Bytes of a 2xx response that are read; none are needed."""

_DASH_PAGE = b'id="_dash-config"'
"""In every page that Dash makes (it insists). It makes one, with 200, for each path that has no route of its own."""

_NOT_SENT = re.compile(rb"accept-encoding|expect|range|x-rewrite-url|(?:content|if|sec-websocket|x-original)-.*")
"""Fields about a body or an upgrade that the subrequest does not have, or about which part of the response is wanted;
and those in which other proxies write what is in X-Forwarded-Uri here."""

_OF_A_TRACE = (b"traceparent", b"tracestate")
"""Fields that are sent to Dash, and are others in each request of a client that takes part in a trace (W3C Trace
Context): with them in its key, no answer would be used twice."""

_ENTRIES = 4096
_BYTES = 1 << 20
"""What is kept at most: responses, and bytes of their fields. Precedent: nginx sizes such a cache by hand."""


class Allowed(NamedTuple):
    """The request may pass. headers: the fields of the response that go to the upstream with it."""

    headers: Fields = ()


class Denied(NamedTuple):
    """The request may not pass. response: Dash's response, to be relayed; connection: on which it comes, to be
    released."""

    connection: UpstreamConnection
    response: Response


class ForwardAuth:
    """Asks Dash, and keeps a 2xx for as long as a rule says.

    upstream: Dash. identity_headers: the fields that only a response may set (``AuthRules.identity_headers``).
    timeouts: of them ``auth`` for a response, and those for a connection.
    """

    def __init__(self, upstream: Upstream, identity_headers: frozenset[bytes], timeouts: Timeouts) -> None:
        self._upstream = upstream
        # Not Authorization: what a client proves itself with is there to be judged.
        self._removed = identity_headers - {b"authorization"}
        self._timeouts = timeouts
        self._timeout = timeouts.auth
        self._cache = _Cache(_ENTRIES, _BYTES)

    async def ask(
        self, rule: AuthRule, head: Head, target: str, added: Fields, exchange: Exchange, *, is_handshake: bool
    ) -> Allowed | Denied:
        """Return whether a request may pass.

        head, target, exchange: of the request. added: the fields that tell Dash what was asked, and by which client
        (``OriginalRequest.fields_of``).

        Waits for a Dash that cannot be reached as the request itself does: nothing of that has been sent. Raises
        ProxyError when there is no response, and when there is one that cannot be meant. Cancelling it, which is what
        the client's leaving does, ends the subrequest.
        """
        subrequest, fields = self._subrequest(rule, head, target, added, is_handshake)
        asked = time.monotonic()
        key = b""
        if rule.cache:
            asked_by = subrequest.with_fields(_without(subrequest.headers, *_OF_A_TRACE))
            key = self._cache.key(rule.name, request_head(asked_by, rule.ask, _without(fields, b"x-request-id")))
            cached = self._cache.get(key, asked)
            if cached is not None:
                return cached
        try:
            result = await self._send(rule, request_head(subrequest, rule.ask, fields), exchange)
        except TimeoutError:
            raise UpstreamTimeout(
                f"The upstream dash did not answer the auth request within {self._timeout:g} s.",
                advice="For the operator: gateway.timeouts.auth in the configuration is the limit.",
                detail=f"{rule.name}: the upstream dash did not answer the auth request within {self._timeout:g} s",
            ) from None
        except ProxyError as error:
            error.detail = f"{rule.name}: {error.detail or error.message}"
            raise
        if rule.cache and isinstance(result, Allowed):
            self._cache.put(key, result, asked + rule.cache)
        return result

    def _subrequest(
        self, rule: AuthRule, head: Head, target: str, added: Fields, is_handshake: bool
    ) -> tuple[Head, Fields]:
        """Return the head of the subrequest, and the fields that are added to it."""
        kept = [
            (name, value)
            for name, value in head.headers
            if not _NOT_SENT.fullmatch(key := folded(name)) and key not in self._removed
        ]
        about = [
            (b"Accept-Encoding", b"identity"),  # the body of a 2xx is read
            (b"X-Forwarded-Method", head.method.encode("latin-1")),
            (b"X-Forwarded-Uri", target.encode("latin-1")),
        ]
        if is_handshake:
            about.append((b"X-Forwarded-Upgrade", b"websocket"))
        others = _without(added, b"x-forwarded-method", b"x-forwarded-uri", b"x-forwarded-upgrade")
        return Head("GET", rule.ask, (1, 1), tuple(kept)), (*others, *about)

    async def _send(self, rule: AuthRule, message: bytes, exchange: Exchange) -> Allowed | Denied:
        """Send a subrequest, and read its response. Raises ProxyError and TimeoutError."""

        async def attempt() -> tuple[UpstreamConnection, Response]:
            return await send_request(self._upstream, "GET", message, self._timeouts, self._timeout)

        connection, response = await retry(self._upstream, attempt, self._timeouts.hold, exchange)
        if not 200 <= response.status < 300:
            return Denied(connection, response)
        await self._check(connection, rule)
        return Allowed(tuple(field for field in response.headers if field[0].lower() in rule.copied))

    async def _check(self, connection: UpstreamConnection, rule: AuthRule) -> None:
        """Read a 2xx to its end: to see that it is meant, and so that its connection can be used again."""
        body = b""
        with self._upstream.lent(connection):
            async with asyncio.timeout(self._timeout):
                while not connection.is_complete and len(body) <= _MAX_BODY:
                    body += await connection.read()
        if _DASH_PAGE in body:
            raise UpstreamError(
                "The upstream dash has no route for the auth request: it answers with its page.",
                advice=f"For the operator: gateway.{rule.name}.ask in the configuration must name a route that "
                "the Dash server has.",
            )
        if len(body) > _MAX_BODY:
            raise UpstreamError(
                f"The upstream dash answered the auth request with more than {_MAX_BODY} bytes.",
                advice=f"For the operator: what gateway.{rule.name}.ask names should answer 2xx with an empty body.",
            )


class _Cache:
    """Results until they expire; the oldest are dropped where there are too many.

    The key is a keyed hash of the whole subrequest: a response may depend on any part of it, and its cookies are not
    kept.
    """

    def __init__(self, entries: int, size: int) -> None:
        self._most_entries, self._most_bytes = entries, size
        self._secret = os.urandom(32)
        self._results: OrderedDict[bytes, tuple[float, Allowed]] = OrderedDict()
        self._bytes = 0

    def key(self, name: str, subrequest: bytes) -> bytes:
        return hashlib.blake2b(name.encode() + b"\0" + subrequest, key=self._secret, digest_size=32).digest()

    def get(self, key: bytes, now: float) -> Allowed | None:
        until, result = self._results.get(key, (0.0, None))
        return result if now < until else None

    def put(self, key: bytes, result: Allowed, until: float) -> None:
        self._drop(key)
        self._results[key] = until, result
        self._bytes += _size(result.headers)
        while len(self._results) > self._most_entries or self._bytes > self._most_bytes:
            self._drop(next(iter(self._results)))

    def _drop(self, key: bytes) -> None:
        if key in self._results:
            self._bytes -= _size(self._results.pop(key)[1].headers)


def _size(fields: Fields) -> int:
    return sum(len(name) + len(value) for name, value in fields)


def _without(fields: Fields, *names: bytes) -> Fields:
    return tuple(field for field in fields if field[0].lower() not in names)
