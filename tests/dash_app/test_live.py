"""The demo's endpoint: its one sampling task, and the socket played as a conversation."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import psutil
import pytest
from fastapi import FastAPI

from dash_app import live as demo

Message = dict[str, Any]


@pytest.fixture(autouse=True)
async def telemetry(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[demo.Telemetry]:
    """A quick one in the place of the module's own."""
    quick = demo.Telemetry()
    monkeypatch.setattr(demo, "telemetry", quick)
    monkeypatch.setattr(demo, "PERIOD", 0.001)
    yield quick
    if quick.task is not None:
        quick.task.cancel()
        await asyncio.wait([quick.task])


class Browser:
    """The other end of the ASGI conversation with ``/live``."""

    def __init__(self) -> None:
        self.says: asyncio.Queue[Message] = asyncio.Queue()
        self.heard: list[Message] = []
        self.reads = asyncio.Event()
        self.reads.set()
        self.is_broken = False
        self._changed = asyncio.Condition()

    async def send(self, message: Message) -> None:
        """What the server calls; waits while the browser does not read."""
        await self.reads.wait()
        if self.is_broken:
            raise OSError("connection reset")  # ASGI: what a send to a client that is gone raises
        async with self._changed:
            self.heard.append(message)
            self._changed.notify_all()

    @property
    def texts(self) -> list[str]:
        return [message["text"] for message in self.heard if message.get("text")]

    @property
    def samples(self) -> list[Any]:
        return [json.loads(text) for text in self.texts if "cpu" in text]

    async def hears(self, what: Callable[[Browser], Any]) -> Any:
        async with self._changed, asyncio.timeout(10):
            return await self._changed.wait_for(lambda: what(self))

    def leave(self, code: int = 1001) -> None:
        self.says.put_nowait({"type": "websocket.disconnect", "code": code})


@asynccontextmanager
async def visit() -> AsyncIterator[tuple[Browser, asyncio.Task[None]]]:
    browser, app = Browser(), FastAPI()
    app.include_router(demo.router)
    browser.says.put_nowait({"type": "websocket.connect"})
    scope = {
        **{"type": "websocket", "asgi": {"version": "3.0"}, "http_version": "1.1", "scheme": "ws"},
        **{"path": "/live", "raw_path": b"/live", "query_string": b"", "root_path": "", "headers": []},
        "subprotocols": [],
    }
    task = asyncio.get_running_loop().create_task(app(scope, browser.says.get, browser.send), name="visit")
    try:
        yield browser, task
    finally:
        browser.reads.set()
        browser.leave()
        async with asyncio.timeout(10):
            await task


async def test_one_task_measures_for_all_browsers_and_each_hears_every_sample(telemetry: demo.Telemetry) -> None:
    async with visit() as (one, _), visit() as (other, _):
        await one.hears(lambda b: len(b.samples) >= 5)
        await other.hears(lambda b: len(b.samples) >= 5)
        assert len([task for task in asyncio.all_tasks() if task.get_name() == "telemetry"]) == 1
        times = [sample["t"] for sample in other.samples]
        assert times == sorted(times)
        sample = one.samples[0]
    assert sample.keys() == {"t", "cpu", "memory", "cores"}
    assert len(sample["cores"]) == psutil.cpu_count()
    assert 0 < sample["memory"] <= 100


async def test_what_a_browser_says_comes_back_and_what_is_no_text_as_an_empty_one() -> None:
    async with visit() as (browser, _):
        browser.says.put_nowait({"type": "websocket.receive", "text": '{"ping": 1234.5}'})
        await browser.hears(lambda b: '{"ping": 1234.5}' in b.texts)
        browser.says.put_nowait({"type": "websocket.receive", "bytes": b"\0"})
        await browser.hears(lambda b: any(message.get("text") == "" for message in b.heard))


@pytest.mark.parametrize("is_broken", [False, True])
async def test_a_browser_that_leaves_or_breaks_ends_its_tasks_without_a_word(
    is_broken: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async with visit() as (browser, task):
        await browser.hears(lambda b: b.samples)
        browser.is_broken = is_broken
        if not is_broken:
            browser.leave()
        async with asyncio.timeout(10):
            await task
    assert [task for task in asyncio.all_tasks() if task.get_name() == "live: samples"] == []
    assert not caplog.records


async def test_a_slow_browser_gets_the_newest_sample_and_not_a_queue() -> None:
    async with visit() as (slow, _), visit() as (quick, _):
        await slow.hears(lambda b: b.samples)
        slow.reads.clear()
        seen, before = len(quick.samples), len(slow.samples)
        await quick.hears(lambda b: len(b.samples) >= seen + 50)
        newest = quick.samples[-1]["t"]
        slow.reads.set()
        await slow.hears(lambda b: len(b.samples) >= before + 2)
        assert slow.samples[before + 1]["t"] >= newest, "one was on its way when it stopped reading; the next is of now"
