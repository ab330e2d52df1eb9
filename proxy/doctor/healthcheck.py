"""``healthcheck``: ask the admin listener once whether the gateway is well, for HEALTHCHECK lines of containers.

It uses the standard library alone, and no event loop: it is started every few seconds.
"""

from __future__ import annotations

import json
import socket
from http.client import HTTPConnection, HTTPException
from typing import Any
from urllib.parse import urlsplit

from proxy.config import Settings
from proxy.doctor.client_address import client_address

TIMEOUT = 3.0
"""Seconds for the answer. Docker gives a check 30 s."""

MAX_ANSWER = 1 << 20
"""Bytes of the answer that are read."""


class _UnixConnection(HTTPConnection):
    """HTTP over a unix socket. path: of its file."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=TIMEOUT)
        self._path = path

    def connect(self) -> None:
        """Open the connection. Raises OSError."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def ask_health(settings: Settings, *, is_readiness: bool) -> tuple[bool, str]:
    """Return whether the gateway is well, and a sentence.

    settings: with paths made whole. is_readiness: whether it takes new clients (``/readyz``), and not only whether it
    lives (``/healthz``).
    """
    address = client_address(settings.admin)
    if address is None:
        return False, f"gateway.admin is {settings.admin}, so health cannot be asked; write admin: 127.0.0.1:8001"
    connection = _connection(address)
    try:
        connection.request("GET", "/readyz" if is_readiness else "/healthz", headers={"Host": "localhost"})
        response = connection.getresponse()
        status, body = response.status, response.read(MAX_ANSWER)
    except TimeoutError:
        return False, f"{address} has not answered within {TIMEOUT:g} s"
    except (OSError, HTTPException) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error) or type(error).__name__
        return False, f"{address} cannot be asked: {reason.lower()}"
    finally:
        connection.close()
    return _judged(status, body, address)


def _connection(address: str) -> HTTPConnection:
    if address.startswith("unix:"):
        return _UnixConnection(address[5:])
    parts = urlsplit(address)
    return HTTPConnection(parts.hostname or "", parts.port, timeout=TIMEOUT)


def _judged(status: int, body: bytes, address: str) -> tuple[bool, str]:
    try:
        values: Any = json.loads(body)
    except ValueError:
        values = None
    if not isinstance(values, dict) or not isinstance(values.get("status"), str):
        return False, f"{address} answers {status}, and not as a gateway does"
    said, state = values["status"], values.get("state", "unknown")
    return status == 200, said if said == state else f"{said} ({state})"
