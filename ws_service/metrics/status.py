"""The answer to ``GET /api/status``: what the status page of the gateway shows of the service, its topics and sockets.

Each worker answers for itself, and the one that was asked puts the answers together. Of ten thousand topics or sockets
some rows are named, those that the query asks for, and all are counted.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple
from urllib.parse import parse_qs

from ws_service.hub.registry import Seen
from ws_service.metrics import socket_rows

MOST = 500
"""Rows of one kind in an answer. With ten thousand sockets and topics it takes a process 10 ms."""

DEFAULT = 100
"""Rows of one kind where the query does not say how many."""

_MOST_FIELDS = 16


class BadQuery(Exception):
    """A query that cannot be answered; its text says why."""


class Query(NamedTuple):
    """What is asked for. sockets, topics: how many rows of each. sort: one of ``socket_rows.ORDERS``."""

    sockets: int = DEFAULT
    topics: int = DEFAULT
    sort: str = socket_rows.ORDERS[0]

    def __str__(self) -> str:
        """The query again."""
        return f"sockets={self.sockets}&topics={self.topics}&sort={self.sort}"


def read_query(query: str) -> Query:
    """Read the query of a request. Raises BadQuery."""
    try:
        given = {name: values[-1] for name, values in parse_qs(query, max_num_fields=_MOST_FIELDS).items()}
    except ValueError:
        raise BadQuery(f"a query has at most {_MOST_FIELDS} fields") from None
    sort = given.get("sort", socket_rows.ORDERS[0])
    if sort not in socket_rows.ORDERS:
        raise BadQuery(f"sort is one of {', '.join(socket_rows.ORDERS)}")
    return Query(_number(given, "sockets"), _number(given, "topics"), sort)


def _number(given: Mapping[str, str], name: str) -> int:
    text = given.get(name, str(DEFAULT))
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(MOST)) and int(text) <= MOST):
        raise BadQuery(f"{name} is a number from 0 to {MOST}")
    return int(text)


def topic_rows(seen: list[Seen], now: float) -> list[dict[str, Any]]:
    """Return topics as rows. now: of the clock that ``Seen`` has."""
    return [
        {
            "topic": each.topic,
            "subscribers": each.subscriptions,
            "publications": each.publications,
            "idle": None if each.last is None else round(now - each.last, 3),
        }
        for each in seen
    ]


def merged(parts: Iterable[dict[str, Any]], missing: Iterable[int], version: str, query: Query) -> dict[str, Any]:
    """Return one answer of those of all workers. missing: the numbers of workers that did not answer in time."""
    found = sorted(parts, key=lambda part: int(part["worker"]["worker"]))
    hubs = [part["hub"] for part in found if part["hub"] is not None]
    return {
        "version": version,
        "workers": [part["worker"] for part in found],
        "missing": sorted(missing),
        "hub": _hub(hubs) if hubs else None,
        "topics": _topics([part["topics"] for part in found], query.topics),
        "sockets": {
            "total": sum(part["sockets"]["total"] for part in found),
            "rows": socket_rows.merged([part["sockets"]["rows"] for part in found], query.sort, query.sockets),
        },
    }


def _hub(hubs: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what the hubs of all workers are together. A user who is at several workers is counted by each."""
    added = {name: sum(hub[name] for hub in hubs) for name in ("clients", "users", "subscriptions", "event_streams")}
    return {"broker": hubs[0]["broker"], "is_connected": all(hub["is_connected"] for hub in hubs), **added}


def _topics(parts: list[dict[str, Any]], count: int) -> dict[str, Any]:
    """Return the topics of all workers; each worker gets each publication, so these are not added."""
    found: dict[str, dict[str, Any]] = {}
    for row in (row for part in parts for row in part["rows"]):
        known = found.setdefault(row["topic"], row)
        if known is not row:
            known["subscribers"] += row["subscribers"]
            known["publications"] = max(known["publications"], row["publications"])
            known["idle"] = min((each["idle"] for each in (known, row) if each["idle"] is not None), default=None)
    is_cut = any(part["total"] > len(part["rows"]) for part in parts)
    return {
        "total": max(len(found), *(part["total"] for part in parts)) if is_cut else len(found),
        "is_exact": not is_cut or len(parts) == 1,
        "rows": heapq.nlargest(count, found.values(), key=lambda row: int(row["subscribers"])),
    }
