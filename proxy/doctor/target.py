"""What probes are given: the settings, the addresses to ask, and the pages that have been read."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from proxy import config as gateway
from proxy.config import anchored
from proxy.dash.page_config import PageConfig, read_page
from proxy.doctor.catalogue import CATALOGUE
from proxy.doctor.client_address import client_address
from proxy.doctor.endpoint import Answer, Endpoint
from proxy.doctor.finding import Finding, Place, of_mistake
from proxy.net.tls import upstream_context
from proxy.status.service_key import find_service_key
from ws_service.config import settings as service
from ws_service.config.file import ConfigFile
from ws_service.config.yaml_text import KeyPath, dotted

DEFAULTS = "the defaults"
"""The source where there is no file."""

LOGIN = frozenset((301, 302, 303, 307, 308, 401))
"""What a client gets that has to log in first."""

LOGIN_OR_FORBIDDEN = LOGIN | {403}
"""The same where no Origin field was sent, which 403 could be about."""

NEEDS_LOGIN = "it needs a login: log in with a browser, and give -H 'Cookie: ...'"

_SEE_ABOVE = "see callbacks and sockets above"

OTHER_SITE = "https://dash-ws-proxy-check.invalid"
"""The origin of a site that no set-up allows: the name cannot exist (RFC 6761, section 6.4)."""


def why_refused(status: int) -> str:
    """Return what to say of what was asked as a page that may, and refused: the areas before have said most."""
    if status in LOGIN:
        return NEEDS_LOGIN
    return f"{_SEE_ABOVE}, or {NEEDS_LOGIN}" if status == 403 else _SEE_ABOVE


class Skipped(Exception):
    """Raised by a probe that does not concern this set-up, or that needs what another area did not find.

    The message says why, in a few words.
    """


@dataclass(frozen=True)
class Page:
    """A page that was read. config: what Dash says in it; None: it is no page of Dash."""

    path: str
    answer: Answer
    config: PageConfig | None


class Target:
    """A set-up that is examined.

    settings, service: the sections of both programs, paths made whole. folder: of the config file, from which
    ``service.handoff`` and ``hub.key`` start. is_written: for each section, whether the file has it.
    is_prefix_written: whether it has ``gateway.dash_prefix``.

    gateway: where its clients connect; None where the config does not say it (``listen: systemd``, port 0), until the
    gateway does.
    fields: header fields of a client that is logged in, for requests to the app. echo: the path of a WebSocket that
    sends back what it gets; None: none is known. idle: seconds to keep a WebSocket open at the public URL; 0: none is.
    upstream_tls: for ``https`` upstreams, as the gateway has it: the fields go there, and the key of the service.
    admin: None where it is off. upstreams: the addresses of each, asked without the gateway; dash, ws: the one of them
    that is asked. public: what ``--url`` says, None without. An endpoint that did not take a connection is not in
    ``reachable``.

    Everything that probes share is here; they run one after the other. Raises TlsError where ``upstream_ca`` cannot be
    used.
    """

    def __init__(
        self,
        settings: gateway.Settings,
        service_settings: service.Settings,
        folder: Path,
        file: ConfigFile | None = None,
        url: str | None = None,
        fields: Mapping[str, str] = {},
        *,
        echo: str | None = None,
        idle: float = 0,
    ) -> None:
        self.settings = anchored(settings, folder)
        self.is_prefix_written = "dash_prefix" in settings.model_fields_set
        self.service = service_settings
        self.folder = folder
        self.fields, self.echo, self.idle = fields, echo, idle
        self._file = file
        self.is_written: Mapping[str, bool] = {
            name: file is not None and file.has(name) for name in (gateway.NAME, service.NAME)
        }
        has_tls = self.settings.tls is not None
        self.gateway = _endpoint("gateway", client_address(self.settings.listen, has_tls=has_tls), fields)
        self.admin = _endpoint("admin", client_address(self.settings.admin))
        is_secure = any(each.url.startswith("https:") for each in self.settings.upstreams.all_addresses)
        self.upstream_tls = upstream_context(self.settings.upstream_ca) if is_secure else None
        self.upstreams = {
            name: tuple(
                Endpoint(name, each.url, self.upstream_tls, fields if name == "dash" else {}) for each in addresses
            )
            for name, addresses in self.settings.upstreams.by_name.items()
        }
        self.dash, self.ws = self.upstreams["dash"][0], self.upstreams["ws"][0]
        self.public = Endpoint("public", url, ssl.create_default_context(), fields) if url else None
        self.reachable: set[Endpoint] = set()
        self.told_page: str | None = None
        self._pages: dict[tuple[Endpoint, str], Page] = {}

    @property
    def source(self) -> str:
        """The config file's name, for places."""
        return DEFAULTS if self._file is None else self._file.source

    @property
    def browser_endpoint(self) -> Endpoint:
        """Where browsers connect: the public URL if one is given, else the gateway.

        Raises Skipped where neither is known, or where it is not reachable.
        """
        if self.public is not None:
            if self.public not in self.reachable:
                raise Skipped("the public address cannot be used")
            return self.public
        if self.gateway is None:
            raise Skipped("the gateway's address is neither in the config nor known from gateway.admin; give --url")
        if self.settings.proxy_protocol:
            raise Skipped("only a proxy can ask the gateway (proxy_protocol); give --url")
        if self.gateway not in self.reachable:
            raise Skipped("the gateway cannot be reached")
        return self.gateway

    @property
    def has_hub(self) -> bool:
        """Whether the service has a hub, as far as it is known: a file for the gateway alone says nothing of it."""
        return self.service.has_hub and (self._file is None or self.is_written[service.NAME])

    @property
    def page_path(self) -> str:
        """The path at which the app's first page is expected."""
        if self.settings.dash_prefix != "auto":
            return self.settings.dash_prefix
        return self.told_page or "/" if self.public is None else self.public.path

    def own_origin(self, endpoint: Endpoint) -> str:
        """Return the origin of a page that may open WebSockets at an endpoint."""
        allowed = self.settings.origins
        if endpoint is self.public or "same" in allowed or "any" in allowed:
            return endpoint.origin
        return next((origin for origin in allowed if not origin.startswith("regex:")), endpoint.origin)

    def find_service_key(self) -> str:
        """Return the key to the API of the WebSocket service. It reads files. Raises NoKey."""
        return find_service_key(None if self._file is None else Path(self._file.source))

    async def dash_config(self) -> PageConfig:
        """Return what Dash's page says, without the gateway. Raises Skipped where it is not known."""
        if self.dash not in self.reachable:
            raise Skipped("Dash cannot be reached")
        config = (await self.page(self.dash)).config
        if config is None:
            raise Skipped("no page of Dash was read")
        return config

    def found(self, identifier: str, seen: str, fix: str = "", key: KeyPath = ()) -> Finding:
        """Return a finding.

        identifier: one of the catalogue. seen: what was seen, a sentence. fix: what to do, a sentence.
        key: the setting to look at, its section first; empty: none.
        """
        kind = CATALOGUE[identifier]
        if not key:
            return Finding(identifier, kind, seen, fix)
        if self._file is None:
            return Finding(identifier, kind, seen, fix, Place(self.source, key=dotted(key)))
        place = of_mistake(identifier, kind, self.source, self._file.objection(key, seen)).place
        return Finding(identifier, kind, seen, fix, place)

    async def page(self, endpoint: Endpoint, path: str | None = None) -> Page:
        """Return a page; it is asked for once. path: None is ``page_path``, or the path of the public URL.

        Raises aiohttp.ClientError, OSError, TimeoutError.
        """
        if path is None:
            path = endpoint.path if endpoint is self.public and endpoint.path != "/" else self.page_path
        known = self._pages.get((endpoint, path))
        if known is None:
            answer = await endpoint.ask(path, headers={"Accept": "text/html"})
            known = self._pages[endpoint, path] = Page(path, answer, read_page(answer.text))
        return known

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """Close every endpoint's connections at the end of the ``with`` block."""
        try:
            yield
        finally:
            of_upstreams = (endpoint for endpoints in self.upstreams.values() for endpoint in endpoints)
            endpoints = (self.gateway, self.admin, self.public, *of_upstreams)
            closing = [endpoint.close() for endpoint in endpoints if endpoint is not None]
            await asyncio.gather(*closing)  # all of them, whatever becomes of one


def _endpoint(name: str, address: str | None, fields: Mapping[str, str] = {}) -> Endpoint | None:
    return None if address is None else Endpoint(name, address, fields=fields)
