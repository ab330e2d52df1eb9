"""The ``gateway`` section of ``config.yaml``: every setting with its default, its unit and its danger."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from ipaddress import IPv4Network, IPv6Network
from os import environ
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, PlainSerializer, field_validator, model_validator
from pydantic_core import PydanticCustomError

from proxy.origin import check_origin
from proxy.upstream_settings import UpstreamAddress, Upstreams, refuse, unknown, unused, wrong_name
from ws_service.config.addresses import (
    OFF,
    SYSTEMD,
    SocketPath,
    listen_like,
    parse_network,
    passed_name,
    split_listen,
    split_port,
    split_url,
)
from ws_service.config.file import ConfigFile, Objection, Section, dump, load
from ws_service.config.mistakes import Conflict
from ws_service.config.sections import GATEWAY_ADMIN, GATEWAY_LISTEN, HANDOFF
from ws_service.config.units import Duration, Size
from ws_service.errors import ConfigError

__all__ = [
    "Auth",
    "ConfigError",
    "Health",
    "Limits",
    "Objection",
    "Route",
    "Settings",
    "Timeouts",
    "Tls",
    "UpstreamAddress",
    "Upstreams",
    "dump",
    "load_settings",
    "passed_name",
    "split_listen",
    "split_port",
    "split_url",
]

NAME = "gateway"
"""The section's key in the file."""

_FIELD_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}")

_NOT_COPIED = re.compile(
    r"connection|cookie|date|expect|forwarded|front-end-https|host|http2-settings|keep-alive|origin|path-info|range"
    r"|script-name|set-cookie|te|trailer|transfer-encoding|upgrade|x-real-ip|x-request-id|x-scheme|x-url-scheme"
    r"|(?:content|if|proxy|sec|x-forwarded|x-original)-.*"
)
"""Fields that frame a message, end at each hop, or are set by the browser or the gateway: an answer of Dash about a
user must not set them for a request."""

_WORKER = re.compile(r"\.[0-9]+$")
"""How the socket file of a service's further process ends (``ws_service.handoff.protocol.socket_path``)."""

_HEALTH_KEYS = "known here: interval, timeout, fails, passes, and the names of upstreams, each with a path: /healthz"

_ASK = re.compile(r"/[!-\x22$-~]*")

MANY_READINGS = re.compile(r"[?#;\\\x00-\x1f\x7f\ufffd]|%[0-9A-Fa-f]{2}|//|/\.\.?(?:/|$)")
"""What servers read differently in a decoded path: some merge slashes (Werkzeug), resolve dots, cut at ``;`` or ``?``,
take a backslash for a slash, or decode once more."""


def _peers(value: object) -> object:
    if value == "unix":
        return value
    try:
        return parse_network(value)
    except ValueError as error:
        raise ValueError(f"{error}, or unix for clients of the unix socket") from None


def _origin(value: object) -> str:
    if value is None:
        return "null"  # YAML reads the bare word so; browsers send it for pages that have no origin
    if not isinstance(value, str):
        raise ValueError(f"expected an origin such as https://app.example.com, got {value!r}")
    if value in ("same", "any", "null"):
        return value
    if value.startswith("regex:"):
        try:
            re.compile(value[6:])
        except re.error as error:
            raise ValueError(f"{value!r} is not a regular expression: {error}") from None
        return value
    return check_origin(value)


def _host_name(value: object) -> object:
    if isinstance(value, str) and re.fullmatch(r"[A-Za-z0-9._-]{1,253}", value):
        return value.lower()
    raise ValueError(f"{value!r} is not the name of a host; write it without a scheme and without a port")


def _copied_field(value: object) -> object:
    if not isinstance(value, str):
        return value
    if not _FIELD_NAME.fullmatch(value):
        raise ValueError(f"{value!r} is not the name of a header field; write one such as X-User")
    if _NOT_COPIED.fullmatch(value.lower().replace("_", "-").replace(".", "-")):
        raise ValueError(f"{value} cannot be copied to a request; name fields about the user, such as X-User")
    return value


Origin = Annotated[str, BeforeValidator(_origin)]
"""``same``, ``any``, ``null``, ``regex:...`` or an origin as browsers write it (RFC 6454, section 6.2)."""

HostName = Annotated[str, BeforeValidator(_host_name)]
"""A name, without a port."""

CopiedField = Annotated[str, BeforeValidator(_copied_field)]
"""The name of a field that says something about a user."""

Peers = Annotated[
    IPv4Network | IPv6Network | Literal["unix"],
    BeforeValidator(_peers),
    PlainSerializer(str),
]
"""An address, a network, or ``unix``: every client of the unix socket that ``listen`` names."""


def _path(value: object) -> object:
    if value is None or (isinstance(value, str) and re.fullmatch(r"/[!-~]*", value)):
        return value
    raise ValueError(f"{value!r} is no path; write one that begins with /, its special characters encoded")


AskedPath = Annotated[str | None, BeforeValidator(_path)]
"""A request target to ask an upstream for."""


AUTO = "auto"
"""What is read from Dash itself."""


def is_path_prefix(value: str) -> bool:
    """Tell whether paths may begin with a text, from slash to slash, so that all programs read it alike."""
    return re.fullmatch(r"/(?:[!-~]{0,1022}/)?", value) is not None and not MANY_READINGS.search(value)


def _prefix(value: object) -> object:
    if isinstance(value, str) and (value == AUTO or is_path_prefix(value)):
        return value
    raise ValueError(
        f"{value!r} is not a path prefix; write auto, or Dash's requests_pathname_prefix, which begins and ends with / "
        "and has no //, dot segments, ?, #, ; or percent-encoding: /app/"
    )


DashPrefix = Annotated[str, BeforeValidator(_prefix)]
"""What paths begin with, from slash to slash, or ``auto``."""


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

    to: str
    """The upstream that it goes to, WebSocket and plain HTTP alike: ``dash``, ``ws``, or a name of your own."""

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


class Auth(Section):
    """Forward authentication: a request that matches is passed on once Dash allows it, WebSocket and plain HTTP alike.

    Among the rules that match, the longest path wins, then the one with a host.
    """

    path: str = "/"
    """Path prefix, whole segments: ``/admin`` means ``/admin`` and ``/admin/...``. ``/``: everything. Danger: the
    pages of a Dash app come through ``/_dash-update-component`` and ``/_dash-layout``, whatever their path; only ``/``
    protects them."""

    host: str | None = None
    """Host name, without port. None: any host. Danger: the client chooses the Host field, and Dash seldom checks it;
    keep a rule without a host as well."""

    ask: str | None
    """The path on Dash that answers 2xx for a request that may pass; any other answer goes to the client as it is. None
    (in the file: ``null``) allows every request, for a login page under a protected path."""

    copy_headers: tuple[CopiedField, ...] = ()
    """Fields of the answer that go to the upstream with the request, such as X-User. What clients send in a
    field that any rule names here is removed from every request."""

    cache: Duration = 0.0
    """How long a 2xx answer is used for the same request again: same fields (cookies, Authorization, ...), client,
    method and URL. 0 asks for each request. Danger: a user who is locked out keeps access for so long."""

    @model_validator(mode="after")
    def _means_something(self) -> Auth:
        if not self.path.startswith("/") or (self.path != "/" and self.path.endswith("/")):
            raise ValueError(f"path {self.path!r} must begin with / and not end with it; it means everything below too")
        if MANY_READINGS.search(self.path):
            raise ValueError(
                f"path {self.path!r} must be simple: it is compared decoded and without the query, "
                "and servers read //, dots, ; and \\ differently"
            )
        if self.host is not None and (not self.host or ":" in self.host.rpartition("]")[2]):
            raise ValueError(f"host {self.host!r} can match nothing: it is compared without the port")
        if self.ask is None:
            if self.host is not None:
                raise ValueError("allows every request with this host, and any client can write it; use path alone")
            if self.copy_headers or self.cache:
                raise ValueError("does not ask, so there is no answer to copy from or to cache; leave those two out")
        elif not _ASK.fullmatch(self.ask):
            raise ValueError(f"ask {self.ask!r} must be a path on Dash, such as /auth")
        return self


class Tls(Section):
    """The certificate of the public listener; both files are read again on SIGHUP. TLS 1.2 and newer."""

    certificate: str
    """PEM file: the certificate, followed by its chain. Relative to the config file."""

    key: str
    """PEM file: the private key, without a passphrase. Relative to the config file."""


class Health(Section):
    """How the gateway finds out whether an upstream can be reached, besides what its requests meet.

    An address that takes no connection is unreachable and left out; where its upstream has no other, requests wait
    (``timeouts.hold``). One that takes connections and does not answer its path with 2xx or 3xx is degraded, in the log
    and on ``/readyz``, and is asked where there is no better one: the path may be what is wrong. An upstream of your
    own has its path under its own name.
    """

    model_config = ConfigDict(extra="allow")

    __pydantic_extra__: dict[str, AskedPath] = Field(init=False)

    interval: Duration = 5.0
    """Between two probes of an address. 0: none; then only real requests tell, and Dash's page is not read either
    (``dash_prefix``). One that is left out is probed once a second. Precedents: HAProxy 2s, Caddy 30s."""

    timeout: Duration = 2.0
    """For a probe to succeed."""

    fails: Annotated[int, Field(ge=1)] = 2
    """Probes that fail, one after the other, before the upstream counts as unreachable. Precedent: HAProxy 3."""

    passes: Annotated[int, Field(ge=1)] = 1
    """Probes that succeed before it counts as reachable again. Precedent: HAProxy 2."""

    dash: AskedPath = None
    """A path on Dash that answers 2xx or 3xx when Dash is healthy. None: a connection is enough."""

    ws: AskedPath = None
    """A path on the ws service that answers 2xx or 3xx when it is healthy (its own is ``/healthz``). None: as above."""

    @model_validator(mode="before")
    @classmethod
    def _has_paths(cls, value: Any) -> Any:
        """Take a path for a name: it may be an upstream of the operator's own. All else is a setting, or is none."""
        others = set(value) - set(cls.model_fields) if isinstance(value, Mapping) else set()
        names = [str(name) for name in others if not str(value[name] or "/").startswith("/")]
        refuse(cls, [((name,), unknown(_HEALTH_KEYS)) for name in names], value)
        return value

    def path_for(self, upstream: str) -> str | None:
        """Return the path that an upstream is asked for; None: a connection is enough. upstream: its name."""
        path: str | None = getattr(self, upstream, None)
        return path


class Limits(Section):
    """How much a client, or all of them, may use. ``null`` is no limit, where it is allowed.

    A client is an address (of IPv6 its /64, which is what one customer gets, and behind NAT64 the IPv4 address): the
    peer's, or the one that a trusted proxy forwards for. A proxy in front that is not in ``trusted_proxies`` is one
    client.
    """

    request_line: Annotated[Size, Field(ge=1024)] = 16384
    """Bytes of a request line, without its line end; 414 above it. Precedents: nginx 8KiB, Node 16KiB (whole head),
    HAProxy 16KiB."""

    header: Annotated[Size, Field(ge=1024)] = 65536
    """Bytes of all header fields of a request, line ends included; 431 above it. Precedents: nginx 32KiB, Node 16KiB,
    Go 1MiB. Single sign-on in front of dashboards makes cookies of several KiB."""

    fields: Annotated[int, Field(ge=16)] = 128
    """Header fields of a request; 431 above it. Precedents: Apache 100, HAProxy 101."""

    body: Size | None = None
    """Bytes of a request's body, its transfer coding aside; 413 above it. Null: Dash's own limits hold. Precedents:
    nginx 1MiB (a known trap for uploads), HAProxy none."""

    connections: Annotated[int, Field(ge=1)] | None = None
    """Connections of all clients together, those handed over not counted; further clients wait to be accepted.
    Null: half of what the limit of open files leaves, because a connection and its upstream take one each.
    Precedents: nginx 512, HAProxy from its descriptors."""

    connections_per_client: Annotated[int, Field(ge=1)] | None = 1000
    """Connections of one client, those handed over not counted; one more is answered 429 (over TLS not at all) and
    closed. Peers in ``trusted_proxies`` have no such limit. Precedents: nginx and HAProxy none. Danger: an office
    behind one address shares it, and so do all clients of a proxy that is not named."""

    websockets_per_client: Annotated[int, Field(ge=1)] | None = 1000
    """WebSockets of one client, those handed over too; 429 above it. Precedents: Centrifugo 0 (none)."""

    handshakes_per_second: Annotated[int, Field(ge=1)] | None = 100
    """WebSocket handshakes of one client: so many at once, as many again wait for up to a second, more are answered
    429. Precedents: nginx limit_req (off by default) with burst."""

    uploads_per_client: Annotated[int, Field(ge=1)] | None = 3
    """Requests of one client whose body is still on its way to an upstream; the next ones wait for ``timeouts.queue``,
    then 429. A body that has arrived when its upstream is asked is not counted: one of up to twice ``buffer`` has 250
    ms for that. Peers in ``trusted_proxies`` have no such limit; null is none. Danger: a body that stops coming keeps
    one of Dash's workers for ``timeouts.body``, so keep it below their number; an office behind one address shares it.
    Precedents: nginx none (it collects bodies on disk first)."""

    buffered_per_client: Size | None = 64 << 20
    """Bytes that wait in the gateway on connections of one client that are stuck, because one of their ends reads
    nothing; a connection that would exceed it is cut. What waits on others is less than ``buffer`` each way. Peers in
    ``trusted_proxies`` have no such limit. Precedent: Envoy's overload manager, which resets the streams that hold
    most."""

    in_flight: Annotated[int, Field(ge=1)] | None = 1024
    """Requests that one upstream is given at the same time, handshakes until their answer too; more wait. An answer
    that goes on (server-sent events) counts to its end, a tunnel does not: raise it where thousands of streams are
    open. Precedents: Envoy 1024 (which counts streams too), HAProxy none."""

    waiting: Annotated[int, Field(ge=0)] = 4096
    """Requests that wait for one upstream, because it is full or unreachable; 503 with Retry-After above it: what
    250 a second come to within ``timeouts.hold``. Precedent: Envoy 1024."""


class Timeouts(Section):
    """How long each wait may last. 0 is no wait at all, never "for ever"."""

    head: Duration = 15.0
    """For a client to send the head of a request, from connecting for the first and from its first byte for later ones
    (408 after it; without an answer where no byte of it has come). Precedents: nginx 60s, Apache 20s, aiohttp none."""

    body: Duration = 60.0
    """Between two pieces of a request body, and the time after which it must bring 240 bytes a second (408 after
    either). Precedents: nginx client_body_timeout 60s; Kestrel 240 bytes a second after 5s."""

    send: Duration = 60.0
    """For a client to take some of what waits for it, and for either side of a tunnel; then it is cut. Precedent: nginx
    send_timeout 60s."""

    keepalive: Duration = 75.0
    """Between two requests on a client's connection. Precedent: nginx 75s."""

    connect: Duration = 5.0
    """To connect to an upstream. Loopback answers at once: a longer wait is a full backlog or a lost packet."""

    handshake: Duration = 15.0
    """For an upstream to answer a WebSocket handshake once connected (504 after it)."""

    response: Duration = 600.0
    """For an upstream to begin its answer. Long on purpose: a Dash callback may compute for minutes, and a proxy that
    gives up after 60s (nginx's default) throws its result away."""

    auth: Duration = 5.0
    """For Dash to answer whether a request may pass (``auth``); 504 after it."""

    hold: Duration = 15.0
    """For an upstream that cannot be reached to come back, while requests wait of which nothing was sent, and GET, HEAD
    and handshakes that got no answer; 503 after it. 0 fails at once. Precedents: Caddy lb_try_duration 0, nginx and
    HAProxy try a failed connect again, for every method."""

    queue: Duration = 15.0
    """For an upstream that has all it may have (``limits.in_flight``) to take one more; 503 after it. Precedent:
    HAProxy timeout queue."""

    upstream_idle: Duration = 1.5
    """How long an unused connection to an upstream is kept. Must be shorter than the upstream's own keep-alive
    (gunicorn 2s, uvicorn 5s), or a request can meet the upstream's close half-way."""

    tunnel_idle: Duration = 3600.0
    """A tunnel with no byte in either direction for so long is closed. One of Dash's own WebSocket is closed after four
    heartbeats of its page that did not come, if that is shorter (and 60s at least); the heartbeat, 30s by default, is
    read from Dash. nginx's 60s is the most reported fault of proxied WebSockets."""

    drain_notice: Duration = 0.0
    """At a stop, how long ``/readyz`` says 503 before the listener closes, for load balancers to notice. Precedents:
    HAProxy grace, Traefik requestAcceptGraceTimeout 0."""

    drain_window: Duration = 5.0
    """At a stop, over how long the close frames to tunnels are spread, so that clients do not reconnect all at once; at
    most half of ``drain``. Precedent: HAProxy close-spread-time."""

    drain: Duration = 20.0
    """At a stop, for requests and tunnels to end before they are cut; from the moment the listener closes."""


class Settings(Section):
    """The gateway's settings."""

    listen: Annotated[str, listen_like(GATEWAY_LISTEN, SYSTEMD)] = GATEWAY_LISTEN
    """Where browsers connect. ``0.0.0.0:8000`` opens it to the network by IPv4, ``[::]:8000`` by IPv6, ``'*:8000'`` by
    both; port 0 is one that is free, and the log says which. ``systemd``: the sockets that systemd passes (socket
    activation), so that a restart refuses no connection: those named ``gateway`` (``FileDescriptorName=``), or where
    none is, all but those named ``admin``. ``systemd:name``: those of that name."""

    reuse_port: bool = False
    """Whether other gateways of the same user may listen on the same port (SO_REUSEPORT); the system gives each
    connection to one of them. All of them need it, each an ``admin`` of its own. Danger: a limit for each client holds
    in each gateway by itself, so a client may have it several times. Precedents: nginx reuseport, HAProxy (always)."""

    tls: Tls | None = None
    """HTTPS on the public listener. None: plain HTTP, for a host of its own or a proxy in front."""

    proxy_protocol: bool = False
    """Whether each connection begins with a PROXY header (version 1 or 2) of a proxy in ``trusted_proxies``, which
    names the client. Then a connection without one is closed, and it is the client named there, and no longer the
    proxy, that must be in ``trusted_proxies`` for its X-Forwarded-* to be trusted."""

    admin: Annotated[str, listen_like(GATEWAY_ADMIN, SYSTEMD, OFF)] = GATEWAY_ADMIN
    """Health, metrics and status, for process managers, load balancers, Prometheus and operators. Never the public
    port: loopback or a unix socket, which may be the socket that systemd passes with the name ``admin``: ``systemd``.
    ``off``: there is none, and nothing is counted for it. It has at most 32 connections, each for 5 s and for one
    request; one more closes the oldest."""

    admin_public: bool = False
    """Whether ``admin`` may be an address that other hosts reach. Danger: all of them see the state of the gateway."""

    admin_hosts: tuple[HostName, ...] = ()
    """Names by which ``admin`` may be asked, such as ``gateway`` in a network of containers; exactly these, whatever
    the port. An IP address and ``localhost`` are always answered, other names with 403, and through a unix socket the
    name does not matter. Danger: a page whose own name is in here may read the answers (DNS rebinding)."""

    upstreams: Upstreams = Upstreams()

    upstream_ca: str | None = None
    """PEM file with the authorities that ``https://`` upstreams are checked against. None: the system's. Relative to
    the config file."""

    handoff: SocketPath = HANDOFF
    """The socket file through which WebSockets for ``ws`` are handed over to the service on this host, so that the
    gateway leaves the path: no copy, no CPU, and they live on while it restarts. Relative to the config file; without
    one, to the working directory. Where no service answers there, they are tunnelled; ``off`` always tunnels. Of
    several addresses of ``ws`` it is for the first on this host that names no ``handoff`` of its own. Danger: it must
    be the service that ``upstreams.ws`` names."""

    routes: tuple[Route, ...] = ()
    """Your own rules, before the built-in ones."""

    trusted_proxies: tuple[Peers, ...] = ()
    """Proxies in front whose X-Forwarded-* and X-Request-ID are trusted. Danger: a peer in here can claim any client
    address. None by default: then those fields are removed from every request and written anew."""

    origins: tuple[Origin, ...] = ("same",)
    """The sites whose pages may open a WebSocket: ``same`` (the page's host is the one it asks), ``any``, an origin as
    a browser writes it (``https://host[:port]``, ``file://``, ``capacitor://localhost``), ``null``, or ``regex:...``
    for the whole of it, in lower case and without a port that the scheme means anyway; 403 for others. It holds for
    ``ws`` and for ``dash``; only Dash's own WebSocket is left to Dash, see ``dash_prefix``.
    Clients that are no browsers send no Origin, and pass. Danger of ``any``: each page that a user visits may open
    sockets in the user's name."""

    dash_prefix: DashPrefix = AUTO
    """What the paths of the Dash app begin with: its ``requests_pathname_prefix``. Dash checks the origin of the
    WebSocket ``_dash-ws-callback`` directly below it (``websocket_allowed_origins``), and of no other. ``auto`` reads
    it from Dash's page, and leaves the check to Dash where Dash has refused a handshake of another site; a prefix that
    is written here is trusted."""

    auth: tuple[Auth, ...] = ()
    """Which requests Dash must allow before they are passed on. Empty: Dash and the endpoints check for themselves."""

    access_log: Literal["text", "json", "combined", "common", "off"] = "text"
    """One line per finished exchange, on standard output: for people, as a JSON object, or as Apache writes it."""

    limits: Limits = Limits()

    timeouts: Timeouts = Timeouts()

    health: Health = Health()

    buffer: Annotated[Size, Field(ge=4096)] = 16384
    """Bytes held per direction of an exchange before the sender is made to wait; what was read last comes to that, 64
    KiB, and 256 KiB once on each connection. Precedents: nginx 4KiB to 64KiB, HAProxy 16KiB."""

    def addresses_of(self, name: str) -> tuple[UpstreamAddress, ...]:
        """Return the addresses of an upstream, by its name; ``handoff`` of each is None where nothing is handed over.

        ``gateway.handoff`` is for the one address of ``ws``; of several for the first that is on this host and names no
        file of its own.
        """
        addresses = self.upstreams.by_name[name]
        named = {address.handoff for address in addresses}
        free = [address for address in addresses if address.handoff is None]
        if len(addresses) > 1:
            free = [address for address in free if address.is_on_this_host]
        is_used = name == "ws" and self.handoff not in named
        files = {address: self.handoff for address in free[:1]} if is_used else {}
        return tuple(
            address.model_copy(update={"handoff": None if file in (None, "off") else file})
            for address in addresses
            for file in (address.handoff or files.get(address),)
        )

    @model_validator(mode="after")
    def _has_proxies_to_trust(self) -> Settings:
        if self.proxy_protocol and not self.trusted_proxies:
            raise Conflict(
                "proxy_protocol needs trusted_proxies: no other peer's PROXY header is trusted",
                "proxy_protocol",
                "trusted_proxies",
            )
        return self

    @model_validator(mode="after")
    def _has_a_port_to_share(self) -> Settings:
        if self.reuse_port and passed_name(self.listen) is not None:
            raise Conflict(
                "reuse_port is for a port that the gateway opens itself; systemd has opened this one, so write "
                "ReusePort=yes in its socket unit",
                "reuse_port",
                "listen",
            )
        if self.reuse_port and self.listen.startswith("unix:"):
            raise Conflict(
                f"reuse_port is for a port, and listen is {self.listen}: a unix socket has one owner; write host:port",
                "reuse_port",
                "listen",
            )
        return self

    @field_validator("auth")
    @classmethod
    def _has_one_rule_for_each_place(cls, rules: tuple[Auth, ...]) -> tuple[Auth, ...]:
        places = [(rule.path, rule.host and rule.host.lower().rstrip(".")) for rule in rules]
        for place in places:
            if places.count(place) > 1:
                raise ValueError(f"has two rules for the path {place[0]}; it is not clear which one applies")
        return rules

    @model_validator(mode="after")
    def _names_upstreams_that_there_are(self) -> Settings:
        names = list(self.upstreams.by_name)
        known = f"gateway.upstreams has {', '.join(names)}"
        wrong: list[tuple[tuple[str | int, ...], PydanticCustomError]] = [
            (("routes", number, "to"), wrong_name(route.to, names, known))
            for number, route in enumerate(self.routes)
            if route.to not in names
        ]
        others = [name for name in self.health.model_extra or () if name not in names]
        wrong += [(("health", name), wrong_name(name, names, known)) for name in others]
        refuse(type(self), wrong, self)
        used = {"dash", "ws", *(route.to for route in self.routes)}
        for name in names:
            if name not in used:
                raise Conflict(f"upstreams.{name} gets nothing: {unused(name, names)}", "upstreams", "routes")
        return self

    @model_validator(mode="after")
    def _hands_over_by_one_file_each(self) -> Settings:
        for name, addresses in self.upstreams.by_name.items():
            if name != "ws" and any(address.handoff not in (None, "off") for address in addresses):
                message = f"upstreams.{name} has a handoff, and sockets are handed over to ws alone; leave it out"
                raise Conflict(message, "upstreams")
        files = [address.handoff for address in self.addresses_of("ws")]
        for file in files:
            if file is not None and files.count(file) > 1:
                raise Conflict(f"{file} is the handoff of two addresses; each service has its own", "upstreams")
            if file is not None and (first := _WORKER.sub("", file)) != file and first in files:
                raise Conflict(f"{file} is a worker's of the service at {first}; give it another name", "upstreams")
        return self

    @model_validator(mode="after")
    def _has_two_listeners(self) -> Settings:
        if self.listen == self.admin and self.listen != SYSTEMD and not self.listen.endswith(":0"):
            raise Conflict(
                f"listen and admin are both {self.listen}; health answers need an address of their own",
                "listen",
                "admin",
            )
        return self


def load_settings(
    path: Path | ConfigFile | None,
    env: Mapping[str, str] = environ,
    check: Callable[[Settings], Iterable[Objection]] = lambda _: (),
) -> Settings:
    """Read the gateway's section of a file; None means every default. Raises ``ConfigError`` with all mistakes.

    check: objects to settings that are well-formed (``startup_checks``).

    Paths of unix sockets and certificates are relative to the file, so that it does not matter where the program is
    started.
    """
    if path is None:
        return Settings()
    folder = path.folder if isinstance(path, ConfigFile) else path.absolute().parent
    settings = load(path, NAME, Settings, env, lambda settings: check(anchored(settings, folder)))
    return anchored(settings, folder)


def anchored(settings: Settings, folder: Path) -> Settings:
    """Return settings whose paths no longer depend on where the program is started. folder: of the config file."""
    return settings.model_copy(
        update={
            "listen": _anchored(settings.listen, folder),
            "admin": _anchored(settings.admin, folder),
            "tls": settings.tls and Tls(**{name: str(folder / file) for name, file in settings.tls}),
            "upstream_ca": settings.upstream_ca and str(folder / settings.upstream_ca),
            "upstreams": Upstreams.model_validate(
                {name: [_anchored_address(one, folder) for one in each] for name, each in settings.upstreams}
            ),
        }
    )


def _anchored_address(address: UpstreamAddress, folder: Path) -> UpstreamAddress:
    return address.model_copy(update={"url": _anchored(address.url, folder)})


def _anchored(address: str, folder: Path) -> str:
    return f"unix:{folder / address[5:]}" if address.startswith("unix:") else address
