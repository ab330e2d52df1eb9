"""Trades of an exchange in every open page, over one connection to the exchange. `feed.py` publishes them."""

from dash import Dash, dcc, html
from feed import PRODUCT

from ws_service.dash import Live

CLEAR = {"paper_bgcolor": "rgba(0,0,0,0)", "plot_bgcolor": "rgba(0,0,0,0)"}
FIGURE = {
    "data": [{"x": [], "y": [], "mode": "lines", "line": {"shape": "hv"}}],
    "layout": {**CLEAR, "uirevision": "kept", "margin": {"t": 20}, "yaxis": {"title": {"text": PRODUCT}}},
}

app = Dash(__name__, title=PRODUCT)
app.layout = html.Main(
    [
        html.H1([f"{PRODUCT} ", html.Output(id="price")]),
        dcc.Graph(id="graph", figure=FIGURE),
        Live("trades", into="price", prop="children", path="text"),
        Live("trades", into="graph", mode="extendData", path="point", max_points=500),
    ]
)
server = app.server
server.test_client().get("/_dash-dependencies")  # sets Dash up now, not while threads answer (plotly/dash#3971)
