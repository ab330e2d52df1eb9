"""Requests to the admin listener: for process managers, load balancers, Prometheus and operators, never for clients.

The head of a request in, bytes of the answer out: one request for each
connection, without a body. ``admin_listener`` has the sockets. A path of its
own is one function, from the head of a request to a response.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from proxy.errors import ClientError, ProxyError
from proxy.http1.chunked import ProtocolError
from proxy.http1.error_pages import error_message, own_response
from proxy.http1.headers import Fields, Head, is_valid_host
from ws_service.net.other_site import is_of_another_site

logger = logging.getLogger("proxy")

MAX_HEAD = 8192
"""Bytes of a request's head, its last empty line too; 431 above it. Precedents: nginx 8KiB a line, HAProxy 16KiB."""

_PORT = re.compile(r":[0-9]{0,5}")


@dataclass(frozen=True, slots=True)
class AdminResponse:
    """What a route answers. kind: the Content-Type. fields: beside those that every response has."""

    status: int
    kind: bytes
    body: bytes
    fields: Fields = ()


def json_response(status: int, values: Mapping[str, Any], fields: Fields = ()) -> AdminResponse:
    """Return values as JSON. fields: as for ``AdminResponse``."""
    return AdminResponse(status, b"application/json; charset=utf-8", json.dumps(values).encode(), fields)


Make = Callable[[], Coroutine[Any, Any, AdminResponse]]
Route = Callable[[Head], AdminResponse | Make]
"""Makes the response to a GET or a HEAD. A response that takes more than a few milliseconds to make, or that waits for
something, is made by a coroutine: it lets the event loop go on in between, and is cancelled when the time of its
connection is over (5 s), or its place is needed. What makes the coroutine is returned, and not the coroutine: one that
is cancelled before it has begun would leave another one that is never awaited, of which Python warns."""


class Admin:
    """What ``gateway.admin`` answers.

    routes: by their path, without a query. hosts: returns ``gateway.admin_hosts``, as they are now.
    """

    def __init__(self, routes: Mapping[str, Route], hosts: Callable[[], Iterable[str]]) -> None:
        self._routes = routes
        self._hosts = hosts

    def answer(self, request: Head | ProtocolError, is_unix: bool) -> bytes | Coroutine[Any, Any, bytes]:
        """Return the answer to a request, or a coroutine that makes it.

        request: its head, or why it cannot be read.
        is_unix: it came through a unix socket, which no browser reaches: Host does not matter there.
        """
        if isinstance(request, ProtocolError) and request.status in (414, 431):
            return _error(431, f"The head of a request may have {MAX_HEAD} bytes here.")
        if isinstance(request, ProtocolError) or not request.target.startswith("/"):
            return _error(400, "The request cannot be read as HTTP/1.1.")
        hosts = request.all(b"host")
        if len(hosts) > 1 or (not hosts and request.version == (1, 1)):
            return _error(400, "A request needs exactly one Host field.")
        if hosts and not is_unix and not names_this_host(hosts[0].decode("latin-1"), self._hosts()):
            return _error(
                403,
                "gateway.admin is asked by an IP address, as localhost, and by the names in gateway.admin_hosts.",
                advice="For the operator: if this name should be answered, add it to gateway.admin_hosts.",
            )
        fetch = (request.get(name) for name in (b"sec-fetch-site", b"sec-fetch-mode", b"sec-fetch-dest"))
        if not is_unix and is_of_another_site(*fetch):
            return _error(403, "gateway.admin is not for pages of other sites; open it in a tab of its own.")
        return self._routed(request)

    def _routed(self, request: Head) -> bytes | Coroutine[Any, Any, bytes]:
        route = self._routes.get(request.target.partition("?")[0])
        if route is None:
            *others, last = self._routes
            return _error(404, f"There are {', '.join(others)} and {last} here.")
        if request.method not in ("GET", "HEAD"):
            return _error(405, "What is here is read with GET or HEAD.", (b"Allow", b"GET, HEAD"))
        with_body = request.method == "GET"
        try:
            response = route(request)
        except Exception:
            return _failed(request)
        return _message(response, with_body) if isinstance(response, AdminResponse) else _later(response, request)


async def _later(make: Make, request: Head) -> bytes:
    try:
        return _message(await make(), request.method == "GET")
    except Exception:
        return _failed(request)


def _message(response: AdminResponse, with_body: bool) -> bytes:
    return own_response(response.status, response.kind, response.body, response.fields, with_body=with_body)


def _failed(request: Head) -> bytes:
    """Log the exception that is being handled, a fault of the gateway, and return what is answered for it."""
    logger.exception("a fault of the gateway itself, in an answer of gateway.admin: %s", request.target)
    return error_message(ProxyError("The gateway has failed.", advice="Its log says why."))[0]


def names_this_host(host: str, names: Iterable[str]) -> bool:
    """Tell whether a Host field names this host, and not a name that a page's owner has made to lead here.

    A page whose name is changed to lead to 127.0.0.1 (DNS rebinding) may read what it gets there, because it is of the
    same origin. That takes a name: an IP address and ``localhost`` are never looked up
    (RFC 6761, section 6.3, for the second).

    names: others that are answered. The port does not count, nor does case; everything else does, a dot at the end too.
    """
    if not is_valid_host(host.encode("latin-1")):
        return False
    if host.startswith("["):
        address, bracket, port = host[1:].partition("]")
        return bool(bracket) and (not port or _PORT.fullmatch(port) is not None) and _is_address(address, IPv6Address)
    name = host.lower().partition(":")[0]
    return name == "localhost" or _is_address(name, IPv4Address) or any(name == other.lower() for other in names)


def _is_address(text: str, family: type[IPv4Address] | type[IPv6Address]) -> bool:
    try:
        family(text)
    except ValueError:
        return False
    return True


def _error(status: int, message: str, *fields: tuple[bytes, bytes], advice: str = "") -> bytes:
    return error_message(ClientError(message, advice=advice, status=status, headers=fields))[0]
