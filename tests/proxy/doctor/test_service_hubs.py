"""The area ``hubs``: several services, and where each has its publications."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from proxy.doctor.endpoint import Endpoint
from proxy.doctor.probe import Skipped
from proxy.doctor.service_hubs import probe
from tests.proxy.doctor.site import JSON, Site, serving, set_up


def service(broker: str | None, *, is_connected: bool = True) -> Site:
    none = {"total": 0, "rows": []}
    hub = broker and {"broker": broker, "is_connected": is_connected, "clients": 0}
    return Site({"/api/status": (200, JSON, json.dumps({"hub": hub, "topics": none, "sockets": none}))})


@pytest.mark.parametrize(("broker", "expected"), [("memory", ["DW056"]), ("redis", []), (None, [])])
async def test_hubs_in_memory_at_several_addresses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broker: str | None, expected: list[str]
) -> None:
    monkeypatch.setenv("DASH_WS_HUB_KEY", "k" * 32)
    async with set_up(tmp_path, service(broker)) as target, serving(service("redis")) as other:
        alone = probe(target)  # one service may have its publications in memory
        if broker is None:
            with pytest.raises(Skipped, match="does not say which hub"):
                await alone
        else:
            assert ((await alone).findings, (await probe(target)).seen) == (
                [],
                f"the key is the service's, the broker is {broker}",
            )
        second = Endpoint("ws", other.url)
        target.upstreams["ws"] = (target.ws, second)
        target.reachable.add(second)
        outcome = await probe(target)
        assert [finding.id for finding in outcome.findings] == expected


async def test_without_a_key_nothing_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    async with set_up(tmp_path, service("memory")) as target:
        with pytest.raises(Skipped, match="the service is not asked: there is no key file"):
            await probe(target)


async def test_another_key_than_the_services_is_a_finding_and_a_file_without_a_hub_says_nothing_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DASH_WS_HUB_KEY", "k" * 32)
    async with set_up(tmp_path, Site({"/api/status": (401, JSON, "{}")})) as target:
        (finding,) = (await probe(target)).findings
        assert (finding.id, finding.place and finding.place.key) == ("DW029", "ws_service.hub.key")
        assert f"the hub at {target.ws.address} does not accept the key" in finding.seen
        target.service = target.service.model_copy(
            update={"hub": target.service.hub.model_copy(update={"enabled": False})}
        )
        with pytest.raises(Skipped, match="the file names no hub"):
            await probe(target)


async def test_a_hub_without_a_connection_to_its_broker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DASH_WS_HUB_KEY", "k" * 32)
    async with set_up(tmp_path, service("redis", is_connected=False)) as target:
        (finding,) = (await probe(target)).findings
        assert (finding.id, finding.place and finding.place.key) == ("DW049", "ws_service.hub.broker")
