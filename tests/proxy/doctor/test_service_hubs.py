"""The area ``hubs``: several services, and where each has its publications."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from proxy.doctor.endpoint import Endpoint
from proxy.doctor.probe import Skipped
from proxy.doctor.service_hubs import probe
from tests.proxy.doctor.site import JSON, Site, serving, set_up


def service(broker: str | None) -> Site:
    none = {"total": 0, "rows": []}
    hub = broker and {"broker": broker, "is_connected": True, "clients": 0}
    return Site({"/api/status": (200, JSON, json.dumps({"hub": hub, "topics": none, "sockets": none}))})


@pytest.mark.parametrize(("broker", "expected"), [("memory", ["DW056"]), ("redis", []), (None, [])])
async def test_hubs_in_memory_at_several_addresses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broker: str | None, expected: list[str]
) -> None:
    monkeypatch.setenv("DASH_WS_HUB_KEY", "k" * 32)
    async with set_up(tmp_path, service(broker)) as target, serving(service("redis")) as other:
        with pytest.raises(Skipped, match="there is one WebSocket service"):
            await probe(target)
        second = Endpoint("ws", other.url)
        target.upstreams["ws"] = (target.ws, second)
        target.reachable.add(second)
        outcome = await probe(target)
        assert [finding.id for finding in outcome.findings] == expected


async def test_without_a_key_nothing_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    async with set_up(tmp_path, service("memory")) as target:
        second = Endpoint("ws", "http://127.0.0.1:1")
        target.upstreams["ws"] = (target.ws, second)
        target.reachable.add(second)
        with pytest.raises(Skipped, match="the services are not asked: there is no key file"):
            await probe(target)
