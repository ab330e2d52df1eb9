"""One address that probes ask, over HTTP and WebSockets, by aiohttp's client."""

from __future__ import annotations

import asyncio
import ssl
import sys
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

import aiohttp

from proxy.upstream_settings import is_on_this_host

MAX_BODY = 4 << 20
"""Bytes of a body that are read. A page of Dash has a few KiB, a layout seldom a MiB."""

TIMEOUT = 20.0
"""Seconds for an answer. The first page of a Dash compiles its component suites."""

_CONNECT = 5.0
"""Seconds to connect."""

_CLOSE = 5.0
"""Seconds to the end of a WebSocket that is closed here."""

_ABORTS_TLS = sys.version_info < (3, 12, 7) or (3, 13, 0) <= sys.version_info < (3, 13, 1)
"""Whether aiohttp has to be told to end TLS connections whose peer does not answer their end (python/cpython#118960);
of WebSockets through nginx some stay open. Newer versions of Python need no help, and aiohttp warns of it there."""


@dataclass(frozen=True)
class _Head:
    """What every answer has."""

    status: int
    headers: Mapping[str, str]

    @property
    def content_type(self) -> str:
        """The media type alone, in lower case; empty where there is none."""
        return self.headers.get("Content-Type", "").partition(";")[0].strip().lower()

    @property
    def kind(self) -> str:
        """The status and the media type, for messages: ``200 text/html``."""
        return f"{self.status} {self.content_type}".strip()


@dataclass(frozen=True)
class Answer(_Head):
    """A response. body: its first ``MAX_BODY`` bytes, decompressed. fields: the headers in their order, repeated ones
    too.
    """

    body: bytes
    fields: tuple[tuple[str, str], ...] = ()

    @property
    def set_cookies(self) -> list[str]:
        """Each Set-Cookie field."""
        return [value for name, value in self.fields if name.lower() == "set-cookie"]

    @property
    def text(self) -> str:
        """The body as text; what is no UTF-8 is replaced."""
        return self.body.decode("utf-8", "replace")


@dataclass(frozen=True)
class Handshake(_Head):
    """The answer to a WebSocket handshake.

    headers: of a refusal; empty when it is open. is_open: 101, with the right Sec-WebSocket-Accept. protocol: the
    subprotocol that was chosen.
    """

    is_open: bool
    protocol: str | None = None


class Endpoint:
    """An address.

    name: for messages. address: ``http://host:port``, ``https://…`` or ``unix:path``. A path at the end of a URL is
    where its page is. context: for TLS; None does not check the certificate, for the gateway on this host.
    fields: header fields of every request, such as a Cookie; they may be secret.

    ``close`` gives back what it holds.
    """

    def __init__(
        self, name: str, address: str, context: ssl.SSLContext | None = None, fields: Mapping[str, str] = {}
    ) -> None:
        self.name = name
        self.address = address
        self.is_unix = address.startswith("unix:")
        parts = urlsplit("http://localhost/" if self.is_unix else address)
        self.origin = f"{parts.scheme}://{parts.netloc}"
        self.host = parts.hostname or ""
        self.port = parts.port or (443 if parts.scheme == "https" else 80)
        self.path = parts.path or "/"
        self._ssl: ssl.SSLContext | bool = context or False
        self._fields = fields
        self._session: aiohttp.ClientSession | None = None

    @property
    def is_of_this_host(self) -> bool:
        """Whether it is certain that no other host answers here: a unix socket, or a loopback address."""
        return is_on_this_host(self.address)

    @property
    def session(self) -> aiohttp.ClientSession:
        """The client: it keeps no cookie, follows no setting of the environment, and raises for no status."""
        if self._session is None:
            connector = (
                aiohttp.UnixConnector(self.address[5:])
                if self.is_unix
                else aiohttp.TCPConnector(ssl=self._ssl, enable_cleanup_closed=_ABORTS_TLS)
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                headers=self._fields,
                timeout=aiohttp.ClientTimeout(total=TIMEOUT, sock_connect=_CONNECT),
                cookie_jar=aiohttp.DummyCookieJar(),
                middlewares=(_refuse_redirects_of_handshakes,),
            )
        return self._session

    async def close(self) -> None:
        """Close its connections."""
        if self._session is not None:
            await self._session.close()
            await asyncio.sleep(0)  # what was aborted is given back in the next turn of the loop

    async def ask(
        self, path: str, *, method: str = "GET", headers: Mapping[str, str] | None = None, data: bytes | None = None
    ) -> Answer:
        """Send a request and read the response; redirects are not followed.

        path: with its query. Raises aiohttp.ClientError, OSError, TimeoutError.
        """
        async with self.session.request(
            method, self.url_of(path), headers=headers, data=data, allow_redirects=False
        ) as response:
            body = bytearray()
            async for chunk in response.content.iter_any():
                body += chunk
                if len(body) >= MAX_BODY:
                    break
            return Answer(response.status, response.headers, bytes(body[:MAX_BODY]), tuple(response.headers.items()))

    async def handshake(
        self, path: str, *, origin: str | None = None, protocols: Iterable[str] = (), headers: Mapping[str, str] = {}
    ) -> Handshake:
        """Try to open a WebSocket, and close it at once. origin: None sends no Origin field."""
        try:
            async with self.connect(path, origin=origin, protocols=protocols, headers=headers) as socket:
                return Handshake(101, {}, True, socket.protocol)
        except aiohttp.WSServerHandshakeError as error:
            return Handshake(error.status, error.headers or {}, False)

    @asynccontextmanager
    async def connect(
        self,
        path: str,
        *,
        origin: str | None = None,
        protocols: Iterable[str] = (),
        headers: Mapping[str, str] = {},
        compress: int = 0,
        max_size: int = MAX_BODY,
    ) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        """Open a WebSocket for the length of a ``with`` block.

        origin: None sends no Origin field. compress: the window bits to offer permessage-deflate with; 0 does not.
        max_size: bytes of a message. Raises aiohttp.WSServerHandshakeError for a refusal.
        """
        async with self.session.ws_connect(
            self.url_of(path),
            origin=origin,
            protocols=tuple(protocols),
            headers=dict(headers),
            compress=compress,
            max_msg_size=max_size,
            timeout=aiohttp.ClientWSTimeout(ws_close=_CLOSE),
        ) as socket:
            try:
                yield socket
            finally:
                with suppress(TimeoutError):  # ws_close begins anew with each message that still comes
                    await asyncio.wait_for(socket.close(), _CLOSE)

    def url_of(self, path: str) -> str:
        """Return the URL of a path, which may be one that a page has named.

        After an origin, ``@host/`` and ``.host/`` would lead to another host, and the fields with it. Raises
        aiohttp.InvalidURL for what does not begin with a slash.
        """
        if not path.startswith("/"):
            raise aiohttp.InvalidUrlClientError(path, "is no path")
        return self.origin + path


async def _refuse_redirects_of_handshakes(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Raise WSServerHandshakeError for a redirect: ``ws_connect`` follows it, and no browser does."""
    response = await handler(request)
    if "Upgrade" in request.headers and 300 <= response.status < 400:
        response.release()
        raise aiohttp.WSServerHandshakeError(
            response.request_info,
            response.history,
            message="redirected",
            status=response.status,
            headers=response.headers,
        )
    return response
