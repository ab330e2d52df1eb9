"""What a WebSocket service answers when it is asked for its status, read, and as rows of ours.

It is another process and may be of another version: fields that are not known are passed over.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel

from proxy.status.open_sockets import LONGEST, OpenSocket
from proxy.status.query import Query


class SocketRow(BaseModel):
    """A socket of the service. way: ``handoff``, or ``listener`` for one that came through a tunnel, or directly."""

    id: str | None = None
    client: str = ""
    path: str
    endpoint: str = ""
    way: str
    user: str = ""
    topics: int | None = None
    age: float
    received: int | None = None
    sent: int | None = None
    idle: float | None = None


class Sockets(BaseModel):
    """How many sockets it has, and some of them."""

    total: int
    rows: list[SocketRow]


class TopicRow(BaseModel):
    """A topic of the hub. idle: seconds since the last publication; None: there was none."""

    topic: str
    subscribers: int
    publications: int = 0
    idle: float | None = None


class Topics(BaseModel):
    """How many topics have subscribers, and those with the most. is_exact: the total is, and not "at least"."""

    total: int
    is_exact: bool = True
    rows: list[TopicRow]


class Hub(BaseModel):
    """The hub, all workers together."""

    broker: str
    is_connected: bool
    clients: int
    users: int = 0
    subscriptions: int = 0
    event_streams: int = 0


class Worker(BaseModel):
    """A process of the service."""

    worker: int
    pid: int
    uptime: float
    sockets: int


class ServiceAnswer(BaseModel):
    """The whole answer. missing: the numbers of workers that did not answer in time. hub: None: there is none."""

    version: str = ""
    workers: list[Worker] = []
    missing: list[int] = []
    hub: Hub | None = None
    topics: Topics
    sockets: Sockets


def handed_off(answers: Sequence[ServiceAnswer], query: Query) -> list[OpenSocket]:
    """Return the sockets that were handed over. Those that came through tunnels are the gateway's own to tell."""
    return [
        OpenSocket(
            row.id or "",
            row.client,
            row.path[:LONGEST],
            "",
            "ws",
            row.endpoint,
            "hand-off",
            round(row.age, 1),
            None if row.idle is None else round(row.idle, 1),
            row.received,
            row.sent,
        )
        for answer in answers
        for row in answer.sockets.rows
        if row.way == "handoff" and (query.find in row.client or query.find in row.path)
    ]


def topics(answers: Sequence[ServiceAnswer], number: int) -> dict[str, Any]:
    """Return the topics of all services together: how many there are, and the ``number`` with most subscribers.

    Several services are one hub if they have one broker, and then each gets each publication.
    """
    found: dict[str, TopicRow] = {}
    for row in (row for answer in answers for row in answer.topics.rows):
        known = found.setdefault(row.topic, row)
        if known is not row:
            known.subscribers += row.subscribers
            known.publications = max(known.publications, row.publications)
            known.idle = min((each.idle for each in (known, row) if each.idle is not None), default=None)
    rows = sorted(found.values(), key=lambda row: -row.subscribers)[:number]
    return {
        "total": max((answer.topics.total for answer in answers), default=0),
        "is_exact": len(answers) == 1 and answers[0].topics.is_exact,
        "shown": [row.model_dump() | {"topic": row.topic[:LONGEST]} for row in rows],
    }
