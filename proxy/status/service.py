"""Asks the WebSocket services for what only they know: the sockets that were handed over to them, and the hub's topics.

They are asked when a person looks at the status, and not before: the gateway itself needs none of it.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import aiohttp
from pydantic import ValidationError

from proxy.status.query import MOST_SHOWN, SHOWN, Query
from proxy.status.service_answer import ServiceAnswer

TOPICS = 20
"""Topics that are shown: those with most subscribers."""

TIMEOUT = 2.0
"""Seconds for a service to answer: the page asks every other second, and the admin listener waits 5."""

FRESH = 1.0
"""Seconds for which an answer serves others with the same question: several pages cost the service what one does."""

_MOST = 1 << 20
"""Bytes of an answer. 500 sockets take 150 KiB, with the longest paths 400. To read it takes up to 0.1 s, whatever it
holds."""

_KEY_AGAIN = 5.0
"""Seconds before a key that was refused, or could not be found, is looked for again."""


class NoKey(Exception):
    """There is no key to the service's API. Its text says why."""


FindKey = Callable[[], str]
"""Returns the API's key; raises NoKey. It may read files, and is called in a thread."""


def find_no_key() -> str:
    """Have no key. Raises NoKey."""
    raise NoKey("this gateway has no key to it")


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """What the service at one address has answered.

    answer: None where there is none. problem: why, in a sentence; empty where there is.
    """

    url: str
    answer: ServiceAnswer | None
    problem: str = ""


class _Question:
    """A question that was asked, and the answers to it. lock: held while it is asked."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.read_at = float("-inf")
        self.answers: list[ServiceStatus] = []


class ServiceReader:
    """Reads ``/api/status`` of the services. find_key: looks for the key; called when there is none yet."""

    def __init__(self, find_key: FindKey) -> None:
        self._find_key = find_key
        self._key: str | None = None
        self._is_refused = False  # by one of them; the others may know it
        self._no_key = ""
        self._key_sought = float("-inf")
        self._key_lock = asyncio.Lock()
        self._urls: Sequence[str] = ()
        self._questions: dict[str, _Question] = {}  # by their target, at these URLs

    async def read(self, urls: Sequence[str], query: Query, context: ssl.SSLContext | None) -> list[ServiceStatus]:
        """Ask each service. It raises nothing, and takes ``TIMEOUT`` seconds at the most, or a little more.

        urls: of the services. query: which sockets are listed. context: for ``https``. Cancelling it is safe.

        Who asks the same waits for one answer. Who asks something else does not wait for it: with a service that hangs
        a third page would wait for longer than the admin listener does.
        """
        if urls != self._urls:
            self._urls, self._questions = urls, {}
        target = _target(query)
        question = self._questions.setdefault(target, _Question())
        async with question.lock:
            if time.monotonic() - question.read_at >= FRESH:
                async with self._key_lock:
                    await self._look_for_key()
                question.answers = list(await asyncio.gather(*(self._ask(url, target, context) for url in urls)))
                question.read_at = time.monotonic()
            return question.answers

    # -- inside

    async def _look_for_key(self) -> None:
        is_good = self._key is not None and not self._is_refused
        if is_good or time.monotonic() - self._key_sought < _KEY_AGAIN:
            return
        self._key_sought = time.monotonic()
        try:
            self._key, self._is_refused = await asyncio.to_thread(self._find_key), False
        except NoKey as error:
            self._key, self._no_key = None, str(error)

    async def _ask(self, url: str, target: str, context: ssl.SSLContext | None) -> ServiceStatus:
        if self._key is None:
            return ServiceStatus(url, None, self._no_key)
        try:
            async with asyncio.timeout(TIMEOUT):
                status, body = await _get(url, target, self._key, context)
        except TimeoutError:
            return ServiceStatus(url, None, f"it did not answer within {TIMEOUT:g} s")
        except (aiohttp.ClientError, OSError) as error:
            return ServiceStatus(url, None, f"it cannot be asked: {_reason(error)}")
        return self._read(url, status, body)

    def _read(self, url: str, status: int, body: bytes) -> ServiceStatus:
        if status == 401:
            self._is_refused = True
            return ServiceStatus(url, None, "the service has another key than this gateway")
        if status != 200:
            return ServiceStatus(url, None, f"it answered {status}, which no dash-ws-service of this version does")
        try:
            return ServiceStatus(url, ServiceAnswer.model_validate_json(body))
        except ValidationError as error:
            first = error.errors(include_url=False, include_context=False, include_input=False)[0]
            where = ".".join(map(str, first["loc"]))
            return ServiceStatus(url, None, f"its answer cannot be read: {where}: {first['msg']}")


def _target(query: Query) -> str:
    """Return what a service is asked for: one of few questions, however many there are here, so that they share the
    answers. The service does not look for text, so more of its sockets are looked through here."""
    sockets = MOST_SHOWN if query.find or query.limit > SHOWN else SHOWN
    return f"/api/status?sockets={sockets}&topics={TOPICS}&sort={query.order}"


async def _get(url: str, target: str, key: str, context: ssl.SSLContext | None) -> tuple[int, bytes]:
    """Return the status and the body of a response. Raises ClientError and OSError."""
    is_unix = url.startswith("unix:")
    connector = aiohttp.UnixConnector(url[5:]) if is_unix else aiohttp.TCPConnector(ssl=context or True)
    base = "http://localhost" if is_unix else url
    async with (
        aiohttp.ClientSession(connector=connector, auto_decompress=False) as session,
        session.get(base + target, headers={"X-API-Key": key}, allow_redirects=False) as response,
    ):
        body = bytearray()
        async for piece in response.content.iter_any():
            body += piece
            if len(body) > _MOST:
                raise aiohttp.ClientPayloadError("its answer is too long")
        return response.status, bytes(body)


def _reason(error: Exception) -> str:
    inner = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    if isinstance(inner, OSError) and inner.strerror:
        return inner.strerror.lower()
    return str(error) or type(error).__name__
