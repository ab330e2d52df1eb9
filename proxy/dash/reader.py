"""Asking Dash: its page is read when Dash becomes reachable, and what the page claims about origins is tried.

In a task of its own, on connections of its own, with a deadline: no request waits for it, and what is not known leaves
everything as the configuration says (docs/decisions/029-dash-is-asked.md).
"""

from __future__ import annotations

import asyncio
import base64
import logging
import os
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from functools import partial

from proxy.config import AUTO, Settings
from proxy.dash.facts import NOT_ASKED, UNKNOWN, DashFacts, socket_paths
from proxy.dash.page_config import PageConfig, read_page
from proxy.errors import ProxyError
from proxy.http1.response_reader import Response
from proxy.upstream.address import Address
from proxy.upstream.connection import UpstreamConnection
from proxy.upstream.health import State
from proxy.upstream.upstream import Upstream

logger = logging.getLogger("proxy")

ASK_AGAIN = 300.0
"""Seconds after which Dash is asked again although it has not been away: a server that reloads its workers (gunicorn's
HUP) never is, and a restart may fall between two probes."""

_DEADLINE = 10.0
"""Seconds for all that is asked at one time. The first page of a Dash takes a second or two."""

_RETRY = 15.0
"""Seconds after which it is asked again that has not answered."""

_PAUSE = 1.0
"""Seconds between two times, however often Dash comes and goes."""

_HEAD_START = 2.0
"""Seconds that requests have which are under way when Dash becomes reachable. The first one makes Dash set itself up;
one that comes in the middle of that gets a page without the files of ``assets/`` from a Dash with threads
(``_setup_server`` of dash.py, 4.4.1)."""

_GLANCE = 0.05
"""Seconds between two looks at what is under way: an event would be looked for at the end of each request."""

_MAX_PAGE = 1 << 20
"""Bytes of a page that are read: 10 ms of JSON. Dash's own part of a page has 3 to 10 KiB."""

_MAX_REDIRECTS = 3

_TARGET = re.compile(r"/[!-~]{0,2047}")

_FIELDS = "User-Agent: dash-ws-proxy\r\nAccept-Encoding: identity\r\n"

_NO_SITE = "http://origin-check.invalid"
"""The origin of no page (RFC 6761, section 6.4)."""


class NotRead(Exception):
    """Dash has answered, and not with its page; the message is a clause for the log."""


class DashReader:
    """Asks one Dash, and keeps what is known of it.

    upstream: Dash. settings: of them ``dash_prefix``, where the page is; and ``health.interval``: without health checks
    Dash is not asked either. on_change: called with what is known whenever that changes; it must not raise.
    """

    def __init__(self, upstream: Upstream, settings: Settings, on_change: Callable[[DashFacts], None]) -> None:
        self._upstream = upstream
        self._settings = settings
        self._on_change = on_change
        self._watched: tuple[Address, ...] = ()
        self._hint: str | None = None
        self._was_hint = False  # whether the last look was at a place that a request had named
        self._requested = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.facts = UNKNOWN

    # -- its life

    def start(self) -> None:
        """Ask as soon as Dash can be reached, and each time that it can be again."""
        self._watch(self._upstream.addresses)
        self._ask_if_reachable()
        self._task = asyncio.get_running_loop().create_task(self._run(), name="reader of Dash's page")

    def reconfigure(self, upstream: Upstream, settings: Settings) -> None:
        """Ask again, perhaps at another address. What was known of another Dash is forgotten."""
        is_another, is_elsewhere = upstream is not self._upstream, upstream.addresses != self._watched
        self._upstream, self._settings = upstream, settings
        if is_another:
            self._become(UNKNOWN)
        elif is_elsewhere:
            self._become(self.facts.without_proof())
        self._watch(upstream.addresses)
        self._ask_if_reachable()

    def close(self) -> None:
        """Ask no more."""
        self._watch(())
        if self._task is not None:
            self._task.cancel()

    async def closed(self) -> None:
        """Wait until its task has ended, after ``close``."""
        if self._task is not None:
            await asyncio.wait([self._task])

    @property
    def is_looking(self) -> bool:
        """Whether it does not know yet where Dash's page is."""
        return self.facts.page is None and self._is_on

    def look_at(self, path: str) -> None:
        """Look for the page at a path: a request has found Dash there. One at a time."""
        if self.is_looking and self._hint is None:
            self._hint = path
            self._requested.set()

    # -- inside

    @property
    def _is_on(self) -> bool:
        return self._settings.health.interval > 0

    def _watch(self, addresses: tuple[Address, ...]) -> None:
        for address in self._watched:
            address.health.on_change = lambda _: None
        self._watched = addresses
        for address in addresses:
            address.health.on_change = partial(self._health_changed, address)

    def _health_changed(self, address: Address, before: State) -> None:
        """Forget what has been shown: another program may be there now, or come back. Ask again."""
        if address.health.is_unreachable or before in (State.UNKNOWN, State.UNREACHABLE):
            self._become(self.facts.without_proof())
            self._ask_if_reachable()

    def _ask_if_reachable(self) -> None:
        if not self._is_on:
            self._become(NOT_ASKED)
        elif any(_is_reachable(address) for address in self._watched):
            self._requested.set()

    def _become(self, facts: DashFacts) -> None:
        if facts != self.facts:
            self.facts = facts
            self._on_change(facts)

    async def _run(self) -> None:
        interval = ASK_AGAIN
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(interval):
                    await self._requested.wait()
            known = None if self._requested.is_set() else self.facts
            self._requested.clear()
            if known is None:
                await self._let_requests_go_first()
            upstream = self._upstream
            if upstream.health.is_unreachable or not self._is_on:
                continue
            facts, interval = await self._ask(upstream, known)
            if upstream is self._upstream and not upstream.health.is_unreachable and self._is_on:
                # If it has gone and come back meanwhile, another program may be there now, and is asked next.
                self._become(facts.without_proof() if self._requested.is_set() else facts)
            await asyncio.sleep(_PAUSE)

    async def _let_requests_go_first(self) -> None:
        """Wait for what is under way, ``_HEAD_START`` at most."""
        for _ in range(round(_HEAD_START / _GLANCE)):
            await asyncio.sleep(_GLANCE)  # requests that waited for Dash have been sent after it
            if not any(address.slots.taken for address in self._upstream.addresses):
                return

    async def _ask(self, upstream: Upstream, known: DashFacts | None) -> tuple[DashFacts, float]:
        """Return what is known now, and the seconds until it is asked again at the latest. known: as for ``ask``."""
        path, is_hint = self._first_path()
        self._was_hint = is_hint
        is_silent = False
        try:
            return await ask(upstream, path, known), ASK_AGAIN
        except NotRead as error:
            if self.facts.page is not None or self._hint is not None:
                self._requested.set()  # it may be another one now, elsewhere
            return self.facts if is_hint else DashFacts(why=str(error)), ASK_AGAIN
        except TimeoutError:
            why, is_silent = f"it did not answer within {_DEADLINE:g} s", True
        except ProxyError as error:
            why = error.message
        except Exception:  # without the task, nothing would be asked any more
            logger.exception("a fault of the gateway itself, in the reader of Dash's page")
            why = "a fault of the gateway itself"
        # A Dash that is busy is the one that was known: it has not been away.
        facts = DashFacts(why=why) if self.facts.page is None else self.facts
        return replace(facts, is_silent=is_silent), _RETRY

    def _first_path(self) -> tuple[str, bool]:
        """Return where the page is looked for: where the file says, where it was, or where a request has found Dash.

        And whether it is the last: what a client has asked for. That is every second look at the most, however many
        places clients make up; the hint that is left out waits for the next one.
        """
        hint = self._hint
        if self._settings.dash_prefix == AUTO and self.facts.page is None and hint is not None and self._was_hint:
            return "/", False
        self._hint = None
        if self._settings.dash_prefix != AUTO:
            return self._settings.dash_prefix, False
        if self.facts.page is not None:
            return self.facts.page_path, False
        return hint or "/", hint is not None


async def ask(upstream: Upstream, path: str, known: DashFacts | None = None) -> DashFacts:
    """Read Dash's page, and try at which WebSocket Dash checks origins itself.

    path: the target of the page. known: what holds on if the page is the same, because Dash has not been away: each try
    is two lines in its log. None: it is tried.
    Raises ProxyError when Dash cannot be reached, NotRead when it answers with something else, and TimeoutError after
    10 seconds. Cancelling closes what is open.
    """
    async with asyncio.timeout(_DEADLINE):
        return await _ask(upstream, path, known)


async def _ask(upstream: Upstream, path: str, known: DashFacts | None) -> DashFacts:
    addresses = [address for address in upstream.addresses if not address.health.is_unreachable]
    page, path = await _page((addresses or upstream.addresses)[0], path)
    if known is not None and (page, path) == (known.page, known.page_path):
        return replace(known, is_silent=False)
    checks = [
        where
        for where in socket_paths(page, path)
        if all([await _checks_origin(address, where) for address in addresses])
    ]
    return DashFacts(page, "", path, frozenset(checks))


async def _page(address: Address, path: str) -> tuple[PageConfig, str]:
    """Return the configuration in the page at a path, or where it redirects to; and that path."""
    for _ in range(_MAX_REDIRECTS + 1):
        head = (
            f"GET {path} HTTP/1.1\r\nHost: {_host(address)}\r\nAccept: text/html\r\n{_FIELDS}Connection: close\r\n\r\n"
        )
        async with _answered(address, head) as (connection, response):
            if response.status in (301, 302, 303, 307, 308):
                path = _redirected(address, path, response)
                continue
            if response.status != 200:
                hint = "; if the app has a prefix, write it in gateway.dash_prefix" if response.status == 404 else ""
                raise NotRead(f"GET {path} answered {response.status}{hint}")
            body = b""
            while data := await connection.read():
                body += data
                if len(body) > _MAX_PAGE:
                    raise NotRead(f"GET {path} answered more than {_MAX_PAGE} bytes")
        page = read_page(body.decode("utf-8", "replace"))
        if page is None:
            raise NotRead(f"GET {path} answered with a page that is not Dash's")
        return page, path
    raise NotRead(f"it redirects from page to page, at last to {path}")


def _redirected(address: Address, path: str, response: Response) -> str:
    """Return the target that a redirect names, if that is on the same server."""
    said = b"".join(response.all(b"location")[:1]).decode("latin-1")
    for scheme in ("http", "https"):
        said = said.removeprefix(f"{scheme}://{_host(address)}")
    if not _TARGET.fullmatch(said) or said.startswith("//"):
        raise NotRead(f"GET {path} answered {response.status}, to another place")
    return said.partition("#")[0]


async def _checks_origin(address: Address, path: str) -> bool:
    """Tell whether Dash accepts a handshake of its own page at a path, and refuses the same of another site's page.

    Both: a server that refuses every handshake without a cookie has not shown that it looks at Origin.
    """
    own = f"{'https' if address.url.startswith('https:') else 'http'}://{_host(address)}"
    return await _status(address, path, _NO_SITE) == 403 and await _status(address, path, own) == 101


async def _status(address: Address, path: str, origin: str) -> int:
    # The query is for the person who reads Dash's log, and wonders about the 403.
    head = (
        f"GET {path}?dash-ws-proxy=checks-origins HTTP/1.1\r\nHost: {_host(address)}\r\nOrigin: {origin}\r\n{_FIELDS}"
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}\r\n\r\n"
    )
    async with _answered(address, head, is_handshake=True) as (_, response):
        return response.status


def _host(address: Address) -> str:
    return address.authority.decode()


@asynccontextmanager
async def _answered(
    address: Address, head: str, *, is_handshake: bool = False
) -> AsyncIterator[tuple[UpstreamConnection, Response]]:
    """Send a request on a connection of its own, closed at the end of the ``with`` block."""
    connection = await address.connect(_DEADLINE)
    try:
        connection.begin("GET", may_switch=is_handshake)
        connection.write(head.encode())
        yield connection, await connection.head()
    finally:
        connection.abort()


def _is_reachable(address: Address) -> bool:
    return address.health.state in (State.UP, State.DEGRADED)
