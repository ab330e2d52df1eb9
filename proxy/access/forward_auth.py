"""Forward authentication: Dash is asked whether a request may pass, before anything of it is passed on.

The question is a GET to a path on Dash with the client's own fields, so that
Dash sees whose session it is. 2xx lets the request through, with the fields
of the answer that the rule names; whatever else Dash says is for the client.
Without an answer nobody passes.

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
from proxy.http1.headers import Fields, Head, folded, request_head
from proxy.http1.response_reader import Response
from proxy.upstream.connection import UpstreamConnection
from proxy.upstream.retry import hold, send
from proxy.upstream.upstream import Upstream

_MAX_BODY = 65536
"""Bytes of a 2xx answer that are read; who says yes needs none."""

_DASHS_PAGE = b'id="_dash-config"'
"""In every page that Dash makes (it insists). It makes one, with 200, for each path that nobody else serves."""

_NOT_ASKED = re.compile(rb"accept-encoding|expect|range|x-rewrite-url|(?:content|if|sec-websocket|x-original)-.*")
"""Fields about a body or an upgrade that do not come, or about which part of the answer is wanted; and those in which
other proxies write what we write in X-Forwarded-Uri."""

_ENTRIES = 4096
_BYTES = 1 << 20
"""What is remembered at most: answers, and bytes of their fields. Precedent: nginx sizes such a cache by hand."""


class Denied(NamedTuple):
    """Dash's answer about somebody who may not pass: to be relayed, and its connection to be released."""

    connection: UpstreamConnection
    answer: Response


class ForwardAuth:
    """Asks Dash, and remembers for as long as a rule says.

    claims: the fields that only an answer may say (``Guards.claims``). timeouts: of them ``auth`` for an answer, and
    those for a connection.
    """

    def __init__(self, upstream: Upstream, claims: frozenset[bytes], timeouts: Timeouts) -> None:
        self._upstream = upstream
        self._silenced = claims - {b"authorization"}  # what a client proves itself with is there to be judged
        self._timeouts = timeouts
        self._timeout = timeouts.auth
        self._memory = _Memory(_ENTRIES, _BYTES)

    async def ask(
        self, guard: AuthRule, head: Head, target: str, ours: Fields, *, is_handshake: bool
    ) -> Fields | Denied:
        """Return the fields to send on with a request that may pass, or the refusal.

        head, target: of the request. ours: the fields that tell Dash who asks for what (``Asked.fields_of``).

        Waits for a Dash that is away as the request itself does: nothing of that has been sent. Raises ProxyError when
        there is no answer, and when there is one that cannot be meant. Cancelling it, which is what the client's
        leaving does, ends the question.
        """
        question, fields = self._question(guard, head, target, ours, is_handshake)
        asked = time.monotonic()
        key = b""
        if guard.cache:
            key = self._memory.key(guard.name, request_head(question, guard.ask, _without(fields, b"x-request-id")))
            known = self._memory.get(key, asked)
            if known is not None:
                return known
        try:
            message = request_head(question, guard.ask, fields)

            async def attempt() -> tuple[UpstreamConnection, Response]:
                return await send(self._upstream, "GET", message, self._timeouts, self._timeout)

            connection, answer = await hold(self._upstream, attempt, self._timeouts.hold)
            if not 200 <= answer.status < 300:
                return Denied(connection, answer)
            await self._check(connection, guard)
        except TimeoutError:
            raise UpstreamTimeout(
                f"The upstream dash did not say within {self._timeout:g} s who may pass.",
                advice="For whoever runs this: gateway.timeouts.auth in the configuration is the limit.",
                detail=f"{guard.name}: the upstream dash did not say within {self._timeout:g} s who may pass",
            ) from None
        except ProxyError as error:
            error.detail = f"{guard.name}: {error.detail or error.message}"
            raise
        copied = tuple(field for field in answer.headers if field[0].lower() in guard.copied)
        if guard.cache:
            self._memory.put(key, copied, asked + guard.cache)
        return copied

    def _question(
        self, guard: AuthRule, head: Head, target: str, ours: Fields, is_handshake: bool
    ) -> tuple[Head, Fields]:
        """Return the head of the question, and our fields for it."""
        kept = [
            (name, value)
            for name, value in head.headers
            if not _NOT_ASKED.fullmatch(key := folded(name)) and key not in self._silenced
        ]
        about = [
            (b"Accept-Encoding", b"identity"),  # the answer is looked at
            (b"X-Forwarded-Method", head.method.encode("latin-1")),
            (b"X-Forwarded-Uri", target.encode("latin-1")),
        ]
        if is_handshake:
            about.append((b"X-Forwarded-Upgrade", b"websocket"))
        others = _without(ours, b"x-forwarded-method", b"x-forwarded-uri", b"x-forwarded-upgrade")
        return Head("GET", guard.ask, (1, 1), tuple(kept)), (*others, *about)

    async def _check(self, connection: UpstreamConnection, guard: AuthRule) -> None:
        """Read a 2xx to its end: that it is one that somebody meant, and so that its connection can be used again."""
        body = b""
        with self._upstream.lent(connection):
            async with asyncio.timeout(self._timeout):
                while not connection.is_complete and len(body) <= _MAX_BODY:
                    body += await connection.read()
        if _DASHS_PAGE in body:
            raise UpstreamError(
                "The upstream dash has no path that says who may pass: it answers with its page.",
                advice=f"For whoever runs this: gateway.{guard.name}.ask in the configuration must name a route that "
                "the Dash server has.",
            )
        if len(body) > _MAX_BODY:
            raise UpstreamError(
                f"The upstream dash sent more than {_MAX_BODY} bytes when it was asked who may pass.",
                advice=f"For whoever runs this: what gateway.{guard.name}.ask names should say yes in an empty body.",
            )


class _Memory:
    """Good answers until they expire; the oldest go first where there are too many.

    Known by a keyed hash of the whole question: an answer may rest on any part of it, and its cookies are not kept.
    """

    def __init__(self, entries: int, size: int) -> None:
        self._entries, self._size = entries, size
        self._secret = os.urandom(32)
        self._known: OrderedDict[bytes, tuple[float, Fields]] = OrderedDict()
        self._held = 0

    def key(self, name: str, question: bytes) -> bytes:
        return hashlib.blake2b(name.encode() + b"\0" + question, key=self._secret, digest_size=32).digest()

    def get(self, key: bytes, now: float) -> Fields | None:
        until, fields = self._known.get(key, (0.0, ()))
        return fields if now < until else None

    def put(self, key: bytes, fields: Fields, until: float) -> None:
        self._forget(key)
        self._known[key] = until, fields
        self._held += _size(fields)
        while len(self._known) > self._entries or self._held > self._size:
            self._forget(next(iter(self._known)))

    def _forget(self, key: bytes) -> None:
        _, fields = self._known.pop(key, (0.0, ()))
        self._held -= _size(fields)


def _size(fields: Fields) -> int:
    return sum(len(name) + len(value) for name, value in fields)


def _without(fields: Fields, *names: bytes) -> Fields:
    return tuple(field for field in fields if field[0].lower() not in names)
