"""The demo: one simple Dash script that draws the load of this machine, ten times a second.

The page, the ordinary callback and the WebSocket endpoint stand side by
side, as in any Dash app on the FastAPI backend. Nothing here depends on the
gateway: ``python -m dash_app`` serves all of it from one process, and
behind ``dash-ws-proxy`` the WebSocket is served by ``ws_service`` instead, from
the same file. Importing the module starts nothing.
"""
# mypy: disable-error-code="no-untyped-call, untyped-decorator"
# (Dash 4.4 leaves clientside_callback without annotations, and app.server is Any.)

from __future__ import annotations

import asyncio
import json
import logging
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import dash
import plotly.graph_objects as go
import psutil
from dash import ClientsideFunction, Input, Output, dcc, html
from fastapi import WebSocket, WebSocketDisconnect
from plotly.subplots import make_subplots
from starlette.websockets import WebSocketState

PERIOD = 0.1
"""Seconds between two samples: 10 Hz, about what an eye can follow in a chart."""

PROCESSES = 8
"""Rows of the process table: what fits beside the chart without scrolling."""

log = logging.getLogger(__name__)


class Telemetry:
    """The load of the machine, sampled by one task for any number of WebSockets.

    There is no queue. A watcher waits for a sample that is newer than the last
    one that it sent, so a slow one skips samples (their numbers show the gap) and
    uses no memory.
    """

    def __init__(self, period: float = PERIOD) -> None:
        self.period = period
        self.number = 0
        self.text = ""
        """The newest sample as JSON: encoded once, sent to every watcher."""
        self._watchers = 0
        self._task: asyncio.Task[None] | None = None
        self._fresh = asyncio.Condition()

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Keep samples coming while the block runs: the first watcher starts the task, the last ends it."""
        self._watchers += 1
        if self._task is None:
            self._fresh = asyncio.Condition()  # bound to the running event loop
            self._task = asyncio.get_running_loop().create_task(self._sample(), name="telemetry")
        try:
            yield
        finally:
            self._watchers -= 1
            if self._watchers == 0:
                task, self._task = self._task, None
                task.cancel()
                await asyncio.wait([task])

    async def newer_than(self, number: int) -> tuple[int, str]:
        """Wait for a sample after ``number``; return the newest one's number and text."""
        async with self._fresh:
            await self._fresh.wait_for(lambda: self.number > number)
            return self.number, self.text

    async def _sample(self) -> None:
        before, due = _counters(), time.monotonic()  # the first load has no call before it, and says 0
        while True:
            # A late loop goes on from now: catching up would send a burst of samples of no width.
            due = max(due + self.period, time.monotonic())
            await asyncio.sleep(due - time.monotonic())
            try:
                sample, before = _measure(before)
            except (psutil.Error, OSError):
                log.exception("the machine could not be measured; trying again in a while")
                await asyncio.sleep(10 * self.period)
                continue
            async with self._fresh:
                self.number += 1
                self.text = json.dumps({"n": self.number, **sample})
                self._fresh.notify_all()


def _counters() -> dict[str, Any]:
    """Return each core's load since the call before, and counters that only ever grow, in seconds and bytes."""
    net, disk = psutil.net_io_counters(), psutil.disk_io_counters()  # None in some containers
    return {
        "at": time.monotonic(),
        "cores": psutil.cpu_percent(percpu=True),
        "down": net.bytes_recv if net else 0,
        "up": net.bytes_sent if net else 0,
        "read": disk.read_bytes if disk else 0,
        "write": disk.write_bytes if disk else 0,
    }


def _measure(before: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return one sample (percent, and bytes per second since ``before``) and the counters behind it."""
    now, memory = _counters(), psutil.virtual_memory()
    passed = max(now["at"] - before["at"], 1e-3)
    # A counter that jumps back (an interface went away) is a rate of nought, not a negative one.
    rates = {key: round(max(0.0, now[key] - before[key]) / passed) for key in ("down", "up", "read", "write")}
    # The kernel counts a core's time in ticks of 10 ms, so a tenth of a second is coarse: show about the last half.
    pairs = zip(before["cores"], now["cores"], strict=False)  # a core may come or go
    now["cores"] = cores = [round(old + 0.3 * (new - old), 1) for old, new in pairs]
    sample = {"t": round(time.time() * 1000), "cpu": round(sum(cores) / len(cores), 1), "cores": cores}
    return {**sample, "memory": memory.percent, **rates}, now


def empty_figure() -> go.Figure:
    """Return the three panels with their six traces and no points; the browser adds those."""
    panels = [
        [("CPU", "#6366f1"), ("memory", "#14b8a6")],
        [("network in", "#0ea5e9"), ("out", "#f59e0b")],
        [("disk read", "#a855f7"), ("write", "#ec4899")],
    ]
    titles = ["   ".join(f'<b style="color:{color}">{name}</b>' for name, color in panel) for panel in panels]
    shape = {"rows": 3, "cols": 1, "row_heights": [2, 1, 1], "vertical_spacing": 0.1}
    figure = make_subplots(**shape, shared_xaxes=True, subplot_titles=titles)
    figure.update_annotations(x=0, xanchor="left", align="left", font_size=12)  # a title is its panel's legend
    for row, panel in enumerate(panels, 1):
        hover = "%{y:.0f} %" if row == 1 else "%{y:.3s}B/s"
        for name, color in panel:
            line = {"color": color, "width": 1.8}
            figure.add_trace(go.Scatter(x=[], y=[], name=name, line=line, hovertemplate=hover), row=row, col=1)
    figure.update_traces(mode="lines")
    grid = {"gridcolor": "rgba(128,128,128,.16)", "zeroline": False, "fixedrange": True}
    figure.update_xaxes(type="date", showgrid=False, fixedrange=True, tickformat="%H:%M:%S", nticks=5, tickangle=0)
    rates = {"rangemode": "tozero", "autorangeoptions": {"include": 1000}}  # an idle panel shows kB, not mB
    figure.update_yaxes(**grid, **rates, tickformat="~s", ticksuffix="B/s", nticks=4)
    figure.update_yaxes(**grid, range=[0, 100], ticksuffix=" %", tickformat="d", row=1, col=1)
    # No colour of paper or plot: the page shines through, light or dark.
    figure.update_layout(
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"family": "inherit", "size": 12, "color": "#8089a0"},
        hoverlabel={"bgcolor": "#1c2130", "bordercolor": "#1c2130", "font": {"color": "#e6e9f2"}},
        hovermode="x unified",
        showlegend=False,
        margin={"l": 58, "r": 8, "t": 22, "b": 26},
        dragmode=False,  # a finger on the chart scrolls the page
    )
    return figure


def _tile(name: str, title: str, unit: str = "", *more: html.Div) -> html.Div:
    value = html.P([html.Span("…", id=name), html.Small(unit)])
    return html.Div([html.H2(title), value, *more], className=f"tile {name}")


def _lane(kind: str, path: str, who: str) -> html.Div:
    return html.Div([html.B(kind), html.Span("waiting", id=who), html.Code(path)], className="lane")


app = dash.Dash(__name__, backend="fastapi", title="Pulse · dash-ws-proxy", update_title="")

app.layout = html.Main(
    [
        dcc.Store(id="link"),  # the state of the connection, written by assets/live.js
        dcc.Store(id="samples"),  # the samples since the last animation frame, likewise
        html.Header(
            [
                html.Div([html.H1("Pulse"), html.P("A Dash page, and a WebSocket beside it")]),
                html.Div(
                    [
                        html.Span("connecting", id="state", className="state connecting", role="status"),
                        html.Span(["round trip ", html.B("…", id="round-trip")], className="fact"),
                        html.Span(["samples ", html.B("…", id="rate")], className="fact"),
                    ],
                    className="facts",
                ),
            ]
        ),
        html.Section(
            [
                _tile("cpu", "CPU", " %", html.Div(id="cores", title="each core")),
                _tile("memory", "Memory", " %"),
                _tile("net", "Network"),
                _tile("disk", "Disk"),
            ],
            className="tiles",
        ),
        html.Section(
            [
                html.Article(
                    dcc.Graph(id="pulse", figure=empty_figure(), responsive=True, config={"displayModeBar": False}),
                    className="card",
                ),
                html.Article(
                    [
                        html.Div([html.H2("Processes"), html.Button("Ask again", id="again")], className="row"),
                        dcc.RadioItems(
                            {"memory": "by memory", "time": "by CPU time"}, "memory", id="sort", inline=True
                        ),
                        html.Div(id="processes"),
                        html.H2("Who answers"),
                        _lane("WebSocket", "/live", "ws-who"),
                        _lane("HTTP", "/_dash-update-component", "http-who"),
                        html.P(id="verdict"),
                    ],
                    className="card side",
                ),
            ],
            className="panels",
        ),
    ]
)

# The data goes from the socket into a store and from there, in the browser alone, into the figure.
app.clientside_callback(ClientsideFunction("live", "start"), Output("link", "data"), Input("link", "id"))
app.clientside_callback(
    ClientsideFunction("live", "draw"),
    Output("pulse", "extendData"),
    Output("cpu", "children"),
    Output("memory", "children"),
    Output("net", "children"),
    Output("disk", "children"),
    Output("cores", "children"),
    Input("samples", "data"),
    prevent_initial_call=True,
)
app.clientside_callback(
    ClientsideFunction("live", "tell"),
    Output("state", "children"),
    Output("state", "className"),
    Output("round-trip", "children"),
    Output("rate", "children"),
    Output("ws-who", "children"),
    Output("verdict", "children"),
    Input("link", "data"),
    Input("http-who", "children"),
)


@app.callback(
    Output("processes", "children"),
    Output("http-who", "children"),
    Input("sort", "value"),
    Input("again", "n_clicks"),
)
def list_processes(order: str, _clicks: int | None) -> tuple[html.Table, str]:
    """Return the largest processes: an ordinary callback over HTTP."""
    rows = []
    for process in psutil.process_iter(["pid", "name", "memory_info", "cpu_times"]):
        memory, times = process.info["memory_info"], process.info["cpu_times"]
        if memory is not None and times is not None:  # None where the system does not let us look
            rows.append((process.info["name"] or "?", process.info["pid"], memory.rss, times.user + times.system))
    rows.sort(key=lambda row: row[2] if order == "memory" else row[3], reverse=True)
    head = html.Tr([html.Th(text) for text in ("name", "pid", "memory", "CPU time")])
    body = [
        html.Tr([html.Td(n), html.Td(p), html.Td(f"{m / 1e6:,.0f} MB"), html.Td(f"{t:,.1f} s")])
        for n, p, m, t in rows[:PROCESSES]
    ]
    return html.Table([html.Thead(head), html.Tbody(body)]), f"process {os.getpid()}"


telemetry = Telemetry()


@app.server.websocket(app.config.routes_pathname_prefix + "live")
async def live(websocket: WebSocket) -> None:
    """Send the samples to one browser until it leaves, and answer its pings."""
    await websocket.accept()
    try:
        async with telemetry.watching(), asyncio.TaskGroup() as tasks:
            await websocket.send_json({"hello": {"pid": os.getpid(), "period": telemetry.period}})
            tasks.create_task(send_samples(websocket), name="live: samples")
            tasks.create_task(answer_pings(websocket), name="live: pings")
    except* WebSocketDisconnect:
        pass  # whichever of the two noticed that the browser left ends the other
    except* NotAPing:
        if websocket.application_state is WebSocketState.CONNECTED:
            with suppress(WebSocketDisconnect):
                await websocket.close(1003, 'this endpoint understands {"ping": number}')


async def send_samples(websocket: WebSocket) -> None:
    """Send each sample, or, when the last took long to go out, the newest one."""
    number = telemetry.number
    while True:
        number, text = await telemetry.newer_than(number)
        await say(websocket, text)


async def answer_pings(websocket: WebSocket) -> None:
    """Answer ``{"ping": t}`` with ``{"pong": t}``; JavaScript cannot see the protocol's own pings.

    Raises WebSocketDisconnect when the browser leaves, NotAPing when it sends anything else.
    """
    while True:
        message = await websocket.receive()
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", 1005))
        await say(websocket, json.dumps({"pong": ping_of(message.get("text"))}))


async def say(websocket: WebSocket, text: str) -> None:
    """Send a message; WebSocketDisconnect when the browser has left, or the other task has just noticed it."""
    if websocket.application_state is not WebSocketState.CONNECTED:
        raise WebSocketDisconnect(1006)  # where Starlette would raise a RuntimeError
    await websocket.send_text(text)


class NotAPing(ValueError):
    """A browser sent a message that this endpoint cannot accept (close code 1003, RFC 6455, 7.4.1)."""


def ping_of(text: str | None) -> float:
    """Return the number of a ``{"ping": number}`` message; NotAPing for anything else."""
    try:
        number = json.loads(text or "")["ping"]
    except (ValueError, TypeError, KeyError, RecursionError):
        raise NotAPing from None
    if isinstance(number, bool) or not isinstance(number, int | float):
        raise NotAPing
    return number
