"""The second page: the same topic as a curve, from its history on."""

import dash
from dash import dcc, html

from ws_service.dash import Live

dash.register_page(__name__, path="/history", name="History")

CLEAR = {"paper_bgcolor": "rgba(0,0,0,0)", "plot_bgcolor": "rgba(0,0,0,0)"}
FIGURE = {"data": [{"x": [], "y": [], "name": "kW"}], "layout": {**CLEAR, "uirevision": "kept"}}


def layout() -> list:
    return [
        html.H1("History"),
        dcc.Graph(id="curve", figure=FIGURE),
        Live("power", into="curve", mode="extendData", path="point", max_points=300),
    ]
