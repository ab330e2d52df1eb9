"""The open WebSockets of this process, as the status page lists them.

Age and bytes written are kept by the connections. The rest is asked of the kernel, and only for the rows that are
shown: a counter and a clock for each message would be paid by every delivery of the hub.
"""

from __future__ import annotations

import heapq
import struct
from collections.abc import Iterable
from itertools import islice
from typing import Any

from ws_service.handoff.adopted import Adopted
from ws_service.handoff.adopted_hub import AdoptedHubSocket
from ws_service.hub.websocket import HubSocket
from ws_service.logs.formatter import shortened
from ws_service.net.tcp_info import RECEIVED, seconds_idle, tcp_info
from ws_service.websocket.client_socket import ClientSocket

ORDERS = "oldest", "newest", "sent"
"""In which order sockets are listed: by age either way, or those first that have been sent the most bytes."""

_LONGEST_PATH = 256
"""Characters. A head may have 64 KiB, and hundreds of rows are shown."""

Row = dict[str, Any]


def kind_of(connection: type[ClientSocket]) -> tuple[str, str]:
    """Return what a connection leads to, the ``hub`` or the user's ``app``, and how it came: by ``handoff``, or through
    the ``listener``."""
    is_adopted = issubclass(connection, Adopted | AdoptedHubSocket)
    return "hub" if issubclass(connection, HubSocket) else "app", "handoff" if is_adopted else "listener"


def rows(sockets: dict[ClientSocket, None], order: str, count: int, now: float, worker: int) -> list[Row]:
    """Return some of the sockets. order: one of ``ORDERS``. now: seconds of the loop's clock. worker: this process."""
    return [{"worker": worker, **_row(each, now)} for each in _first(sockets, order, count)]


def merged(parts: Iterable[list[Row]], order: str, count: int) -> list[Row]:
    """Return the first of the rows of several processes, which are in that order already."""
    key = {"oldest": lambda row: -row["age"], "newest": lambda row: row["age"], "sent": lambda row: -row["sent"]}
    return list(islice(heapq.merge(*parts, key=key[order]), count))


def _first(sockets: dict[ClientSocket, None], order: str, count: int) -> Iterable[ClientSocket]:
    if order == "sent":
        return heapq.nlargest(count, sockets, key=lambda socket: socket.written)
    return list(islice(sockets if order == "oldest" else reversed(sockets), count))


def _row(socket: ClientSocket, now: float) -> Row:
    received, idle = _asked_of_the_kernel(socket)
    endpoint, way = kind_of(type(socket))
    row = {
        "id": None,
        "client": socket.client,
        "path": shortened(socket.path, _LONGEST_PATH),
        "endpoint": endpoint,
        "way": way,
        "user": "",
        "topics": None,
        "age": round(now - socket.opened, 3),
        "received": received,
        "sent": socket.written,
        "idle": idle,
    }
    if isinstance(socket, Adopted | AdoptedHubSocket):
        row.update(id=socket.about.id, client=socket.about.client)
    if isinstance(socket, HubSocket) and socket.receiver is not None:
        row.update(user=socket.receiver.user, topics=len(socket.receiver.topics))
    return row


def _asked_of_the_kernel(socket: ClientSocket) -> tuple[int | None, float | None]:
    """Return the bytes received on the connection, and the seconds since it last carried any data."""
    info = tcp_info(socket.kernel_socket, RECEIVED + 8)
    if info is None:
        return None, None
    (received,) = struct.unpack_from("=Q", info, RECEIVED)
    return received, seconds_idle(info)
