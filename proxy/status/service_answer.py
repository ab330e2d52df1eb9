"""What a WebSocket service answers when it is asked for its status, read, and as rows of ours.

It is another process and may be of another version: fields that are not known are passed over. It may be another
program too, that was put in its place. So what is read is bounded: each row that is refused is described by pydantic,
and a million of them blocked the event loop for half a minute (measured).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, Field

from proxy.metrics.exchange_counts import HANDOFF
from proxy.status.open_sockets import LONGEST, OpenSocket, path_of
from proxy.status.query import MOST_SHOWN, Query

T = TypeVar("T")

Rows = Annotated[list[T], Field(max_length=MOST_SHOWN)]
"""As many as are asked for, at the most."""

Count = Annotated[int, Field(ge=0, le=1 << 53)]
"""A number that the page's script reads exactly."""

Seconds = Annotated[float, Field(allow_inf_nan=False)]
"""JSON has no word for what is no number: the page could not read the whole status."""

Text = Annotated[str, Field(max_length=4096)]


class SocketRow(BaseModel):
    """A socket of the service. way: ``handoff``, or ``listener`` for one that came through a tunnel, or directly."""

    id: Text | None = None
    client: Text = ""
    path: Text
    endpoint: Text = ""
    way: Text
    user: Text = ""
    topics: Count | None = None
    age: Seconds
    received: Count | None = None
    sent: Count | None = None
    idle: Seconds | None = None


class Sockets(BaseModel):
    """How many sockets it has, and some of them."""

    total: Count
    rows: Rows[SocketRow]


class TopicRow(BaseModel):
    """A topic of the hub. idle: seconds since the last publication; None: there was none."""

    topic: Text
    subscribers: Count
    publications: Count = 0
    idle: Seconds | None = None


class Topics(BaseModel):
    """How many topics have subscribers, and those with the most. is_exact: the total is, and not "at least"."""

    total: Count
    is_exact: bool = True
    rows: Rows[TopicRow]


class Hub(BaseModel):
    """The hub, all workers together."""

    broker: Text
    is_connected: bool
    clients: Count
    users: Count = 0
    subscriptions: Count = 0
    event_streams: Count = 0


class Worker(BaseModel):
    """A process of the service."""

    worker: Count
    pid: Count
    uptime: Seconds
    sockets: Count


class ServiceAnswer(BaseModel):
    """The whole answer. missing: the numbers of workers that did not answer in time. hub: None: there is none."""

    version: Text = ""
    workers: Rows[Worker] = []
    missing: Rows[Count] = []
    hub: Hub | None = None
    topics: Topics
    sockets: Sockets


def handed_off(answers: Sequence[ServiceAnswer], query: Query) -> list[OpenSocket]:
    """Return the sockets that were handed over. Those that came through tunnels are the gateway's own to tell."""
    return [
        OpenSocket(
            (row.id or "")[:LONGEST],
            row.client[:LONGEST],
            path_of(row.path),
            "",
            "ws",
            row.endpoint[:LONGEST],
            HANDOFF,
            round(row.age, 1),
            None if row.idle is None else round(row.idle, 1),
            row.received,
            row.sent,
        )
        for answer in answers
        for row in answer.sockets.rows
        if row.way == "handoff" and (query.find in row.client or query.find in path_of(row.path))
    ]


def topics(answers: Sequence[ServiceAnswer], number: int) -> dict[str, Any]:
    """Return the topics of all services together: how many there are, and the ``number`` with most subscribers.

    Several services are one hub if they have one broker, and then each gets each publication. The answers stay as they
    are: others may be answered with them too.
    """
    found: dict[str, TopicRow] = {}
    for row in (row for answer in answers for row in answer.topics.rows):
        known = found.get(row.topic)
        if known is None:
            found[row.topic] = row.model_copy()
        else:
            known.subscribers += row.subscribers
            known.publications = max(known.publications, row.publications)
            known.idle = min((each.idle for each in (known, row) if each.idle is not None), default=None)
    rows = sorted(found.values(), key=lambda row: -row.subscribers)[:number]
    return {
        "total": max((answer.topics.total for answer in answers), default=0),
        "is_exact": len(answers) == 1 and answers[0].topics.is_exact,
        "shown": [row.model_dump() | {"topic": row.topic[:LONGEST]} for row in rows],
    }
