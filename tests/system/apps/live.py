"""A Dash app whose pages are live: what a user writes, in each mode of ``Live``. PREFIX: under which it is served."""

from __future__ import annotations

import os
from typing import Any

from dash import ALL, Dash, Input, Output, callback, dcc, html

from ws_service.dash import Live

try:
    import dash_ag_grid as dag
except ImportError:
    dag = None

PREFIX = os.environ.get("PREFIX", "/")

NAMES = ("live", "numbers-live", "shelf-live", "few-live", "closed")
"""Those whose state is shown."""

FIGURE = {
    "data": [{"x": [], "y": [], "type": "scatter"}],
    "layout": {"height": 240, "margin": {"t": 10, "b": 20}},
}

app = Dash(__name__, url_base_pathname=PREFIX, suppress_callback_exceptions=True, title="live")


def home() -> list[Any]:
    return [
        html.H2("home"),
        dcc.Graph(id="graph", figure=FIGURE),
        Live("kept:points", "graph", mode="extendData", max_points=500),
        html.Pre(id="log"),
        Live("kept:log", "log", mode="append", max_chars=1000),
        dcc.Store(id="shelf"),  # its Live is in the frame, and stays
        *grid(),
    ]


def grid() -> list[Any]:
    if dag is None:
        return []
    table = dag.AgGrid(
        id="grid",
        columnDefs=[{"field": "id"}, {"field": "price"}],
        rowData=[],
        getRowId="params.data.id",
        style={"height": 200},
        dashGridOptions={"animateRows": False},
    )
    return [table, Live("kept:rows", "grid", mode="rowTransaction")]


def other() -> list[Any]:
    cells = [html.B(id={"type": "cell", "index": index}) for index in range(2)]
    lives = [Live(f"cell:{i}", {"type": "cell", "index": i}, prop="children", path="value.text") for i in range(2)]
    return [html.H2("other"), *cells, *lives, html.I(id="cells")]


def layout() -> html.Div:
    return html.Div(
        [
            dcc.Location(id="location"),
            dcc.Link("home", href=PREFIX, id="to-home"),
            " ",
            dcc.Link("other", href=f"{PREFIX}other", id="to-other"),
            html.Div(id="page"),
            dcc.Store(id="prices"),
            Live("prices", into="prices", id="live"),
            Live("seen:room", id="room", presence=True),
            html.Pre(id="shown"),
            dcc.Store(id="numbers"),
            Live("kept:numbers", into="numbers", mode="list", id="numbers-live", history=0),
            Live("kept:shelf", into="shelf", mode="list", id="shelf-live"),
            dcc.Store(id="few"),
            Live("few:log", into="few", mode="list", id="few-live", history=0, jitter=0.2),
            Live("closed:door", id="closed"),
            Live("ticks"),
            *[html.Span(id=f"{name}-state") for name in NAMES],
            html.Span(id="present"),
            html.Span(id="served"),
        ]
    )


app.layout = layout

app.clientside_callback("JSON.stringify", Output("shown", "children"), Input("prices", "data"))
app.clientside_callback("(p) => p ? String(p.clients) : ''", Output("present", "children"), Input("room", "present"))
for name in NAMES:
    app.clientside_callback(
        "(state, gaps) => `${state} ${gaps}`",
        Output(f"{name}-state", "children"),
        Input(name, "state"),
        Input(name, "gaps"),
    )
for name in ("numbers", "shelf", "few"):
    app.clientside_callback(
        f"(data) => {{ if (data) (window.{name} = window.{name} || []).push(...data.batch); }}", Input(name, "data")
    )


@callback(Output("page", "children"), Input("location", "pathname"))
def page(pathname: str | None) -> list[Any]:
    return other() if (pathname or "").endswith("other") else home()


@callback(Output("served", "children"), Input("live", "state"))
def served(state: str) -> str:
    """The state is an Input of an ordinary callback too."""
    return f"the server knows: {state}"


@callback(Output("cells", "children"), Input({"type": "cell", "index": ALL}, "children"))
def cells(texts: list[str | None]) -> str:
    return " ".join(text or "-" for text in texts)


server = app.server

if __name__ == "__main__":
    quick = {"dev_tools_hot_reload_interval": 0.2, "dev_tools_hot_reload_watch_interval": 0.1}
    app.run(port=int(os.environ["PORT"]), debug=True, **quick)
