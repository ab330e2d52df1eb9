"""Which way a request goes: a pure function of its head and the table (docs/decisions/011-routing-order.md).

Order: the user's routes, Dash's own WebSocket path, other WebSocket
upgrades and the event streams of the hub to ``ws``, everything else to ``dash``.
Handshakes of other sites' pages are refused, whichever upstream they are for,
except where Dash checks the origin itself; and so are their requests for event
streams of the hub.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from dataclasses import dataclass

from proxy.access.origin_check import SAME_ORIGIN, OriginCheck
from proxy.config import Route, Settings
from proxy.dash.facts import DASH_SOCKET, UNKNOWN, DashFacts, judged_by_dash
from proxy.errors import ClientError
from proxy.http1.forwarded import ForwardedReader, OriginalRequest
from proxy.http1.headers import SINGLE, Head, is_valid_host, tokens
from proxy.http1.target import decoded, host_name, is_under
from proxy.net.peer import UNKNOWN_PEER
from proxy.origin import DEFAULT_PORT
from ws_service.hub.paths import is_event_stream

DASH_SOCKET_RULE = "dash socket"
"""The name of the built-in rule for Dash's own WebSocket."""

_LISTS = frozenset((b"connection", b"sec-websocket-protocol", b"te", b"transfer-encoding", b"upgrade"))
_MOST_MEMBERS = 100
"""Members of those fields together. Precedents: Apache 100 fields, HAProxy 101; none limits members."""


@dataclass(frozen=True, slots=True)
class Forward:
    """HTTP to an upstream.

    target: the request target in origin form, byte for byte.
    """

    upstream: str
    route: str
    target: str


@dataclass(frozen=True, slots=True)
class Upgrade:
    """A WebSocket handshake to an upstream, and raw bytes after its 101."""

    upstream: str
    route: str
    target: str
    key: bytes


@dataclass(frozen=True, slots=True)
class Refuse:
    """No upstream sees it."""

    error: ClientError


Decision = Forward | Upgrade | Refuse


@dataclass(frozen=True, slots=True)
class _Rule:
    name: str
    path: str | None
    host: str | None
    subprotocol: bytes | None
    to: str

    def matches(self, path: str, host: str, offered: list[bytes]) -> bool:
        return (
            (self.path is None or is_under(path, self.path))
            and (self.host is None or self.host == host)
            and (self.subprotocol is None or self.subprotocol in offered)
        )


class Table:
    """The user's routes, longest path first, then the one with more conditions, then the first.

    origins: whose pages may open a WebSocket. judged_by_dash: the paths of WebSockets whose origin Dash checks itself.
    """

    def __init__(
        self,
        routes: Iterable[Route] = (),
        origins: OriginCheck = SAME_ORIGIN,
        judged_by_dash: frozenset[str] = frozenset(),
    ) -> None:
        self.origins = origins
        self._judged_by_dash = judged_by_dash
        rules = [
            _Rule(
                f"routes[{index}]",
                route.path,
                host_name(route.host) if route.host else None,
                route.subprotocol.encode() if route.subprotocol else None,
                route.to,
            )
            for index, route in enumerate(routes)
        ]
        self._rules = sorted(rules, key=lambda r: (-len(r.path or ""), (r.host is None) + (r.subprotocol is None)))

    def match(self, target: str, host: bytes, offered: list[bytes], *, upgrade: bool) -> tuple[str, str]:
        """Return (upstream, name of the rule).

        target: in origin form. host: the Host field. offered: the subprotocols of a handshake.
        """
        if not upgrade and not self._rules and not _may_be_hub_events(target):
            return "dash", "http"
        path = _decoded_path(target)
        name = host_name(host.decode("latin-1"))
        for rule in self._rules:
            if rule.matches(path, name, offered):
                return rule.to, rule.name
        if not upgrade:
            return ("ws", "hub events") if is_event_stream(path) else ("dash", "http")
        # Dash opens it on every page; sent to another service its callbacks hang. So the last segment decides where it
        # goes. It does not decide which side checks its origin: an endpoint in Dash's process whose path ends in a
        # parameter would then be open to every page (issue 9).
        if path.rpartition("/")[2] == DASH_SOCKET:
            return "dash", DASH_SOCKET_RULE
        return "ws", "websocket"

    def leaves_origin_to_dash(self, upstream: str, target: str) -> bool:
        """Tell whether Dash itself checks the origin of a handshake: for its own path alone, and as Dash writes it.

        upstream: where it goes. target: in origin form. The bytes are compared as they came. A spelling that only
        means the same (encoded, with ``//``, dot segments or ``;``) may mean something else to the next reader.
        """
        return upstream == "dash" and target.partition("?")[0] in self._judged_by_dash

    def is_for_own_pages(self, upstream: str, target: str) -> bool:
        """Tell whether a request is for pages of the allowed sites alone: it is one for an event stream of the hub.

        upstream: where it goes. target: in origin form.
        """
        return upstream != "dash" and _may_be_hub_events(target) and is_event_stream(_decoded_path(target))


def _may_be_hub_events(target: str) -> bool:
    return "/uni_sse" in target or "%" in target


def _decoded_path(target: str) -> str:
    """Return the path as Uvicorn and Werkzeug will see it: they decode before they route.

    The decision is made on that; what is sent stays as it came.
    """
    path = target.partition("?")[0]
    return decoded(path) if "%" in path else path


def make_table(settings: Settings, facts: DashFacts = UNKNOWN) -> Table:
    """Return the table that settings mean. facts: what is known of Dash."""
    return Table(settings.routes, OriginCheck(settings.origins), judged_by_dash(settings.dash_prefix, facts))


def decide(head: Head, table: Table, original: OriginalRequest | None = None) -> Decision:
    """Decide what is done with a request. Pure; ``dash-ws-proxy explain`` prints the result.

    original: the request with forwarding headers applied; None: no proxy is trusted.
    """
    try:
        _check_lists(head)
        target = _origin_form(head)
        _check_single(head)
        upgrade = _is_handshake(head)
        key = _handshake_key(head) if upgrade else b""
    except ClientError as error:
        return Refuse(error)
    host = head.host
    offered = [part.strip() for v in head.all(b"sec-websocket-protocol") for part in v.split(b",")] if upgrade else []
    upstream, rule = table.match(target, host, offered, upgrade=upgrade)
    is_checked = (
        not table.leaves_origin_to_dash(upstream, target) if upgrade else table.is_for_own_pages(upstream, target)
    )
    if is_checked:
        wish = "open a WebSocket" if upgrade else "read events of the hub"
        refusal = table.origins.refusal(head, original or ForwardedReader().read(head, UNKNOWN_PEER), wish)
        if refusal:
            return Refuse(refusal)
    if upgrade:
        return Upgrade(upstream, rule, target, key)
    return Forward(upstream, rule, target)


def _check_lists(head: Head) -> None:
    """Refuse fields that frame the message and its connection with more members than could mean anything.

    Each is split into its members, some more than once, and a head may have room for 30,000 (issue 9).
    """
    commas = [value.count(b",") for name in _LISTS & head.block.index.keys() for value in head.all(name)]
    if sum(count + 1 for count in commas if count) > _MOST_MEMBERS:
        what = ", ".join(field.decode() for field in sorted(_LISTS))
        raise ClientError(f"The fields {what} have more than {_MOST_MEMBERS} members together.")


def _check_single(head: Head) -> None:
    """Refuse two fields where only one may be, and the handshake of a draft that has bytes after its head."""
    for name in head.block.repeated & SINGLE:
        raise ClientError(f"A request may have one {name.decode().title()} field only, and this one has two.")
    if head.all(b"sec-websocket-key1"):
        raise ClientError("Only version 13 of the WebSocket protocol is spoken here, and no draft of it.")


def _origin_form(head: Head) -> str:
    """Return the target in origin form (RFC 9112, section 3.2); ClientError for what cannot be forwarded."""
    hosts = head.all(b"host")
    if len(hosts) > 1 or (not hosts and head.version >= (1, 1)):
        raise ClientError("A request needs exactly one Host field.")
    host = hosts[0] if hosts else b""
    if hosts and not is_valid_host(host):
        raise ClientError("The Host field is not a host.", advice="Expected: name, or name:port.")
    target = head.target
    method = head.method.upper()
    if method == "CONNECT":
        raise ClientError("CONNECT is for forward proxies; this is a gateway.")
    if method == "HEAD" and head.method != "HEAD":
        # Methods are case-sensitive (RFC 9110, section 9.1), but Werkzeug reads all of them in capitals. Then its
        # response has no body, and the connection waits for one.
        raise ClientError("The method is HEAD in other letters, which not every program reads as the same method.")
    if target == "*" and head.method == "OPTIONS":
        return target
    if not target.isascii() or "#" in target or not target.isprintable() or " " in target:
        raise ClientError("The request target holds characters that a URL may not.", advice="Percent-encode them.")
    if "\\" in target.partition("?")[0]:
        # Browsers write a slash instead, and so do some servers when they read it (RFC 3986 knows neither).
        raise ClientError("The path holds a backslash, which is a slash to some.", advice="Percent-encode it.")
    if target.startswith("/"):
        return target
    scheme, separator, rest = target.partition("://")
    if separator and scheme.lower() in ("http", "https"):
        cut = min((i for i in (rest.find("/"), rest.find("?")) if i >= 0), default=len(rest))
        if _authority(rest[:cut], scheme) != _authority(host.decode("latin-1"), scheme):
            raise ClientError("The request target names another host than the Host field.")
        path = rest[cut:]
        if not path and head.method == "OPTIONS":
            return "*"  # RFC 9112, section 3.2.4
        return path if path.startswith("/") else "/" + path
    raise ClientError("The request target must be a path that begins with a slash.")


def _authority(value: str, scheme: str) -> str:
    """Return a host and port as they are compared: lower case, without the scheme's default port (RFC 9110, 4.2.3)."""
    return value.lower().removesuffix(f":{DEFAULT_PORT[scheme.lower()]}").removesuffix(":")


def _is_handshake(head: Head) -> bool:
    """Tell whether this is, or wants to be, a WebSocket handshake.

    Every other Upgrade is an offer, and is ignored (RFC 9110, section 7.8): the field is not forwarded. So is
    ``Upgrade: websocket`` without any other field of a handshake; some proxies add it to each request.
    """
    return b"websocket" in tokens(head.all(b"upgrade")) and bool(
        head.all(b"sec-websocket-key") or head.all(b"sec-websocket-version")
    )


def _handshake_key(head: Head) -> bytes:
    """Check a handshake (RFC 6455, section 4.2.1) and return its key; ClientError says what is wrong with it.

    Strict on purpose: what the gateway takes for a handshake and the
    upstream does not (or the other way round) is how requests are smuggled
    through WebSocket proxies.
    """
    if head.method != "GET" or head.version != (1, 1):
        raise ClientError(
            "A WebSocket handshake is a GET over HTTP/1.1.",
            advice="A proxy in front must speak HTTP/1.1 to this port (nginx: proxy_http_version 1.1).",
        )
    if head.has_body:
        raise ClientError("A WebSocket handshake has no body.")
    if tokens(head.all(b"upgrade")) != [b"websocket"] or b"upgrade" not in tokens(head.all(b"connection")):
        raise ClientError(
            "A WebSocket handshake says Upgrade: websocket and Connection: Upgrade, and nothing else.",
            advice="A proxy in front must pass both fields on (nginx: proxy_set_header).",
        )
    if head.all(b"sec-websocket-version") != [b"13"]:
        raise ClientError(
            "Only version 13 of the WebSocket protocol is spoken here.",
            status=426,
            headers=[(b"Sec-WebSocket-Version", b"13"), (b"Upgrade", b"websocket")],
        )
    keys = head.all(b"sec-websocket-key")
    if len(keys) != 1 or not _is_key(keys[0]):
        raise ClientError("A WebSocket handshake needs one Sec-WebSocket-Key of 16 bytes in base64.")
    return keys[0]


def _is_key(value: bytes) -> bool:
    try:
        return len(value) == 24 and len(base64.b64decode(value, validate=True)) == 16
    except binascii.Error:
        return False
