"""The paths that are the hub's, by their end: a page may be below any prefix."""

from __future__ import annotations

from urllib.parse import unquote

WEBSOCKET = "/connection/websocket"
"""The path of sockets. Precedent: Centrifugo."""

EVENT_STREAM = "/connection/uni_sse"
"""The path of event streams, which clients only receive on. Precedent: Centrifugo."""


def path_of(target: bytes) -> str:
    """Return the path of a request's target, decoded, as uvicorn shows it to an app."""
    return unquote(target.partition(b"?")[0].decode("latin-1"))


def is_websocket(path: str) -> bool:
    """Tell whether a socket at a path is for the hub. path: decoded, without the query."""
    return path.endswith(WEBSOCKET)


def is_event_stream(path: str) -> bool:
    """Tell whether a GET of a path is for the hub."""
    return path.endswith(EVENT_STREAM)
