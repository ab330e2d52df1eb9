"""The status as one document, and that making it holds nothing up."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from statistics import median
from typing import Any

import pytest

from proxy.metrics.parts import Parts
from proxy.status.document import StatusDocument
from proxy.status.query import MOST_SHOWN, ORDERS, Query
from proxy.status.sampler import Sampler
from proxy.status.service import ServiceReader, ServiceStatus
from proxy.status.service_answer import ServiceAnswer
from tests.proxy.status.stand_ins import answered, make_parts, open_tunnels, tunnels

SERVICE = {
    "version": "0.1.0",
    "workers": [{"worker": 0, "pid": 7, "uptime": 3.5, "sockets": 1}],
    "hub": {"broker": "memory", "is_connected": True, "clients": 2},
    "topics": {"total": 1, "rows": [{"topic": "<b>prices", "subscribers": 2, "publications": 9, "idle": 0.5}]},
    "sockets": {
        "total": 1,
        "rows": [{"path": "/live", "way": "handoff", "client": "192.0.2.9", "age": 1e6, "received": 1, "sent": 2}],
    },
}


class Service(ServiceReader):
    """Answers without a network. urls: those that were asked."""

    def __init__(self, answer: dict[str, Any] | None = None) -> None:
        self._said = answer
        self.urls: list[str] = []

    async def read(self, urls: Sequence[str], query: Query, context: object) -> list[ServiceStatus]:
        self.urls += urls
        if self._said is None:
            return [ServiceStatus(url, None, "there is no key file") for url in urls]
        return [ServiceStatus(url, ServiceAnswer.model_validate(self._said)) for url in urls]


def document_of(parts: Parts, service: Service | None = None, drain: dict[str, Any] | None = None) -> StatusDocument:
    return StatusDocument(parts, Sampler(parts), service or Service(), lambda: ["http://127.0.0.1:8000"], lambda: drain)


async def test_it_has_every_part_and_is_json() -> None:
    parts = make_parts(routes=[{"path": "/socket.io/", "to": "ws"}])
    answered(parts, 3)
    made = json.loads(json.dumps(await document_of(parts).make(Query())))
    assert set(made) == set(
        "clients dash drain gateway handoff history minute notices now routes services sockets topics upstreams".split()
    )
    assert made["gateway"]["listen"] == ["http://127.0.0.1:8000"]
    assert made["minute"]["requests"] == 3
    assert [row["name"] for row in made["upstreams"]] == ["dash", "ws"]
    assert [row["name"] for row in made["routes"]] == ["routes[0]", "http"]
    assert made["notices"] == []
    assert made["drain"] is None
    assert made["dash"]["known"] is False
    assert made["dash"]["summary"].startswith("Dash's page is not known: ")
    assert made["services"] == [{"url": "http://127.0.0.1:8765", "problem": "there is no key file"}]


async def test_sockets_of_tunnels_and_those_that_were_handed_over_are_one_list() -> None:
    parts = make_parts()
    open_tunnels(parts, tunnels(3))
    made = await document_of(parts, Service(SERVICE)).make(Query(limit=2))
    assert [(one["kind"], one["path"]) for one in made["sockets"]["shown"]] == [
        ("handoff", "/live"),
        ("tunnel", "/live/0"),
    ]
    assert made["sockets"]["tunnels"] == 3
    assert made["clients"]["shown"] == [{"client": "192.0.2.1", "websockets": 3}]
    assert made["topics"]["shown"][0]["topic"] == "<b>prices"
    assert made["services"][0]["hub"]["broker"] == "memory"
    assert made["now"]["in_flight"] == 0


async def test_a_service_that_takes_no_connection_is_not_asked() -> None:
    parts, service = make_parts(), Service(SERVICE)
    parts.gateway.runtime.upstreams["ws"].addresses[0].health.missed("connection refused")
    made = await document_of(parts, service).make(Query())
    assert service.urls == []
    assert made["services"] == [{"url": "http://127.0.0.1:8765", "problem": "it is unreachable: connection refused"}]
    assert made["notices"][0]["what"].startswith("The upstream ws is unreachable")


async def test_a_reload_that_failed_and_a_drain_need_attention() -> None:
    parts = make_parts()
    parts.last_reload.failed()
    parts.lifecycle.happen("listening")
    parts.lifecycle.happen("stop")
    drain = {"tunnels": 1, "requests": 2, "answers": 0, "of_tunnels": 5, "of_requests": 2, "seconds": 12.5}
    made = await document_of(parts, drain=drain).make(Query())
    assert made["drain"] == drain
    assert [notice["what"] for notice in made["notices"]] == [
        "The last reload failed.",
        "It is stopping: clients are asked to leave.",
    ]


@pytest.mark.alone
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("find", ["", "/", "9999"])
async def test_with_ten_thousand_sockets_one_answer_holds_the_event_loop_up_for_less_than_ten_milliseconds(
    order: str, find: str
) -> None:
    parts = make_parts()
    open_tunnels(parts, tunnels(10_000))
    document, query = document_of(parts, Service(SERVICE)), Query(order, MOST_SHOWN, find)
    longest = []
    for _ in range(9):
        turns, made = [], answer(document, query)
        try:
            while True:
                began = time.thread_time()
                made.send(None)
                turns.append(time.thread_time() - began)
        except StopIteration as end:
            assert len(end.value) > 1000
            turns.append(time.thread_time() - began)
        longest.append(max(turns))
    assert median(longest) < 0.01


async def answer(document: StatusDocument, query: Query) -> str:
    return json.dumps(await document.make(query))
