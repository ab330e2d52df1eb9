"""The area ``events``: the first event of a stream."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from aiohttp import web

from proxy.doctor import event_stream
from proxy.doctor.event_stream import TOPIC, probe
from proxy.doctor.probe import Outcome, Skipped
from tests.proxy.doctor.site import HTML, Site, page, set_up


class Stream(Site):
    """Its first event comes at once, or when the probe is over."""

    is_late = False
    until = asyncio.Event()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if request.path != "/connection/uni_sse":
            return await super().answer(request)
        assert request.query["channels"] == TOPIC and request.query["token"]
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        if self.is_late:
            await self.until.wait()
        await response.write(b"data: {}\n\n")
        return response


async def outcome_of(folder: Path, site: Site, *, is_public: bool = False) -> Outcome:
    async with set_up(folder, site, is_public=is_public) as target:
        try:
            return await probe(target)
        finally:
            Stream.until.set()


async def test_an_event_that_comes_and_one_that_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DASH_WS_HUB_KEY", "k" * 32)
    site = Stream({"/": (200, HTML, page())})
    assert (await outcome_of(tmp_path, site)).findings == []
    monkeypatch.setattr(event_stream, "FIRST", 0.1)
    site.is_late = True
    Stream.until.clear()
    (finding,) = (await outcome_of(tmp_path, site, is_public=True)).findings
    assert finding.id == "DW060"
    assert "proxy_buffering off" in finding.fix


async def test_a_stream_that_may_not_be_opened_is_not_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Skipped, match="there is no key file"):
        await outcome_of(tmp_path, Stream())
    monkeypatch.setenv("DASH_WS_HUB_KEY", "k" * 32)
    with pytest.raises(Skipped, match="the event stream answers 403"):
        await outcome_of(tmp_path, Site({"*": (403, HTML, "")}))
