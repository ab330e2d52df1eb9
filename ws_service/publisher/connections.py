"""Keep-alive connections to the hub's API: opened, pooled, checked before they are used again.

The requests are those of ``http.client``, imported with this module and not with ``publish``: it takes 17 ms.
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


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        """Connect. Raises OSError."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.settimeout(self.timeout)
            sock.connect(self._path)
        except BaseException:
            sock.close()
            raise
        self.sock = sock


@cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()


class Connection:
    """One connection to the API. deadline: of ``time.monotonic``, for connecting.

    Raises OSError when it cannot be opened; TimeoutError is one.
    """

    def __init__(self, place: Place, deadline: float) -> None:
        timeout = _left(deadline)
        if place.path:
            self._http: http.client.HTTPConnection = UnixConnection(place.path, timeout)
        elif place.is_tls:
            self._http = http.client.HTTPSConnection(place.host, place.port, timeout=timeout, context=_tls())
        else:
            self._http = http.client.HTTPConnection(place.host, place.port, timeout=timeout)
        self.place = place
        self.used_at = time.monotonic()
        try:
            self._http.connect()
        except BaseException:
            self._http.close()
            raise

    def ask(self, address: HubAddress, body: bytes, deadline: float) -> tuple[int, bytes]:
        """Send a publication and return status and body of the answer.

        deadline: of ``time.monotonic``. Raises OSError or HTTPException; then the connection is closed.
        """
        try:
            self._set_timeout(deadline)
            headers = {"Content-Type": "application/json", "X-API-Key": address.api_key}
            self._http.request("POST", f"{address.prefix}/api/publish", body, headers)
            self._set_timeout(deadline)
            with self._http.getresponse() as response:
                answer = response.read(MAX_ANSWER)
                if not response.isclosed() and response.read(1):
                    self._http.close()  # what is left would be read as the next answer
                self.used_at = time.monotonic()
                return response.status, answer
        except BaseException:
            self._http.close()
            raise

    def is_usable(self) -> bool:
        """Tell whether another request can be sent: the other side has not closed it, as far as it can be known."""
        sock = self._http.sock
        if sock is None:
            return False
        try:
            sock.settimeout(0.0)
            sock.recv(1)  # not recv with MSG_PEEK, which TLS does not have: nothing may come without a request
        except (BlockingIOError, ssl.SSLWantReadError):
            return True
        except OSError:
            pass
        return False

    def close(self) -> None:
        """Close it."""
        self._http.close()

    def _set_timeout(self, deadline: float) -> None:
        if self._http.sock is not None:
            self._http.sock.settimeout(_left(deadline))


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


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("timed out")
    return left
