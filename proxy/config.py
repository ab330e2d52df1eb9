"""The ``gateway`` section of ``config.yaml``: every setting with its default, its unit and its danger."""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Network
from os import environ
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, PlainSerializer, model_validator

from ws_service.configfile import (
    Duration,
    Listen,
    Section,
    Size,
    SocketPath,
    check_port,
    dump,
    load,
    parse_network,
    split_listen,
)
from ws_service.errors import ConfigError

__all__ = ["ConfigError", "Route", "Settings", "Timeouts", "Upstreams", "dump", "load_settings", "split_listen"]

_NETLOC = re.compile(r"(?:\[[0-9A-Fa-f:.%]+\]|[A-Za-z0-9._-]+)(?::(?P<port>.*))?")

Service = Literal["dash", "ws"]
"""The two services behind the gateway."""


def _upstream_url(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"expected a URL such as http://127.0.0.1:8050, got {value!r}")
    if value.startswith("unix:"):
        if not value[5:]:
            raise ValueError("the path after unix: is missing")
        return value
    try:
        parts = urlsplit(value)
    except ValueError as error:
        raise ValueError(f"{value!r} is not a URL: {error}") from None
    if parts.scheme != "http":
        raise ValueError(f"{value!r} does not begin with http:// (or unix:); the way to an upstream is plain HTTP/1.1")
    # urlsplit drops empty queries, empty fragments, tabs and line ends without a word.
    is_whole = value == value.strip() and value.isprintable() and not set("?#@") & set(value)
    if not is_whole or parts.path not in ("", "/"):
        raise ValueError(
            f"{value!r} holds more than a host and a port; paths are passed on as they come, "
            "so write http://host:port alone"
        )
    match = _NETLOC.fullmatch(parts.netloc)
    if match is None:
        raise ValueError(f"{value!r} names no host; write http://host:port")
    if match["port"] is not None:
        check_port(match["port"])
    return value.rstrip("/")


def _peers(value: object) -> object:
    if value == "unix":
        return value
    try:
        return parse_network(value)
    except ValueError as error:
        raise ValueError(f"{error}, or unix for those who come through a unix socket") from None


Url = Annotated[str, BeforeValidator(_upstream_url)]
Peers = Annotated[
    IPv4Network | IPv6Network | Literal["unix"],
    BeforeValidator(_peers),
    PlainSerializer(str),
]
"""An address, a network, or ``unix``: whoever connects through the unix socket that ``listen`` names."""


class Upstreams(Section):
    """Where the two services listen: ``http://host:port`` or ``unix:path``."""

    dash: Url = "http://127.0.0.1:8050"
    """The Dash server: Flask or FastAPI, unmodified."""

    ws: Url = "http://127.0.0.1:8765"
    """The service that hosts the WebSocket endpoints."""


class Route(Section):
    """One rule of your own, tried before the built-in ones.

    Every condition that is given must hold. Among the rules that match, the
    longest path wins, then the one with more conditions, then the first.
    """

    path: str | None = None
    """Path prefix, whole segments: ``/live`` means ``/live`` and ``/live/...``, never ``/lively``. None: any path."""

    host: str | None = None
    """Host name, without port. None: any host."""

    subprotocol: str | None = None
    """A subprotocol that the WebSocket client offers. None: any request, also plain HTTP."""

    to: Service
    """Where it goes, WebSocket and plain HTTP alike."""

    @model_validator(mode="after")
    def _has_a_condition(self) -> Route:
        if self.path is None and self.host is None and self.subprotocol is None:
            raise ValueError("matches everything; give it a path, a host or a subprotocol")
        if self.path is not None and not self.path.startswith("/"):
            raise ValueError(f"path {self.path!r} must begin with /")
        if self.path is not None and re.search(r"\?|%[0-9A-Fa-f]{2}", self.path):
            raise ValueError(f"path {self.path!r} can match nothing: it is compared decoded, and without the query")
        if self.host is not None and ":" in self.host.rpartition("]")[2]:
            raise ValueError(f"host {self.host!r} can match nothing: it is compared without the port")
        for name in ("host", "subprotocol"):
            if getattr(self, name) == "":
                raise ValueError(f"{name} is empty; leave it out, or say which")
        return self


class Timeouts(Section):
    """How long each wait may last. 0 is no wait at all, never "for ever"."""

    head: Duration = 15.0
    """For a client to send the head of its first request after connecting. Precedents: nginx 60s, aiohttp none."""

    body: Duration = 60.0
    """Between two pieces of a request body (408 behind it). Precedent: nginx client_body_timeout 60s."""

    keepalive: Duration = 75.0
    """Between two requests on a client's connection. Precedent: nginx 75s."""

    connect: Duration = 5.0
    """To connect to an upstream. Loopback answers at once: a longer wait is a full backlog or a lost packet."""

    handshake: Duration = 15.0
    """For an upstream to answer a WebSocket handshake once connected (504 behind it)."""

    response: Duration = 600.0
    """For an upstream to begin its answer. Long on purpose: a Dash callback may compute for minutes, and a proxy that
    gives up after 60s (nginx's default) throws its result away."""

    upstream_idle: Duration = 1.5
    """How long an unused connection to an upstream is kept. Must be shorter than the upstream's own keep-alive
    (gunicorn 2s, uvicorn 5s), or a request can meet the upstream's close half-way."""

    tunnel_idle: Duration = 3600.0
    """A tunnel with no byte in either direction for so long is closed. Dash's worker sends a heartbeat every 30s;
    nginx's 60s is the most reported fault of proxied WebSockets."""

    drain: Duration = 20.0
    """At a stop, for requests and tunnels to end before they are cut."""


class Settings(Section):
    """The gateway's settings."""

    listen: Listen = "127.0.0.1:8000"
    """Where browsers come in. ``0.0.0.0:8000`` opens it to the network."""

    admin: Listen = "127.0.0.1:8001"
    """Health answers for process managers and load balancers. Never the public port."""

    upstreams: Upstreams = Upstreams()

    handoff: SocketPath = "run/ws.sock"
    """The socket file through which WebSockets for ``ws`` are handed over to the service on this host, so that the
    gateway leaves the path: no copy, no CPU, and they live on while it restarts. Relative to the config file; without
    one, to the working directory. Where nobody answers there, a tunnel carries them; ``off`` always tunnels. Danger:
    it must be the service that ``upstreams.ws`` names."""

    routes: tuple[Route, ...] = ()
    """Your own rules, before the built-in ones."""

    trusted_proxies: tuple[Peers, ...] = ()
    """Proxies in front whose X-Forwarded-* and X-Request-ID are believed. Danger: whoever is in here can claim any
    client address. Nobody by default: then those fields are removed from every request and written anew."""

    access_log: Literal["text", "json", "off"] = "text"
    """One line per finished exchange, on standard output."""

    timeouts: Timeouts = Timeouts()

    buffer: Annotated[Size, Field(ge=4096)] = 65536
    """Bytes held per direction of an exchange before the sender is made to wait."""

    def handoff_path(self, folder: Path) -> Path | None:
        """Return ``handoff`` as a path; None where it is off. folder: of the config file."""
        return None if self.handoff == "off" else folder / self.handoff

    @model_validator(mode="after")
    def _has_two_listeners(self) -> Settings:
        if self.listen == self.admin:
            raise ValueError(f"listen and admin are both {self.listen}; health answers need an address of their own")
        return self


def load_settings(path: Path | None, env: Mapping[str, str] = environ) -> Settings:
    """Read the gateway's section of a file; None means every default. Raises ``ConfigError`` with all mistakes.

    Paths of unix sockets are relative to the file, so that it does not matter where the program is started.
    """
    settings = load(path, "gateway", Settings, env)
    if path is None:
        return settings
    folder = path.absolute().parent
    return settings.model_copy(
        update={
            "listen": _anchored(settings.listen, folder),
            "admin": _anchored(settings.admin, folder),
            "upstreams": Upstreams(**{name: _anchored(url, folder) for name, url in settings.upstreams}),
        }
    )


def _anchored(address: str, folder: Path) -> str:
    return f"unix:{folder / address[5:]}" if address.startswith("unix:") else address
