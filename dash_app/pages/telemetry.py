"""One background task, a WebSocket endpoint of one's own, and a chart in every tab."""

import plotly.graph_objects as go
from dash import ClientsideFunction, Input, Output, clientside_callback, dcc, html
from plotly.subplots import make_subplots

from dash_app.live import live, send_samples
from dash_app.pages import page, tiles

TRACES = (("CPU", "#6366f1", 1), ("memory", "#0d9488", 1), ("round trip", "#d97706", 2))


def figure() -> go.Figure:
    """Return two panels with three traces and no points; the browser adds those."""
    panels = make_subplots(rows=2, cols=1, shared_xaxes=True, row_heights=[2, 1], vertical_spacing=0.1)
    for name, color, row in TRACES:
        line = {"color": color, "width": 2}
        panels.add_scatter(x=[], y=[], name=name, mode="lines", line=line, cliponaxis=False, row=row, col=1)
    grid = {"gridcolor": "rgba(128,128,128,.2)", "zeroline": False, "fixedrange": True}
    panels.update_xaxes(type="date", showgrid=False, fixedrange=True, tickformat="%H:%M:%S", nticks=4)
    panels.update_yaxes(**grid, rangemode="tozero", ticksuffix=" ms", nticks=3)
    panels.update_yaxes(range=[0, 100], ticksuffix=" %", nticks=5, row=1, col=1)
    # Transparent: the page shines through, light or dark. No dragging: a finger on the chart scrolls the page.
    plain = {"paper_bgcolor": "rgba(0,0,0,0)", "plot_bgcolor": "rgba(0,0,0,0)", "hovermode": False, "dragmode": False}
    return panels.update_layout(**plain, showlegend=False, margin={"l": 52, "r": 8, "t": 8, "b": 28})


def layout() -> html.Div:
    graph = dcc.Graph(id="pulse", figure=figure(), responsive=True, config={"displayModeBar": False})
    legend = [html.Span([html.I(style={"background": color}), name]) for name, color, _ in TRACES]
    return page(
        "Live telemetry",
        "One background task measures this machine ten times a second. Every open tab gets each sample, over a "
        "WebSocket endpoint of your own beside Dash.",
        dcc.Store(id="link"),  # the state of the connection, written by assets/live.js
        dcc.Store(id="samples"),  # the samples since the last animation frame, likewise
        html.P("connecting", id="state", className="state connecting", role="status"),
        tiles(("cpu", "CPU"), ("memory", "Memory"), ("round-trip", "Round trip"), ("rate", "Samples")),
        html.Figure([html.P(legend, className="legend"), graph, html.Figcaption(id="summary")], className="card"),
        lines=[send_samples, live],
    )


def children(*names: str) -> list[Output]:
    return [Output(name, "children") for name in names]


clientside_callback(ClientsideFunction("live", "start"), Output("link", "data"), Input("link", "id"))
drawn = [Output("pulse", "extendData"), *children("cpu", "memory", "summary")]
clientside_callback(ClientsideFunction("live", "draw"), drawn, Input("samples", "data"), prevent_initial_call=True)
told = [Output("state", "className"), *children("state", "round-trip", "rate")]
clientside_callback(ClientsideFunction("live", "tell"), told, Input("link", "data"))
