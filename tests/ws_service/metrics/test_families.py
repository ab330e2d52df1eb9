"""The metrics of a hub in use: their values, and that no client can make more series of them."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from tests.processes import ROOT
from tests.ws_service.hub.stand_ins import Connection, turns
from ws_service.config.settings import Settings
from ws_service.hub.assembly import Assembled, assemble
from ws_service.hub.handshake import Handshake
from ws_service.hub.publication import Publication
from ws_service.metrics.families import families
from ws_service.net.histogram import Histogram
from ws_service.websocket.resources import Resources


@pytest_asyncio.fixture
async def hub(tmp_path: Path) -> AsyncIterator[Assembled]:
    made = assemble(Settings(hub={"namespaces": {"prices": {"subscribe": "anyone"}}}), tmp_path)  # type: ignore[arg-type]
    assert made is not None
    await made.hub.start()
    yield made
    await made.hub.close()


def samples(hub: Assembled | None, lag: float | None = 0.0) -> dict[tuple[str, ...], float]:
    """Return all samples, without those of the process, by name and values of labels."""
    found = families(Resources(1 << 20), hub, Histogram((0.1,)), lag)
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in found
        for sample in family.samples
        if not family.name.startswith("process_")
    }


async def in_use(hub: Assembled, *topics: str) -> None:
    """Have a client that subscribes, a publication to each topic, and requests to the API."""
    receiver = hub.hub.connect(Connection(), Handshake("203.0.113.9"))  # type: ignore[arg-type]
    receiver.receive(b'{"id":1,"connect":{}}\n{"id":2,"subscribe":{"channel":"prices:a"}}')
    await turns()
    for topic in topics:
        await hub.hub.publish(topic, Publication(b"1"), hub.hub.namespaces.of(topic).keep)
    for method in ("info", "publish", "made-up"):
        await hub.api._methods.answer("batch", {"commands": [{method: {}}]})


async def test_what_happens_is_counted_under_the_names_of_the_config(hub: Assembled) -> None:
    await in_use(hub, "prices:a", "prices:b", "made-up:c", "d")
    found = samples(hub)
    assert found["dashws_hub_clients",] == found["dashws_hub_subscriptions",] == found["dashws_hub_channels",] == 1
    assert found["dashws_hub_messages_published_total", "prices"] == 2
    assert found["dashws_hub_messages_published_total", "default"] == 2
    assert found["dashws_hub_messages_delivered_total", "prices"] == 1
    assert found["dashws_hub_broadcast_seconds_count",] == 1
    assert found["dashws_hub_api_requests_total", "info", "0"] == 1
    assert found["dashws_hub_api_requests_total", "publish", "107"] == 1
    assert found["dashws_hub_api_requests_total", "_OTHER", "104"] == 1
    assert found["dashws_hub_recover_total", "yes"] == found["dashws_hub_recover_total", "no"] == 0
    assert found["dashws_hub_broker_up",] == 1


async def test_the_number_of_series_does_not_grow_with_what_clients_and_the_api_name(hub: Assembled) -> None:
    await in_use(hub, "prices:a")
    hub.hub.counts.disconnect(4000)
    before = samples(hub).keys()
    await in_use(hub, *(f"made-up-{number}:{number}" for number in range(500)))
    for code in range(4001, 4999):
        hub.hub.counts.disconnect(code)
    for number in range(500):
        await hub.api._methods.answer(f"made-up-{number}", {})
    assert samples(hub).keys() == before
    assert len(before) < 60


async def test_a_broker_that_does_not_answer_is_down_and_has_no_lag(hub: Assembled) -> None:
    found = samples(hub, None)
    assert found["dashws_hub_broker_up",] == 0
    assert ("dashws_hub_broker_lag_seconds",) not in found


async def test_without_a_hub_there_are_none_of_its_metrics() -> None:
    assert not [name for name, *_ in samples(None) if name.startswith("dashws_hub")]


async def test_the_table_for_operators_has_each_metric_with_its_labels(hub: Assembled) -> None:
    await in_use(hub, "prices:a")
    hub.hub.counts.disconnect(4000)
    found = {"dashws_service_worker_up": ()}  # of all workers, in the exposition
    for family in families(Resources(1 << 20), hub, Histogram((0.1,)), 0.0):
        sample = family.samples[0]
        name = family.name if family.type == "histogram" else sample.name
        if name.startswith("dashws_"):
            found[name] = tuple(label for label in sample.labels if label != "le")
    assert documented() == found


def documented() -> dict[str, tuple[str, ...]]:
    text = (ROOT / "docs" / "metrics.md").read_text("utf-8")
    table = text.partition("<!-- metrics of the service -->")[2].partition("<!-- end -->")[0]
    rows = re.findall(r"^\| `(dashws_\w+)` \| ([^|]*)\|", table, re.MULTILINE)
    return {name: tuple(re.findall(r"`(\w+)`", labels)) for name, labels in rows}
