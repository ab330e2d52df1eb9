"""The open WebSockets as the status lists them: a few of them, chosen and described without stopping the others.

There may be ten thousand. To choose some of them looks at each once, a thousand in one turn of the event loop; only
those that are shown are described.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable, Mapping
from heapq import nlargest
from itertools import chain, islice
from typing import NamedTuple

from proxy.exchange.record import Exchange
from proxy.metrics.exchange_counts import TUNNEL
from proxy.status.query import Query
from proxy.websocket.tunnel import Tunnel
from ws_service.net.tcp_info import IDLE, seconds_idle, tcp_info

LONGEST = 200
"""Characters of a path, and of a name, that are shown."""

_PARAMETERS = re.compile(r"(?i)[?;]|%(?:25)*(?:3b|3f)")
"""Where a path ends and parameters begin, for a server that decodes before it looks too. Those may be secrets, and are
neither shown nor searched; the access log has the rest of them."""


class OpenSocket(NamedTuple):
    """One WebSocket, as it is shown.

    path: of its handshake, without parameters. kind: ``TUNNEL`` or ``HANDOFF``, as in the metrics. age: seconds since
    it opened. idle: seconds since the last bytes in either direction; None where the system does not tell. received,
    sent: bytes from the client, and to it; None where the system does not tell.
    """

    id: str
    client: str
    path: str
    host: str
    upstream: str
    route: str
    kind: str
    age: float
    idle: float | None
    received: int | None
    sent: int | None


_PIECE = 1000
"""Tunnels that are looked at in one turn of the event loop, at 1 to 2 us each."""


async def tunnelled(tunnels: Mapping[Tunnel, Exchange], query: Query, now: Callable[[], float]) -> list[OpenSocket]:
    """Return some of the tunnels.

    tunnels: all of them with their records, the oldest first. query: which ones. now: a monotonic clock, in seconds.
    Cancelling it is safe.
    """
    chosen = await _chosen(tunnels, query)
    moment = now()
    return [_described(tunnel, exchange, moment) for tunnel, exchange in chosen.items()]


def merged(lists: Iterable[Iterable[OpenSocket]], query: Query) -> list[OpenSocket]:
    """Put lists that were each chosen by the same query together, and choose again."""
    every = [one for each in lists for one in each]
    if query.order == "sent":
        every.sort(key=lambda one: -(one.sent or 0))
    else:
        every.sort(key=lambda one: one.age, reverse=query.order == "oldest")
    return every[: query.limit]


def path_of(target: str) -> str:
    """Return the path of a request target, without parameters, and shortened."""
    path = _PARAMETERS.split(target[: 2 * LONGEST], maxsplit=1)[0]
    return path if len(path) <= LONGEST else f"{path[:LONGEST]}…"


# -- inside


async def _chosen(records: Mapping[Tunnel, Exchange], query: Query) -> dict[Tunnel, Exchange]:
    chosen: list[Tunnel] = []
    # No pairs: ten thousand new tuples for each answer would bring on full passes of the garbage collector, which take
    # 0.15 s where there are so many tunnels (measured).
    tunnels = list(records)
    if query.order == "newest":
        tunnels.reverse()
    for start in range(0, len(tunnels), _PIECE):
        if start:
            await asyncio.sleep(0)
        piece = _matching(tunnels[start : start + _PIECE], records, query.find)
        if query.order == "sent":
            chosen = nlargest(query.limit, chain(chosen, piece), key=_sent)
        else:
            chosen.extend(islice(piece, query.limit - len(chosen)))
            if len(chosen) == query.limit:
                break
    return {tunnel: records[tunnel] for tunnel in chosen if tunnel in records}


def _sent(tunnel: Tunnel) -> int:
    return tunnel.bytes_from_upstream


def _matching(tunnels: list[Tunnel], records: Mapping[Tunnel, Exchange], find: str) -> Iterable[Tunnel]:
    if not find:
        return tunnels
    return (tunnel for tunnel in tunnels if (record := records.get(tunnel)) is not None and _matches(record, find))


def _matches(exchange: Exchange, find: str) -> bool:
    # The whole target first: it is what most do not match, and cutting it takes longer.
    target = exchange.target
    return find in exchange.client or (find in target and find in path_of(target))


def _described(tunnel: Tunnel, exchange: Exchange, now: float) -> OpenSocket:
    opened = exchange.began if exchange.opened is None else exchange.opened
    return OpenSocket(
        exchange.id,
        exchange.client,
        path_of(exchange.target),
        exchange.host[:LONGEST],
        exchange.upstream,
        exchange.route,
        TUNNEL,
        round(now - opened, 1),
        _idle(tunnel),
        tunnel.bytes_from_client,
        tunnel.bytes_from_upstream,
    )


def _idle(tunnel: Tunnel) -> float | None:
    """Return the seconds since the last bytes in either direction, from the kernel: so that no message pays for it.

    Both directions pass through both connections; one that is a unix socket does not tell, and then the other does.
    """
    for leg in tunnel.legs:
        if (info := tcp_info(leg.transport.get_extra_info("socket"), IDLE)) is not None:
            return round(seconds_idle(info), 1)
    return None
