"""The demo's script: its sampling task, its socket played as a conversation, its callback and its page."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import psutil
import pytest
from dash import html

from dash_app import app as demo

Message = dict[str, Any]


@pytest.fixture
def telemetry(monkeypatch: pytest.MonkeyPatch) -> demo.Telemetry:
    """A quick one in the place of the app's own."""
    quick = demo.Telemetry(period=0.001)
    monkeypatch.setattr(demo, "telemetry", quick)
    return quick


def sampling_tasks() -> list[asyncio.Task[Any]]:
    return [task for task in asyncio.all_tasks() if task.get_name() == "telemetry"]


class Browser:
    """The other end of the ASGI conversation with ``/live``."""

    def __init__(self) -> None:
        self.says: asyncio.Queue[Message] = asyncio.Queue()
        self.heard: list[Message] = []
        self.reads = asyncio.Event()
        self.reads.set()
        self.broken = False
        self._changed = asyncio.Condition()

    async def send(self, message: Message) -> None:
        """What the server calls; waits while the browser does not read."""
        await self.reads.wait()
        if self.broken:
            raise OSError("connection reset")  # ASGI: what a send to a client that is gone raises
        async with self._changed:
            self.heard.append(message)
            self._changed.notify_all()

    def json(self) -> list[Any]:
        return [json.loads(m["text"]) for m in self.heard if m.get("text")]

    async def hears(self, what: Callable[[Browser], Any]) -> Any:
        async with self._changed, asyncio.timeout(10):
            return await self._changed.wait_for(lambda: what(self))

    def type(self, **message: Any) -> None:
        self.says.put_nowait({"type": "websocket.receive", **message})

    def leave(self, code: int = 1001) -> None:
        self.says.put_nowait({"type": "websocket.disconnect", "code": code})


@asynccontextmanager
async def visit(path: str = "/live") -> AsyncIterator[tuple[Browser, asyncio.Task[None]]]:
    browser = Browser()
    browser.says.put_nowait({"type": "websocket.connect"})
    scope = {
        "type": "websocket",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "scheme": "ws",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [],
        "subprotocols": [],
    }
    task = asyncio.get_running_loop().create_task(demo.app.server(scope, browser.says.get, browser.send), name="visit")
    try:
        yield browser, task
    finally:
        browser.reads.set()
        browser.leave()
        async with asyncio.timeout(10):
            await task


def samples(browser: Browser) -> list[int]:
    return [message["n"] for message in browser.json() if "n" in message]


async def test_the_first_watcher_starts_the_one_task_and_the_last_ends_it() -> None:
    telemetry = demo.Telemetry(period=0.001)
    assert not sampling_tasks()
    async with telemetry.watching():
        (task,) = sampling_tasks()
        async with telemetry.watching():
            assert sampling_tasks() == [task]
        assert not task.done()
    assert task.cancelled()
    assert not sampling_tasks()


async def test_samples_go_on_counting_after_all_watchers_left_and_one_came_back() -> None:
    telemetry = demo.Telemetry(period=0.001)
    async with telemetry.watching():
        number, _ = await telemetry.newer_than(0)
    async with telemetry.watching():
        later, text = await telemetry.newer_than(number)
    assert later > number
    assert json.loads(text)["n"] == later


async def test_a_sample_holds_the_whole_machine() -> None:
    telemetry = demo.Telemetry(period=0.001)
    async with telemetry.watching():
        sample = json.loads((await telemetry.newer_than(0))[1])
    assert sample.keys() == {"n", "t", "cpu", "cores", "memory", "down", "up", "read", "write"}
    assert len(sample["cores"]) == psutil.cpu_count()
    assert 0 < sample["memory"] <= 100


async def test_a_machine_that_cannot_be_measured_for_a_moment_is_logged_and_measured_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    measure, failures = demo._measure, [OSError("no such device")]

    def moody(before: dict[str, float]) -> Any:
        if failures:
            raise failures.pop()
        return measure(before)

    monkeypatch.setattr(demo, "_measure", moody)
    telemetry = demo.Telemetry(period=0.001)
    async with telemetry.watching(), asyncio.timeout(10):
        await telemetry.newer_than(0)
    assert "could not be measured" in caplog.text


def test_a_counter_that_jumps_back_is_a_rate_of_nought() -> None:
    before = {**demo._counters(), "down": 1e18, "up": 1e18, "read": 1e18, "write": 1e18}
    sample, _ = demo._measure(before)
    assert (sample["down"], sample["up"], sample["read"], sample["write"]) == (0, 0, 0, 0)


def test_a_load_is_shown_as_an_average_of_about_half_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "cpu_percent", lambda percpu: [100.0, 0.0])
    sample, _ = demo._measure({**demo._counters(), "cores": [50.0, 50.0]})
    assert sample["cores"] == [65.0, 35.0]
    assert sample["cpu"] == 50.0


def test_a_machine_without_disks_or_interfaces_has_rates_of_nought(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "net_io_counters", lambda: None)
    monkeypatch.setattr(psutil, "disk_io_counters", lambda: None)
    sample, _ = demo._measure(demo._counters())
    assert (sample["down"], sample["write"]) == (0, 0)


async def test_a_browser_is_greeted_and_then_hears_one_sample_after_the_other(
    telemetry: demo.Telemetry,
) -> None:
    async with visit() as (browser, _):
        await browser.hears(lambda b: len(samples(b)) >= 3)
        assert browser.heard[0]["type"] == "websocket.accept"
        assert browser.json()[0] == {"hello": {"pid": os.getpid(), "period": 0.001}}
        assert samples(browser) == sorted(set(samples(browser)))


async def test_a_ping_is_answered_with_its_own_number(telemetry: demo.Telemetry) -> None:
    async with visit() as (browser, _):
        browser.type(text='{"ping": 1234.5}')
        await browser.hears(lambda b: {"pong": 1234.5} in b.json())


async def test_a_browser_that_leaves_ends_everything_without_a_word(
    telemetry: demo.Telemetry, caplog: pytest.LogCaptureFixture
) -> None:
    async with visit() as (browser, task):
        await browser.hears(samples)
        browser.leave()
        async with asyncio.timeout(10):
            await task
    assert not sampling_tasks()
    assert not caplog.records


async def test_a_connection_that_breaks_while_a_sample_goes_out_ends_without_a_word(
    telemetry: demo.Telemetry, caplog: pytest.LogCaptureFixture
) -> None:
    async with visit() as (browser, task):
        await browser.hears(samples)
        browser.broken = True
        async with asyncio.timeout(10):
            await task
    assert not sampling_tasks()
    assert not caplog.records


async def test_a_slow_browser_gets_the_newest_sample_and_not_a_queue(telemetry: demo.Telemetry) -> None:
    async with visit() as (slow, _), visit() as (quick, _):
        await slow.hears(samples)
        slow.reads.clear()
        seen = len(samples(quick))
        await quick.hears(lambda b: len(samples(b)) >= seen + 50)
        before = samples(slow)
        slow.reads.set()
        await slow.hears(lambda b: len(samples(b)) >= len(before) + 2)
        stale, fresh = samples(slow)[len(before) : len(before) + 2]
        # One was on its way when the browser stopped reading; the next is of now.
        assert stale <= before[-1] + 2
        assert fresh >= samples(quick)[seen] + 40


@pytest.mark.parametrize("message", [{"text": "hello"}, {"text": "[]"}, {"text": '{"ping": "1"}'}, {"bytes": b"\0"}])
async def test_what_is_not_a_ping_ends_the_connection_with_1003(telemetry: demo.Telemetry, message: Message) -> None:
    async with visit() as (browser, task):
        browser.type(**message)
        await browser.hears(lambda b: b.heard and b.heard[-1]["type"] == "websocket.close")
        assert browser.heard[-1]["code"] == 1003
        async with asyncio.timeout(10):
            await task


async def test_one_that_says_nonsense_and_leaves_at_once_ends_without_a_word(
    telemetry: demo.Telemetry, caplog: pytest.LogCaptureFixture
) -> None:
    async with visit() as (browser, task):
        await browser.hears(samples)
        browser.reads.clear()
        browser.broken = True
        browser.type(text="nonsense")
        browser.reads.set()
        async with asyncio.timeout(10):
            await task
    assert not caplog.records


@pytest.mark.parametrize(("text", "number"), [('{"ping": 1.5}', 1.5), ('{"ping": 0}', 0)])
def test_a_ping_is_a_number(text: str, number: float) -> None:
    assert demo.ping_of(text) == number


@pytest.mark.parametrize(
    "text",
    [
        '{"ping": true}',
        '{"ping": null}',
        '{"pong": 1}',
        "ping",
        "7",
        pytest.param("[" * 100_000, id="deep"),
        "",
        None,
    ],
)
def test_a_ping_is_nothing_else(text: str | None) -> None:
    with pytest.raises(demo.NotAPing):
        demo.ping_of(text)


def test_the_figure_starts_with_six_traces_and_no_points() -> None:
    figure = demo.empty_figure()
    assert len(figure.data) == 6
    assert all(len(trace.x) == 0 for trace in figure.data)


@pytest.mark.parametrize(("order", "column"), [("memory", 2), ("time", 3)])
def test_the_callback_lists_the_largest_processes_first(order: str, column: int) -> None:
    table, who = demo.list_processes(order, None)
    assert isinstance(table, html.Table)
    rows = [[cell.children for cell in row.children] for row in table.children[1].children]
    values = [float(row[column].split()[0].replace(",", "")) for row in rows]
    assert 1 <= len(rows) <= demo.PROCESSES
    assert values == sorted(values, reverse=True)
    assert who == f"process {os.getpid()}"


def test_the_assets_are_found_wherever_the_script_is_imported_from() -> None:
    assert sorted(os.listdir(demo.app.config.assets_folder)) == ["live.js", "style.css"]
