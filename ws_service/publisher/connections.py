"""Keep-alive connections to the hub's API: opened, pooled, checked before they are used again.

``http.client`` reads the answers. It is imported with this module and not with ``publish``, for that takes 17 ms.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import time
from collections import deque
from functools import cache

from ws_service.publisher.hub_address import HubAddress, Place

MAX_ANSWER = 64 << 10
"""Bytes of an answer that are read."""

_KEPT = 16
"""Idle connections that are kept: one for each thread that publishes at the same time."""


@cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()


class Connection:
    """One connection to the API. deadline: of ``time.monotonic``, for connecting.

    Raises OSError when it cannot be opened; TimeoutError is one.
    """

    def __init__(self, place: Place, deadline: float) -> None:
        self.place = place
        self.used_at = time.monotonic()
        self._sock = _connected(place, deadline)
        self._is_open = True

    def ask(self, address: HubAddress, body: bytes, deadline: float) -> tuple[int, bytes]:
        """Send a publication and return status and body of the answer.

        deadline: of ``time.monotonic``. Raises OSError or HTTPException; then the connection is closed.
        """
        try:
            self._sock.settimeout(_left(deadline))
            self._sock.sendall(_request(address, body))  # at once: two packets would wake the hub twice
            self._sock.settimeout(_left(deadline))
            with http.client.HTTPResponse(self._sock, method="POST") as response:
                response.begin()
                answer = response.read(MAX_ANSWER)
                if response.will_close or not response.isclosed():  # what is left would be read as the next answer
                    self.close()
            self.used_at = time.monotonic()
            return response.status, answer
        except BaseException:
            self.close()
            raise

    def is_usable(self) -> bool:
        """Tell whether another request can be sent: the other side has not closed it, as far as it can be known."""
        if not self._is_open:
            return False
        try:
            self._sock.settimeout(0.0)
            self._sock.recv(1)  # not with MSG_PEEK, which TLS does not have: nothing may come without a request
        except (BlockingIOError, ssl.SSLWantReadError):
            return True
        except OSError:
            pass
        return False

    def close(self) -> None:
        """Close it."""
        self._is_open = False
        self._sock.close()


class Pool:
    """Idle connections. Its methods may be called by several threads, and hold no lock: a deque's are atomic."""

    def __init__(self) -> None:
        self._idle: deque[Connection] = deque()

    def take(self, place: Place) -> Connection | None:
        """Return a connection that can be used, the one that was used last; None where there is none."""
        while True:
            try:
                connection = self._idle.pop()
            except IndexError:
                return None
            if connection.place == place and connection.is_usable():
                return connection
            connection.close()

    def give(self, connection: Connection) -> None:
        """Keep a connection for the next publication, unless enough are kept."""
        if len(self._idle) < _KEPT:
            self._idle.append(connection)
        else:
            connection.close()

    def close(self) -> None:
        """Close every idle connection of this process; after a fork that is the child's copy of each."""
        while self._idle:
            self._idle.pop().close()


def _connected(place: Place, deadline: float) -> socket.socket:
    timeout = _left(deadline)
    if place.path:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.settimeout(timeout)
            sock.connect(place.path)
        except BaseException:
            sock.close()
            raise
        return sock
    sock = socket.create_connection((place.host, place.port), timeout)
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return _tls().wrap_socket(sock, server_hostname=place.host) if place.is_tls else sock
    except BaseException:
        sock.close()
        raise


def _request(address: HubAddress, body: bytes) -> bytes:
    place = address.place
    host = f"[{place.host}]" if ":" in place.host else place.host
    authority = f"{host}:{place.port}" if host else "localhost"
    head = (
        f"POST {address.prefix}/api/publish HTTP/1.1\r\nHost: {authority}\r\nContent-Type: application/json\r\n"
        f"X-API-Key: {address.api_key}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode("ascii") + body


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("timed out")
    return left
