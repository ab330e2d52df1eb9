"""Keep-alive connections to the hub's API: opened, pooled, checked before they are used again.

``http.client`` reads the answers. It is imported with this module and not with ``publish``, for that takes 17 ms.
"""

from __future__ import annotations

import http.client
import io
import socket
import ssl
import time
from collections import deque
from functools import cache
from typing import Any

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
            until: Any = _Until(self._sock, deadline)
            with http.client.HTTPResponse(until, method="POST") as response:
                response.begin()
                answer = response.read(MAX_ANSWER)
                if response.will_close or not response.isclosed():  # what is left would be read as the next answer
                    self.close()
            self.used_at = time.monotonic()
            return response.status, answer
        except ValueError as error:  # for some chunks that cannot be; ``publish`` raises it for faults of its caller
            self.close()
            raise http.client.HTTPException(f"the answer is no HTTP: {error}") from None
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


class _Until(io.RawIOBase):
    """What a socket receives until a deadline; its own timeout would begin anew with each byte.

    sock: of the connection. deadline: of ``time.monotonic``; beyond it TimeoutError is raised.
    """

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self._sock = sock
        self._deadline = deadline

    def makefile(self, _mode: str) -> io.BufferedReader:
        """Return the file that ``HTTPResponse`` reads."""
        return io.BufferedReader(self)

    def readable(self) -> bool:
        """Tell that it can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Receive into a buffer."""
        self._sock.settimeout(_left(self._deadline))
        return self._sock.recv_into(buffer)


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
    """Return a connected socket: of the first address of the host that takes it, as ``create_connection`` does."""
    if place.path:
        return _connected_to(socket.AF_UNIX, place.path, place, deadline)
    failure = OSError("the host has no address")
    try:
        addresses = socket.getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM)
    except UnicodeError as error:
        raise OSError(f"no name that a host can have ({error})") from None
    for family, _, _, _, at in addresses:
        try:
            return _connected_to(family, at, place, deadline)
        except OSError as error:
            failure = error
    raise failure


def _connected_to(family: int, at: Any, place: Place, deadline: float) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.settimeout(_left(deadline))
        sock.connect(at)
        if not place.path:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.settimeout(_left(deadline))
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
